"""From the audit log to a report: one pass over the entries, joined by decision.

Promises: every decision of the period appears with its outcome, or among those without one; counts are over all of
them, also where the list is cut. Does not: judge anything again, or hide an entry it does not understand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from governance.audit.checkpoint import Checkpoint
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.audit.verify import Verification
from governance.model.canonical import Json
from governance.model.request import parse_utc, utc_text
from governance.report.entries import RESULTS, DecisionRow, PeriodEntries, decision_row, outcome_row
from governance.report.fields import Fields


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
        """Those that are what was recorded; what is broken is for the verification to tell."""
        for stored in PeriodEntries(log=self.log, since=self.since, subject=self.subject):
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
            decisions[stored.entry.id] = decision_row(stored, body)
        elif kind is EntryKind.OUTCOME:
            row = decisions.get(body.word("decision"))
            if row is not None:
                row.outcomes.append(outcome_row(stored, body))
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


_SHOWN: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.SIGNATURE: ("event", "digest", "key_id", "reason"),
    EntryKind.POLICY: ("names", "revision", "digest"),
    EntryKind.KEY: ("event", "key_id", "name", "reason"),
    EntryKind.WAIVER: ("event", "waiver", "rule", "reason"),
    EntryKind.ADVISORY: ("advisories",),
    EntryKind.REGISTRATION: ("event", "name", "version", "alias", "stage", "before"),
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
