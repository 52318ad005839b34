"""Does the log prove itself? One walk over all entries, recomputing everything from their bytes.

Checked, in this order, for each entry: 1. its place (no entry missing, none twice); 2. its bytes against its leaf hash;
3. the columns by which entries are found against its bytes, so that no entry hides from a search; 4. its writer's
number, so that no entry was lost on its way here: where the writer is a client, it is the client's word that there was one, and
so a note. Then, for the whole: 5. the tree's root against the stored frontier,
and against every root remembered from elsewhere.

An entry of a kind or version that this program does not know is checked as far as it goes, and a problem that `is_newer`: the log is then
neither good nor broken.

The caller must still bring these remembered roots (a checkpoint, an export, an anchor): a log that was rewritten from
its first entry on is consistent with itself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import orjson

from governance.audit.entry import KINDS, Writer, parse_entry
from governance.audit.merkle import Frontier, leaf_hash, leaf_hashes, perfect_root, root_of
from governance.audit.stamp import is_client
from governance.audit.store import AuditStore, FramedPages, FramedRow, Row, framed_row
from governance.audit.verification import Problem, Verification
from governance.audit.writer_numbers import Ahead, WriterNumbers, named
from governance.errors import AuditBrokenError, NewerLogError
from governance.model.request import parse_utc, utc_text

_HEIGHT = 8
_STEP = 1 << _HEIGHT
_MOST_PROBLEMS = 100
_FRONT = b'{"at":"%b","body":{'
_LONGEST_TURN = timedelta(seconds=30)
"""Entries bear the time at which they were made, and then wait for their turn beside those of other writers, at most as long
as a store waits before it refuses."""


class Walk:
    """Checks rows in order, and grows the tree. `roots` are remembered roots by tree size."""

    def __init__(self, roots: Mapping[int, bytes], *, start: Frontier | None = None) -> None:
        self.frontier = start or Frontier()
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.newer: list[Problem] = []
        self._is_blind = False
        self._is_whole = self.frontier.size == 0
        self._roots = dict(roots)
        self._writers = WriterNumbers()
        self._leaves: list[bytes] = []
        self._latest = ""

    @property
    def size(self) -> int:
        """Entries walked over, with those before the start."""
        return self.frontier.size + len(self._leaves)

    def add_page(self, page: Sequence[FramedRow], rows: Callable[[], Iterable[Row]]) -> None:
        """Check the next entries, at most 256 and together within one tile: fast while all is well, else one by one. `rows` are
        the same again, with their columns."""
        seqs, fronts, backs, filed, datas = zip(*page, strict=True) if page else ((),) * 5
        leaves = leaf_hashes(datas)
        plain = (
            not self._leaves
            and self._follow_on(seqs)
            and leaves == list(filed)
            and self._are_as_filed(seqs, fronts, backs, datas)
        )
        if not plain:
            for row in rows():
                self.add(row)
            return
        self._leaves = leaves
        self._grow()

    def add(self, row: Row) -> None:
        """Check the next row, and say what is wrong with it."""
        index = self.size
        if row.seq != index:
            self._fault(index, f"the next entry found is {row.seq}: entries were removed or added")
        leaf = leaf_hash(row.data)
        if leaf != row.leaf:
            self._fault(index, "its bytes are not those that were recorded: the leaf hash differs")
        try:
            entry = parse_entry(row.data, strict=True)
        except NewerLogError as error:
            self._see_newer(index, row, error.message)
        except AuditBrokenError as error:
            self._fault(index, error.message)
        else:
            claimed = (entry.id, entry.kind.value, entry.subject, entry.correlation, utc_text(entry.at))
            self._compare(index, row, claimed, entry.writer)
        if row.at < self._latest:
            self._note(*_clock_notes(index, row.at, self._latest))
        self._latest = max(self._latest, row.at)
        self._leaves.append(leaf)
        if self.size % _STEP == 0 or self.size in self._roots:
            self._grow()

    def _see_newer(self, index: int, row: Row, what: str) -> None:
        """An entry of which this program knows no more than what all entries have so far: columns and number are checked, where it
        has them."""
        if len(self.newer) < _MOST_PROBLEMS:
            self.newer.append(Problem(index, what, is_newer=True))
        document = orjson.loads(row.data)
        try:
            claimed = tuple(document[name] for name in ("id", "kind", "subject", "correlation", "at"))
            boot, instance, n = (document["writer"][name] for name in ("boot", "instance", "n"))
            writer = Writer(boot=str(boot), instance=str(instance), n=int(n))
        except (KeyError, TypeError, ValueError):
            self._is_blind = True
        else:
            self._compare(index, row, claimed, writer)

    def _compare(self, index: int, row: Row, claimed: tuple[str, ...], writer: Writer) -> None:
        """The columns by which the entry is found, and its writer's number."""
        filed = (row.id, row.kind, row.subject, row.correlation, row.at)
        names = ("id", "kind", "subject", "correlation", "time")
        wrong = [name for name, said, found in zip(names, claimed, filed, strict=True) if said != found]
        if wrong:
            self._fault(index, f"it is filed under another {', '.join(wrong)} than its bytes say")
        what = self._writers.see(named(writer), writer.n)
        if what is not None:
            self._about_numbers(index, writer, what)

    def _follow_on(self, seqs: Sequence[int]) -> bool:
        """Whether these are the next entries, and no remembered tree ends within them."""
        start = self.size
        stop = start + len(seqs)
        return list(seqs) == list(range(start, stop)) and not any(start < size < stop for size in self._roots)

    def _are_as_filed(
        self, seqs: Sequence[int], fronts: Sequence[bytes], backs: Sequence[bytes], datas: Sequence[bytes]
    ) -> bool:
        """Whether bytes, columns and numbers agree, so that every row is just what `add` would accept.

        The bytes are canonical JSON with sorted keys, so `at` stands first, and all that follows the body is known but
        for the writer, who is mostly the one before. Comparing both ends takes a fraction of the time of parsing. Texts
        with a backslash are left to `add`: they may be what others are escaped to. Without one, no column holds a quote, since
        the ends have as many of them as the bytes, and each stands for itself.
        """
        joined = b"".join(backs)
        if (
            b"\\" in joined
            or not _are_known(joined, len(backs))
            or not all(map(bytes.startswith, datas, fronts))
        ):
            return False
        seen = self._writers.peek()
        before = seen.before_number
        ends = [b"%b%b%d}}" % (back, before, number) for number, back in enumerate(backs, seen.number)]
        if all(map(bytes.endswith, datas, ends)):
            seen.number += len(ends)
        elif not self._in_turns(seen, backs, datas):
            return False
        self._note_clock(seqs, fronts)
        self._writers.accept(seen)
        return True

    def _in_turns(self, seen: Ahead, backs: Sequence[bytes], datas: Sequence[bytes]) -> bool:
        """`_are_as_filed`, where several writers take turns."""
        number, before = seen.number, seen.before_number
        for back, data in zip(backs, datas, strict=True):
            if not data.endswith(b"%b%b%d}}" % (back, before, number)):
                seen.number = number
                if not seen.turn_to(data):
                    return False
                number, before = seen.number, seen.before_number
                if not data.endswith(b"%b%b%d}}" % (back, before, number)):
                    return False
            number += 1
        seen.number = number
        return True

    def _note_clock(self, seqs: Sequence[int], fronts: Sequence[bytes]) -> None:
        """A word on each time that is behind an earlier one. Fronts are in the order of the times in them."""
        latest = _FRONT % self._latest.encode("utf-8", "replace")
        in_order = [latest, *fronts]
        if in_order != sorted(in_order):
            for seq, front in zip(seqs, fronts, strict=True):
                if front < latest:
                    self._note(*_clock_notes(seq, _time_in(front), _time_in(latest)))
                latest = max(latest, front)
        self._latest = _time_in(max(in_order))

    def finish(self, stored: Frontier | None) -> None:
        """Compare the whole with the stored frontier, once all rows are in."""
        self._grow()
        if stored is not None and stored != self.frontier:
            size = self.frontier.size
            self._fault(
                None,
                f"the log's head counts {stored.size} entries, and there are {size}"
                if stored.size != size
                else f"the log's head names another root hash than its {size} entries give",
            )
        for size in self._roots:
            self._fault(
                self.frontier.size,  # the first one that is missing
                f"a remembered tree had {size} entries; the log now ends at {self.frontier.size}",
            )
        # Numbers that are missing may lie before the start of a range, so only a whole log can lack one.
        if self._is_whole and not self._is_blind:
            for writer, number in self._writers.missing():
                lost = "an entry was lost before it reached the log"
                why = f"{lost}, or never was" if is_client(writer) else lost
                self._about_numbers(
                    None, writer, f"writer {writer.instance}, run {writer.boot}, lacks number {number}: {why}"
                )

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

    def _about_numbers(self, index: int | None, writer: Writer, what: str) -> None:
        """What is wrong with a writer's numbers. A client counts as it likes, and must not keep the log from proving itself."""
        if is_client(writer):
            self._note(Problem(index, what))
        else:
            self._fault(index, what)

    def _fault(self, index: int | None, what: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(index, what))

    def _note(self, *notes: Problem) -> None:
        self.notes += notes[: _MOST_PROBLEMS - len(self.notes)]


def verify_store(
    store: AuditStore,
    roots: Mapping[int, bytes] | None = None,
    *,
    passing: Callable[[Sequence[FramedRow]], None] | None = None,
) -> Verification:
    """Walk over the whole log. `roots` are roots remembered from elsewhere, by tree size. `passing` is given the rows, a page at a
    time, by the way: it need not read them again."""
    remembered = {size: root for size, root in (roots or {}).items() if size > 0}
    stored = store.frontier()
    walk = Walk(remembered)
    _walk(walk, store, 0, stored.size, passing)
    walk.finish(stored)
    return _result(walk, compared=len(remembered))


def verify_range(store: AuditStore, start: int, stop: int) -> Verification:
    """Walk over the entries from `start` up to but without `stop`, and fit them into the tree of `stop` entries.

    The hashes of what lies before are taken from the store: the rest of the log is not read. Raises `ValueError` for a
    range that the log does not have.
    """
    if not 0 <= start <= stop <= store.frontier().size:
        raise ValueError(f"the log has no entries {start} to {stop}")
    before, place = [], 0
    for level in reversed(range(start.bit_length())):
        if start >> level & 1:
            before.append(store.node(level, place >> level))
            place += 1 << level
    walk = Walk({stop: root_of(store.node, stop)} if stop else {}, start=Frontier(start, tuple(before)))
    _walk(walk, store, start, stop)
    walk.finish(None)
    return _result(walk, compared=0)


def _walk(
    walk: Walk,
    store: AuditStore,
    start: int,
    stop: int,
    passing: Callable[[Sequence[FramedRow]], None] | None = None,
) -> None:
    if isinstance(store, FramedPages):
        for page in store.framed_pages(start, stop):
            end = min(start - start % _STEP + _STEP, stop)
            walk.add_page(page, functools.partial(store.rows, start, end))
            if passing is not None:
                passing(page)
            start = end
        return
    rows = store.rows(start, stop)
    while some := list(itertools.islice(rows, _STEP - start % _STEP)):
        framed = [framed_row(row) for row in some]
        walk.add_page(framed, functools.partial(iter, some))
        if passing is not None:
            passing(framed)
        start += len(some)


def _result(walk: Walk, *, compared: int) -> Verification:
    return Verification(
        size=walk.frontier.size,
        root=walk.frontier.root(),
        problems=(*walk.problems, *walk.newer),
        notes=tuple(walk.notes),
        compared=compared,
    )


def _are_known(backs: bytes, count: int) -> bool:
    """Whether each of as many entries is of a kind that this program knows, where no text in them holds a quote."""
    for kind in KINDS:
        count -= backs.count(b'"kind":"%b","subject":' % kind.encode())
        if not count:
            return True
    return False


def _time_in(front: bytes) -> str:
    return front.removeprefix(_FRONT[:7]).removesuffix(_FRONT[9:]).decode("utf-8", "replace")


def _clock_notes(index: int | None, at: str, latest: str) -> list[Problem]:
    """A word on a time that is further behind than writers who wait for their turn can be."""
    try:
        behind = parse_utc(latest) - parse_utc(at)
    except ValueError:  # not a time: a problem of its own elsewhere
        return []
    if behind <= _LONGEST_TURN:
        return []
    return [Problem(index, f"its clock ({at}) is behind an earlier entry ({latest})")]
