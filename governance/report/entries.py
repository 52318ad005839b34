"""The entries of a period as reports read them, and decisions as reports show them.

Promises: entries come one by one, page by page from the store, so that a log of any size is read in constant memory; one
whose bytes were changed is handed out as such, and never passes for a record. Does not: judge, or join entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from governance.audit.entry import Entry, EntryKind, parse_entry
from governance.audit.log import AuditLog, Stored
from governance.audit.merkle import leaf_hash
from governance.audit.store import Query, Row
from governance.errors import AuditBrokenError
from governance.model.request import utc_text
from governance.model.verdict import REFUSED_BY_DEFAULT
from governance.report.fields import Fields

REFUSING = frozenset({"block", "quarantine"})
"""The effects that say no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A row of the log that does not hold what was recorded there."""

    index: int | None
    id: str
    at: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodEntries:
    """The entries from `since` up to and without `until` (by their writers' clocks), read anew each time, in the log's order.

    `matches` narrows them to a selection. Iterating leaves broken ones out; `all` hands them out in their places.
    """

    log: AuditLog
    since: datetime | None = None
    until: datetime | None = None
    kind: EntryKind | None = None
    correlation: str | None = None
    matches: Callable[[Entry], bool] | None = None

    def __iter__(self) -> Iterator[Stored]:
        return (each for each in self.all() if isinstance(each, Stored))

    def all(self) -> Iterator[Stored | Broken]:
        """Broken entries too, whatever the selection: what they were is not known."""
        matches = self.matches
        for row in self.rows():
            each = _read(row)
            if matches is None or isinstance(each, Broken) or matches(each.entry):
                yield each

    def rows(self) -> Iterator[Row]:
        """The rows of the period as they lie, whatever the selection, unchecked."""
        since = None if self.since is None else utc_text(self.since)
        rows = self.log.store.find(Query(kind=self.kind, correlation=self.correlation, since=since))
        if self.until is None:
            return rows
        until = utc_text(self.until)
        return (row for row in rows if row.at < until)

    def test(self) -> Callable[[Row], bool]:
        """What tells whether a row of the log belongs here, a broken one of the period too."""
        since = "" if self.since is None else utc_text(self.since)
        until = "~" if self.until is None else utc_text(self.until)  # after every time
        matches = self.matches

        def wants(row: Row) -> bool:
            if not since <= row.at < until:
                return False
            each = None if matches is None else _read(row)
            return not isinstance(each, Stored) or matches is None or matches(each.entry)

        return wants


def _read(row: Row) -> Stored | Broken:
    try:
        entry = parse_entry(row.data)
    except AuditBrokenError as error:
        return Broken(index=row.seq, id=row.id, at=row.at, why=error.message)
    why = None
    if leaf_hash(row.data) != row.leaf:
        why = "its bytes are not those that were recorded: the leaf hash differs"
    elif (entry.id, entry.kind, entry.subject) != (row.id, row.kind, row.subject):
        why = "it is filed under another id, kind or subject than its bytes say"
    if why is not None:
        return Broken(index=row.seq, id=row.id, at=row.at, why=why)
    return Stored(index=row.seq, entry=entry, data=row.data)


@dataclass(slots=True, kw_only=True)
class Extent:
    """The part of the log that the period covers: leaf indexes from `start` up to and without `stop`."""

    start: int | None = None
    stop: int = 0
    entries: int = 0
    selected: int = 0
    broken: int = 0
    following: int | None = None
    """The first entry after the period."""

    def see(self, index: int | None) -> None:
        """One entry of the period."""
        self.entries += 1
        if index is not None:
            self.start = index if self.start is None else min(self.start, index)
            self.stop = max(self.stop, index + 1)

    def pass_by(self, index: int | None) -> None:
        """One entry after the period."""
        if index is not None:
            self.following = index if self.following is None else min(self.following, index)

    def bounds(self, size: int) -> tuple[int, int]:
        """Where the period begins and ends in a log of `size` entries; the same place twice for an empty one."""
        if self.start is not None:
            return self.start, min(self.stop, size)
        place = size if self.following is None else self.following
        return place, place

    @property
    def is_whole(self) -> bool:
        """True where no entry between the first and the last lies outside the period or the selection."""
        return self.start is not None and self.stop - self.start == self.selected


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
    def objections(self) -> tuple[FindingRow, ...]:
        """The findings, and before them the policy's default where it refuses and none of them does, as the rule `(default)`."""
        is_told = self.findings_omitted or any(finding.effect in REFUSING for finding in self.findings)
        if self.decision not in REFUSING or is_told:
            return self.findings
        default = FindingRow(
            rule="(default)", effect=self.decision, severity="unknown", message=REFUSED_BY_DEFAULT, remediation=None,
            waivable=False, evidence=(),
        )  # fmt: skip
        return (default, *self.findings)


RESULTS = ("refused", "quarantined", "would-block", "waived", "warned", "allowed")
"""Every `DecisionRow.result`, worst first."""


def decision_row(stored: Stored, body: Fields) -> DecisionRow:
    """A decision as a report shows it, without its outcomes."""
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


def outcome_row(stored: Stored, body: Fields) -> Outcome:
    """An outcome as a report shows it."""
    moved, signature = body.sub("moved"), body.sub("signature")
    files = moved.subs("files")
    alone = files[0].text("sha256") if files else None
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
