"""From the audit log to a report: one pass over the entries, joined by decision.

Promises: every decision of the period appears with its outcome, or among those without one; counts are over all of
them, also where the list is cut. Does not: judge anything again, or hide an entry it does not understand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from governance.audit.checkpoint import Checkpoint
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.audit.verify import Verification
from governance.model.canonical import Json
from governance.model.request import parse_utc, utc_text
from governance.report.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an act ended."""

    at: str
    status: str
    count: int
    size: int
    error: str | None
    digest: str | None
    key_id: str | None
    bundle: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """One objection as it was recorded."""

    rule: str
    effect: str
    severity: str
    message: str
    remediation: str | None
    waivable: bool
    evidence: tuple[tuple[str, str, str], ...]
    """Fact, value, and source with time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision and what came of it."""

    index: int | None
    id: str
    at: str
    correlation: str
    ref: str
    action: str
    kind: str
    name: str
    version: str | None
    digest: str | None
    size: int | None
    files: int | None
    actor: str
    is_authenticated: bool
    environment: str
    decision: str
    mode: str
    refused: bool
    would_block: bool
    findings: tuple[FindingRow, ...]
    findings_omitted: int
    waived: tuple[tuple[str, str], ...]
    degraded: str | None
    policies: tuple[str, ...]
    policy_digest: str | None
    policy_revision: int | None
    mlflow: tuple[tuple[str, str], ...]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def result(self) -> str:
        """The one word by which decisions are sorted and coloured."""
        if self.refused:
            return "quarantined" if self.decision == "quarantine" else "refused"
        if self.would_block:
            return "would-block"
        if self.waived:
            return "waived"
        return "warned" if self.decision == "warn" else "allowed"

    @property
    def signature(self) -> Outcome | None:
        """The outcome that made a signature, if one did."""
        return next((outcome for outcome in self.outcomes if outcome.bundle), None)


RESULTS = ("refused", "quarantined", "would-block", "waived", "warned", "allowed")
"""Every `DecisionRow.result`, worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An entry that is neither decision nor outcome: a signature, a key, a policy, an export."""

    index: int | None
    at: str
    kind: str
    subject: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report shows, whatever its format."""

    origin: str
    made_at: str
    since: str | None
    until: str | None
    subject: str | None
    verification: Verification
    checkpoint: Checkpoint
    vkey: str | None
    command: str | None
    decisions: tuple[DecisionRow, ...]
    """Newest first, at most as many as were asked for."""
    counts: dict[str, int]
    """Decisions by result, and by what the cards show."""
    timeline: tuple[tuple[str, dict[str, int]], ...]
    """Decisions by result in equal steps of time, each with the time it begins."""
    unfinished: tuple[DecisionRow, ...]
    signed_later: dict[str, str]
    """Key id of the last signature made over an artifact apart from its uploads, by the artifact's `ref`: files that
    arrive one by one are signed together afterwards."""
    events: tuple[EventRow, ...]
    entries: Entries

    @property
    def omitted(self) -> int:
        """How many decisions were counted and are not in the list."""
        return self.counts["decisions"] - len(self.decisions)


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of the period, read anew each time. `until` is exclusive."""

    log: AuditLog
    since: datetime | None
    until: str | None
    subject: str | None

    def __iter__(self) -> Iterator[Stored]:
        for stored in self.log.find(subject=self.subject, since=self.since):
            if self.until is None or utc_text(stored.entry.at) < self.until:
                yield stored


def build_report(
    log: AuditLog,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    subject: str | None = None,
    most: int = 2_000,
    vkey: str | None = None,
    command: str | None = None,
    roots: Mapping[int, bytes] | None = None,
) -> Report:
    """Verify the log, and tell what happened from `since` up to `until`.

    `subject` narrows it to one artifact (`repository/path`). `command` is the line that checks an exported copy offline,
    to be printed with the statement of integrity. `roots` are roots remembered from elsewhere, by tree size.
    """
    entries = Entries(log, since, None if until is None else utc_text(until), subject)
    decisions: dict[str, DecisionRow] = {}
    events: list[EventRow] = []
    signed_later: dict[str, str] = {}
    for stored in entries:
        kind, body = stored.entry.kind, Fields(stored.entry.body)
        if kind is EntryKind.DECISION:
            decisions[stored.entry.id] = _decision(stored, body)
        elif kind is EntryKind.OUTCOME:
            row = decisions.get(body.word("decision"))
            if row is not None:
                row.outcomes.append(_outcome(stored, body))
        elif kind is not EntryKind.START:
            if kind is EntryKind.SIGNATURE and body.text("event") == "made":
                signed_later[stored.entry.subject] = body.word("key_id")
            events.append(_event(stored, body))
    rows = list(decisions.values())
    return Report(
        origin=log.origin,
        made_at=utc_text(now),
        since=None if since is None else utc_text(since),
        until=entries.until,
        subject=subject,
        verification=log.verify(roots),
        checkpoint=log.checkpoint(),
        vkey=vkey,
        command=command,
        decisions=tuple(reversed(rows[-most:])),
        counts=_counts(rows, signed_later),
        timeline=_timeline(rows),
        unfinished=tuple(row for row in reversed(rows) if not row.outcomes),
        signed_later=signed_later,
        events=tuple(reversed(events)),
        entries=entries,
    )


def _decision(stored: Stored, body: Fields) -> DecisionRow:
    entry, artifact, actor = stored.entry, body.sub("artifact"), body.sub("actor")
    verdict, policy = body.sub("verdict"), body.sub("policy")
    return DecisionRow(
        index=stored.index,
        id=entry.id,
        at=utc_text(entry.at),
        correlation=entry.correlation,
        ref=entry.subject,
        action=body.word("action"),
        kind=artifact.word("kind"),
        name=artifact.word("name"),
        version=artifact.text("version"),
        digest=artifact.text("digest"),
        size=artifact.number("size"),
        files=artifact.number("files"),
        actor=actor.word("name"),
        is_authenticated=actor.text("authentication") is not None,
        environment=body.word("environment"),
        decision=verdict.word("decision"),
        mode=verdict.word("mode"),
        refused=verdict.is_set("refused"),
        would_block=verdict.is_set("would_block"),
        findings=tuple(_finding(row) for row in verdict.subs("findings")),
        findings_omitted=verdict.number("findings_omitted") or 0,
        waived=tuple((row.word("rule"), row.word("waiver")) for row in verdict.subs("waived")),
        degraded=verdict.text("degraded"),
        policies=policy.texts("names"),
        policy_digest=policy.text("digest"),
        policy_revision=policy.number("revision"),
        mlflow=tuple(
            (name, str(value)) for name, value in body.sub("mlflow").body.items() if isinstance(value, str)
        ),
    )


def _finding(row: Fields) -> FindingRow:
    return FindingRow(
        rule=row.word("rule"),
        effect=row.word("effect"),
        severity=row.word("severity"),
        message=row.word("message"),
        remediation=row.text("remediation"),
        waivable=row.is_set("waivable"),
        evidence=tuple(
            (
                item.word("fact"),
                item.word("value"),
                ", ".join(part for part in (item.text("source"), item.text("at")) if part),
            )
            for item in row.subs("evidence")
        ),
    )


def _outcome(stored: Stored, body: Fields) -> Outcome:
    moved, signature = body.sub("moved"), body.sub("signature")
    alone = moved.subs("files")[0].text("sha256") if moved.subs("files") else None
    return Outcome(
        at=utc_text(stored.entry.at),
        status=body.word("status"),
        count=moved.number("count") or 0,
        size=moved.number("bytes") or 0,
        error=body.text("error"),
        digest=moved.text("digest") or (f"sha256:{alone}" if alone else None),
        key_id=signature.text("key_id"),
        bundle=signature.text("bundle"),
    )


_SHOWN: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.SIGNATURE: ("event", "digest", "key_id", "reason"),
    EntryKind.POLICY: ("names", "revision", "digest"),
    EntryKind.KEY: ("event", "key_id", "name", "reason"),
    EntryKind.WAIVER: ("event", "waiver", "rule", "reason"),
    EntryKind.RECOVERY: ("ids",),
    EntryKind.ERASURE: ("reason", "digests"),
    EntryKind.HOLD: ("held", "reason"),
}


def _event(stored: Stored, body: Fields) -> EventRow:
    entry = stored.entry
    names = _SHOWN.get(entry.kind, ("size", "root"))
    parts = [f"{name} {_plain(body.body[name])}" for name in names if body.body.get(name) is not None]
    return EventRow(
        index=stored.index,
        at=utc_text(entry.at),
        kind=entry.kind.value,
        subject=entry.subject,
        what="; ".join(parts),
    )


def _plain(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value[:20]) + (" …" if len(value) > 20 else "")
    return str(value)


def _counts(rows: list[DecisionRow], signed_later: dict[str, str]) -> dict[str, int]:
    counts = dict.fromkeys(RESULTS, 0)
    for row in rows:
        counts[row.result] += 1
    done = [
        row for row in rows if row.action == "upload" and any(out.status == "done" for out in row.outcomes)
    ]
    return counts | {
        "decisions": len(rows),
        "unfinished": sum(not row.outcomes for row in rows),
        "uploads": len(done),
        "signed": sum(row.signature is not None or row.ref in signed_later for row in done),
        "failed": sum(any(out.status == "failed" for out in row.outcomes) for row in rows),
    }


_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1 / 60, 1 / 12, 1 / 4, 1, 2, 5, 15, 30, 60, 180, 360, 720, 1440)
)
_MOST_SLOTS = 96
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _timeline(rows: list[DecisionRow]) -> tuple[tuple[str, dict[str, int]], ...]:
    """Decisions by result in at most 96 equal steps, quiet ones too. Labels are the beginnings of the steps."""
    if not rows:
        return ()
    times = [parse_utc(row.at) for row in rows]
    first, last = min(times), max(times)
    step = next(
        (step for step in _STEPS if (last - first) / step < _MOST_SLOTS - 1),
        (last - first) / (_MOST_SLOTS - 1),
    )
    start = first - timedelta(seconds=(first - _EPOCH) % step / timedelta(seconds=1))
    slots = [dict.fromkeys(RESULTS, 0) for _ in range(int((last - start) / step) + 1)]
    for row, at in zip(rows, times, strict=True):
        slots[int((at - start) / step)][row.result] += 1
    return tuple(
        (utc_text(start + place * step)[:19].replace("T", " "), slot) for place, slot in enumerate(slots)
    )
