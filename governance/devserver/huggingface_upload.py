"""Uploads through `huggingface_hub`: the question how to send, large files, and the commit.

Promises that a commit makes a whole new revision out of the one before and the changes, or nothing. Creates models on
the way, as clients never ask for it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from governance.devserver import access
from governance.devserver.blobs import Digests
from governance.devserver.content import receive
from governance.devserver.huggingface import ROOT, commit_of, files_of, model_path, refuse, revisions
from governance.devserver.items import Item, iso
from governance.devserver.paths import clean_path
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router

Json = dict[str, Any]
# huggingface_hub 2 sends what is not `regular` through Xet, which is not offered; older ones send it through LFS. So
# `regular`, inside the commit, as far as a commit may go.
_LARGE = 64 << 20
_MAX_COMMIT = 512 << 20


def add_routes(router: Router) -> None:
    """What a writer needs of `api/huggingfaceml`."""
    for kind in ("models", "datasets"):
        base = f"{ROOT}/api/{{kind}}/{{org}}/{{name}}".replace("{kind}", kind)
        router.add("POST", base + "/preupload/{rev}", preupload)
        router.add("POST", base + "/commit/{rev}", commit)
    for prefix in ("", "/datasets"):
        router.add("POST", ROOT + prefix + "/{org}/{name}.git/info/lfs/objects/batch", lfs_batch)
    router.add("PUT", ROOT + "/lfs/{oid}", lfs_upload)
    router.add("POST", ROOT + "/api/validate-yaml", validate_yaml)
    router.add("POST", ROOT + "/api/repos/create", create)


def _writable(call: Call, path: str) -> str:
    store, repo = call.platform.store, call.params["repo"]
    if repo not in store.repositories:
        raise refuse(404, "RepoNotFound", f"There is no repository {repo}")
    real = store.repositories.writable(repo)
    access.require(call, "w", real, path)
    return real


async def validate_yaml(call: Call) -> web.Response:
    """The front matter of a README is never wrong here."""
    call.signed_in()
    return web.json_response({"errors": [], "warnings": []})


async def create(call: Call) -> web.Response:
    """Nothing to do: the first commit creates the model."""
    name = str((await call.json_object()).get("name", ""))
    call.signed_in()
    return web.json_response(
        {"url": f"{call.base()}/api/huggingfaceml/{call.params['repo']}/{name}", "name": name}
    )


async def preupload(call: Call) -> web.Response:
    """How each file is to be sent: inside the commit, or before it."""
    _writable(call, model_path(call))
    files = (await call.json_object()).get("files") or []
    rows = []
    for each in files:
        path, size = str(each.get("path", "")), int(each.get("size") or 0)
        rows.append(
            {"path": path, "uploadMode": "lfs" if size > _LARGE else "regular", "shouldIgnore": False}
        )
    return web.json_response({"files": rows})


# -- large files


def _waiting(oid: str) -> str:
    return f".lfs/{oid}"


async def lfs_batch(call: Call) -> web.Response:
    """Where to send each large file. One that is here already needs no upload."""
    repo = _writable(call, ".lfs")
    base = f"{call.base()}/api/huggingfaceml/{call.params['repo']}/lfs"
    authorization = {"Authorization": call.request.headers.get("Authorization", "")}
    rows: list[Json] = []
    for each in (await call.json_object()).get("objects") or []:
        oid = str(each.get("oid", ""))
        row: Json = {"oid": oid, "size": each.get("size")}
        if call.platform.store.find(repo, _waiting(oid)) is None:
            row["actions"] = {"upload": {"href": f"{base}/{oid}", "header": authorization}}
        rows.append(row)
    body = {"transfer": "basic", "objects": rows}
    return web.json_response(body, content_type="application/vnd.git-lfs+json")


async def lfs_upload(call: Call) -> web.Response:
    """One large file, kept aside until a commit names it."""
    oid = call.params["oid"].lower()
    repo = _writable(call, ".lfs")
    with call.platform.store.receive() as incoming:
        await receive(call.request.content, incoming)
        if incoming.digests().sha256 != oid:
            raise Problem(400, f"The content is not {oid}")
        call.platform.store.put_upload(
            repo, clean_path(_waiting(oid)), incoming, by=call.caller.name, claimed={}
        )
    return web.Response(status=200)


# -- commit


@dataclass(slots=True, kw_only=True)
class _Changes:
    """What a commit does to the files before it."""

    small: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


async def commit(call: Call) -> web.Response:
    """Make a new revision."""
    rev = clean_path(unquote(call.params["rev"]))
    model = model_path(call)
    repo = _writable(call, model)
    changes = _read_commit(await call.body(_MAX_COMMIT))
    revision = _store_commit(call, repo, f"{model}/{rev}", changes)
    url = f"{call.base()}/api/huggingfaceml/{call.params['repo']}/{call.params['org']}/{call.params['name']}"
    sha = commit_of(revision)
    body = {"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}", "hookOutput": ""}
    return web.json_response(body)


def _read_commit(body: bytes) -> _Changes:
    changes = _Changes()
    try:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry.get("value") or {}
            if entry.get("key") == "file":
                changes.small[clean_path(value["path"])] = base64.b64decode(value["content"], validate=True)
            elif entry.get("key") == "lfsFile":
                changes.large[clean_path(value["path"])] = str(value["oid"]).lower()
            elif entry.get("key") in ("deletedFile", "deletedFolder"):
                changes.gone.append(clean_path(value["path"]))
    except (ValueError, KeyError, binascii.Error) as error:
        raise Problem(400, "The commit cannot be read") from error
    return changes


def _store_commit(call: Call, repo: str, branch: str, changes: _Changes) -> Item:
    """Write a revision folder: what `branch` (`models/<org>/<name>/<revision>`) held last, with the changes."""
    store, by = call.platform.store, call.caller.name
    model, _, rev = branch.rpartition("/")
    folder = f"{branch}_{iso(call.platform.now())}"
    with store.lock:
        before = next(
            (item for item in revisions(store, repo, model) if item.name.rpartition("_")[0] == rev), None
        )
        kept = files_of(store, before) if before else {}
        large = {path: _uploaded(call, repo, oid) for path, oid in changes.large.items()}
        for path, item in kept.items():
            if not any(path == gone or path.startswith(gone + "/") for gone in changes.gone):
                store.put_known(repo, f"{folder}/files/{path}", item.content, by=by, blob=item.blob)
        for path, digests in large.items():
            store.put_known(repo, f"{folder}/files/{path}", digests, by=by)
        for path, data in changes.small.items():
            with store.receive() as incoming:
                incoming.write(data)
                store.put_upload(repo, f"{folder}/files/{path}", incoming, by=by, claimed={})
        return store.make_folder(repo, folder, by=by)


def _uploaded(call: Call, repo: str, oid: str) -> Digests:
    item = call.platform.store.find(repo, _waiting(oid))
    if item is None:
        raise Problem(400, f"The large file {oid} was not uploaded")
    return item.content
