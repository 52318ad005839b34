"""Under which keys a comparison is posted in the index, by operator and type of fact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from governance.model.facts import FactSpec, FactType
from governance.policy.comparing import order_key
from governance.policy.condition import Compare, ListName
from governance.policy.licences import parse_expression, symbols
from governance.policy.literals import SEVERITIES
from governance.policy.names import loose_name, parse_purl
from governance.policy.patterns import anchor_of
from governance.policy.probes import (
    ABSENT,
    UNREADABLE,
    EndsProbe,
    MembersProbe,
    OrderProbe,
    Probe,
    ValueProbe,
)

_UPWARDS, _DOWNWARDS = frozenset({"gt", "gte"}), frozenset({"lt", "lte"})
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One key of one probe. `chance` is a guess at how many requests have the key, `floor` what it cannot fall below
    however many keys there are (a boolean stays a boolean). `fact` is the name by which the value is got.
    """

    collection: str | None
    fact: str
    kind: str
    spec: FactSpec
    key: Any
    chance: float
    floor: float = 0.0


def postings_of(condition: Compare, spec: FactSpec, collection: str | None) -> tuple[Posting, ...]:
    """The postings that cover a comparison; none where no probe serves it."""
    operand = condition.operand
    if isinstance(operand, ListName):
        return ()
    keys = _keys(condition.operator, spec, operand)
    return tuple(
        Posting(
            collection=collection,
            fact=condition.fact,
            kind=kind,
            spec=spec,
            key=key,
            chance=chance,
            floor=chance if kind.startswith("order") or spec.values or spec.type in _CLOSED else 0.0,
        )
        for kind, key, chance in keys
    )


_CLOSED = frozenset({FactType.BOOLEAN, FactType.SEVERITY})


def _keys(operator: str, spec: FactSpec, operand: Any) -> list[tuple[str, Any, float]]:
    """Kind of probe, key and chance for each posting."""
    if operator in _UPWARDS | _DOWNWARDS and spec.type is not FactType.VERSION:
        return [("order-up" if operator in _UPWARDS else "order-down", order_key(spec)(operand), _HALF)]
    if operator in {"is", "in", "requires"}:
        operands = operand if isinstance(operand, tuple) else (operand,)
        return _member_keys(spec, operands)
    if operator == "glob" and spec.type in {FactType.STRING, FactType.NAME}:
        glob = loose_name(operand) if spec.type is FactType.NAME else operand
        return _anchor_keys(glob, "name" if spec.type is FactType.NAME else "value")
    if operator == "purl":
        purl = parse_purl(operand)
        return _anchor_keys(purl.package, "package") if purl else []
    return []


def _member_keys(spec: FactSpec, operands: tuple[Any, ...]) -> list[tuple[str, Any, float]]:
    chance = _HALF if spec.type is FactType.BOOLEAN else 1 / max(3, len(spec.values))
    if spec.type is FactType.NAME:
        return [("name", loose_name(one), chance) for one in operands]
    if spec.type is FactType.LICENCE:
        return [("licence", one, chance) for one in operands]
    if spec.type is FactType.PURL:
        purls = [parse_purl(one) for one in operands]
        return [("package", purl.package, chance) for purl in purls if purl] if all(purls) else []
    if spec.type in {FactType.STRING, FactType.SEVERITY, FactType.BOOLEAN}:
        return [("value", one, chance) for one in operands]
    return []


def _anchor_keys(glob: str, kind: str) -> list[tuple[str, Any, float]]:
    anchor = anchor_of(glob)
    if anchor is None:
        return []
    if anchor.kind == "whole":
        return [(kind, anchor.text, 1 / 3)]
    return [(f"{kind}-{anchor.kind}", anchor.text, _HALF)]


def make_probe(posting: Posting) -> Probe:
    """An empty probe of the posting's kind."""
    kind, _, end = posting.kind.partition("-")
    if kind == "order":
        return OrderProbe(extract=_order(posting.spec), upwards=end == "up")
    if kind == "licence":
        return MembersProbe(extract=_licences)
    extract = _EXTRACT[kind](posting.spec)
    if end:
        return EndsProbe(extract=extract, suffix=end == "suffix")
    return ValueProbe(extract=extract)


def _order(spec: FactSpec) -> Callable[[Any], Any]:
    key = order_key(spec)

    def extract(value: Any) -> Any:
        found = key(value)
        return UNREADABLE if found is None else found

    return extract


def _value(spec: FactSpec) -> Callable[[Any], Any]:
    if spec.type is FactType.BOOLEAN:
        return lambda value: (
            value if value is True or value is False else ABSENT if value is None else UNREADABLE
        )
    allowed = frozenset(spec.values)
    if spec.type is FactType.SEVERITY:
        # `unknown` may be any severity, so every rule is unknown about it.
        allowed = frozenset(SEVERITIES) - {"unknown"}

    def extract(value: Any) -> Any:
        if not isinstance(value, str):
            return ABSENT if value is None else UNREADABLE
        return UNREADABLE if allowed and value not in allowed else value

    return extract


def _name(_spec: FactSpec) -> Callable[[Any], Any]:
    return lambda value: (
        loose_name(value) if isinstance(value, str) else ABSENT if value is None else UNREADABLE
    )


def _package(_spec: FactSpec) -> Callable[[Any], Any]:
    def extract(value: Any) -> Any:
        if not isinstance(value, str):
            return ABSENT if value is None else UNREADABLE
        purl = parse_purl(value)
        return UNREADABLE if purl is None else purl.package

    return extract


def _licences(value: Any) -> Any:
    if not isinstance(value, str):
        return ABSENT if value is None else UNREADABLE
    expression = parse_expression(value)
    return UNREADABLE if expression is None else symbols(expression)


_EXTRACT: dict[str, Callable[[FactSpec], Callable[[Any], Any]]] = {
    "value": _value,
    "name": _name,
    "package": _package,
}
