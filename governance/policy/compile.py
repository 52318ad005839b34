"""From a bundle to a compiled policy: closures behind an index, the canonical document, and its digest.

A compiled policy is immutable and safe to share between threads. Its `document` holds everything that a verdict
depends on; `from_document` makes the same compiled policy of it years later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from governance.errors import PolicyInvalidError
from governance.forking import made_once
from governance.model.canonical import CanonicalError, canonical_bytes, parse_canonical
from governance.model.digest import Sha256, parse_sha256
from governance.model.facts import FactSpec
from governance.model.request import Actor, Request
from governance.model.verdict import Effect, Mode, Verdict
from governance.policy.allocating import collector_paused
from governance.policy.cel import compile_expression
from governance.policy.choosing import choose
from governance.policy.compiled import CompiledRule, compile_rule
from governance.policy.condition import Scope, Test
from governance.policy.documents import Binding, OutageRule, PolicyBundle, PolicySet, Waiver
from governance.policy.environments import normal_environment
from governance.policy.index import Index, build_index
from governance.policy.layers import IMPLIED, policies_in_force
from governance.policy.load import bundle_from_trees
from governance.policy.options import conjuncts
from governance.policy.parsing import ListResolver
from governance.policy.patterns import compile_glob
from governance.policy.plan import CompiledPolicyPart, Plan, compile_part
from governance.policy.printing import bundle_tree, spec_from_tree, with_floats

_MAX_PLANS = 512
_MANY_RULES = 500
_READ_BESIDES = frozenset({"artifact.created_by", "artifact.ecosystem", "property.*"})
"""What waivers, the spelling of names and properties nobody set are judged by, beside what rules name."""
_STRICTNESS = {Mode.OBSERVE: 0, Mode.WARN: 1, Mode.ENFORCE: 2}


@dataclass(frozen=True, kw_only=True)
class CompiledPolicy:
    """All policies in force, ready to judge. `revision` is that of the set, if there is one; `unserved` are the names of
    the rules that no index can serve, `tempered` of those that grace or a waiver may soften. Made by `compile_bundle` and
    `from_document`."""

    digest: Sha256
    document: bytes = field(repr=False)
    bundle: PolicyBundle = field(repr=False)
    rules: tuple[CompiledRule, ...] = field(repr=False)
    parts: tuple[CompiledPolicyPart, ...] = field(repr=False)
    index: Index = field(repr=False)
    unserved: tuple[str, ...] = field(repr=False)
    waivers: Mapping[str, tuple[Waiver, ...]] = field(repr=False)
    tempered: frozenset[str] = field(repr=False)
    revision: int | None
    _plans: dict[tuple[str, str, str, str], Plan] = field(default_factory=dict, repr=False, compare=False)

    def rule_named(self, name: str) -> CompiledRule | None:
        """The rule in force of that name, `policy/rule`."""
        return next((rule for rule in self.index.places if rule.name == name), None)

    @property
    def catalogue(self) -> Mapping[str, FactSpec]:
        """The facts the policy was checked against."""
        return self.bundle.catalogue

    @made_once
    def reads(self) -> frozenset[str]:
        """The facts that judging by this policy can look at, whatever the request; what else is known makes no difference."""
        return frozenset().union(_READ_BESIDES, *(rule.reads() for rule in self.rules))

    def plan_for(self, request: Request) -> Plan:
        """What binds the request. Remembered for each sort of request, up to a bound."""
        artifact = request.artifact
        key = (request.action, request.environment, artifact.repository, artifact.kind)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(*key)
            if len(self._plans) < _MAX_PLANS:
                self._plans[key] = plan
        return self._for_actor(plan, request.actor) if plan.asks_actor else plan

    def mode_for(self, request: Request, verdict: Verdict | None = None) -> Mode:
        """What is to be done with a verdict on this request.

        Policies may be bound in different modes. With the verdict given, the mode is that of the strictest-bound
        policy that objects, so that a policy on trial does not shut the door that another one holds. Without it, the
        strictest mode of all. A request that no policy binds is enforced: its verdict says block or warn by itself.
        """
        modes = self.plan_for(request).modes
        if verdict is not None and len(modes) > 1:
            objecting = [name for name, decision in verdict.by_policy if decision >= Effect.QUARANTINE]
            modes = {name: modes[name] for name in objecting if name in modes} or modes
        return max(modes.values(), key=_STRICTNESS.__getitem__, default=Mode.ENFORCE)

    def outage_rule(self, environment: str) -> OutageRule:
        """What is done in this environment when a source of facts cannot be reached. Refuse, unless the set says."""
        rules = dict(self.bundle.set.outage) if self.bundle.set else {}
        return rules.get(normal_environment(environment), OutageRule())

    def with_waivers(self, waivers: Iterable[Waiver]) -> CompiledPolicy:
        """The same policy with the waivers of a register beside its own. A name known already keeps its waiver."""
        own = {waiver.name for waiver in self.bundle.waivers}
        added = tuple(waiver for waiver in waivers if waiver.name not in own)
        if not added:
            return self
        bundle = replace(self.bundle, waivers=(*self.bundle.waivers, *added))
        document, digest = _document(bundle)
        return replace(
            self,
            bundle=bundle,
            document=document,
            digest=digest,
            waivers=_by_rule(bundle.waivers),
            tempered=_tempered(self.rules, bundle),
            _plans={},
        )

    def _plan(self, action: str, environment: str, repository: str, kind: str) -> Plan:
        normal = normal_environment(environment)
        modes: dict[str, Mode] = {}
        parts = []
        for part in self.parts:
            mode = mode_of(part.policy.name, normal, self.bundle.set)
            if mode is not None and part.binds(action, normal, repository, kind):
                parts.append(part)
                modes[part.policy.name] = mode
        return self._planned(parts, modes)

    def _planned(self, parts: Sequence[CompiledPolicyPart], modes: Mapping[str, Mode]) -> Plan:
        numbers = frozenset(part.number for part in parts)
        rules = (self.rules[number] for part in parts for number in part.rules)
        return Plan(
            parts=tuple(parts),
            names=tuple(part.policy.name for part in parts),
            modes=dict(modes),
            rules=tuple(sorted(rules, key=lambda rule: rule.name)),
            softened=self.tempered,
            index=self.index,
            start=self.index.places_of(numbers),
            asks_actor=any(part.policy.match.actors is not None for part in parts),
        )

    def _for_actor(self, plan: Plan, actor: Actor) -> Plan:
        parts = [part for part in plan.parts if part.binds_actor(actor)]
        if len(parts) == len(plan.parts):
            return plan
        key = tuple(part.number for part in parts)
        narrowed = plan.narrowed.get(key)
        if narrowed is None:
            narrowed = self._planned(
                parts, {part.policy.name: plan.modes[part.policy.name] for part in parts}
            )
            if len(plan.narrowed) < _MAX_PLANS:
                plan.narrowed[key] = narrowed
        return narrowed


def mode_of(policy: str, environment: str, policies: PolicySet | None) -> Mode | None:
    """The mode in which a policy is bound in an environment (in normal form), or None where it is not bound.

    Without bindings: observe, and enforce in production. Where several bindings meet, the strictest counts, so that
    their order does not matter and a child set cannot loosen its parent's.
    """
    bindings = IMPLIED if policies is None or policies.bindings is None else policies.bindings
    modes = [one.mode for one in bindings if _binds(one, policy, environment)]
    return max(modes, key=_STRICTNESS.__getitem__, default=None)


def _binds(binding: Binding, policy: str, environment: str) -> bool:
    return any(compile_glob(one)(policy) for one in binding.policies) and any(
        compile_glob(one)(environment) for one in binding.environments
    )


def compile_bundle(bundle: PolicyBundle) -> CompiledPolicy:
    """Compile what the loader checked."""
    with collector_paused(worth_it=sum(len(policy.rules) for policy in bundle.policies) > _MANY_RULES):
        return _compiled(bundle)


def _compiled(bundle: PolicyBundle) -> CompiledPolicy:
    scope = Scope(bundle.catalogue)
    lists = dict(bundle.set.lists) if bundle.set else {}
    resolver = ListResolver(lists, _unresolved)
    policies = policies_in_force(bundle)
    listed = [
        (number, policy, rule, resolver.resolve(rule.when, scope) if rule.when and lists else rule.when)
        for number, policy in enumerate(policies)
        for rule in policy.rules
    ]
    parts_of = [() if when is None else conjuncts(when) for *_, when in listed]
    chosen, servable = choose(parts_of, scope)
    rules = tuple(
        compile_rule(
            policy,
            rule,
            number=number,
            when=when,
            parts=conditions,
            scope=scope,
            cel=_expression(rule.expression, bundle),
            settled=one.settled,
        )
        for (number, policy, rule, when), conditions, one in zip(listed, parts_of, chosen, strict=True)
    )
    places: dict[int, list[int]] = {}
    for place, (number, *_) in enumerate(listed):
        places.setdefault(number, []).append(place)
    parts = tuple(
        compile_part(number, policy, tuple(places.get(number, ()))) for number, policy in enumerate(policies)
    )
    document, digest = _document(bundle)
    return CompiledPolicy(
        digest=digest,
        document=document,
        bundle=bundle,
        rules=rules,
        parts=parts,
        index=build_index(list(zip(rules, chosen, strict=True)), scope),
        unserved=tuple(rule.name for rule, can in zip(rules, servable, strict=True) if not can),
        revision=bundle.set.revision if bundle.set else None,
        waivers=_by_rule(bundle.waivers),
        tempered=_tempered(rules, bundle),
    )


def from_document(document: bytes) -> CompiledPolicy:
    """The compiled policy behind a recorded document. Raises `PolicyInvalidError`."""
    try:
        tree: Any = parse_canonical(document)
        facts = [spec_from_tree(one) for one in tree["facts"]]
        trees = [with_floats(one) for one in tree["documents"]]
    except (CanonicalError, KeyError, TypeError, ValueError) as error:
        raise PolicyInvalidError(
            [f"(document):1:1: expected a compiled policy's document, got {error}"]
        ) from error
    return compile_bundle(bundle_from_trees(trees, facts=facts))


def _expression(text: str | None, bundle: PolicyBundle) -> Test | None:
    if text is None:
        return None
    return compile_expression(text, bundle.catalogue)


def _document(bundle: PolicyBundle) -> tuple[bytes, Sha256]:
    document = canonical_bytes(bundle_tree(bundle))
    return document, parse_sha256(hashlib.sha256(document).hexdigest())


def _by_rule(waivers: Sequence[Waiver]) -> dict[str, tuple[Waiver, ...]]:
    found: dict[str, list[Waiver]] = {}
    for waiver in sorted(waivers, key=lambda one: one.name):
        found.setdefault(waiver.rule, []).append(waiver)
    return {rule: tuple(ones) for rule, ones in found.items()}


def _tempered(rules: Iterable[CompiledRule], bundle: PolicyBundle) -> frozenset[str]:
    """The rules whose match may be softened, by grace or a waiver."""
    return frozenset(rule.name for rule in rules if rule.grace) | {waiver.rule for waiver in bundle.waivers}


def _unresolved(name: str, _error: object, _value: object) -> None:
    raise LookupError(f"list `{name}` passed the loader and is not there")
