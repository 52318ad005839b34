"""What is to be delivered next, read from the log and checked on the way.

Promises: entries come in the order of the log, each with the bytes that were hashed; a cursor of another log, or one that
is ahead of the log, is found out before anything is sent; memory is bounded by one batch. Does not: write anything.

A cursor is compared by root: the tree over the entries before it must be the one that the cursor remembers. The frontier
then grows with each batch, so the next cursor's root costs one hash an entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from governance.audit.entry import parse_entry
from governance.audit.log import AuditLog, Stored
from governance.audit.merkle import Frontier, leaf_hash
from governance.audit.remote import RemoteStore
from governance.audit.store import AuditStore, Row
from governance.errors import AuditBrokenError, SettingsError
from governance.stream.cursor import Cursor
from governance.stream.destination import Start

BATCH: Final = 256
BATCH_BYTES: Final = 4 << 20
_HINT: Final = "Nothing from here on was sent. `mlgov audit verify` shows all that is wrong."


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Neighbouring entries, and the tree up to and with the last of them."""

    entries: tuple[Stored, ...]
    after: Frontier

    def first(self, count: int, before: Frontier) -> Batch:
        """Only the first of them."""
        entries = self.entries[:count]
        return Batch(entries=entries, after=before.extend(leaf_hash(stored.data) for stored in entries))


class LogSource:
    """The entries of one log, for one destination."""

    def __init__(self, log: AuditLog) -> None:
        if isinstance(log.store, RemoteStore):
            raise SettingsError(
                "the audit log is kept by a tracking server, which hands out nobody else's entries",
                hint="Run this where the log lies: on the tracking server, with its settings.",
            )
        self._store: AuditStore = log.store
        self.origin = log.origin

    def size(self) -> int:
        """How many entries the log has."""
        return self._store.frontier().size

    def begin(self, start: Start) -> Frontier:
        """Where to begin without a cursor. Raises `SettingsError` for an entry that the log does not have yet."""
        head = self._store.frontier()
        if start == "now":
            return head
        index = 0 if start == "start" else start
        if index > head.size:
            raise SettingsError(
                f"there is no entry {index} in a log of {head.size}",
                hint="`--from` takes `start`, `now` or a number.",
            )
        return frontier_at(self._store, index)

    def resume(self, cursor: Cursor) -> Frontier:
        """Where a cursor stands. Raises `SettingsError` for a cursor of another log, `AuditBrokenError` for one that this
        log cannot have given."""
        if cursor.origin != self.origin:
            raise SettingsError(
                f"the cursor `{cursor.name}` is of the log `{cursor.origin}`, and this is `{self.origin}`",
                hint="Point to the log it belongs to, or give the destination another name.",
            )
        size = self.size()
        if cursor.index > size:
            raise AuditBrokenError(
                f"the cursor `{cursor.name}` is ahead of the log: {cursor.index} entries were delivered, and it has {size}",
                index=size,
                hint="An old copy of the log was put in place, or entries were removed. Nothing was sent. Compare with "
                "what the destination holds; delete the cursor only once you know why.",
            )
        found = frontier_at(self._store, cursor.index)
        if found.root().hex() != cursor.root:
            raise AuditBrokenError(
                f"the first {cursor.index} entries are not those that were delivered by the cursor `{cursor.name}`",
                hint="This is another log, or it was rewritten. Nothing was sent. `mlgov audit verify` looks further; for "
                "another log, give the destination another name.",
            )
        return found

    def read(self, at: Frontier, *, most: int = BATCH) -> Batch | None:
        """The next entries, or None where there are none. Raises `AuditBrokenError` for entries that were changed."""
        head = self._store.frontier()
        if head.size < at.size:
            raise AuditBrokenError(
                f"the log shrank to {head.size} entries while it was read: an old copy was put in its place, or entries were removed",
                index=head.size,
                hint=_HINT,
            )
        entries = tuple(self._checked(at.size, min(head.size, at.size + most)))
        if not entries:
            return None
        after = at.extend(leaf_hash(stored.data) for stored in entries)
        if after.size == head.size and after.root() != head.root():
            raise AuditBrokenError(
                "the entries read are not those of the log's tree", index=at.size, hint=_HINT
            )
        return Batch(entries=entries, after=after)

    def oldest_waiting(self, index: int) -> Stored | None:
        """The entry that waits longest to be delivered."""
        return next(self._checked(index, min(index + 1, self.size())), None)

    def _checked(self, start: int, stop: int) -> Iterator[Stored]:
        total, expected = 0, start
        for row in self._store.rows(start, stop):
            total += len(row.data)
            if expected > start and total > BATCH_BYTES:
                return
            yield _stored(row, expected)
            expected += 1
        if expected < stop:
            raise AuditBrokenError(f"the log lacks entry {expected}", index=expected, hint=_HINT)


def frontier_at(store: AuditStore, size: int) -> Frontier:
    """The tree as it was at `size` entries."""
    hashes, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            hashes.append(store.node(level, start >> level))
            start += 1 << level
    return Frontier(size, tuple(hashes))


def _stored(row: Row, expected: int) -> Stored:
    if row.seq != expected or leaf_hash(row.data) != row.leaf:
        raise AuditBrokenError(
            f"entry {expected} was changed after it was recorded",
            index=expected,
            hint=_HINT,
        )
    return Stored(index=expected, entry=parse_entry(row.data), data=row.data)
