"""The oracle: a naive interpreter of policy documents, written from the specification and not from the engine.

It reads the plain trees that YAML gives, walks every rule of every policy for every request, and keeps nothing in
between. Of the project it uses the vocabulary alone (the fact catalogue, `Facts`, `Request`). None is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from governance.model.facts import (
    CATALOGUE,
    ECOSYSTEMS,
    Collection,
    Facts,
    FactSpec,
    FactType,
    Unknown,
    find_spec,
)
from governance.model.request import Actor, Request
from tests.property import policy_values as values
from tests.property.policy_values import Truth

Tree = Mapping[str, Any]

EFFECTS = ["allow", "warn", "quarantine", "block"]
MODES = ["observe", "warn", "enforce"]
WORDS = {True: "true", False: "false", None: "unknown"}
SPELLINGS = {"prod": "production", "live": "production", "dev": "development", "stage": "staging"}
MISSING = Unknown("missing")
MEMBER = FactSpec(name="value", type=FactType.STRING, source="", meaning="")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the oracle says. Rules are named `policy/rule`."""

    decision: str
    truths: Mapping[str, str] = field(default_factory=dict)
    fired: frozenset[str] = frozenset()
    waived: Mapping[str, str] = field(default_factory=dict)
    graced: frozenset[str] = frozenset()
    policies: Mapping[str, str] = field(default_factory=dict)
    mode: str = "enforce"


def judge(documents: Sequence[Tree], request: Request, facts: Facts) -> Judgement:
    """Section 3 of the specification, step by step."""
    environment = normal(request.environment)
    policies = {one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == "Policy"}
    waivers = [one for one in documents if one["kind"] == "Waiver"]
    settings: Tree = next((one["spec"] for one in documents if one["kind"] == "PolicySet"), {})
    modes = {name: mode_of(name, environment, settings) for name in policies}
    bound = {
        name: spec
        for name, spec in policies.items()
        if in_force(name, settings) and modes[name] is not None and matches(spec.get("match", {}), request)
    }
    if not bound:
        return Judgement(decision="block" if environment == "production" else "warn")
    found = Judgement(
        decision="",
        truths=(truths := {}),
        waived=(waived := {}),
        policies=(decisions := {}),
    )
    fired, graced = set(), set()
    for policy, spec in bound.items():
        effects = []
        for rule in spec.get("rules", []):
            name = f"{policy}/{rule['id']}"
            world = World(facts, settings.get("lists", {}))
            truth = world.truth(rule["when"])
            truths[name] = WORDS[truth]
            if not fires(rule, truth):
                continue
            fired.add(name)
            waiver = waiver_for(name, rule, waivers, request)
            if waiver is not None:
                waived[name] = waiver
            elif in_grace(rule, request, world):
                graced.add(name)
                effects.append("warn")
            else:
                effects.append(rule["effect"])
        decisions[policy] = combined(effects, spec["default"])
    return Judgement(
        decision=max(decisions.values(), key=EFFECTS.index),
        truths=found.truths,
        fired=frozenset(fired),
        waived=found.waived,
        graced=frozenset(graced),
        policies=found.policies,
        mode=max((mode for name, mode in modes.items() if name in bound and mode), key=MODES.index),
    )


def combined(effects: Sequence[str], default: str) -> str:
    """Block > quarantine > warn > allow > default; but a warn does not open a default that refuses."""
    for effect in ("block", "quarantine"):
        if effect in effects:
            return effect
    if "allow" in effects:
        return "warn" if "warn" in effects else "allow"
    return max(["warn", default], key=EFFECTS.index) if "warn" in effects else default


def fires(rule: Tree, truth: Truth) -> bool:
    unknown = rule.get("onUnknown", "skip" if rule["effect"] == "allow" else "match")
    return truth is True or (truth is None and unknown == "match")


# Binding


def normal(environment: str) -> str:
    lowered = environment.strip().lower()
    return SPELLINGS.get(lowered, lowered)


def in_force(policy: str, settings: Tree) -> bool:
    layers = settings.get("layers")
    return layers is None or any(
        values.glob(one, policy) for layer in layers for one in layer.get("policies", [])
    )


def mode_of(policy: str, environment: str, settings: Tree) -> str | None:
    """The strictest mode of all bindings; without bindings observe, and enforce in production."""
    if settings.get("bindings") is None:
        return "enforce" if environment == "production" else "observe"
    modes = [
        one.get("mode", "observe")
        for one in settings["bindings"]
        if any(values.glob(glob, policy) for glob in one["policies"])
        and any(values.glob(normal(glob), environment) for glob in one["environments"])
    ]
    return max(modes, key=MODES.index, default=None)


def matches(match: Tree, request: Request) -> bool:
    artifact, environment = request.artifact, normal(request.environment)
    tests = {
        "actions": lambda one: one == request.action.value,
        "kinds": lambda one: one == artifact.kind.value,
        "repositories": lambda one: values.glob(one, artifact.repository),
        "environments": lambda one: values.glob(normal(one), environment),
        "actors": lambda one: is_actor(one, request.actor),
    }
    return all(any(map(test, match[key])) for key, test in tests.items() if key in match)


def is_actor(pattern: str, actor: Actor) -> bool:
    if pattern.startswith("group:"):
        return any(values.glob(pattern[6:], group) for group in actor.groups)
    return values.glob(pattern.removeprefix("user:"), actor.name)


# Waivers and grace


def waiver_for(name: str, rule: Tree, waivers: Sequence[Tree], request: Request) -> str | None:
    """The first live waiver, by name, of exactly this rule, artifact, digest, scope and time."""
    if rule.get("waivable") == "never":
        return None
    covering = [one["metadata"]["name"] for one in waivers if covers(one["spec"], name, request)]
    return min(covering, default=None)


def covers(spec: Tree, rule: str, request: Request) -> bool:
    scope, revoked = spec.get("scope", {}), spec.get("revoked")
    starts, expires = values.moment(spec["starts"]), values.moment(spec["expires"])
    ended = values.moment(revoked["at"]) if revoked else None
    assert starts
    assert expires
    return (
        spec["rule"] == rule
        and spec["artifact"]["ref"] == request.artifact.ref
        and spec["artifact"]["digest"] == request.artifact.digest
        and starts <= request.at < expires
        and (ended is None or request.at < ended)
        and any(
            values.glob(normal(one), normal(request.environment)) for one in scope.get("environments", ["*"])
        )
        and any(is_actor(one, request.actor) for one in scope.get("actors", ["*"]))
    )


def in_grace(rule: Tree, request: Request, world: World) -> bool:
    """Whether the match rests on nothing but items still in grace: without them the rule would be false."""
    named = rule.get("grace", {}).items()
    spans = [values.duration(text) for name, text in named if normal(name) == normal(request.environment)]
    if not spans:
        return False
    span = min(spans)

    known = world.facts.get("vulnerabilities")
    if not isinstance(known, Collection):
        return False
    spared = [item for item in known.items if _is_fresh(item, request, span)]
    fields = {one.name: one for one in CATALOGUE["vulnerabilities"].fields}
    grounds = [
        item
        for item in spared
        if any(
            world.truth(where, item, fields) is not False
            for where in asserted(rule["when"], "vulnerabilities")
        )
    ]
    left = Collection(
        tuple(item for item in known.items if not any(item is one for one in grounds)), known.missing
    )
    without = Facts({**world.facts.values, "vulnerabilities": left})
    return bool(grounds) and World(without, world.lists).truth(rule["when"]) is False


def _is_fresh(item: Tree, request: Request, span: int) -> bool:
    """An item whose first day is not known, or lies in the future, has no grace."""
    seen = values.moment(item.get("first_seen"))
    return seen is not None and seen <= request.at < seen + timedelta(seconds=span)


def asserted(when: Tree, collection: str, *, positive: bool = True) -> list[Tree]:
    """The `where` of each `some` over the collection that the condition asserts, not looking below a quantifier."""
    if "not" in when:
        return asserted(when["not"], collection, positive=not positive)
    parts = when.get("all", when.get("any"))
    if parts is not None:
        return [one for part in parts for one in asserted(part, collection, positive=positive)]
    return [when["where"]] if positive and when.get("some") == collection else []


# Conditions


@dataclass(frozen=True)
class World:
    """The facts and the lists."""

    facts: Facts
    lists: Mapping[str, Sequence[Any]]

    def truth(self, when: Tree, item: Tree | None = None, fields: Tree | None = None) -> Truth:
        if "all" in when:
            parts = [self.truth(part, item, fields) for part in when["all"]]
            return False if False in parts else None if None in parts else True
        if "any" in when:
            parts = [self.truth(part, item, fields) for part in when["any"]]
            return True if True in parts else None if None in parts else False
        if "not" in when:
            return values.negated(self.truth(when["not"], item, fields))
        if "some" in when or "every" in when:
            return self._quantified(when, item, fields)
        tests = [self._compared(when["fact"], key, operand, item, fields) for key, operand in operators(when)]
        return False if False in tests else None if None in tests else True

    def _quantified(self, when: Tree, item: Tree | None, fields: Tree | None) -> Truth:
        head = "some" if "some" in when else "every"
        spec, value = self._find(when[head], item, fields)
        complete = True
        if isinstance(value, Unknown):
            if not isinstance(value.at_least, tuple):
                return None
            value, complete = value.at_least, False  # a set that holds these, and maybe more
        if not values.fits(spec, value):
            return None
        if isinstance(value, Collection):
            members, complete = list(value.items), value.missing is None
        elif isinstance(value, tuple):
            members = [{"value": text} for text in value]
        else:
            members = []  # known to be absent: there is none
        below = {"value": MEMBER} if spec.type is FactType.STRINGS else {one.name: one for one in spec.fields}
        truths = [self.truth(when["where"], member, below) for member in members]
        if head == "some":
            return True if True in truths else None if None in truths or not complete else False
        if not complete or not truths:
            return (
                None  # "`every` over an empty or incomplete collection is unknown", a known exception or not
            )
        return False if False in truths else None if None in truths else True

    def _compared(
        self, name: str, operator: str, operand: Any, item: Tree | None, fields: Tree | None
    ) -> Truth:
        spec, value = self._find(name, item, fields)
        if isinstance(operand, Mapping) and set(operand) == {"list"}:
            operand = self.lists[operand["list"]]
        if isinstance(value, Unknown):
            return _in_part(spec, operator, value.at_least, operand)
        ecosystem = self._ecosystem(spec, item if fields and name in fields else None)
        if operator == "exists":
            there = values.exists(spec, value)
            return None if there is None else there is operand
        if value is None:
            return None if operator in values.ORDERS else False
        if operator == "is":
            return values.equal(spec, value, operand, ecosystem)
        if operator == "in":
            return self._among(spec, value, operand, ecosystem)
        if operator in values.ORDERS:
            return values.ordered(spec, operator, value, operand, ecosystem)
        return values.matching(spec, operator, value, operand, ecosystem)

    def _among(self, spec: FactSpec, value: Any, operand: Sequence[Any], ecosystem: str | None) -> Truth:
        if spec.type is FactType.LICENCE:
            tree = values.licence(value)
            return None if tree is None else values.satisfied(tree, {values.licence(one) for one in operand})
        truths = [values.equal(spec, value, one, ecosystem) for one in operand]
        return True if True in truths else None if None in truths else False

    def _find(self, name: str, item: Tree | None, fields: Tree | None) -> tuple[FactSpec, Any]:
        if item is not None and fields is not None and name in fields:
            return fields[name], item.get(name, MISSING)
        spec = find_spec(name, CATALOGUE)
        assert spec is not None, name
        return spec, self.facts.get(name)

    def _ecosystem(self, spec: FactSpec, item: Tree | None) -> str | None:
        if spec.ecosystem is not None:
            return spec.ecosystem
        if item is None:
            known = self.facts.get("artifact.ecosystem")
            return known if known in ECOSYSTEMS else None
        own = item.get("ecosystem")
        if own is None:
            address = values.purl(item.get("purl"))
            own = address[0] if address else None
        return own if own in ECOSYSTEMS else None


def _in_part(spec: FactSpec, operator: str, known: Any, operand: Any) -> Truth:
    """Of a fact that is at least what is `known`: that it is above something or not below it, and of a set that it is not empty."""
    if known is None or not values.fits(spec, known):
        return None
    if operator == "exists":
        return operand is True if isinstance(known, tuple) and known else None
    if operator not in values.ORDERS or spec.type is FactType.VERSION:
        return None
    truth = values.ordered(spec, operator, known, operand, None)
    return truth if truth is (operator in {"gt", "gte"}) else None


def operators(when: Tree) -> list[tuple[str, Any]]:
    found = []
    for key, operand in when.items():
        if key == "matches":
            found.extend(operand.items())
        elif key != "fact":
            found.append((key, operand))
    return found
