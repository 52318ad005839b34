"""Changing contents: deploy, checksum deploy, folders, delete.

Promises one pass over an upload (disk and three checksums) and a refusal before a stored byte where rights are missing.
Exploding archives is not offered. Reading is in `download`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.streams import StreamReader

from governance.devserver import access, wire
from governance.devserver.blobs import Incoming
from governance.devserver.items import Item
from governance.devserver.paths import CHECKSUM_SUFFIXES, Target, check_keys, client_checksums, parse_target
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router

_BLOCK = 2 << 20
_INLINE = 128 * 1024
_MAX_CHECKSUM_FILE = 1024


def add_routes(router: Router) -> None:
    """Everything under `/artifactory/{repo}/...` that is no API."""
    router.add("PUT", "/artifactory/{target*}", put)
    router.add("DELETE", "/artifactory/{target*}", delete)


# -- deploy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deploy:
    """A deploy that was found permissible, to the repository `repo` that really holds files."""

    repo: str
    target: Target
    claimed: dict[str, str]

    @property
    def path(self) -> str:
        return self.target.path


async def put(call: Call) -> web.StreamResponse:
    """Deploy a file, set a client checksum, or make a folder."""
    target = parse_target(call.params["target"])
    check_keys(target.properties)
    if call.request.headers.get("X-Explode-Archive", "false").lower() == "true":
        raise Problem(400, "This server does not unpack archives.")
    if target.is_folder:
        return _make_folder(call, target)
    by_checksum = call.request.headers.get("X-Checksum-Deploy", "false").lower() == "true"
    suffix = next((end for end in CHECKSUM_SUFFIXES if target.path.endswith(end)), None)
    if suffix and not by_checksum:
        return await _put_checksum(call, target, suffix)
    deploy = _admit(call, target)
    item = _deploy_known(call, deploy) if by_checksum else await _deploy_body(call, deploy)
    return _created(call, _annotate(call, item, target))


def _admit(call: Call, target: Target) -> _Deploy:
    """Every reason to refuse a deploy that can be known before the body."""
    store = call.platform.store
    if target.repo not in store.repositories:
        call.signed_in()
        raise Problem(404, f"Could not find a local repository named {target.repo} to deploy to.")
    repo = store.repositories.writable(target.repo)
    access.require(call, "w", repo, target.path)
    claimed = client_checksums(call.request.headers)
    old = store.find(repo, target.path)
    if old is not None and old.folder:
        raise Problem(409, f"Cannot deploy a file over the folder '{old.label}'.")
    if old is not None and not _same_content(old, claimed) and not access.has(call, "d", repo, target.path):
        raise Problem(
            403,
            f"Not enough permissions to delete/overwrite artifact '{old.label}' (user: '{call.caller.name}' needs"
            " DELETE permission).",
        )
    _refuse_file_parents(call, repo, target.path)
    return _Deploy(repo=repo, target=target, claimed=claimed)


def _same_content(old: Item, claimed: dict[str, str]) -> bool:
    """A repeat of the same bytes needs no right to delete."""
    stored = old.content.by_name()
    return any(claimed.get(name) == stored[name] for name in ("sha1", "sha256"))


def _refuse_file_parents(call: Call, repo: str, path: str) -> None:
    parent = path.rpartition("/")[0]
    while parent:
        item = call.platform.store.find(repo, parent)
        if item is not None and not item.folder:
            raise Problem(409, f"Cannot deploy below the file '{item.label}'.")
        parent = parent.rpartition("/")[0]


def _deploy_known(call: Call, deploy: _Deploy) -> Item:
    """Checksum deploy: only for content that the caller may read somewhere, else it would tell what exists."""
    algorithm = next((name for name in ("sha256", "sha1") if name in deploy.claimed), None)
    if algorithm is None:
        raise Problem(400, "Checksum values not provided")
    checksum = deploy.claimed[algorithm]
    store = call.platform.store
    for holder in store.holders(algorithm, checksum):
        if access.has(call, "r", holder.repo, holder.path):
            by = call.caller.name
            return store.put_known(deploy.repo, deploy.path, holder.content, by=by, claimed=deploy.claimed)
    text = (
        "sha1:{} not found"
        if algorithm == "sha1"
        else "Checksum deploy failed. No existing file with SHA-256: {}"
    )
    raise Problem(404, text.format(checksum))


async def _deploy_body(call: Call, deploy: _Deploy) -> Item:
    store = call.platform.store
    with store.receive() as incoming:
        await receive(call.request.content, incoming)
        actual = incoming.digests().by_name()
        if any(actual[name] != value for name, value in deploy.claimed.items()):
            raise _mismatch(deploy, actual)
        return store.put_upload(
            deploy.repo, deploy.path, incoming, by=call.caller.name, claimed=deploy.claimed
        )


async def receive(content: StreamReader, incoming: Incoming) -> None:
    """Take a body in. A long one is hashed and written in two threads while the next part arrives; at most two blocks are
    in memory, each in one piece, since threads would spend their time on passing the interpreter's lock around."""
    held: list[bytes] = []
    size = 0
    busy: asyncio.Future[Any] | None = None
    try:
        async for chunk in content.iter_any():
            held.append(chunk)
            size += len(chunk)
            if size >= _BLOCK:
                if busy is not None:
                    await busy
                busy = _hash(incoming, b"".join(held))
                held, size = [], 0
    finally:
        if busy is not None:
            await busy
    if size > _INLINE:
        await _hash(incoming, b"".join(held))
    else:
        incoming.write(b"".join(held))


def _hash(incoming: Incoming, block: bytes) -> asyncio.Future[Any]:
    loop = asyncio.get_running_loop()
    return asyncio.gather(
        loop.run_in_executor(None, incoming.keep_bytes, block),
        loop.run_in_executor(None, incoming.digest, block),
    )


def _mismatch(deploy: _Deploy, actual: dict[str, str]) -> Problem:
    names = {"sha1": "SHA-1", "md5": "MD5", "sha256": "SHA-256"}
    parts = ", ".join(
        f"{shown}=ChecksumInfo{{type={shown}, original='{deploy.claimed.get(name, '')}', actual='{actual[name]}'}}"
        for name, shown in names.items()
    )
    return Problem(
        409,
        f"Checksum policy 'LocalRepoChecksumPolicy: CLIENT' rejected the artifact '{deploy.repo}:{deploy.path}'."
        f" Checksums info: ChecksumsInfo{{checksums={{{parts}}}}}",
    )


def _annotate(call: Call, item: Item, target: Target) -> Item:
    """Set matrix properties. Without the right to annotate they are dropped without a word, as real servers do."""
    if not target.properties or not access.has(call, "n", item.repo, item.path):
        return item
    return call.platform.store.set_properties(item, target.properties)


async def _put_checksum(call: Call, target: Target, suffix: str) -> web.StreamResponse:
    """`file.sha256` is no file: it sets the checksum that the client claims for `file`."""
    store = call.platform.store
    repo = store.repositories.writable(target.repo)
    access.require(call, "w", repo, target.path)
    item = store.find(repo, target.path.removesuffix(suffix))
    if item is None or item.folder:
        raise Problem(404, "Target file to set checksum on doesn't exist")
    body = await call.body(limit=1 << 16)
    if len(body) > _MAX_CHECKSUM_FILE:
        raise Problem(409, f"Suspicious checksum file of {len(body)} bytes for '{item.label}'")
    algorithm = CHECKSUM_SUFFIXES[suffix]
    received, actual = (
        body.decode("ascii", "replace").split(" ")[0].strip().lower(),
        item.content.by_name()[algorithm],
    )
    if received != actual:
        raise Problem(
            409, f"Checksum error for '{item.path}': received '{received}' but actual is '{actual}'"
        )
    store.claim(item, {algorithm: received})
    return _created(call, item)


def _make_folder(call: Call, target: Target) -> web.Response:
    store = call.platform.store
    if target.repo not in store.repositories:
        raise Problem(404, f"Could not find a local repository named {target.repo} to deploy to.")
    repo = store.repositories.writable(target.repo)
    access.require(call, "w", repo, target.path)
    _refuse_file_parents(call, repo, target.path + "/")
    item = store.make_folder(repo, target.path, by=call.caller.name)
    return _created(call, _annotate(call, item, target))


def _created(call: Call, item: Item) -> web.Response:
    body = wire.item_created(item, call.base())
    headers = {"Location": body["uri"]}
    if not item.folder:
        headers |= {
            f"X-Checksum-{name.capitalize()}": value for name, value in item.content.by_name().items()
        }
    return wire.answer(body, "ItemCreated", status=201, headers=headers)


# -- delete


async def delete(call: Call) -> web.StreamResponse:
    """Remove a file, or a folder with all below it."""
    target = parse_target(call.params["target"])
    store = call.platform.store
    keys = store.repositories.readable(target.repo)
    if keys:
        access.require(call, "d", keys[0], target.path)
    call.signed_in()
    item = store.find(target.repo, target.path)
    if item is None:
        raise Problem(404, f"Could not locate artifact '{target.label}' (Nothing to delete).")
    if not target.path:
        call.platform.security.require_admin(call.caller)
    store.delete(item)
    return web.Response(status=204)
