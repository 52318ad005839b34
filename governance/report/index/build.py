"""The index caught up with its log: built, extended from where it stood, or built anew.

Promises: what is in the index was read from bytes that agree with their leaf hashes, and an entry that does not is written
down as broken, so that every search names it; an index of another log, of a longer one (the log was put back from a copy), of
another version of this program, or a damaged one is built anew, and `note` says so. Of several processes one builds, and the
others wait and find it done. Does not: write to the log, or slow down those who append to it.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from governance.audit.entry import KINDS, VERSION
from governance.audit.merkle import Frontier, leaf_hashes, root_of
from governance.audit.store import AuditStore, FramedPages, documents_of
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256
from governance.report.index.file import IndexFile, NoIndexError, OtherFormatError, remove, translated, turn
from governance.report.index.numbers import SEGMENT_BITS, DamagedIndexError
from governance.report.index.terms import Group, TermReader

_PAGE = 256

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Caught:
    """An index that says where to look in the first `size` entries of its log, and what was remarkable on the way."""

    file: IndexFile
    size: int
    note: str | None = None


def catch_up(store: AuditStore, path: Path, *, progress: Progress = lambda _done, _all: None) -> Caught:
    """Open the index of a log, with everything in it that is in the log now. Raises `NoIndexError` where that cannot be; a log
    with a hole has no root to tell it by, and no index."""
    with turn(path):
        try:
            return _caught_up(store, path, progress)
        except AuditBrokenError as error:
            raise NoIndexError(f"the log is broken: {error.message}") from error


def _caught_up(store: AuditStore, path: Path, progress: Progress) -> Caught:
    head = store.frontier()
    size = head.size
    file, known, note = _open(store, path, head)
    try:
        _extend(file, store, known, size, progress)
    except DamagedIndexError as error:
        file.close()
        remove(path)
        file, note = IndexFile(path), f"the index was damaged and is built anew: {error}"
        _extend(file, store, 0, size, progress)
    except BaseException:
        file.close()
        raise
    return Caught(file, size, note)


def _open(store: AuditStore, path: Path, head: Frontier) -> tuple[IndexFile, int, str | None]:
    """The file, how much of the log is in it, and why it was made anew if it was."""
    with translated():
        was_there = path.exists() and path.stat().st_size > 0
    file = None
    try:
        file = IndexFile(path)
        known, why = _known(file, store, head)
    except OtherFormatError as error:
        known, why = 0, f"another version of this program built the index; it is built anew: {error}"
    except DamagedIndexError as error:
        known, why = 0, f"the index was damaged and is built anew: {error}"
    if why is None and file is not None:
        return file, known, None
    if file is not None:
        file.close()
    remove(path)
    return IndexFile(path), 0, why if was_there else None


def _known(file: IndexFile, store: AuditStore, head: Frontier) -> tuple[int, str | None]:
    """How many entries the index knows, and why it is not this log's if it is not."""
    meta = file.meta()
    if not meta:
        return 0, None
    try:
        known, root = int(meta["size"]), bytes.fromhex(meta["root"])
    except (KeyError, ValueError):
        raise DamagedIndexError("it does not say of which log it is") from None
    if meta.get("reads") != _readable():
        return (
            0,
            "another version of this program, which knew other kinds of entries, built the index; it is built anew",
        )
    size = head.size
    if known > size:
        return 0, (
            f"the index knew {known} entries, and the log has {size}: it is built anew. "
            "A log does not shrink by itself: was it put back from a copy?"
        )
    if known and (head.root() if known == size else root_of(store.node, known)) != root:
        return 0, "the index was made from another log and is built anew"
    return known, None


def _readable() -> str:
    """The entries that this program can read. The index of a program that knew fewer has the others as broken, under no term."""
    return f"version {VERSION}: {' '.join(sorted(KINDS))}"


def _extend(file: IndexFile, store: AuditStore, known: int, size: int, progress: Progress) -> None:
    reader = TermReader()
    while known < size:
        stop = min(size, (known >> SEGMENT_BITS) + 1 << SEGMENT_BITS)
        progress(known, size)
        with _without_collection():
            batch = _Batch(known >> SEGMENT_BITS << SEGMENT_BITS, reader)
            for page in _pages(store, known, stop):
                batch.add(page, store)
            _write(file, batch, known, stop, root_of(store.node, stop))
        known = stop
    progress(size, size)


def _write(file: IndexFile, batch: _Batch, start: int, stop: int, root: bytes) -> None:
    segment = start >> SEGMENT_BITS
    with file.transaction():
        file.put_postings(segment, start - batch.base, batch.postings())
        file.put_members(batch.reader.members)
        if batch.high:
            file.put_span(segment, batch.low, batch.high)
        file.put_broken(batch.broken)
        file.put_meta({"size": str(stop), "root": root.hex(), "reads": _readable()})
    batch.reader.members.clear()


@dataclass(slots=True)
class _Batch:
    """What was read of one segment and is not written yet."""

    base: int
    reader: TermReader
    broken: list[int] = field(default_factory=list)
    low: str = "~"
    high: str = ""
    _documents: dict[str, tuple[Group, ...]] = field(default_factory=dict)

    def add(self, page: Sequence[tuple[int, bytes, bytes]], store: AuditStore) -> None:
        """Take in a page of entries: number, leaf hash, bytes."""
        waiting: list[tuple[int, str]] = []
        times: list[str] = []
        base, groups_of = self.base, self.reader.entry
        for (number, leaf, data), hashed in zip(page, leaf_hashes([row[2] for row in page]), strict=True):
            try:
                document = orjson.loads(data)
                groups, at = groups_of(document, data), document["at"]
                if hashed != leaf or document["v"] != VERSION or at.__class__ is not str:
                    raise ValueError("not an entry as it was recorded")  # noqa: TRY301 - told with what cannot be parsed
                named = _names(document["kind"], document["body"])
            except (KeyError, TypeError, ValueError):
                self.broken.append(number)
                continue
            place = number - base
            for group in groups:
                group.places.append(place)
            times.append(at)
            if named is not None:
                waiting.append((place, named))
        if times:
            self.low, self.high = min(self.low, *times), max(self.high, *times)
        self._add_documents(waiting, store)

    def postings(self) -> dict[int, list[int]]:
        """Where each term was said."""
        found: dict[int, list[int]] = {}
        for group in self.reader.take_places():
            for each in group.terms:
                known = found.get(each)
                found[each] = group.places if known is None else known + group.places
        return found

    def _add_documents(self, waiting: list[tuple[int, str]], store: AuditStore) -> None:
        """The terms of the documents that the entries of a page name."""
        known = self._documents
        wanted = {name for _, name in waiting if name not in known}
        known.update({name: self.reader.gone() for name in wanted})
        for sha256, body in documents_of(store, [Sha256(name) for name in sorted(wanted)]):
            known[sha256] = self._groups_of(body)
        for place, name in waiting:
            for group in known[name]:
                group.places.append(place)

    def _groups_of(self, body: bytes) -> tuple[Group, ...]:
        try:
            document = orjson.loads(body)
        except ValueError:
            return self.reader.gone()
        return self.reader.moved(document) if isinstance(document, list) else self.reader.facts(document)


def _names(kind: str, body: Any) -> str | None:
    """The document that says more about an entry: a decision's facts, an outcome's list of files."""
    if not isinstance(body, dict):
        return None
    name = body.get("facts") if kind == "decision" else None
    if kind == "outcome":
        moved = body.get("moved")
        name = moved.get("manifest") if isinstance(moved, dict) else None
    return name if isinstance(name, str) else None


def _pages(store: AuditStore, start: int, stop: int) -> Iterator[Sequence[tuple[int, bytes, bytes]]]:
    if isinstance(store, FramedPages):
        for page in store.framed_pages(start, stop):
            yield [(row[0] or 0, row[3], row[4]) for row in page]
        return
    rows = store.rows(start, stop)
    while some := [(row.seq or 0, row.leaf, row.data) for row in itertools.islice(rows, _PAGE)]:
        yield some


@contextmanager
def _without_collection() -> Iterator[None]:
    """Millions of small lists and no circles among them: the collector would look at them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
