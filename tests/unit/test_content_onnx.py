"""ONNX files: tensors that lie in other files, wherever in the model they are named."""

from __future__ import annotations

import pytest

from governance.content.effort import Effort, SpentError
from governance.content.inspection import inspect, must_look
from governance.content.onnx import OnnxError, check_onnx

OUTSIDE = "a tensor that is read from outside the model's folder"


def number(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(at: int, content: bytes) -> bytes:
    """A field of a protobuf message that has a length."""
    return number(at << 3 | 2) + number(len(content)) + content


def tensor(location: bytes, key: bytes = b"location") -> bytes:
    entry = field(1, key) + field(2, location)
    return number(1 << 3) + number(3) + field(8, b"weights") + field(13, entry) + number(14 << 3) + number(1)


def model(graph: bytes) -> bytes:
    return number(1 << 3) + number(8) + field(2, b"pytorch") + field(7, graph)


def attribute(content: bytes, at: int = 5) -> bytes:
    return field(1, field(5, field(1, b"value") + field(at, content)))


PLACES = {
    "initializer": lambda held: model(field(5, held)),
    "sparse values": lambda held: model(field(15, field(1, held))),
    "sparse indices": lambda held: model(field(15, field(2, held))),
    "attribute": lambda held: model(attribute(held)),
    "attributes": lambda held: model(attribute(held, 10)),
    "sparse attribute": lambda held: model(attribute(field(1, held), 22)),
    "graph of a node": lambda held: model(attribute(field(5, held), 6)),
    "graphs of a node": lambda held: model(attribute(attribute(field(5, held), 11), 6)),
    "training": lambda held: model(b"") + field(20, field(2, field(5, held))),
    "function": lambda held: model(b"") + field(25, field(7, field(5, field(5, held)))),
    "function's default": lambda held: model(b"") + field(25, field(11, field(5, held))),
    "second graph": lambda held: model(b"") + field(7, field(5, held)),
}


@pytest.mark.parametrize("place", list(PLACES))
def test_a_tensor_outside_is_found_wherever_it_is_named(place: str) -> None:
    found = inspect("data/model.onnx", PLACES[place](tensor(b"../../../etc/passwd")))
    assert (found.format, found.broken) == ("onnx", OUTSIDE)
    assert inspect("data/model.onnx", PLACES[place](tensor(b"model.onnx.data"))).broken is None


@pytest.mark.parametrize(
    "location",
    [
        b"/etc/passwd",
        b"..",
        b"a/../../b",
        b"..\\b",
        b"C:\\b",
        b"C:/b",
        b"",
        b".",
        b"a\x00b",
        b"\xff",
        b"//server/share",
    ],
)
def test_what_is_outside(location: bytes) -> None:
    with pytest.raises(OnnxError, match="outside"):
        check_onnx(model(field(5, tensor(location))), Effort())


@pytest.mark.parametrize(
    "location", [b"weights", b"./weights.bin", b"a/b/c.data", b"onnx__MatMul_3", "gewichte-ü".encode()]
)
def test_what_is_beside_is_as_usual(location: bytes) -> None:
    check_onnx(model(field(5, tensor(location) + tensor(b"4096", b"offset"))), Effort())


def test_of_what_is_said_twice_neither_is_left_out() -> None:
    twice = field(1, b"location") + field(2, b"/etc/passwd") + field(2, b"good")
    later = field(2, b"/etc/passwd") + field(1, b"offset") + field(1, b"location")
    for entry in (twice, later):
        with pytest.raises(OnnxError, match="outside"):
            check_onnx(model(field(5, field(13, entry))), Effort())


@pytest.mark.parametrize(
    "data",
    [b"not a model at all", b"\x3a\xff", b"\x3a\x05a", b"\x80" * 11, b"\x0b", b"\x09aaa", number(7 << 3 | 2)],
)
def test_what_is_no_model_is_broken(data: bytes) -> None:
    assert (inspect("m.onnx", data).broken or "").startswith("no ONNX model")


def test_the_look_is_bounded() -> None:
    deep = b""
    for _ in range(60):
        deep = attribute(deep, 6)
    with pytest.raises(OnnxError, match="deeper"):
        check_onnx(model(deep), Effort())
    with pytest.raises(SpentError):
        check_onnx(model(b"\x08\x01" * 50_000), Effort(operations=10_000))


def test_an_onnx_file_is_always_looked_into() -> None:
    """Its name says so, whatever it begins with; one too large to be held counts as not looked into."""
    assert must_look("data/model.onnx", b"\x08\x08", 1 << 30)
    assert inspect("empty.onnx", b"").broken is None
