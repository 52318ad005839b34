"""Where the bytes of an artifact's files are read from for a look: from Artifactory, or from this machine before they
are uploaded.

Promises: bytes read whole are those whose digest was listed, where one was; nothing larger than the caller's limit is
held. Does not: keep a file from changing afterwards. What is uploaded is held against what was looked at when it moves
(`Permit.moved`), and what is fetched against what was listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from governance.artifactory.client import ArtifactoryClient
from governance.content.localfile import open_local
from governance.errors import DigestMismatchError, TransferError
from governance.model.artifact import Artifact, FileEntry
from governance.model.digest import Sha256
from governance.model.request import Action, Request


class ByteSource(Protocol):
    """Reads files of one artifact."""

    def part(self, entry: FileEntry, start: int, size: int) -> bytes:
        """Bytes of a file from `start` on, `size` of them where there are so many."""
        ...

    def whole(self, entry: FileEntry, limit: int) -> bytes:
        """A file of at most `limit` bytes. Raises `GovernanceError` for a larger one, or one that cannot be read."""
        ...


class StoredBytes:
    """Files that lie in Artifactory."""

    def __init__(self, client: ArtifactoryClient, artifact: Artifact) -> None:
        self._client = client
        self._artifact = artifact

    def part(self, entry: FileEntry, start: int, size: int) -> bytes:
        """A part of a file. No checksum speaks for it. Raises `TransferError` where fewer bytes come than there are: of a file that
        begins with nothing, nothing bad can be said; `DigestMismatchError` where the server has another file in its place by now: who
        may replace it could have good bytes looked at, and others handed out, in turns."""
        data = self._client.read_part(
            self._artifact.repository, self._place(entry), start=start, size=size, sha256=entry.sha256
        )
        if len(data) < min(size, (entry.size or 0) - start):
            raise TransferError(f"of the {entry.size} bytes of `{entry.path}` only {start + len(data)} came")
        return data

    def whole(self, entry: FileEntry, limit: int) -> bytes:
        """A whole file. Raises `DigestMismatchError` where the bytes are not those that were listed."""
        place = self._place(entry)
        data = self._client.read_small(self._artifact.repository, place, limit=limit)
        actual = hashlib.sha256(data).hexdigest()
        if entry.sha256 is not None and entry.sha256 != actual:
            raise DigestMismatchError(place, expected=entry.sha256, actual=Sha256(actual))
        return data

    def _place(self, entry: FileEntry) -> str:
        return f"{self._artifact.path}/{entry.path}".lstrip("/")


class StagedBytes:
    """Files of this machine that are about to be uploaded."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def part(self, entry: FileEntry, start: int, size: int) -> bytes:
        """A part of a file. Raises `TransferError` where fewer bytes come than there are."""
        data = self._read(entry, start, size)
        if len(data) < min(size, (entry.size or 0) - start):
            raise TransferError(f"of the {entry.size} bytes of `{entry.path}` only {start + len(data)} came")
        return data

    def whole(self, entry: FileEntry, limit: int) -> bytes:
        """A whole file. Raises `TransferError` for more than `limit` bytes."""
        data = self._read(entry, 0, limit + 1)
        if len(data) > limit:
            raise TransferError(f"`{entry.path}` is larger than {limit} bytes")
        return data

    def _read(self, entry: FileEntry, start: int, size: int) -> bytes:
        try:
            path = self._paths[str(entry.path)]
        except KeyError:
            raise TransferError(f"`{entry.path}` is not at hand") from None
        with open_local(path) as file:
            file.seek(start)
            return file.read(size)


def byte_source(request: Request, clients: Callable[[str], ArtifactoryClient]) -> ByteSource | None:
    """Where the request's files can be read now: None for an upload whose files are not at hand."""
    if request.action is not Action.UPLOAD:
        return StoredBytes(clients(request.artifact.host), request.artifact)
    return None if request.staged is None else StagedBytes(request.staged)
