"""Sending a stored file: whole or a range, by `sendfile` where that is possible.

Promises bounded memory and the headers of a real server: bare SHA-1 as `ETag`, the three checksums, ranges including
suffix ranges. Several ranges in one request get the whole file, which the standard allows. Does not check rights.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from governance.devserver.items import Item

_CHUNK = 256 * 1024
_SMALL = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class FileResponse(web.StreamResponse):
    """A part of a file on disk. A scripted fault may set `truncate_at` or `corrupt_at` before it is sent."""

    def __init__(
        self, path: Path, *, status: int, start: int, count: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status=status, headers=headers)
        self._source, self._first, self._count = path, start, count
        self.content_length = count
        self.truncate_at: int | None = None
        self.corrupt_at: int | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body; aiohttp calls this once."""
        if self.prepared:
            return await super().prepare(request)
        if request.method == "HEAD":
            return await super().prepare(request)
        # Opened before the headers go out: a file that was deleted meanwhile is still a clean error then.
        with _open(self._source) as file:
            writer = await super().prepare(request)
            if writer is None:
                return writer
            transport = request.transport
            if transport is None:
                raise ConnectionResetError("the client has gone")
            if self.truncate_at is not None or self.corrupt_at is not None:
                await self._send_badly(writer, transport, file)
            elif self._count <= _SMALL:
                file.seek(self._first)
                await self.write(file.read(self._count))
            else:
                await asyncio.get_running_loop().sendfile(transport, file, self._first, self._count)
            return writer

    async def _send_badly(
        self, writer: AbstractStreamWriter, transport: asyncio.Transport, file: BinaryIO
    ) -> None:
        file.seek(self._first)
        end = self._count if self.truncate_at is None else min(self.truncate_at, self._count)
        sent = 0
        while sent < end:
            chunk = bytearray(file.read(min(_CHUNK, end - sent)))
            if self.corrupt_at is not None and sent <= self.corrupt_at < sent + len(chunk):
                chunk[self.corrupt_at - sent] ^= 0xFF
            await self.write(bytes(chunk))
            sent += len(chunk)
        if end < self._count:
            await writer.drain()
            transport.close()


def _open(path: Path) -> BinaryIO:
    """Open a local file; quicker than a thread would be found for it."""
    return path.open("rb")


def file_headers(item: Item) -> dict[str, str]:
    """The headers that describe a file, whether its bytes follow or not."""
    content, name = item.content, quote(item.name)
    return {
        "Content-Type": item.mime_type,
        "Last-Modified": format_datetime(item.modified.astimezone(UTC), usegmt=True),
        "ETag": content.sha1,
        "X-Checksum-Sha1": content.sha1,
        "X-Checksum-Sha256": content.sha256,
        "X-Checksum-Md5": content.md5,
        "Accept-Ranges": "bytes",
        "X-Artifactory-Filename": name,
        "Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}",
    }


def file_response(request: web.Request, item: Item, path: Path, size: int) -> web.StreamResponse:
    """The answer to GET or HEAD of a file. `size` is that of the bytes on disk."""
    headers = file_headers(item)
    if _unmodified(request, item):
        return web.Response(status=304, headers=headers)
    wanted = _wanted(request, item, size)
    if wanted is None:
        return FileResponse(path, status=200, start=0, count=size, headers=headers)
    start, end = wanted
    if start >= end:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return FileResponse(path, status=206, start=start, count=end - start, headers=headers)


def _unmodified(request: web.Request, item: Item) -> bool:
    """`If-None-Match` is compared as plain text; where a date is sent too, both must say so."""
    tag, since = request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since")
    if tag is None and since is None:
        return False
    same_tag = tag is None or tag.strip('"') == item.content.sha1
    return same_tag and (since is None or not _newer(item, since))


def _newer(item: Item, date: str) -> bool:
    try:
        limit = parsedate_to_datetime(date)
    except ValueError:
        return True
    return item.modified.astimezone(UTC).replace(microsecond=0) > _aware(limit)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _wanted(request: web.Request, item: Item, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last, or None for the whole file. `start >= end` cannot be satisfied."""
    match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if match is None or not any(match.groups()) or not _range_applies(request, item):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    if last and int(last) < int(first):
        return None  # not a range at all by the standard, hence ignored
    return int(first), min(int(last) + 1, size) if last else size


def _range_applies(request: web.Request, item: Item) -> bool:
    condition = request.headers.get("If-Range")
    if condition is None:
        return True
    if condition.strip('"').startswith(item.content.sha1):
        return True
    try:
        parsedate_to_datetime(condition)
    except ValueError:
        return False
    return not _newer(item, condition)
