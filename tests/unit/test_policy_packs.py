"""The shipped packs: they load alone, together and as documents; their cases pass, cover every rule three times over and
notice every small change; and a waiver of what they refuse is of use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import policies
from governance.model.request import Action
from governance.model.verdict import Effect, Mode, Truth
from governance.policy.cases import case_facts, case_request, policy_for, run_cases
from governance.policy.checking import check
from governance.policy.compile import compile_bundle, from_document, mode_of
from governance.policy.documents import Case, PolicyBundle, Waiver
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files, load_policies, load_written
from governance.policy.mutation import mutate


@pytest.mark.parametrize("name", policies.names())
def test_pack_passes_its_cases_and_covers_every_rule(name: str) -> None:
    report = run_cases(load_policies([policies.path(name), policies.cases(name)]))
    assert [(one.case, one.differences) for one in report.failed] == []
    assert {row.rule: row.missing for row in report.coverage if row.missing} == {}


@pytest.mark.parametrize("name", policies.names())
def test_no_case_overlooks_a_change_to_its_pack(name: str) -> None:
    report = mutate(load_written([policies.path(name), policies.cases(name)]))
    assert [(one.line, one.mutant.words) for one in report.survivors] == []
    assert report.noticed > 30
    assert report.untested == ()


@pytest.mark.parametrize("name", policies.names())
def test_whatever_a_pack_leaves_open_it_says_so_and_why(name: str) -> None:
    written = load_written([policies.path(name), policies.cases(name)])
    assert [str(one) for one in check(written, at=datetime(2026, 11, 20, tzinfo=UTC)) if one.counts] == []


DIGEST = "sha256:7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a"


def refused(name: str) -> Iterator[tuple[PolicyBundle, Case]]:
    """The cases in which a pack refuses what is known to the byte, and every objection may be waived."""
    bundle = load_policies([policies.path(name), policies.cases(name)])
    for suite in bundle.suites:
        policy = policy_for(bundle, suite)
        for plain in suite.cases:
            case = replace(plain, facts={**plain.facts, "artifact.digest": DIGEST})
            verdict = evaluate(policy, case_request(case), case_facts(case))
            objections = [one for one in verdict.findings if one.effect >= Effect.QUARANTINE]
            nothing = any(
                row.rule.endswith("/evidence") and row.truth is Truth.UNKNOWN for row in verdict.rules
            )
            if objections and not nothing and all(one.waivable for one in objections):
                waivers = tuple(
                    Waiver(
                        name=f"W-{number}",
                        rule=one.rule,
                        ref=case_request(case).artifact.ref,
                        digest=DIGEST,
                        reason="r",
                        requested_by="ann",
                        approved_by=("bob",),
                        starts=case.at,
                        expires=case.at + timedelta(days=1),
                    )
                    for number, one in enumerate(objections)
                )
                yield replace(bundle, waivers=waivers), case


@pytest.mark.parametrize("name", policies.names())
def test_a_waiver_of_every_objection_opens_the_door(name: str) -> None:
    """What a refusal offers must be of use: where a pack blocks by default, its allow rule may not ask for the same."""
    found = list(refused(name))
    assert found or name == "upload", "a waiver names bytes, and an upload has no digest yet"
    for bundle, case in found:
        verdict = evaluate(policy_for(bundle, bundle.suites[0]), case_request(case), case_facts(case))
        assert verdict.decision < Effect.QUARANTINE, case.name


@pytest.mark.parametrize("without", ["strict", "baseline"])
def test_packs_are_in_force_together(without: str) -> None:
    """All of them but one of the two that stand alone: no name, list or set of one is in the way of another."""
    paths = [policies.path(name) for name in policies.names() if name != without]
    bundle = load_policies(paths)
    compiled = compile_bundle(bundle)
    assert len(compiled.parts) == len(bundle.policies)


def test_the_set_on_the_page_binds_the_packs_as_it_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/packs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    files = {name: policies.read(name).encode() for name in policies.names() if name != "strict"}
    bundle = load_files({**files, "set": example.encode()})
    modes = {
        (policy.name, where): mode_of(policy.name, where, bundle.set)
        for policy in bundle.policies
        for where in ("production", "staging")
    }
    enforced = {
        name for (name, where), mode in modes.items() if mode is Mode.ENFORCE and where == "production"
    }
    assert enforced == {"baseline-changes", "baseline-deletions", "baseline-models", "provenance"}
    assert {mode for (_, where), mode in modes.items() if where == "staging"} == {Mode.OBSERVE}


@pytest.mark.parametrize("name", policies.names())
def test_pack_is_replayed_from_its_document(name: str) -> None:
    policy = compile_bundle(load_policies([policies.path(name)]))
    again = from_document(policy.document)
    assert (again.digest, again.document) == (policy.digest, policy.document)


@pytest.mark.parametrize("name", ["baseline", "strict"])
def test_a_pack_that_stands_alone_binds_every_action(name: str) -> None:
    bound = {
        action
        for policy in load_policies([policies.path(name)]).policies
        for action in policy.match.actions or {action.value for action in Action}
    }
    assert bound == {action.value for action in Action}


def test_an_unknown_pack_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        policies.path("../secrets")


def test_the_starter_raises_no_alarm_about_what_nobody_could_look_into() -> None:
    """An outage is met in the first week, an attack hardly."""
    starter = policies.path("baseline").parent / "starter"
    texts = {path.stem: path.read_text() for path in starter.glob("*.yaml")}
    files = {
        "p.yaml": texts["models"],
        "set.yaml": texts["set"] + texts["lists"],
        "t.yaml": texts["models.cases"],
    }
    bundle = load_files({name: text.encode() for name, text in files.items()})
    (suite,) = bundle.suites
    said = {}
    for case in suite.cases:
        verdict = evaluate(policy_for(bundle, suite), case_request(case), case_facts(case))
        said[case.name] = next((one for one in verdict.findings if one.rule == "models/malicious"), None)
    unknown, known = said["nobody knows whether it is malicious"], said["reported malicious"]
    assert unknown is not None
    assert known is not None
    assert "malicious, or nobody can tell" in unknown.message
    assert "Else try again when it can be looked into" in (unknown.remediation or "")
    assert "open an incident" in (known.remediation or "")
