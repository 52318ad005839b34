"""A backtest as JSON, and as one HTML page with a chart; see `governance.report.page` for what such a page promises.

Does not: leave out rows without saying how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from governance.model.canonical import Json
from governance.report.backtest import Backtest, Side
from governance.report.book import CellKind, Chart, Column, Section, Series, Table
from governance.report.page import page
from governance.report.sections import columns as col
from governance.report.sections.context import counted, fixed_table

_TOP = 25
_SERIES = ("same", "blocked", "allowed", "other")
_TONES = {"blocked": "refused", "allowed": "allowed", "other": "warned"}
_WORDS = {
    "same": "as recorded",
    "blocked": "newly blocked",
    "allowed": "newly allowed",
    "other": "otherwise, let through or refused as before",
}
_MOST_DAYS = 120


def backtest_tree(made: Backtest) -> dict[str, Json]:
    """Everything, for machines. Tables are by count, the largest first."""
    return {
        "policy": {"digest": made.policy, "revision": made.revision, "names": list(made.names)},
        "since": made.since,
        "until": made.until,
        "decisions": made.decisions,
        "judged": made.judged,
        "same": made.same,
        "newly_blocked": _side(made.blocked),
        "newly_allowed": _side(made.allowed),
        "otherwise": dict(sorted(made.shifted.items())),
        "days": {day: dict(zip(_SERIES, counts, strict=True)) for day, counts in sorted(made.days.items())},
        "not_gathered_then": dict(made.blind.most_common()),
        "broken": {"count": made.broken_count, "first": list(made.broken)},
        "other_versions": dict(sorted(made.versions.items())),
        "evidence_gone": made.gone,
    }


def backtest_page(made: Backtest) -> bytes:
    """The page."""
    cards = [
        ("refused", made.blocked.count, "newly blocked"),
        ("allowed", made.allowed.count, "newly allowed"),
        ("warned", sum(made.shifted.values()), "otherwise, let through or refused as before"),
        ("plain", made.same, f"as recorded, of {made.decisions:,}"),
    ]
    return b"".join(
        page("backtest.html", made=made, cards=cards, sections=list(_sections(made)), most=_TOP, rest="")
    )


def _side(side: Side) -> dict[str, Json]:
    def table(counts: Counter[str]) -> Json:
        return dict(counts.most_common())

    return {
        "count": side.count,
        "by_rule": table(side.rules),
        "by_actor": table(side.actors),
        "by_artifact": table(side.artifacts),
        "by_environment": table(side.environments),
        "examples": [
            {
                "id": one.id,
                "at": one.at,
                "artifact": one.ref,
                "actor": one.actor,
                "environment": one.environment,
                "action": one.action,
                "before": one.before,
                "after": one.after,
                "rules": list(one.rules),
            }
            for one in side.examples
        ],
    }


def _sections(made: Backtest) -> Iterator[Section]:
    lacks = _lacks(made)
    if lacks.lead:
        yield lacks
    if made.days:
        yield Section(name="days", title="By day", charts=(_by_day(made),))
    for word, side in (("blocked", made.blocked), ("allowed", made.allowed)):
        if side.count:
            yield _moved(word, side)
    if not made.changed:
        yield Section(
            name="none", title="Changes", lead=("Nothing would have been newly blocked or newly allowed.",)
        )


def _lacks(made: Backtest) -> Section:
    lead = []
    if made.broken_count:
        lead.append(f"{made.broken_count:,} entries are broken and were not judged.")
    lead += [
        f"{count:,} entries are of version {version}, which this program does not read."
        for version, count in sorted(made.versions.items())
    ]
    if made.gone:
        lead.append(f"{made.gone:,} decisions could not be judged: their evidence was erased or never kept.")
    if made.blind:
        lead.append(
            "Newly blocked decisions rest on facts that nobody gathered then, so they may say little."
        )
    tables = []
    if made.broken:
        tables.append(fixed_table("broken", "Broken", (col.WHAT,), [(line,) for line in made.broken]))
    if made.blind:
        tables.append(
            _counted(
                "blind", "Facts that were not gathered then", Column("fact", "Fact", CellKind.ID), made.blind
            )
        )
    return Section(name="lacks", title="What the figures lack", lead=tuple(lead), tables=tuple(tables))


def _moved(word: str, side: Side) -> Section:
    examples = fixed_table(
        f"{word}-examples",
        "Examples",
        (
            col.AT, col.ACTION, col.ARTIFACT, col.ACTOR, col.ENVIRONMENT, Column("before", "Was", CellKind.WORD),
            Column("after", "Would be", CellKind.WORD), col.RULES, col.DECISION,
        ),
        [
            (one.at, one.action, one.ref, one.actor, one.environment, one.before, one.after, ", ".join(one.rules) or None, one.id)
            for one in side.examples
        ],
    )  # fmt: skip
    by = (
        ("By rule", col.RULE, side.rules),
        ("By person", col.ACTOR, side.actors),
        ("By artifact", col.ARTIFACT, side.artifacts),
        ("By environment", col.ENVIRONMENT, side.environments),
    )
    return Section(
        name=word,
        title=_WORDS[word].capitalize(),
        lead=(f"{counted(side.count, 'decision')}.",),
        tables=(
            *(_counted(f"{word}-{column.name}", title, column, counts) for title, column, counts in by),
            examples,
        ),
    )


def _counted(name: str, title: str, column: Column, counts: Counter[str]) -> Table:
    return fixed_table(name, title, (column, col.DECISIONS), counts.most_common())


def _by_day(made: Backtest) -> Chart:
    """A column per day, or per several days where there are many, of what came out otherwise."""
    days = sorted(made.days.items())
    step = max(1, -(-len(days) // _MOST_DAYS))
    starts = range(0, len(days), step)
    sums = [
        [sum(each) for each in zip(*(counts for _, counts in days[at : at + step]), strict=True)]
        for at in starts
    ]
    return Chart(
        name="days",
        title="Decisions that would have come out otherwise",
        kind="columns",
        labels=tuple(days[at][0] for at in starts),
        series=tuple(
            Series(_WORDS[name], tuple(row[place] for row in sums), tone=_TONES[name])
            for place, name in enumerate(_SERIES)
            if name in _TONES
        ),
        unit="decisions",
    )
