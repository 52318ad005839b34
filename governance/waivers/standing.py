"""Where each waiver stands, and what the log adds to the files: uses, deleted waivers, break-glass, foreign rules."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.model.canonical import Json
from governance.policy.compile import CompiledPolicy
from governance.policy.documents import Waiver
from governance.signing.trust import TrustStore
from governance.waivers.drafting import NotWaivableError, read_refused
from governance.waivers.memory import COPIED, EVENTS, body_text, unreviewed
from governance.waivers.settling import Register, Settled, terms_digest
from governance.waivers.steps import Step


class State(enum.StrEnum):
    """Where a waiver stands now."""

    PENDING = "pending"  # asked for, not enough approvals yet
    SCHEDULED = "scheduled"  # approved, and starts later
    LIVE = "live"
    REOPENED = "reopened"  # approved, but the newest decision found something else than was known
    EXPIRED = "expired"
    REVOKED = "revoked"
    VOID = "void"  # something about it is not right, so it does not count


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How often a waiver let something through, and when last."""

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A waiver of which only the log's entries are left."""

    name: str
    rule: str
    ref: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """What the log adds to the files."""

    removed: tuple[Removed, ...] = ()
    glass: tuple[Stored, ...] = ()
    copied: tuple[Stored, ...] = ()


def state_of(settled: Settled, now: datetime) -> State:
    """Where a waiver stands."""
    waiver = settled.waiver
    if waiver.revoked_at is not None and now >= waiver.revoked_at:
        return State.REVOKED
    if now >= waiver.expires:
        return State.EXPIRED
    if waiver.void is not None:
        waiting = settled.request is not None and not settled.problems
        return State.PENDING if waiting and len(waiver.approved_by) < settled.needed else State.VOID
    return State.SCHEDULED if now < waiver.starts else State.LIVE


class Findings:
    """What the newest decision about a waiver's bytes found. Policies on record are compiled once."""

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log
        self._policies: dict[str, CompiledPolicy] = {}

    def state_of(self, settled: Settled, now: datetime) -> State:
        """Where a waiver stands, with what the log knows."""
        state = state_of(settled, now)
        return State.REOPENED if state is State.LIVE and self._has_changed(settled.waiver) else state

    def _has_changed(self, waiver: Waiver) -> bool:
        newest = None
        for stored in self._log.find(kind=EntryKind.DECISION, subject=waiver.ref) if self._log else ():
            artifact = stored.entry.body.get("artifact")
            if isinstance(artifact, Mapping) and artifact.get("digest") == waiver.digest:
                newest = stored.entry.id
        if newest is None or self._log is None:
            return False
        try:
            refused = read_refused(self._log, newest, self._policies)
        except NotWaivableError:
            return False  # erased under retention
        return refused.has_matched(waiver.rule) and refused.findings(waiver.rule) != waiver.findings


def uses_of(log: AuditLog | None, settled: Settled) -> Use:
    """The decisions about the waiver's artifact in which it was applied."""
    if log is None:
        return Use()
    name, rule = settled.waiver.name, settled.waiver.rule
    times = [
        stored.entry.at
        for stored in log.find(kind=EntryKind.DECISION, subject=settled.waiver.ref)
        if _applied(stored.entry.body, rule, name)
    ]
    return Use(count=len(times), last=max(times, default=None))


def _applied(body: Mapping[str, Json], rule: str, name: str) -> bool:
    verdict = body.get("verdict")
    rows = verdict.get("waived") if isinstance(verdict, Mapping) else None
    return isinstance(rows, list | tuple) and any(
        isinstance(row, Mapping) and row.get("rule") == rule and row.get("waiver") == name for row in rows
    )


def view_log(log: AuditLog | None, register: Register, *, trust: TrustStore, now: datetime) -> LogView:
    """What the log knows beside the register."""
    if log is None:
        return LogView()
    entries = list(log.find(kind=EntryKind.WAIVER))
    return LogView(
        removed=tuple(_removed(entries, register)),
        glass=unreviewed(log, entries, trust, now),
        copied=tuple(each for each in entries if each.entry.body["event"] == COPIED),
    )


def _removed(entries: list[Stored], register: Register) -> list[Removed]:
    known = {terms_digest(each.waiver) for each in register.waivers}
    steps = {EVENTS[step] for step in (Step.REQUEST, Step.APPROVE, Step.REVOKE)}
    found: dict[str, list[Stored]] = {}
    for each in entries:
        terms = body_text(each.entry.body, "terms")
        if each.entry.body["event"] in steps and terms not in known:
            found.setdefault(terms, []).append(each)
    return [
        Removed(
            name=body_text(rows[0].entry.body, "waiver"),
            rule=body_text(rows[0].entry.body, "rule"),
            ref=rows[0].entry.subject,
            events=tuple(dict.fromkeys(body_text(row.entry.body, "event") for row in rows)),
        )
        for rows in found.values()
    ]
