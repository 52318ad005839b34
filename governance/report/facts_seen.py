"""What the facts behind the decisions of a period say about the scanners: how much was looked at, and how fresh it was.

Promises: facts are read from the evidence under their digest; a document that is gone or changed is counted as such, and is no
coverage. Unknown stays unknown. Does not: hold more than one page of documents at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from governance.audit.log import AuditLog
from governance.collect.collector import NOT_GATHERED
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.report.entries import DecisionRow
from governance.report.evidence_page import PageOfEvidence
from governance.report.fields import Fields
from governance.report.ledger import Ledger

_FLUSH = 1_000
_PAGE = 64
_Tally = dict[tuple[str, str], tuple[int, str, str]]


class Documents(Protocol):
    """What gives documents by their digests, each checked against it."""

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document. Raises `AuditBrokenError` for one that was changed."""
        ...


@dataclass(slots=True)
class FactsReader:
    """Writes a row of `seen` for each decision, and tallies of unknown facts and engines."""

    log: AuditLog
    ledger: Ledger
    _page: PageOfEvidence = field(init=False)
    _waiting: list[tuple[int, str, str | None]] = field(default_factory=list)
    _unknown: _Tally = field(default_factory=dict)
    _engines: _Tally = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._page = PageOfEvidence(self.log)

    def see(self, n: int, row: DecisionRow, digest: str | None) -> None:
        """Read one decision's facts, with those of its neighbours."""
        self._waiting.append((n, row.at, digest))
        if len(self._waiting) >= _PAGE:
            self._read()

    def _read(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._page.load(Sha256(digest) for _, _, digest in waiting if digest is not None)
        for n, at, digest in waiting:
            self._see(n, at, *read_facts(self._page, digest))
        if len(self._unknown) + len(self._engines) >= _FLUSH:
            self._write_tallies()

    def _see(self, n: int, at: str, state: str, facts: Mapping[str, Json]) -> None:
        if state != "read":
            self.ledger.add("seen", (n, state, *[None] * 10))
            return
        self.ledger.add("seen", (
            n, state, _scan(facts), _number(facts, "scan.age"), _number(facts, "scan.database_age"),
            _number(facts, "content.files_total"), _number(facts, "content.files_scanned"),
            _number(facts, "content.files_skipped"), _text(facts, "content.verdict"), _signature(facts),
            _text(facts, "signature.key_id"), ", ".join(_texts(facts, "sources.unreachable")) or None,
        ))  # fmt: skip
        # By class: this is asked for each fact of each decision, and the parser makes nothing else.
        unknown = [
            (name, row["unknown"] if "unknown" in row else f"incomplete: {row['missing']}")
            for name, row in facts.items()
            if row.__class__ is dict and ("unknown" in row or "missing" in row)
        ]
        for name, why in unknown:
            if why != NOT_GATHERED and not name.startswith("property."):
                _add(self._unknown, (name, str(why)[:200]), at)
        for engine in _texts(facts, "scan.engines"):
            _add(self._engines, (engine[:200], ""), at)

    def finish(self) -> None:
        """Read what waits, and write the tallies."""
        self._read()
        self._write_tallies()

    def _write_tallies(self) -> None:
        self.ledger.tally("unknown", self._unknown)
        self.ledger.tally("engine", self._engines)
        self._unknown.clear()
        self._engines.clear()


def read_facts(log: Documents, digest: str | None) -> tuple[str, Mapping[str, Json]]:
    """A facts document by its digest, and how that went: `read`, `gone` (erased, or never kept) or `changed`."""
    try:
        document = log.evidence(Sha256(digest)) if digest else None
        if document is None:
            return "gone", {}
        facts = orjson.loads(document)
    except (AuditBrokenError, ValueError):
        return "changed", {}
    return ("read", facts) if isinstance(facts, dict) else ("changed", {})


def items_of(facts: Mapping[str, Json], name: str) -> tuple[Fields, ...]:
    """The items of a fact that is a collection."""
    value = facts.get(name)
    return Fields(value).subs("items") if isinstance(value, Mapping) else ()


def _scan(facts: Mapping[str, Json]) -> str:
    if _was_not_asked(facts, "scan.complete"):
        return "not asked for"
    complete = _flag(facts, "scan.complete")
    return "not known" if complete is None else "complete" if complete else "not complete"


def _signature(facts: Mapping[str, Json]) -> str:
    if _was_not_asked(facts, "signature.valid"):
        return "not asked for"
    valid, present = _flag(facts, "signature.valid"), _flag(facts, "signature.present")
    if valid is None:
        return "not known"
    return "valid" if valid else "absent" if present is False else "not valid"


def _was_not_asked(facts: Mapping[str, Json], name: str) -> bool:
    row = facts.get(name)
    return name not in facts or (row.__class__ is dict and row.get("unknown") == NOT_GATHERED)


def _value(facts: Mapping[str, Json], name: str) -> Json:
    row = facts.get(name)
    return row.get("value") if row.__class__ is dict else None


def _flag(facts: Mapping[str, Json], name: str) -> bool | None:
    value = _value(facts, name)
    return value if isinstance(value, bool) else None


def _number(facts: Mapping[str, Json], name: str) -> int | None:
    value = _value(facts, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(facts: Mapping[str, Json], name: str) -> str | None:
    value = _value(facts, name)
    return value if isinstance(value, str) else None


def _texts(facts: Mapping[str, Json], name: str) -> tuple[str, ...]:
    value = _value(facts, name)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _add(tally: _Tally, names: tuple[str, str], at: str) -> None:
    count, first, last = tally.get(names, (0, at, at))
    tally[names] = (count + 1, min(first, at), max(last, at))
