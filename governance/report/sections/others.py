"""What else is on record: every entry that is neither a decision nor an outcome, in a line."""

from __future__ import annotations

from typing import Any

import orjson

from governance.audit.entry import EntryKind
from governance.report.book import Column, Row, Section, Table
from governance.report.sections import columns as col
from governance.report.sections.context import Context, counted, query_table

_MOST_ITEMS = 20
_SHOWN: dict[str, tuple[str, ...]] = {
    EntryKind.SIGNATURE: ("event", "digest", "key_id", "reason"),
    EntryKind.POLICY: ("names", "revision", "digest"),
    EntryKind.KEY: ("event", "key_id", "name", "reason"),
    EntryKind.WAIVER: ("event", "waiver", "rule", "reason"),
    EntryKind.ADVISORY: ("advisories",),
    EntryKind.REGISTRATION: ("event", "name", "version", "alias", "stage", "before"),
    EntryKind.RECOVERY: ("ids",),
    EntryKind.ERASURE: ("by", "reason", "digests"),
    EntryKind.HOLD: ("held", "by", "reason"),
}


def others(at: Context) -> Section:
    """Keys, policies, waivers, registered models, exports."""
    table = others_table(at)
    return Section(
        name="others",
        title="Keys, policies, waivers, exports",
        lead=(f"{counted(table.count, 'entry', 'entries')} beside decisions and their outcomes.",),
        tables=(table,),
    )


def others_table(at: Context) -> Table:
    """Without the starts of writers, which say nothing but that they are there."""
    return query_table(
        at.ledger,
        "others",
        "Every other entry",
        (col.AT, col.ENTRY, col.KIND, Column("subject", "About"), col.WHAT),
        f"SELECT at, seq, kind, subject, body FROM event WHERE span = 0 AND kind <> 'start' ORDER BY rowid {at.order}",
        each=_row,
        note="Without the starts of writers.",
        empty="Nothing was recorded beside decisions and their outcomes.",
    )


def _row(row: tuple[Any, ...]) -> Row:
    at, seq, kind, subject, body = row
    said = orjson.loads(body)
    parts = [f"{name} {_plain(said[name])}" for name in _SHOWN.get(kind, ("size", "root")) if said.get(name) is not None]  # fmt: skip
    return at, seq, kind, subject, "; ".join(parts) or None


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:_MOST_ITEMS])) + (" …" if len(value) > _MOST_ITEMS else "")
    return str(value)
