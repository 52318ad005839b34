"""Under which keys a comparison is posted in the index, by operator and type of fact."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, NamedTuple

from governance.model.facts import FactSpec, FactType
from governance.policy.comparing import order_key
from governance.policy.condition import Compare, ListName
from governance.policy.literals import SEVERITIES, severity_rank
from governance.policy.names import loose_name, parse_purl
from governance.policy.operators import ORDERS
from governance.policy.patterns import anchor_of

_UPWARDS, _DOWNWARDS = frozenset({"gt", "gte"}), frozenset({"lt", "lte"})
_HALF = 0.5
_FEW = 0.3
_BY_VALUE = frozenset({FactType.STRING, FactType.SEVERITY, FactType.BOOLEAN})
_SPELT = frozenset(
    {FactType.NAME, FactType.LICENCE}
)  # met in several spellings; the one that is written is sure


class TableKey(NamedTuple):
    """Which table: of a fact, or of a field of a collection's items, and of which sort (`text`, `boolean`, `order`)."""

    collection: str | None
    fact: str
    sort: str


class Posting(NamedTuple):
    """One key of one table. `how` the key is met: for texts `exact`, `prefix` or `suffix`; for orders `from` (the
    value is at least the key) or `below`. `chance` is a guess at how many requests meet it, `floor` what that cannot
    fall below however many keys there are. `sure` says that the comparison is true of every value that meets the key,
    `absent` that it is unknown of one that is absent; `spelling` is the operand where it is sure only of a value
    spelt in the same way.
    """

    table: TableKey
    spec: FactSpec
    how: str
    key: Any
    chance: float
    floor: float
    sure: bool
    absent: bool
    spelling: str | None


def postings_of(condition: Compare, spec: FactSpec, collection: str | None) -> tuple[Posting, ...]:
    """The postings that cover a comparison; none where no table serves it."""
    operand = condition.operand
    if isinstance(operand, ListName):
        return ()
    if condition.operator in _UPWARDS | _DOWNWARDS:
        keys = _order_keys(condition.operator, spec, operand)
    elif condition.operator in {"is", "in", "requires"}:
        keys = _member_keys(spec, operand if isinstance(operand, tuple) else (operand,))
    else:
        keys = _pattern_keys(condition.operator, spec, operand)
    if not keys:
        return ()
    ordered = condition.operator in _UPWARDS | _DOWNWARDS
    sure = _is_sure(condition.operator, spec, operand)
    closed = bool(spec.values) or spec.type is FactType.SEVERITY
    table = TableKey(collection, condition.fact, keys[0][0])
    return tuple([
        Posting(
            table=table,
            spec=spec,
            how=how,
            key=key,
            chance=chance,
            floor=chance if closed or sort != "text" else 0.0,
            sure=sure,
            absent=ordered,
            spelling=spelling,
        )
        for sort, how, key, chance, spelling in keys
    ])  # fmt: skip


def _is_sure(operator: str, spec: FactSpec, operand: Any) -> bool:
    """Whether meeting the key is all there is to the comparison: nothing is normalised, and no part is left to test."""
    if operator in _UPWARDS | _DOWNWARDS:
        return True
    if spec.type in _SPELT:
        return operator in {"is", "in", "requires"}
    if spec.type not in _BY_VALUE:
        return False
    if operator == "glob":
        return operand.rstrip("*").find("*") < 0 and "?" not in operand and not operand.startswith("*")
    return operator in {"is", "in"}


_Keys = list[tuple[str, str, Any, float, str | None]]


def _order_keys(operator: str, spec: FactSpec, operand: Any) -> _Keys:
    if spec.type is FactType.VERSION:
        return []
    if spec.type is FactType.SEVERITY:
        fits, wanted = ORDERS[operator], severity_rank(operand)
        words = [word for word in SEVERITIES if word != "unknown" and fits(severity_rank(word), wanted)]
        return [("text", "exact", word, 1 / len(SEVERITIES), None) for word in words]
    bound = order_key(spec)(operand)
    # `gt` begins just above its operand, and `lte` ends there.
    key = _just_above(bound) if operator in {"gt", "lte"} else bound
    how = "from" if operator in _UPWARDS else "below"
    return [] if key is None else [("order", how, key, _HALF, None)]


def _just_above(bound: Any) -> Any:
    """The next value of the same sort; None where there is none."""
    if isinstance(bound, int):
        return bound + 1
    if isinstance(bound, float):
        return math.nextafter(bound, math.inf)
    try:
        return bound + timedelta(microseconds=1)
    except OverflowError:
        return None


def _member_keys(spec: FactSpec, operands: tuple[Any, ...]) -> _Keys:
    if spec.type is FactType.BOOLEAN:
        return [("boolean", "exact", one, _HALF, None) for one in operands]
    chance = 1 / max(3, len(spec.values))
    keys: list[str] = []
    if spec.type in _SPELT:
        form = loose_name if spec.type is FactType.NAME else str
        return [("text", "exact", form(one), chance, one) for one in operands]
    if spec.type in _BY_VALUE:
        keys = list(operands)
    elif spec.type is FactType.PURL:
        purls = [parse_purl(one) for one in operands]
        keys = [purl.package for purl in purls if purl] if all(purls) else []
    return [("text", "exact", key, chance, None) for key in keys]


def _pattern_keys(operator: str, spec: FactSpec, operand: Any) -> _Keys:
    pattern = None
    if operator == "glob" and spec.type is FactType.STRING:
        pattern = operand
    elif operator == "glob" and spec.type is FactType.NAME:
        pattern = loose_name(operand)
    elif operator == "purl":
        purl = parse_purl(operand)
        pattern = purl.package if purl else None
    anchor = anchor_of(pattern) if pattern else None
    if anchor is None:
        return []
    how = "exact" if anchor.kind == "whole" else anchor.kind
    return [("text", how, anchor.text, 1 / 3 if how == "exact" else _FEW, None)]
