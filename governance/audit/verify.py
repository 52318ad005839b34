"""Does the log prove itself? One walk over all entries, recomputing everything from their bytes.

Checked, in this order, for each entry: 1. its place (no entry missing, none twice); 2. its bytes against its leaf hash;
3. the columns by which entries are found against its bytes, so that no entry hides from a search; 4. its writer's
number, so that no entry was lost on its way here. Then, for the whole: 5. the tree's root against the stored frontier,
and against every root remembered from elsewhere.

The caller must still bring these remembered roots (a checkpoint, an export, an anchor): a log that was rewritten from
its first entry on is consistent with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from governance.audit.entry import parse_entry
from governance.audit.merkle import Frontier, leaf_hash, perfect_root
from governance.audit.store import AuditStore, Row
from governance.errors import AuditBrokenError

_HEIGHT = 8
_STEP = 1 << _HEIGHT
_MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, at entry `index` where it has one."""

    index: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a walk over the log found. `notes` are oddities that are no break, such as a clock set back."""

    size: int
    root: bytes
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    compared: int = 0
    """How many roots remembered from elsewhere the log was held against."""

    @property
    def is_good(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems

    def require_good(self) -> None:
        """Raise `AuditBrokenError` that names the first bad entry."""
        if self.problems:
            first = self.problems[0]
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise AuditBrokenError(
                f"the audit log does not prove itself: {first}{more}",
                index=first.index,
                hint="Keep the file as it is, stop what writes to it, and compare it with an earlier export.",
            )


@dataclass(slots=True)
class _Writers:
    """Numbers seen of each writer's boot: the next one expected, and those that came early."""

    expected: dict[bytes, int] = field(default_factory=dict)
    early: dict[bytes, set[int]] = field(default_factory=dict)

    def see(self, writer: bytes, number: int) -> str | None:
        """Take note of one entry's number. Returns what is wrong with it."""
        wanted = self.expected.get(writer, 1)
        if number == wanted:
            wanted += 1
            waiting = self.early.get(writer)
            while waiting and wanted in waiting:
                waiting.remove(wanted)
                wanted += 1
            self.expected[writer] = wanted
            return None
        waiting = self.early.setdefault(writer, set())
        if number < wanted or number in waiting:
            return f"its writer used the number {number} twice"
        waiting.add(number)
        return None

    def missing(self) -> list[str]:
        """A sentence for each writer with a hole."""
        return [
            f"writer {writer.decode(errors='replace')} lacks number {self.expected.get(writer, 1)}"
            for writer, waiting in self.early.items()
            if waiting
        ]


class Walk:
    """Checks rows in order, and grows the tree. `roots` are remembered roots by tree size."""

    def __init__(self, roots: Mapping[int, bytes], *, start: Frontier | None = None) -> None:
        self.frontier = start or Frontier()
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self._is_whole = self.frontier.size == 0
        self._roots = dict(roots)
        self._writers = _Writers()
        self._leaves: list[bytes] = []
        self._latest = ""

    @property
    def size(self) -> int:
        """Entries walked over, with those before the start."""
        return self.frontier.size + len(self._leaves)

    def add(self, row: Row) -> None:
        """Check the next row."""
        index = self.size
        if row.seq != index:
            self._fault(index, f"the next entry found is {row.seq}: entries were removed or added")
        leaf = leaf_hash(row.data)
        if leaf != row.leaf:
            self._fault(index, "its bytes are not those that were recorded: the leaf hash differs")
        writer = _writer_if_as_indexed(row)
        if writer is None:
            self._explain(index, row)
        elif (what := self._writers.see(*writer)) is not None:
            self._fault(index, what)
        if row.at < self._latest:
            self.notes.append(
                Problem(index, f"its clock ({row.at}) is behind an earlier entry ({self._latest})")
            )
        else:
            self._latest = row.at
        self._leaves.append(leaf)
        if len(self._leaves) + (self.frontier.size & (_STEP - 1)) == _STEP or self.size in self._roots:
            self._grow()

    def finish(self, stored: Frontier | None) -> None:
        """Compare the whole with the stored frontier, once all rows are in."""
        self._grow()
        if stored is not None and stored != self.frontier:
            what = f"{stored.size} entries" if stored.size != self.frontier.size else "another root"
            self._fault(
                None, f"the log's head speaks of {what}; the entries give {self.frontier.size} and their root"
            )
        for size in self._roots:
            self._fault(
                size, f"a remembered tree had {size} entries; the log now ends at {self.frontier.size}"
            )
        # Numbers that are missing may lie before the start of a range, so only a whole log can lack one.
        if self._is_whole:
            for sentence in self._writers.missing():
                self._fault(None, f"{sentence}: an entry was lost before it reached the log")

    def _grow(self) -> None:
        leaves, self._leaves = self._leaves, []
        if len(leaves) == _STEP:
            self.frontier = self.frontier.extend_subtree(_HEIGHT, perfect_root(leaves))
        else:
            self.frontier = self.frontier.extend(leaves)
        remembered = self._roots.pop(self.frontier.size, None)
        if remembered is not None and remembered != self.frontier.root():
            self._fault(
                self.frontier.size - 1,
                f"up to here the log is not the one remembered with {self.frontier.size} entries: it was rewritten",
            )

    def _explain(self, index: int, row: Row) -> None:
        """The slow and exact look at an entry that is not as it should be."""
        try:
            entry = parse_entry(row.data, strict=True)
        except AuditBrokenError as error:
            self._fault(index, error.message)
            return
        claimed = {
            "id": entry.id,
            "kind": entry.kind,
            "subject": entry.subject,
            "correlation": entry.correlation,
        }
        wrong = [name for name, value in claimed.items() if getattr(row, name) != value]
        self._fault(index, f"it is filed under another {', '.join(wrong) or 'time'} than its bytes say")

    def _fault(self, index: int | None, what: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(index, what))


def verify_store(store: AuditStore, roots: Mapping[int, bytes] | None = None) -> Verification:
    """Walk over the whole log. `roots` are roots remembered from elsewhere, by tree size."""
    remembered = dict(roots or {})
    stored = store.frontier()
    walk = Walk({size: root for size, root in remembered.items() if size > 0})
    for row in store.rows(0, stored.size):
        walk.add(row)
    walk.finish(stored)
    return _result(walk, compared=len(remembered))


def _result(walk: Walk, *, compared: int) -> Verification:
    return Verification(
        size=walk.frontier.size,
        root=walk.frontier.root(),
        problems=tuple(walk.problems),
        notes=tuple(walk.notes[:_MOST_PROBLEMS]),
        compared=compared,
    )


def _writer_if_as_indexed(row: Row) -> tuple[bytes, int] | None:
    """The writer and its number, if the bytes say just what the columns say; None asks for a closer look.

    The bytes are canonical JSON with sorted keys, so `at` stands first, and all that follows the body is known but for
    the writer. Comparing the two ends takes a tenth of the time of parsing.
    """
    front, mark, number = row.data.rpartition(b',"n":')
    cut = front.rfind(b',"writer":{"boot":')
    end = (
        b',"correlation":' + orjson.dumps(row.correlation) + b',"id":"' + row.id.encode() + b'","kind":"'
        + row.kind.encode() + b'","subject":' + orjson.dumps(row.subject) + b',"v":1'
    )  # fmt: skip
    if not mark or not row.data.startswith(b'{"at":"' + row.at.encode() + b'","body":{') or cut < 0:
        return None
    if not front.endswith(end, 0, cut) or not number.endswith(b"}}") or not number[:-2].isdigit():
        return None
    return front[cut + 10 :], int(number[:-2])
