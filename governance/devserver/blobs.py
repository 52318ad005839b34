"""File contents, kept by SHA-256.

Promises that a blob appears whole or not at all: bytes go to a temporary file while SHA-1, SHA-256 and MD5 are computed
in the same pass, and a rename makes them visible. Does not survive a power cut: nothing is flushed to the disk, since
this is no production store.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """Size and checksums of some content."""

    size: int
    sha1: str
    sha256: str
    md5: str

    def by_name(self) -> dict[str, str]:
        """As in Artifactory's `checksums` objects."""
        return {"sha1": self.sha1, "sha256": self.sha256, "md5": self.md5}


class Incoming:
    """One upload on its way. Use as a context manager: what was not kept is removed."""

    def __init__(self, folder: Path) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder)
        self.path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append some bytes. Blocks: with many of them call `keep_bytes` and `digest` in two threads."""
        self.keep_bytes(data)
        self.digest(data)

    def keep_bytes(self, data: bytes) -> None:
        """One half of `write`: the file and SHA-256, which is the name it will have."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._sha256.update(data)
        self._size += len(data)

    def digest(self, data: bytes) -> None:
        """The other half of `write`: the older checksums, which cost as much time."""
        self._sha1.update(data)
        self._md5.update(data)

    def digests(self) -> Digests:
        """Checksums of what was written so far."""
        return Digests(
            size=self._size,
            sha1=self._sha1.hexdigest(),
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest(),
        )


class Blobs:
    """The folder of contents."""

    def __init__(self, root: Path) -> None:
        self._incoming = root / "incoming"
        self._blobs = root / "blobs"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._blobs.mkdir(exist_ok=True)
        for stale in self._incoming.iterdir():
            stale.unlink()

    def receive(self) -> Incoming:
        """Begin an upload."""
        return Incoming(self._incoming)

    def keep(self, incoming: Incoming) -> Digests:
        """Make an upload's content visible under its SHA-256."""
        digests = incoming.digests()
        place = self.path(digests.sha256)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            incoming.path.replace(place)
        return digests

    def path(self, sha256: str) -> Path:
        """Where that content lies, if it does."""
        return self._blobs / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        """Forget a content. Downloads under way finish, since they hold the open file."""
        self.path(sha256).unlink(missing_ok=True)
