"""Laws of outages: what silence accounts for is told from every other reason to refuse, for every policy and set of facts."""

from __future__ import annotations

import copy
from collections.abc import Collection as Names
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given

from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Collection, Facts, FactValue, Unknown
from governance.model.request import Request
from governance.model.verdict import Effect
from governance.policy.compile import CompiledPolicy
from governance.policy.evaluate import evaluate
from governance.policy.outage import outage_behind
from tests.property.policy_strategies import Tree
from tests.property.test_policy_laws import Scene, compiled, law, randoms, scenes, without_waivers

SILENT = ("scanner",)
SEVERITIES = ["none", "low", "medium", "high", "critical"]
TRIES = 8
"""Outages of one scene: what is compiled once can be judged often."""


def bare(documents: Sequence[Tree]) -> list[Tree]:
    """The same without waivers and grace, which have a say of their own."""
    found = copy.deepcopy(without_waivers(documents))
    for document in found:
        for rule in document["spec"].get("rules", []):
            rule.pop("grace", None)
    return found


def is_let_pass(documents: Sequence[Tree], request: Request, facts: Facts) -> bool:
    return evaluate(compiled(bare(documents)), request, facts).decision < Effect.QUARANTINE


def is_refused(documents: Sequence[Tree], request: Request, facts: Facts) -> bool:
    return not is_let_pass(documents, request, facts)


def silenced(facts: Facts, random: Random) -> tuple[dict[str, FactValue], tuple[str, ...]]:
    """The facts as they are with some out of reach, and their names. A part of each may still be known."""
    names = sorted(
        facts.values.keys() - {"artifact.ecosystem"}
    )  # which no comparison names that is made by it
    silent = tuple(sorted(random.sample(names, random.randint(1, len(names)))))
    values = dict(facts.values)
    for name in silent:
        value = values[name]
        if isinstance(value, Collection) and random.random() < 0.5:
            kept = tuple(item for item in value.items if random.random() < 0.5)
            values[name] = Collection(kept, "no answer about the others")
        else:
            values[name] = known_in_part(value, random)
    return values, silent


def known_in_part(value: FactValue, random: Random) -> Unknown:
    """What may have been heard of a value: nothing, some texts of a set, a number or severity that is no higher."""
    least: Any = None
    if isinstance(value, tuple):
        least = tuple(text for text in value if random.random() < 0.5)
    elif value in SEVERITIES:
        least = random.choice(SEVERITIES[: SEVERITIES.index(str(value)) + 1])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least = random.choice([value, min(value, 5)])
    return Unknown("no answer", at_least=least if random.random() < 0.7 else None)


def without_rules(documents: Sequence[Tree], names: Names[str]) -> list[Tree]:
    """The same without some rules, and without a default that refuses."""
    found = bare(documents)
    for document in found:
        if document["kind"] == "Policy":
            own, spec = document["metadata"]["name"], document["spec"]
            spec["default"] = "allow"
            spec["rules"] = [rule for rule in spec["rules"] if f"{own}/{rule['id']}" not in names]
    return found


def behind(
    policy: CompiledPolicy, request: Request, values: dict[str, FactValue], silent: Names[str]
) -> tuple[str, ...]:
    facts = Facts({**values, UNREACHABLE: SILENT, OUT_OF_REACH: tuple(silent)})
    return outage_behind(evaluate(policy, request, facts), policy, request, facts)


@law
@given(scenes(is_let_pass), randoms)
def test_what_would_pass_had_all_answered_is_refused_for_the_silence_alone(
    scene: Scene, random: Random
) -> None:
    documents, request, facts = scene
    policy = compiled(bare(documents))
    for _ in range(TRIES):
        values, silent = silenced(facts, random)
        refused = evaluate(policy, request, Facts(values)).decision >= Effect.QUARANTINE
        assert behind(policy, request, values, silent) == (SILENT if refused else ())


@law
@given(scenes(is_refused), randoms)
def test_no_verdict_is_milder_than_that_of_the_rules_unconnected_with_the_outage(
    scene: Scene, random: Random
) -> None:
    documents, request, facts = scene
    policy = compiled(bare(documents))
    for _ in range(TRIES):
        values, silent = silenced(facts, random)
        values |= dict.fromkeys(
            [name for name in sorted(values.keys() - set(silent)) if random.random() < 0.5], Unknown("broken")
        )
        connected = {rule.name for rule in policy.rules if rule.reads() & set(silent)}
        alone = evaluate(compiled(without_rules(documents, connected)), request, Facts(values))
        if alone.decision >= Effect.QUARANTINE:
            assert behind(policy, request, values, silent) == ()


@law
@given(scenes(is_refused), randoms)
def test_the_fewer_facts_are_out_of_reach_the_less_is_excused(scene: Scene, random: Random) -> None:
    documents, request, facts = scene
    policy = compiled(bare(documents))
    values, silent = silenced(facts, random)
    fewer = [name for name in silent if random.random() < 0.5]
    if behind(policy, request, values, fewer):
        assert behind(policy, request, values, silent) == SILENT
    assert behind(policy, request, values, ()) == ()
