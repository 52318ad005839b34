"""Repositories of the `machinelearning` type, as `frogml` uses them: a transaction, files, a manifest that closes it.

Promises that a version appears under its final path only when its manifest arrives. Does not check that every file of
the manifest came, as the real server does not either: a client that lost one finds out when it reads.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from aiohttp import BodyPartReader, web

from governance.devserver import access, wire
from governance.devserver.items import join
from governance.devserver.paths import Properties, check_keys, clean_path
from governance.devserver.problems import Problem
from governance.devserver.routing import MAX_JSON, Call, Router

Json = dict[str, Any]
_UNFINISHED = "tmp"
_FOLDERS = {"model": "models", "dataset": "datasets"}
_PLACES = (
    ("{kind}_artifacts", "{kind}"),
    ("dependency_artifacts", "dependencies"),
    ("code_artifacts", "code"),
)


def add_routes(router: Router) -> None:
    """`api/machinelearning`."""
    root = "/artifactory/api/machinelearning/{repo}/{kind}"
    router.add("PUT", root + "/entity-manifest/{rest*}", close)
    router.add("GET", root + "/entity-manifest/{rest*}", manifest)
    router.add("POST", root + "/{rest*}", start)


def _folder(call: Call) -> str:
    kind = call.params["kind"]
    config = call.platform.store.repositories.get(call.params["repo"])
    if kind not in _FOLDERS:
        raise Problem(400, f"Unknown entity type {kind}")
    if config is None or config["packageType"] != "machinelearning":
        raise Problem(404, f"There is no machinelearning repository {call.params['repo']}")
    return _FOLDERS[kind]


async def start(call: Call) -> web.Response:
    """Begin a version. Without one given, its number is the transaction's."""
    name, found, version = clean_path(unquote(call.params["rest"])).partition("/start-transaction")
    if not found:
        raise Problem(404, "Not Found")
    transaction = str(int(call.platform.now().timestamp() * 1000))
    path = f"{_folder(call)}/{name}/{_UNFINISHED}/{version.strip('/') or transaction}/{transaction}"
    access.require(call, "w", call.params["repo"], path)
    return web.json_response(
        {
            "filesUploadPath": f"{path}/{call.params['kind']}",
            "leadUploadPath": path,
            "dependenciesUploadPath": f"{path}/dependencies",
            "codeUploadPath": f"{path}/code",
            "transactionId": transaction,
        }
    )


async def close(call: Call) -> web.Response:
    """Take the manifest and move the version to its place."""
    repo, kind = call.params["repo"], call.params["kind"]
    *name, version, transaction = clean_path(unquote(call.params["rest"])).split("/")
    entity = f"{_folder(call)}/{'/'.join(name)}"
    access.require(call, "w", repo, f"{entity}/{version}")
    document, properties = await _parts(call, kind)
    store, by = call.platform.store, call.caller.name
    with store.lock:
        source = store.find(repo, f"{entity}/{_UNFINISHED}/{version}/{transaction}")
        for item in list(store.walk(source)) if source else []:
            path = (
                join(f"{entity}/{version}", item.path.removeprefix(source.path).strip("/")) if source else ""
            )
            if not item.folder:
                store.put_known(repo, path, item.content, by=by)
        if source is not None:
            store.delete(source)
        body = json.dumps({**document, "id": "/".join(name), "version": version}).encode()
        with store.receive() as incoming:
            incoming.write(body)
            store.put_upload(repo, f"{entity}/{version}/{kind}-manifest.json", incoming, by=by, claimed={})
        root = store.find(repo, f"{entity}/{version}")
        if root is not None and properties:
            store.set_properties(root, properties)
    return web.Response(status=201)


async def _parts(call: Call, kind: str) -> tuple[Json, Properties]:
    """The two parts of the form: the manifest and, perhaps, properties."""
    found: dict[str, Any] = {}
    async for part in await call.request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        data = bytearray()
        while chunk := await part.read_chunk(1 << 16):
            data += chunk
            if len(data) > MAX_JSON:
                raise Problem(413, "The manifest is too large")
        try:
            found[part.name] = json.loads(bytes(data))
        except ValueError as error:
            raise Problem(400, f"The part {part.name} is not JSON") from error
    document = found.get(f"{kind}Manifest")
    if not isinstance(document, dict):
        raise Problem(400, f"The part {kind}Manifest is missing")
    extra = found.get("additionalData") or {}
    properties = {
        key: tuple(value) if isinstance(value, list) else (str(value),) for key, value in extra.items()
    }
    check_keys(properties)
    return document, properties


async def manifest(call: Call) -> web.Response:
    """The manifest of a version, with an address for each file."""
    repo, kind = call.params["repo"], call.params["kind"]
    path = f"{_folder(call)}/{clean_path(unquote(call.params['rest']))}"
    access.require(call, "r", repo, path)
    item = call.platform.store.find(repo, f"{path}/{kind}-manifest.json")
    if item is None:
        raise Problem(404, "The version was not found")
    document: Json = json.loads(call.platform.store.content_path(item).read_bytes())
    for field, place in _PLACES:
        rows = document.get(field.format(kind=kind)) or []
        for row in rows if isinstance(rows, list) else [rows]:  # code is one object, the others are lists
            where = f"{path}/{place.format(kind=kind)}/{row['artifact_path']}"
            row["download_url"] = wire.content_uri(call.base(), repo, where)
    return web.json_response(document)
