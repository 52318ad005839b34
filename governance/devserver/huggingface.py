"""Repositories of the `huggingfaceml` type, as `huggingface_hub` uses them through `HF_ENDPOINT`.

Promises snapshots, single files and uploads in the storage layout of current servers:
`models/<org>/<name>/<revision>_<time>/files/<path>`; each upload makes a new revision folder, and the newest wins. Spaces,
pull requests, tags and the Xet transport are not offered.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from governance.devserver import access
from governance.devserver.download import deliver
from governance.devserver.items import Item, iso
from governance.devserver.paths import clean_path
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.store import Store

Json = dict[str, Any]
ROOT = "/artifactory/api/huggingfaceml/{repo}"


def add_routes(router: Router) -> None:
    """What a reader needs of `api/huggingfaceml`."""
    for kind in ("models", "datasets"):
        base = f"{ROOT}/api/{{kind}}/{{org}}/{{name}}".replace("{kind}", kind)
        router.add("GET|HEAD", base, info)
        router.add("GET|HEAD", base + "/revision/{rev}", info)
        router.add("GET", base + "/tree/{rev}", tree)
        router.add("GET", base + "/tree/{rev}/{below*}", tree)
    router.add("GET|HEAD", ROOT + "/datasets/{org}/{name}/resolve/{rev}/{path*}", resolve)
    router.add("GET|HEAD", ROOT + "/{org}/{name}/resolve/{rev}/{path*}", resolve)
    router.add("GET", ROOT + "/api/whoami-v2", whoami)


def kind_of(call: Call) -> str:
    """Whether a request is about models or datasets."""
    return "datasets" if "/datasets/" in call.request.path else "models"


def refuse(status: int, code: str, message: str) -> Problem:
    """A refusal that `huggingface_hub` turns into a typed exception."""
    return Problem(status, message, headers={"X-Error-Code": code, "X-Error-Message": message})


def commit_of(revision: Item) -> str:
    """A revision's commit id: 40 hexadecimal digits that follow from its folder."""
    return hashlib.sha1(revision.path.encode(), usedforsecurity=False).hexdigest()


def revisions(store: Store, repo: str, model: str) -> list[Item]:
    """Revision folders of a model, the newest first."""
    folder = store.find(repo, model)
    if folder is None or not folder.folder:
        return []
    found = [item for item in store.children(folder) if item.folder and "_" in item.name]
    return sorted(found, key=lambda item: item.name.rpartition("_")[2], reverse=True)


def model_path(call: Call) -> str:
    """Where a model lies in its repository."""
    return f"{kind_of(call)}/{clean_path(call.params['org'])}/{clean_path(call.params['name'])}"


def find_revision(call: Call, rev: str) -> Item:
    """A revision by branch or commit. Refusals name what is missing."""
    store, repo, model = call.platform.store, call.params["repo"], model_path(call)
    config = store.repositories.get(repo)
    if config is None or config["packageType"] != "huggingfaceml":
        raise refuse(404, "RepoNotFound", f"There is no huggingfaceml repository {repo}")
    access.require(call, "r", store.repositories.readable(repo)[0], model)
    known = revisions(store, repo, model)
    if not known:
        raise refuse(404, "RepoNotFound", f"{call.params['org']}/{call.params['name']} is not here")
    for item in known:
        if item.name.rpartition("_")[0] == rev or commit_of(item) == rev:
            return item
    raise refuse(404, "RevisionNotFound", f"There is no revision {rev}")


def files_of(store: Store, revision: Item) -> dict[str, Item]:
    """Files of a revision by the path that users know."""
    root = f"{revision.path}/files/"
    return {
        item.path.removeprefix(root): item
        for item in store.walk(revision)
        if item.path.startswith(root) and not item.folder
    }


async def info(call: Call) -> web.Response:
    """A model or dataset at a revision, `main` if none is named."""
    revision = find_revision(call, unquote(call.params.get("rev") or "main"))
    files = files_of(call.platform.store, revision)
    model_id = f"{call.params['org']}/{call.params['name']}"
    return web.json_response(
        {
            "_id": commit_of(revision)[:24],
            "id": model_id,
            "modelId": model_id,
            "sha": commit_of(revision),
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": iso(revision.modified),
            "createdAt": iso(revision.created),
            "siblings": [{"rfilename": path} for path in sorted(files)],
        }
    )


async def tree(call: Call) -> web.Response:
    """Files and folders of a revision, all or those of one level."""
    revision = find_revision(call, unquote(call.params["rev"]))
    below = clean_path(unquote(call.params.get("below", "")))
    prefix = f"{below}/" if below else ""
    rows: dict[str, Json] = {}
    for path, item in files_of(call.platform.store, revision).items():
        if not path.startswith(prefix):
            continue
        inner = path.removeprefix(prefix)
        folders = inner.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = prefix + "/".join(folders[:depth])
            rows.setdefault(
                folder, {"type": "directory", "path": folder, "oid": commit_of(revision), "size": 0}
            )
        rows[path] = {"type": "file", "path": path, "oid": item.content.sha1, "size": item.content.size}
    if not call.flag("recursive"):
        rows = {path: row for path, row in rows.items() if "/" not in path.removeprefix(prefix)}
    return web.json_response([rows[path] for path in sorted(rows)])


async def resolve(call: Call) -> web.StreamResponse:
    """One file. The commit header is what the client insists on."""
    revision = find_revision(call, unquote(call.params["rev"]))
    path = clean_path(unquote(call.params["path"]))
    item = call.platform.store.find(revision.repo, f"{revision.path}/files/{path}")
    if item is None or item.folder:
        problem = refuse(404, "EntryNotFound", f"There is no file {path}")
        problem.headers["X-Repo-Commit"] = commit_of(revision)
        raise problem
    try:
        response = await deliver(call, item)
    except Problem as problem:
        problem.headers.setdefault("X-Error-Message", problem.message)
        raise
    response.headers["X-Repo-Commit"] = commit_of(revision)
    return response


async def whoami(call: Call) -> web.Response:
    """Whom the token stands for."""
    return web.json_response({"type": "user", "name": call.signed_in().name, "orgs": []})
