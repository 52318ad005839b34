"""Findings: a rule's objection in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from governance.model.facts import Facts
from governance.model.request import Request
from governance.model.verdict import Effect, Evidence, Finding
from governance.policy.compiled import CompiledRule, Judged
from governance.policy.explain import EvidenceRows, Ground, Tempered
from governance.policy.lazy import Lazy
from governance.policy.wording import safe_text

_MAX_REASONS = 3


class Objection(NamedTuple):
    """A rule that fired and was not waived. `known` is False where it fired because something is not known; `grace` is
    the time until which it only warns.
    """

    rule: CompiledRule
    effect: Effect
    known: bool
    remarks: tuple[Evidence, ...] = ()
    grace: str | None = None


class Findings(Lazy[Finding]):
    """The findings of a verdict, strictest first, then by rule."""

    __slots__ = ()

    _from: Ground

    def __init__(self, made_from: Ground) -> None:
        """From what the verdict rests on."""
        self._from = made_from
        self._made = None

    def _make(self) -> tuple[Finding, ...]:
        request, facts, _, judged, special = self._from
        ordered = list(_objections(judged, special))
        if len(ordered) > 1:
            ordered.sort(key=lambda one: (-one.effect, one.rule.name))
        return tuple([_finding(one, request, facts) for one in ordered])


def _objections(judged: Sequence[Judged], special: Mapping[str, Tempered]) -> Iterator[Objection]:
    for rule, truth in judged:
        tempered = special.get(rule.name)
        known = truth is True
        if not known and not rule.match_unknown:
            continue
        if tempered is None:
            if rule.effect > Effect.ALLOW:
                yield Objection(rule, rule.effect, known)
        elif tempered.effect is not None and tempered.effect > Effect.ALLOW:
            yield Objection(rule, tempered.effect, known, tempered.remarks, tempered.grace)


def _reasons(unknowns: Sequence[str]) -> str:
    """The first few reasons, and how many more there are."""
    if not unknowns:
        return "some of what the rule reads"
    shown = "; ".join(safe_text(reason, 120) for reason in unknowns[:_MAX_REASONS])
    more = len(unknowns) - _MAX_REASONS
    return f"{shown}; and {more} more" if more > 0 else shown


def _finding(objection: Objection, request: Request, facts: Facts) -> Finding:
    rule, account = objection.rule, objection.rule.account
    items = account.matched(facts.values, known=objection.known)
    message = account.message.say(request, facts, items)
    if len(items) > 1:
        message += f" (and {len(items) - 1} more)"
    if not objection.known:
        message += f" (not known: {_reasons(account.unknowns(facts.values))})"
    if objection.grace is not None:
        message += f" (in grace until {objection.grace})"
    return Finding(
        rule=rule.name,
        effect=objection.effect,
        severity=rule.severity,
        message=message,
        remediation=account.remediation.say(request, facts, items)
        if account.remediation is not None
        else None,
        waivable=rule.waivable,
        evidence=EvidenceRows((rule, facts, objection.remarks)),
    )
