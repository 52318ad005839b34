"""Section 3: how many there are, by everything a tester asks for, with sums that add up, and the whole list."""

from __future__ import annotations

from governance.report.book import Cell, CellKind, Chart, Column, Row, Section, Series, Table
from governance.report.entries import RESULTS
from governance.report.sections.context import Context, counted, fixed_table, query_table, steps_between

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
    total = at.ledger.count("SELECT count(*) FROM decision WHERE later = 0")
    extent = at.extent
    lead = [
        f"{counted(total, 'decision')} and {counted(extent.selected - total, 'other entry', 'other entries')} were recorded in the period"
        + (" and selection" if at.selection else "")
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
        number=3,
        name="population",
        title="Population",
        lead=tuple(lead),
        pairs=(
            ("Entries in the period", extent.entries),
            ("of these selected and whole", extent.selected),
            ("of these broken", extent.broken),
            ("of these not in the selection", extent.entries - extent.selected - extent.broken),
            ("Decisions", total),
            *((TITLES[result], count) for result, count in results_of(at).items()),
        ),
        tables=(
            *(_split(at, column, title) for column, title in _BY),
            _kinds(at),
            _endings(at),
            decisions_table(at),
        ),
        charts=_timeline(at),
        selection=at.search(kinds=("decision",)),
    )


def results_of(at: Context) -> dict[str, int]:
    """Decisions by result."""
    found = dict(at.ledger.rows("SELECT result, count(*) FROM decision WHERE later = 0 GROUP BY 1"))
    return {result: int(found.get(result, 0)) for result in RESULTS}


def _split(at: Context, column: str, title: str) -> Table:
    cells = ", ".join(f"sum(result = '{result}')" for result in RESULTS)
    rows: list[Row] = [
        tuple(row)
        for row in at.ledger.rows(
            f"SELECT {column}, {cells}, count(*) FROM decision WHERE later = 0 GROUP BY 1 ORDER BY 1 LIMIT 1000"
        )
    ]
    shown = [sum(_number(row[place]) for row in rows) for place in range(1, len(RESULTS) + 2)]
    whole = at.ledger.count("SELECT count(*) FROM decision WHERE later = 0")
    if shown[-1] < whole:
        totals = [*results_of(at).values(), whole]
        rows.append(("(others)", *(all_ - some for all_, some in zip(totals, shown, strict=True))))
        shown = totals
    return fixed_table(
        f"by-{column}",
        title,
        (
            Column(column, column.capitalize(), CellKind.WORD),
            *(Column(result, TITLES[result], CellKind.NUMBER) for result in RESULTS),
            Column("sum", "Sum", CellKind.NUMBER),
        ),
        [*rows, ("Sum", *shown)] if rows else [],
        empty="No decision was recorded in the period.",
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
        (Column("kind", "Kind", CellKind.WORD), Column("entries", "Entries", CellKind.NUMBER)),
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
        (Column("outcome", "Last outcome", CellKind.WORD), Column("decisions", "Decisions", CellKind.NUMBER)),
        rows,
        note="An outcome counts for its decision also where it was recorded after the period. (none): see section 7.",
        empty="No decision was recorded in the period.",
    )


def decisions_table(at: Context) -> Table:
    """The population itself."""
    return query_table(
        at.ledger,
        "decisions",
        "Every decision",
        (
            Column("entry", "Entry", CellKind.NUMBER),
            Column("at", "Time", CellKind.TIME),
            Column("result", "Result", CellKind.WORD),
            Column("action", "Action", CellKind.WORD),
            Column("artifact", "Artifact"),
            Column("digest", "Bytes", CellKind.DIGEST),
            Column("actor", "Who"),
            Column("vouched", "Name proven", CellKind.WORD),
            Column("environment", "Environment", CellKind.WORD),
            Column("mode", "Mode", CellKind.WORD),
            Column("verdict", "Verdict", CellKind.WORD),
            Column("rules", "Rules", CellKind.ID),
            Column("waivers", "Waivers", CellKind.ID),
            Column("outcome", "Outcome", CellKind.WORD),
            Column("policy", "Policy", CellKind.DIGEST),
            Column("revision", "Revision", CellKind.NUMBER),
            Column("id", "Decision", CellKind.ID),
        ),
        "SELECT seq, at, result, action, ref, digest, actor, iif(vouched, 'yes', 'claimed'), environment, mode, decision, "
        "nullif(rules, ''), nullif(waivers, ''), coalesce((SELECT group_concat(DISTINCT status) FROM outcome o WHERE o.decision = d.id), "
        "'(none)'), policy, revision, id FROM decision d WHERE later = 0 ORDER BY n",
        note="In the order in which the log has them.",
        minor="entry digest vouched mode verdict waivers policy revision id",
        empty="No decision was recorded in the period.",
    )


def _timeline(at: Context) -> tuple[Chart, ...]:
    first, last = at.ledger.row("SELECT min(at), max(at) FROM decision WHERE later = 0")
    if first is None:
        return ()
    steps = steps_between(first, last)
    counts = {result: [0] * steps.count for result in RESULTS}
    for start, result, count in at.ledger.rows(
        "SELECT substr(at, 1, ?), result, count(*) FROM decision WHERE later = 0 GROUP BY 1, 2",
        (steps.prefix,),
    ):
        counts[result][steps.place(start)] += count
    return (
        Chart(
            name="timeline",
            title="Decisions over time",
            kind="columns",
            labels=steps.labels(),
            series=tuple(Series(result, tuple(values)) for result, values in counts.items() if any(values)),
            unit="decisions",
        ),
    )
