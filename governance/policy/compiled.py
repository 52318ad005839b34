"""A rule made ready to be judged, and what it needs to explain itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance.model.facts import FactSpec, FactType, Unknown, find_spec
from governance.model.verdict import Effect, Evidence, Severity
from governance.policy.cel import facts_named
from governance.policy.closures import compile_condition, items_of, value_of
from governance.policy.condition import Condition, Record, Scope, Test, root_facts
from governance.policy.documents import Policy, Rule, Waivable
from governance.policy.literals import severity_key, time_key
from governance.policy.mistakes import Mistakes
from governance.policy.quantifying import FIRST_SEEN, Witnessed, witnessed
from governance.policy.templates import Template, parse_template
from governance.policy.wording import item_text, value_text

MAX_MATCHED = 20
"""Items named per rule; a model with thousands of advisories must not make a record of thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A compiled quantifier that has witnesses: the items for which `where` is `wanted`."""

    collection: str
    where: Test
    wanted: bool
    has_first_seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule. `test` judges it; the rest is looked at only when it fired. `graced` judges it anew without the items
    that are still in grace."""

    name: str
    policy: int
    rule: Rule
    effect: Effect
    severity: Severity
    match_unknown: bool
    waivable: bool
    test: Test
    witnesses: tuple[Witness, ...]
    facts: tuple[tuple[str, FactType], ...]
    names: Mapping[str, str]
    message: Template
    remediation: Template | None
    grace: Mapping[str, int]

    def evidence(self, facts: Record, origins: Mapping[str, Any]) -> tuple[Evidence, ...]:
        """The facts the rule rests on, by name, with where they came from."""
        rows = []
        for name, kind in self.facts:
            origin = origins.get(name)
            rows.append(
                Evidence(
                    fact=name,
                    value=value_text(value_of(facts, name), kind),
                    source=origin.source if origin is not None else None,
                    observed_at=origin.observed_at if origin is not None else None,
                )
            )
        return tuple(rows)  # fmt: skip

    def matched(self, facts: Record, *, known: bool) -> list[Record]:
        """The items that made the rule match, the worst first; those that might have, where `known` is False."""
        items = [
            item
            for witness in self.witnesses
            for item in items_of(facts, witness.collection) or ()
            if witness.where(item, facts) is (witness.wanted if known else None)
        ]
        return sorted(items, key=_badness) if len(items) > 1 else items

    def unknowns(self, facts: Record) -> list[str]:
        """Why what the rule reads is not known, a line per fact."""
        reasons = []
        for name, _ in self.facts:
            value = value_of(facts, name)
            if isinstance(value, Unknown):
                reasons.append(f"{name}: {value.reason}")
            elif (missing := getattr(value, "missing", None)) is not None:
                reasons.append(f"{name}: {missing}")
        return reasons


def compile_rule(
    policy: Policy, rule: Rule, *, number: int, when: Condition | None, scope: Scope, cel: Test | None
) -> CompiledRule:
    """The compiled form of a rule whose lists are resolved in `when`. `cel` is its compiled expression, if any."""
    tests = [compile_condition(when, scope)] if when is not None else []
    if cel is not None:
        tests.append(cel)  # after the fields: it is slower, and often not reached
    names = root_facts(when, scope) if when is not None else frozenset()
    facts = tuple(
        (name, _kind(find_spec(name, scope.catalogue))) for name in sorted(names | _named(rule, scope))
    )
    return CompiledRule(
        name=f"{policy.name}/{rule.id}",
        policy=number,
        rule=rule,
        effect=rule.effect,
        severity=rule.severity,
        match_unknown=rule.match_unknown,
        waivable=rule.waivable is not Waivable.NEVER,
        test=tests[0] if len(tests) == 1 else _both(tests),
        witnesses=tuple(_witness(one, scope) for one in witnessed(when, scope)) if when is not None else (),
        facts=facts,
        names={"rule.id": rule.id, "rule.severity": rule.severity.word, "policy.name": policy.name},
        message=parse_template(rule.message, (), Mistakes()),
        remediation=parse_template(rule.remediation, (), Mistakes()) if rule.remediation else None,
        grace=dict(rule.grace),
    )


def matched_texts(items: list[Record]) -> tuple[str, ...]:
    """What the items are called, each name once, at most `MAX_MATCHED` of them."""
    return tuple(dict.fromkeys(item_text(item) for item in items))[:MAX_MATCHED]


def _both(tests: list[Test]) -> Test:
    first, second = tests

    def test(record: Record, facts: Record) -> bool | None:
        one = first(record, facts)
        if one is False:
            return False
        other = second(record, facts)
        return False if other is False else None if one is None or other is None else True

    return test


def _witness(one: Witnessed, scope: Scope) -> Witness:
    below = scope.below(one.collection)
    return Witness(
        collection=one.part.collection,
        where=compile_condition(one.part.where, below),
        wanted=one.wanted,
        has_first_seen=FIRST_SEEN in (below.fields or {}),
    )


def _named(rule: Rule, scope: Scope) -> frozenset[str]:
    """Facts that the CEL expression names. They are evidence as well."""
    if rule.expression is None:
        return frozenset()
    return facts_named(rule.expression, scope.catalogue)


def _kind(spec: FactSpec | None) -> FactType:
    return spec.type if spec is not None else FactType.STRING


def _badness(item: Record) -> tuple[float, float, float]:
    """Highest CVSS first, then highest severity, then the one known longest; else in the order of the facts."""
    score, seen = item.get("cvss"), item.get(FIRST_SEEN)
    known = isinstance(score, int | float) and not isinstance(score, bool) and score >= 0  # and so no NaN
    at = time_key(seen) if isinstance(seen, str) else None
    return (
        -(float(score) if known and score is not None else 0.0),
        -float(severity_key(item.get("severity")) or 0),
        at.timestamp() if at else 0.0,
    )
