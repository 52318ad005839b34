"""Hashing a folder: every file read once, in parallel, into one reused buffer per worker.

Promises: symbolic links, devices and pipes are refused, never followed; a file that changes while it is read is
refused. Does not: stop anybody from changing a file afterwards; that is what the digest is for.

Where a buffer lies costs more than its size. A large `bytearray` starts 16 bytes into a page, which is where copying
from the page cache is slowest on current x86 processors (each store falsely depends on a load 4 KiB before it): hashing
a file then takes half as long again. So the buffer is a mapping, which starts with its page. And it is kept, since a
fresh `bytes` object for each read is a page fault for each 4 KiB.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from governance.errors import TransferError, UnsafePathError
from governance.model.artifact import RelativePath, parse_relative_path
from governance.model.digest import parse_sha256
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.reason import Reason, refuse
from governance.signing.statement import IGNORED_NAMES

CHUNK = 256 << 10

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_Result = TypeVar("_Result")

Buffer: TypeAlias = "mmap.mmap | bytearray"


class Hasher(Protocol):
    """What `hashlib` and `blake3` have in common."""

    def update(self, data: memoryview, /) -> object:
        """Take in more bytes."""
        ...

    def hexdigest(self) -> str:
        """The digest in lower-case hex."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file below the folder that is hashed. `size` is as it was listed."""

    name: RelativePath
    path: str
    size: int


def hash_folder(path: Path, *, workers: int = 2, left_out: frozenset[str] = IGNORED_NAMES) -> Manifest:
    """The manifest of a local folder, or of one file as if it lay alone in a folder.

    `left_out` are names at the root. Raises `UnsafePathError` for links and odd files, `TransferError` for a file that
    cannot be read or changes meanwhile.
    """

    def entry(file: LocalFile, buffer: Buffer) -> ManifestEntry:
        hasher = hashlib.sha256()
        size = read_into(file, buffer, hasher.update)
        return ManifestEntry(name=file.name, sha256=parse_sha256(hasher.hexdigest()), size=size)

    return Manifest(tuple(_in_parallel(list_files(path, left_out=left_out), workers, entry)))


def hash_parts(
    path: Path,
    *,
    algorithm: str,
    shard_size: int | None,
    workers: int = 2,
    left_out: frozenset[str] = IGNORED_NAMES,
) -> dict[str, dict[str, str]]:
    """By path, the digests of each file's parts by the names that OMS v1.0 gives them: the path itself, or
    `path:start:end` with `shard_size`.

    A sharded folder's empty files have no parts and appear all the same, so that they are seen. Raises
    `SignatureError` (reason `unsupported-hash`) where `algorithm` needs a package that is not here, and what
    `hash_folder` raises.
    """
    make = _hasher_maker(algorithm)

    def parts(file: LocalFile, buffer: Buffer) -> tuple[str, dict[str, str]]:
        if shard_size is None:
            hasher = make()
            read_into(file, buffer, hasher.update)
            return file.name, {file.name: hasher.hexdigest()}
        shards = _Shards(file.name, make, shard_size)
        read_into(file, buffer, shards.update)
        return file.name, shards.finish()

    return dict(_in_parallel(list_files(path, left_out=left_out), workers, parts))


def new_buffer() -> Buffer:
    """A buffer to read files into, aligned to a page."""
    return mmap.mmap(-1, CHUNK)


def list_files(path: Path, *, left_out: frozenset[str] = IGNORED_NAMES) -> list[LocalFile]:
    """Every regular file below `path`, largest first. Raises `UnsafePathError`, `TransferError`."""
    try:
        if path.is_symlink() and path.is_file():
            raise _link(path.name)
        if path.is_file():
            found = [LocalFile(parse_relative_path(path.name), os.fspath(path), path.stat().st_size)]
        else:
            found = list(_walk(os.fspath(path), "", left_out))
    except OSError as error:
        raise TransferError(f"`{path}` cannot be listed: {error.strerror}") from error
    return sorted(found, key=lambda file: file.size, reverse=True)


def _walk(folder: str, prefix: str, left_out: frozenset[str]) -> Iterator[LocalFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not prefix and entry.name in left_out:
                continue
            name = parse_relative_path(f"{prefix}{entry.name}")
            if entry.is_symlink():
                raise _link(name)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/", left_out)
            elif entry.is_file(follow_symlinks=False):
                yield LocalFile(name, entry.path, entry.stat(follow_symlinks=False).st_size)
            else:
                raise UnsafePathError(f"`{name}` is neither a file nor a folder")


def read_into(file: LocalFile, buffer: Buffer, take: Callable[[memoryview], object]) -> int:
    """Read a file once, handing each piece to `take`; returns its size. Raises `UnsafePathError`, `TransferError`.

    The file's identity, size and times are compared before and after, and its size with the bytes read, so that no
    digest stands for a mixture of two contents.
    """
    view = memoryview(buffer)
    total = 0
    try:
        with os.fdopen(os.open(file.path, _FLAGS), "rb", buffering=0) as source:
            before = os.fstat(source.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise UnsafePathError(f"`{file.name}` is neither a file nor a folder")
            while count := source.readinto(buffer):
                take(view[:count])
                total += count
            after = os.fstat(source.fileno())
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(file.name) from error
        raise TransferError(f"`{file.name}` cannot be read: {error.strerror}") from error
    if total != file.size or _state(before) != _state(after):
        raise TransferError(
            f"`{file.name}` changed while it was hashed",
            hint="Let whatever writes it finish, then try again.",
        )
    return total


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _link(name: str) -> UnsafePathError:
    return UnsafePathError(
        f"`{name}` is a symbolic link", hint="Put the file itself there; links are never followed."
    )


class _Shards:
    """Cuts a stream into shards and hashes each."""

    def __init__(self, name: str, make: Callable[[], Hasher], size: int) -> None:
        self._name, self._make, self._size = name, make, size
        self._start = self._end = 0
        self._hasher = make()
        self._found: dict[str, str] = {}

    def update(self, data: memoryview) -> None:
        while data:
            room = self._start + self._size - self._end
            self._hasher.update(data[:room])
            self._end += min(room, len(data))
            data = data[room:]
            if self._end == self._start + self._size:
                self._close()

    def finish(self) -> dict[str, str]:
        if self._end > self._start:
            self._close()
        return self._found

    def _close(self) -> None:
        self._found[f"{self._name}:{self._start}:{self._end}"] = self._hasher.hexdigest()
        self._start = self._end
        self._hasher = self._make()


def _hasher_maker(algorithm: str) -> Callable[[], Hasher]:
    if algorithm == "sha256":
        return hashlib.sha256
    if algorithm == "blake2b":
        return hashlib.blake2b
    try:
        from blake3 import blake3
    except ImportError as error:
        raise refuse(
            Reason.HASH, f"`{algorithm}` needs the package `blake3`, which is not installed"
        ) from error
    make: Callable[[], Hasher] = blake3
    return make


def _in_parallel(
    files: Sequence[LocalFile], workers: int, work: Callable[[LocalFile, Buffer], _Result]
) -> list[_Result]:
    """`work` for every file, with one buffer per worker. The first error stops all of them and is raised."""
    if workers < 2 or len(files) < 2:
        buffer = new_buffer()
        return [work(file, buffer) for file in files]
    from concurrent.futures import ThreadPoolExecutor

    waiting = list(reversed(files))

    def run() -> list[_Result]:
        buffer = new_buffer()
        done: list[_Result] = []
        while True:
            try:
                file = waiting.pop()  # atomic
            except IndexError:
                return done
            try:
                done.append(work(file, buffer))
            except BaseException:
                waiting.clear()
                raise

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="hash") as executor:
        running = [executor.submit(run) for _ in range(workers)]
        return [result for future in running for result in future.result()]
