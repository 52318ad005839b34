"""Lint: what is allowed in a policy and probably not meant. Each note has a code, a place and a sentence; see `lint_rules`.

Promises: pure; what the loader lets through is all it looks at. Does not: fail anything; the caller says which notes
count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType

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
from governance.policy.documents import Policy, PolicyBundle, Rule, Waiver
from governance.policy.environments import PRODUCTION
from governance.policy.equivalence import outcomes
from governance.policy.layers import policies_in_force
from governance.policy.lint_rules import LINT_RULES, Level
from governance.policy.mistakes import Path
from governance.policy.oddities import oddity
from governance.policy.parsing import resolve_lists
from governance.policy.patterns import compile_glob

SOON = timedelta(days=14)
"""A waiver that ends within this time is worth a word."""

CODES = MappingProxyType({row.id: row.meaning for row in LINT_RULES.values()})
"""What each finding says, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note. `subject` is the rule, policy, list or waiver it is about; `kind` and `document` name the document it
    stands in, `rule` the rule there, and `key` the path below."""

    code: str
    subject: str
    message: str
    level: Level
    kind: str
    document: str
    rule: str | None = None
    key: Path = ()

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


def _rule_note(
    code: str, policy: str, rule: str, *key: str, more: str = "", level: Level | None = None
) -> Note:
    return Note(
        code=code,
        subject=f"{policy}/{rule}",
        message=CODES[code] + more,
        level=LINT_RULES[code].level if level is None else level,
        kind="Policy",
        document=policy,
        rule=rule,
        key=key,
    )


def _note(code: str, subject: str, kind: str, *key: str, more: str = "") -> Note:
    return Note(
        code=code,
        subject=subject,
        message=CODES[code] + more,
        level=LINT_RULES[code].level,
        kind=kind,
        document=subject if kind != "PolicySet" else "",
        key=key,
    )


def _rules(bundle: PolicyBundle) -> Iterator[Note]:
    scope = Scope(bundle.catalogue)
    searched = sum(len(policy.rules) for policy in bundle.policies) <= _MOST_SEARCHED
    for policy in bundle.policies:
        for rule in policy.rules:
            yield from _effect(policy, rule)
            if rule.when is not None:
                yield from _condition(bundle, policy, rule, scope, searched=searched)
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
            yield _rule_note("implied-rule", policy.name, rule.id, "when", more=f": `{implying}`")


def _effect(policy: Policy, rule: Rule) -> Iterator[Note]:
    if rule.effect >= Effect.QUARANTINE and not rule.match_unknown:
        # Where the policy refuses by default, what is skipped is refused all the same, unless a rule allows it.
        level = Level.NOTE if policy.default >= Effect.QUARANTINE else None
        yield _rule_note("block-skips-unknown", policy.name, rule.id, "onUnknown", level=level)
    if rule.effect is Effect.ALLOW and rule.match_unknown:
        yield _rule_note("allow-matches-unknown", policy.name, rule.id, "onUnknown")
    if rule.effect is Effect.ALLOW and policy.default is Effect.ALLOW:
        yield _rule_note("allow-without-effect", policy.name, rule.id, "effect")


def _condition(
    bundle: PolicyBundle, policy: Policy, rule: Rule, scope: Scope, *, searched: bool
) -> Iterator[Note]:
    when = rule.when
    assert when is not None  # the caller looked
    if rule.effect is Effect.ALLOW and rule.expression is None:
        code = _weak_evidence(when, scope)
        if code is not None:
            yield _rule_note(code, policy.name, rule.id, "when")
    never = is_impossible(when, scope)
    if searched and not never:
        found = outcomes(resolve_lists(bundle, when), scope)
        never = True not in found
        if False not in found and rule.expression is None and not never:
            yield _rule_note("always-matches", policy.name, rule.id, "when")
    if never:
        yield _rule_note("never-matches", policy.name, rule.id, "when")
    if rule.effect >= Effect.WARN and _asks_licence_in(when, scope, denied=False):
        yield _rule_note("licence-in-block", policy.name, rule.id, "when")
    yield from _texts(policy, rule, when)


def _texts(policy: Policy, rule: Rule, when: Condition) -> Iterator[Note]:
    """One note of a sort for each rule: whoever looks at the first sees the others."""
    compares = [part for part in walk(when) if isinstance(part, Compare)]
    odd = (found for part in compares for text in _operands(part) if (found := _odd(text)))
    if (first := next(odd, None)) is not None:
        yield _rule_note("odd-text", policy.name, rule.id, "when", more=first)
    wild = (
        text for part in compares if part.operator in {"is", "in"} for text in _operands(part) if "*" in text
    )
    if (text := next(wild, None)) is not None:
        yield _rule_note("literal-wildcard", policy.name, rule.id, "when", more=f": `{text[:_SHOWN]}`")
    patterns = (
        text
        for part in compares
        for text in _operands(part)
        if (part.operator == "regex" and _is_half_anchored(text))
        or (part.operator == "glob" and _CHOICE.search(text))
    )
    if (text := next(patterns, None)) is not None:
        yield _rule_note("pattern-of-elsewhere", policy.name, rule.id, "when", more=f": `{text[:_SHOWN]}`")


def _is_half_anchored(pattern: str) -> bool:
    """`^a` or `a$`: who writes one end believes that the other is open, which it is with `.*` there."""
    starts, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith(r"\$")
    is_open = pattern.startswith((".*", "^.*")) or pattern.endswith((".*", ".*$"))
    return starts is not ends and not is_open


_CHOICE = re.compile(r"\[[^\]]*\]|\{[^}]*,[^}]*\}")


_PREFIX = re.compile(r"(?!(?-i:group:|user:))(groups?|users?|teams?|roles?)\s*[:=/]", re.IGNORECASE)
"""What stands before a group or a user in other tools."""


def _operands(part: Compare) -> Iterator[str]:
    """The texts that a comparison writes: operands, and the name of a property."""
    if part.fact.startswith("property."):
        yield part.fact
    values = part.operand if isinstance(part.operand, tuple) else (part.operand,)
    yield from (value for value in values if isinstance(value, str))


def _odd(text: str) -> str | None:
    what = oddity(text)
    return None if what is None else f": {text[:_SHOWN]!r}, {what}"


def _weak_evidence(when: Condition, scope: Scope) -> str | None:
    """What is wrong with an allow's grounds, if nothing that somebody else observed speaks for the artifact."""
    named = [part.fact for part in walk(when) if isinstance(part, Compare)]
    if named and all(fact.startswith("property.") for fact in named):
        return "allow-on-properties"
    return None if _speaks(when, scope, denied=False) else "allow-without-evidence"


def _speaks(condition: Condition, scope: Scope, *, denied: bool) -> bool:
    """Whether the condition can only hold where something was observed that is there, and not stated by the request."""
    if isinstance(condition, Not):
        return _speaks(condition.part, scope, denied=not denied)
    if isinstance(condition, AllOf | AnyOf):
        enough = any if isinstance(condition, AllOf) is not denied else all
        return enough(_speaks(part, scope, denied=denied) for part in condition.parts)
    if isinstance(condition, Quantified):
        return (
            condition.quantifier == "every"
        ) is not denied  # `every` is unknown over nothing and over what is incomplete
    found = scope.find(condition.fact)
    source = found[0].source if found is not None else ""
    absent = condition.operator == "exists" and condition.operand is denied
    return source != _STATED and not condition.fact.startswith("property.") and not absent


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
            yield _note("policy-not-in-force", policy.name, "Policy", "metadata", "name")
            continue
        for key in ("repositories", "environments", "actors"):
            odd = next(filter(None, map(_odd, getattr(policy.match, key) or ())), None)
            if odd is not None:
                yield _note("odd-text", policy.name, "Policy", "spec", "match", key, more=odd)
            choice = next(filter(_CHOICE.search, getattr(policy.match, key) or ()), None)
            if choice is not None:
                more = f": `{choice[:_SHOWN]}`"
                yield _note("pattern-of-elsewhere", policy.name, "Policy", "spec", "match", key, more=more)
        prefixed = next(filter(_PREFIX.match, policy.match.actors or ()), None)
        if prefixed is not None:
            more = f": `{prefixed[:_SHOWN]}` is a name, and no `group:` or `user:`"
            yield _note("pattern-of-elsewhere", policy.name, "Policy", "spec", "match", "actors", more=more)
        if bundle.set is not None and bundle.set.bindings is not None and not _is_bound(policy, bundle):
            yield _note("unbound-policy", policy.name, "Policy", "metadata", "name")
        mode = mode_of(policy.name, PRODUCTION, bundle.set)
        objects = any(rule.effect >= Effect.QUARANTINE for rule in policy.rules)
        if policy.default is Effect.ALLOW and mode is Mode.ENFORCE:
            more = "" if objects else ", and no rule of it refuses anything"
            yield _note("default-allow-in-production", policy.name, "Policy", "spec", "default", more=more)


def _is_bound(policy: Policy, bundle: PolicyBundle) -> bool:
    environments = {
        environment
        for binding in (bundle.set.bindings if bundle.set else None) or ()
        for environment in binding.environments
        if any(compile_glob(glob)(policy.name) for glob in binding.policies)
    }
    wanted = policy.match.environments
    return (
        bool(environments)
        if wanted is None
        else any(_meet(one, other) for one, other in product(wanted, environments))
    )


def _meet(one: str, other: str) -> bool:
    """Whether two globs may fit the same text: one of them fits the other, or both are open."""
    return compile_glob(one)(other) or compile_glob(other)(one) or ("*" in one and "*" in other)


def _lists(bundle: PolicyBundle) -> Iterator[Note]:
    named = {
        part.operand.name
        for policy in bundle.policies
        for rule in policy.rules
        if rule.when is not None
        for part in walk(rule.when)
        if isinstance(part, Compare) and isinstance(part.operand, ListName)
    }
    for name, values in bundle.set.lists if bundle.set else ():
        if name not in named:
            yield _note("unused-list", name, "PolicySet", "spec", "lists", name)
        texts = [value for value in values if isinstance(value, str)]
        odd = next(filter(None, map(_odd, texts)), None)
        if odd is not None:
            yield _note("odd-text", name, "PolicySet", "spec", "lists", name, more=odd)
        wild = next((text for text in texts if "*" in text), None)
        if wild is not None:
            more = f": `{wild[:_SHOWN]}`"
            yield _note("literal-wildcard", name, "PolicySet", "spec", "lists", name, more=more)


def _waivers(bundle: PolicyBundle, at: datetime) -> Iterator[Note]:
    for waiver in bundle.waivers:
        if waiver.revoked_at is not None:
            continue
        if waiver.expires <= at:
            yield _waiver(waiver, "waiver-expired")
        elif waiver.expires - at <= SOON:
            yield _waiver(waiver, "waiver-expires-soon")
        odd = _odd(waiver.ref) or next(filter(None, map(_odd, waiver.actors or ())), None)
        if odd is not None and waiver.expires > at:
            yield _note("odd-text", waiver.name, "Waiver", "spec", more=odd)
        if waiver.findings is None and waiver.expires > at:
            yield _note("waiver-without-findings", waiver.name, "Waiver", "spec")


def _waiver(waiver: Waiver, code: str) -> Note:
    return _note(code, waiver.name, "Waiver", "spec", "expires", more=f": {utc_text(waiver.expires)[:10]}")


def _unserved(policy: CompiledPolicy) -> Iterator[Note]:
    """Only worth a word where there are many rules; a few dozen are looked at faster than looked up."""
    if len(policy.rules) < _MANY:
        return
    for name in policy.unserved:
        policy_name, _, rule = name.partition("/")
        yield _rule_note("unserved-rule", policy_name, rule, "when")


_MANY = 200
_MOST_SEARCHED = 300
"""Rules up to which each condition is searched for never holding or always holding."""

_SHOWN = 60
"""Characters of a text that a note shows."""

_STATED = "request"
"""The source of facts that the request itself states."""
