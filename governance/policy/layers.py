"""Layers and sets: which policies are in force, and how a child set meets its parent. A child can only tighten.

Since the strictest policy wins, a policy added by a child can only tighten; what could loosen is refused or ignored: a
child's list of a name that the parent has (refused), its milder bindings, longer outages and laxer waiver rules (the
stricter of the two counts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from governance.model.verdict import Mode
from governance.policy.documents import (
    Binding,
    Layer,
    OutageRule,
    Policy,
    PolicyBundle,
    PolicySet,
    WaiverRules,
)
from governance.policy.environments import PRODUCTION
from governance.policy.patterns import compile_glob


def policies_in_force(bundle: PolicyBundle) -> tuple[Policy, ...]:
    """The policies that some layer names, by name; all of them where the set has no layers."""
    ordered = sorted(bundle.policies, key=lambda policy: policy.name)
    if bundle.set is None or bundle.set.layers is None:
        return tuple(ordered)
    globs = [compile_glob(glob) for layer in bundle.set.layers for glob in layer.policies]
    return tuple(policy for policy in ordered if any(fits(policy.name) for fits in globs))


def cycle_in(parents: Mapping[str, str | None]) -> tuple[str, ...] | None:
    """The names on a circle of `extends`, or None."""
    for start in sorted(parents):
        seen: list[str] = []
        name: str | None = start
        while name is not None and name in parents:
            if name in seen:
                return (*seen[seen.index(name) :], name)
            seen.append(name)
            name = parents[name]
    return None


def merge_sets(parent: PolicySet, child: PolicySet) -> PolicySet:
    """One set that says what both say, the stricter of the two wherever they differ."""
    return replace(
        child,
        extends=parent.extends,
        revision=max(parent.revision, child.revision),
        layers=_layers(parent.layers, child.layers),
        bindings=_bindings(parent.bindings, child.bindings),
        outage=tuple(sorted(_outage(dict(parent.outage), dict(child.outage)).items())),
        waivers=WaiverRules(
            max_days=min(parent.waivers.max_days, child.waivers.max_days),
            approvals=max(parent.waivers.approvals, child.waivers.approvals),
            self_approval=parent.waivers.self_approval and child.waivers.self_approval,
        ),
        break_glass=_break_glass(parent.break_glass, child.break_glass),
        lists=tuple(sorted({**dict(child.lists), **dict(parent.lists)}.items())),
    )


def _bindings(
    parent: tuple[Binding, ...] | None, child: tuple[Binding, ...] | None
) -> tuple[Binding, ...] | None:
    """A parent without bindings enforces in production and observes elsewhere; a child adds to that.

    What a parent binds nowhere in production is refused there, as nobody's policy. So a child that binds it enforces it: in a
    milder mode the door would be open, whatever its policies say.
    """
    if parent is None and child is None:
        return None
    above = parent or IMPLIED
    added = child or ()
    if not any(_is_in_production(one) and "*" in one.policies for one in above):
        strict = (
            Binding(policies=one.policies, environments=(PRODUCTION,), mode=Mode.ENFORCE)
            for one in added
            if _is_in_production(one)
        )
        added = (*added, *strict)
    return tuple(sorted({*above, *added}, key=lambda one: (one.policies, one.environments, one.mode)))


def _is_in_production(binding: Binding) -> bool:
    return any(compile_glob(one)(PRODUCTION) for one in binding.environments)


IMPLIED = (
    Binding(policies=("*",), environments=(PRODUCTION,), mode=Mode.ENFORCE),
    Binding(policies=("*",), environments=("*",), mode=Mode.OBSERVE),
)
"""What holds where no set says anything."""


def _layers(parent: tuple[Layer, ...] | None, child: tuple[Layer, ...] | None) -> tuple[Layer, ...] | None:
    """A parent without layers has every policy in force already."""
    return (
        None
        if parent is None or child is None
        else tuple(sorted({*parent, *child}, key=lambda layer: layer.name))
    )


def _outage(parent: Mapping[str, OutageRule], child: Mapping[str, OutageRule]) -> dict[str, OutageRule]:
    """Where the parent says nothing, it refuses: a child may not open what it left shut."""
    merged: dict[str, OutageRule] = {}
    for environment, rule in parent.items():
        other = child.get(environment)
        merged[environment] = rule if other is None else _stricter((rule, other))
    return merged


def _break_glass(parent: frozenset[str] | None, child: frozenset[str] | None) -> frozenset[str] | None:
    """Where the parent says nothing, nobody may; where the child says nothing, the parent's word stands."""
    return parent if parent is None or child is None else parent & child


def _stricter(rules: Iterable[OutageRule]) -> OutageRule:
    ages = [rule.max_age for rule in rules]
    return OutageRule(max_age=None if None in ages else min(age for age in ages if age is not None))
