"""Verdicts as evidence: written by the specification's schema, and refused at each of its steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import parse_digest, parse_sha256
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Effect, Finding, Severity, Verdict
from governance.signing.envelope import parse_envelope
from governance.signing.reason import Reason
from governance.signing.sign import sign_manifest
from governance.signing.statement import PAYLOAD_TYPE
from governance.signing.trust import Role, TrustStore
from governance.signing.vsa import (
    ALLOWED,
    SIGNED,
    Input,
    SummaryReport,
    build_summary,
    evidence_envelope,
    resource_uri,
    sign_summary,
    verify_summary,
)
from tests.unit.signing_kit import NOW, manifest_of, signed, signer, trust, trusted

ONES, TWOS, THREES = (parse_sha256(digit * 64) for digit in "123")
VERIFIER = "urn:mlgov:verifier:alice"
ARTIFACT = Artifact(
    kind=Kind.MODEL,
    host="h:1",
    repository=parse_repository_key("models-local"),
    path="1/models/m #1",
    name="m",
    files=(FileEntry(path=parse_relative_path("MLmodel"), sha256=ONES),),
)
REQUEST = Request(
    action=Action.LOAD,
    artifact=ARTIFACT,
    actor=Actor(name="ann"),
    environment="production",
    at=NOW,
    correlation="c",
)
PASS = Verdict(decision=Effect.WARN, policies=("baseline", "team b"), policy_digest=TWOS, facts_digest=THREES)
FAIL = PASS._replace(
    decision=Effect.BLOCK,
    findings=(Finding(rule="baseline/pickle", effect=Effect.BLOCK, severity=Severity.HIGH, message="m"),),
)


def build(verdict: Verdict = PASS, **more: Any) -> bytes:
    more.setdefault("inputs", [Input(uri="artifactory://h/model.sig", sha256=THREES)])
    return build_summary(REQUEST, verdict, decision_id="d1", verifier=VERIFIER, version="0.1", **more)


def store(**grant: Any) -> TrustStore:
    grant.setdefault("verifiers", (VERIFIER,))
    return trust(trusted(**grant))


def check(bundle: bytes, trust_: TrustStore | None = None, **more: Any) -> SummaryReport:
    more = {"digest": ARTIFACT.digest, "resource": resource_uri(REQUEST)} | more
    return verify_summary(bundle, trust_ or store(), at=NOW, **more)


def test_a_pass_is_attested_and_verified() -> None:
    bundle = sign_summary(build(levels=[SIGNED]), signer=signer())
    report = check(bundle, levels=[ALLOWED, SIGNED], policy_digest=TWOS)
    assert report.valid, report.detail
    assert report.signer == "alice"
    summary = report.summary
    assert summary is not None
    assert summary.time_verified == NOW
    assert summary.resource_uri == "artifactory://h:1/artifactory/models-local/1/models/m%20%231"
    assert summary.policy_uri == "urn:mlgov:policy:baseline,team%20b"
    assert summary.inputs == ({"uri": "artifactory://h/model.sig", "digest": {"sha256": THREES}},)
    assert summary.extensions["urn:mlgov:vsa:decision"] == "d1"
    assert summary.extensions["urn:mlgov:vsa:actor"] == {"name": "ann", "authentication": "claimed"}
    assert bundle == sign_summary(build(levels=[SIGNED]), signer=signer())


def test_every_member_that_the_specification_requires_is_there() -> None:
    predicate = json.loads(build())["predicate"]
    required = {"verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"}
    assert required <= set(predicate)
    # Members of our own are named by URIs, and levels of our own do not start with SLSA's prefix.
    own = set(predicate) - required - {"inputAttestations", "slsaVersion"}
    assert all(key.startswith("urn:") for key in own)
    with pytest.raises(ValueError, match="SLSA_"):
        build(levels=["SLSA_BUILD_LEVEL_3"])


def test_a_refusal_is_attested_too_and_lets_nothing_through() -> None:
    payload = json.loads(build(FAIL))["predicate"]
    assert payload["verificationResult"] == "FAILED"
    assert payload["verifiedLevels"] == ["FAILED"]
    assert payload["urn:mlgov:vsa:rules"] == [{"rule": "baseline/pickle", "effect": "block"}]
    assert check(sign_summary(build(FAIL), signer=signer())).reason is Reason.FAILED


def test_an_artifact_without_digest_is_not_attested() -> None:
    request = replace(REQUEST, artifact=replace(ARTIFACT, files=()))
    with pytest.raises(ValueError, match="digest"):
        build_summary(request, PASS, decision_id="d", verifier=VERIFIER, version="1")


def spoiled(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(build())
    change(document)
    return signed(document)


def predicate(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["predicate"].update(more)


STEPS: dict[str, tuple[bytes, dict[str, Any], Reason]] = {
    "1 signed by a stranger": (sign_summary(build(), signer=signer("mallory")), {}, Reason.UNKNOWN_KEY),
    "1 truncated": (sign_summary(build(), signer=signer())[:-9], {}, Reason.NOT_JSON),
    "2 another artifact": (sign_summary(build(), signer=signer()), {"digest": parse_digest(f"dirhash1:{ONES}")}, Reason.SUBJECT),
    "2 the same digest of another kind": (
        sign_summary(build(), signer=signer()),
        {"digest": parse_digest(str(ARTIFACT.digest).replace("dirhash1", "sha256"))},
        Reason.SUBJECT,
    ),
    "2 no subject": (spoiled(lambda d: d.update(subject=[1])), {}, Reason.SUBJECT),
    "3 another predicate": (spoiled(lambda d: d.update(predicateType="x")), {}, Reason.PREDICATE_TYPE),
    "3 a model's signature": (sign_manifest(manifest_of(), name="m", signer=signer()), {}, Reason.SUBJECT),
    "4 another verifier": (spoiled(predicate(verifier={"id": "urn:x"})), {}, Reason.VERIFIER),
    "5 another place": (sign_summary(build(), signer=signer()), {"resource": "artifactory://h:1/x"}, Reason.RESOURCE),
    "6 failed": (spoiled(predicate(verificationResult="FAILED")), {}, Reason.FAILED),
    "7 a level that is missing": (sign_summary(build(), signer=signer()), {"levels": [SIGNED]}, Reason.LEVELS),
    "8 another policy": (sign_summary(build(), signer=signer()), {"policy_digest": ONES}, Reason.POLICY),
    "another statement": (spoiled(lambda d: d.update(_type="x")), {}, Reason.VSA),
    "no verifier": (spoiled(predicate(verifier={})), {}, Reason.VSA),
    "no policy": (spoiled(predicate(policy=1)), {}, Reason.VSA),
    "policy digest that is a list": (spoiled(predicate(policy={"uri": "x", "digest": []})), {}, Reason.VSA),
    "an odd result": (spoiled(predicate(verificationResult="passed")), {}, Reason.VSA),
    "an odd time": (spoiled(predicate(timeVerified="yesterday")), {}, Reason.VSA),
    "a time that never was": (spoiled(predicate(timeVerified="2026-02-30T00:00:00Z")), {}, Reason.VSA),
    "odd levels": (spoiled(predicate(verifiedLevels=[1])), {}, Reason.VSA),
    "odd inputs": (spoiled(predicate(inputAttestations={})), {}, Reason.VSA),
    "an input without digest": (spoiled(predicate(inputAttestations=[{"uri": "x"}])), {}, Reason.VSA),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_each_step_refuses_for_its_own_reason(step: str) -> None:
    bundle, more, reason = STEPS[step]
    report = check(bundle, **more)
    assert not report.valid
    assert report.reason is reason
    assert report.detail


def test_only_pairs_of_signer_and_verifier_are_believed() -> None:
    bundle = sign_summary(build(), signer=signer())
    assert check(bundle, store(verifiers=())).reason is Reason.VERIFIER
    assert check(bundle, store(roles=frozenset({Role.ARTIFACT}))).reason is Reason.NO_TRUST
    assert check(bundle, TrustStore.of_key(signer().public)).valid


def test_what_the_specification_does_not_have_is_ignored_and_higher_levels_imply_lower_ones() -> None:
    bundle = spoiled(predicate(verifiedLevels=["SLSA_BUILD_LEVEL_2"], other={"a": 1}))
    assert check(bundle, levels=["SLSA_BUILD_LEVEL_1"]).valid
    for level in ("SLSA_BUILD_LEVEL_3", "SLSA_SOURCE_LEVEL_1"):
        assert check(bundle, levels=[level]).reason is Reason.LEVELS


def test_the_bare_envelope_is_the_signed_one() -> None:
    bundle = sign_summary(build(), signer=signer())
    envelope = parse_envelope(json.loads(evidence_envelope(bundle)), payload_type=PAYLOAD_TYPE)
    assert signer().public.has_signed(envelope.message, envelope.signatures[0].value)
