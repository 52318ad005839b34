"""A verdict as evidence: in-toto statements with SLSA's verification summary, version 1 (VSA).

Promises: pure functions from a verdict to signed bytes and back; a refusal is attested as well as a pass. Does not:
decide anything, or replace the audit log: whoever holds the verifier's key can write any summary.

Reading follows "How to verify" of the specification (v1.1, v1.2), step by step:

1. The signature is by a trusted key whose role is `decision` (`verify`, steps 1 to 7).
2. The statement's subject is the artifact, by digest. The name says nothing.
3. The predicate type is `https://slsa.dev/verification_summary/v1`.
4. The verifier's id is one that this key may attest under: only (signer, verifier) pairs are believed.
5. `resourceUri` is the resource that is meant. A pass for one place is not a pass for another.
6. `verificationResult` is `PASSED`.
7. `verifiedLevels` holds the levels that are asked for.
8. Ours: where the caller names a policy digest, it is the policy of the summary.

What the caller must still do: be sure of the artifact's digest, and ask for levels; a summary of a lax policy passes
too. Members that the specification does not have are ignored, as it demands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from governance.errors import SignatureError
from governance.model.artifact import Artifact
from governance.model.canonical import Json, canonical_bytes
from governance.model.digest import Digest, Sha256
from governance.model.request import Request, utc_text
from governance.model.verdict import Effect, Verdict
from governance.signing.bundle import MAX_BUNDLE, KeyMaterial, parse_bundle, write_bundle
from governance.signing.envelope import parse_envelope
from governance.signing.keyholder import Signer
from governance.signing.reason import Reason, refuse, shown
from governance.signing.sign import sign_payload
from governance.signing.statement import PAYLOAD_TYPE, STATEMENT_TYPE
from governance.signing.strict import member, parse_object
from governance.signing.trust import Role, Signed, TrustStore
from governance.signing.verify import open_envelope

PREDICATE_TYPE = "https://slsa.dev/verification_summary/v1"
SLSA_VERSION = "1.1"
ALLOWED, SIGNED = "MLGOV_ALLOWED", "MLGOV_SIGNATURE_VERIFIED"
"""Levels of our own: the policy allowed the act; the artifact's signature was valid."""

_DECISION = "urn:mlgov:vsa:decision"
_ACTION = "urn:mlgov:vsa:action"
_ENVIRONMENT = "urn:mlgov:vsa:environment"
_RULES = "urn:mlgov:vsa:rules"
_UPLOADER = "urn:mlgov:vsa:actor"
_ARTIFACT = "urn:mlgov:vsa:artifact"

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An attestation that the verdict rests on: a signature file, a scan report. `sha256` is that of its bytes."""

    uri: str
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file that stands for the artifact: a service that knows files alone takes a statement about `model.sig`, which
    binds every file of the model by name and digest.
    """

    name: str
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary taken apart. `digests` are the subject's, by DigestSet name (`sha256`, `dirHash1`)."""

    verifier: str
    time_verified: datetime
    resource_uri: str
    policy_uri: str
    policy_digest: Mapping[str, str]
    inputs: tuple[Mapping[str, Any], ...]
    passed: bool
    levels: tuple[str, ...]
    digests: Mapping[str, str]
    extensions: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryReport:
    """The answer of one verification; `summary` is filled once a trusted signer vouches for it."""

    valid: bool
    reason: Reason | None = None
    detail: str = ""
    signer: str | None = None
    key_id: str | None = None
    summary: Summary | None = None


def resource_uri(request: Request) -> str:
    """The resource of a request, without credentials or query."""
    return uri_of(request.artifact)


def uri_of(artifact: Artifact) -> str:
    """The resource that an artifact is."""
    return f"artifactory://{artifact.host}/artifactory/{quote(artifact.ref)}"


def build_summary(
    request: Request,
    verdict: Verdict,
    *,
    decision_id: str,
    verifier: str,
    version: str,
    inputs: Sequence[Input] = (),
    levels: Sequence[str] = (),
    subject: Subject | None = None,
) -> bytes:
    """The statement about one verdict, in canonical bytes.

    `subject` stands for the artifact, whose own digest is then a member of its own. `inputs` must be all attestations that the verdict used, or empty. `levels` are claimed beside `MLGOV_ALLOWED` and
    only where the verdict lets the artifact through. Raises `ValueError` for an artifact without digest, and for a
    level that starts with `SLSA_`: those are for SLSA's own tracks.
    """
    digest = request.artifact.digest
    if digest is None:
        raise ValueError("an artifact whose digest is not known cannot be attested")
    if any(level.startswith("SLSA_") for level in levels):
        raise ValueError("levels that start with `SLSA_` are not ours to give")
    passed = verdict.decision <= Effect.WARN
    predicate: dict[str, Json] = {
        "verifier": {"id": verifier, "version": {"mlflow-governance": version}},
        "timeVerified": utc_text(request.at),
        "resourceUri": resource_uri(request),
        "policy": {
            "uri": "urn:mlgov:policy:" + quote(",".join(verdict.policies), safe=","),
            "digest": {"sha256": verdict.policy_digest},
        },
        "inputAttestations": [{"uri": each.uri, "digest": {"sha256": each.sha256}} for each in inputs],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": [ALLOWED, *levels] if passed else ["FAILED"],
        "slsaVersion": SLSA_VERSION,
        _DECISION: decision_id,
        _ACTION: request.action.value,
        _ENVIRONMENT: request.environment,
        _UPLOADER: {
            "name": request.actor.name,
            "authentication": request.actor.authentication or "claimed",
        },
        _RULES: [{"rule": each.rule, "effect": each.effect.word} for each in verdict.findings],
    }
    named: Json = {"name": request.artifact.ref, "digest": dict(_digest_set(digest))}
    if subject is not None:
        predicate[_ARTIFACT] = named
        named = {"name": subject.name, "digest": {"sha256": subject.sha256}}
    return canonical_bytes(
        {
            "_type": STATEMENT_TYPE,
            "subject": [named],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )


def sign_summary(payload: bytes, *, signer: Signer) -> bytes:
    """The signature file over a summary: a Sigstore bundle around one DSSE envelope."""
    return sign_payload(payload, signers=(signer,))


def verify_summary(
    bundle: bytes,
    trust: TrustStore,
    *,
    at: datetime,
    digest: Digest,
    resource: str,
    levels: Sequence[str] = (ALLOWED,),
    policy_digest: Sha256 | None = None,
    repository: str | None = None,
    signed_at: datetime | None = None,
) -> SummaryReport:
    """Verify a signed summary for one artifact by the steps above. Never raises on a bad one. `bundle` may also be the
    bare envelope, which is what evidence services keep.
    """
    report = SummaryReport(valid=False)
    try:
        payload, signers = open_envelope(  # 1
            _bundled(bundle),
            trust,
            at=at,
            repository=repository,
            signed_at=signed_at,
            role=Role.DECISION,
            payload_type=PAYLOAD_TYPE,
        )
        summary = parse_summary(payload, digest=digest)  # 2, 3
        report = replace(report, signer=signers[0].name, key_id=signers[0].key_id, summary=summary)
        _check_verifier(summary, signers)  # 4
        _check_summary(summary, resource, levels, policy_digest)  # 5, 6, 7, 8
    except SignatureError as error:
        return replace(report, reason=Reason(error.reason), detail=error.message)
    return replace(report, valid=True)


def _bundled(data: bytes) -> bytes:
    """A bare envelope with a bundle around it; anything else as it is, for `parse_bundle` to judge."""
    if len(data) > MAX_BUNDLE:
        return data
    document = parse_object(data, what="the summary")
    if "payload" not in document or "mediaType" in document:
        return data
    return write_bundle(parse_envelope(document, payload_type=PAYLOAD_TYPE), KeyMaterial(hint=""))


def parse_summary(payload: bytes, *, digest: Digest) -> Summary:
    """Steps 2 and 3: read a statement about the artifact with `digest`. Raises `SignatureError`."""
    what, reason = "the summary", Reason.VSA
    document = parse_object(payload, what=what)
    if document.get("_type") != STATEMENT_TYPE:
        raise refuse(reason, "the summary is not an in-toto Statement v1")
    digests = _find_subject(member(document, "subject", list, reason=reason, what=what), digest)  # 2
    if document.get("predicateType") != PREDICATE_TYPE:  # 3
        raise refuse(Reason.PREDICATE_TYPE, f"predicate type `{shown(document.get('predicateType'))}`")
    predicate = member(document, "predicate", dict, reason=reason, what=what)
    verifier = member(predicate, "verifier", dict, reason=reason, what=what)
    policy = member(predicate, "policy", dict, reason=reason, what=what)
    result = predicate.get("verificationResult")
    if result not in ("PASSED", "FAILED"):
        raise refuse(reason, "`verificationResult` is neither PASSED nor FAILED")
    levels = member(predicate, "verifiedLevels", list, reason=reason, what=what)
    if not all(isinstance(level, str) for level in levels):
        raise refuse(reason, "`verifiedLevels` is not a list of names")
    return Summary(
        verifier=member(verifier, "id", str, reason=reason, what="the verifier"),
        time_verified=_parse_time(member(predicate, "timeVerified", str, reason=reason, what=what)),
        resource_uri=member(predicate, "resourceUri", str, reason=reason, what=what),
        policy_uri=member(policy, "uri", str, reason=reason, what="the policy"),
        policy_digest=_text_members(policy.get("digest", {})),
        inputs=_parse_inputs(predicate.get("inputAttestations", [])),
        passed=result == "PASSED",
        levels=tuple(levels),
        digests=digests,
        extensions={key: value for key, value in predicate.items() if ":" in key},
    )


def _find_subject(subjects: Sequence[Any], digest: Digest) -> Mapping[str, str]:
    ((algorithm, value),) = _digest_set(digest)
    for subject in subjects:
        if isinstance(subject, dict) and isinstance(subject.get("digest"), dict):
            found = _text_members(subject["digest"])
            if found.get(algorithm) == value:
                return found
    raise refuse(Reason.SUBJECT, "the summary is about another artifact")


def _digest_set(digest: Digest) -> tuple[tuple[str, str]]:
    algorithm, _, value = digest.partition(":")
    return (("dirHash1" if algorithm == "dirhash1" else algorithm, value),)


def _check_verifier(summary: Summary, signers: Sequence[Signed]) -> None:
    for signed in signers:
        if summary.verifier in signed.grant.verifiers or "*" in signed.grant.verifiers:
            return
    raise refuse(Reason.VERIFIER, f"`{signers[0].name}` may not attest as `{shown(summary.verifier)}`")


def _check_summary(
    summary: Summary, resource: str, levels: Sequence[str], policy_digest: Sha256 | None
) -> None:
    if summary.resource_uri != resource:  # 5
        raise refuse(Reason.RESOURCE, f"the summary is about `{shown(summary.resource_uri, 160)}`")
    if not summary.passed:  # 6
        raise refuse(Reason.FAILED, "the verifier refused the artifact")
    missing = sorted(level for level in levels if not _implied(level, summary.levels))  # 7
    if missing:
        raise refuse(Reason.LEVELS, f"the summary does not hold {', '.join(missing)}")
    if policy_digest is not None and summary.policy_digest.get("sha256") != policy_digest:  # 8
        raise refuse(Reason.POLICY, "the summary is about another policy")


_TRACK = re.compile(r"(SLSA_[A-Z]+_LEVEL_)([0-9])")


def _implied(level: str, held: Sequence[str]) -> bool:
    """Whether a level is held. Each SLSA level implies those below it in its track."""
    if level in held:
        return True
    wanted = _TRACK.fullmatch(level)
    if wanted is None:
        return False
    found = [match for each in held if (match := _TRACK.fullmatch(each)) and match[1] == wanted[1]]
    return any(match[2] >= wanted[2] for match in found)


def _parse_inputs(listed: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(listed, list):
        raise refuse(Reason.VSA, "`inputAttestations` is not a list")
    for row in listed:
        if not isinstance(row, dict) or not isinstance(row.get("digest"), dict) or not row["digest"]:
            raise refuse(Reason.VSA, "an input attestation without digest")
    return tuple(listed)


def _parse_time(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise refuse(Reason.VSA, "`timeVerified` is not a time of RFC 3339")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refuse(Reason.VSA, "`timeVerified` is not a time of RFC 3339") from error


def _text_members(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        raise refuse(Reason.VSA, "a digest set that is not an object")
    return {key: value for key, value in document.items() if isinstance(value, str)}


def evidence_envelope(bundle: bytes, *, alias: str = "") -> bytes:
    """The bare DSSE envelope of a signature file: what JFrog Evidence takes. `alias` is the name under which the server
    knows the key; it goes where nobody signed. Raises `SignatureError`."""
    envelope = parse_bundle(bundle).envelope
    signatures = tuple(replace(each, keyid=alias) for each in envelope.signatures)
    document = replace(envelope, signatures=signatures).to_json()
    return json.dumps(document, separators=(",", ":")).encode("ascii")
