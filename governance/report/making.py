"""From the audit log to a report of either edition: one pass over the period, one over the whole log, in constant memory.

Promises, in this order:

1. the whole log is verified, and what is broken is said first and left out of every figure;
2. every entry of the period is counted once; sums add up;
3. the report names the checkpoints before and after the period and the one it was made at;
4. where witnesses are demanded, each of them signs before the log says that it is handed out, and signs the report's checkpoint,
   or there is no report.

What the caller must still do: keep the report open (it is a context manager) while it is rendered, since its tables lie in a
temporary database; and hand out its folder with the proofs (`governance.report.folder`), without which it is only a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from governance.audit.checkpoint import Checkpoint, require_witnesses
from governance.audit.entry import Entry, EntryKind
from governance.audit.log import AuditLog
from governance.audit.merkle import root_of
from governance.audit.note import NoteKey
from governance.audit.verification import Problem, Verification
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.request import utc_text
from governance.report.book import Checkpoints, Report, Section
from governance.report.controls import FrameworkResult
from governance.report.deriving import Deriver
from governance.report.editions import COMPLIANCE, Outline
from governance.report.entries import DecisionRow, Extent, Outcome, PeriodEntries, decision_row
from governance.report.fields import Fields
from governance.report.filling import Filler, Sampler
from governance.report.ledger import Ledger
from governance.report.sections.context import Context
from governance.report.sections.population import counts_of
from governance.report.sections.usage import inventory_rows
from governance.report.selection import Selection

MOST_SAMPLED = 1_000
_SAY_IT = frozenset({"scope", "integrity", "overview"})
"""Sections which say themselves what they are about."""
_OF_THE_LOG = frozenset({"problems", "broken", "oddities"})
"""Tables of entries that no selection leaves out."""


class Controls(Protocol):
    """Counts, entry by entry, what the records show for controls."""

    def add(self, entry: Entry) -> None:
        """One entry of the report."""
        ...

    def results(
        self, *, within: Selection | None, since: datetime | None, until: datetime | None
    ) -> tuple[FrameworkResult, ...]:
        """What was found, once all are in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the report is to be about, and who asks. `until` is exclusive; `roots` are tree heads remembered from elsewhere;
    `controls` counts the records of controls."""

    outline: Outline = COMPLIANCE
    since: datetime | None = None
    until: datetime | None = None
    selection: Selection = Selection()  # noqa: RUF009 - frozen
    sample: int = 25
    seed: str = "1"
    made_by: str = "not recorded"
    software: tuple[tuple[str, str], ...] = ()
    vkey: str | None = None
    command: str = "python verify_log.py ."
    roots: Mapping[int, bytes] | None = None
    controls: Controls | None = None
    record: Mapping[str, Json] | None = None
    """What the log is to say of this report, before it is made. A log that does not prove itself is not written to."""
    cosign: Callable[[Checkpoint], Checkpoint] | None = None
    """Adds the signatures of `witnesses` to a head, or raises."""
    witnesses: tuple[NoteKey, ...] = ()

    def cosigned(self, head: Checkpoint) -> Checkpoint:
        """The head as it is handed out: with the signature of every witness that is demanded. Raises `AuditError`."""
        if self.cosign is None:
            return head
        signed = self.cosign(head)
        require_witnesses(signed.to_bytes(), self.witnesses)
        return signed


@contextmanager
def make_report(log: AuditLog, asked: Asked, *, now: datetime) -> Iterator[Report]:
    """The report, for as long as the context lasts. Raises `NewerLogError` where this program is too old for the log."""
    verification = log.verify(asked.roots)
    verification.require_readable()  # figures without what newer programs wrote would be wrong
    # Asked now and again below: a witness who does not sign leaves no record of a report that never was.
    asked.cosigned(log.checkpoint())
    if asked.record is not None and verification.is_good:
        verification, recorded_at = _record(log, asked.record, verification)
        now = max(now, recorded_at)
    narrowed = asked.selection != Selection()
    entries = PeriodEntries(
        log=log, since=asked.since, until=asked.until, matches=asked.selection.matcher() if narrowed else None
    )
    with Ledger() as ledger:
        sampler = Sampler(seed=asked.seed, size=min(asked.sample, MOST_SAMPLED))
        filler = Filler(
            log=log,
            ledger=ledger,
            since=asked.since,
            until=asked.until,
            matches=entries.matches,
            sampler=sampler,
            observe=None if asked.controls is None else asked.controls.add,
        )
        filler.fill()
        end = now if asked.until is None else min(now, asked.until)
        Deriver(log=log, ledger=ledger, now=end).derive()
        checkpoints, damage = _checkpoints(log, filler.extent, asked.cosigned(log.checkpoint()))
        verification = replace(verification, problems=(*verification.problems, *damage))
        controls = asked.controls
        context = Context(
            edition=asked.outline.edition,
            log=log,
            ledger=ledger,
            extent=filler.extent,
            verification=verification,
            checkpoints=checkpoints,
            since=None if asked.since is None else utc_text(asked.since),
            until=None if asked.until is None else utc_text(asked.until),
            selection=asked.selection,
            period=replace(asked.selection, since=asked.since, until=asked.until),
            made_at=utc_text(now),
            made_by=asked.made_by,
            software=asked.software,
            vkey=asked.vkey,
            witnesses=asked.witnesses,
            command=asked.command,
            seed=asked.seed,
            sample=sampler.ids(),
            controls=() if controls is None else controls.results(
                within=asked.selection if narrowed else None, since=asked.since, until=asked.until
            ),
            counts=counts_of(ledger),
        )  # fmt: skip
        sections = (make(context) for make in asked.outline.sections)
        yield _bound(context, entries, tuple(_narrowed(each, context.selection) for each in sections))


def _record(log: AuditLog, more: Mapping[str, Json], before: Verification) -> tuple[Verification, datetime]:
    """Put it on record that the log is handed out, and verify what came since. Returns the time of the record too."""
    body: dict[str, Json] = {**more, "size": before.size, "root": before.root.hex()}
    receipt = log.append(EntryKind.EXPORT, body, subject=log.origin, correlation=log.origin)
    more_found = log.verify_range(before.size, log.store.frontier().size)
    whole = replace(
        more_found,
        problems=(*before.problems, *more_found.problems),
        notes=(*before.notes, *more_found.notes),
        compared=before.compared,
    )
    stored = log.get(receipt.id)
    assert stored is not None  # it was just written
    return whole, stored.entry.at


def _narrowed(section: Section, selection: Selection) -> Section:
    """A section that says no more of the period than the entries it is about can show."""
    if selection == Selection():
        return section
    about = f"What follows is about the entries that match `{selection}`, and says nothing of the others."
    tables = (
        each
        if each.name in _OF_THE_LOG
        else replace(each, empty="Nothing of this kind is among the selected entries.")
        for each in section.tables
    )
    lead = section.lead if section.name in _SAY_IT else (about, *section.lead)
    return replace(section, lead=lead, tables=tuple(tables))


def _bound(at: Context, entries: PeriodEntries, sections: tuple[Section, ...]) -> Report:
    return Report(
        edition=at.edition,
        origin=at.log.origin,
        made_at=at.made_at,
        made_by=at.made_by,
        since=at.since,
        until=at.until,
        selection=at.selection,
        software=at.software,
        verification=at.verification,
        broken=at.extent.broken,
        checkpoints=at.checkpoints,
        vkey=at.vkey,
        witnesses=at.witnesses,
        command=at.command,
        counts=at.counts,
        sections=tuple(replace(section, number=place) for place, section in enumerate(sections, 1)),
        decisions=lambda: _decisions(at.ledger, entries),
        entries=entries,
        extent=at.extent,
        sample=at.sample,
        outcome_ids=lambda entry_id: tuple(
            row[0] for row in at.ledger.rows("SELECT id FROM outcome WHERE decision = ? ORDER BY seq", (entry_id,))
        ),
        inventory=lambda: inventory_rows(at.ledger),
        controls=at.controls,
        evidence=at.log.evidence,
    )  # fmt: skip


def _decisions(ledger: Ledger, entries: PeriodEntries) -> Iterator[DecisionRow]:
    for stored in replace(entries, kind=EntryKind.DECISION):
        row = decision_row(stored, Fields(stored.entry.body))
        found = ledger.rows(
            "SELECT at, status, count, bytes, error, digest, key_id, bundle FROM outcome WHERE decision = ? ORDER BY seq",
            (row.id,),
        )
        for at, status, count, size, error, digest, key_id, bundle in found:
            row.outcomes.append(
                Outcome(
                    at=at, status=status, count=count, size=size, error=error, digest=digest, key_id=key_id, bundle=bundle
                )
            )  # fmt: skip
        yield row


def _checkpoints(log: AuditLog, extent: Extent, head: Checkpoint) -> tuple[Checkpoints, tuple[Problem, ...]]:
    """The log before and after the period. Where the tree's stored hashes are damaged, the head stands in, with what is wrong."""

    def at(size: int) -> Checkpoint:
        if size == head.size:
            return head
        return Checkpoint(origin=log.origin, size=size, root=root_of(log.store.node, size))

    start, stop = extent.bounds(head.size)
    try:
        return Checkpoints(first=at(start), last=at(stop), head=head), ()
    except AuditBrokenError as error:
        return Checkpoints(first=head, last=head, head=head), (Problem(None, error.message),)
