"""A rule made ready to be judged, and what it needs to explain itself."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from governance.model.facts import Facts, FactSpec, FactType, Unknown, find_spec
from governance.model.verdict import Effect, Evidence, Severity
from governance.policy.cel import facts_named
from governance.policy.closures import compile_condition, grounds_of, value_of
from governance.policy.combining import mask_of
from governance.policy.condition import Compare, Condition, Record, Scope, Test, root_facts, walk
from governance.policy.documents import Policy, Rule, Waivable
from governance.policy.literals import severity_key, time_key
from governance.policy.logic import all_of, members
from governance.policy.mistakes import Mistakes
from governance.policy.quantifying import FIRST_SEEN, Witnessed, witnessed
from governance.policy.templates import parse_template
from governance.policy.worded import Wording, compile_wording
from governance.policy.wording import item_text, value_text

MAX_MATCHED = 20
"""Items named per rule; a model with thousands of advisories must not make a record of thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A compiled quantifier that has witnesses: the items for which `where` is `wanted`. `reads` are the names in it."""

    collection: str
    texts: bool
    where: Test
    wanted: bool
    has_first_seen: bool
    reads: tuple[str, ...] = ()

    def items(self, facts: Record) -> tuple[Record, ...]:
        """The known items."""
        found = members(facts.get(self.collection), texts=self.texts)
        return () if found is None else found[0]

    def doubts(self, facts: Record) -> Iterator[str]:
        """Which items it cannot tell about, and why."""
        for item in self.items(facts):
            if self.where(item, facts) is None:
                unknown = [value for name in self.reads if isinstance(value := item.get(name), Unknown)]
                if unknown:
                    yield f"{item_text(item)}: {unknown[0].reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a rule needs to explain itself: the facts it rests on, the quantifiers with witnesses, and its texts."""

    witnesses: tuple[Witness, ...]
    facts: tuple[tuple[str, FactType], ...]
    message: Wording
    remediation: Wording | None

    def evidence(self, facts: Facts) -> tuple[Evidence, ...]:
        """The facts the rule rests on, by name, with where they came from."""
        return tuple(_evidence(name, kind, facts) for name, kind in self.facts)

    def matched(self, facts: Record, *, known: bool) -> list[Record]:
        """The items that made the rule match, the worst first; those that might have, where `known` is False."""
        if not self.witnesses:
            return []
        items = [
            item
            for witness in self.witnesses
            for item in witness.items(facts)
            if witness.where(item, facts) is (witness.wanted if known else None)
        ]
        return sorted(items, key=_badness) if len(items) > 1 else items

    def matched_texts(self, facts: Record, *, known: bool) -> tuple[str, ...]:
        """What the matched items are called, each name once, at most `MAX_MATCHED` of them."""
        if not self.witnesses:
            return ()
        names = dict.fromkeys(item_text(item) for item in self.matched(facts, known=known))
        return tuple(names)[:MAX_MATCHED]

    def unknowns(self, facts: Record) -> list[str]:
        """Why what the rule reads is not known: a line per fact, then a line per item."""
        reasons = []
        for name, _ in self.facts:
            value = value_of(facts, name)
            if isinstance(value, Unknown):
                reasons.append(f"{name}: {value.reason}")
            elif (missing := getattr(value, "missing", None)) is not None:
                reasons.append(f"{name}: {missing}")
        doubts = dict.fromkeys(doubt for witness in self.witnesses for doubt in witness.doubts(facts))
        return [*reasons, *doubts]


@dataclass(slots=True, kw_only=True, eq=False)
class CompiledRule:
    """One rule: its conjuncts `parts`, of which those numbered in `settled` need not be judged where the index is sure of
    them, and its compiled expression `cel`, if any. What judges it and what explains it is made when it is first asked
    for: of thousands of rules few ever are. The loader has made each test once already, so that none can fail here.
    """

    name: str
    policy: int
    mask: int
    rule: Rule
    effect: Effect
    severity: Severity
    match_unknown: bool
    waivable: bool
    grace: Mapping[str, int]
    owner: Policy
    when: Condition | None
    scope: Scope
    parts: Sequence[Condition]
    settled: frozenset[int]
    cel: Test | None
    _tests: tuple[Test, ...] | None = None
    _test: Test | None = None
    _rest: Test | None = None
    _account: Account | None = None

    def fires(self, truth: bool | None) -> bool:
        """Whether the rule fires when its condition comes out so."""
        return self.match_unknown if truth is None else truth

    @property
    def test(self) -> Test:
        """Judges the rule."""
        if self._test is None:
            self._test = all_of(self._judging(frozenset()))
        return self._test

    @property
    def rest(self) -> Test | None:
        """Judges what is left of the rule where the index knows that the conditions it was posted under hold. None where
        nothing is."""
        if self._rest is None:
            left = self._judging(self.settled)
            self._rest = all_of(left) if left else None
        return self._rest

    def _judging(self, settled: Container[int]) -> list[Test]:
        if self._tests is None:
            self._tests = tuple(compile_condition(part, self.scope) for part in self.parts)
        left = [test for place, test in enumerate(self._tests) if place not in settled]
        # The expression comes after the fields: it is slower, and often not reached.
        return left if self.cel is None else [*left, self.cel]

    @property
    def account(self) -> Account:
        """What the rule needs to explain itself."""
        if self._account is None:
            self._account = _account(self.owner, self.rule, self.when, self.scope)
        return self._account

    def reads(self) -> frozenset[str]:
        """The facts that the condition reads, and those that the messages would show."""
        return _facts_read(self.rule, self.when, self.scope)


Judged: TypeAlias = "tuple[CompiledRule, bool | None]"
"""A rule and how it came out."""


def compile_rule(
    policy: Policy,
    rule: Rule,
    *,
    number: int,
    when: Condition | None,
    parts: Sequence[Condition],
    scope: Scope,
    cel: Test | None,
    settled: frozenset[int],
) -> CompiledRule:
    """The compiled form of a rule whose lists are resolved in `when`; for `parts`, `cel` and `settled` see `CompiledRule`."""
    return CompiledRule(
        name=f"{policy.name}/{rule.id}",
        policy=number,
        mask=mask_of(number, rule.effect),
        rule=rule,
        effect=rule.effect,
        severity=rule.severity,
        match_unknown=rule.match_unknown,
        waivable=rule.waivable is not Waivable.NEVER,
        grace=dict(rule.grace),
        owner=policy,
        when=when,
        scope=scope,
        parts=parts,
        settled=settled,
        cel=cel,
    )


def _facts_read(rule: Rule, when: Condition | None, scope: Scope) -> frozenset[str]:
    read = root_facts(when, scope) if when is not None else frozenset()
    shown = (
        parse_template(text, (), Mistakes()).slots() for text in (rule.message, rule.remediation) if text
    )
    return read | _named(rule, scope) | frozenset(slot for slots in shown for slot in slots)


def _account(policy: Policy, rule: Rule, when: Condition | None, scope: Scope) -> Account:
    names = root_facts(when, scope) if when is not None else frozenset()
    named = _named(rule, scope)
    facts = tuple((name, _kind(find_spec(name, scope.catalogue))) for name in sorted(names | named))
    grounds = grounds_of(when, scope) if when is not None else lambda _facts: frozenset()

    def worded(text: str) -> Wording:
        template = parse_template(text, (), Mistakes())
        return compile_wording(template, policy, rule, scope.catalogue, lambda facts: grounds(facts) | named)

    return Account(
        witnesses=tuple(_witness(one, scope) for one in witnessed(when, scope)) if when is not None else (),
        facts=facts,
        message=worded(rule.message),
        remediation=worded(rule.remediation) if rule.remediation else None,
    )


def _evidence(name: str, kind: FactType, facts: Facts) -> Evidence:
    origin = facts.origins.get(name)
    return Evidence(
        fact=name,
        value=value_text(value_of(facts.values, name), kind),
        source=origin.source if origin is not None else None,
        observed_at=origin.observed_at if origin is not None else None,
    )


def _witness(one: Witnessed, scope: Scope) -> Witness:
    below = scope.below(one.collection)
    return Witness(
        collection=one.part.collection,
        texts=one.collection.type is FactType.STRINGS,
        where=compile_condition(one.part.where, below),
        wanted=one.wanted,
        has_first_seen=FIRST_SEEN in (below.fields or {}),
        reads=tuple(sorted({each.fact for each in walk(one.part.where) if isinstance(each, Compare)})),
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
        -(score if known and score is not None else 0.0),  # as it is: not each integer fits into a float
        -float(severity_key(item.get("severity")) or 0),
        at.timestamp() if at else 0.0,
    )
