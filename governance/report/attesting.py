"""A recorded decision as a signed attestation: what `mlgov evidence` hands out.

Promises: what is attested is what stands in the log, judged once more from its evidence: a decision that cannot be
replayed to the same bytes is not attested. The summary names the policy and the facts that it rests on by digest, and
the signature file where one was looked at. Does not: decide anew, or upload (`governance.artifactory.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from governance.audit.entry import Entry
from governance.errors import AuditBrokenError, KeyFileError
from governance.model.digest import Digest, Sha256, parse_sha256
from governance.model.request import Request
from governance.model.verdict import Verdict
from governance.report.recorded import PolicyCache, Recorded, read_decision
from governance.report.replay import ReadableLog, replay, verdict_again
from governance.signing.trust import Role, TrustedKey, TrustStore, verifier_id
from governance.signing.vsa import SIGNED, Input, Subject, build_summary, resource_uri

FACTS_URI = "urn:mlgov:facts"
"""What the input attestation is called that holds all facts of the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestable:
    """A decision that was replayed to the same bytes."""

    id: str
    request: Request
    verdict: Verdict
    inputs: tuple[Input, ...]
    levels: tuple[str, ...]

    @property
    def digest(self) -> Digest | None:
        """The artifact's, as it was judged."""
        return self.request.artifact.digest

    def statement(self, *, verifier: str, version: str, subject: Subject | None = None) -> bytes:
        """The statement to sign. `subject` stands for the artifact where the reader knows it by another digest. Raises
        `ValueError` for an artifact whose digest was not known."""
        return build_summary(
            self.request,
            self.verdict,
            decision_id=self.id,
            verifier=verifier,
            version=version,
            inputs=self.inputs,
            levels=self.levels,
            subject=subject,
        )


def attestable(log: ReadableLog, entry: Entry, *, policies: PolicyCache) -> Attestable:
    """The decision of an entry. Raises `NotReplayableError` where its evidence is gone, `AuditBrokenError` where the
    replay gives other bytes."""
    recorded = read_decision(log, entry)
    if not replay(log, entry, policies=policies).is_same:
        raise AuditBrokenError(
            f"decision {entry.id} cannot be attested: judged once more, it is another one",
            hint="`mlgov audit verify` tells whether the entry was changed.",
        )
    verdict = verdict_again(log, recorded, policies.get(recorded.policy_digest))
    request = _with_actor(recorded)
    is_signed = recorded.facts.record.get("signature.valid") is True
    return Attestable(
        id=entry.id,
        request=request,
        verdict=verdict,
        inputs=_inputs(recorded, request, verdict),
        levels=(SIGNED,) if is_signed else (),
    )


def attesting_key(trust: TrustStore, key_id: str) -> tuple[TrustedKey, str]:
    """The key that is to attest, and the verifier id it may attest under. Raises `KeyFileError` where the trust file
    does not let it: nobody would believe what it signs."""
    found = next((key for key in trust.keys if key.key_id == key_id), None)
    if found is None or Role.DECISION not in found.grant.roles:
        raise KeyFileError(
            f"key {key_id[:16]} may not attest decisions",
            hint="The trust file must give it the role `decision`, and a verifier id.",
        )
    named = [each for each in found.grant.verifiers if each != "*"]
    if not named and "*" not in found.grant.verifiers:
        raise KeyFileError(
            f"key {key_id[:16]} has no verifier id in the trust file",
            hint="List one in `verifiers`, such as `urn:mlgov:verifier:NAME`.",
        )
    return found, named[0] if named else verifier_id(found.name)


def _with_actor(recorded: Recorded) -> Request:
    """The request with the actor as the entry names it: with the method that proved the name, or as a pseudonym."""
    actor, body = recorded.request.actor, recorded.entry.body.get("actor")
    if not isinstance(body, Mapping):
        return recorded.request
    method = body.get("authentication")
    known = replace(
        actor, name=str(body.get("name")), authentication=method if isinstance(method, str) else None
    )
    return replace(recorded.request, actor=known)


def _inputs(recorded: Recorded, request: Request, verdict: Verdict) -> tuple[Input, ...]:
    """All that the verdict rested on: the facts as a document, and the signature file that some of them came from."""
    inputs = [Input(uri=FACTS_URI, sha256=verdict.facts_digest)]
    bundle = recorded.facts.record.get("signature.bundle")
    if isinstance(bundle, str):
        inputs.append(Input(uri=f"{resource_uri(request)}#signature", sha256=_sha256(bundle, recorded)))
    return tuple(inputs)


def _sha256(text: str, recorded: Recorded) -> Sha256:
    try:
        return parse_sha256(text)
    except ValueError as error:
        raise AuditBrokenError(
            f"the facts of decision {recorded.entry.id} name a digest that is none"
        ) from error
