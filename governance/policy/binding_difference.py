"""What changed in which requests are judged, and what is done about them: bindings, modes, outage, waiver rules.

Promises: the same as `governance.policy.difference`, whose part it is. Does not: look at rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from governance.model.verdict import Mode
from governance.policy.compile import mode_of
from governance.policy.documents import Match, OutageRule, Policy, PolicyBundle, PolicySet
from governance.policy.environments import PRODUCTION, normal_environment
from governance.policy.layers import policies_in_force
from governance.policy.literals import duration_text

_KEYS = ("actions", "repositories", "kinds", "environments", "actors")
_USUAL = (PRODUCTION, "staging", "development", "an environment that nothing names")
_LOOSER, _STRICTER, _OTHER = "looser", "stricter", "other"

Row: TypeAlias = "tuple[str, str, str]"
"""Direction, words, position."""


class Binder:
    """Which requests are bound in both of two bundles, whatever becomes of one policy."""

    def __init__(self, a: PolicyBundle, b: PolicyBundle) -> None:
        self.a, self.b = a, b
        in_b = {policy.name: policy for policy in policies_in_force(b)}
        pairs = [(one, in_b[one.name]) for one in policies_in_force(a) if one.name in in_b]
        self._steady = [new for old, new in pairs if old.match == new.match and self._everywhere(new.name)]
        self.environments = tuple(dict.fromkeys([*_USUAL, *_named(a), *_named(b)]))

    def is_always_bound(self, policy: Policy, *matches: Match) -> bool:
        """Whether another policy binds, before and after, every request that this one binds."""
        return any(
            other.name != policy.name
            and all(_holds(other.match, match) for match in matches or (policy.match,))
            for other in self._steady
        )

    def _everywhere(self, name: str) -> bool:
        return all(_bound_everywhere(name, bundle.set) for bundle in (self.a, self.b))


def binding_changes(old: Policy, new: Policy, binder: Binder) -> Iterator[Row]:
    """What changed in a policy's `match`."""
    for key in _KEYS:
        before, after = _values(old.match, key), _values(new.match, key)
        if before == after:
            continue
        direction = _STRICTER if _wider(after, before) else _LOOSER if _wider(before, after) else _OTHER
        if not binder.is_always_bound(new, old.match, new.match):
            direction = _OTHER
        yield direction, f"binds {key} {_shown(before)} became {_shown(after)}", f"spec.match.{key}"


def policy_bindings(policy: Policy, binder: Binder) -> Iterator[Row]:
    """What changed in the modes in which the sets bind a policy, by environment."""
    covered = binder.is_always_bound(policy)
    for environment in binder.environments:
        before, after = (mode_of(policy.name, environment, one.set) for one in (binder.a, binder.b))
        if before is after:
            continue
        stricter = _STRICTNESS[after] > _STRICTNESS[before]
        direction = _STRICTER if stricter else _LOOSER
        if None in {before, after} and not covered:
            direction = _OTHER
        words = f"in {environment}: {_mode(before)} became {_mode(after)}"
        yield direction, words, "set: spec.bindings"


def set_changes(a: PolicyBundle, b: PolicyBundle) -> Iterator[tuple[str, str, str, str]]:
    """What else changed in the set: subject, direction, words, position."""
    old, new = a.set or PolicySet(name="(none)"), b.set or PolicySet(name="(none)")
    subject = f"set {new.name if b.set else old.name}"
    for row in (*_outage(old, new), *_waiver_rules(old, new), *_break_glass(old, new), *_lists(old, new)):
        yield subject, *row
    if old.bindings != new.bindings and not _explained(a, b):
        yield subject, _OTHER, "bindings are written differently", "spec.bindings"
    if old.name != new.name:
        yield subject, _OTHER, f"set {old.name} became {new.name}", "metadata.name"
    if old.revision != new.revision:
        yield subject, _OTHER, f"revision {old.revision} became {new.revision}", "metadata.revision"


def _outage(old: PolicySet, new: PolicySet) -> Iterator[Row]:
    before, after = dict(old.outage), dict(new.outage)
    for environment in sorted(before.keys() | after.keys()):
        one, other = before.get(environment, OutageRule()), after.get(environment, OutageRule())
        if one == other:
            continue
        looser = (other.max_age or 0) > (one.max_age or 0)
        words = f"while a source is silent in {environment}: {_silent(one)} became {_silent(other)}"
        yield _LOOSER if looser else _STRICTER, words, f"spec.outage.{environment}"


def _waiver_rules(old: PolicySet, new: PolicySet) -> Iterator[Row]:
    one, other = old.waivers, new.waivers
    if one.max_days != other.max_days:
        direction = _LOOSER if other.max_days > one.max_days else _STRICTER
        yield direction, f"waivers last {one.max_days} days became {other.max_days}", "spec.waivers.maxDays"
    if one.approvals != other.approvals:
        direction = _STRICTER if other.approvals > one.approvals else _LOOSER
        yield (
            direction,
            f"waivers need {one.approvals} approvals became {other.approvals}",
            "spec.waivers.approvals",
        )
    if one.self_approval is not other.self_approval:
        direction = _LOOSER if other.self_approval else _STRICTER
        allowed = "may" if other.self_approval else "may no longer"
        yield direction, f"who asks for a waiver {allowed} approve it", "spec.waivers.selfApproval"


def _break_glass(old: PolicySet, new: PolicySet) -> Iterator[Row]:
    before, after = old.break_glass or frozenset(), new.break_glass or frozenset()
    for environment in sorted(before ^ after):
        opened = environment in after
        words = f"break-glass in {environment} is {'possible now' if opened else 'no longer possible'}"
        yield _LOOSER if opened else _STRICTER, words, "spec.breakGlass"


def _lists(old: PolicySet, new: PolicySet) -> Iterator[Row]:
    """What a list's change does is told at the rules that use it; this only says that it changed."""
    before, after = dict(old.lists), dict(new.lists)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield _OTHER, f"list `{name}` is gone", f"spec.lists.{name}"
        elif name not in before:
            yield _OTHER, f"list `{name}` is new", f"spec.lists.{name}"


def _explained(a: PolicyBundle, b: PolicyBundle) -> bool:
    """Whether some policy's mode differs in some environment, so that the bindings need no line of their own."""
    names = {policy.name for bundle in (a, b) for policy in bundle.policies}
    places = dict.fromkeys([*_USUAL, *_named(a), *_named(b)])
    return any(
        mode_of(name, place, a.set) is not mode_of(name, place, b.set) for name in names for place in places
    )


def _named(bundle: PolicyBundle) -> Iterable[str]:
    """The environments that a set's bindings name, globs as they stand without their stars."""
    bindings = bundle.set.bindings if bundle.set is not None else None
    for binding in bindings or ():
        for glob in binding.environments:
            plain = glob.replace("*", "").replace("?", "")
            if plain:
                yield normal_environment(plain)


def _bound_everywhere(name: str, policies: PolicySet | None) -> bool:
    if policies is None or policies.bindings is None:
        return True
    return any({"*", name} & set(one.policies) and "*" in one.environments for one in policies.bindings)


def _values(match: Match, key: str) -> frozenset[str] | None:
    found = getattr(match, key)
    if found is None or (key != "actors" and "*" in found):
        return None
    return frozenset(found)


def _holds(wider: Match, match: Match) -> bool:
    return all(_wider(_values(wider, key), _values(match, key)) for key in _KEYS)


def _wider(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    """Whether one binds at least what the other does."""
    return one is None or (other is not None and other <= one)


_STRICTNESS: dict[Mode | None, int] = {None: 0, Mode.OBSERVE: 1, Mode.WARN: 2, Mode.ENFORCE: 3}


def _mode(mode: Mode | None) -> str:
    return "not bound" if mode is None else mode.value


def _shown(values: frozenset[str] | None) -> str:
    return "all" if values is None else ", ".join(sorted(values))


def _silent(rule: OutageRule) -> str:
    return "refuse" if rule.max_age is None else f"the last verdict of {duration_text(rule.max_age)} stands"
