"""Reading contents: files, their checksums, folders as pages.

Promises Xray's download block in front of every delivery. `archive!/inner` paths are not offered.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from aiohttp import web

from governance.devserver import access, wire
from governance.devserver.blocking import refuse_blocked
from governance.devserver.delivery import file_response
from governance.devserver.items import Item
from governance.devserver.paths import CHECKSUM_SUFFIXES, Target, parse_target
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router


def add_routes(router: Router) -> None:
    """GET and HEAD of everything under `/artifactory/{repo}/...` that is no API."""
    router.add("GET|HEAD", "/artifactory/{target*}", get)


async def get(call: Call) -> web.StreamResponse:
    """A file, a checksum of one, or a folder's listing as HTML."""
    raw = call.params["target"]
    target = parse_target(raw)
    item = access.readable(call, target)
    if item is None:
        return _checksum_text(call, target)
    if item.folder:
        return _listing(call, item, raw)
    if target.is_folder:
        raise Problem(404, "File not found.")
    if "properties" in call.request.query:
        return wire.answer(wire.properties(item, call.base()), "ItemProperties")
    _refuse_mismatch(item, target)
    return await deliver(call, item)


async def deliver(call: Call, item: Item) -> web.StreamResponse:
    """The file, unless Xray's policies block it. A blocked file never answers 304."""
    await refuse_blocked(call.platform, item)
    path = call.platform.store.content_path(item)
    if call.request.method == "GET":
        call.platform.store.count_download(item, call.caller.name)
    return file_response(call.request, item, path, path.stat().st_size)


def _refuse_mismatch(item: Item, target: Target) -> None:
    """A matrix parameter whose key ends in `+` is a condition on the item."""
    for key, values in target.properties.items():
        if key.endswith("+") and not set(values) & set(item.properties.get(key.removesuffix("+"), ())):
            raise Problem(404, "File not found.")


def _checksum_text(call: Call, target: Target) -> web.Response:
    for suffix, algorithm in CHECKSUM_SUFFIXES.items():
        if target.path.endswith(suffix):
            item = call.platform.store.find(target.repo, target.path.removesuffix(suffix))
            if item is not None and not item.folder:
                return web.Response(text=item.content.by_name()[algorithm])
    raise Problem(404, "File not found.")


def _listing(call: Call, item: Item, raw: str) -> web.Response:
    if not raw.split(";", maxsplit=1)[0].endswith("/"):
        raise Problem(302, "Found", headers={"Location": f"/artifactory/{raw}/"})
    rows = []
    for child in call.platform.store.children(item):
        name = child.name + ("/" if child.folder else "")
        rows.append(f'<a href="{quote(name)}">{html.escape(name)}</a>')
    title = f"Index of {html.escape(item.repo)}/{html.escape(item.path)}"
    links = "\n".join(rows)
    text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><pre>{links}</pre></body></html>"
    return web.Response(text=text, content_type="text/html")
