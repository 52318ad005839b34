"""Laws of selections: the text is an inverse, matching is total, and words narrow while values widen."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from governance.audit.bodies import OutcomeStatus
from governance.audit.entry import Entry, EntryKind, Writer
from governance.model.request import Action
from governance.model.verdict import Effect, Mode
from governance.report.selection import Selection, SelectionError, parse_selection

TEXTS = st.text(min_size=1, max_size=12)
HEXES = st.text("0123456789abcdef", min_size=64, max_size=64)
CLOSED: dict[str, st.SearchStrategy[str]] = {
    "kinds": st.sampled_from([*map(str, EntryKind)]),
    "digests": HEXES | HEXES.map("sha256:".__add__) | HEXES.map("dirhash1:".__add__),
    "revisions": st.integers(0, 10**9).map(str),
    "decisions": st.sampled_from([one.word for one in Effect]),
    "modes": st.sampled_from([*map(str, Mode)]),
    "actions": st.sampled_from([*map(str, Action)]),
    "outcomes": st.sampled_from([*map(str, OutcomeStatus)]),
    "policies": HEXES | TEXTS,
    "environments": TEXTS.filter(lambda text: bool(text.strip())),
}
FLAGS = ("refused", "would_block", "degraded", "waived", "break_glass")
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    chosen: dict[str, Any] = {}
    for each in fields(Selection):
        if not draw(st.booleans()):
            continue
        if each.name in FLAGS:
            chosen[each.name] = draw(st.booleans())
        elif each.name in {"since", "until"}:
            chosen[each.name] = draw(TIMES)
        else:
            values = st.lists(CLOSED.get(each.name, TEXTS), max_size=3)
            chosen[each.name] = tuple(draw(values))
    return Selection(**chosen)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | TEXTS
    | st.sampled_from(["block", "yes", "enforce", "done"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([
    "artifact", "digest", "actor", "name", "verdict", "decision", "findings", "rule", "fired", "waived", "policy", "names",
    "revision", "mlflow", "model_name", "model_version", "moved", "files", "sha256", "signature", "key_id", "event", "by",
    "environment", "status", "held", "mode", "would_block", "degraded", "version", "action",
])  # fmt: skip
BODIES = st.recursive(
    JSON,
    lambda inner: st.dictionaries(NAMES, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=25,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Entries as `parse_entry` may give them, which looks at no type inside."""
    return Entry(
        id="e",
        at=draw(TIMES),
        kind=draw(st.sampled_from(EntryKind)),
        writer=Writer(instance="i", boot="b", n=1),
        correlation=draw(TEXTS | JSON),  # type: ignore[arg-type]  # what another program may have written
        subject=draw(TEXTS | JSON),  # type: ignore[arg-type]  # the same
        body=draw(BODIES),  # type: ignore[arg-type]  # the same
    )


@given(selections())
def test_the_text_is_an_inverse(selection: Selection) -> None:
    text = str(selection)
    assert parse_selection(text) == selection
    assert text == str(parse_selection(text))
    assert text.isprintable()
    words = shlex.split(selection.as_command())
    assert parse_selection(" ".join(words[3:])) == selection


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["kind:", "decision", ",", '"', " ", "\\", "since:", "x"])).map("".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        selection = parse_selection(text)
    except SelectionError:
        return
    assert parse_selection(str(selection)) == selection


@given(selections(), entries())
def test_matching_is_total(selection: Selection, entry: Entry) -> None:
    assert isinstance(selection.matches(entry), bool)
    assert Selection().matches(entry)


@given(selections(), selections(), entries())
def test_words_narrow_and_values_widen(one: Selection, other: Selection, entry: Entry) -> None:
    for each in fields(Selection):
        if not getattr(other, each.name):
            continue
        narrowed = replace(Selection(), **{each.name: getattr(other, each.name)})
        if getattr(one, each.name) in ((), None):
            both = replace(one, **{each.name: getattr(other, each.name)})
            assert both.matches(entry) == (one.matches(entry) and narrowed.matches(entry))
        if isinstance(getattr(other, each.name), tuple):
            assert narrowed.matches(entry) == any(
                _alone(each.name, value).matches(entry) for value in getattr(narrowed, each.name)
            )


def _alone(name: str, value: str) -> Selection:
    chosen: dict[str, Any] = {name: (value,)}
    return Selection(**chosen)
