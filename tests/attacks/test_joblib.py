"""Files as joblib writes them: arrays lie between the operations, so that joblib, an older joblib and Python's unpickler read different
things in the same bytes. What any of them would run counts."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, judge
from governance.content.seen import Inspection
from tests.unit.test_content_estimators import NUMBERS, USUAL

WRAPPER = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n"
SYSTEM = b"cos\nsystem\n"


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("true",)


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def wrapped(array: bytes, *, pads: bytes | None = b"\x01\xff", **changed: bytes) -> bytes:
    """An array of bytes as joblib writes it. `changed` are other values of its state, as operations."""
    state = {
        "subclass": b"cnumpy\nndarray\n",
        "shape": b"M" + len(array).to_bytes(2, "little") + b"\x85",
        "order": text("C"),
        "dtype": b"cnumpy\ndtype\n" + text("u1") + b"\x85R",
        "allow_mmap": b"\x89",
    } | ({} if pads is None else {"numpy_array_alignment_bytes": b"K\x10"})
    items = b"".join(text(name) + value for name, value in (state | changed).items() if value)
    return WRAPPER + b")\x81}(" + items + b"ub" + (pads or b"") + array


def dumped(value: object, compress: Any = 0) -> bytes:
    whole = io.BytesIO()
    joblib.dump(value, whole, compress=compress)
    return whole.getvalue()


def verdict(data: bytes) -> str | None:
    """None where nobody could look into it."""
    found: Inspection = inspect("model.joblib", data)
    outcome = judge(found.imports, is_broken=found.broken is not None)
    return None if outcome != MALICIOUS and found.skipped else outcome


@pytest.mark.parametrize("compress", [0, 3, ("lzma", 3)])
@pytest.mark.parametrize("kind", [*USUAL, "arrays", "a dictionary"])
def test_a_usual_model_is_clean(kind: str, compress: Any) -> None:
    more: dict[str, Callable[[], object]] = USUAL | {
        "arrays": lambda: [
            np.arange(3), np.zeros((2, 3), order="F"), np.array(["é", "b"]), np.array([1, "x"], dtype=object), np.zeros(0), np.array(5.0),
            np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]), np.array(["2024"], dtype="M8[D]"), np.zeros(70_000),
        ],
        "a dictionary": lambda: {"columns": list(NUMBERS), "names": np.array(["a"], dtype=object), "x": np.ones(3)},
    }  # fmt: skip
    assert verdict(dumped(more[kind](), compress)) == CLEAN


@pytest.mark.parametrize(
    "value",
    [
        np.array([Evil()], dtype=object),
        [np.arange(3), Evil()],
        [Evil(), np.arange(3)],
        {"a": np.array([np.array([Evil(), 1], dtype=object), 1], dtype=object)},
    ],
    ids=["in an array", "behind one", "before one", "in an array in an array"],
)
def test_what_joblib_runs_is_malicious(value: object) -> None:
    for compress in (0, 3):
        assert verdict(dumped(value, compress)) == MALICIOUS


def test_the_layout_is_joblibs() -> None:
    for data in (wrapped(b"abc"), wrapped(b"abc", pads=None), wrapped(b"abc", pads=b"\x03xyz")):
        assert bytes(joblib.load(io.BytesIO(b"\x80\x02" + data + b"."))) == b"abc"
        assert verdict(b"\x80\x02" + data + b".") == CLEAN


def test_what_only_an_older_joblib_runs_is_malicious() -> None:
    """It reads no bytes of alignment, and so ends each array some bytes earlier."""
    assert (
        verdict(b"\x80\x02" + wrapped(b"x" * 20 + SYSTEM, pads=b"\x0a" + b"\xff" * 10) + b"0.") == MALICIOUS
    )


def test_what_only_pythons_unpickler_runs_is_malicious() -> None:
    data = b"\x80\x02" + wrapped(SYSTEM + b"(S'true'\ntR.", pads=None) + b"."
    assert bytes(joblib.load(io.BytesIO(data))).startswith(SYSTEM)
    assert verdict(data) == MALICIOUS


@pytest.mark.parametrize(
    "data",
    [
        wrapped(b"abc", shape=b"cacme\nSHAPE\n"),
        wrapped(b"abc", shape=b"(I3\nL1L\nt"),
        wrapped(b"abc", shape=b""),
        wrapped(b"abc", dtype=text("u1")),
        wrapped(b"abc", dtype=b"cnumpy\ndtype\n" + text("V") + b"\x85R"),
        wrapped(b"abc", numpy_array_alignment_bytes=b"cacme\nX\n"),
        wrapped(b"", shape=b"K\x01\x85", dtype=b"cnumpy\ndtype\n" + text("O8") + b"\x85R", allow_mmap=b"\x88")
        + pickle.dumps(np.array([1], dtype=object)),
        wrapped(b"abc").replace(b")\x81}(", b")R}(", 1),
        b"]" + WRAPPER + b"a0" + wrapped(b"abc"),
        WRAPPER + b"cacme\nsub\n\x85R0" + wrapped(b"abc"),
        b"cjoblib.numpy_pickle\nNDArrayWrapper\n0" + wrapped(b"abc"),
        b"cjoblib.numpy_pickle_compat\nZNDArrayWrapper\n0" + wrapped(b"abc"),
        wrapped(b"abc" * 99, shape=b"J\xff\xff\xff\x7f\x85"),
        wrapped(b"abc", shape=b"J\xff\xff\xff\xff\x85"),
    ],
)
def test_where_an_array_ends_must_be_in_sight(data: bytes) -> None:
    assert verdict(b"\x80\x02" + data + b".") != CLEAN


def test_an_array_within_a_frame_is_read_from_behind_it() -> None:
    """joblib takes a frame out of the file as a whole: what lies behind the wrapper in the frame is run after the array."""
    start, array = wrapped(b""), b"\x01\xffabc"
    start = start[: -len(b"\x01\xff")].replace(b"M\x00\x00\x85", b"M\x03\x00\x85")
    within = start + b"0" + SYSTEM + text("true") + b"\x85R."
    data = b"\x80\x04\x95" + len(within).to_bytes(8, "little") + within + array
    seen: list[str] = []

    class Noted(joblib.numpy_pickle.NumpyUnpickler):
        def find_class(self, module: str, name: str) -> Any:
            seen.append(f"{module}.{name}")
            return super().find_class(module, name) if module != "os" else print

    Noted("", io.BytesIO(data), ensure_native_byte_order=False).load()
    assert "os.system" in seen
    assert verdict(data) != CLEAN


def test_a_list_of_pins_that_names_nothing_is_one() -> None:
    pins = b"cachetools==0.0\naiohttp==0.0\ncachetools==0.0\naiohttp==0.0\nblack==0.0\n"
    assert inspect("requirements.txt", pins).imports == ()
