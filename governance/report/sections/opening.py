"""Sections 1 and 2: what the report is about, and how it can be checked."""

from __future__ import annotations

import base64
import hashlib

import orjson

from governance.audit.checkpoint import Checkpoint
from governance.report.book import Cell, CellKind, Column, Row, Section, Table
from governance.report.fields import Fields
from governance.report.sections import columns as col
from governance.report.sections.context import NOT_RECORDED, Context, counted, fixed_table, query_table

_WRITTEN = (
    "SELECT writer, at, NULL AS version FROM decision WHERE later = 0 UNION ALL SELECT writer, at, NULL FROM outcome WHERE later = 0 "
    "UNION ALL SELECT writer, at, iif(kind = 'start', coalesce(json_extract(body, '$.version'), '?'), NULL) FROM event WHERE span = 0"
)
"""Every entry of the report by its writer, with the software of those that say it."""


def scope(at: Context) -> Section:
    """What, when, from which systems, by whom, and what was left out on purpose."""
    first, last = at.ledger.row(f"SELECT min(at), max(at) FROM ({_WRITTEN})")
    lead = [
        f"This report tells what the audit log `{at.log.origin}` recorded "
        + (f"from {at.since}" if at.since else "from its first entry on")
        + (
            f" up to, and without, {at.until}."
            if at.until
            else f" up to {at.made_at}, when the report was made."
        )
        + " All times are UTC, by the clock of whoever wrote the entry."
    ]
    if at.until and at.until > at.made_at:
        lead.append(
            f"The period had not ended when the report was made, at {at.made_at}: what was recorded after that is not in it."
        )
    if str(at.selection):
        lead.append(
            f"It is narrowed to the entries that match `{at.selection}`: {at.extent.selected:,} of {at.extent.entries:,} in the period."
        )
    if not at.extent.entries:
        lead.append(
            "Nothing was recorded in this period. That is not good news by itself: either nothing passed the gate, or the gate wrote nothing."
        )
    pairs: list[tuple[str, Cell]] = [
        ("Log", at.log.origin),
        ("Period from", at.since or "the log's first entry"),
        ("Period to (exclusive)", at.until or f"{at.made_at} (now)"),
        ("First entry in it", first),
        ("Last entry in it", last),
        ("Entries in the period", at.extent.entries),
        ("Selection", str(at.selection) or "none: every entry of the period"),
        ("Made at", at.made_at),
        ("Made by", at.made_by),
        *at.software,
    ]
    writers = query_table(
        at.ledger,
        "writers",
        "Systems that wrote to the log",
        (
            Column("instance", "Instance", CellKind.ID),
            Column("software", "Software"),
            Column("entries", "Entries", CellKind.NUMBER),
            Column("starts", "Starts", CellKind.NUMBER),
            Column("first", "First entry", CellKind.TIME),
            Column("last", "Last entry", CellKind.TIME),
        ),
        f"SELECT writer, group_concat(DISTINCT version), count(*), count(version), min(at), max(at) FROM ({_WRITTEN}) GROUP BY 1 ORDER BY 1",
        note="The software is known of those that started in the period. `NAME/HOST` is a client that sent its entries to a server: the server "
        "vouches for the name, where it is not `claimed:`, and the host is the client's word.",
    )
    hosts = query_table(
        at.ledger,
        "environments",
        "Environments and repositories that were gated",
        (
            col.ENVIRONMENT,
            Column("repository", "Repository", CellKind.ID),
            col.DECISIONS,
            col.ARTIFACTS,
            Column("actors", "Actors", CellKind.NUMBER),
        ),
        "SELECT environment, substr(ref || '/', 1, instr(ref || '/', '/') - 1), count(*), count(DISTINCT ref), count(DISTINCT actor) "
        "FROM decision WHERE later = 0 GROUP BY 1, 2 ORDER BY 1, 2",
        empty=col.NO_DECISION,
    )
    return Section(
        name="scope",
        title="Scope and period",
        lead=tuple(lead),
        pairs=tuple(pairs),
        tables=(writers, hosts),
    )


def integrity(at: Context) -> Section:
    """Whether the log proves itself, and how to see that without us."""
    found, points = at.verification, at.checkpoints
    if found.is_good and not at.extent.broken:
        lead = [
            (
                f"All {found.size:,} entries of the log were read and recomputed for this report. Each is byte for byte the one that was "
                "recorded, none is missing, none was added, and the own numbering of each writer beside the log has no gap. Clients over the "
                "network number what they send by themselves: gaps in that are their word, and among the oddities below."
            )
        ]
    else:
        lead = [
            (
                f"The log does not prove itself: {counted(len(found.problems), 'problem')} in the whole log, "
                f"{counted(at.extent.broken, 'broken entry', 'broken entries')} in the period. Figures below leave out what is broken, and "
                "nothing in this report can be relied upon until that is explained. Keep the log as it is."
            )
        ]
    lead.append(
        f"The log was compared with {counted(found.compared, 'tree head')} remembered from before."
        if found.compared
        else "The log was compared with no tree head remembered from before. A log that was rewritten as a whole would not show; "
        "compare the checkpoints below with ones that somebody else kept."
    )
    lead.append(at.edition.proof)
    pairs: list[tuple[str, Cell]] = [
        (
            "Verdict",
            "the log proves itself"
            if found.is_good and not at.extent.broken
            else "THE LOG DOES NOT PROVE ITSELF",
        ),
        ("Entries verified", found.size),
        ("Checkpoint before the period", _head(points.first)),
        ("Checkpoint after the period", _head(points.last)),
        ("Checkpoint of this report", _head(points.head)),
        ("Signed by", _signers(points.head, at.vkey)),
        ("Key fingerprint", _fingerprint(at.vkey)),
        ("Cosigned by", ", ".join(key.vkey for key in at.witnesses) or "no witness"),
        ("Tree heads compared", found.compared),
        ("Broken entries in the period", at.extent.broken),
        ("Check it offline", at.command),
    ]
    problems: list[Row] = [(each.index, each.what) for each in found.problems]
    columns = (col.ENTRY, col.WHAT)
    return Section(
        name="integrity",
        title="Integrity statement",
        lead=tuple(lead),
        pairs=tuple(pairs),
        tables=(
            fixed_table("problems", "What is broken", columns, problems, empty="Nothing is broken."),
            query_table(
                at.ledger,
                "broken",
                "Broken entries of the period",
                (
                    columns[0],
                    Column("id", "Id by which it is filed", CellKind.ID),
                    Column("at", "Time by which it is filed", CellKind.TIME),
                    columns[1],
                ),
                "SELECT seq, id, at, why FROM broken ORDER BY seq",
                empty="No entry of the period is broken.",
            ),
            fixed_table(
                "oddities",
                "Oddities that break nothing",
                columns,
                [(each.index, each.what) for each in found.notes],
                empty="No clock went backwards, and nothing else was odd.",
                note="The first hundred are listed." if len(found.notes) >= 100 else None,
            ),
            _heads(at),
            _exports(at),
        ),
    )


def _heads(at: Context) -> Table:
    return query_table(
        at.ledger,
        "heads",
        "Tree heads that left the machine in the period",
        (
            col.AT,
            col.ENTRY,
            col.TREE_SIZE,
            col.ROOT,
            Column("anchors", "Kept by"),
            Column("lacking", "Not kept by"),
        ),
        "SELECT at, seq, body FROM event WHERE kind = 'checkpoint' AND span = 0 ORDER BY seq",
        each=lambda row: (
            row[0],
            row[1],
            *_shared(row[2]),
            *_keepers(_body(row[2])),
        ),
        empty="No tree head was sent to an anchor or witness in the period.",
    )


def _exports(at: Context) -> Table:
    return query_table(
        at.ledger,
        "exports",
        "Exports of the log in the period",
        (
            col.AT,
            col.ENTRY,
            col.TREE_SIZE,
            col.ROOT,
            col.BY,
            col.WHAT,
        ),
        "SELECT at, seq, body FROM event WHERE kind = 'export' AND span = 0 ORDER BY seq",
        each=lambda row: (
            row[0],
            row[1],
            *_shared(row[2]),
            _body(row[2]).text("by") or NOT_RECORDED,
            _body(row[2]).text("what") or "the whole log",
        ),
        empty="The log was not handed out in the period.",
    )


def _keepers(body: Fields) -> tuple[str | None, str | None]:
    """The places that kept a head, and those that did not. Earlier versions recorded only where it was sent."""
    kept = body.texts("kept") or body.texts("anchors")
    lacking = [each.text("anchor") or NOT_RECORDED for each in body.subs("failed")]
    return ", ".join(kept) or None, ", ".join(lacking) or None


def _body(text: str) -> Fields:
    return Fields(orjson.loads(text))


def _shared(text: str) -> tuple[int | None, str | None]:
    return _body(text).number("size"), _body(text).text("root")


def _head(point: Checkpoint) -> str:
    return f"{point.size} entries, root {point.root.hex()}"


def _signers(head: Checkpoint, vkey: str | None) -> str:
    if head.note is None:
        return "nobody: the log has no checkpoint key, so whoever holds it could have rewritten it as a whole"
    return vkey or NOT_RECORDED


def _fingerprint(vkey: str | None) -> str:
    """SHA-256 of the raw public key, as people compare it."""
    if vkey is None:
        return "none"
    raw = base64.b64decode(vkey.split("+", 2)[2])[1:]
    return f"SHA-256 {hashlib.sha256(raw).hexdigest()}"
