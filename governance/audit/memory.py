"""A store in memory, for tests and trials. Keeps every promise of a store but durability."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from governance.audit.merkle import Frontier, node_hash
from governance.audit.store import Draft, EvidenceInfo, Query, Row, always
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError
from governance.model.digest import Sha256


class MemoryStore:
    """An `AuditStore` that is gone with its process. `refuse` makes every append fail with that text, for tests."""

    def __init__(self) -> None:
        self.refuse: str | None = None
        self._lock = threading.RLock()
        self._rows: list[Row] = []
        self._by_id: dict[str, int] = {}
        self._levels: list[list[bytes]] = [[]]
        self._frontier = Frontier()
        self._evidence: dict[Sha256, tuple[EvidenceInfo, bytes]] = {}
        self._is_closed = False

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """See `AuditStore.append`."""
        with self._lock:
            if self._is_closed or self.refuse:
                raise AuditUnavailableError(self.refuse or "the audit log is closed")
            for draft in drafts:
                known = self._by_id.get(draft.id)
                if known is not None and self._rows[known].data != draft.data:
                    raise AuditConflictError(f"entry id {draft.id} is already used for another entry")
            return [self._add(draft) for draft in drafts]

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See `AuditStore.rows`."""
        with self._lock:
            found = self._rows[start:stop]
        yield from found

    def find(self, query: Query) -> Iterator[Row]:
        """See `AuditStore.find`."""
        wanted = [
            (column, value)
            for column, value in (
                ("kind", query.kind), ("subject", query.subject), ("correlation", query.correlation),
            )
            if value is not None
        ]  # fmt: skip
        for row in self.rows(0, len(self._rows)):
            if all(getattr(row, column) == value for column, value in wanted) and row.at >= (
                query.since or ""
            ):
                yield row

    def get(self, entry_id: str) -> Row | None:
        """See `AuditStore.get`."""
        seq = self._by_id.get(entry_id)
        return None if seq is None else self._rows[seq]

    def frontier(self) -> Frontier:
        """See `AuditStore.frontier`."""
        return self._frontier

    def node(self, level: int, index: int) -> bytes:
        """See `AuditStore.node`."""
        try:
            return self._levels[level][index]
        except IndexError as error:
            raise AuditBrokenError(f"the audit log has no hash {index} of level {level}") from error

    def evidence(self, sha256: Sha256) -> bytes | None:
        """See `AuditStore.evidence`."""
        found = self._evidence.get(sha256)
        return None if found is None or found[0].is_erased else found[1]

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        """See `AuditStore.evidence_list`."""
        yield from (self._evidence[digest][0] for digest in sorted(self._evidence))

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        """See `AuditStore.erase`."""
        with self._lock:
            if not may():
                return False
            for digest in digests:
                if digest in self._evidence:
                    info = self._evidence[digest][0]
                    erased = EvidenceInfo(
                        sha256=digest, category=info.category, at=info.at, size=info.size, is_erased=True
                    )
                    self._evidence[digest] = (erased, b"")
        return True

    def close(self) -> None:
        """See `AuditStore.close`."""
        self._is_closed = True

    def _add(self, draft: Draft) -> int:
        if draft.id in self._by_id:
            return self._by_id[draft.id]
        seq = len(self._rows)
        self._rows.append(Row(seq, *draft[:7]))
        self._by_id[draft.id] = seq
        self._frontier = self._frontier.extend([draft.leaf])
        self._grow(draft.leaf)
        for digest, document in draft.evidence:
            if self.evidence(digest) is None:
                info = EvidenceInfo(
                    sha256=digest, category=draft.kind, at=draft.at, size=len(document), is_erased=False
                )
                self._evidence[digest] = (info, document)
        return seq

    def _grow(self, leaf: bytes) -> None:
        node, level = leaf, 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = node_hash(*self._levels[level][-2:])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)
