"""Moving bytes, in parallel, hashed as they pass.

Promises: every function that moves bytes takes the `Permit` that covers them and reports each digest to it; a download
is written to a staging folder only; memory stays bounded whatever the sizes; symbolic links are not followed. Does not:
decide, sign, or release.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.hashing import hashing
from governance.artifactory.items import Deployed
from governance.content.localfile import open_local
from governance.errors import (
    ConflictError,
    DigestMismatchError,
    ForbiddenError,
    NotFoundError,
    TransferError,
    UnsafePathError,
)
from governance.model.artifact import RelativePath, RepositoryKey, parse_relative_path
from governance.model.digest import Sha256
from governance.permit import Permit
from plugin.staging import space_errors
from plugin.workers import run_all

CHUNK = 256 << 10
"""Bytes read at a time. A fresh object of a mebibyte is fetched from the system and given back each time, a page fault
for every 4 KiB; of this size it is taken from what the process has, which halves the CPU time of a large download."""

OpenNew = Callable[[str], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A file to fetch: where it lies, its name in the judged artifact, its size as listed, and the staging folder and name
    there. Plain text, since a path object per file and step is a tenth of what a small file costs."""

    repository: RepositoryKey
    path: str
    name: str
    size: int | None
    folder: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A file to send: where it lies locally, where it goes, its name in the judged artifact, its size when judged."""

    source: Path
    repository: RepositoryKey
    path: str
    name: str
    size: int


def open_new(place: str) -> BinaryIO:
    """Create a file that must not exist, with the rights that the umask leaves. Buffered, since a raw file may write less
    than it is given and say so only in a number."""
    return open(place, "xb")  # noqa: PTH123 - see `Incoming`


def fetch(
    client: ArtifactoryClient,
    items: Sequence[tuple[Permit, Incoming]],
    *,
    workers: int,
    opener: OpenNew = open_new,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Download all items, several at a time. Raises the first error; what was staged until then is of no use."""
    for folder in {item.folder for _, item in items}:
        with space_errors(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    run_all(
        [lambda pair=pair: fetch_file(client, *pair, opener=opener, stop=stop) for pair in items],  # type: ignore[misc]
        workers,
        done,
        stop=stop,
    )


def fetch_file(
    client: ArtifactoryClient,
    permit: Permit,
    item: Incoming,
    *,
    opener: OpenNew = open_new,
    stop: threading.Event | None = None,
) -> None:
    """Download one file into its place, hash what is written, and hold it against what was judged. Raises `DigestMismatchError` for
    other bytes."""
    left = item.size
    with (
        space_errors(item.folder, item.name),
        hashing(item.size) as hasher,
        client.download(item.repository, item.path) as body,
        opener(item.place) as file,
    ):
        for chunk in body.chunks(CHUNK):
            _check_wanted(stop)
            left = None if left is None else left - len(chunk)
            if left is not None and left < 0:
                # A file swapped for a larger one must not fill the disk before its digest is found to differ.
                raise DigestMismatchError(item.name, expected=f"{item.size} bytes", actual="more")
            hasher.update(chunk)
            file.write(chunk)
        if left:
            raise DigestMismatchError(item.name, expected=f"{item.size} bytes", actual=f"{left} fewer")
        actual = hasher.hexdigest()
    permit.moved(item.name, Sha256(actual))


def send(
    client: ArtifactoryClient,
    permit: Permit,
    items: Sequence[Outgoing],
    *,
    workers: int,
    done: Callable[[], object] = lambda: None,
) -> dict[str, Sha256]:
    """Upload all items, several at a time. The digests of what was sent, by name. Raises the first error."""
    digests: dict[str, Sha256] = {}
    stop = threading.Event()

    def one(item: Outgoing) -> None:
        digests[item.name] = send_file(client, permit, item, stop=stop)

    run_all([lambda item=item: one(item) for item in items], workers, done, stop=stop)  # type: ignore[misc]
    return digests


def send_file(
    client: ArtifactoryClient, permit: Permit, item: Outgoing, *, stop: threading.Event | None = None
) -> Sha256:
    """Upload one file, hashed while it is read; the server's own digest must agree. The digest of what was sent.
    Raises `DigestMismatchError` where it does not, and `TransferError` for a file that changes meanwhile.

    Where the file was looked into before, the server is told its digest, so that it does not store other bytes.
    """
    with open_local(item.source) as file:
        size = os.fstat(file.fileno()).st_size
        if size != item.size:
            raise TransferError(
                f"`{item.source}` changed while it was about to be uploaded ({item.size} bytes, now {size})",
                hint="Log it again when nothing writes to it any more.",
            )
        body, expected = _Wanted(file, stop), permit.expected(item.name)
        try:
            sent = client.upload(item.repository, item.path, body, size=size, sha256=expected)
        except ConflictError as error:
            actual = _digest_of(file)
            if expected in (None, actual):
                raise
            raise DigestMismatchError(item.name, expected=expected, actual=actual) from error
        except ForbiddenError:
            # Whoever may not overwrite would never get past what an interrupted upload has left behind.
            actual = _digest_of(file)
            if not _is_stored(client, item, actual):
                raise
            sent = Deployed(sha256=actual, size=size)
    permit.moved(item.name, sent.sha256)
    return sent.sha256


def _digest_of(file: BufferedReader) -> Sha256:
    file.seek(0)
    return Sha256(hashlib.file_digest(file, "sha256").hexdigest())


def _is_stored(client: ArtifactoryClient, item: Outgoing, sha256: Sha256) -> bool:
    """Whether these very bytes lie at the place already."""
    try:
        return client.info(item.repository, item.path).sha256 == sha256
    except (ForbiddenError, NotFoundError):
        return False


class _Wanted:
    """A file that is read for as long as somebody wants what is made of it."""

    def __init__(self, file: BinaryIO, stop: threading.Event | None) -> None:
        self._file = file
        self._stop = stop
        self.seekable, self.seek, self.tell = file.seekable, file.seek, file.tell

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes. Raises `TransferError` where nobody wants them any more."""
        _check_wanted(self._stop)
        return self._file.read(size)


def _check_wanted(stop: threading.Event | None) -> None:
    """What one transfer ends with when another one has failed, or its caller was interrupted. Nobody is told this."""
    if stop is not None and stop.is_set():
        raise TransferError("nobody waits for this file any more")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTree:
    """The regular files of a local folder with their sizes, and its empty folders, by relative name."""

    files: tuple[tuple[RelativePath, int], ...]
    empty_folders: tuple[RelativePath, ...]


def scan(folder: Path) -> LocalTree:
    """List a local folder. Raises `UnsafePathError` for symbolic links and special files, before anything is sent."""
    if not folder.is_dir():
        raise TransferError(f"`{folder}` is not a folder")
    files: list[tuple[RelativePath, int]] = []
    empty: list[RelativePath] = []
    for relative, entry in _walk(folder, ""):
        if entry is None:
            empty.append(parse_relative_path(relative))
        elif entry.is_symlink():
            raise UnsafePathError(
                f"`{entry.path}` is a symbolic link, which is not followed",
                hint="Replace it by a copy of the file.",
            )
        elif not entry.is_file():
            raise UnsafePathError(f"`{entry.path}` is neither a file nor a folder")
        else:
            files.append((parse_relative_path(relative), entry.stat(follow_symlinks=False).st_size))
    return LocalTree(files=tuple(files), empty_folders=tuple(empty))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Entries below a folder by relative name, `None` for an empty folder; links to folders are not entered."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise TransferError(f"`{folder}` cannot be read: {error.strerror}") from error
    if not entries and prefix:
        yield prefix, None
    for entry in entries:
        name = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), name)
        else:
            yield name, entry
