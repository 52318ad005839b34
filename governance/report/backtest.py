"""A policy over the recorded decisions, with the facts as they were: what would have been newly blocked and newly allowed.

Promises: reads the log once, page by page, and holds no more than its tables, which are bounded; every decision of the
period is counted once, among those judged or among those that could not be, with why. Does not: act, record, or gather a
fact that nobody gathered then: what rests on such a fact is counted apart (`blind`), since it says little.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from governance.audit.entry import VERSION, Entry, EntryKind, entry_of
from governance.audit.merkle import leaf_hash
from governance.audit.store import Query, Row
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256
from governance.model.recorded_facts import Keys
from governance.model.request import utc_text
from governance.model.verdict import Effect, Verdict
from governance.policy.allocating import collector_paused
from governance.policy.compile import CompiledPolicy
from governance.report.evidence_page import PagedLog, PageOfEvidence, digest_in
from governance.report.recorded import NotReplayableError, Recorded, judged_facts, read_decision
from governance.report.replay import verdict_again

OTHERS = "(others)"
_PAGE = 64
_MOST_KEYS = 10_000
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One decision that would come out otherwise."""

    id: str
    at: str
    ref: str
    actor: str
    environment: str
    action: str
    before: str
    after: str
    rules: tuple[str, ...]
    """The rules that object now, or objected then where nothing does now."""


@dataclass(slots=True)
class Side:
    """All that would move one way."""

    count: int = 0
    actors: Counter[str] = field(default_factory=Counter)
    artifacts: Counter[str] = field(default_factory=Counter)
    environments: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    examples: list[Moved] = field(default_factory=list)

    def add(self, moved: Moved) -> None:
        """Count one."""
        self.count += 1
        for table, key in (
            (self.actors, moved.actor),
            (self.artifacts, moved.ref),
            (self.environments, moved.environment),
        ):
            _count(table, key)
        for rule in moved.rules:
            _count(self.rules, rule)
        if len(self.examples) < _MOST_NAMED:
            self.examples.append(moved)


@dataclass(slots=True, kw_only=True)
class Backtest:
    """What a policy would have made of a period. `days` are the decisions by day: same, newly blocked, newly allowed, other;
    `blind` the facts that newly blocked decisions rest on and that nobody gathered then."""

    policy: Sha256
    revision: int | None
    names: tuple[str, ...]
    since: str | None
    until: str | None
    decisions: int = 0
    same: int = 0
    blocked: Side = field(default_factory=Side)
    allowed: Side = field(default_factory=Side)
    shifted: Counter[str] = field(default_factory=Counter)
    days: dict[str, list[int]] = field(default_factory=dict)
    blind: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    broken_count: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    @property
    def judged(self) -> int:
        """How many of the decisions could be judged."""
        return self.decisions - self.broken_count - self.gone - sum(self.versions.values())

    @property
    def changed(self) -> int:
        """How many would be newly blocked or newly allowed."""
        return self.blocked.count + self.allowed.count


def backtest(
    log: PagedLog, policy: CompiledPolicy, *, since: datetime | None, until: datetime | None = None
) -> Backtest:
    """Judge every recorded decision of the period by `policy`. See `run_backtest` to watch it."""
    *_, made = run_backtest(log, policy, since=since, until=until, every=sys.maxsize)
    return made


def run_backtest(
    log: PagedLog,
    policy: CompiledPolicy,
    *,
    since: datetime | None,
    until: datetime | None = None,
    every: int = 1_000,
) -> Iterator[Backtest]:
    """The same, giving the tables (one object that grows) at the start, after the page in which every so many decisions
    are full, and at the end."""
    names = tuple(part.policy.name for part in policy.parts)
    last = None if until is None else utc_text(until)
    first = None if since is None else utc_text(since)
    made = Backtest(policy=policy.digest, revision=policy.revision, names=names, since=first, until=last)
    yield made
    page, only = PageOfEvidence(log), judged_facts(policy)
    rows = log.store.find(Query(kind=EntryKind.DECISION, since=first))
    interrupted: BaseException | None = None
    while interrupted is None:
        some, interrupted = _take(rows)
        if not some:
            break
        before = made.decisions // every
        with collector_paused(worth_it=True):  # many small values, and no circles among them
            read = [(row, _document(row)) for row in some if last is None or row.at < last]
            page.load([_facts_named(document) for _, document in read])
            for each in read:
                made.decisions += 1
                _row(page, policy, only, each, made)
        if made.decisions // every != before:
            yield made
    if interrupted is not None:
        raise interrupted
    yield made


def _take(rows: Iterator[Row]) -> tuple[list[Row], BaseException | None]:
    """The next page, and what stopped the reading: whatever was read before that is still judged."""
    page: list[Row] = []
    try:
        page.extend(itertools.islice(rows, _PAGE))
    except BaseException as error:  # noqa: BLE001 - raised again once the page is judged
        return page, error
    return page, None


def _document(row: Row) -> Any:
    """What an entry's bytes say. None where they are not JSON."""
    try:
        return orjson.loads(row.data)
    except ValueError:
        return None


def _facts_named(document: Any) -> Sha256 | None:
    body = document.get("body") if isinstance(document, dict) else None
    return digest_in(body, "facts") if isinstance(body, dict) else None


def _row(
    log: PageOfEvidence, policy: CompiledPolicy, only: Keys, read: tuple[Row, Any], made: Backtest
) -> None:
    row, document = read
    try:
        if not isinstance(document, dict):
            raise AuditBrokenError("not an entry: its bytes are not a JSON object")  # noqa: TRY301 - counted below
        version = document.get("v")
        if version != VERSION:
            made.versions[str(version)] += 1
            return
        recorded = read_decision(log, _checked(row, document), lambda _: only)
        before = Effect[recorded.decision.upper()]
    except NotReplayableError:
        made.gone += 1
        return
    except (AuditBrokenError, KeyError) as error:
        made.broken_count += 1
        if len(made.broken) < _MOST_NAMED:
            message = error.message if isinstance(error, AuditBrokenError) else f"no verdict {error}"
            made.broken.append(f"entry {row.seq}: {message}")
        return
    _judge(policy, recorded, before, verdict_again(log, recorded, policy), made)


def _judge(
    policy: CompiledPolicy, recorded: Recorded, before: Effect, verdict: Verdict, made: Backtest
) -> None:
    after = verdict.decision
    day = made.days.setdefault(utc_text(recorded.request.at)[:10], [0, 0, 0, 0])
    if after is before:
        made.same += 1
        day[0] += 1
    elif (after >= Effect.QUARANTINE) is (before >= Effect.QUARANTINE):
        made.shifted[f"{before.word} to {after.word}"] += 1
        day[3] += 1
    elif after >= Effect.QUARANTINE:
        day[1] += 1
        made.blocked.add(_moved(recorded, before, verdict))
        read = policy.plan_for(recorded.request).reads()
        for fact in read - recorded.facts.record.keys():
            if fact in policy.catalogue:  # and neither a slot of a message nor a property nobody set
                _count(made.blind, fact)
    else:
        day[2] += 1
        made.allowed.add(_moved(recorded, before, verdict))


def _moved(recorded: Recorded, before: Effect, verdict: Verdict) -> Moved:
    entry, actor = recorded.entry, recorded.entry.body.get("actor")
    if verdict.decision >= Effect.QUARANTINE:
        rules = tuple(one.rule for one in verdict.findings if one.effect >= Effect.QUARANTINE) or (
            "(default)",
        )
    else:
        rules = _objected(recorded)
    return Moved(
        id=entry.id,
        at=utc_text(recorded.request.at),
        ref=entry.subject,
        actor=str(actor.get("name", "?")) if isinstance(actor, Mapping) else "?",
        environment=recorded.request.environment,
        action=recorded.request.action.value,
        before=before.word,
        after=verdict.decision.word,
        rules=rules[:_MOST_NAMED],
    )


def _objected(recorded: Recorded) -> tuple[str, ...]:
    findings = recorded.verdict.get("findings")
    rules = [
        str(one.get("rule"))
        for one in (findings if isinstance(findings, list) else [])
        if isinstance(one, Mapping) and one.get("effect") in {"quarantine", "block"}
    ]
    return tuple(rules) or ("(default)",)


def _checked(row: Row, document: Any) -> Entry:
    entry = entry_of(document)
    if leaf_hash(row.data) != row.leaf or (entry.id, entry.subject) != (row.id, row.subject):
        raise AuditBrokenError("the entry was changed after it was recorded")
    return entry


def _count(table: Counter[str], key: str) -> None:
    table[key if key in table or len(table) < _MOST_KEYS else OTHERS] += 1
