"""Many recorded decisions judged once more, with a summary.

Promises: every decision of the selection is in exactly one count of the summary: the same, different, not replayable (its evidence
is gone), or broken; the first of each is told. Entries and evidence are checked as one by one (`governance.report.replay`); they are
only read many at a time. Does not: keep what was replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.policy.allocating import collector_paused
from governance.report.evidence_page import PageOfEvidence, facts_named
from governance.report.recorded import NotReplayableError
from governance.report.replay import PolicyCache, ReadableLog, Replayed, replay
from governance.report.search import SearchedLog, checked_at, read_rows
from governance.report.selection import Selection

_PAGE = 64
_MOST_NAMED = 20


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
        self._is_meant = selection.matcher()
        self._page = PageOfEvidence(log)
        self._policies = PolicyCache(log)

    def run(self, numbers: Iterable[int]) -> Summary:
        """Replay the decisions among these entries, given in order."""
        made = Summary()
        for page in _pages(numbers):
            with collector_paused(worth_it=True):  # many small values, and no circles among them
                entries = list(self._read(page, made))
                self._page.load(map(facts_named, entries))
                for stored in entries:
                    self._one(stored, made)
        return made

    def _read(self, numbers: Sequence[int], made: Summary) -> Iterator[Stored]:
        rows = read_rows(self._log.store, numbers)
        for number in numbers:
            row = rows.get(number)
            try:
                stored = checked_at(number, row)
            except AuditBrokenError as error:
                # What it was is not known any more: where its column says so, a decision.
                if row is None or row.kind == EntryKind.DECISION:
                    made.broken += 1
                    _name(made.problems, number, "?" if row is None else row.id, error.message)
                continue
            if stored.entry.kind is EntryKind.DECISION and self._is_meant(stored.entry):
                yield stored

    def _one(self, stored: Stored, made: Summary) -> None:
        entry = stored.entry
        try:
            done = replay(self._page, entry, policies=self._policies)
        except NotReplayableError as error:
            made.gone += 1
            _name(made.not_replayable, stored.index, entry.id, error.message)
        except AuditBrokenError as error:
            made.broken += 1
            _name(made.problems, stored.index, entry.id, error.message)
        else:
            if done.same:
                made.same += 1
            else:
                made.different += 1
                if len(made.differences) < _MOST_NAMED:
                    _name(made.differences, stored.index, entry.id, first_difference(done))


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
