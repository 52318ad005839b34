"""Whether conditions can hold at all: contradictory ranges and values on one fact.

Sound and not complete: what is called impossible is; much that is impossible is not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from governance.model.facts import FactType
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, ListName, Not, Quantified, Scope
from governance.policy.literals import severity_rank
from governance.policy.names import loose_name

_RANKED = frozenset({FactType.INTEGER, FactType.SCORE, FactType.DURATION, FactType.SEVERITY, FactType.TIME})


def is_impossible(condition: Condition, scope: Scope) -> bool:
    """Whether no facts make the condition true."""
    if isinstance(condition, AnyOf):
        return all(is_impossible(part, scope) for part in condition.parts)
    if isinstance(condition, Quantified):
        found = scope.find(condition.collection)
        return found is not None and is_impossible(condition.where, scope.below(found[0]))
    if isinstance(condition, Not):
        return False
    parts = list(_flat(condition))
    if any(not isinstance(part, Compare) and is_impossible(part, scope) for part in parts):
        return True
    by_fact: dict[str, list[Compare]] = {}
    for part in parts:
        if isinstance(part, Compare):
            by_fact.setdefault(part.fact, []).append(part)
    return any(_clash(name, compares, scope) for name, compares in by_fact.items())


def _flat(condition: Condition) -> Iterable[Condition]:
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _flat(part)
    else:
        yield condition


def _clash(name: str, compares: list[Compare], scope: Scope) -> bool:
    found = scope.find(name)
    kind = found[0].type if found is not None else FactType.STRING
    operands: Mapping[str, list[Any]] = _by_operator(compares)
    if True in operands["exists"] and False in operands["exists"]:
        return True
    if False in operands["exists"] and len(compares) > len(operands["exists"]):
        return True  # an absent value equals nothing and has no order
    allowed = [set(one) for one in operands["in"]] + [{one} for one in operands["is"]]
    if kind is FactType.NAME:  # names that differ in the coarsest form differ in every ecosystem
        loose = [{loose_name(one) for one in names} for names in allowed]
        return bool(loose) and not set.intersection(*loose)
    if kind in {FactType.VERSION, FactType.LICENCE, FactType.PURL}:
        return False  # spelled in several ways
    common = set.intersection(*allowed) if allowed else None
    if common is not None and not common:
        return True
    return kind in _RANKED and _out_of_range(operands, common, kind)


def _by_operator(compares: list[Compare]) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in ("exists", "in", "is", "lt", "lte", "gt", "gte")}
    for one in compares:
        if one.operator in found and not isinstance(one.operand, ListName):
            found[one.operator].append(one.operand)
    return found


def _out_of_range(operands: Mapping[str, list[Any]], common: set[Any] | None, kind: FactType) -> bool:
    def rank(value: Any) -> Any:
        return severity_rank(value) if kind is FactType.SEVERITY else value

    lows = [(rank(one), strict) for name, strict in (("gt", True), ("gte", False)) for one in operands[name]]
    highs = [(rank(one), strict) for name, strict in (("lt", True), ("lte", False)) for one in operands[name]]
    if common is not None:
        return not any(_fits(rank(one), lows, highs) for one in common)
    return any(
        low > high or (low == high and (above or below)) for low, above in lows for high, below in highs
    )


def _fits(value: Any, lows: list[tuple[Any, bool]], highs: list[tuple[Any, bool]]) -> bool:
    return all(value > low or (value == low and not strict) for low, strict in lows) and all(
        value < high or (value == high and not strict) for high, strict in highs
    )
