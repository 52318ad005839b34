"""Entries of a log by selection: through the index, or by reading everything.

Promises: every entry handed out was read from the log now, agrees with its leaf hash, and is taken by `Selection.matches`; so the
index can only leave something out, and a search without it (`index=None`) reads every entry. An entry that cannot be trusted is
named in `broken`, whatever it says, since nobody can tell whether it is meant. Does not: verify the tree; `mlgov audit verify`
does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from governance.audit.log import Stored, checked
from governance.audit.store import AuditStore, ManyAtOnce, Query, Row
from governance.audit.verification import Problem
from governance.errors import AuditBrokenError
from governance.report.index.lookup import Index, Places
from governance.report.index.terms import UNINDEXED, term
from governance.report.selection import Selection

_PAGE = 256
_BATCH = 64
_MOST_BROKEN = 1_000


class SearchedLog(Protocol):
    """The part of `AuditLog` that is searched."""

    @property
    def store(self) -> AuditStore:
        """What the entries are kept in."""
        ...


class Search:
    """One search. Iterate over it for the entries, as far as they are wanted; then ask `more`."""

    def __init__(
        self, log: SearchedLog, selection: Selection, index: Index | None = None, *, newest_first: bool = True
    ) -> None:
        self._store = log.store
        self._selection = selection
        self._is_meant = selection.matcher()
        self._newest_first = newest_first
        self._index = index
        self._looked_at = 0
        self.broken: list[Problem] = []
        if index is not None:
            self._look_at_broken(index)
        self._places = self._candidates(index)
        self._hits = self._read()

    def __iter__(self) -> Iterator[Stored]:
        return self._hits

    def more(self) -> tuple[int, bool]:
        """How many entries follow those handed out so far, and whether that is exact. Without an index they are all read; with
        one they are only counted, and where a time was asked for, it may be fewer."""
        if self._places is None:
            return sum(1 for _ in self._hits), True
        left = len(self._places) - self._looked_at
        return left, left == 0 or not (self._places.whole_segments or self._selection.correlations)

    def _candidates(self, index: Index | None) -> Places | None:
        if index is None or self._selection.correlations:
            return None
        wanted = [
            [term(word, value) for value in values]
            for word, values in self._selection.wanted()
            if word not in UNINDEXED
        ]
        return index.places(wanted, since=self._selection.since, until=self._selection.until)

    def _read(self) -> Iterator[Stored]:
        if self._places is not None:
            return self._read_places(self._places)
        if self._index is not None:
            return self._read_sequences()
        return self._scan()

    def _read_places(self, places: Places) -> Iterator[Stored]:
        numbers = places.numbers(newest_first=self._newest_first)
        while wanted := list(itertools.islice(numbers, _BATCH)):
            rows = read_rows(self._store, wanted)
            for number in wanted:
                self._looked_at += 1
                yield from self._meant(number, rows.get(number))

    def _read_sequences(self) -> Iterator[Stored]:
        """The store finds the entries of a sequence itself."""
        rows = {
            row.seq: row
            for correlation in self._selection.correlations
            for row in self._store.find(Query(correlation=correlation))
            if row.seq is not None
        }
        for number in sorted(rows, reverse=self._newest_first):
            yield from self._meant(number, rows[number])

    def _scan(self) -> Iterator[Stored]:
        size = self._store.frontier().size
        starts = range(0, size, _PAGE)
        for start in reversed(starts) if self._newest_first else starts:
            stop = min(start + _PAGE, size)
            rows = {row.seq: row for row in self._store.rows(start, stop)}
            numbers: Sequence[int] = range(start, stop)
            for number in reversed(numbers) if self._newest_first else numbers:
                yield from self._meant(number, rows.get(number))

    def _meant(self, number: int, row: Row | None) -> Iterator[Stored]:
        try:
            stored = checked_at(number, row)
        except AuditBrokenError as error:
            if len(self.broken) < _MOST_BROKEN and all(each.index != number for each in self.broken):
                self.broken.append(Problem.of(number, error))
            return
        if self._is_meant(stored.entry):
            yield stored

    def _look_at_broken(self, index: Index) -> None:
        for number in index.broken()[:_MOST_BROKEN]:
            rows = read_rows(self._store, [number])
            try:
                checked_at(number, rows.get(number))
            except AuditBrokenError as error:
                self.broken.append(Problem.of(number, error))


def read_rows(store: AuditStore, numbers: Sequence[int]) -> dict[int, Row]:
    """The rows of at most a few hundred numbers."""
    if isinstance(store, ManyAtOnce):
        return {row.seq: row for row in store.rows_at(numbers) if row.seq is not None}
    return {number: row for number in numbers for row in store.rows(number, number + 1)}


def checked_at(number: int, row: Row | None) -> Stored:
    """The entry of a row. Raises `AuditBrokenError` where it is missing, or not what was recorded."""
    if row is None or row.seq != number:
        raise AuditBrokenError("the entry is missing from the log", index=number)
    return checked(row)
