"""Section 9: how much the scanners looked at, and how fresh they were."""

from __future__ import annotations

from governance.report.book import CellKind, Chart, Column, Section, Series
from governance.report.sections import columns as col
from governance.report.sections.context import (
    Context,
    Steps,
    columns_chart,
    counted,
    query_table,
    steps_between,
)

_SCANS = ("complete", "not complete", "not known", "not asked for")
_SCAN_COUNTS = ", ".join(f"count(*) FILTER (WHERE scan = '{scan}')" for scan in _SCANS)
_JOINED = "seen JOIN decision USING (n)"


def coverage(at: Context) -> Section:
    """Scanner coverage and database freshness over time."""
    ledger = at.ledger
    read, gone, changed = ledger.row(
        "SELECT sum(state = 'read'), sum(state = 'gone'), sum(state = 'changed') FROM seen"
    )
    scans = dict(ledger.rows("SELECT scan, count(*) FROM seen WHERE state = 'read' GROUP BY 1"))
    total, scanned, skipped = ledger.row("SELECT sum(total), sum(scanned), sum(skipped) FROM seen")
    lead = [
        (
            f"From the facts that {counted(read or 0, 'decision')} rest on; those of {gone or 0:,} are not kept any more, and those of "
            f"{changed or 0:,} are not what was recorded."
        ),
        "A scan that is not known to be complete is counted as not known, never as complete; where no rule in force asked, it says so.",
    ]
    tables = (
        query_table(
            ledger, "freshness", "Coverage and freshness by day and action",
            (
                Column("day", "Day", CellKind.TIME), col.ACTION, col.DECISIONS,
                Column("complete", "Scan complete", CellKind.NUMBER), Column("incomplete", "Not complete", CellKind.NUMBER),
                Column("unknown", "Not known", CellKind.NUMBER), Column("not_asked", "Not asked for", CellKind.NUMBER),
                Column("gone", "Facts not at hand", CellKind.NUMBER),
                Column("scan_age", "Oldest scan (s)", CellKind.NUMBER),
                Column("database_age", "Oldest database (s)", CellKind.NUMBER), col.FILES,
                Column("scanned", "Looked into", CellKind.NUMBER), Column("skipped", "Skipped", CellKind.NUMBER),
            ),
            f"SELECT substr(at, 1, 10), action, count(*), {_SCAN_COUNTS}, count(*) FILTER (WHERE state <> 'read'), max(scan_age), "
            f"max(database_age), sum(total), sum(scanned), sum(skipped) FROM {_JOINED} GROUP BY 1, 2 ORDER BY 1, 2",
            empty=col.NO_DECISION,
        ),
        query_table(
            ledger, "engines", "Scanners that took part",
            (Column("engine", "Scanner", CellKind.ID), col.DECISIONS,
             col.FIRST, col.LAST),
            "SELECT name, count, first, last FROM tally WHERE what = 'engine' ORDER BY count DESC, name",
            empty="No scanner is named in the facts of the period.",
        ),
        query_table(
            ledger, "unknown-facts", "What could not be found out",
            (Column("fact", "Fact", CellKind.ID), col.REASON, Column("times", "Times", CellKind.NUMBER),
             col.FIRST, col.LAST),
            "SELECT name, more, count, first, last FROM tally WHERE what = 'unknown' ORDER BY count DESC, name, more",
            note="Facts that no rule in force asked for are left out. Of a list that is incomplete, what is known counts. Whether an unknown fact refused the act is the policy's decision; it was never read as good.",
            empty="The facts at hand have none that was asked for and not found out.",
        ),
    )  # fmt: skip
    return Section(
        name="coverage",
        title="Scanner coverage and freshness",
        lead=tuple(lead),
        pairs=(
            ("Decisions whose facts were read", read or 0),
            *((f"Scan {name}", scans.get(name, 0)) for name in _SCANS),
            ("Files, all decisions together", total),
            ("looked into", scanned),
            ("skipped", skipped),
        ),
        tables=tables,
        charts=_charts(at),
        selection=at.search(kinds=("decision",)),
    )


def _charts(at: Context) -> tuple[Chart, ...]:
    first, last = at.ledger.row(f"SELECT min(at), max(at) FROM {_JOINED} WHERE state = 'read'")
    if first is None:
        return ()
    steps = steps_between(first, last)
    return tuple(chart for chart in (_ages(at, steps), _scans(at, steps)) if chart is not None)


def _ages(at: Context, steps: Steps) -> Chart | None:
    scan: list[int | None] = [None] * steps.count
    database: list[int | None] = [None] * steps.count
    found = at.ledger.rows(
        f"SELECT substr(at, 1, ?), max(scan_age), max(database_age) FROM {_JOINED} WHERE state = 'read' GROUP BY 1",
        (steps.prefix,),
    )
    for start, age, database_age in found:
        place = steps.place(start)
        for line, value in ((scan, age), (database, database_age)):
            if value is not None:
                line[place] = max(line[place] or 0, value // 3600)
    lines = (Series("oldest scan", tuple(scan)), Series("oldest advisories", tuple(database)))
    known = tuple(line for line in lines if any(value is not None for value in line.values))
    if not known:
        return None
    return Chart(
        name="freshness",
        title="Age of the oldest scan and of the scanner's advisories",
        kind="lines",
        labels=steps.labels(),
        series=known,
        unit="hours",
    )


def _scans(at: Context, steps: Steps) -> Chart:
    found = at.ledger.rows(
        f"SELECT substr(at, 1, ?), scan, count(*) FROM {_JOINED} WHERE state = 'read' GROUP BY 1, 2",
        (steps.prefix,),
    )
    return columns_chart("scans", "Decisions by whether the scan was complete", steps, _SCANS, found)
