"""Verification of what is kept beside the entries: facts, policies, lists of files, signatures.

Promises: a document is what its digest says, and one whose body is gone was erased by an entry of this log, or it is named, with the
first entry that rests on it; so are the facts of a decision, the list of files of an outcome and the policy of an entry that states one,
of which there is no record. In constant memory, however many there are. Does not: notice that the file of a
signature was removed with all traces: only some of these are kept as evidence.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from governance.audit.bodies import RESTS_ON, rests_on
from governance.audit.entry import EntryKind, parse_entry
from governance.audit.stamp import is_stamped
from governance.audit.store import AuditStore, EvidenceInfo, FramedRow, Query, Row, documents_of, kept_of
from governance.audit.verification import Problem
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256

_MOST = 100
_AT_ONCE = 64
_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 4 << 20
_HEX = re.compile(rb"[0-9a-f]{64}")
# Quotes inside of texts are escaped, so these are keys, found without parsing.
_MARKS = tuple((b'"kind":"%b"' % kind.encode(), b'"%b":"' % keys[-1].encode()) for kind, keys in RESTS_ON.items())  # fmt: skip
_NAME = re.compile(rb'[0-9a-f]{64}"')
_SHOWN = 65
_MOST_AT_ONCE = 512
_MOST_KNOWN = 65_536
_NAMED = {kind: re.compile(rb'"%b":"([0-9a-f]{64})"' % keys[-1].encode()) for kind, keys in RESTS_ON.items()}


class NamedDocuments:
    """A quick look, by the way, at whether all that entries name is on record. It may be wrong in one way only: `may_lack` is True where
    something is named that no entry rests on."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._known: set[bytes] = set()
        self.may_lack = False

    def look(self, page: Sequence[FramedRow]) -> None:
        """See to what these entries name, whatever it is that says so in them."""
        if self.may_lack:
            return
        named: set[bytes] = set()
        for _, _, back, _, data in page:
            for mark, key in _MARKS:
                if mark in back:
                    at = data.rfind(key)
                    while at >= 0:
                        start = at + len(key)
                        named.add(data[start : start + _SHOWN])
                        at = data.rfind(key, 0, at)
        named -= self._known
        digests = [Sha256(each[:-1].decode()) for each in named if _NAME.fullmatch(each)]
        self.may_lack = len(digests) > _MOST_AT_ONCE or len(kept_of(self._store, digests)) < len(digests)
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known |= named


def verify_evidence(
    store: AuditStore,
    *,
    named: NamedDocuments | None = None,
    taking: Callable[[str, bytes | None], object] | None = None,
) -> tuple[Problem, ...]:
    """What is wrong with the documents, at most 100 of them, each at the first entry that names it. `named` has looked at all
    entries already, if somebody has. `taking` is given each document as it was read, if it is what its digest says, and None for one
    that is not there: it need not read them again.
    """
    changed: set[str] = set()
    gone: set[str] = set()
    erased: frozenset[str] | None = None
    for part in _parts(store.evidence_list()):
        found = dict(documents_of(store, [info.sha256 for info in part if not info.is_erased]))
        changed |= {name for name, body in found.items() if hashlib.sha256(body).hexdigest() != name}
        if taking is not None:
            for info in part:
                if info.sha256 not in changed:
                    taking(info.sha256, found.get(info.sha256))
        missing = {info.sha256 for info in part} - found.keys()
        if missing and (erased is None or not missing <= erased):
            erased = _erased(store)  # read after the documents: what is erased meanwhile has its entry by now
        gone |= missing - (erased or frozenset())
        if len(changed) + len(gone) >= _MOST:
            break
    problems = list(_problems(store, changed, gone))
    if len(problems) < _MOST and (named is None or named.may_lack):
        problems += itertools.islice(_without_record(store), _MOST - len(problems))
    return tuple(sorted(problems, key=lambda each: (each.index is None, each.index or 0)))


def _parts(every: Iterable[EvidenceInfo]) -> Iterator[list[EvidenceInfo]]:
    """As many at a time as are read at once."""
    part: list[EvidenceInfo] = []
    size = 0
    for info in every:
        if part and (len(part) >= _AT_ONCE or size + info.size > _BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(info)
        size += info.size
    if part:
        yield part


def _erased(store: AuditStore) -> frozenset[str]:
    """What this log's own entries say was erased. A client's entry says so of nothing here."""
    found: set[str] = set()
    for row in store.find(Query(kind=EntryKind.ERASURE)):
        try:
            entry = parse_entry(row.data)
        except AuditBrokenError:  # named by the walk over the entries
            continue
        digests = entry.body.get("digests")
        if not is_stamped(entry) and isinstance(digests, list):
            found.update(digest for digest in digests if isinstance(digest, str))
    return frozenset(found)


def _problems(store: AuditStore, changed: set[str], gone: set[str]) -> Iterator[Problem]:
    if not changed and not gone:
        return
    named = _first_named(store, changed | gone)
    rows = [(named.get(name), name, "was changed after it was recorded") for name in changed]
    rows += [(named.get(name), name, "was removed, and no entry says that it was erased") for name in gone]
    for index, name, what in sorted(rows, key=lambda row: (row[0] is None, row[0] or 0, row[1])):
        yield Problem(index, f"the document {name} that it names {what}" if index is not None else f"the document {name} {what}")  # fmt: skip


def _without_record(store: AuditStore) -> Iterator[Problem]:
    """Entries that rest on a document of which there is no record, not even that it was erased."""
    for kind, pattern in _NAMED.items():
        rows = _readable(store.find(Query(kind=EntryKind(kind))))
        while page := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            named = [(row, digest) for row in page if (digest := _named_in(row, pattern)) is not None]
            kept = kept_of(store, list({digest for _, digest in named}))
            for row, digest in named:
                if digest not in kept and digest == _rests_on(row):
                    yield Problem(
                        row.seq,
                        f"the document {digest} that it rests on is not there, and no entry says that it was erased",
                    )


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows up to one that is damaged, which the walk over the entries names."""
    try:
        yield from rows
    except AuditBrokenError:
        return


def _named_in(row: Row, pattern: re.Pattern[bytes]) -> Sha256 | None:
    """The one digest under that key; where there are several, the one that counts."""
    found = pattern.findall(row.data)
    if len(found) > 1:
        return _rests_on(row)
    return Sha256(found[0].decode()) if found else None


def _rests_on(row: Row) -> Sha256 | None:
    """What an entry rests on. The same key may stand further in, too: a client may put there what he likes."""
    try:
        digest = rests_on(row.kind, parse_entry(row.data).body)
    except AuditBrokenError:  # named by the walk over the entries
        return None
    return None if digest is None else Sha256(digest)


def _first_named(store: AuditStore, digests: set[str]) -> dict[str, int]:
    """The first entry that names each of them. Reads the whole log, so only where something is wrong."""
    found: dict[str, int] = {}
    for number, row in enumerate(store.rows(0, store.frontier().size)):
        for match in _HEX.findall(row.data):
            name = match.decode()
            if name in digests:
                found.setdefault(name, number)
    return found
