"""Section 3: how many there are, by everything a tester asks for, with sums that add up, and the whole list."""

from __future__ import annotations

from governance.report.book import Cell, CellKind, Chart, Column, Row, Section, Table
from governance.report.entries import RESULTS
from governance.report.filling import UNFINISHED
from governance.report.ledger import Ledger
from governance.report.sections import columns as col
from governance.report.sections.context import (
    Context,
    columns_chart,
    counted,
    fixed_table,
    query_table,
    steps_between,
)
from governance.report.sections.exceptions import OF_DECISION
from governance.report.sections.others import others_table

TITLES = {
    "refused": "Refused",
    "quarantined": "Quarantined",
    "would-block": "Would have been blocked",
    "waived": "Allowed by waiver",
    "warned": "Allowed with warning",
    "allowed": "Allowed",
}
_BY = (
    ("action", "Decisions by action"),
    ("environment", "Decisions by environment"),
    ("mode", "Decisions by mode"),
    ("decision", "Decisions by verdict"),
)


def population(at: Context) -> Section:
    """Counts that add up, and every decision."""
    total, extent = at.counts["decisions"], at.extent
    lead = [
        f"{counted(total, 'decision')} and {counted(extent.selected - total, 'other entry', 'other entries')} were recorded in the period"
        + (" and selection" if str(at.selection) else "")
        + f"; {counted(extent.broken, 'entry', 'entries')} could not be read because what is there is not what was recorded.",
        "Each table below splits the same population, so that each sum is the same.",
    ]
    if extent.is_whole:
        lead.append(
            f"The period is one piece of the log: entries {extent.start:,} to {extent.stop - 1:,} are all of them, without a gap."
        )
    elif extent.start is not None:
        lead.append(
            f"The entries lie between {extent.start:,} and {extent.stop - 1:,} of the log; those between that are missing here were written "
            "by clocks outside the period, do not match the selection, or are broken."
        )
    return Section(
        name="population",
        title="Population",
        lead=tuple(lead),
        pairs=(
            ("Entries in the period", extent.entries),
            ("of these selected and whole", extent.selected),
            ("of these broken", extent.broken),
            ("of these not in the selection", extent.entries - extent.selected - extent.broken),
            ("Decisions", total),
            *((TITLES[result], at.counts[result]) for result in RESULTS),
        ),
        tables=(
            *(_split(at, column, title) for column, title in _BY),
            _kinds(at),
            _endings(at),
            decisions_table(at),
            others_table(at),
        ),
        charts=_timeline(at),
        selection=at.search(kinds=("decision",)),
    )


def overview(at: Context) -> Section:
    """How much happened, and when."""
    total = at.counts["decisions"]
    about = f" about what matches `{at.selection}`" if str(at.selection) else ""
    return Section(
        name="overview",
        title="At a glance",
        lead=(
            f"{counted(total, 'decision')} {'was' if total == 1 else 'were'} recorded{about}.",
            "A decision is on record before anything moves, and what came of it afterwards.",
        ),
        charts=_timeline(at),
    )


def decisions(at: Context) -> Section:
    """Every decision, and how it ended."""
    return Section(
        name="decisions",
        title="Decisions",
        tables=(decisions_table(at),),
        selection=at.search(kinds=("decision",)),
    )


def counts_of(ledger: Ledger) -> dict[str, int]:
    """Decisions by result, and what else is asked first."""
    found = dict(ledger.rows("SELECT result, count(*) FROM decision WHERE later = 0 GROUP BY 1"))
    counts = {result: int(found.get(result, 0)) for result in RESULTS}
    return counts | {
        "decisions": sum(counts.values()),
        "unfinished": ledger.count(f"SELECT count(*) FROM decision d WHERE {UNFINISHED}"),
        "uploads": ledger.count(f"SELECT count(*) FROM ({_UPLOADED})"),
        "signed": ledger.count(f"SELECT count(*) FROM ({_UPLOADED} AND ({_SIGNED}))"),
        "failed": ledger.count(f"SELECT count(*) FROM decision d WHERE later = 0 AND {_FAILED}"),
        "break-glass": ledger.count(
            f"SELECT count(*) FROM event WHERE kind = 'waiver' AND event = 'break-glass' AND (span = 0 OR {OF_DECISION}) "
            "AND json_extract(body, '$.opened') = 1"
        ),
    }  # fmt: skip


_HAS = "EXISTS (SELECT 1 FROM outcome o WHERE o.decision = d.id AND {what})"
_UPLOADED = "SELECT 1 FROM decision d WHERE later = 0 AND action = 'upload' AND " + _HAS.format(
    what="o.status = 'done'"
)
_FAILED = _HAS.format(what="o.status = 'failed'")
_SIGNED = (
    _HAS.format(what="o.bundle IS NOT NULL")
    + " OR EXISTS (SELECT 1 FROM event s WHERE s.kind = 'signature' AND s.event = 'made' AND s.subject = d.ref "
    "AND (s.seq IS NULL OR s.seq > d.seq))"
)


def _split(at: Context, column: str, title: str) -> Table:
    cells = ", ".join(f"sum(result = '{result}')" for result in RESULTS)
    rows: list[Row] = [
        tuple(row)
        for row in at.ledger.rows(
            f"SELECT {column}, {cells}, count(*) FROM decision WHERE later = 0 GROUP BY 1 ORDER BY 1 LIMIT 1000"
        )
    ]
    shown = [sum(_number(row[place]) for row in rows) for place in range(1, len(RESULTS) + 2)]
    totals = [at.counts[name] for name in (*RESULTS, "decisions")]
    if shown[-1] < totals[-1]:
        rows.append(("(others)", *(all_ - some for all_, some in zip(totals, shown, strict=True))))
        shown = totals
    return fixed_table(
        f"by-{column}",
        title,
        (
            Column(column, column.capitalize(), CellKind.NAME if column == "environment" else CellKind.WORD),
            *(Column(result, TITLES[result], CellKind.NUMBER) for result in RESULTS),
            Column("sum", "Sum", CellKind.NUMBER),
        ),
        [*rows, ("Sum", *shown)] if rows else [],
        empty=col.NO_DECISION,
    )


def _number(cell: Cell) -> int:
    return cell if isinstance(cell, int) else 0


def _kinds(at: Context) -> Table:
    rows: list[Row] = [
        (str(kind), int(count))
        for kind, count in at.ledger.rows(
            "SELECT 'decision', count(*) FROM decision WHERE later = 0 UNION ALL SELECT 'outcome', count(*) FROM outcome WHERE later = 0 "
            "UNION ALL SELECT * FROM (SELECT kind, count(*) FROM event WHERE span = 0 GROUP BY 1 ORDER BY 1)"
        )
        if count
    ]
    if at.extent.broken:
        rows.append(("(broken)", at.extent.broken))
    if rows:
        rows.append(("Sum", sum(_number(row[1]) for row in rows)))
    return fixed_table(
        "by-kind",
        "Entries by kind",
        (col.KIND, Column("entries", "Entries", CellKind.NUMBER)),
        rows,
    )


def _endings(at: Context) -> Table:
    rows: list[Row] = [
        (status, int(count))
        for status, count in at.ledger.rows(
            "SELECT coalesce((SELECT status FROM outcome o WHERE o.decision = d.id ORDER BY o.seq DESC LIMIT 1), '(none)'), count(*) "
            "FROM decision d WHERE later = 0 GROUP BY 1 ORDER BY 1"
        )
    ]
    if rows:
        rows.append(("Sum", sum(_number(row[1]) for row in rows)))
    return fixed_table(
        "by-outcome",
        "Decisions by how the act ended",
        (Column("outcome", "Last outcome", CellKind.WORD), col.DECISIONS),
        rows,
        note="An outcome counts for its decision also where it was recorded after the period. (none): see section 7.",
        empty=col.NO_DECISION,
    )


_ENDED = (
    "(SELECT group_concat(status || iif(files, ', ' || files || iif(files = 1, ' file, ', ' files, ') || bytes || ' bytes', '') "
    "|| coalesce(': ' || error, '') || iif(times > 1, ' (' || times || ' times)', ''), '; ') FROM (SELECT status, error, "
    "sum(count) AS files, sum(bytes) AS bytes, count(*) AS times FROM outcome o WHERE o.decision = d.id GROUP BY 1, 2 ORDER BY min(o.rowid)))"
)
"""How the act of a decision `d` ended, each way of ending once: a model that is moved file by file has an outcome for each."""


def decisions_table(at: Context) -> Table:
    """The population itself."""
    return query_table(
        at.ledger,
        "decisions",
        "Every decision",
        (
            col.ENTRY, col.AT, col.RESULT, col.ACTION, col.ARTIFACT, col.KIND, col.NAME, col.VERSION, col.DIGEST, col.FILES, col.SIZE,
            col.ACTOR, Column("vouched", "Name proven", CellKind.WORD),
            col.ENVIRONMENT, col.MODE, Column("verdict", "Verdict", CellKind.WORD), col.RULES, Column("objections", "Objections"),
            Column("omitted", "Objections that are in the evidence alone", CellKind.NUMBER), Column("waivers", "Waivers", CellKind.ID),
            Column("waived", "Rules waived"), Column("degraded", "Degraded"), col.OUTCOME, Column("ended", "How it ended"),
            Column("policies", "Policies"), col.REVISION, col.POLICY, Column("mlflow", "MLflow"),
            Column("correlation", "Sequence", CellKind.ID), col.DECISION,
        ),
        "SELECT seq, at, result, action, ref, kind, name, version, digest, files, size, actor, iif(vouched, 'yes', 'claimed'), environment, "
        "mode, decision, nullif(rules, ''), "
        "(SELECT group_concat(severity || ': ' || message || ' (' || rule || iif(effect = 'warn', ', warning only)', ')'), '; ') "
        "FROM objection b WHERE b.n = d.n), nullif(omitted, 0), nullif(waivers, ''), "
        "(SELECT group_concat(rule || ' by ' || waiver, '; ') FROM waived w WHERE w.n = d.n), degraded, "
        "coalesce((SELECT group_concat(DISTINCT status) FROM outcome o WHERE o.decision = d.id), '(none)'), "
        f"{_ENDED}, nullif(policies, ''), revision, policy, "
        "(SELECT group_concat(key || ' ' || value, '; ') FROM json_each(d.mlflow)), correlation, id "
        f"FROM decision d WHERE later = 0 ORDER BY n {at.order}",
        note="Newest first." if at.edition.newest_first else "In the order in which the log has them.",
        minor="entry kind name version digest files size vouched mode verdict objections omitted waivers waived degraded ended policies "
        "revision policy mlflow correlation id",
        empty=col.NO_DECISION,
    )  # fmt: skip


def _timeline(at: Context) -> tuple[Chart, ...]:
    first, last = at.ledger.row("SELECT min(at), max(at) FROM decision WHERE later = 0")
    if first is None:
        return ()
    steps = steps_between(first, last)
    found = at.ledger.rows(
        "SELECT substr(at, 1, ?), result, count(*) FROM decision WHERE later = 0 GROUP BY 1, 2",
        (steps.prefix,),
    )
    return (columns_chart("timeline", "Decisions over time", steps, RESULTS, found),)
