"""How a pickle lays out numpy's arrays. The bad ones would crash this process, and are written as operations and never loaded."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, judge


def verdict(data: bytes) -> str:
    found = inspect("model.pkl", data)
    assert (found.broken, found.skipped) == (None, None)
    return judge(found.imports, is_broken=False)


GOOD = [
    "f8", ">i4", "?", "c16", "g", "S3", "U5", "V7", "M8[D]", "m8[s]", "O",
    [("a", "i8"), ("b", "U5"), ("c", "M8[ns]")],
    [("a", [("x", "i4"), ("y", "O")]), ("b", "f8", (2, 3))],
    [(("title", "a"), "i8")],
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]}),
    np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 64}),
    np.dtype("f8", metadata={"a": 1}),
    [],
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_numpy_writes_is_clean(protocol: int) -> None:
    arrays = [np.zeros(3, dtype) for dtype in GOOD]
    arrays += [array[::2] for array in arrays]
    assert verdict(pickle.dumps([*arrays, np.dtype(("i8", (3,)))], protocol=protocol)) == CLEAN


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def dtype(code: str) -> bytes:
    return b"cnumpy\ndtype\n" + short(code) + b"\x89\x88\x87R"


def state(inner: bytes, names: bytes, fields: bytes, size: int, flags: int) -> bytes:
    return b"(K\x03" + short("|") + inner + names + fields + number(size) + number(1) + number(flags) + b"tb"


def field(of: bytes, offset: int) -> bytes:
    return b"}" + short("a") + of + number(offset) + b"\x86s"


NAMES = short("a") + b"\x85"
OBJECTS = dtype("O8") + state(b"N", b"N", b"N", -1, 63)
BAD = {
    "bytes that are objects": dtype("O8") + state(b"N", b"N", b"N", -1, 0),
    "bytes in which an object is": dtype("V8") + state(b"N", NAMES, field(OBJECTS, 0), 8, 0),
    "a text of objects": dtype("S8") + state(b"N", b"N", b"N", 8, 63),
    "a field behind the element": dtype("V8") + state(b"N", NAMES, field(dtype("i8"), 1 << 30), 8, 0),
    "a field before the element": dtype("V8") + state(b"N", NAMES, field(dtype("i8"), -8), 8, 0),
    "more than the element": dtype("V8") + state(dtype("i8") + number(1 << 24) + b"\x85\x86", b"N", b"N", 8, 0),
    "another size": dtype("i8") + state(b"N", b"N", b"N", 1, 0),
    "one made by what makes old instances": b"ccopyreg\n_reconstructor\ncnumpy\ndtype\n2" + short("V8") + b"\x87R"
    + state(b"N", NAMES, field(OBJECTS, 0), 8, 0),
    "one made by what makes an index": b"cpandas.core.indexes.base\n_new_Index\ncnumpy\ndtype\n}" + short("dtype") + short("V8")
    + b"s\x86R" + state(b"N", NAMES, field(OBJECTS, 0), 8, 0),
    "names that are none": dtype("V8") + state(b"N", b"}\x85", field(dtype("i8"), 0), 8, 0),
    "fields out of sight": dtype("V8") + state(b"N", NAMES, b"cbuiltins\ndict\n)R", 8, 0),
    "a field that is put in later": dtype("V8") + state(b"N", NAMES, field(dtype("V8"), 0) + b"q\x07", 8, 0)
    + b"0h\x07" + short("a") + OBJECTS + b"K\x00\x86s" + dtype("V8") + state(b"N", NAMES, b"h\x07", 8, 0),
    "one that changes when it is in use": dtype("V8") + b"q\x05" + b"\x85" + b"0h\x05" + state(b"N", NAMES, field(OBJECTS, 0), 8, 27),
    "a state out of sight": dtype("O8") + b"cbuiltins\ntuple\n](" + b"K\x03e\x85Rb",
    "that of all arrays": b"cnumpy.dtypes\nObjectDType\n)R" + state(b"N", b"N", b"N", -1, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_numpy_would_believe_and_never_writes_is_not_clean(kind: str) -> None:
    assert verdict(b"\x80\x04" + BAD[kind] + b".") == SUSPICIOUS


NDARRAY = b"cnumpy\nndarray\n"
GIVEN = b"K\x01\x85" + short("O") + b"C\x08AAAAAAAA"


@pytest.mark.parametrize(
    "made",
    [
        NDARRAY + GIVEN + b"\x87R",
        NDARRAY + GIVEN + b"\x87\x81",
        NDARRAY + GIVEN + b"\x87}\x92",
        b"(" + NDARRAY + GIVEN + b"o",
        b"(" + GIVEN + b"inumpy\nndarray\n",
        b"cpandas.core.indexes.base\n_new_Index\n" + NDARRAY + b"}\x86R",
    ],
)
def test_an_array_made_of_addresses_is_malicious(made: bytes) -> None:
    assert verdict(b"\x80\x04" + made + b".") == MALICIOUS
