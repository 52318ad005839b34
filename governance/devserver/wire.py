"""The JSON forms of items.

Promises the shapes that clients rely on: a folder has `children` and no `size`, a file's `size` is a string, the root of
a repository has no `createdBy`. Does not look anything up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import web

from governance.devserver.items import Item, iso
from governance.devserver.store import Store

_VENDOR = "application/vnd.org.jfrog.artifactory.storage."


def answer(
    body: Mapping[str, Any], kind: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with one of Artifactory's own content types."""
    content_type = f"{_VENDOR}{kind}+json"
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type=content_type, headers=headers
    )


def storage_uri(base: str, repo: str, path: str) -> str:
    """The address of an item in the storage API."""
    return f"{base}/api/storage/{repo}{_slash(quote(path))}"


def content_uri(base: str, repo: str, path: str) -> str:
    """The address of an item's content."""
    return f"{base}/{repo}{_slash(quote(path))}"


def _slash(path: str) -> str:
    return f"/{path}" if path else ""


def item_created(item: Item, base: str) -> dict[str, Any]:
    """The answer to a deploy."""
    uri = content_uri(base, item.repo, item.path)
    body: dict[str, Any] = {
        "repo": item.repo,
        "path": f"/{item.path}",
        "created": iso(item.created),
        "createdBy": item.created_by,
        "downloadUri": uri,
        "uri": uri,
    }
    if item.folder:
        return body | {"path": f"/{item.path}/", "uri": f"{uri}/"}
    return body | _file_fields(item)


def _file_fields(item: Item) -> dict[str, Any]:
    return {
        "mimeType": item.mime_type,
        "size": str(item.content.size),
        "checksums": item.content.by_name(),
        "originalChecksums": dict(item.claimed),
    }


def item_info(item: Item, *, shown_as: str, base: str, children: Iterable[Item]) -> dict[str, Any]:
    """The answer of the storage API. `shown_as` is the key under which the repository was asked."""
    body: dict[str, Any] = {
        "repo": shown_as,
        "path": f"/{item.path}",
        "created": iso(item.created),
        "lastModified": iso(item.modified),
        "lastUpdated": iso(item.modified),
        "uri": storage_uri(base, shown_as, item.path),
    }
    if item.path:
        body |= {"createdBy": item.created_by, "modifiedBy": item.modified_by}
    if item.folder:
        return body | {"children": [{"uri": f"/{child.name}", "folder": child.folder} for child in children]}
    return body | {"downloadUri": content_uri(base, shown_as, item.path)} | _file_fields(item)


def list_row(item: Item, root: Item, *, with_times: bool) -> dict[str, Any]:
    """One row of a deep listing, relative to `root`."""
    relative = item.path.removeprefix(root.path).strip("/")
    row: dict[str, Any] = {
        "uri": f"/{relative}",
        "size": -1 if item.folder else item.content.size,
        "lastModified": iso(item.modified),
        "folder": item.folder,
    }
    if not item.folder:
        row |= {"sha1": item.content.sha1, "sha2": item.content.sha256}
    if with_times:
        row["mdTimestamps"] = {"properties": iso(item.modified)} if item.properties else {}
    return row


def properties(item: Item, base: str, only: Iterable[str] = ()) -> dict[str, Any]:
    """The answer of `?properties`."""
    wanted = set(only)
    shown = {key: list(values) for key, values in item.properties.items() if not wanted or key in wanted}
    return {"uri": storage_uri(base, item.repo, item.path), "properties": shown}


def stats(item: Item, store: Store, base: str) -> dict[str, Any]:
    """The answer of `?stats`."""
    usage = store.usage(item)
    body: dict[str, Any] = {
        "uri": content_uri(base, item.repo, item.path),
        "downloadCount": usage.downloads,
        "lastDownloaded": int(usage.last.timestamp() * 1000) if usage.last else 0,
        "remoteDownloadCount": 0,
        "remoteLastDownloaded": 0,
    }
    return body | ({"lastDownloadedBy": usage.last_by} if usage.last else {})
