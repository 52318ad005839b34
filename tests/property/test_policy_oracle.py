"""The engine against the oracle: decision, truth of each rule, what fired, what was waived, what is in grace, and mode.

Seeded, so that every run judges the same pairs. `SEEDS` policies are judged on `REQUESTS` requests each.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from governance.model.facts import Collection, Facts, FactValue, Item
from governance.model.request import Request
from governance.model.verdict import Truth, Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.explain import RuleResults, verdict_bytes
from tests.property import policy_oracle, policy_strategies
from tests.property.policy_oracle import Judgement

SEEDS, REQUESTS = 480, 24
LEAST = 10_000


def said(policy: CompiledPolicy, request: Request, verdict: Verdict) -> Judgement:
    """The engine's verdict in the oracle's words."""
    return Judgement(
        decision=verdict.decision.word,
        truths={row.rule: row.truth.value for row in verdict.rules},
        fired=frozenset(row.rule for row in verdict.rules if row.fired),
        waived={row.rule: row.waiver for row in verdict.rules if row.waiver is not None},
        graced=frozenset(row.rule for row in verdict.rules if row.grace is not None and row.waiver is None),
        policies={name: decision.word for name, decision in verdict.by_policy},
        mode=policy.mode_for(request).value,
    )


def assert_shorter_forms(verdict: Verdict) -> None:
    """What is looked at in place of all rules says the same of those that are not false."""
    rules = verdict.rules
    if isinstance(rules, RuleResults):  # a request that no policy binds has none
        told = [row for row in rules if row.truth is not Truth.FALSE]
        assert list(rules.notable) == told
        assert rules.fired == [row.rule for row in rules if row.fired]
        assert rules.waived == [(row.rule, row.waiver) for row in rules if row.waiver is not None]


def shown(documents: list[Any], request: Request, facts: Facts) -> str:
    """Enough to reproduce a disagreement by hand."""
    return f"{documents}\n{request}\n{dict(facts.values)}"


def test_ten_thousand_pairs_agree(capsys: pytest.CaptureFixture[str]) -> None:
    truths: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    for seed in range(SEEDS):
        random = Random(seed)
        documents = policy_strategies.documents(random)
        policy = compile_bundle(policy_strategies.load(documents))
        for _ in range(REQUESTS):
            request, facts = policy_strategies.request(random), policy_strategies.facts(random)
            expected = policy_oracle.judge(documents, request, facts)
            verdict = evaluate(policy, request, facts)
            found = said(policy, request, verdict)
            assert found == expected, f"seed {seed}: {shown(documents, request, facts)}"
            assert_shorter_forms(verdict)
            decisions[expected.decision] += 1
            truths.update(expected.truths.values())
            marks.update(waived=len(expected.waived), graced=len(expected.graced))
    with capsys.disabled():
        print(f"\n{sum(decisions.values())} pairs agree: {dict(decisions)}, {dict(truths)}, {dict(marks)}")
    assert sum(decisions.values()) >= LEAST
    assert min(truths.values()) > LEAST / 10, "the generator no longer reaches all three truth values"
    assert min(marks.values()) > 50, "the generator no longer reaches waivers and grace"


def some(collection: str, fact: str, **operation: Any) -> Any:
    return {"some": collection, "where": {"fact": fact, **operation}}


SETTLED: dict[str, tuple[list[Any], dict[str, FactValue], list[str]]] = {
    "exists of a text where a set of texts should be": (
        [{"fact": "manifest.changed_files", "exists": True}], {"manifest.changed_files": "garbage"}, ["unknown"]),
    "exists of a text where a collection should be": (
        [{"fact": "files", "exists": True}], {"files": "garbage"}, ["unknown"]),
    "exists of a set where a scalar should be": (
        [{"fact": "signature.signer", "exists": False}], {"signature.signer": ()}, ["unknown"]),
    "a time is compared as a time": (
        [some("vulnerabilities", "published", **{"is": "2026-11-20T00:00:00Z"})],
        {"vulnerabilities": Collection(({"published": "2026-11-20T00:00:00Z"},))}, ["true"]),
    "a text that is no time is not known to be another time": (
        [some("vulnerabilities", "published", **{"in": ["2026-11-20T00:00:00Z"]})],
        {"vulnerabilities": Collection(({"published": "yesterday"},))}, ["unknown"]),
    "an absent severity has no order": (
        [{"fact": "operational_risk", "gt": "none"}], {"operational_risk": None}, ["unknown"]),
    "an unpinned package may be the denied version": (
        [some("dependencies", "purl", **{"in": ["pkg:pypi/evil@1.0"]})],
        {"dependencies": Collection(({"purl": "pkg:pypi/evil"},))}, ["unknown"]),
    "a PEP 440 specifier holds for MLflow's versions": (
        [{"fact": "artifact.version", "matches": {"versions": "<2"}}],
        {"artifact.version": "1", "artifact.ecosystem": "mlflow"}, ["true"]),
    "a set of texts where a collection should be, behind the index": (
        [some("licences", "spdx", **{"is": "MIT"}), some("licences", "spdx", **{"is": "GPL-3.0-only"})],
        {"licences": ("MIT",)}, ["unknown", "unknown"]),
    "a collection where a set of texts should be, behind the index": (
        [some("actor.groups", "value", **{"is": "a"}), some("actor.groups", "value", **{"is": "b"})],
        {"actor.groups": Collection(({"value": "a"},))}, ["unknown", "unknown"]),
}  # fmt: skip
"""Where the engine once differed from the specification."""


def policy_of(whens: list[Any], **more: Any) -> list[Any]:
    rules = [
        {"id": f"r{place}", "effect": "block", "message": "m", "when": when, **more}
        for place, when in enumerate(whens)
    ]
    spec = {"default": "allow", "rules": rules}
    return [{"apiVersion": "mlgov/v1", "kind": "Policy", "metadata": {"name": "p"}, "spec": spec}]


@pytest.mark.parametrize("name", SETTLED)
def test_settled(name: str) -> None:
    whens, values, expected = SETTLED[name]
    policy = compile_bundle(policy_strategies.load(policy_of(whens)))
    request, facts = policy_strategies.request(Random(0)), Facts(values)
    if list(policy_oracle.judge(policy_of(whens), request, facts).truths.values()) != expected:
        pytest.fail("the oracle itself says otherwise")
    assert list(said(policy, request, evaluate(policy, request, facts)).truths.values()) == expected


def test_grace_with_two_grounds() -> None:
    both = {
        "any": [some("vulnerabilities", "cvss", gte=7), some("vulnerabilities", "malicious", **{"is": True})]
    }
    policy = compile_bundle(policy_strategies.load(policy_of([both], grace={"development": "30d"})))
    item: Item = {"cvss": 9.0, "malicious": False, "first_seen": "2026-11-18T00:00:00Z"}
    request = policy_strategies.request(Random(0))
    verdict = evaluate(policy, request, Facts({"vulnerabilities": Collection((item,))}))
    assert verdict.decision.word == "warn"


@pytest.mark.parametrize("value", [2**53, "\ud800"])
def test_values_outside_canonical_json_do_not_raise(value: FactValue) -> None:
    policy = compile_bundle(policy_strategies.load(policy_of([{"fact": "artifact.size", "gt": 1}])))
    request = policy_strategies.request(Random(0))
    verdict = evaluate(policy, request, Facts({"artifact.size": value}))
    assert verdict.decision.word == "block"
    assert verdict_bytes(verdict)
