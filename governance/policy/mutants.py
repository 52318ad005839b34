"""Mutants: each a policy with one small change that a typing error, or a careless review, could make.

Promises: each mutant differs from its policy in one place, whose path in the file is known, and says in words what was
changed. Does not: judge anything; see `mutation`.

No mutant is made that is known beforehand to be the same policy in other words:

1. Of a threshold, `gt 7` becomes `gte 7` and `gt 8`, and never `gte 8`, which among whole numbers says what `gt 7` says;
   and no threshold leaves the range of its fact, such as a score above 10.
2. A comparison below a `not` is not negated once more; that mutant is the one that drops the `not`.
3. `all` and `any` over one part are not exchanged.
4. What binds everything (`actions` that lists all of them, a glob `*`) is not left out.

Members of lists are data and not logic, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from governance.model.artifact import Kind
from governance.model.facts import FactSpec
from governance.model.request import Action
from governance.model.verdict import Effect
from governance.policy.condition import Scope
from governance.policy.condition_mutants import ConditionMutant, conditions
from governance.policy.documents import Match, Policy, Rule
from governance.policy.literals import duration_text
from governance.policy.mistakes import Path
from governance.policy.places import rule_path, rule_tree
from governance.policy.thresholds import duration_step

_WHOLE = {"actions": {one.value for one in Action}, "kinds": {one.value for one in Kind}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One mutant. `rule` is the id of the rule that was changed, None where it is the policy itself; `sort` a word for
    what was done; `path` where, in the policy's document; `part` the part of the condition that holds the change."""

    policy: str
    rule: str | None
    sort: str
    words: str
    path: Path
    changed: Policy
    part: ConditionMutant | None = None

    @property
    def subject(self) -> str:
        """`policy/rule`, or the policy."""
        return self.policy if self.rule is None else f"{self.policy}/{self.rule}"


def mutants_of(policy: Policy, tree: Any, catalogue: Mapping[str, FactSpec]) -> Iterator[Mutant]:
    """All mutants of a policy, in the order of its rules. `tree` is the document it was read from, for the places."""
    for effect in Effect:
        if effect is not policy.default:
            words = f"`default: {policy.default.word}` became `default: {effect.word}`"
            yield _policy_mutant(
                policy, replace(policy, default=effect), "default", words, ("spec", "default")
            )
    for match, words, path in _bindings(policy.match):
        yield _policy_mutant(policy, replace(policy, match=match), "match", words, ("spec", "match", *path))
    scope = Scope(catalogue)
    for number, rule in enumerate(policy.rules):
        at = rule_path(tree, rule.id)
        others = policy.rules[:number], policy.rules[number + 1 :]
        yield Mutant(
            policy=policy.name,
            rule=rule.id,
            sort="removed rule",
            words="the rule was left out",
            path=at,
            changed=replace(policy, rules=(*others[0], *others[1])),
        )
        for changed_rule, sort, words, path in _rules(rule, at):
            changed = replace(policy, rules=(*others[0], changed_rule, *others[1]))
            yield Mutant(policy=policy.name, rule=rule.id, sort=sort, words=words, path=path, changed=changed)
        for one in _conditions(rule, tree, at, scope):
            changed = replace(policy, rules=(*others[0], replace(rule, when=one.condition), *others[1]))
            yield Mutant(
                policy=policy.name,
                rule=rule.id,
                sort=one.sort,
                words=one.words,
                path=one.path,
                changed=changed,
                part=one,
            )


def _policy_mutant(policy: Policy, changed: Policy, sort: str, words: str, path: Path) -> Mutant:
    return Mutant(policy=policy.name, rule=None, sort=sort, words=words, path=path, changed=changed)


def _rules(rule: Rule, at: Path) -> Iterator[tuple[Rule, str, str, Path]]:
    is_written = at[:2] == ("spec", "rules")  # a rule of the shorthand has one place for everything
    for effect in Effect:
        if effect is not rule.effect:
            words = f"`effect: {rule.effect.word}` became `effect: {effect.word}`"
            yield replace(rule, effect=effect), "effect", words, (*at, "effect") if is_written else at
    old, new = ("match", "skip") if rule.match_unknown else ("skip", "match")
    words = f"`onUnknown: {old}` became `onUnknown: {new}`"
    at_unknown = (*at, "onUnknown") if is_written else at
    yield replace(rule, match_unknown=not rule.match_unknown), "onUnknown", words, at_unknown
    yield from _graces(rule, (*at, "grace") if is_written else at)
    if rule.expression is not None:
        words = "the CEL `condition` was left out"
        yield replace(rule, expression=None), "removed condition", words, (*at, "condition")


def _conditions(rule: Rule, tree: Any, at: Path, scope: Scope) -> Iterator[ConditionMutant]:
    if rule.when is not None:
        written = rule_tree(tree, at)
        below, path = (None, at) if written is None else (written["when"], (*at, "when"))
        yield from conditions(rule.when, below, path, scope)


def _graces(rule: Rule, at: Path) -> Iterator[tuple[Rule, str, str, Path]]:
    for name, seconds in rule.grace:
        others = tuple(pair for pair in rule.grace if pair[0] != name)
        longer = seconds + duration_step(seconds)
        if seconds:
            yield replace(rule, grace=others), "grace", f"the grace in {name} was left out", at
        words = (
            f"the grace in {name} became {duration_text(longer)}, a step longer than {duration_text(seconds)}"
        )
        yield replace(rule, grace=tuple(sorted((*others, (name, longer))))), "grace", words, at


def _bindings(match: Match) -> Iterator[tuple[Match, str, Path]]:
    for name in ("actions", "repositories", "kinds", "environments", "actors"):
        members = getattr(match, name)
        if members is None or "*" in members:
            continue
        named = sorted(members)
        if set(named) != _WHOLE.get(name):
            yield replace(match, **{name: None}), f"`{name}` was left out of `match`", (name,)
        if len(named) > 1:
            for member in named:
                kept = type(members)(one for one in named if one != member)
                yield replace(match, **{name: kept}), f"`{member}` was left out of `{name}`", (name,)
