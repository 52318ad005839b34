"""Where an ONNX file has its tensors read from, beside itself.

A tensor may lie in another file, which the model names (`external_data`, key `location`). A loader opens that path on the machine
that loads: one that leads out of the model's folder reads what no model should see, and what nobody judged (CVE-2022-25882,
CVE-2024-27318). Promises: every tensor that a graph, a function, an attribute or a training graph can hold is looked at, in one pass
over the bytes of the message, without the schema's code. Does not: look into weights, or say what an operator does; operators of others'
domains do nothing but with a library that whoever loads the model registers.
"""

from __future__ import annotations

from typing import Final

from governance.content.effort import Effort
from governance.content.protobuf import MessageError, Schema, fields, leaves
from governance.content.windows import Bytes
from governance.errors import UnsafePathError
from governance.model.artifact import parse_relative_path

LOCATION: Final = b"location"

# The fields that lead to tensors, by message and number, as in `onnx.proto`.
_TENSOR, _ENTRY = "tensor", "entry"
_LEADS: Final[Schema] = {
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


class OnnxError(Exception):
    """No ONNX model, or one that reads from where it must not. The text says which."""


def check_onnx(data: Bytes, effort: Effort) -> None:
    """Raise `OnnxError` for a tensor that lies outside the model's folder, and for bytes that are no ONNX model;
    `SpentError` for more of them than there is leave to look at."""
    try:
        for _, start, end in leaves(data, _LEADS, "model", effort):
            _check_entry(data, start, end, effort)
    except MessageError as error:
        raise OnnxError(f"no ONNX model: {error}") from error


def _check_entry(data: Bytes, start: int, end: int, effort: Effort) -> None:
    texts = [(number, data[first:last]) for number, first, last in fields(data, start, end, effort)]
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
