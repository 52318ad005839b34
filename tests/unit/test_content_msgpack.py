"""Networks of spaCy: msgpack within msgpack, with what torch unpickles."""

from __future__ import annotations

import pickle
import struct

import pytest

from governance.content.effort import Effort
from governance.content.inspection import TOO_LARGE, inspect
from governance.content.judgement import judge
from tests.unit.collect_kit import EVIL
from tests.unit.test_content_gguf import in_parts
from tests.unit.test_content_large_zips import zipped

GOOD = pickle.dumps({"weight": [0.5]}, protocol=2)
NAN = b"\xcb\x7f\xf8" + bytes(6)


def packed(value: object) -> bytes:
    """In msgpack, with lengths of any width."""
    match value:
        case bytes():
            return b"\xc4%c%b" % (len(value), value) if len(value) < 256 else b"\xc6" + struct.pack(">I", len(value)) + value  # fmt: skip
        case str():
            return b"\xd9%c%b" % (len(value), value.encode()) if len(value) > 5 else b"%c%b" % (0xA0 + len(value), value.encode())  # fmt: skip
        case dict():
            return b"\xde" + struct.pack(">H", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())  # fmt: skip
        case list():
            return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
        case None:
            return b"\xc0"
        case int():
            return b"\xce" + struct.pack(">I", value)
    return b"\xc7\x03\x05abc" + b"\xd6\x01abcd" + NAN


def component(state: bytes) -> bytes:
    """As thinc writes the network of a component, `state` being what `torch.save` wrote."""
    shim = packed({"config": {"device": None}, "state": state})
    array = {"type": "<f4", "shape": [300], "data": struct.pack("<300f", *range(300))}
    nodes = [{"index": 0, "name": "maxout"}, 1.5]
    return packed({"nodes": nodes, "attrs": [], "params": [array], "shims": [[], [shim]]})


@pytest.mark.parametrize("name", ["tok2vec/model", "model", "tok2vec/MODEL"])
@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (GOOD, "clean"),
        (EVIL, "malicious"),
        (zipped({"data.pkl": EVIL}), "malicious"),
        (pickle.dumps(GOOD, protocol=2) * 4 + EVIL, "malicious"),
    ],
)
def test_what_torch_unpickles_out_of_it_is_looked_into(name: str, state: bytes, verdict: str) -> None:
    found = inspect(name, component(state))
    assert found.skipped is None
    assert judge(found.imports, is_broken=found.broken is not None) == verdict


def test_other_files_are_no_networks_of_spacy() -> None:
    assert inspect("notes", component(b"c__builtin__\nexec\n.")).imports == ()
    assert inspect("model", b"spam" + component(EVIL)[:40]).imports == ()


def test_one_that_is_cut_or_too_much_is_not_clean_without_a_look() -> None:
    data = component(EVIL)
    assert inspect("model", data[: data.index(EVIL) + len(EVIL)]).imports != ()
    assert inspect("model", data, effort=Effort(operations=3)).skipped is not None
    assert in_parts("model", data)[0].skipped == TOO_LARGE


def test_documents_within_documents_take_no_more_work_than_one() -> None:
    data = GOOD
    for _ in range(2_000):
        data = packed({"a": data})
    effort = Effort()
    assert inspect("model", data, effort=effort).skipped is None
    assert Effort().operations - effort.operations < 100_000


def test_millions_of_values_are_more_than_is_looked_into() -> None:
    """Each is little work, and a file of a few MiB has a million of them."""
    found = inspect("model", b"\x81" + b"\xc4\x01\x80" * 1_000, effort=Effort(operations=100_000))
    assert found.skipped is not None
