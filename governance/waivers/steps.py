"""The steps of a waiver: asked for, approved, revoked; each a file that one person signed.

Promises: a step is good only for exactly the terms it was signed for (rule, artifact, digest, scope, findings, reason,
ticket, author, time), only as the step it was signed as, and only by a key that the trust file allows to vouch for
waivers of that repository. Does not: count approvals (see `settling`).

A step lies beside the waiver's document as `NAME.STEP.KEY.sig.json`, a Sigstore bundle around one DSSE envelope whose
payload is canonical JSON `{"type", "step", "terms", "by", "at", "reason"}`. Names of files prove nothing; they only say
which file to look into.

What the caller must still do: give `seen`, the time at which its own audit log first held these bytes, where it did.
Without it a signature counts as made now, so that a superseded key vouches for nothing that is new to us.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from governance.errors import SignatureError, VerificationError
from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.request import parse_utc, utc_text
from governance.policy.documents import Waiver
from governance.signing.keyholder import Signer
from governance.signing.sign import sign_payload
from governance.signing.trust import Role, Signed, TrustStore
from governance.signing.verify import open_envelope

PAYLOAD_TYPE = "application/vnd.mlgov.waiver+json"
MAX_STEP = 64 << 10
CLOCK_SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may stand apart before a time is taken for a lie."""

_FILE = re.compile(
    r"(?P<waiver>[A-Za-z0-9][A-Za-z0-9._-]{0,62})\.(?P<step>request|approve|revoke)\.[0-9a-f]{16}\.sig\.json"
)
_MEMBERS = frozenset({"type", "step", "terms", "by", "at", "reason"})
_NOUNS = {"request": "a request", "approve": "an approval", "revoke": "a revocation", "review": "a review"}


class Step(enum.StrEnum):
    """What somebody did to a waiver. `REVIEW` is of a break-glass use, and lies in the audit log alone."""

    REQUEST = "request"
    APPROVE = "approve"
    REVOKE = "revoke"
    REVIEW = "review"


class StepError(VerificationError):
    """A step that does not count. The message says why, without the name of its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFile:
    """A file that claims to be a step of a waiver."""

    name: str
    waiver: str
    step: Step
    data: bytes

    @property
    def hint(self) -> str:
        """The beginning of the key id that its name tells of; empty where it tells of none."""
        parts = self.name.rsplit(".", 3)
        return parts[1] if len(parts) == 4 else ""

    @property
    def sha256(self) -> str:
        """Of its bytes: the name under which the audit log keeps it."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStep:
    """A step that was verified. `by` is the trusted key's owner, `at` the signer's own clock."""

    file: StepFile
    step: Step
    by: str
    key_id: str
    at: datetime
    reason: str | None


def step_name(waiver: str, step: Step, key_id: str) -> str:
    """The file in which a step of a waiver is kept."""
    return f"{waiver}.{step}.{key_id[:16]}.sig.json"


def as_step_file(name: str, data: bytes) -> StepFile | None:
    """The file at a path as a step, or None where its name is not that of one."""
    # Without its folder: the name gets into the policy's record, which must read the same on every machine.
    name = name.rpartition("/")[2]
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    return StepFile(name=name, waiver=match["waiver"], step=Step(match["step"]), data=data)


def terms_of(waiver: Waiver) -> dict[str, Json]:
    """What is signed: all that a waiver says, but for who approved or revoked it."""
    return {
        "waiver": waiver.name,
        "rule": waiver.rule,
        "ref": waiver.ref,
        "digest": waiver.digest,
        "environments": None if waiver.environments is None else list(waiver.environments),
        "actors": None if waiver.actors is None else list(waiver.actors),
        "findings": waiver.findings,
        "reason": waiver.reason,
        "ticket": waiver.ticket,
        "requestedBy": waiver.requested_by,
        "author": waiver.author,
        "starts": utc_text(waiver.starts),
        "expires": utc_text(waiver.expires),
    }


def sign_step(
    terms: Mapping[str, Json], step: Step, *, signer: Signer, by: str, at: datetime, reason: str | None = None
) -> bytes:
    """The file of a step. Look at the terms before you sign."""
    document: dict[str, Json] = {
        "type": PAYLOAD_TYPE, "step": step.value, "terms": dict(terms), "by": by, "at": utc_text(at), "reason": reason,
    }  # fmt: skip
    return sign_payload(canonical_bytes(document), signers=(signer,), payload_type=PAYLOAD_TYPE)


def open_step(
    file: StepFile,
    terms: Mapping[str, Json],
    trust: TrustStore,
    *,
    repository: str | None,
    now: datetime,
    seen: datetime | None = None,
) -> SignedStep:
    """The verified step of a file. Raises `StepError`.

    1. It is small, its signature is good, and the signer may vouch for waivers of the repository.
    2. What was signed is a step of a waiver, the very step that the file stands for.
    3. The terms are those of the waiver, to the letter.
    4. It says the name of the one whose key signed it.
    5. It was not made in the future of this clock.
    """
    if len(file.data) > MAX_STEP:
        raise StepError(f"it has {len(file.data)} bytes ({MAX_STEP} are allowed)")
    payload, signed = _open(file, trust, repository=repository, now=now, seen=seen)  # 1
    document = _parse(payload)
    if document["step"] != file.step:  # 2
        raise StepError(
            f"it is {_NOUNS.get(str(document['step']), 'something else')}, not {_NOUNS[file.step]}"
        )
    _check_terms(document["terms"], terms)  # 3
    if document["by"] != signed.name:  # 4
        raise StepError(f"it speaks for `{document['by']}` and was signed by `{signed.name}`")
    at = _time(document["at"])
    if at > now + CLOCK_SKEW:  # 5
        raise StepError(
            f"it is dated {utc_text(at)[:19]}Z, which is after now ({utc_text(now)[:19]}Z): "
            "this clock was moved back, or the signer's stands ahead"
        )
    reason = document["reason"]
    return SignedStep(
        file=file,
        step=file.step,
        by=signed.name,
        key_id=signed.key_id,
        at=at,
        reason=str(reason) if reason is not None else None,
    )


def _open(
    file: StepFile, trust: TrustStore, *, repository: str | None, now: datetime, seen: datetime | None
) -> tuple[bytes, Signed]:
    # How many people are needed is counted over all steps; each file has one signer.
    single = replace(trust, thresholds=tuple(row for row in trust.thresholds if row[0] is not Role.WAIVER))
    named = tuple(key for key in single.keys if file.hint and key.key_id.startswith(file.hint))
    if named:
        # Only the order of trying: with the key that the name tells of first, most files need one try instead of as
        # many as there are people. What it does not open is tried with every key.
        with suppress(StepError):
            return _open_with(file, replace(single, keys=named), repository=repository, now=now, seen=seen)
    return _open_with(file, single, repository=repository, now=now, seen=seen)


def _open_with(
    file: StepFile, trust: TrustStore, *, repository: str | None, now: datetime, seen: datetime | None
) -> tuple[bytes, Signed]:
    try:
        payload, signers = open_envelope(
            file.data,
            trust,
            at=now,
            repository=repository,
            signed_at=seen,
            role=Role.WAIVER,
            payload_type=PAYLOAD_TYPE,
        )
    except SignatureError as error:
        raise StepError(f"its signature does not count: {error.message}") from error
    return payload, signers[0]


def _parse(payload: bytes) -> Mapping[str, Json]:
    try:
        document = parse_canonical(payload)
    except CanonicalError as error:
        raise StepError(f"what was signed is not in canonical form: {error}") from error
    if not isinstance(document, Mapping) or document.keys() != _MEMBERS or document["type"] != PAYLOAD_TYPE:
        raise StepError("what was signed is not a step of a waiver")
    return document


def _check_terms(signed: Json, terms: Mapping[str, Json]) -> None:
    if not isinstance(signed, Mapping) or signed.keys() != terms.keys():
        raise StepError("what was signed are not the terms of a waiver")
    if signed.get("waiver") != terms.get("waiver"):
        raise StepError(f"it was given for another waiver, `{signed.get('waiver')}`")
    # Through bytes: what was parsed has tuples or lists where ours may have the other.
    different = [
        name for name in sorted(terms) if canonical_bytes(signed[name]) != canonical_bytes(terms[name])
    ]
    if different:
        raise StepError(f"it was given for other terms ({', '.join(different)} changed since)")


def _time(value: Json) -> datetime:
    try:
        return parse_utc(str(value))
    except ValueError as error:
        raise StepError("what was signed has no time") from error
