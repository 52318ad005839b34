"""A case that would notice a mutant: looked for near the cases there are, then anywhere.

Promises: a case that is given was judged by the evaluator under both policies and tells them apart; a mutant is called the
same only where `equivalence` proved it: no facts change the verdict or the rules it rests on (which items of a collection
are named is not looked at). Does not: write the case; its expectation is what the policy says today, right or wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from governance.model.artifact import Kind
from governance.model.request import Action
from governance.model.verdict import Effect, Verdict
from governance.policy.cases import case_facts, case_request, deciding_rules
from governance.policy.compile import CompiledPolicy
from governance.policy.compiled import CompiledRule
from governance.policy.condition import Condition, Scope
from governance.policy.documents import Case, Rule
from governance.policy.equivalence import Ruling, UndecidedError, differing
from governance.policy.evaluate import evaluate
from governance.policy.mutants import Mutant
from governance.policy.probing import fact_of, leaves, probe
from governance.policy.variation import resolved

_MOST_BASES = 40
_MOST_TRIED = 1_500
_MOST_JUDGED = 60
_CONDITIONAL = frozenset({"removed rule", "onUnknown", "effect", "default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A case that would notice: an existing one with some facts set (or another request), what the policy says of it
    today, and what the mutant says."""

    like: str
    facts: Mapping[str, Any]
    request: Mapping[str, str]
    verdict: Effect
    rules: tuple[str, ...]
    matched: tuple[str, ...]
    instead: Effect
    instead_rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """A policy as it is, and under a mutant, with the cases that test it."""

    suite: str
    policy: CompiledPolicy
    variant: CompiledPolicy
    cases: tuple[Case, ...]


def telling_case(mutant: Mutant, rivals: Iterable[Rivals]) -> Telling | None:
    """A case that tells the two apart, or None where none was found."""
    for one in rivals:
        rules = [policy.rule_named(mutant.subject) for policy in (one.policy, one.variant)]
        judged = 0
        for case, facts, asked in itertools.islice(_candidates(mutant, one), _MOST_TRIED):
            if mutant.rule is not None and _is_alike(rules[0], rules[1], case, facts):
                continue
            judged += 1
            found = _compared(one, case, facts, asked)
            if found is not None:
                return found
            if judged >= _MOST_JUDGED:
                break
    return None


def _is_alike(
    old: CompiledRule | None, new: CompiledRule | None, case: Case, facts: Mapping[str, Any]
) -> bool:
    """Whether the rule surely comes to the same under both: it fires in neither, or with one effect in both and names the same
    items, since it names none."""
    record = {**case_facts(case).record, **facts}
    before, after = (rule is not None and rule.fires(rule.test(record, record)) for rule in (old, new))
    if not before and not after:
        return True
    if old is None or new is None or before is not after or old.grace or new.grace:
        return False
    return old.effect is new.effect and (old.effect is Effect.ALLOW or not new.account.witnesses)


def is_same(mutant: Mutant, rivals: Sequence[Rivals]) -> tuple[bool, Telling | None]:
    """Whether the mutant is proved to be the same policy in other words; else a case that tells them apart, if the proof
    failed on one."""
    if not rivals or (mutant.part is None and mutant.sort not in _CONDITIONAL):
        return False, None
    for one in rivals:
        try:
            facts = _difference(mutant, one)
        except UndecidedError:
            return False, None
        if facts is not None:
            return False, _fewest(one, facts)
    return True, None


def _fewest(one: Rivals, facts: Mapping[str, Any]) -> Telling | None:
    """The facts set on some case, without those that are not needed there."""
    for case in one.cases[:_MOST_BASES]:
        telling = _compared(one, case, facts, {})
        if telling is None:
            continue
        for name in facts:
            fewer = {other: value for other, value in telling.facts.items() if other != name}
            telling = _compared(one, case, fewer, {}) or telling
        return telling
    return None


def _difference(mutant: Mutant, one: Rivals) -> dict[str, Any] | None:
    policy = next(part.policy for part in one.policy.parts if part.policy.name == mutant.policy)
    rules = {rule.id: rule for rule in policy.rules}
    changed = {rule.id: rule for rule in mutant.changed.rules}
    others = [
        _ruling(one.policy, rule)
        for name, rule in rules.items()
        if name != mutant.rule and _is_plain(one, policy.name, rule)
    ]
    scope = Scope(one.policy.catalogue)
    if mutant.rule is None:
        return differing(None, None, others, scope)
    old, new = rules[mutant.rule], changed.get(mutant.rule)
    if not _is_plain(one, policy.name, old) or old.when is None:
        raise UndecidedError
    after = _ruling(one.policy, new) if new is not None else None
    return differing(_ruling(one.policy, old), after, others, scope)


def _is_plain(one: Rivals, policy: str, rule: Rule) -> bool:
    """Whether nothing but its condition decides what the rule comes to."""
    return rule.expression is None and f"{policy}/{rule.id}" not in one.policy.tempered


def _ruling(policy: CompiledPolicy, rule: Rule) -> Ruling:
    return Ruling(when=resolved(policy, rule), match_unknown=rule.match_unknown, effect=rule.effect)


def _candidates(mutant: Mutant, one: Rivals) -> Iterator[tuple[Case, dict[str, Any], dict[str, str]]]:
    """Cases with one or two facts set, the facts of the changed part first."""
    bases = one.cases[:_MOST_BASES]
    if mutant.sort == "match":
        yield from ((case, {}, asked) for asked in _requests() for case in bases)
        return
    near, far = _facts_asked(mutant, one)
    for case in bases:
        for name, value in near:
            yield case, {name: value}, {}
    for case in bases:
        for name, value in far:
            yield case, {name: value}, {}
    for case in bases:
        for (name, value), (other, second) in itertools.product(near, far):
            if name != other:
                yield case, {name: value, other: second}, {}


def _requests() -> Iterator[dict[str, str]]:
    yield from ({"action": action.value} for action in Action)
    yield from ({"kind": kind.value} for kind in Kind)
    yield from ({"environment": name} for name in ("production", "staging", "development"))


def _facts_asked(mutant: Mutant, one: Rivals) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Values to try: for facts that the changed part asks about, and for the other facts of the rule (of the policy, where it
    is the policy that changed)."""
    before = next(part.policy for part in one.policy.parts if part.policy.name == mutant.policy)
    asking = [
        when
        for version in (before, mutant.changed)
        for rule in version.rules
        if mutant.rule in {None, rule.id} and (when := resolved(one.policy, rule)) is not None
    ]
    scope = Scope(one.policy.catalogue)
    changed = set(_names(asking[:1])) ^ set(_names(asking[1:])) if mutant.part is not None else set()
    near_names = changed or _near(mutant)
    asked: dict[str, list[Any]] = {}
    for leaf in itertools.chain.from_iterable(map(leaves, asking)):
        asked.setdefault(fact_of(leaf), []).append(leaf)
    pairs = {
        name: [(name, value) for value in probe(name, tuple(ones), scope).values]
        for name, ones in asked.items()
    }
    near = [pair for name, ones in pairs.items() if name in near_names for pair in ones]
    far = [pair for ones in pairs.values() for pair in ones]
    return near or far, far


def _near(mutant: Mutant) -> set[str]:
    return set(_names([mutant.part.before])) if mutant.part is not None else set()


def _names(conditions: Sequence[Condition]) -> Iterator[str]:
    return (fact_of(leaf) for condition in conditions for leaf in leaves(condition))


def _compared(one: Rivals, case: Case, facts: Mapping[str, Any], asked: Mapping[str, str]) -> Telling | None:
    environment = facts.get("environment")
    changed = replace(
        case,
        facts={**case.facts, **facts},
        action=asked.get("action", case.action),
        kind=asked.get("kind", case.kind),
        environment=environment
        if isinstance(environment, str)
        else asked.get("environment", case.environment),
    )
    request, known = case_request(changed), case_facts(changed)
    now, then = (evaluate(policy, request, known) for policy in (one.policy, one.variant))
    if _outline(now) == _outline(then):
        return None
    return Telling(
        like=f"{one.suite}: {case.name}",
        facts=facts,
        request=asked,
        verdict=now.decision,
        rules=_rules(now),
        matched=tuple(sorted(_outline(now)[2])),
        instead=then.decision,
        instead_rules=_rules(then),
    )


def _outline(verdict: Verdict) -> tuple[Effect, tuple[str, ...], frozenset[str]]:
    objects = verdict.decision is not Effect.ALLOW
    matched = frozenset(text for row in deciding_rules(verdict) for text in row.matched if objects)
    return verdict.decision, _rules(verdict), matched


def _rules(verdict: Verdict) -> tuple[str, ...]:
    return tuple(sorted(row.rule for row in deciding_rules(verdict)))
