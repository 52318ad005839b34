"""A look inside one file, held in memory, without running or unpacking anything to disk.

Promises: bounded in members, depth and bytes; what could not be looked into says so. Does not: look into HDF5, tar,
7z, Keras and TensorFlow graphs (they are `skipped`), or fetch anything.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from governance.content.arrays import array_start, is_plain
from governance.content.formats import HEAD, LOADS_CODE, detect
from governance.content.listing import is_listing
from governance.content.pickles import Walk, may_import, walk
from governance.content.skops import SCHEMA, SchemaError, schema_imports

MAX_UNPACKED: Final = 64 << 20

_MAX_MEMBERS: Final = 5_000
_MAX_DEPTH: Final = 3
_LOOKED_INTO: Final = LOADS_CODE | {"archive", "tensorflow"}
_WRAPPER: Final = "joblib.numpy_pickle."
_ENCRYPTED: Final = 0x1
_NO_ZIP: Final = (
    zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What `zipfile` raises for a zip that is none, whatever its members were compressed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen. `skipped` says why (a part of) the file could not be looked into; `broken` why it cannot be what
    it claims to be."""

    format: str
    imports: tuple[str, ...] = ()
    skipped: str | None = None
    broken: str | None = None


def needs_look(format_: str) -> bool:
    """True for formats that may hide code: those must be read whole."""
    return format_ in _LOOKED_INTO


def may_hide(format_: str, head: bytes, size: int | None) -> bool:
    """True where a file of `size` bytes, which begins with `head`, must be read whole: it may hide code by its format, or be a
    pickle beside what its first bytes say."""
    return needs_look(format_) or _may_import(head, size)


def _may_import(data: bytes, size: int | None = None) -> bool:
    return may_import(data, size) and not is_listing(data[:HEAD], is_whole=len(data) < HEAD)


def inspect(name: str, data: bytes, *, limit: int = MAX_UNPACKED) -> Inspection:
    """Look into a file, unpacking at most `limit` bytes of what it contains."""
    return _inspect(name, data, _Budget(limit), depth=0)


class _Budget:
    """How many bytes may still be unpacked, over all levels together."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> None:
        """Raises `_TooMuchError`."""
        self.left -= size
        if self.left < 0:
            raise _TooMuchError


class _TooMuchError(Exception):
    """More bytes than may be unpacked."""


def _inspect(name: str, data: bytes, budget: _Budget, *, depth: int) -> Inspection:
    format_ = detect(name, data[:HEAD])
    if data.startswith(b"PK"):
        return _zip(format_, data, budget, depth=depth)
    if format_ == "npy-object":
        return _array(format_, data)
    if format_ in {"pickle", "joblib"}:
        return _pickle(format_, name, data, budget, depth=depth)
    if needs_look(format_):
        return Inspection(format=format_, skipped=f"files of the format {format_} are not looked into")
    if _may_import(data):
        return _of_walk("pickle", walk(data))
    return Inspection(format=format_)


def _array(format_: str, data: bytes) -> Inspection:
    if is_plain(data):  # its header is longer than what `detect` saw
        return Inspection(format="npy")
    return _of_walk(format_, walk(data[array_start(data) :]))


def _pickle(format_: str, name: str, data: bytes, budget: _Budget, *, depth: int) -> Inspection:
    unpack = next((unpack for mark, unpack in _UNPACKERS if data.startswith(mark)), None)
    if unpack is None:
        return _of_walk(format_, walk(data))
    if depth >= _MAX_DEPTH:
        return Inspection(format=format_, skipped=f"nested deeper than {_MAX_DEPTH}")
    try:
        inner = unpack(data, budget.left + 1)
        budget.take(len(inner))
    except _TooMuchError:
        return Inspection(format=format_, skipped="it unpacks to more than is looked into")
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return Inspection(format=format_, broken="it cannot be unpacked")
    found = _inspect(name, inner, budget, depth=depth + 1)
    return Inspection(format=format_, imports=found.imports, skipped=found.skipped, broken=found.broken)


def _of_walk(format_: str, found: Walk) -> Inspection:
    if found.problem is not None and any(each.startswith(_WRAPPER) for each in found.imports):
        # joblib writes the bytes of arrays between the operations, where the walk cannot follow.
        return Inspection(format=format_, imports=found.imports, skipped="arrays lie between its operations")
    return Inspection(format=format_, imports=found.imports, broken=found.problem)


def _zip(format_: str, data: bytes, budget: _Budget, *, depth: int) -> Inspection:
    if depth >= _MAX_DEPTH:
        return Inspection(format=format_, skipped=f"nested deeper than {_MAX_DEPTH}")
    parts: list[Inspection] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                return Inspection(format=format_, skipped=f"more than {_MAX_MEMBERS} members")
            if len({member.filename for member in members}) != len(members):
                parts.append(Inspection(format=format_, broken="two members of one name"))
            parts += [_member(archive, member, budget, depth=depth) for member in members]
            if format_ == "skops" and not any(member.filename == SCHEMA for member in members):
                parts.append(Inspection(format=format_, broken="a skops file without its schema"))
    except _TooMuchError:
        parts.append(Inspection(format=format_, skipped="it unpacks to more than is looked into"))
    except _NO_ZIP:
        parts.append(Inspection(format=format_, broken="a zip that does not fit together"))
    return _joined(format_, parts)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget, *, depth: int) -> Inspection:
    if member.is_dir():
        return Inspection(format="other")
    if member.flag_bits & _ENCRYPTED:
        return Inspection(format="archive", skipped="a member is encrypted")
    with archive.open(member) as file:
        head = file.read(HEAD)
        budget.take(len(head))
        is_plan = member.filename == SCHEMA
        if not is_plan and not may_hide(detect(member.filename, head), head, member.file_size):
            return Inspection(format="other")
        rest = file.read(budget.left + 1)  # the size that the zip states proves nothing
    budget.take(len(rest))
    if is_plan:
        return _schema(head + rest)
    return _inspect(member.filename, head + rest, budget, depth=depth + 1)


def _schema(data: bytes) -> Inspection:
    """The schema of a skops file, or a file that has its name by chance."""
    try:
        return Inspection(format="skops", imports=tuple(sorted(schema_imports(data))))
    except SchemaError as error:
        return Inspection(format="skops", broken=str(error))


def _joined(format_: str, parts: Iterable[Inspection]) -> Inspection:
    found = list(parts)
    return Inspection(
        format=format_,
        imports=tuple(sorted({name for part in found for name in part.imports})),
        skipped=next((part.skipped for part in found if part.skipped), None),
        broken=next((part.broken for part in found if part.broken), None),
    )


class _Unpacker(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _bounded(make: Callable[[], _Unpacker]) -> Callable[[bytes, int], bytes]:
    def unpack(data: bytes, limit: int) -> bytes:
        return make().decompress(data, limit)

    return unpack


_zlib: Final = _bounded(lambda: zlib.decompressobj(wbits=47))  # zlib or gzip, by the first bytes
_UNPACKERS: Final = (
    (b"\x1f\x8b", _zlib),
    (b"\x78", _zlib),
    (b"BZh", _bounded(bz2.BZ2Decompressor)),
    (b"\xfd7zXZ", _bounded(lzma.LZMADecompressor)),
    (b"\x5d\x00\x00", _bounded(lzma.LZMADecompressor)),
)
