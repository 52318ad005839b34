"""Section 4: what was refused, quarantined or would have been, on what grounds, and what happened next."""

from __future__ import annotations

import itertools
from typing import Any

from governance.model.request import parse_utc
from governance.report.book import CellKind, Chart, Column, Row, Section, Table
from governance.report.ledger import Ledger
from governance.report.sections import columns as col
from governance.report.sections.context import Context, bar_chart, counted, query_table, span_words

_SHUT = "('refused', 'quarantined')"
_AGAINST = "('refused', 'quarantined', 'would-block')"
_GOOD = ("waived", "warned", "allowed")
_USES = ("load", "download", "promote")
"""Ways to get at the same bytes. That a refused model may be deleted or uploaded anew says nothing about its use."""
_MOST_RULES = 20


def refusals(at: Context) -> Section:
    """Denials and quarantines."""
    total = at.ledger.count(f"SELECT count(*) FROM decision WHERE later = 0 AND result IN {_AGAINST}")
    shut = at.ledger.count(f"SELECT count(*) FROM decision WHERE later = 0 AND result IN {_SHUT}")
    lead = (
        (
            f"The policy said no {counted(total, 'time')}. {counted(shut, 'act')} did not happen; "
            f"{counted(total - shut, 'act')} went on because the policy was only being tried out (observe or warn mode), or because "
            "break-glass was used."
        ),
        (
            "What happened next looks at the log up to the time of this report, whatever the report is narrowed to: the first later request "
            "for the same artifact in the same environment that was let through, else the last that was refused. After a refused "
            "upload or deletion it is the next one; after a refused load, download or promotion the next of these three."
        ),
    )
    return Section(
        name="refusals",
        title="Blocks and quarantines",
        lead=lead,
        pairs=(
            ("The policy said no", total),
            ("of these refused or quarantined", shut),
            ("of these let through", total - shut),
        ),
        tables=(_refused(at), _objections(at), _by_rule(at)),
        charts=_chart(at),
        selection=at.search(kinds=("decision",), decisions=("quarantine", "block")),
    )


def _refused(at: Context) -> Table:
    def each(row: tuple[Any, ...]) -> Row:
        n, ref, environment, action, digest, when, is_shut, *cells = row
        words, later = what_next(
            at.ledger, n=n, ref=ref, environment=environment, action=action, digest=digest, at=when, was_refused=bool(is_shut)
        )  # fmt: skip
        return (*cells, words, later)

    return query_table(
        at.ledger,
        "refused",
        "Each refusal and what happened next",
        (
            col.ENTRY, col.AT, col.RESULT, col.ACTION, col.ARTIFACT, col.DIGEST, col.ACTOR, col.ENVIRONMENT, col.MODE, col.RULES,
            Column("message", "First objection"), col.OUTCOME, col.DECISION, Column("next", "What happened next"), Column("next_id", "Next decision", CellKind.ID),
        ),
        f"SELECT n, ref, environment, action, digest, at, result IN {_SHUT}, seq, at, result, action, ref, digest, actor, environment, mode, rules, "
        "(SELECT message FROM objection o WHERE o.n = d.n LIMIT 1), "
        "coalesce((SELECT group_concat(DISTINCT status) FROM outcome o WHERE o.decision = d.id), '(none)'), id "
        f"FROM decision d WHERE later = 0 AND result IN {_AGAINST} ORDER BY n {at.order}",
        each=each,
        minor="entry action digest mode outcome id next_id",
        empty="Nothing was refused, quarantined or would have been in the period.",
    )  # fmt: skip


def what_next(
    ledger: Ledger, *, n: int, ref: str, environment: str, action: str, digest: str | None, at: str,
    was_refused: bool,
) -> tuple[str, str | None]:  # fmt: skip
    """What became of an artifact after the policy said no, in words, and the decision that shows it."""
    acts = ", ".join(f"'{each}'" for each in (_USES if action in _USES else (action,)))
    later = (
        f"FROM decision WHERE ref = ? AND environment = ? AND result {{}} AND n > ? AND action IN ({acts})"
    )

    def first(*results: str) -> tuple[Any, ...] | None:
        """The first of these. Asked for one by one, so that a model that is refused a thousand times is not read through as often."""
        found = (
            ledger.rows(
                f"SELECT n, id, at, digest, waivers, action {later.format('= ?')} ORDER BY n LIMIT 1",
                (ref, environment, result, n),
            )
            for result in results
        )
        return min(itertools.chain.from_iterable(found), default=None)

    good, forced = first(*_GOOD), first("would-block")
    words, shown = [], None
    if forced is not None and (good is None or forced[0] < good[0]):
        _, shown, when, other, _, act = forced
        words.append(
            f"{_act(act, action)}let through against the verdict {span_words(_seconds(at, when))} later{_bytes(digest, other)}"
        )
    if good is not None:
        _, shown, when, other, waivers, act = good
        how = f" by waiver {waivers}" if waivers else ""
        words.append(
            f"{_act(act, action)}let through {span_words(_seconds(at, when))} later{how}{_bytes(digest, other)}"
        )
    if not words:
        again, last = ledger.row(
            f"SELECT count(*), max(n) {later.format(f'IN {_SHUT}')}", (ref, environment, n)
        )
        if again:
            shown, when = ledger.row("SELECT id, at FROM decision WHERE n = ?", (last,))
            refused = "refused again" if was_refused else "refused"
            words.append(
                f"{refused} {counted(again, 'time')}, the last {span_words(_seconds(at, when))} later"
            )
        else:
            words.append("not asked for again")
    asked = ledger.count(
        "SELECT count(*) FROM event WHERE kind = 'waiver' AND event = 'requested' AND subject = ? AND at >= ?",
        (ref, at),
    )
    if asked:
        words.append(f"{counted(asked, 'waiver')} asked for")
    return "; ".join(words), shown


def _act(then: str, refused: str) -> str:
    return "" if then == refused else f"{then} "


def _bytes(refused: str | None, then: str | None) -> str:
    if refused is None or then is None:
        return ""
    return ", the same bytes" if then == refused else ", other bytes"


def _seconds(first: str, then: str) -> float:
    return max(0.0, (parse_utc(then) - parse_utc(first)).total_seconds())


def _objections(at: Context) -> Table:
    return query_table(
        at.ledger,
        "objections",
        "Each objection with its evidence",
        (
            col.ENTRY, col.AT, col.ARTIFACT, col.RULE, col.EFFECT, Column("severity", "Severity", CellKind.WORD), Column("message", "Objection"),
            Column("evidence", "What it rests on"), Column("remediation", "What to do"),
            Column("waivable", "May be waived", CellKind.WORD), col.DECISION,
        ),
        "SELECT d.seq, d.at, d.ref, o.rule, o.effect, o.severity, o.message, nullif(o.evidence, ''), o.remediation, "
        "iif(o.waivable, 'yes', 'no'), d.id FROM objection o JOIN decision d USING (n) "
        f"ORDER BY n {at.order}",
        note="With those that only warned. Evidence is cut to 2,000 characters here; the whole is in the entry and its facts.",
        minor="entry effect evidence waivable id",
        empty=col.NO_OBJECTION,
    )  # fmt: skip


def _by_rule(at: Context) -> Table:
    return query_table(
        at.ledger,
        "rules",
        "Objections by rule",
        (col.RULE, col.EFFECT, col.DECISIONS, col.ARTIFACTS, col.FIRST, col.LAST),
        "SELECT o.rule, o.effect, count(DISTINCT o.n), count(DISTINCT d.ref), min(d.at), max(d.at) FROM objection o "
        "JOIN decision d USING (n) GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        empty=col.NO_OBJECTION,
    )


def _chart(at: Context) -> tuple[Chart, ...]:
    found = list(
        at.ledger.rows(
            "SELECT o.rule, count(DISTINCT o.n) FROM objection o WHERE o.effect IN ('block', 'quarantine') GROUP BY 1 "
            f"ORDER BY 2 DESC, 1 LIMIT {_MOST_RULES}"
        )
    )
    return bar_chart("rules", "Rules that said no", found, unit="decisions", series="refused")
