"""Many recorded decisions judged once more, with a summary.

Promises: every decision of the selection is in exactly one count of the summary: the same, different, not replayable (its evidence
is gone), or broken; the first of each is told. Entries and evidence are checked as one by one (`governance.report.replay`); they are
only read many at a time. Does not: keep what was replayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from governance.audit.entry import EntryKind
from governance.audit.store import Row
from governance.errors import AuditBrokenError, NewerLogError
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.policy.allocating import collector_paused
from governance.report.evidence_page import PageOfEvidence
from governance.report.recorded import NotReplayableError
from governance.report.replay import PolicyCache, ReadableLog, Replayed, replay
from governance.report.search import SearchedLog, read_rows
from governance.report.seen import Seen, seen_at
from governance.report.selection import Selection

_PAGE = 64
_MOST_NAMED = 20
_FACTS = re.compile(rb'"facts":"([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One decision that did not come out the same, and why."""

    index: int | None
    id: str
    what: str


@dataclass(slots=True, kw_only=True)
class Summary:
    """What came out. The lists name the first of each."""

    same: int = 0
    different: int = 0
    gone: int = 0
    broken: int = 0
    differences: list[Remark] = field(default_factory=list)
    not_replayable: list[Remark] = field(default_factory=list)
    problems: list[Remark] = field(default_factory=list)

    @property
    def decisions(self) -> int:
        """All of them."""
        return self.same + self.different + self.gone + self.broken

    def add(self, other: Summary) -> None:
        """Take in what came out of later decisions."""
        self.same += other.same
        self.different += other.different
        self.gone += other.gone
        self.broken += other.broken
        self.differences += other.differences[: _MOST_NAMED - len(self.differences)]
        self.not_replayable += other.not_replayable[: _MOST_NAMED - len(self.not_replayable)]
        self.problems += other.problems[: _MOST_NAMED - len(self.problems)]


class BulkLog(ReadableLog, SearchedLog, Protocol):
    """The part of `AuditLog` that a replay of many reads."""


class BulkReplay:
    """Replays page by page. Policies are compiled once."""

    def __init__(self, log: BulkLog, selection: Selection) -> None:
        self._log = log
        self._is_meant = None if selection == Selection() else selection.matcher()
        self._page = PageOfEvidence(log)
        self._policies = PolicyCache(log)

    def run(self, numbers: Iterable[int]) -> Summary:
        """Replay the decisions among these entries, given in order."""
        made = Summary()
        for page in _pages(numbers):
            with collector_paused(worth_it=True):  # many small values, and no circles among them
                rows = read_rows(self._log.store, page)
                self._page.load(map(_facts_named, rows.values()))
                # What is made of one is thrown away before the next: it stays in the processor's cache.
                for number in page:
                    entry = self._read(number, rows.get(number), made)
                    if entry is not None:
                        self._one(entry, made)
        return made

    def _read(self, number: int, row: Row | None, made: Summary) -> Seen | None:
        """The entry, if it is a decision of the selection."""
        try:
            entry = seen_at(number, row)
        except NewerLogError as error:
            if row is not None and row.kind == EntryKind.DECISION:
                made.gone += 1
                _name(made.not_replayable, number, row.id, error.message)
            return None
        except AuditBrokenError as error:
            # What it was is not known any more: where its column says so, a decision.
            if row is None or row.kind == EntryKind.DECISION:
                made.broken += 1
                _name(made.problems, number, "?" if row is None else row.id, error.message)
            return None
        if entry.kind is not EntryKind.DECISION:
            return None
        return entry if self._is_meant is None or self._is_meant(entry.stored().entry) else None

    def _one(self, entry: Seen, made: Summary) -> None:
        try:
            done = replay(self._page, entry, policies=self._policies)
        except NotReplayableError as error:
            made.gone += 1
            _name(made.not_replayable, entry.seq, entry.id, error.message)
        except AuditBrokenError as error:
            made.broken += 1
            _name(made.problems, entry.seq, entry.id, error.message)
        else:
            if done.is_same:
                made.same += 1
            else:
                made.different += 1
                if len(made.differences) < _MOST_NAMED:
                    _name(made.differences, entry.seq, entry.id, first_difference(done))


def _facts_named(row: Row) -> Sha256 | None:
    """The digest of the facts that an entry seems to name. It is read before the entry is, to fetch many documents at once;
    what the entry does name counts, and is fetched by itself where it is another."""
    found = _FACTS.search(row.data) if row.kind == EntryKind.DECISION else None
    return None if found is None else Sha256(found[1].decode())


def first_difference(done: Replayed) -> str:
    """Where what would be recorded now differs first from what was."""
    recorded, got = orjson.loads(done.recorded), orjson.loads(done.got)
    found = _difference("", recorded, got)
    return "the bytes differ, and say the same" if found is None else found


def _difference(path: str, recorded: Json, got: Json) -> str | None:
    if isinstance(recorded, dict) and isinstance(got, dict):
        names = sorted({*recorded, *got})
        one_sided = next((name for name in names if name not in recorded or name not in got), None)
        if one_sided is not None:
            side = "was recorded" if one_sided in recorded else "comes out now"
            return f"`{f'{path}.{one_sided}' if path else one_sided}` is only in what {side}"
        pairs = [(f"{path}.{name}" if path else name, recorded[name], got[name]) for name in names]
    elif isinstance(recorded, list) and isinstance(got, list) and len(recorded) == len(got):
        pairs = [(f"{path}[{place}]", one, got[place]) for place, one in enumerate(recorded)]
    elif recorded == got and type(recorded) is type(got):
        return None
    else:
        return f"`{path}` was {_short(recorded)} and is now {_short(got)}"
    return next((found for pair in pairs if (found := _difference(*pair)) is not None), None)


def _short(value: Json) -> str:
    return orjson.dumps(value).decode()[:200]


def _name(remarks: list[Remark], index: int | None, entry_id: str, what: str) -> None:
    if len(remarks) < _MOST_NAMED:
        remarks.append(Remark(index=index, id=entry_id, what=what))


def _pages(numbers: Iterable[int]) -> Iterator[list[int]]:
    page: list[int] = []
    for number in numbers:
        if page and number // _PAGE != page[0] // _PAGE:
            yield page
            page = []
        page.append(number)
    if page:
        yield page
