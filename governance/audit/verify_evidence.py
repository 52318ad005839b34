"""Verification of what is kept beside the entries: facts, policies, lists of files, signatures.

Promises: a document is what its digest says, and one whose body is gone was erased by an entry of this log, or it is named, with the
first entry that rests on it; so are the facts of a decision, and the policy of an entry that states one, of which there is no record.
In constant memory, however many there are. Does not: notice that a list of files was removed with all traces: its digest stands
in the entry, and those who need it say that it is gone (`mlgov audit who-loaded`).
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from governance.audit.entry import EntryKind, parse_entry
from governance.audit.stamp import is_stamped
from governance.audit.store import AuditStore, EvidenceInfo, Query, documents_of, kept_of
from governance.audit.verify import Problem
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256

_MOST = 100
_AT_ONCE = 64
_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 4 << 20
_HEX = re.compile(rb"[0-9a-f]{64}")
# Quotes inside of texts are escaped, so these are keys. A decision names its facts, a policy's entry the policy.
_RESTS_ON = {
    EntryKind.DECISION: re.compile(rb'"facts":"([0-9a-f]{64})"'),
    EntryKind.POLICY: re.compile(rb'"digest":"([0-9a-f]{64})"'),
}


def verify_evidence(
    store: AuditStore, *, taking: Callable[[str, bytes | None], object] | None = None
) -> tuple[Problem, ...]:
    """What is wrong with the documents, at most 100 of them, each at the first entry that names it. `taking` is given each as it
    was read, if it is what its digest says, and None for one that is not there: it need not read them again.
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
    if len(problems) < _MOST:
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
    for kind, pattern in _RESTS_ON.items():
        rows = store.find(Query(kind=kind))
        while page := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            found = ((row.seq, pattern.search(row.data)) for row in page)
            named = [(seq, Sha256(match[1].decode())) for seq, match in found if match is not None]
            kept = kept_of(store, [digest for _, digest in named])
            for index, digest in named:
                if digest not in kept:
                    yield Problem(
                        index,
                        f"the document {digest} that it rests on is not there, and no entry says that it was erased",
                    )


def _first_named(store: AuditStore, digests: set[str]) -> dict[str, int]:
    """The first entry that names each of them. Reads the whole log, so only where something is wrong."""
    found: dict[str, int] = {}
    for number, row in enumerate(store.rows(0, store.frontier().size)):
        for match in _HEX.findall(row.data):
            name = match.decode()
            if name in digests:
                found.setdefault(name, number)
    return found
