"""Pickles that are too large to be held: followed part by part, past the bytes of arrays."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial

import joblib
import numpy as np
import pytest

from governance.content.effort import Effort
from governance.content.inspection import TOO_LARGE, inspect
from governance.content.judgement import judge
from tests.unit.collect_kit import CLEAN, EVIL, Edge
from tests.unit.test_content_gguf import in_parts

ARRAYS = [np.arange(200_000.0) + number for number in range(6)]


def joblibbed(value: object) -> bytes:
    """As joblib writes it, with the bytes of arrays between the operations."""
    whole = io.BytesIO()
    joblib.dump(value, whole)
    return whole.getvalue()


class Late:
    """Runs `id` when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("id",)


WRITERS: dict[str, Callable[[object], bytes]] = {
    "joblib": joblibbed,
    **{
        f"protocol {protocol}": partial(pickle.dumps, protocol=protocol)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "weights.bin"])
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("value", "verdict"), [(ARRAYS, "clean"), ([*ARRAYS, Late()], "malicious")])
def test_a_large_pickle_is_told_what_a_small_one_is(
    value: object, verdict: str, writer: str, name: str
) -> None:
    data = WRITERS[writer](value)
    found, sizes = in_parts(name, data)
    assert found == inspect(name, data)
    assert found.skipped is None
    assert judge(found.imports, is_broken=found.broken is not None) == verdict
    if writer != "protocol 2":  # which writes bytes as text
        assert sum(sizes) < len(data) // 3


def test_what_follows_in_a_large_file_is_looked_into() -> None:
    """Old files of torch are five pickles in a row, and raw tensors."""
    first = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"a": 1}, 2)
    clean = first + pickle.dumps({"w": bytes(300_000)}, 4) + pickle.dumps(["0"], 2) + bytes(300_000)
    assert in_parts("model.bin", clean)[0] == inspect("model.bin", clean)
    evil = first + pickle.dumps({"w": bytes(300_000)}, 4) + EVIL
    assert "os.system" in in_parts("model.bin", evil)[0].imports


def test_long_lines_are_followed() -> None:
    line = b"\x80\x02V" + b"a" * 300_000 + b"\n0cposix\nsystem\nV" + b"b" * 300_000 + b"\n\x85R."
    assert in_parts("a.pkl", line)[0] == inspect("a.pkl", line)
    assert in_parts("a.pkl", line[:-10])[0].broken is not None
    assert "posix.system" in in_parts("a.pkl", line[:400_000])[0].imports


def test_what_takes_more_than_there_is_leave_for_keeps_what_was_found() -> None:
    apart = b"".join(b"B" + (100_000).to_bytes(4, "little") + bytes(100_000) + b"0" for _ in range(40))
    found = in_parts("a.pkl", b"\x80\x03cposix\nsystem\n0" + apart + b"N.", Effort(operations=400_000))[0]
    assert (found.imports, found.skipped is None) == (("posix.system",), False)
    found = in_parts("a.pkl", b"\x80\x03N0" + apart + b"N.", Effort(operations=15_000))[0]
    assert found.skipped is not None


@pytest.mark.parametrize(
    "data",
    [
        b"(lp0\n" + bytes(100),
        pickle.dumps(bytes(2_000), 4)[:512].ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(1_000),
    ],
)
def test_one_without_a_mark_or_that_is_another_format_too_is_not_looked_into(data: bytes) -> None:
    assert in_parts("a.pkl", data)[0].skipped == TOO_LARGE


def test_a_large_forest_is_clean_where_it_is_stored(edge: Edge) -> None:
    edge.put({**CLEAN, "model.pkl": pickle.dumps({"trees": [bytes(9 << 20)] * 2, "more": bytes(9 << 20)})})
    found = edge.facts("contents")
    assert (found["content.verdict"], found["content.files_skipped"]) == ("clean", 0)
