"""Our canonical JSON against an implementation of RFC 8785 that knows no subset."""

from __future__ import annotations

import enum
import uuid
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance.model.canonical import CanonicalError, canonical_bytes, parse_canonical

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=12)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_it_is_rfc_8785_inside_the_subset(document: Any) -> None:
    data = canonical_bytes(document)
    assert data == rfc8785.dumps(document)
    assert parse_canonical(data) == document


class Word(enum.StrEnum):
    A = "a"


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "document",
    [
        1.0, float("nan"), 2**53, -(2**53), "\ud800", b"x", {1: 2}, {"é": 1}, {"\ud800": 1}, [1.5], {"a": {"b": 0.0}}, ("x", 1.0),
        {"a": object()}, {"a": {1, 2}}, uuid.UUID(int=1), [uuid.UUID(int=1)], {"a": "é\ud800"}, nested(66), {"a": nested(70)},
    ],
)  # fmt: skip
def test_what_is_outside_is_refused_wherever_it_stands(document: Any) -> None:
    for value in (document, [document], {"k": document}, {"k": [{"l": (document,)}]}):
        with pytest.raises(CanonicalError):
            canonical_bytes(value)


def test_relatives_of_plain_types_are_written_as_these() -> None:
    assert canonical_bytes({"w": Word.A, "t": (1, 2), "n": nested(60)}).startswith(b'{"n":[[')
