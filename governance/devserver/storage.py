"""The storage API: item info, listings, statistics, properties, and copy and move.

Promises properties that are written whole or not at all, by JSON (`PATCH api/metadata`) or in the grammar of
`?properties=`. Does not answer for contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from governance.devserver import access, wire
from governance.devserver.items import Item, iso
from governance.devserver.paths import Properties, check_keys, parse_property_list, parse_target
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router


def add_routes(router: Router) -> None:
    """`api/storage` and `api/metadata`."""
    router.add("GET|HEAD", "/artifactory/api/storage/{target*}", get)
    router.add("PUT", "/artifactory/api/storage/{target*}", put_properties)
    router.add("DELETE", "/artifactory/api/storage/{target*}", delete_properties)
    router.add("PATCH", "/artifactory/api/metadata/{target*}", patch_metadata)


async def get(call: Call) -> web.Response:
    """One of the views of an item, in the precedence of a real server."""
    target = parse_target(call.params["target"])
    query = call.request.query
    if "list" in query and call.caller.is_anonymous:
        raise Problem(403, "This resource is available to authenticated users only.")
    item = access.readable(call, target)
    if item is None:
        raise Problem(404, "Unable to find item path" if "stats" in query else "Unable to find item")
    if "list" in query:
        return _list(call, item)
    if "stats" in query:
        return wire.answer(wire.stats(item, call.platform.store, call.base()), "StatsInfo")
    if "lastModified" in query:
        body = {
            "uri": wire.storage_uri(call.base(), item.repo, item.path),
            "lastModified": iso(item.modified),
        }
        return wire.answer(body, "ItemLastModified")
    if "properties" in query:
        return _properties(call, item)
    if "permissions" in query:
        return _permissions(call, item)
    children = call.platform.store.children(item) if item.folder else []
    shown_as = call.platform.store.repositories.shown_key(target.repo, item.repo)
    body = wire.item_info(item, shown_as=shown_as, base=call.base(), children=children)
    return wire.answer(body, "FolderInfo" if item.folder else "FileInfo")


def _list(call: Call, item: Item) -> web.Response:
    if not item.folder:
        raise Problem(400, f"Expected folder but found file '{item.label}'")
    depth = int(call.query("depth", "0") or 0) or None
    if not call.flag("deep"):
        depth = 1
    folders, times = call.flag("listFolders"), call.flag("mdTimestamps")
    rows = [
        wire.list_row(found, item, with_times=times)
        for found in call.platform.store.walk(item, depth)
        if folders or not found.folder
    ]
    if call.flag("includeRootPath") and folders:
        rows.insert(0, wire.list_row(item, item, with_times=times))
    uri = wire.storage_uri(call.base(), item.repo, item.path)
    created = iso(call.platform.now())
    return wire.answer({"uri": uri, "created": created, "files": rows}, "FileList")


def _properties(call: Call, item: Item) -> web.Response:
    only = [key for key in call.query("properties").split(",") if key]
    body = wire.properties(item, call.base(), only)
    if not body["properties"]:
        raise Problem(404, "No properties could be found.")
    return wire.answer(body, "ItemProperties")


def _permissions(call: Call, item: Item) -> web.Response:
    """Effective rights. Managers see everybody's, others their own."""
    security = call.platform.security
    caller = call.signed_in()
    users: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    for target in security.targets.values():
        if not target.covers(item.repo, item.path):
            continue
        for held, granted in ((users, target.users), (groups, target.groups)):
            for name, letters in granted.items():
                held[name] = sorted({*held.get(name, []), *letters})
    if not access.has(call, "m", item.repo, item.path):
        users = {caller.name: sorted(security.rights(caller, item.repo, item.path))}
        groups = {}
    elif caller.admin:
        users[caller.name] = sorted(security.rights(caller, item.repo, item.path))
    uri = wire.storage_uri(call.base(), item.repo, item.path)
    return wire.answer({"uri": uri, "principals": {"users": users, "groups": groups}}, "ItemPermissions")


# -- writing properties


async def put_properties(call: Call) -> web.Response:
    """Add properties in the grammar of `?properties=`."""
    item = _annotatable(call)
    found = parse_property_list(call.query("properties"))
    _apply(call, item, found, (), recursive=call.flag("recursive", default=item.folder))
    return web.Response(status=204)


async def delete_properties(call: Call) -> web.Response:
    """Remove properties by name."""
    item = _annotatable(call)
    gone = [key for key in call.query("properties").split(",") if key]
    if not gone:
        raise Problem(400, "Properties value cannot be empty.")
    _apply(call, item, {}, gone, recursive=call.flag("recursive", default=item.folder))
    return web.Response(status=204)


async def patch_metadata(call: Call) -> web.Response:
    """Set and remove properties given as JSON; `null` removes."""
    item = _annotatable(call)
    props = (await call.json_object()).get("props")
    if not isinstance(props, dict):
        raise Problem(400, "Failed to parse json: 'props' is missing.")
    check_keys(props)
    found = {key: _values(value) for key, value in props.items() if value is not None}
    gone = [key for key, value in props.items() if value is None]
    name = "recursiveProperties" if "recursiveProperties" in call.request.query else "recursive"
    _apply(call, item, found, gone, recursive=call.flag(name, default=item.folder))
    return web.Response(status=204)


def _annotatable(call: Call) -> Item:
    return access.existing(call, parse_target(call.params["target"]), "n")


def _values(value: Any) -> tuple[str, ...]:
    """A property's values: text, or a list, which is a set."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float | bool) for each in values):
        raise Problem(400, "Property values are texts or lists of texts.")
    return tuple(dict.fromkeys(each if isinstance(each, str) else str(each) for each in values))


def _apply(
    call: Call, item: Item, found: Properties, gone: list[str] | tuple[str, ...], *, recursive: bool
) -> None:
    store = call.platform.store
    with store.lock:
        below = list(store.walk(item)) if recursive and item.folder else []
        for each in (item, *below):
            kept: Mapping[str, tuple[str, ...]] = {k: v for k, v in each.properties.items() if k not in gone}
            store.set_properties(each, {**kept, **found})
