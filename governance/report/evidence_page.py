"""The evidence of many decisions, read at once.

Promises: every document is checked against its digest when it is handed out, as `AuditLog.evidence` does, wherever it was read.
Does not: hold more than one page of documents, or hardly more than 8 MiB: those that are left then are read one by one, when they are
asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from governance.audit.entry import evidence_digest
from governance.audit.log import Stored
from governance.audit.store import AuditStore, ManyAtOnce
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.report.words import body_of

_MOST_HELD = 8 << 20


class PagedLog(Protocol):
    """The part of `AuditLog` that is read."""

    @property
    def store(self) -> AuditStore:
        """What the documents are kept in."""
        ...

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document by its digest."""
        ...

    def get(self, entry_id: str) -> Stored | None:
        """One entry by its id."""
        ...


class PageOfEvidence:
    """The log, with the documents of one page of entries read at once. What is not among them is read by itself."""

    def __init__(self, log: PagedLog) -> None:
        self._log = log
        self._known: dict[Sha256, bytes] = {}
        self.get = log.get

    def load(self, names: Iterable[Sha256 | None]) -> None:
        """Read these documents, at most a few hundred, in place of those held until now."""
        store = self._log.store
        self._known = {}
        wanted = list(dict.fromkeys(name for name in names if name is not None))
        if wanted and isinstance(store, ManyAtOnce):
            size = 0
            for name, document in store.documents(wanted):
                self._known[name] = document
                size += len(document)
                if size >= _MOST_HELD:
                    return

    def evidence(self, sha256: Sha256) -> bytes | None:
        """As `AuditLog.evidence`."""
        document = self._known.get(sha256)
        if document is None:
            return self._log.evidence(sha256)
        if evidence_digest(document) != sha256:
            raise AuditBrokenError(f"the evidence {sha256} was changed")
        return document


def facts_named(stored: Stored) -> Sha256 | None:
    """The digest of the facts that a decision names, if it names any."""
    return digest_in(body_of(stored.entry), "facts")


def digest_in(body: Mapping[str, Json], name: str) -> Sha256 | None:
    """A digest that a body should hold."""
    try:
        return parse_sha256(str(body.get(name)))
    except ValueError:
        return None
