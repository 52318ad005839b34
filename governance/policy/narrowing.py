"""Whether one condition holds whenever another does: thresholds by the order of their operator, lists by what they hold.

Promises: what it calls wider is, for every set of facts, at least as true (false < unknown < true) as before, and what it
calls narrower at most; both follow from the monotony of Kleene's connectives and of the operators. Does not: prove all that
is true; two conditions that it cannot relate are `OTHER`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from governance.model.facts import FactType
from governance.policy.condition import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Not,
    Quantified,
    Scope,
)
from governance.policy.literals import severity_rank
from governance.policy.parsing import condition_tree

_UPWARD = {"gt": 1, "gte": 0}
_DOWNWARD = {"lt": 0, "lte": 1}
_MEMBERS = frozenset({"is", "in"})
_MONOTONE = frozenset({FactType.INTEGER, FactType.SCORE, FactType.DURATION, FactType.SEVERITY, FactType.TIME})
_MAX_WORDS = 160
_SHOWN = 8


class Reach(enum.Enum):
    """How a condition relates to the one before it."""

    SAME = "same"
    WIDER = "holds more often"
    NARROWER = "holds less often"
    OTHER = "holds at other times"


_INVERSE = {Reach.WIDER: Reach.NARROWER, Reach.NARROWER: Reach.WIDER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One difference between two conditions: what it does to the whole condition, in words, and where it is."""

    reach: Reach
    words: str
    position: str


def shifts(before: Condition | None, after: Condition | None, scope: Scope) -> tuple[Shift, ...]:
    """The differences between two conditions whose lists are resolved. None is a condition that always holds."""
    return tuple(_shifts(before or AllOf(()), after or AllOf(()), scope, "when"))


def together(reaches: Sequence[Reach]) -> Reach:
    """What several differences, one after the other, come to."""
    found = set(reaches) - {Reach.SAME}
    if not found:
        return Reach.SAME
    return found.pop() if len(found) == 1 else Reach.OTHER


def condition_words(condition: Condition, scope: Scope) -> str:
    """A condition on one line, cut to a length."""
    words = _flow(condition_tree(condition, scope))
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 1] + "…"


def _shifts(before: Condition, after: Condition, scope: Scope, at: str) -> Iterator[Shift]:
    if before == after:
        return
    if isinstance(before, Not) and isinstance(after, Not):
        for one in _shifts(before.part, after.part, scope, f"{at}.not"):
            yield Shift(reach=_INVERSE.get(one.reach, one.reach), words=one.words, position=one.position)
    elif _same_quantifier(before, after):
        yield from _quantified(before, after, scope, at)  # type: ignore[arg-type]  # both are, as the line above says
    elif isinstance(before, Compare) and isinstance(after, Compare) and before.fact == after.fact:
        yield _compared(before, after, scope, at)
    elif isinstance(before, AnyOf) or isinstance(after, AnyOf):
        yield from _listed(AnyOf, before, after, scope, at)
    else:
        yield from _listed(AllOf, before, after, scope, at)


def _same_quantifier(before: Condition, after: Condition) -> bool:
    return (
        isinstance(before, Quantified)
        and isinstance(after, Quantified)
        and (before.quantifier, before.collection) == (after.quantifier, after.collection)
    )


def _quantified(before: Quantified, after: Quantified, scope: Scope, at: str) -> Iterator[Shift]:
    found = scope.find(before.collection)
    below = scope.below(found[0]) if found else scope
    yield from _shifts(
        before.where, after.where, below, f"{at}.{before.quantifier}[{before.collection}].where"
    )


def _listed(
    kind: type[AllOf | AnyOf], before: Condition, after: Condition, scope: Scope, at: str
) -> Iterator[Shift]:
    """Parts of a list: those that pair up are compared, the others were added or removed."""
    head, more, fewer = (
        ("all", Reach.NARROWER, Reach.WIDER) if kind is AllOf else ("any", Reach.WIDER, Reach.NARROWER)
    )
    old = [part for part in _parts(kind, before) if part not in _parts(kind, after)]
    new = [part for part in _parts(kind, after) if part not in _parts(kind, before)]
    for part in tuple(old):
        partner = next((one for one in new if _pairs(part, one)), None)
        if partner is not None:
            yield from _shifts(part, partner, scope, f"{at}.{head}")
            old.remove(part)
            new.remove(partner)
    for part in old:
        yield Shift(
            reach=fewer, words=f"no longer asks {condition_words(part, scope)}", position=f"{at}.{head}"
        )
    for part in new:
        yield Shift(reach=more, words=f"also asks {condition_words(part, scope)}", position=f"{at}.{head}")


def _parts(kind: type[AllOf | AnyOf], condition: Condition) -> tuple[Condition, ...]:
    return condition.parts if isinstance(condition, kind) else (condition,)


def _pairs(one: Condition, other: Condition) -> bool:
    """Whether two parts are plausibly the same one, before and after an edit."""
    if isinstance(one, Compare) and isinstance(other, Compare):
        return one.fact == other.fact and _family(one.operator) == _family(other.operator)
    if isinstance(one, Not) and isinstance(other, Not):
        return _pairs(one.part, other.part)
    if isinstance(one, AllOf | AnyOf):
        return type(one) is type(other)
    return _same_quantifier(one, other)


def _family(operator: str) -> str:
    families = (_UPWARD, _DOWNWARD, _MEMBERS)
    return next((str(place) for place, family in enumerate(families) if operator in family), operator)


def _compared(before: Compare, after: Compare, scope: Scope, at: str) -> Shift:
    found = scope.find(before.fact)
    kind = found[0].type if found else FactType.STRING
    words = f"{condition_words(before, scope)} became {condition_words(after, scope)}"
    reach = Reach.OTHER
    if kind in _MONOTONE and before.operator in _UPWARD and after.operator in _UPWARD:
        lower = _edge(after, _UPWARD, kind) < _edge(before, _UPWARD, kind)
        reach = Reach.WIDER if lower else Reach.NARROWER
    elif kind in _MONOTONE and before.operator in _DOWNWARD and after.operator in _DOWNWARD:
        higher = _edge(after, _DOWNWARD, kind) > _edge(before, _DOWNWARD, kind)
        reach = Reach.WIDER if higher else Reach.NARROWER
    elif _are_lists(before, after, kind):
        old, new = _values(before), _values(after)
        added, gone = [one for one in new if one not in old], [one for one in old if one not in new]
        words = f"`{before.fact}`: {_grown(added, gone)}"
        reach = Reach.OTHER if added and gone else Reach.WIDER if added else Reach.NARROWER
    return Shift(reach=reach, words=words, position=f"{at}[{before.fact}]")


def _are_lists(before: Compare, after: Compare, kind: FactType) -> bool:
    if before.operator == after.operator:
        return before.operator in {"in", "requires"}
    # `is` and `in` mean the same of one value, but for licences, where `in` asks whether the list is enough.
    return {before.operator, after.operator} == _MEMBERS and kind is not FactType.LICENCE


def _values(condition: Compare) -> tuple[Any, ...]:
    operand = condition.operand
    return operand if isinstance(operand, tuple) else (operand,)


def _grown(added: Sequence[Any], gone: Sequence[Any]) -> str:
    parts = [f"added {_some(added)}"] if added else []
    return " and ".join([*parts, *([f"removed {_some(gone)}"] if gone else [])])


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(str(one)[:60] for one in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def _edge(condition: Compare, strictness: dict[str, int], kind: FactType) -> tuple[Any, int]:
    value: Any = condition.operand
    return (severity_rank(value) if kind is FactType.SEVERITY else value), strictness[condition.operator]


def _flow(tree: Any) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_flow, tree)) + "]"
    return str(tree).lower() if isinstance(tree, bool) else str(tree)
