"""Where an ONNX file has its tensors read from, beside itself.

A tensor may lie in another file, which the model names (`external_data`, key `location`). A loader opens that path on the machine
that loads: one that leads out of the model's folder reads what no model should see, and what nobody judged (CVE-2022-25882,
CVE-2024-27318). Promises: every tensor that a graph, a function, an attribute or a training graph can hold is looked at, in one pass
over the bytes of the message, without the schema's code. Does not: look into weights, or say what an operator does; operators of others'
domains do nothing but with a library that whoever loads the model registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from governance.content.effort import Effort
from governance.content.windows import Bytes
from governance.errors import UnsafePathError
from governance.model.artifact import parse_relative_path

LOCATION: Final = b"location"

# The fields that lead to tensors, by message and number, as in `onnx.proto`.
_TENSOR, _ENTRY = "tensor", "entry"
_LEADS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _ENTRY},
}
_KEY, _VALUE = 1, 2
_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5
_FIXED: Final = {_LONG: 8, _SHORT: 4}
_WORK: Final = 1_000
_FIELD, _MESSAGE = 2, 16
"""How many operations of a pickle each is worth."""
_DEEPEST: Final = 100
"""As deep as the readers of such messages go."""


class OnnxError(Exception):
    """No ONNX model, or one that reads from where it must not. The text says which."""


def check_onnx(data: Bytes, effort: Effort) -> None:
    """Raise `OnnxError` for a tensor that lies outside the model's folder, and for bytes that are no ONNX model;
    `SpentError` for more of them than there is leave to look at."""
    within = [("model", _fields(data, 0, len(data), effort))]
    while within:
        kind, fields = within[-1]
        number, start, end = next(fields, (None, 0, 0))
        if number is None:
            within.pop()
        elif (inner := _LEADS[kind].get(number)) == _ENTRY:
            _check_entry(data, start, end, effort)
        elif inner is not None:
            if len(within) == _DEEPEST:
                raise OnnxError(f"no ONNX model: nested deeper than {_DEEPEST}")
            within.append((inner, _fields(data, start, end, effort)))


def _check_entry(data: Bytes, start: int, end: int, effort: Effort) -> None:
    texts = [(number, data[first:last]) for number, first, last in _fields(data, start, end, effort)]
    # Said twice, the last one counts for most readers; here each does.
    if not any(number == _KEY and text == LOCATION for number, text in texts):
        return
    for text in (text for number, text in texts if number == _VALUE):
        if not _is_inside(text):
            raise OnnxError("a tensor that is read from outside the model's folder")


def _is_inside(location: bytes) -> bool:
    try:
        text = location.decode()
        parse_relative_path("/".join(part for part in text.split("/") if part != "."))
    except (UnicodeDecodeError, UnsafePathError):
        return False
    return True


def _fields(data: Bytes, start: int, end: int, effort: Effort) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: number, and where their bytes lie."""
    at, seen = start, 0
    effort.demand(_MESSAGE)
    while at < end:
        seen += 1
        if seen % _WORK == 0:
            effort.demand(_FIELD * _WORK)
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise OnnxError("no ONNX model: a part of it is longer than the whole")
            yield number, at, at + size
            at += size
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise OnnxError("no ONNX model: a part of it is of no kind that there is")
    if at != end:
        raise OnnxError("no ONNX model: it ends in the midst of a part")


def _varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise OnnxError("no ONNX model: a number in it has no end")
