"""What the sections are made from, and the short way from a query to a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from governance.audit.log import AuditLog
from governance.audit.note import NoteKey
from governance.audit.verification import Verification
from governance.model.request import parse_utc, utc_text
from governance.report.book import NOTHING, Chart, Checkpoints, Column, Edition, Row, Series, Table
from governance.report.controls import FrameworkResult
from governance.report.entries import Extent
from governance.report.ledger import Ledger
from governance.report.selection import Selection

NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a section may look at."""

    edition: Edition
    log: AuditLog
    ledger: Ledger
    extent: Extent
    verification: Verification
    checkpoints: Checkpoints
    since: str | None
    until: str | None
    selection: Selection
    period: Selection
    """The selection together with the period."""
    made_at: str
    made_by: str
    software: tuple[tuple[str, str], ...]
    vkey: str | None
    witnesses: tuple[NoteKey, ...]
    command: str
    seed: str
    sample: tuple[str, ...]
    controls: tuple[FrameworkResult, ...]
    counts: Mapping[str, int]
    """See `Report.counts`."""

    @property
    def order(self) -> str:
        """How the database is to order what has a time."""
        return "DESC" if self.edition.newest_first else "ASC"

    @property
    def end(self) -> str:
        """The end of the period, as far as it has come."""
        return self.made_at if self.until is None else min(self.until, self.made_at)

    def search(self, **words: object) -> str:
        """The command that finds the records behind a section."""
        return replace(self.period, **words).as_command()  # type: ignore[arg-type]  # names and values of a selection


def query_table(
    ledger: Ledger,
    name: str,
    title: str,
    columns: Sequence[Column],
    sql: str,
    *,
    values: Sequence[object] = (),
    each: Callable[[tuple[Any, ...]], Row] | None = None,
    note: str | None = None,
    empty: str = NOTHING,
    minor: str = "",
) -> Table:
    """The rows of a query as a table. `each` makes a row of what the query gives; `minor` names columns for a closer look."""

    def rows() -> Iterator[Row]:
        found = ledger.rows(sql, values)
        return found if each is None else map(each, found)

    return Table(
        name=name,
        title=title,
        columns=_columns(columns, minor),
        count=ledger.count(f"SELECT count(*) FROM ({sql})", values),
        rows=rows,
        note=note,
        empty=empty,
    )


def fixed_table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    note: str | None = None,
    empty: str = NOTHING,
    minor: str = "",
) -> Table:
    """A few rows that are at hand."""
    kept = tuple(rows)
    return Table(
        name=name,
        title=title,
        columns=_columns(columns, minor),
        count=len(kept),
        rows=lambda: iter(kept),
        note=note,
        empty=empty,
    )


def _columns(columns: Sequence[Column], minor: str) -> tuple[Column, ...]:
    names = frozenset(minor.split())
    return tuple(replace(column, minor=column.name in names) for column in columns)


def bar_chart(
    name: str, title: str, found: Sequence[tuple[Any, ...]], *, unit: str, series: str, fewest: int = 1
) -> tuple[Chart, ...]:
    """A bar for each word with its number; no chart where there are fewer than that."""
    if len(found) < fewest:
        return ()
    labels, values = tuple(row[0] for row in found), tuple(row[1] for row in found)
    return (
        Chart(name=name, title=title, kind="bar", labels=labels, series=(Series(series, values),), unit=unit),
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 entry`, `2,300 entries`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def span_words(seconds: float) -> str:
    """A stretch of time, roughly, for people."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and word != "minute"):
            return counted(int(seconds // size), word)
    return counted(int(seconds), "second")


_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (1 / 60, 1 / 12, 1 / 4, 1, 2, 5, 15, 30, 60, 180, 360, 720, 1440, 10_080)
)
_MOST_SLOTS = 96
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday


@dataclass(frozen=True, slots=True)
class Steps:
    """A stretch of time in at most 96 equal steps, for charts."""

    start: datetime
    step: timedelta
    count: int

    @property
    def prefix(self) -> int:
        """How much of a time's text says in which step it lies, give or take; what charts are grouped by in the database."""
        if self.step >= timedelta(days=1):
            return 10
        return 16 if self.step >= timedelta(minutes=1) else 19

    def place(self, at: str) -> int:
        """The step of a time, or of the beginning of one's text."""
        full = at + "0000-01-01T00:00:00.000000Z"[len(at) :]
        return min(max(int((parse_utc(full) - self.start) / self.step), 0), self.count - 1)

    def labels(self) -> tuple[str, ...]:
        """The beginning of each step."""
        cut = 10 if self.step >= timedelta(days=1) else 16 if self.step >= timedelta(minutes=1) else 19
        return tuple(
            utc_text(self.start + place * self.step)[:cut].replace("T", " ") for place in range(self.count)
        )


def steps_between(first: str, last: str) -> Steps:
    """Steps that hold both times."""
    one, other = parse_utc(first), parse_utc(last)
    step = next(
        (step for step in _STEPS if (other - one) / step < _MOST_SLOTS - 1), (other - one) / (_MOST_SLOTS - 2)
    )
    start = one - timedelta(seconds=(one - _EPOCH) % step / timedelta(seconds=1))
    return Steps(start=start, step=step, count=int((other - start) / step) + 1)


def columns_chart(
    name: str, title: str, steps: Steps, names: Sequence[str], found: Iterator[tuple[Any, ...]]
) -> Chart:
    """Decisions in columns over time, each in parts of these names. What was `found` is time, name and number."""
    counts = {name: [0] * steps.count for name in names}
    for start, part, count in found:
        counts[part][steps.place(start)] += count
    series = tuple(Series(part, tuple(values)) for part, values in counts.items() if any(values))
    return Chart(
        name=name, title=title, kind="columns", labels=steps.labels(), series=series, unit="decisions"
    )
