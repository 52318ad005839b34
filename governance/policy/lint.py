"""Lint: what is allowed in a policy and probably not meant. Each note has a code, a place and a sentence.

Promises: pure; what the loader lets through is all it looks at. Does not: fail anything; the caller says which notes
count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.model.facts import FactType
from governance.model.request import utc_text
from governance.model.verdict import Effect, Mode
from governance.policy.compile import CompiledPolicy, compile_bundle, mode_of
from governance.policy.condition import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    ListName,
    Not,
    Quantified,
    Scope,
    walk,
)
from governance.policy.contradictions import is_impossible
from governance.policy.documents import Policy, PolicyBundle, Rule
from governance.policy.environments import PRODUCTION
from governance.policy.layers import policies_in_force

SOON = timedelta(days=14)
"""A waiver that ends within this time is worth a word."""

CODES = {
    "block-skips-unknown": "a rule that refuses is skipped where its facts are unknown: it fails open",
    "allow-matches-unknown": "an allow rule matches where its facts are unknown: nothing known lets the request pass",
    "allow-on-properties": "an allow rests on properties alone, which anyone who may annotate can set",
    "allow-without-effect": "an allow rule under a default of allow changes nothing",
    "default-allow-in-production": "a policy that allows by default is enforced in production",
    "never-matches": "the conditions of a rule contradict each other",
    "implied-rule": "a rule matches only where another one of the same effect does",
    "licence-in-block": "`in` asks whether the listed licences are enough; a rule that refuses wants `requires`",
    "unserved-rule": "no index serves the rule: it is looked at for every request",
    "unused-list": "a list that no rule names",
    "policy-not-in-force": "a policy that no layer names",
    "unbound-policy": "a policy that no binding names",
    "waiver-expired": "a waiver that has ended",
    "waiver-expires-soon": "a waiver that ends soon",
    "waiver-without-findings": "a waiver that also covers what is found after it was granted",
    "untested-rule": "a rule without a case in which it matches, does not match, or is unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. `subject` is the rule, policy, list or waiver it is about."""

    code: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message} [{self.code}]"


def lint(bundle: PolicyBundle, *, at: datetime, policy: CompiledPolicy | None = None) -> tuple[Note, ...]:
    """All notes on a bundle, by subject. `at` is the time at which waivers are looked at."""
    compiled = policy or compile_bundle(bundle)
    notes = [
        *_rules(bundle),
        *_policies(bundle),
        *_lists(bundle),
        *_waivers(bundle, at),
        *_unserved(compiled),
    ]
    return tuple(sorted(notes, key=lambda note: (note.subject, note.code)))


def _note(code: str, subject: str, more: str = "") -> Note:
    return Note(code=code, subject=subject, message=CODES[code] + more)


def _rules(bundle: PolicyBundle) -> Iterator[Note]:
    scope = Scope(bundle.catalogue)
    for policy in bundle.policies:
        for rule in policy.rules:
            name = f"{policy.name}/{rule.id}"
            yield from _rule(name, policy, rule, scope)
        yield from _implied(policy)


def _implied(policy: Policy) -> Iterator[Note]:
    sharing: dict[Condition, list[Rule]] = {}
    for rule in policy.rules:
        for part in _conjuncts(rule.when) if rule.when is not None else ():
            sharing.setdefault(part, []).append(rule)
    for rule in policy.rules:
        parts = _conjuncts(rule.when) if rule.when is not None else ()
        others = {other.id: other for part in parts for other in sharing[part] if other is not rule}
        implying = next((name for name in sorted(others) if _implies(rule, others[name])), None)
        if implying is not None:
            yield _note("implied-rule", f"{policy.name}/{rule.id}", f": `{implying}`")


def _rule(name: str, policy: Policy, rule: Rule, scope: Scope) -> Iterator[Note]:
    if rule.effect >= Effect.QUARANTINE and not rule.match_unknown:
        yield _note("block-skips-unknown", name)
    if rule.effect is Effect.ALLOW and rule.match_unknown:
        yield _note("allow-matches-unknown", name)
    if rule.effect is Effect.ALLOW and policy.default is Effect.ALLOW:
        yield _note("allow-without-effect", name)
    if rule.when is None:
        return
    named = [part.fact for part in walk(rule.when) if isinstance(part, Compare)]
    if rule.effect is Effect.ALLOW and named and all(fact.startswith("property.") for fact in named):
        yield _note("allow-on-properties", name)
    if is_impossible(rule.when, scope):
        yield _note("never-matches", name)
    if rule.effect >= Effect.WARN and _asks_licence_in(rule.when, scope, denied=False):
        yield _note("licence-in-block", name)


def _asks_licence_in(condition: Condition, scope: Scope, *, denied: bool) -> bool:
    if isinstance(condition, Not):
        return _asks_licence_in(condition.part, scope, denied=not denied)
    if isinstance(condition, AllOf | AnyOf):
        return any(_asks_licence_in(part, scope, denied=denied) for part in condition.parts)
    if isinstance(condition, Quantified):
        found = scope.find(condition.collection)
        return found is not None and _asks_licence_in(condition.where, scope.below(found[0]), denied=denied)
    found = scope.find(condition.fact)
    is_licence = found is not None and found[0].type is FactType.LICENCE
    return is_licence and condition.operator in {"is", "in"} and not denied


def _implies(rule: Rule, other: Rule) -> bool:
    """Whether whenever `rule` matches, `other` of the same effect does: all conjuncts of the other are among its own.
    Of two equal rules, the later one by name is the superfluous one.
    """
    if (
        rule.effect is not other.effect
        or rule.when is None
        or other.when is None
        or other.expression
        or other.grace
    ):
        return False
    if rule.match_unknown and not other.match_unknown:
        return False
    own, others = set(_conjuncts(rule.when)), set(_conjuncts(other.when))
    return others < own or (others == own and other.id < rule.id and rule.expression is None)


def _conjuncts(condition: Condition) -> Iterable[Condition]:
    return condition.parts if isinstance(condition, AllOf) else (condition,)


def _policies(bundle: PolicyBundle) -> Iterator[Note]:
    in_force = {policy.name for policy in policies_in_force(bundle)}
    for policy in bundle.policies:
        if policy.name not in in_force:
            yield _note("policy-not-in-force", policy.name)
            continue
        if bundle.set is not None and bundle.set.bindings is not None and not _is_bound(policy, bundle):
            yield _note("unbound-policy", policy.name)
        mode = mode_of(policy.name, PRODUCTION, bundle.set)
        objects = any(rule.effect >= Effect.QUARANTINE for rule in policy.rules)
        if policy.default is Effect.ALLOW and mode is Mode.ENFORCE and not objects:
            yield _note("default-allow-in-production", policy.name, ", and no rule of it refuses anything")
        elif policy.default is Effect.ALLOW and mode is Mode.ENFORCE:
            yield _note("default-allow-in-production", policy.name)


def _is_bound(policy: Policy, bundle: PolicyBundle) -> bool:
    environments = {
        environment
        for binding in (bundle.set.bindings if bundle.set else None) or ()
        for environment in binding.environments
    }
    return any(mode_of(policy.name, environment, bundle.set) is not None for environment in environments)


def _lists(bundle: PolicyBundle) -> Iterator[Note]:
    named = {
        part.operand.name
        for policy in bundle.policies
        for rule in policy.rules
        if rule.when is not None
        for part in walk(rule.when)
        if isinstance(part, Compare) and isinstance(part.operand, ListName)
    }
    for name, _ in bundle.set.lists if bundle.set else ():
        if name not in named:
            yield _note("unused-list", name)


def _waivers(bundle: PolicyBundle, at: datetime) -> Iterator[Note]:
    for waiver in bundle.waivers:
        if waiver.revoked_at is not None:
            continue
        if waiver.expires <= at:
            yield _note("waiver-expired", waiver.name, f": {utc_text(waiver.expires)[:10]}")
        elif waiver.expires - at <= SOON:
            yield _note("waiver-expires-soon", waiver.name, f": {utc_text(waiver.expires)[:10]}")
        if waiver.findings is None and waiver.expires > at:
            yield _note("waiver-without-findings", waiver.name)


def _unserved(policy: CompiledPolicy) -> Iterator[Note]:
    """Only worth a word where there are many rules; a few dozen are looked at faster than looked up."""
    if len(policy.rules) < _MANY:
        return
    for name in policy.unserved:
        yield _note("unserved-rule", name)


_MANY = 200
