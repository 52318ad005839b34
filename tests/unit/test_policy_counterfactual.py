"""Every change that is named changes the verdict, and the obvious ones are named."""

from __future__ import annotations

from random import Random

from governance.model.facts import Collection, Unknown
from governance.policy.compile import compile_bundle
from governance.policy.counterfactual import counterfactuals
from governance.policy.evaluate import evaluate
from tests.property import policy_strategies as make
from tests.unit import policy_kit as kit


def named(text: str, **values: object) -> dict[tuple[str, str], str]:
    found = counterfactuals(kit.compiled(text), kit.request(), kit.facts(**values))  # type: ignore[arg-type]
    return {(one.fact, one.then): one.decision.word for one in found}


def test_a_boolean_and_an_unknown() -> None:
    text = kit.policy(kit.rule("{fact: scan.complete, is: false}"))
    assert named(text, scan__complete=Unknown("down")) == {("scan.complete", "true"): "allow"}


def test_beside_a_threshold() -> None:
    text = kit.policy(kit.rule("{fact: xray.max_cvss, gte: 7.0}"))
    assert named(text, xray__max_cvss=9.1) == {("xray.max_cvss", "6.9"): "allow"}
    assert named(text, xray__max_cvss=1.0) == {("xray.max_cvss", "7.0"): "block"}


def test_without_the_one_item_that_matched() -> None:
    text = kit.policy(kit.rule("{some: files, where: {fact: format, is: pickle}}"))
    files = Collection(({"path": "a", "format": "pickle"}, {"path": "b", "format": "onnx"}))
    assert ("files", "complete and empty") in named(text, files=files)


def test_a_value_of_a_list() -> None:
    text = kit.policy(kit.rule("{not: {fact: publisher, in: [acme]}}"))
    assert named(text, publisher="evil", artifact__ecosystem="generic")[("publisher", "acme")] == "allow"


def test_another_environment_where_nothing_binds() -> None:
    text = kit.policy(
        kit.rule("{fact: xray.malicious, is: true}"), head="  match: {environments: [production]}\n"
    )
    assert named(text, xray__malicious=True)[("environment", "staging")] == "warn"


def test_what_is_named_does_change_the_decision() -> None:
    seen = 0
    for seed in range(25):
        r = Random(seed)
        policy = compile_bundle(make.load(make.documents(r)))
        request, facts = make.request(r), make.facts(r)
        before = evaluate(policy, request, facts).decision
        found = counterfactuals(policy, request, facts)
        assert all(one.decision is not before for one in found)
        assert len({(one.fact, one.decision) for one in found}) == len(found)
        seen += len(found)
    assert seen > 10
