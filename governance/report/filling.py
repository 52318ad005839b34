"""The entries of a period into a ledger, in one pass.

Promises: every entry of the period is counted under its kind, broken ones too; a decision at the period's edge is not taken
for one without an outcome, since outcomes and later decisions are read up to the log's end, and marked as later; so are outcomes
of it that a clock set back has put before the period, and those that a selection leaves out, so that what is told of a selected decision is true of the log. What began before the period and
still matters in it (waivers, keys, policies, holds, registered models) is read from the log's beginning.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from governance.audit.entry import Entry, EntryKind
from governance.audit.log import AuditLog, Stored
from governance.model.request import utc_text
from governance.report.entries import Broken, DecisionRow, Extent, PeriodEntries, decision_row, outcome_row
from governance.report.facts_seen import FactsReader
from governance.report.fields import Fields
from governance.report.ledger import Ledger
from governance.report.registered import registration
from governance.report.words import body_of

BEFORE, WITHIN, LATER, UNSELECTED = -1, 0, 1, 2
_MOST_TEXT = 2_000
_LASTING = (EntryKind.WAIVER, EntryKind.KEY, EntryKind.POLICY, EntryKind.HOLD, EntryKind.REGISTRATION)

_TELLING = {
    LATER: (EntryKind.WAIVER, EntryKind.POLICY, EntryKind.SIGNATURE),
    UNSELECTED: (EntryKind.WAIVER, EntryKind.POLICY, EntryKind.REGISTRATION, EntryKind.SIGNATURE),
}
"""Which events are read that are not counted."""
UNFINISHED = "later = 0 AND NOT EXISTS (SELECT 1 FROM outcome o WHERE o.decision = d.id)"
"""What is true of a decision `d` of the period of which nothing more was recorded."""


@dataclass(slots=True, kw_only=True)
class Sampler:
    """The reproducible sample: the decisions whose `SHA-256(seed ":" id)` is smallest, so that anybody can draw it again with
    a pencil and a program of one line, whatever the language."""

    seed: str
    size: int
    _kept: list[tuple[int, str]] = field(default_factory=list)

    def offer(self, entry_id: str) -> None:
        """Take note of one decision."""
        item = (-sample_rank(self.seed, entry_id), entry_id)
        if len(self._kept) < self.size:
            heapq.heappush(self._kept, item)
        elif self._kept and item > self._kept[0]:
            heapq.heapreplace(self._kept, item)

    def ids(self) -> tuple[str, ...]:
        """The sample, smallest hash first."""
        return tuple(entry_id for _, entry_id in sorted(self._kept, reverse=True))


def sample_rank(seed: str, entry_id: str) -> int:
    """What decisions are ordered by for the sample."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{entry_id}".encode()).digest())


@dataclass(slots=True, kw_only=True)
class Filler:
    """Fills a ledger; see the module."""

    log: AuditLog
    ledger: Ledger
    since: datetime | None
    until: datetime | None
    matches: Callable[[Entry], bool] | None
    sampler: Sampler
    observe: Callable[[Entry], None] | None = None
    extent: Extent = field(default_factory=Extent)
    _n: int = 0
    _facts: FactsReader = field(init=False)

    def __post_init__(self) -> None:
        self._facts = FactsReader(self.log, self.ledger)

    def fill(self) -> None:
        """Read the log, and make the ledger ready to be asked."""
        self._lasting()
        until = None if self.until is None else utc_text(self.until)
        for each in PeriodEntries(log=self.log, since=self.since).all():
            at = each.at if isinstance(each, Broken) else utc_text(each.entry.at)
            is_later = until is not None and at >= until
            if is_later:
                self.extent.pass_by(each.index)
            if isinstance(each, Broken):
                if not is_later:
                    self._broken(each)
            elif is_later:
                self._beside(each, at, LATER)
            else:
                self._within(each, at)
        self._facts.finish()
        self.ledger.index()
        self._set_back()

    def _set_back(self) -> None:
        """The outcomes of decisions of the period that bear a time before it, since their writer's clock was set back meanwhile."""
        if self.since is None:
            return
        wanted = f"SELECT DISTINCT correlation FROM decision d WHERE {UNFINISHED}"  # noqa: S608 - no values
        found = list(self.ledger.rows(wanted))
        for (correlation,) in found:
            before = PeriodEntries(
                log=self.log, until=self.since, kind=EntryKind.OUTCOME, correlation=correlation
            )
            for stored in before:
                self._outcome(stored, utc_text(stored.entry.at), LATER)
        self.ledger.flush()

    def _lasting(self) -> None:
        if self.since is None:
            return
        for kind in _LASTING:
            for row in PeriodEntries(log=self.log, until=self.since, kind=kind):
                self._event(row, utc_text(row.entry.at), BEFORE)

    def _broken(self, each: Broken) -> None:
        self.extent.see(each.index)
        self.extent.broken += 1
        self.ledger.add("broken", (each.index, each.id, each.at, each.why))

    def _within(self, stored: Stored, at: str) -> None:
        self.extent.see(stored.index)
        entry = stored.entry
        is_selected = self.matches is None or self.matches(entry)
        if is_selected:
            self.extent.selected += 1
            if self.observe is not None:
                self.observe(entry)
        if not is_selected:
            self._beside(stored, at, UNSELECTED)
        elif entry.kind is EntryKind.OUTCOME:
            self._outcome(stored, at, WITHIN)
        elif entry.kind is EntryKind.DECISION:
            self._decision(stored, WITHIN)
        else:
            self._event(stored, at, WITHIN)

    def _beside(self, stored: Stored, at: str, span: int) -> None:
        """An entry that is not counted itself, and may tell what became of one that is: written after the period, or not selected."""
        kind = stored.entry.kind
        if kind is EntryKind.OUTCOME:
            self._outcome(stored, at, LATER)
        elif kind is EntryKind.DECISION:
            self._decision(stored, LATER)
        elif kind in _TELLING[span]:
            self._event(stored, at, span)

    def _decision(self, stored: Stored, later: int) -> None:
        row = decision_row(stored, Fields(stored.entry.body))
        self._n += 1
        n, facts = self._n, Fields(stored.entry.body).text("facts")
        self.ledger.add("decision", (
            n, row.index, row.id, row.at, later, row.correlation, row.ref, row.action, row.kind, row.name, row.version,
            row.digest, row.size, row.files, row.actor, int(row.is_authenticated), row.environment, row.decision, row.mode,
            row.result, row.degraded, row.policy_digest, row.policy_revision, facts,
            ", ".join(dict.fromkeys(finding.rule for finding in row.objections)),
            ", ".join(dict.fromkeys(waiver for _, waiver in row.waived)), stored.entry.writer.instance,
            ", ".join(row.policies), row.findings_omitted, orjson.dumps(dict(row.mlflow)).decode() if row.mlflow else None,
        ))  # fmt: skip
        for rule, waiver in row.waived:
            self.ledger.add("waived", (n, rule, waiver))
        if later == WITHIN:
            self.sampler.offer(row.id)
            self._objections(n, row)
            self._facts.see(n, row, facts)

    def _objections(self, n: int, row: DecisionRow) -> None:
        for finding in row.objections:
            evidence = "; ".join(
                f"{fact} = {value}" + (f" ({source})" if source else "")
                for fact, value, source in finding.evidence
            )
            self.ledger.add("objection", (
                n, finding.rule, finding.effect, finding.severity, finding.message, finding.remediation,
                int(finding.waivable), evidence[:_MOST_TEXT],
            ))  # fmt: skip

    def _outcome(self, stored: Stored, at: str, later: int) -> None:
        body = Fields(stored.entry.body)
        row = outcome_row(stored, body)
        self.ledger.add("outcome", (
            stored.index, stored.entry.id, at, later, body.word("decision"), body.word("action"), row.status, row.count,
            row.size, row.error, row.digest, row.key_id, row.bundle, stored.entry.writer.instance,
            stored.entry.subject,
        ))  # fmt: skip

    def _event(self, stored: Stored, at: str, span: int) -> None:
        entry = stored.entry
        body = dict(entry.body)
        event = body.get("event")
        self.ledger.add("event", (
            stored.index, entry.id, at, span, entry.kind.value, entry.subject, entry.writer.instance,
            event if isinstance(event, str) else None, orjson.dumps(body).decode(),
        ))  # fmt: skip
        if entry.kind is EntryKind.REGISTRATION:
            self._registration(stored, at, span)

    def _registration(self, stored: Stored, at: str, span: int) -> None:
        row = registration(stored)
        body = Fields(body_of(stored.entry))
        self.ledger.add("registration", (
            row.index, row.id, at, span, row.event, row.name, row.version, row.digest, row.ref, row.alias, row.stage, row.actor,
            int(row.is_authenticated), body.text("decision"), row.before, row.name,
        ))  # fmt: skip
