"""What changed between two policies: looser or stricter, rule by rule, in words.

Promises: where every change is called stricter, no request gets a milder verdict than before on any facts, and where every
change is called looser, none gets a stricter one. What cannot be proved is called `other`. The traps that make it so:

1. A quarantine beats a default of block, so a quarantining rule is neither looser nor stricter in such a policy.
2. A policy that binds requests which nothing bound before takes them away from the refusal of the unbound.
3. A waiver tied to what was found stands or falls with the condition of its rule.

Does not: look at requests or facts; `governance.report.backtest` tells what a change would have done to recorded ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from governance.model.request import utc_text
from governance.model.verdict import Effect
from governance.policy.binding_difference import Binder, binding_changes, policy_bindings, set_changes
from governance.policy.compile import CompiledPolicy
from governance.policy.condition import Condition, Scope
from governance.policy.documents import Policy, PolicyBundle, Rule, Waivable, Waiver
from governance.policy.layers import policies_in_force
from governance.policy.literals import duration_text
from governance.policy.narrowing import Reach, condition_words, shifts, together
from governance.policy.parsing import ListResolver


class Direction(enum.StrEnum):
    """What a change does to verdicts."""

    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `rule` is `policy/rule`, a policy, `waiver NAME` or `set NAME`; `position` the path in its document."""

    rule: str
    direction: Direction
    words: str
    position: str

    @property
    def may_loosen(self) -> bool:
        """Whether some request may get a milder verdict than before: always, where that cannot be ruled out."""
        if self.direction is not Direction.OTHER:
            return self.direction is Direction.LOOSER
        return self.position.rpartition(".")[2] not in _NO_VERDICT and not self.position.startswith(
            "spec.lists."
        )


_NO_VERDICT = frozenset({
    "", "message", "remediation", "title", "severity", "controls", "retryAfter", "revision", "revoked", "name",
})  # fmt: skip
"""Ends of positions whose change makes no verdict milder. What a list's change does is told at the rules that use it."""

_UNUSED = Change(
    rule="(no rule)",
    direction=Direction.OTHER,
    words="only what no rule in force uses changed, such as a list, a layer or an order of words",
    position="",
)
_INVERSE = {Direction.LOOSER: Direction.STRICTER, Direction.STRICTER: Direction.LOOSER}
_WAIVABLE = {Waivable.NEVER: 0, Waivable.OWNERS: 1, Waivable.APPROVERS: 2}


def compare(a: CompiledPolicy, b: CompiledPolicy) -> tuple[Change, ...]:
    """What is different in `b`, by rule. Nothing where both give the same verdicts in the same words."""
    if a.digest == b.digest:
        return ()
    found = sorted(_changes(a.bundle, b.bundle), key=lambda one: (one.rule, one.position, one.words))
    return tuple(found) or (_UNUSED,)


def summary(changes: tuple[Change, ...]) -> Direction | None:
    """What the changes come to together; None where there are none that touch a verdict's strictness either way."""
    found = {change.direction for change in changes}
    if not found:
        return None
    return found.pop() if len(found) == 1 else Direction.OTHER


def _changes(a: PolicyBundle, b: PolicyBundle) -> Iterator[Change]:
    before = {policy.name: policy for policy in policies_in_force(a)}
    after = {policy.name: policy for policy in policies_in_force(b)}
    binder = Binder(a, b)
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None:
            yield from _policy(a, b, old, new, binder)
        else:
            yield _whole_policy(old, new, binder)
    for subject, direction, words, position in set_changes(a, b):
        yield Change(rule=subject, direction=Direction(direction), words=words, position=position)
    yield from _waivers(a, b)
    if a.catalogue != b.catalogue:
        yield Change(
            rule="facts", direction=Direction.OTHER, words="the fact catalogue changed", position="facts"
        )


def _whole_policy(old: Policy | None, new: Policy | None, binder: Binder) -> Change:
    policy = new or old
    assert policy is not None  # a name comes from one of the two
    direction = Direction.STRICTER if binder.is_always_bound(policy) else Direction.OTHER
    words = f"policy added: {len(policy.rules)} rules, default {policy.default.word}"
    if new is None:
        direction = _INVERSE.get(direction, direction)
        words = f"policy removed: {len(policy.rules)} rules, default {policy.default.word}"
    return Change(rule=policy.name, direction=direction, words=words, position="spec")


def _policy(a: PolicyBundle, b: PolicyBundle, old: Policy, new: Policy, binder: Binder) -> Iterator[Change]:
    if old.default is not new.default:
        stricter = new.default > old.default
        yield Change(
            rule=new.name,
            direction=Direction.STRICTER if stricter else Direction.LOOSER,
            words=f"default {old.default.word} became {new.default.word}",
            position="spec.default",
        )
    for direction, words, position in (*binding_changes(old, new, binder), *policy_bindings(new, binder)):
        yield Change(rule=new.name, direction=Direction(direction), words=words, position=position)
    for field in ("retry_after", "title", "owner", "controls"):
        if getattr(old, field) != getattr(new, field):
            yield Change(
                rule=new.name,
                direction=Direction.OTHER,
                words=f"{_spoken(field)} changed",
                position=_spoken(field),
            )
    shut = Effect.BLOCK in {old.default, new.default}
    rules, others = ({rule.id: rule for rule in policy.rules} for policy in (old, new))
    for name in sorted(rules.keys() | others.keys()):
        before, after = rules.get(name), others.get(name)
        if before is not None and after is not None:
            yield from _Rules(a, b, new.name, before, after, shut=shut).changes()
        elif after is not None:
            yield _whole_rule(new.name, after, shut, added=True, bundle=b)
        elif before is not None:
            yield _whole_rule(new.name, before, shut, added=False, bundle=a)


def _whole_rule(policy: str, rule: Rule, shut: bool, *, added: bool, bundle: PolicyBundle) -> Change:
    when = condition_words(rule.when, Scope(bundle.catalogue)) if rule.when is not None else "a CEL condition"
    words = f"rule {'added' if added else 'removed'}: {rule.effect.word} where {when}"
    return Change(
        rule=f"{policy}/{rule.id}",
        direction=_fires(rule.effect, more=added, shut=shut),
        words=words,
        position=f"spec.rules[{rule.id}]",
    )


def _fires(effect: Effect, *, more: bool, shut: bool) -> Direction:
    """What it does that a rule fires more, or less, often."""
    if effect is Effect.QUARANTINE and shut:
        return Direction.OTHER  # 1
    return Direction.STRICTER if (effect is not Effect.ALLOW) is more else Direction.LOOSER


class _Rules:
    """One rule before and after. The effect is taken as changed first, so the other changes are judged by the new one."""

    def __init__(
        self, a: PolicyBundle, b: PolicyBundle, policy: str, old: Rule, new: Rule, *, shut: bool
    ) -> None:
        self.a, self.b, self.old, self.new, self.shut = a, b, old, new, shut
        self.name = f"{policy}/{new.id}"
        tied = [one for bundle in (a, b) for one in bundle.waivers if one.rule == self.name]
        self.is_tied = any(one.findings is not None for one in tied)

    def changes(self) -> Iterator[Change]:
        """All differences."""
        old, new = self.old, self.new
        if old.effect is not new.effect:
            yield self._change(self._effect(), f"{old.effect.word} became {new.effect.word}", "effect")
        yield from self._conditions()
        if old.match_unknown is not new.match_unknown:
            words = f"onUnknown {_unknown(old)} became {_unknown(new)}"
            yield self._change(
                self._reached(Reach.WIDER if new.match_unknown else Reach.NARROWER), words, "onUnknown"
            )
        yield from self._grace()
        if old.waivable is not new.waivable:
            looser = _WAIVABLE[new.waivable] > _WAIVABLE[old.waivable]
            direction = Direction.LOOSER if looser else Direction.STRICTER
            if new.effect is Effect.QUARANTINE and self.shut:
                direction = Direction.OTHER  # 1
            yield self._change(
                direction, f"waivable {old.waivable.value} became {new.waivable.value}", "waivable"
            )
        if old.severity is not new.severity:
            words = f"severity {old.severity.word} became {new.severity.word}"
            yield self._change(Direction.OTHER, words, "severity")
        for field in ("message", "remediation", "title", "retry_after"):
            if getattr(old, field) != getattr(new, field):
                yield self._change(Direction.OTHER, f"{_spoken(field)} changed", _spoken(field))

    def _effect(self) -> Direction:
        pair = {self.old.effect, self.new.effect}
        if self.shut and pair == {Effect.WARN, Effect.QUARANTINE}:
            return Direction.OTHER  # 1
        return Direction.STRICTER if self.new.effect > self.old.effect else Direction.LOOSER

    def _conditions(self) -> Iterator[Change]:
        scope = Scope(self.b.catalogue)
        found = shifts(_resolved(self.a, self.old.when), _resolved(self.b, self.new.when), scope)
        lists = _changed_lists(self.a, self.b)
        for shift in found:
            words = shift.words + (f" (list {lists})" if lists and self.old.when == self.new.when else "")
            yield self._change(self._reached(shift.reach), f"{shift.reach.value}: {words}", shift.position)
        before, after = self.old.expression, self.new.expression
        if before != after:
            reach = Reach.NARROWER if before is None else Reach.WIDER if after is None else Reach.OTHER
            yield self._change(
                self._reached(reach), f"CEL: {before or 'none'} became {after or 'none'}", "condition"
            )

    def _reached(self, reach: Reach) -> Direction:
        known = together([reach])
        if known in {Reach.OTHER, Reach.SAME} or self.is_tied:
            return Direction.OTHER  # 3
        return _fires(self.new.effect, more=known is Reach.WIDER, shut=self.shut)

    def _grace(self) -> Iterator[Change]:
        old, new = dict(self.old.grace), dict(self.new.grace)
        for environment in sorted(old.keys() | new.keys()):
            before, after = old.get(environment, 0), new.get(environment, 0)
            if before == after:
                continue
            direction = Direction.LOOSER if after > before else Direction.STRICTER
            if self.new.effect <= Effect.WARN or (self.new.effect is Effect.QUARANTINE and self.shut):
                direction = Direction.OTHER  # 1
            words = f"grace in {environment}: {_span(before)} became {_span(after)}"
            yield self._change(direction, words, f"grace.{environment}")

    def _change(self, direction: Direction, words: str, position: str) -> Change:
        return Change(
            rule=self.name, direction=direction, words=words, position=f"spec.rules[{self.new.id}].{position}"
        )


def _waivers(a: PolicyBundle, b: PolicyBundle) -> Iterator[Change]:
    before, now = ({waiver.name: waiver for waiver in bundle.waivers} for bundle in (a, b))
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        direction, words = _waiver(old, new)
        if direction is not Direction.OTHER and _quarantines(a, b, (new or old)):
            direction = Direction.OTHER  # 1
        position = "spec.revoked" if _is_revocation(old, new) else "spec"
        yield Change(rule=f"waiver {name}", direction=direction, words=words, position=position)


def _waiver(old: Waiver | None, new: Waiver | None) -> tuple[Direction, str]:
    if old is None and new is not None:
        return Direction.LOOSER, f"granted for {new.rule} on `{new.ref}` until {utc_text(new.expires)[:10]}"
    if new is None and old is not None:
        return (
            Direction.STRICTER,
            f"gone: was for {old.rule} on `{old.ref}` until {utc_text(old.expires)[:10]}",
        )
    assert old is not None  # at least one of the two is there
    assert new is not None
    if old.revoked_at is None and new.revoked_at is not None:
        return Direction.OTHER, f"revoked by {new.revoked_by or '?'} at {utc_text(new.revoked_at)[:19]}Z"
    return Direction.OTHER, f"changed; it is for {new.rule} on `{new.ref}`"


def _is_revocation(old: Waiver | None, new: Waiver | None) -> bool:
    """Whether the waiver ends early and says what it said before."""
    if old is None or new is None or old.revoked_at is not None:
        return False
    return old == replace(
        new, revoked_at=None, revoked_by=old.revoked_by, revoked_reason=old.revoked_reason, void=old.void
    )


def _quarantines(a: PolicyBundle, b: PolicyBundle, waiver: Waiver | None) -> bool:
    """Whether the waiver is for a quarantining rule of a policy that refuses by default, in either bundle."""
    if waiver is None:
        return False
    policy, _, name = waiver.rule.partition("/")
    found = [one for bundle in (a, b) for one in bundle.policies if one.name == policy]
    effects = {rule.effect for one in found for rule in one.rules if rule.id == name}
    return Effect.QUARANTINE in effects and any(one.default is Effect.BLOCK for one in found)


def _resolved(bundle: PolicyBundle, when: Condition | None) -> Condition | None:
    if when is None:
        return None
    lists = dict(bundle.set.lists) if bundle.set else {}
    return ListResolver(lists, lambda _name, _error, _value: None).resolve(when, Scope(bundle.catalogue))


def _changed_lists(a: PolicyBundle, b: PolicyBundle) -> str:
    old, new = (dict(bundle.set.lists) if bundle.set else {} for bundle in (a, b))
    return ", ".join(f"`{name}`" for name in sorted(old.keys() & new.keys()) if old[name] != new[name])


def _unknown(rule: Rule) -> str:
    return "match" if rule.match_unknown else "skip"


def _span(seconds: int) -> str:
    return duration_text(seconds) if seconds else "none"


def _spoken(field: str) -> str:
    return {"retry_after": "retryAfter"}.get(field, field)
