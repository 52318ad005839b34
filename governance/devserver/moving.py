"""Copy and move on the server.

Promises that all rights are checked before the first item moves, and that properties and checksums travel along.
Layouts are not translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from governance.devserver import access, wire
from governance.devserver.items import Item, join
from governance.devserver.paths import clean_path, parse_target
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.store import Store


def add_routes(router: Router) -> None:
    """`api/copy` and `api/move`."""
    router.add("POST", "/artifactory/api/copy/{target*}", copy)
    router.add("POST", "/artifactory/api/move/{target*}", move)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    source: Item
    repo: str
    path: str
    verb: str


async def copy(call: Call) -> web.Response:
    """Copy a file or folder."""
    return _answer(call, "copy")


async def move(call: Call) -> web.Response:
    """Move a file or folder."""
    return _answer(call, "move")


def _answer(call: Call, verb: str) -> web.Response:
    store = call.platform.store
    try:
        with store.lock:
            transfer = _plan(call, verb)
            pairs = _pairs(store, transfer)
            _check_rights(call, transfer, pairs)
            if not call.flag("dry"):
                _perform(call, transfer, pairs)
    except Problem as problem:
        if problem.status not in (400, 404, 409):
            raise
        return _messages("ERROR", problem.message, problem.status)
    files = sum(not source.folder for source, _ in pairs)
    done = "copied" if verb == "copy" else "moved"
    verbing = "copying" if verb == "copy" else "moving"
    text = (
        f"{verbing} {transfer.source.label} to {transfer.repo}:{transfer.path} completed successfully,"
        f" {files} artifacts and {len(pairs) - files} folders were {done}"
    )
    return _messages("INFO", text, 200)


def _messages(level: str, text: str, status: int) -> web.Response:
    body: dict[str, Any] = {"messages": [{"level": level, "message": text}]}
    return wire.answer(body, "CopyOrMoveResult", status=status)


def _plan(call: Call, verb: str) -> _Transfer:
    source = access.existing(call, parse_target(call.params["target"]))
    repo, _, path = call.query("to").lstrip("/").partition("/")
    if not repo or repo not in call.platform.store.repositories:
        raise Problem(400, f"Could not find the target repository '{repo}'.")
    repo, path = call.platform.store.repositories.writable(repo), clean_path(path)
    target = call.platform.store.find(repo, path)
    if (
        target is not None
        and target.folder
        and (source.folder or call.query("to").endswith("/"))
        and target.path
    ):
        path = join(path, source.name)  # an existing folder receives the source below it
    if (source.repo, source.path) == (repo, path):
        raise Problem(400, "Source and destination are the same.")
    if source.folder and repo == source.repo and path.startswith(source.path + "/"):
        raise Problem(400, "A folder cannot be put below itself.")
    return _Transfer(source=source, repo=repo, path=path, verb=verb)


def _pairs(store: Store, transfer: _Transfer) -> list[tuple[Item, str]]:
    """Each item with its new path."""
    source = transfer.source
    pairs = [(source, transfer.path)]
    if source.folder:
        pairs += [
            (item, join(transfer.path, item.path.removeprefix(source.path).lstrip("/")))
            for item in store.walk(source)
        ]
    return pairs


def _check_rights(call: Call, transfer: _Transfer, pairs: list[tuple[Item, str]]) -> None:
    access.require(call, "w", transfer.repo, transfer.path)
    if transfer.verb == "move":
        access.require(call, "d", transfer.source.repo, transfer.source.path)
    for source, path in pairs:
        held = call.platform.store.find(transfer.repo, path)
        if held is None or (held.folder and source.folder):
            continue
        if held.folder != source.folder:
            raise Problem(409, f"'{held.label}' is in the way.")
        access.require(
            call,
            "d",
            transfer.repo,
            path,
            f"Not enough permissions to delete/overwrite artifact '{held.label}' (user: '{call.caller.name}' needs"
            " DELETE permission).",
        )


def _perform(call: Call, transfer: _Transfer, pairs: list[tuple[Item, str]]) -> None:
    store, by = call.platform.store, call.caller.name
    for source, path in pairs:
        if source.folder:
            made = store.make_folder(transfer.repo, path, by=by)
        else:
            made = store.put_known(
                transfer.repo, path, source.content, by=by, claimed=source.claimed, blob=source.blob
            )
        if source.properties:
            store.set_properties(made, source.properties)
    if transfer.verb == "move":
        store.delete(transfer.source)
