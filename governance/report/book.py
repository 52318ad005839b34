"""A report as a value: what every format renders, and none adds to.

Promises: tables stream their rows anew each time and say how many there are, so that a format may show a few and still tell
the truth about the rest; the same cells reach a page, a file of values and a PDF. Does not: read a log (see
`governance.report.making`), or know a format.

A cell is text, a whole number, or None for what was not recorded. Times are RFC 3339 in UTC. Nothing in a cell is markup.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from governance.audit.checkpoint import Checkpoint
from governance.audit.note import NoteKey
from governance.audit.verification import Verification
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256
from governance.report.controls import FrameworkResult
from governance.report.entries import DecisionRow, Extent, PeriodEntries
from governance.report.selection import Selection

Cell: TypeAlias = "str | int | None"
Row: TypeAlias = "tuple[Cell, ...]"

_NAME = re.compile(r"[^a-z0-9.-]+")

NOTHING = "Nothing of this kind was recorded in the period."


class CellKind(enum.StrEnum):
    """How a column's cells are to be read, and so how they are best set."""

    TEXT = "text"
    TIME = "time"  # RFC 3339, UTC
    NUMBER = "number"
    SIZE = "size"  # bytes
    ID = "id"  # of an entry, a waiver, a rule: set in one width, never broken in search
    DIGEST = "digest"  # long, and may be shortened where the whole is at hand
    WORD = "word"  # one of a few of ours, such as a result: may carry a colour, and is worth a filter
    NAME = (
        "name"  # one of a few that others chose, such as an environment: worth a filter, and shown as it is
    )


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `name` is its key in files of values, `title` its heading. `minor` ones are for a closer look: a page may fold
    them away, as long as they are one step away."""

    name: str
    title: str
    kind: CellKind = CellKind.TEXT
    minor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells. `rows` makes a new iterator each time, which gives `count` rows; `note` is said below them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    count: int
    rows: Callable[[], Iterator[Row]]
    note: str | None = None
    empty: str = NOTHING
    """What is said in place of a table without rows."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line or colour of a chart; a value for each label, None where nothing is known."""

    name: str
    values: tuple[int | None, ...]
    tone: str = ""
    """The result of a decision whose colour it has, where its name is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values over a few labels, at most some hundred. `columns` are stacked, `lines` are not, a `bar` lies on its side."""

    name: str
    title: str
    kind: Literal["columns", "lines", "bar"]
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part. `lead` are its sentences, `pairs` its figures by name, `selection` the search behind it."""

    name: str
    title: str
    number: int = 0
    """Its place in the report, from 1."""
    lead: tuple[str, ...] = ()
    pairs: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    selection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRow:
    """Bytes that were used in an environment within the period. `decision` and `result` are of the last use, which a later refusal may
    follow.

    `facts` is the digest of that decision's facts, where its dependencies and licences are (`Report.evidence`).
    """

    environment: str
    ref: str
    kind: str
    name: str
    version: str | None
    digest: str | None
    size: int | None
    files: int | None
    uses: int
    first_used: str
    last_used: str
    decision: str
    result: str
    facts: Sha256 | None
    registered: str | None
    """Versions of registered models that these bytes are, with commas between them."""
    refused_since: int
    """Loads and downloads of the same bytes there that were refused after the last use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The log before the period's first entry, after its last one, and as it was when the report was made."""

    first: Checkpoint
    last: Checkpoint
    head: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What a report is called, what lies beside it, and how much of a long table a page of it shows."""

    title: str
    most_rows: int
    newest_first: bool
    rest: str
    """Where the rows are that a page leaves out; `{file}` is the table's own."""
    proof: str
    """What else there is to rely on, in the statement of integrity."""
    checking: str
    """What is said before the command that checks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report shows, whatever its format and edition."""

    edition: Edition
    origin: str
    made_at: str
    made_by: str
    since: str | None
    until: str | None
    """Exclusive."""
    selection: Selection
    """What narrows the report; an empty one where it is about all entries of the period."""
    software: tuple[tuple[str, str], ...]
    verification: Verification
    broken: int
    """Entries of the period whose bytes are not those that were recorded. They are in no figure but this."""
    checkpoints: Checkpoints
    vkey: str | None
    witnesses: tuple[NoteKey, ...]
    """All of them signed the report's checkpoint."""
    command: str
    """What checks the log of this report offline."""
    counts: Mapping[str, int]
    """Decisions by result (`governance.report.entries.RESULTS`), and by what else is asked first."""
    sections: tuple[Section, ...]
    decisions: Callable[[], Iterator[DecisionRow]]
    """Every decision of the period with its outcomes, oldest first."""
    entries: PeriodEntries
    extent: Extent
    """The part of the log that these cover."""
    sample: tuple[str, ...]
    """The ids of the decisions that were drawn, in the order of the draw."""
    outcome_ids: Callable[[str], tuple[str, ...]]
    """The outcome entries of a decision, by its id."""
    inventory: Callable[[], Iterator[InventoryRow]]
    controls: tuple[FrameworkResult, ...]
    evidence: Callable[[Sha256], bytes | None]
    """A document kept with the log, by its digest. None where there is none, or it was erased."""

    @property
    def filter(self) -> str | None:
        """The selection as text, where there is one."""
        return str(self.selection) or None

    @property
    def is_good(self) -> bool:
        """True where the log proves itself."""
        return self.verification.is_good and not self.broken

    def require_good(self) -> None:
        """Raise `AuditBrokenError` where it does not."""
        self.verification.require_good()
        if self.broken:
            raise AuditBrokenError(f"{self.broken:,} entries of the period are not what was recorded")

    def section(self, name: str) -> Section:
        """A section by its name."""
        return next(each for each in self.sections if each.name == name)


def table_file(section: Section, table: Table) -> str:
    """The file of a table, below the folder of all tables."""
    return f"{section.number:02d}-{_NAME.sub('-', table.name.lower())}.csv"
