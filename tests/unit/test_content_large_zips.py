"""Zips that are too large to be held: their directory is read, and the first bytes of each member."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping

import pytest

from governance.content.effort import Effort
from governance.content.inspection import TOO_LARGE, inspect
from governance.content.judgement import judge
from tests.unit.collect_kit import CLEAN, EVIL, Edge
from tests.unit.test_content_exported import RUN, program
from tests.unit.test_content_gguf import in_parts

GOOD = pickle.dumps({"layers": 200})
TENSOR = struct.pack("<4f", 0.5, -1.25, 3.0, 0.125) * (40 << 10)


def zipped(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    """As torch lays a file out: what is unpickled, and the tensors one after the other."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name}", data)
    return whole.getvalue()


def weights(member: bytes = GOOD, name: str = "data.pkl") -> bytes:
    """Eight tensors beside a pickle, which is the last member."""
    return zipped({**{f"data/{number}": TENSOR for number in range(8)}, name: member})


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (weights(), "clean"),
        (weights(EVIL), "malicious"),
        (weights(EVIL, "data/8"), "malicious"),
        (weights(json.dumps(program(shape=RUN)).encode(), "models/model.json"), "malicious"),
        (weights(zipped({"data.pkl": EVIL}), "data/inner"), "malicious"),
        (zipped({"data.pkl": GOOD, "data/0": TENSOR}, method=zipfile.ZIP_DEFLATED), "clean"),
    ],
)
def test_a_large_zip_is_told_what_a_small_one_is(data: bytes, verdict: str) -> None:
    found, sizes = in_parts("model.pt", data)
    assert found == inspect("model.pt", data)
    assert found.skipped is None
    assert judge(found.imports, is_broken=found.broken is not None) == verdict
    assert sum(sizes) < max(len(data) // 2, 200_000)


def hidden(data: bytes) -> bytes:
    """With a second directory before the one that Python takes, as torch's reader would find it by its place."""
    return weights(EVIL)[:-22] + data


@pytest.mark.parametrize(
    "data",
    [
        hidden(weights()),
        weights()[:-10],
        weights().replace(b"PK\x01\x02", b"PK\x01\x03"),
        weights().replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1),
        zipped({str(number): b"" for number in range(20_001)}),
        zipped({"0" * 60_000 + str(number): b"" for number in range(40)}),
    ],
)
def test_one_that_does_not_fit_together_is_not_looked_into(data: bytes) -> None:
    assert in_parts("model.pt", data)[0].skipped == TOO_LARGE


def test_one_of_more_than_there_is_leave_for_is_not_looked_into() -> None:
    many = zipped({f"data/{number}": TENSOR * 2 for number in range(8)})
    assert in_parts("model.pt", many)[0].skipped is None
    assert in_parts("model.pt", many, Effort(operations=100_000))[0].skipped is not None
    bomb = zipped({"data.pkl": b"\x80\x04" + bytes(65 << 20)}, method=zipfile.ZIP_DEFLATED)
    assert in_parts("model.pt", bomb)[0].skipped == "it unpacks to more than is looked into"


def test_a_large_model_of_torch_is_clean_where_it_is_stored(edge: Edge) -> None:
    tensors = {f"data/{number}": TENSOR * 18 for number in range(2)}
    edge.put({**CLEAN, "data/model.pt": zipped({**tensors, "data.pkl": GOOD})})
    found = edge.facts("contents")
    assert (found["content.verdict"], found["content.files_skipped"]) == ("clean", 0)
    edge.put({"data/model.pt": zipped({**tensors, "data.pkl": EVIL})})
    assert edge.facts("contents")["content.verdict"] == "malicious"
