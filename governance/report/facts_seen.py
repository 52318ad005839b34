"""What the facts behind the decisions of a period say about the scanners: how much was looked at, and how fresh it was.

Promises: facts are read from the evidence under their digest; a document that is gone or changed is counted as such, and is no
coverage. Unknown stays unknown. Does not: hold more than one document at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

import orjson

from governance.audit.log import AuditLog
from governance.collect.collector import NOT_GATHERED
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.report.entries import DecisionRow
from governance.report.fields import Fields
from governance.report.ledger import Ledger

_FLUSH = 1_000
_Tally = dict[tuple[str, str], tuple[int, str, str]]


@dataclass(slots=True)
class FactsReader:
    """Writes a row of `seen` for each decision, and tallies of unknown facts and engines."""

    log: AuditLog
    ledger: Ledger
    _unknown: _Tally = field(default_factory=dict)
    _engines: _Tally = field(default_factory=dict)

    def see(self, n: int, row: DecisionRow, digest: str | None) -> None:
        """Read one decision's facts."""
        state, facts = read_facts(self.log, digest)
        if state != "read":
            self.ledger.add("seen", (n, state, *[None] * 10))
            return
        unreachable = facts.get("sources.unreachable")
        self.ledger.add("seen", (
            n, state, _scan(facts), _number(facts, "scan.age"), _number(facts, "scan.database_age"),
            _number(facts, "content.files_total"), _number(facts, "content.files_scanned"),
            _number(facts, "content.files_skipped"), _text(facts, "content.verdict"), _signature(facts),
            _text(facts, "signature.key_id"),
            ", ".join(Fields(unreachable).texts("value")) or None if isinstance(unreachable, Mapping) else None,
        ))  # fmt: skip
        for name, value in facts.items():
            if _is_unknown(value) and not name.startswith("property."):
                _add(self._unknown, (name, str(value["unknown"])[:200]), row.at)
        engines = facts.get("scan.engines")
        for engine in Fields(engines).texts("value") if isinstance(engines, Mapping) else ():
            _add(self._engines, (engine[:200], ""), row.at)
        if len(self._unknown) + len(self._engines) >= _FLUSH:
            self.finish()

    def finish(self) -> None:
        """Write the tallies."""
        self.ledger.tally("unknown", self._unknown)
        self.ledger.tally("engine", self._engines)
        self._unknown.clear()
        self._engines.clear()


def read_facts(log: AuditLog, digest: str | None) -> tuple[str, Mapping[str, Json]]:
    """A facts document by its digest, and how that went: `read`, `gone` (erased, or never kept) or `changed`."""
    document = log.store.evidence(Sha256(digest)) if digest else None
    if document is None:
        return "gone", {}
    if hashlib.sha256(document).hexdigest() != digest:
        return "changed", {}
    try:
        facts = orjson.loads(document)
    except ValueError:
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
    return name not in facts or _row(facts, name).text("unknown") == NOT_GATHERED


def _is_unknown(value: Json) -> TypeGuard[Mapping[str, Json]]:
    # By class: this is asked for each fact of each decision, and the parser makes nothing else.
    return value.__class__ is dict and "unknown" in value and value["unknown"] != NOT_GATHERED


def _row(facts: Mapping[str, Json], name: str) -> Fields:
    value = facts.get(name)
    return Fields(value if isinstance(value, Mapping) else {})


def _flag(facts: Mapping[str, Json], name: str) -> bool | None:
    value = _row(facts, name).body.get("value")
    return value if isinstance(value, bool) else None


def _number(facts: Mapping[str, Json], name: str) -> int | None:
    return _row(facts, name).number("value")


def _text(facts: Mapping[str, Json], name: str) -> str | None:
    return _row(facts, name).text("value")


def _add(tally: _Tally, names: tuple[str, str], at: str) -> None:
    count, first, last = tally.get(names, (0, at, at))
    tally[names] = (count + 1, min(first, at), max(last, at))
