"""A look inside one file, held in memory or followed part by part, without running or unpacking anything to disk.

Promises: bounded in members, depth, bytes and operations, for one file and for all of an artifact's; what could not be looked into
says so. Does not: look into HDF5, tar, 7z, objects of R, Java and Julia, Keras and TensorFlow graphs (they are `skipped`), or fetch anything.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Final, cast

from governance.content.arrays import array_start, is_plain
from governance.content.compressed import TooManyStreamsError, is_lzma, unpacker
from governance.content.effort import SPENT, Budget, Effort, SpentError
from governance.content.exported import is_compiled, is_program, program_reaches
from governance.content.formats import (
    HEAD,
    LOADS_CODE,
    detect,
    detect_unmarked,
    format_of_name,
    format_of_zip,
    is_hdf5,
    name_zip,
)
from governance.content.gguf import MARK as GGUF
from governance.content.joblib_arrays import WRAPPER, is_misread
from governance.content.keras import CONFIG, keras_imports
from governance.content.listing import is_listing
from governance.content.msgpack import held, may_hold
from governance.content.pickles import Walk, may_import, names_something, walk, walk_arrays
from governance.content.scripts import is_code, is_script, script_reaches
from governance.content.seen import Inspection, joined
from governance.content.skops import SCHEMA, schema_imports
from governance.content.statements import WALKS, planned, said, says_what, walked
from governance.content.windows import Bytes, Read, Window, WindowFile
from governance.content.zips import (
    MEMBER,
    directory_in,
    ends_as_zip,
    entries_seen,
    has_end,
    is_straight,
    salvaged,
)

MAX_UNPACKED: Final = 64 << 20

_MAX_MEMBERS: Final = 5_000
_MAX_ENTRIES: Final = 4 * _MAX_MEMBERS
"""Of all the zips in a zip: so many may be stored in it that each is read over again."""
_READS: Final = 600
"""Of a large zip or pickle: so many arrays are passed over. At a distance of thirty milliseconds that takes half of the time that facts have."""
_PICKLED: Final = frozenset(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_MAX_DEPTH: Final = 3
_MEMBER_WORK: Final = 200
"""How many operations of a pickle it is worth to open a member of a zip, or to see what a value of bytes is."""
_LOOKED_INTO: Final = LOADS_CODE | {"archive", "onnx", "tensorflow"}
_PLANS: Final = {SCHEMA: schema_imports, CONFIG: keras_imports}
_TOO_MUCH: Final = "it unpacks to more than is looked into"
"""Or to more than there is memory for: LZMA says at its start how much it wants, up to 4 GiB."""
TOO_LARGE: Final = "it is larger than what is looked into"
_OF_JOBLIB: Final = "joblib.numpy_pickle"
_UNREAD: Final = "files of the format {} are not looked into{}"
_INSTEAD: Final = {
    "archive": "; the files in it are, where they are stored as they are",
    "keras-h5": "; ONNX and safetensors are",
}
_NO_WRAPPERS: Final = frozenset({f"{_OF_JOBLIB}.dump", f"{_OF_JOBLIB}.load"})
"""What functions of one's own name, and makes no array."""
_ARRAYS: Final = "arrays lie beside it, or between its operations"
_ENCRYPTED: Final = 0x1
_NOT_UNPACKED: Final = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
_NO_ZIP: Final = (*_NOT_UNPACKED, zipfile.BadZipFile, NotImplementedError, OverflowError, struct.error)
"""What `zipfile` raises for a zip that is none, whatever its members were compressed with."""


def needs_look(format_: str) -> bool:
    """True for formats that may hide code: those must be read whole."""
    return format_ in _LOOKED_INTO


def may_hide(format_: str, head: bytes, size: int | None, effort: Effort | None = None) -> bool:
    """True where a file of `size` bytes, which begins with `head`, must be read whole: it may hide code by its format, or be a
    pickle or a zip beside what its first bytes say."""
    return needs_look(format_) or MEMBER in head or is_lzma(head) or _may_import(head, size, effort)


def must_look(name: str, head: bytes, size: int | None) -> bool:
    """True where a file must be read whole, by its name or by `may_hide`."""
    return says_what(name, head) or may_hide(detect(name, head), head, size)


def _may_import(data: bytes, size: int | None = None, effort: Effort | None = None) -> bool:
    return may_import(data, size, effort) and not is_listing(data[:HEAD], is_whole=len(data) < HEAD)


def may_walk(name: str, head: bytes) -> bool:
    """True where it is enough to follow parts of a file that begins with `head`, as `inspect_parts` does."""
    return detect(name, head) in WALKS


def inspect_parts(name: str, head: bytes, size: int, read: Read, effort: Effort) -> Inspection:
    """Look into a file of `size` bytes that is too large to be held, as far as its format tells where to look. Raises what `read`
    raises."""
    format_ = detect(name, head)
    if head.startswith(MEMBER) and not says_what(name, head):
        return _large_zip(format_, size, read, effort)
    if head[:2] in _PICKLED and format_ in {"pickle", "joblib"} and not says_what(name, head):
        return _large_pickle(format_, size, read, effort)
    if format_ not in WALKS or says_what(name, head) or may_hide("other", head, size, effort):
        return Inspection(format=format_, skipped=TOO_LARGE)
    with _half(effort) as own:
        return walked(format_, name, Window(read, size, own), own)


@contextmanager
def _half(effort: Effort) -> Iterator[Effort]:
    """Half of what is left, of which what was not used is given back: a large file must not keep the small ones beside it from being
    looked into."""
    left = effort.operations // 2
    own = Effort(operations=left)
    try:
        yield own
    finally:
        effort.spend(left - own.operations)


def _large_zip(format_: str, size: int, read: Read, effort: Effort) -> Inspection:
    """A zip of which the directory is read, and of each member as much as there is to be seen: of tensors their first bytes."""
    too_large = Inspection(format=format_, skipped=TOO_LARGE)
    with _half(effort) as own:
        window = Window(read, size, own, reads=_READS, far=0)
        try:
            directory = directory_in(window)
            if directory is None or entries_seen(directory) > _MAX_ENTRIES:
                return too_large
            found = _opened(format_, WindowFile(window), Budget(MAX_UNPACKED, own), depth=0)
        except SpentError:
            return too_large
    return replace(found, skipped=found.skipped or TOO_LARGE) if found.broken else found


def _large_pickle(format_: str, size: int, read: Read, effort: Effort) -> Inspection:
    """A pickle of which the bytes of arrays are passed over."""
    with _half(effort) as own:
        window = Window(read, size, own, reads=_READS, far=0)
        try:
            if not is_hdf5(window):
                return _of_pickle(format_, window, own)
        except SpentError:  # before the pickle begins
            pass
    return Inspection(format=format_, skipped=TOO_LARGE)


def inspect(name: str, data: bytes, *, limit: int = MAX_UNPACKED, effort: Effort | None = None) -> Inspection:
    """Look into a file, unpacking at most `limit` bytes of what it contains, out of what `effort` leaves."""
    return _inspect(name, data, Budget(limit, effort or Effort()), depth=0)


def _inspect(name: str, data: bytes, budget: Budget, *, depth: int) -> Inspection:
    if data.startswith(b"PK"):
        return _zip(detect(name, data[:HEAD]), data, budget, depth=depth)
    found = _no_zip(name, data, budget, depth=depth)
    if not _is_zip(data):
        return found
    # What stands before a zip is read by whoever reads from the start.
    zipped = _zip(name_zip(format_of_name(name), data[:HEAD]), data, budget, depth=depth)
    return joined(zipped.format, [found, zipped])


def _no_zip(name: str, data: bytes, budget: Budget, *, depth: int) -> Inspection:
    format_ = "keras-h5" if is_hdf5(data) else detect(name, data[:HEAD])
    if format_ == "npy-object":
        return _array(format_, data, budget)
    if format_ in {"pickle", "joblib"}:
        pickled = _pickle(format_, name, data, budget, depth=depth)
        if not _is_text_after_all(pickled, name, data):
            return pickled
        format_ = detect_unmarked(name, data[:HEAD])
    found = _other(format_, name, data, budget, depth=depth)
    if not is_lzma(data):
        return found
    return joined("pickle", [found, _pickle("pickle", name, data, budget, depth=depth)])


def _is_text_after_all(pickled: Inspection, name: str, data: bytes) -> bool:
    """Whether it only looked like a pickle without a mark, as one `README` in a thousand does: every unpickler stops in it before it has
    imported what can be imported, and its name promises no pickle."""
    stops = pickled.broken is not None and pickled.skipped is None and not names_something(pickled.imports)
    return (
        stops
        and pickled.format == "pickle"
        and data[:1] != b"\x80"
        and format_of_name(name) not in LOADS_CODE
    )


def _other(format_: str, name: str, data: bytes, budget: Budget, *, depth: int) -> Inspection:
    if format_ == "onnx":
        return _onnx(name, data, budget)
    if format_ == "tensorflow":
        return walked(format_, name, data, budget.effort)
    skipped = _UNREAD.format(format_, _INSTEAD.get(format_, "")) if needs_look(format_) else None
    parts = [Inspection(format=format_, skipped=skipped)]
    if _may_import(data, effort=budget.effort):
        format_ = "pickle"
        parts.append(_of_pickle(format_, data, budget.effort))
    if may_hold(name, data):
        parts += _held(format_, data, budget, depth=depth)
    return joined(format_, [*parts, *said(format_, name, data, budget)])


def _held(format_: str, data: bytes, budget: Budget, *, depth: int) -> Iterator[Inspection]:
    """What is unpickled out of a document of msgpack."""
    if depth >= _MAX_DEPTH:
        yield Inspection(format=format_, skipped=f"nested deeper than {_MAX_DEPTH}")
        return
    try:
        for start, end in held(data, budget.effort):
            budget.effort.demand(_MEMBER_WORK)
            head = data[start : min(start + HEAD, end)]
            if may_hide(detect("", head), head, end - start, budget.effort):
                budget.take(end - start)
                yield replace(_inspect("", data[start:end], budget, depth=depth + 1), format=format_)
    except SpentError:
        yield Inspection(format=format_, skipped=SPENT)


def _onnx(name: str, data: bytes, budget: Budget) -> Inspection:
    found = _of_pickle("pickle", data, budget.effort) if _may_import(data, effort=budget.effort) else None
    return joined("onnx", [*filter(None, [found]), walked("onnx", name, data, budget.effort)])


def _is_zip(data: bytes) -> bool:
    """Whether Python's readers would take a file for a zip, whatever it begins with."""
    if not has_end(data):
        return False
    if entries_seen(data) > _MAX_ENTRIES:
        return True
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return bool(archive.infolist())
    except _NO_ZIP:
        return ends_as_zip(data, len(data))  # Python imports from zips that it does not open


def _array(format_: str, data: bytes, budget: Budget) -> Inspection:
    if is_plain(data):  # its header is longer than what `detect` saw
        return Inspection(format="npy")
    return _of_pickle(format_, data[array_start(data) :], budget.effort)


def _pickle(format_: str, name: str, data: bytes, budget: Budget, *, depth: int) -> Inspection:
    unpack = unpacker(data)
    if unpack is None:
        return _of_pickle(format_, data, budget.effort)
    if depth >= _MAX_DEPTH:
        return Inspection(format=format_, skipped=f"nested deeper than {_MAX_DEPTH}")
    try:
        inner = unpack(data, budget.left + 1)
        budget.take(len(inner))
    except (SpentError, TooManyStreamsError, MemoryError):
        return Inspection(format=format_, skipped=_TOO_MUCH)
    except _NOT_UNPACKED:
        return Inspection(format=format_, broken="it cannot be unpacked")
    return replace(_inspect(name, inner, budget, depth=depth + 1), format=format_)


def _of_pickle(format_: str, data: Bytes, effort: Effort) -> Inspection:
    """What a pickle imports, whoever reads it: Python's unpickler, or joblib's where it may have arrays between the operations."""
    found = walk(data, effort)
    wrappers = {name for name in found.imports if name.startswith(_OF_JOBLIB)} - _NO_WRAPPERS
    if not wrappers:
        return Inspection(format=format_, imports=found.imports, skipped=found.unread, broken=found.problem)
    # Python's unpickler stops in the first array, or takes its bytes for operations. How that ended says nothing.
    arrays = walk_arrays(data, effort) if wrappers == {WRAPPER} else Walk(unread=_ARRAYS)
    imports = {name for name in found.imports if name in arrays.imports or not is_misread(name)}
    return Inspection(
        format=format_,
        imports=tuple(sorted(imports.union(arrays.imports))),
        skipped=found.unread or arrays.unread,
        broken=arrays.problem,
    )


def _zip(format_: str, data: bytes, budget: Budget, *, depth: int) -> Inspection:
    if depth >= _MAX_DEPTH:
        return Inspection(format=format_, skipped=f"nested deeper than {_MAX_DEPTH}")
    if entries_seen(data) > _MAX_ENTRIES:  # before a list of them is made
        return Inspection(format=format_, skipped=f"more than {_MAX_MEMBERS} members")
    found = _opened(format_, io.BytesIO(data), budget, depth=depth)
    parts = [found]
    if not is_straight(data):
        parts.append(Inspection(format=format_, broken="a zip of which readers find another directory"))
    if any(part.broken for part in parts):
        parts += _salvage(data, budget, depth=depth)
    return joined(found.format, parts)


def _opened(format_: str, file: io.BytesIO | WindowFile, budget: Budget, *, depth: int) -> Inspection:
    """What there is in a zip by its directory."""
    parts = []
    try:
        with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                return Inspection(format=format_, skipped=f"more than {_MAX_MEMBERS} members")
            if len({member.filename for member in members}) != len(members):
                parts.append(Inspection(format=format_, broken="two members of one name"))
            parts += (_member(archive, member, budget, depth=depth) for member in members)
            parts += _beside_tensors(format_, archive, members, budget)
            if format_ == "skops" and not any(member.filename == SCHEMA for member in members):
                parts.append(Inspection(format=format_, broken="a skops file without its schema"))
            format_ = format_of_zip(format_, (member.filename for member in members))
    except _NO_ZIP:
        parts.append(Inspection(format=format_, broken="a zip that does not fit together"))
    if format_ == "keras-v3":
        parts.append(Inspection(format=format_, skipped="graphs of Keras are not looked into; ONNX is"))
    return joined(format_, parts)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget, *, depth: int) -> Inspection:
    """What one member holds. One that cannot be read takes nothing from what was found in the others, as long as there is leave."""
    if not budget.effort.operations:
        return Inspection(format="archive", skipped=SPENT)
    if member.flag_bits & _ENCRYPTED:
        return Inspection(format="archive", skipped="a member is encrypted")
    if member.filename.endswith("/") and not member.file_size and not member.compress_size:
        return Inspection(format="other")
    try:
        return _content(archive, member, budget, depth=depth)
    except (SpentError, MemoryError):
        return Inspection(format="archive", skipped=_TOO_MUCH)
    except _NO_ZIP:
        return Inspection(format="archive", broken="a zip that does not fit together")


def _beside_tensors(
    format_: str, archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], budget: Budget
) -> Iterator[Inspection]:
    """What a zip that torch reads holds beside pickles and tensors."""
    names = [member.filename for member in members]
    if is_script(names):
        yield from (_script(archive, member, budget) for member in members if is_code(member.filename))
    is_native = format_ == "torch-zip" and any(format_of_name(name) == "native" for name in names)
    if is_native or any(map(is_compiled, names)):
        yield Inspection(format="native", skipped="it holds compiled code, which is not looked into")


def _script(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> Inspection:
    """What the code of a TorchScript model reaches for. That it cannot be read has been said of it as a member."""
    try:
        with archive.open(member) as file:
            code = file.read(budget.left + 1)
        budget.take(len(code))
        return Inspection(format="python", imports=tuple(sorted(script_reaches(code, budget.effort))))
    except (SpentError, MemoryError):
        return Inspection(format="archive", skipped=_TOO_MUCH)
    except _NO_ZIP:
        return Inspection(format="archive")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget, *, depth: int) -> Inspection:
    name, effort = member.filename, budget.effort
    effort.demand(_MEMBER_WORK)
    with archive.open(member) as file:
        head = file.read(HEAD)
        budget.take(len(head))
        if (
            name != SCHEMA
            and not is_program(name)
            and not says_what(name, head)
            and not head.startswith(GGUF)
            and not may_hide(detect(name, head), head, member.file_size, effort)
        ):
            return Inspection(format="other")
        rest = file.read(budget.left + 1)  # the size that the zip states proves nothing
    budget.take(len(rest))
    if name in _PLANS:
        return planned("json", head + rest, _PLANS[name])
    if is_program(name):
        return planned("json", head + rest, partial(program_reaches, effort=effort))
    return _inspect(name, head + rest, budget, depth=depth + 1)


def _salvage(data: bytes, budget: Budget, *, depth: int) -> Iterator[Inspection]:
    """What is found in a broken zip all the same. Readers that ask for less would load it: it outweighs that it is broken."""
    try:
        for name, content in salvaged(data, budget.left + 1):
            budget.take(len(content))
            budget.effort.demand(_MEMBER_WORK)
            yield replace(_inspect(name, content, budget, depth=depth + 1), broken=None)
    except SpentError:
        yield Inspection(format="archive", skipped=SPENT)
