"""The contract of an audit store, and the values that cross it.

Two promises that every store makes, and that the conformance suite checks:

1. `append` returns only when the entries survive the loss of power, and otherwise raises `AuditUnavailableError`;
   after an error it is unknown whether they are there. Appending the same bytes again changes nothing; other bytes
   under a known id raise `AuditConflictError`, and nothing of that call is written.
2. Nothing is ever changed or removed but the bodies of evidence, and these only by `erase`, which leaves their digests.

A store does not decide what an entry says, signs nothing, and knows no other store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from governance.audit.entry import Entry, EntryKind, numbered
from governance.audit.merkle import Frontier, leaf_hash
from governance.model.digest import Sha256
from governance.model.request import utc_text

if TYPE_CHECKING:
    from governance.audit.stamp import Stamp

MAX_EVIDENCE = 32 << 20
"""Largest document kept as evidence, in bytes."""
DOCUMENTS_AT_ONCE = 4 << 20
"""The bytes at which a store that hands out many documents stops reading, and goes on when these were taken."""


class Draft(NamedTuple):
    """An entry on its way into a store: its columns, leaf hash and bytes, computed once by whoever appends, and the
    documents to be kept with it."""

    id: str
    at: str
    kind: str
    subject: str
    correlation: str
    leaf: bytes
    data: bytes
    evidence: tuple[tuple[Sha256, bytes], ...] = ()


class Row(NamedTuple):
    """An entry as it is stored. `seq` is its leaf index, None while it is durable and not yet part of the tree."""

    seq: int | None
    id: str
    at: str
    kind: str
    subject: str
    correlation: str
    leaf: bytes
    data: bytes


FramedRow: TypeAlias = tuple[int | None, bytes, bytes, bytes, bytes]
"""`seq`, front, back, `leaf` and `data` of a `Row`: with what its columns say that the entry's bytes begin, and with what they go
on from the body's end up to the writer. These are the bytes themselves, unless they hold a backslash: texts are not escaped."""


def framed_row(row: Row) -> FramedRow:
    """What `FramedPages.framed_pages` has of a row. The bytes are canonical JSON, with keys in order."""
    front = f'{{"at":"{row.at}","body":{{'
    back = f',"correlation":"{row.correlation}","id":"{row.id}","kind":"{row.kind}","subject":"{row.subject}","v":1,"writer":'
    return row.seq, front.encode("utf-8", "replace"), back.encode("utf-8", "replace"), row.leaf, row.data


def draft_of(
    entry: Entry, evidence: tuple[tuple[Sha256, bytes], ...] = (), number: Callable[[], int] | None = None
) -> Draft:
    """Make an entry ready for a store. Raises `ValueError` as `Entry.to_bytes` does.

    With `number`, an entry numbered 0 gets its number from there, after it is known to be well formed.
    """
    data = entry.to_bytes()
    if number is not None:
        data = numbered(data, number())
    at, kind = utc_text(entry.at), entry.kind.value
    return Draft(entry.id, at, kind, entry.subject, entry.correlation, leaf_hash(data), data, evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; None leaves a field open. `since` is RFC 3339 in UTC and compares as text."""

    kind: EntryKind | None = None
    subject: str | None = None
    correlation: str | None = None
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceInfo:
    """What is known of a document kept beside the log. `category` is the kind of the entry that first brought it;
    `is_erased` says that only the digest is left."""

    sha256: Sha256
    category: str
    at: str
    size: int
    is_erased: bool


def always() -> bool:
    """For documents that nobody can name any more."""
    return True


class AuditStore(Protocol):
    """Keeps entries and evidence. All methods may be called from any thread, and after a fork.

    | method | meaning |
    | --- | --- |
    | `append(drafts)` | make all durable, in this order, or raise. Returns the leaf index of each, None if not yet known |
    | `rows(start, stop)` | the entries from leaf `start` up to but without `stop`, in order |
    | `find(query)` | the entries that match, in the order in which they were written |
    | `get(id)` | one entry |
    | `frontier()` | size of the tree, and all that is needed for its root |
    | `node(level, index)` | hash of a complete subtree, for proofs |
    | `evidence(sha256)` | one document; None if there is none, or if it was erased |
    | `evidence_list()` | everything that was ever kept as evidence, in order of digest |
    | `erase(digests, may)` | remove the bodies of these documents and keep their digests, if `may` says so: it is asked while whoever brings one of them waits, and brings it anew. Returns what it said |
    """

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """Make the drafts durable, all or none."""
        ...

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """Entries by leaf index."""
        ...

    def find(self, query: Query) -> Iterator[Row]:
        """Entries by what they are about."""
        ...

    def get(self, entry_id: str) -> Row | None:
        """One entry by its id."""
        ...

    def frontier(self) -> Frontier:
        """The tree as it is now."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """Root of the complete subtree `index` of height `level`."""
        ...

    def evidence(self, sha256: Sha256) -> bytes | None:
        """One document."""
        ...

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        """All documents there ever were."""
        ...

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        """Remove bodies."""
        ...

    def close(self) -> None:
        """Give back what is held. Later calls raise `AuditUnavailableError`."""
        ...


@runtime_checkable
class FramedPages(Protocol):
    """A store that can hand out many rows framed, for a walk over the whole log: making texts of columns, and bytes of texts, is
    what a walk would spend most of its time with."""

    def framed_pages(self, start: int, stop: int) -> Iterator[Sequence[FramedRow]]:
        """`framed_row` of `AuditStore.rows`, in pieces that end at multiples of 256."""
        ...


@runtime_checkable
class PlacedLater(Protocol):
    """A store whose entries are durable before they have a place in the tree, without which nobody finds them."""

    def settle(self, *, timeout: float) -> None:
        """Have every entry that is durable now given its place, where this user may, and wait for that. Raises `AuditUnavailableError`
        where `timeout` seconds were too few."""
        ...


@runtime_checkable
class KeptElsewhere(Protocol):
    """A store whose log another machine keeps, and signs."""

    def head_since(self, size: int) -> tuple[bytes, list[bytes]]:
        """The log's head as its keeper hands it out, and the proof that it continues the tree of `size` entries."""
        ...

    def stamp(self) -> Stamp | None:
        """Whom its keeper took the writer for when it last acknowledged an entry."""
        ...

    def objection(self) -> str | None:
        """Why its keeper permits no act, where the last acknowledgement said that it does not."""
        ...


@runtime_checkable
class ManyAtOnce(Protocol):
    """A store that can hand out what lies scattered in one go, for those who know where to look."""

    def rows_at(self, numbers: Sequence[int]) -> Iterator[Row]:
        """Entries by leaf index, in order, without those that are not there. At most a few hundred at a time."""
        ...

    def numbers_of(self, kind: EntryKind, correlations: Sequence[str]) -> list[int]:
        """Leaf indexes of the entries of a kind in these sequences, in order. At most a few hundred sequences at a time."""
        ...

    def documents(self, digests: Sequence[Sha256]) -> Iterator[tuple[Sha256, bytes]]:
        """As `AuditStore.evidence`, in any order, without those that are not there. At most a few hundred at a time, of which hardly
        more than `DOCUMENTS_AT_ONCE` is held."""
        ...

    def kept(self, digests: Sequence[Sha256]) -> set[Sha256]:
        """Those of which there is a record, with or without the body. At most a few hundred at a time."""
        ...


def kept_of(store: AuditStore, digests: Sequence[Sha256]) -> set[Sha256]:
    """Those of a few hundred documents that the store has a record of, erased ones included."""
    if isinstance(store, ManyAtOnce):
        return store.kept(digests) if digests else set()
    found = {digest for digest in digests if store.evidence(digest) is not None}
    if len(found) < len(set(digests)):
        found |= {info.sha256 for info in store.evidence_list() if info.is_erased}.intersection(digests)
    return found


def documents_of(store: AuditStore, digests: Sequence[Sha256]) -> Iterator[tuple[Sha256, bytes]]:
    """Documents, without those that are not there, in whichever way the store is quickest. Nobody has looked at their hashes."""
    if isinstance(store, ManyAtOnce):
        if digests:
            yield from store.documents(digests)
        return
    for digest in digests:
        body = store.evidence(digest)
        if body is not None:
            yield digest, body
