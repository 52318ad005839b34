"""Values worth trying for a fact: for every way in which the comparisons of some rules can come out on it, one value.

Promises: no two values of a probe are told apart by the same answers; where a probe says `whole`, no value of the fact
gives answers that none of them gives. That is known:

1. for booleans, severities and closed lists of words, since every value is tried;
2. for numbers, durations and times under comparisons of order and equality, since the thresholds, the values just beside
   them and those between two of them are tried;
3. for texts under `is`, `in` and `exists`, since the values named and one that nobody names are tried;
4. for any fact with a single comparison, where values were found that make it true, false and unknown;
5. for collections whose items' fields are whole, since only the set of answers given by the items matters, and every such
   set is tried.

Each probe also has known absence, `Unknown`, and of facts that can be known in part what they may be at least.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from governance.model.facts import Collection, FactSpec, FactType, Unknown
from governance.model.request import parse_utc, utc_text
from governance.policy.closures import compile_condition
from governance.policy.condition import (
    MEMBER,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Not,
    Quantified,
    Scope,
    Test,
)
from governance.policy.literals import closed_values, has_bounds
from governance.policy.thresholds import beside

NOT_KNOWN = Unknown("not known")
_OTHER = "other"
_ORDERED = frozenset({FactType.INTEGER, FactType.DURATION, FactType.SCORE, FactType.TIME, FactType.SEVERITY})
_PLAIN_OPERATORS = frozenset({"is", "in", "exists"})
_ORDER_OPERATORS = _PLAIN_OPERATORS | {"lt", "lte", "gt", "gte"}
_MOST_ITEMS = 1_000
_MOST_SORTS = 6
_MOST_LISTED = 40
"""Members of a list that are tried; where it has more, a probe is whole only by rule 4."""
_SECOND = timedelta(seconds=1)
_WILD = re.compile(r"[*?]+")
_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Values of one fact, the plainest first."""

    values: tuple[Any, ...]
    whole: bool


def leaves(condition: Condition) -> Iterator[Compare | Quantified]:
    """The comparisons and quantifiers that a condition is made of, not looking below a quantifier."""
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from leaves(part)
    elif isinstance(condition, Not):
        yield from leaves(condition.part)
    else:
        yield condition


def fact_of(leaf: Compare | Quantified) -> str:
    """The fact, or field, that a leaf is about."""
    return leaf.fact if isinstance(leaf, Compare) else leaf.collection


def probe(name: str, asked: Sequence[Compare | Quantified], scope: Scope) -> Probe:
    """The values to try for `name`, about which `asked` are all the questions. Their lists are resolved."""
    found = scope.find(name)
    assert found is not None  # the loader looked it up
    spec, in_item = found
    unique = tuple(dict.fromkeys(asked))
    tests = [compile_condition(leaf, scope) for leaf in unique]
    if spec.type in {FactType.COLLECTION, FactType.STRINGS}:
        values, whole = _collections(spec, unique, scope)
    else:
        values = tuple(_scalars(spec, [one for one in unique if isinstance(one, Compare)]))
        whole = _is_closed(spec, unique)
    in_part = (
        [replace(NOT_KNOWN, at_least=value) for value in values] if has_bounds(spec) and not in_item else []
    )
    kept = _told_apart(name, (*values, NOT_KNOWN, None, *in_part), tests)
    if not whole and len(tests) == 1:
        answers = {tests[0]({name: value}, {name: value}) for value in kept}
        whole = answers == {True, False, None}
    return Probe(values=kept, whole=whole)


def _told_apart(name: str, values: Iterable[Any], tests: Sequence[Test]) -> tuple[Any, ...]:
    kept: dict[tuple[bool | None, ...], Any] = {}
    for value in values:
        record = {name: value}
        kept.setdefault(tuple(test(record, record) for test in tests), value)
    return tuple(kept.values())


def _is_closed(spec: FactSpec, asked: Sequence[Compare | Quantified]) -> bool:
    if any(map(_is_cut, asked)):
        return False
    operators = {one.operator for one in asked if isinstance(one, Compare)}
    if spec.type is FactType.BOOLEAN or spec.values:
        return True
    if spec.type in _ORDERED:
        return operators <= _ORDER_OPERATORS
    return spec.type is FactType.STRING and operators <= _PLAIN_OPERATORS


def _scalars(spec: FactSpec, asked: Sequence[Compare]) -> Iterator[Any]:
    closed = closed_values(spec)
    if closed is not None:
        yield from closed
        return
    operands = [operand for one in asked if one.operator != "exists" for operand in _listed(one.operand)]
    yield from operands
    if spec.type in _ORDERED:
        yield from _around(spec, operands)
    else:
        yield _OTHER
        yield from itertools.chain.from_iterable(map(_fitting, operands))


def _listed(operand: Any) -> tuple[Any, ...]:
    return operand[:_MOST_LISTED] if isinstance(operand, tuple) else (operand,)


def _is_cut(one: Compare | Quantified) -> bool:
    return isinstance(one, Compare) and isinstance(one.operand, tuple) and len(one.operand) > _MOST_LISTED


def _around(spec: FactSpec, operands: Sequence[Any]) -> Iterator[Any]:
    """The values just beside each operand, as people write them and as close as they come, and one where there is none."""
    for operand in operands:
        for upwards in (True, False):
            stepped = beside(spec, operand, upwards=upwards)
            if stepped is not None:
                yield stepped
    for operand in operands:
        if spec.type is FactType.TIME:
            yield from _times_around(operand)
        elif spec.type is FactType.SCORE:
            yield from ((operand + other) / 2 for other in (*operands, 10.0, 0.0))
        else:
            yield from (operand + 1, max(operand - 1, 0))
    if not operands:
        yield {FactType.TIME: "2026-01-01T00:00:00.000000Z", FactType.SCORE: 5.0}.get(spec.type, 1)


def _times_around(text: str) -> Iterator[str]:
    """A second later and a second earlier, but for what the calendar does not have."""
    for step in (_SECOND, -_SECOND):
        try:
            yield utc_text(parse_utc(text) + step)
        except OverflowError:
            continue


def _fitting(operand: Any) -> Iterator[str]:
    """Texts that a pattern may fit: its wildcards filled in, the versions it names."""
    text = str(operand)
    yield _WILD.sub("x", text)
    if text.startswith("pkg:") and "@" not in text:
        yield f"{_WILD.sub('x', text)}@1.0"
    for version in _VERSION.findall(text):
        yield version
        yield f"{version}.1"
    yield "0.0.1"


def _collections(
    spec: FactSpec, asked: Sequence[Compare | Quantified], scope: Scope
) -> tuple[tuple[Any, ...], bool]:
    below = scope.below(spec)
    wheres = tuple(dict.fromkeys(one.where for one in asked if isinstance(one, Quantified)))
    items, whole = _items(wheres, below)
    tests = [compile_condition(where, below) for where in wheres]
    sorts: dict[tuple[bool | None, ...], Mapping[str, Any]] = {}
    for item in items:
        sorts.setdefault(tuple(test(item, {}) for test in tests), item)
    several = list(sorts.values())
    if len(several) > _MOST_SORTS:
        several, whole = several[:_MOST_SORTS], False
    chosen = [some for size in range(len(several) + 1) for some in itertools.combinations(several, size)]
    if spec.type is FactType.STRINGS:
        return tuple(tuple(str(item[MEMBER]) for item in some) for some in chosen), whole
    complete = tuple(Collection(some) for some in chosen)
    return (*complete, *(Collection(some, "not all are known") for some in chosen)), whole


def _items(wheres: Sequence[Condition], below: Scope) -> tuple[list[Mapping[str, Any]], bool]:
    """An item for every way in which the conditions can come out on one; not all, where they read more than the item."""
    asked: dict[str, list[Compare | Quantified]] = {}
    own = below.fields or {}
    whole = True
    for leaf in itertools.chain.from_iterable(map(leaves, wheres)):
        if fact_of(leaf) in own:
            asked.setdefault(fact_of(leaf), []).append(leaf)
        else:
            whole = False
    probes = {name: probe(name, ones, below) for name, ones in asked.items()}
    whole = whole and all(one.whole for one in probes.values())
    filled = {name: one.values for name, one in probes.items()}
    if MEMBER in own and set(own) == {MEMBER}:  # a set of texts has neither absent nor unknown members
        texts = tuple(value for value in filled.get(MEMBER, ()) if isinstance(value, str)) or (_OTHER,)
        return [{MEMBER: text} for text in texts], whole
    combined = itertools.product(*filled.values())
    items: list[Mapping[str, Any]] = [
        dict(zip(filled, values, strict=True)) for values in itertools.islice(combined, _MOST_ITEMS)
    ]
    return items, whole and next(combined, None) is None
