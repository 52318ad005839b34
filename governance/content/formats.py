"""What sort of file something is, from its first bytes and, where these leave it open, its name.

Promises: nothing is executed or decompressed; a file that could be a pickle is called one, whatever its name says. Does
not: prove that a file is well formed.

The bytes come first: loaders look at them too, and a name is chosen by whoever uploads. The name decides between
formats that share a container (zip, pickle, text), and for a few that have no mark of their own.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import Final

from governance.content.arrays import MARK, is_plain
from governance.content.compressed import is_zfile
from governance.content.listing import is_listing
from governance.content.windows import Bytes

HEAD: Final = 4096
"""As many first bytes as `detect` wants to see; fewer do where the file is shorter."""

LOADS_CODE: Final = frozenset(
    {
        "pickle",
        "torch-zip",
        "joblib",
        "keras-h5",
        "keras-v3",
        "npy-object",
        "skops",
        "r-objects",
        "java-objects",
        "julia-objects",
    }
)
"""Formats whose loading can run code that the file brings along."""

_BY_NAME: Final[Mapping[str, str]] = {
    ".pkl": "pickle", ".pickle": "pickle", ".pck": "pickle", ".pcl": "pickle", ".dill": "pickle", ".joblib": "joblib",
    ".pt": "torch-zip", ".pt2": "torch-zip", ".pth": "torch-zip", ".ckpt": "torch-zip", ".mar": "torch-zip",
    ".h5": "keras-h5", ".hdf5": "keras-h5", ".keras": "keras-v3", ".skops": "skops",
    ".rds": "r-objects", ".rda": "r-objects", ".rdata": "r-objects", ".ser": "java-objects", ".jls": "julia-objects",
    ".npy": "npy", ".safetensors": "safetensors", ".onnx": "onnx", ".gguf": "gguf", ".pb": "tensorflow", ".pbtxt": "tensorflow",
    ".json": "json", ".jsonl": "json", ".ipynb": "json", ".yaml": "yaml", ".yml": "yaml",
    ".py": "python", ".pyw": "python", ".pyc": "python", ".pyz": "python", ".whl": "python", ".egg": "python", ".so": "native", ".pyd": "native", ".dll": "native", ".dylib": "native", ".jar": "native",
    ".txt": "text", ".md": "text", ".rst": "text", ".csv": "text", ".tsv": "text", ".cfg": "text", ".ini": "text",
    ".toml": "text", ".html": "text", ".xml": "text", ".log": "text",
    ".zip": "archive", ".tar": "archive", ".gz": "archive", ".tgz": "archive", ".bz2": "archive", ".xz": "archive",
    ".7z": "archive", ".npz": "archive", ".zst": "archive", ".lz4": "archive",
}  # fmt: skip
_WHOLE_NAMES: Final[Mapping[str, str]] = {
    "MLmodel": "yaml",
    "LICENSE": "text",
    "LICENCE": "text",
    "README": "text",
    "uv.lock": "text",
    ".python-version": "text",
}

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_COMPRESSED: Final = (
    b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c",
    b"Rar!", b"LZIP\x00", b"LZIP\x01", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda",
)  # fmt: skip
_IMPORTED: Final[Mapping[str, str]] = {".py": "python", ".pyc": "python", ".so": "native", ".pyd": "native"}
_OUTER: Final = frozenset({"gguf", "safetensors"})
"""Formats that begin with a length or a word, and may be something else as well from there on: `GGUF = 1` is Python, too."""
_NAMED_CODE: Final = LOADS_CODE | {"python", "native"}
_NATIVE: Final = (
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
_R_OBJECTS: Final = re.compile(rb"RD[AX][23]\n|X\n\0\0\0[\2\3]\0|B\n[\2\3]\0\0\0|A\n[23]\n\d{6}\n\d{5,6}\n")
"""What `saveRDS` and `save` of R begin with, uncompressed: a letter for the encoding, then the version of the format and R's own."""
_LONGEST_LZMA: Final = 1 << 38
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_GLOBAL: Final = re.compile(rb"(?:^|[^\w.])[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n")
_PICKLE_STARTS: Final = b"(]}ciIlLFSVNK)U\x80\x8a\x8cXTBCGJM."


def format_of_name(name: str) -> str:
    """What the name alone promises: one of the catalogue's formats."""
    base = name.rpartition("/")[2]
    if base in _WHOLE_NAMES:
        return _WHOLE_NAMES[base]
    dot = base.rfind(".")
    return _BY_NAME.get(base[dot:].lower(), "other") if dot >= 0 else "other"


def detect(name: str, head: bytes) -> str:
    """The format of a file that starts with `head`."""
    named = format_of_name(name)
    found = next((name_it(named, head) for is_it, name_it in _TESTS if is_it(head)), None)
    if found is None or (found in _OUTER and named in _NAMED_CODE):
        return detect_unmarked(name, head)
    return found


def detect_unmarked(name: str, head: bytes) -> str:
    """The format of a file whose first bytes are no mark of any."""
    named = format_of_name(name)
    # A name that promises code is believed: without a mark a pickle may be of protocol 0, and a zip or an HDF5 file may begin
    # with anything, since its readers look elsewhere.
    # So is Python's, which may be in any encoding.
    if named in _NAMED_CODE | {"onnx", "tensorflow"}:
        return "pickle" if named == "torch-zip" else named
    if named in {"text", "json", "yaml"}:
        return named if _is_text(head) else "other"
    return "text" if head and _is_text(head) else "other"


def name_zip(named: str, head: bytes) -> str:
    """Which zip it is that has this name and these first bytes."""
    # Python imports from a zip as well, and a wheel is one; so is a jar.
    if named in {"keras-v3", "skops", "python", "native"}:
        return named
    # A torch file holds `<folder>/data.pkl`, normally as its first member.
    if named in {"torch-zip", "pickle"} or b"/data.pkl" in head[:256]:
        return "torch-zip"
    return "archive"


def format_of_zip(format_: str, members: Iterable[str]) -> str:
    """Which zip it is by its members' names: Python imports source from any, under whatever name `MLmodel` has it as `code`."""
    if format_ not in {"archive", "skops"}:
        return format_
    found = (_IMPORTED.get(name[name.rfind(".") :].lower()) for name in members)
    return next(filter(None, found), format_)


def _is_safetensors(head: bytes) -> bool:
    """An eight-byte length, then that much JSON."""
    return len(head) > 9 and 2 <= int.from_bytes(head[:8], "little") <= 100 << 20 and head[8:9] == b"{"


def is_hdf5(data: Bytes) -> bool:
    """The mark stands at the start, or behind a user block of 512 bytes or of a larger power of two."""
    starts = takewhile(lambda at: at < len(data), (512 << power for power in count()))
    return any(data[at : at + len(_HDF5)] == _HDF5 for at in (0, *starts))


def _array(_named: str, head: bytes) -> str:
    return "npy" if is_plain(head) else "npy-object"


def _pickle(named: str, head: bytes) -> str:
    return "joblib" if named == "joblib" or b"joblib.numpy_pickle" in head else "pickle"


def _compressed(named: str, _head: bytes) -> str:
    # joblib reads compressed pickles by their first bytes, under any name.
    return "joblib" if named in {"joblib", "pickle"} else "archive"


def _is_compressed(head: bytes) -> bool:
    return head.startswith(_COMPRESSED) or is_zfile(head) or _is_lzma(head) or _is_tar(head)


def _is_lzma(head: bytes) -> bool:
    """The oldest form, as joblib takes it, with any size of dictionary; the length is not known, or no larger than liblzma takes."""
    length = head[5:13]
    known = int.from_bytes(length, "little") < _LONGEST_LZMA
    return head.startswith(b"\x5d\x00") and len(length) == 8 and (known or length == b"\xff" * 8)


def _is_tar(head: bytes) -> bool:
    """By the mark that POSIX has given it, or, for older ones, by the sum in its first block."""
    if head[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_native(head: bytes) -> bool:
    """A program or library of Linux, macOS or Windows."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    return head.startswith(_NATIVE) or (head.startswith(b"MZ") and head.startswith(b"PE\x00\x00", at))


def _is_pickle(head: bytes) -> bool:
    """A protocol mark (2 to 5), or text of protocol 0 or 1 that names something to import early on, and is no list of packages."""
    if head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return True
    if head[:1] not in {bytes([each]) for each in _PICKLE_STARTS} or _GLOBAL.search(head) is None:
        return False
    return not is_listing(head, is_whole=len(head) < HEAD)


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head[:-4].decode("utf-8") if len(head) >= HEAD else head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 8 and len(head) >= HEAD
    return True


_TESTS: Final[Sequence[tuple[Callable[[bytes], bool], Callable[[str, bytes], str]]]] = (
    (lambda head: head.startswith(_ZIP), name_zip),
    (is_hdf5, lambda _named, _head: "keras-h5"),
    (_is_native, lambda _named, _head: "native"),
    (lambda head: _R_OBJECTS.match(head) is not None, lambda _named, _head: "r-objects"),
    (lambda head: head.startswith(b"\xac\xed\0\5"), lambda _named, _head: "java-objects"),
    (lambda head: head.startswith(b"7JL"), lambda _named, _head: "julia-objects"),
    (lambda head: head.startswith(MARK), _array),
    (lambda head: head.startswith(b"GGUF"), lambda _named, _head: "gguf"),
    (_is_safetensors, lambda _named, _head: "safetensors"),
    (_is_pickle, _pickle),
    (_is_compressed, _compressed),
)
"""In this order: marks that nothing else begins with, then those that might be something else as well."""
