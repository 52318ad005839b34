"""Laws of `governance.report.seen`: bodies that are remembered change nothing of what is read."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from governance.report.seen import Bodies


class _Pairs(dict[str, Any]):
    """An object that prints its pairs as they are given, names that stand twice among them."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__({"x": 0})
        self._pairs = pairs

    def items(self) -> Any:
        return self._pairs


def _object(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


_DIGEST = "ab" * 32
_CUTS = (
    ',"body":{',
    ',"facts":"',
    f',"facts":"{_DIGEST}"',
    ',"correlation":"',
    f'"facts":"{_DIGEST}"',
    '"body":{}',
)
_TEXTS = st.one_of(st.sampled_from(_CUTS), st.text(max_size=8), st.just(_DIGEST))
_KEYS = st.one_of(st.sampled_from(("body", "facts", "correlation", "a", "z")), _TEXTS)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(st.tuples(_KEYS, inner), max_size=3).map(_object)
    ),
    max_leaves=6,
)


@st.composite
def _entries(draw: st.DrawFn) -> bytes:
    """Bytes much like those of a decision, and nearly as often unlike them."""
    more = st.lists(st.tuples(_KEYS, _VALUES), max_size=3)
    body = _object(
        [("action", "load"), *draw(more), ("facts", draw(st.sampled_from((_DIGEST, "cd" * 32)))), *draw(more)]
    )
    pairs = [("at", "now"), *draw(more), ("body", body), *draw(more), ("correlation", "c"), *draw(more)]
    data = json.dumps(_object(pairs), separators=(",", ":"), ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "replace"
    )
    if draw(st.booleans()):
        return data
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, min(len(data), start + 4)))
    return data[:start] + draw(st.sampled_from((b"", b'"', b"}", b"\\", b",", b"\xff"))) + data[stop:]


def _whole(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        return ValueError


def _in_parts(bodies: Bodies, data: bytes) -> object:
    try:
        return bodies.parse(data)[0]
    except ValueError:
        return ValueError


@given(st.lists(_entries(), min_size=1, max_size=4))
@example(
    [b'{"a":0,"body":{"a":{"x":0,"facts":"%b"},"facts":"%b"},"correlation":"c"}' % (b"ab" * 32, b"cd" * 32)]
)
@example([b'{"a":0,"body":{"a":0,"facts":"%b","facts":0},"correlation":"c"}' % (b"ab" * 32)])
@example([b'{"a":0,"body":{"a":0,"facts":"%b"},"body":1,"correlation":"c"}' % (b"ab" * 32)])
@example([b'{"a":0,"body":{"a":0,"facts":"%b"},"facts":null,"correlation":"c"}' % (b"ab" * 32)])
@example([b'{"a":0,"body":{"a":0,"facts":"%b"},"body":{"facts":"x"},"correlation":"c"}' % (b"ab" * 32)])
def test_an_entry_read_in_parts_says_what_it_says_read_whole(entries: list[bytes]) -> None:
    bodies = Bodies()
    for data in [*entries, *entries]:
        assert _in_parts(bodies, data) == _whole(data)


def test_a_body_that_comes_again_is_known_by_all_but_its_facts() -> None:
    bodies = Bodies()
    entry = b'{"at":%d,"body":{"action":"load","facts":"%b","z":%d},"correlation":"c"}'
    made = [
        bodies.parse(entry % (at, digest * 32, z))
        for at, digest, z in ((1, b"ab", 0), (2, b"cd", 0), (3, b"ab", 1))
    ]
    assert [document["body"]["facts"] for document, _ in made] == ["ab" * 32, "cd" * 32, "ab" * 32]
    assert [document["at"] for document, _ in made] == [1, 2, 3]
    likes = [like for _, like in made]
    assert likes[0] is not None
    assert likes[0] == likes[1] != likes[2]
    assert bodies.parse(b'{"at":1,"body":{"action":"load"},"correlation":"c"}')[1] is None


def test_where_hardly_a_body_comes_again_none_is_looked_for() -> None:
    bodies = Bodies()
    entry = b'{"at":1,"body":{"action":"load","facts":"%b","z":%d},"correlation":"c"}'
    likes = [bodies.parse(entry % (b"ab" * 32, number))[1] for number in range(1_000)]
    assert likes[0] is not None
    assert likes[-1] is None
    assert bodies.parse(entry % (b"ab" * 32, 0))[0]["body"] == {"action": "load", "facts": "ab" * 32, "z": 0}
