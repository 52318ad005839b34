"""Waivers in the audit log: what is written of them, and what is known from it.

The log is the part of the register that no pull request can change: a waiver that was deleted, a revocation whose file
is gone, a break-glass use that nobody reviewed, an ignore rule that Xray removed when it expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from governance.audit.bodies import waiver_body
from governance.audit.entry import EntryKind, parse_entry
from governance.audit.log import AuditLog, Stored
from governance.audit.pseudonyms import may_be_same
from governance.audit.signing_time import taken_by
from governance.audit.stamp import is_stamped
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.people import is_same_person
from governance.model.request import new_id, parse_utc, utc_text
from governance.signing.trust import TrustStore
from governance.waivers.settling import Memory, Register, Revoked, Settled, terms_digest
from governance.waivers.steps import SignedStep, Step, StepError, StepFile, open_step

EVENTS: Mapping[Step, str] = {
    Step.REQUEST: "requested",
    Step.APPROVE: "approved",
    Step.REVOKE: "revoked",
    Step.REVIEW: "reviewed",
}
_LOOKED_AT = 10_000
BROKEN = "break-glass"
COPIED = "copied"


def memory_of(log: AuditLog) -> Memory:
    """What the log knows, for `settle`."""
    seen: dict[str, datetime] = {}
    revoked: dict[str, Revoked] = {}
    for stored in log.find(kind=EntryKind.WAIVER):
        body = stored.entry.body
        envelope, terms = body.get("envelope"), body.get("terms")
        if isinstance(envelope, str):
            # An approval outlives its key by this time, so it is none that a client says.
            taken = taken_by(stored.entry)
            seen[envelope] = min(seen.get(envelope, taken), taken)
        if body["event"] == EVENTS[Step.REVOKE] and isinstance(terms, str):
            revoked.setdefault(terms, _revocation(stored))
    return Memory(seen=seen, revoked=revoked)


def _revocation(stored: Stored) -> Revoked:
    body, at = stored.entry.body, stored.entry.at
    with suppress(ValueError):  # where it is not a time, the log's own will do
        at = min(at, parse_utc(str(body.get("signed_at"))))
    reason = body.get("reason")
    return Revoked(at=at, by=str(body.get("by")), reason=None if reason is None else str(reason))


def latest_time(log: AuditLog) -> datetime | None:
    """The latest time of the newest entries, by their writers' clocks. None for an empty log.

    Of many, since whoever moved the clock back could have one decision recorded and start the process again; not of
    all, so that what a clock that stood ahead once wrote does not count for ever.
    """
    size = log.store.frontier().size
    rows = log.store.rows(max(0, size - _LOOKED_AT), size)
    return max((parse_entry(row.data).at for row in rows), default=None)


def record_step(log: AuditLog, settled: Settled, step: SignedStep, *, now: datetime) -> None:
    """Put one verified step on record, with the file as evidence."""
    waiver = settled.waiver
    log.append(
        EntryKind.WAIVER,
        waiver_body(
            event=EVENTS[step.step],
            waiver=waiver.name,
            envelope=step.file.sha256,
            more={
                "terms": terms_digest(waiver),
                "rule": waiver.rule,
                "digest": waiver.digest,
                "by": step.by,
                "key_id": step.key_id,
                "signed_at": utc_text(step.at),
                "reason": step.reason or waiver.reason,
                "ticket": waiver.ticket,
                "expires": utc_text(waiver.expires),
            },
        ),
        subject=waiver.ref,
        correlation=new_id(now),
        evidence=(step.file.data,),
    )


def record_unseen(log: AuditLog, register: Register, *, now: datetime) -> None:
    """Put every verified step on record that the log has not seen yet: this is the time from which it is trusted, and
    what stays of it when its file is gone.
    """
    if not any(each.steps for each in register.waivers):
        return
    # A client's word that a step is on record keeps none off it: a revocation would else go with its file.
    seen = {stored.entry.body.get("envelope") for stored in log.witnessed(kind=EntryKind.WAIVER)}
    for settled in register.waivers:
        for step in settled.steps:
            if step.file.sha256 not in seen:
                record_step(log, settled, step, now=now)


def review_terms(use: Stored) -> dict[str, Json]:
    """What a review of a break-glass use is signed over."""
    body = use.entry.body
    return {
        "waiver": body["waiver"],
        "entry": use.entry.id,
        "actor": body.get("by"),
        "justification": body.get("justification"),
    }


def unreviewed(
    log: AuditLog, entries: Sequence[Stored], trust: TrustStore, now: datetime
) -> tuple[Stored, ...]:
    """The break-glass uses that nobody has reviewed with a good signature."""
    uses = [each for each in entries if each.entry.body["event"] == BROKEN]
    done: dict[str, list[Stored]] = {}
    for each in entries:
        if each.entry.body["event"] == EVENTS[Step.REVIEW]:
            done.setdefault(str(each.entry.body["waiver"]), []).append(each)
    return tuple(
        use
        for use in uses
        if not any(
            _is_review(log, use, each, trust, now) for each in done.get(str(use.entry.body["waiver"]), ())
        )
    )


def _is_review(log: AuditLog, use: Stored, review: Stored, trust: TrustStore, now: datetime) -> bool:
    by = body_text(use.entry.body, "by")
    if may_be_same(body_text(review.entry.body, "by"), by):
        return False
    data = log.evidence(Sha256(body_text(review.entry.body, "envelope")))
    if data is None:  # erased under retention, or, of a client's entry, perhaps never there
        return not is_stamped(review.entry)
    file = StepFile(name="review", waiver=body_text(use.entry.body, "waiver"), step=Step.REVIEW, data=data)
    try:
        step = open_step(
            file,
            review_terms(use),
            trust,
            repository=use.entry.subject.partition("/")[0],
            now=now,
            seen=min(taken_by(review.entry), now),
        )
    except StepError:
        return False
    return not is_same_person(step.by, by)


def body_text(body: Mapping[str, Json], name: str) -> str:
    """A member of a body as text; empty where it has none."""
    value = body.get(name)
    return "" if value is None else str(value)
