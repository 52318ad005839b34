"""Where to look in a log: entry numbers for terms, from an index that is caught up first.

Promises: only numbers of entries that said the terms when they were indexed, and of all such entries; the index is built anew,
once, where it turns out to be damaged. Does not: read entries. Whoever gets the numbers reads each entry and looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.audit.store import AuditStore
from governance.model.request import utc_text
from governance.report.index.build import Progress, catch_up
from governance.report.index.file import IndexFile, NoIndexError, remove
from governance.report.index.numbers import SEGMENT, SEGMENT_BITS, DamagedIndexError, Numbers, every


@dataclass(frozen=True, slots=True)
class Places:
    """Numbers of entries, by segment in order. `whole_segments` says that a time was asked for, of which the index knows
    no more than the earliest and the latest of each segment."""

    segments: tuple[tuple[int, Numbers], ...]
    whole_segments: bool = False

    def __len__(self) -> int:
        return sum(len(numbers) for _, numbers in self.segments)

    def count_beside(self, seen: Iterable[int]) -> int:
        """How many there are that were not seen, without going through them one by one."""
        held: dict[int, list[int]] = {}
        for number in seen:
            held.setdefault(number >> SEGMENT_BITS << SEGMENT_BITS, []).append(number % SEGMENT)
        known = (
            len(numbers & Numbers(frozenset(held[base]))) for base, numbers in self.segments if base in held
        )
        return len(self) - sum(known)

    def numbers(self, *, newest_first: bool = False) -> Iterator[int]:
        """All of them, in order."""
        for base, numbers in reversed(self.segments) if newest_first else self.segments:
            yield from map(base.__add__, numbers.descending() if newest_first else numbers.ascending())


class Index:
    """The index of one log. `notes` are what its user should be told."""

    def __init__(
        self, store: AuditStore, path: Path, *, progress: Progress = lambda _done, _all: None
    ) -> None:
        """Open the index and catch it up. Raises `NoIndexError` where there can be none."""
        self._store = store
        self._path = path
        self._progress = progress
        self.notes: list[str] = []
        self._open()

    def _open(self) -> None:
        caught = catch_up(self._store, self._path, progress=self._progress)
        self._file, self.size = caught.file, caught.size
        if caught.note is not None:
            self.notes.append(caught.note)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def broken(self) -> tuple[int, ...]:
        """Entries that could not be read when they were indexed: they may be meant by any question."""
        try:
            return self._file.broken()
        except DamagedIndexError as error:
            self._anew(error)
            return self._file.broken()

    def places(
        self,
        wanted: Sequence[Iterable[int]],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Places:
        """The entries that say at least one term of each of `wanted`. With none, all entries of the time."""
        alternatives = [tuple(terms) for terms in wanted]
        try:
            return self._places(self._file, alternatives, since, until)
        except DamagedIndexError as error:
            self._anew(error)
            try:
                return self._places(self._file, alternatives, since, until)
            except DamagedIndexError as again:
                raise NoIndexError(f"the index is damaged as soon as it is built: {again}") from again

    def with_wholes(self, terms: Iterable[int]) -> tuple[int, ...]:
        """The terms, and the wholes that contain one of them."""
        terms = tuple(terms)
        try:
            return self._with_wholes(terms)
        except DamagedIndexError as error:
            self._anew(error)
            return self._with_wholes(terms)

    def _with_wholes(self, terms: tuple[int, ...]) -> tuple[int, ...]:
        wholes = {whole for term in terms for whole in self._file.wholes(term)}
        return tuple(sorted({*terms, *wholes}))

    def _anew(self, error: DamagedIndexError) -> None:
        self.notes.append(f"the index was damaged and is built anew: {error}")
        self._file.close()
        remove(self._path)
        self._open()

    def _places(
        self,
        file: IndexFile,
        alternatives: Sequence[tuple[int, ...]],
        since: datetime | None,
        until: datetime | None,
    ) -> Places:
        first = "" if since is None else utc_text(since)
        last = None if until is None else utc_text(until)
        found = []
        for segment, (low, high) in sorted(file.spans().items()):
            if high < first or (last is not None and low >= last):
                continue
            base = segment << SEGMENT_BITS
            numbers: Numbers | None = None
            for terms in alternatives:
                said = file.places(segment, terms)
                numbers = said if numbers is None else numbers & said
                if not numbers:
                    break
            length = max(0, min(SEGMENT, self.size - base))  # others may have extended the file since
            if numbers is None:
                numbers = every(length)
            elif length < SEGMENT:
                numbers &= every(length)
            if numbers:
                found.append((base, numbers))
        return Places(tuple(found), whole_segments=since is not None or until is not None)
