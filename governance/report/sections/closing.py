"""Sections 13 and 14: a sample that anybody can draw again, and what the records show for each control."""

from __future__ import annotations

from collections.abc import Iterator

from governance.report.book import CellKind, Column, Row, Section, Table
from governance.report.controls import FrameworkResult
from governance.report.filling import sample_rank
from governance.report.matrix import STATUS_WORDS
from governance.report.sections import columns as col
from governance.report.sections.context import Context, counted, fixed_table

_NOT_SHOWN = (
    "This log shows what passed the gate. It does not show what was loaded, copied or run past it.",
    "It shows who asked by the name that was given; where a name is not proven, the record says so.",
    "It shows that policies, waivers and reviews have signatures and dates, and not whether the people behind them looked carefully.",
    "It shows the clock of whoever wrote, and not that this clock was right; oddities are listed in section 2.",
    (
        "It shows supply and change of models, and not what they answered: it contributes to record-keeping duties about the operation of "
        "an AI system, and does not satisfy them alone."
    ),
    "It shows what the scanners found, and not what they missed; section 9 says how much they looked at.",
    "A record for a control is evidence that the control worked at that moment, and not that it is designed well or works always.",
)


def sample(at: Context) -> Section:
    """The sampling annex."""
    total = at.ledger.count("SELECT count(*) FROM decision WHERE later = 0")
    table = Table(
        name="sample",
        title="The sample, with its full records",
        columns=(
            Column("place", "Place", CellKind.NUMBER), Column("entry", "Entry", CellKind.NUMBER, minor=True), col.AT,
            col.RESULT, col.ACTION, col.ARTIFACT,
            col.ACTOR, Column("environment", "Environment", CellKind.NAME, minor=True), Column("outcomes", "Outcome entries", CellKind.ID, minor=True),
            Column("receipt", "Receipt", CellKind.ID), Column("rank", "SHA-256 of seed and id", CellKind.DIGEST, minor=True),
            Column("id", "Decision", CellKind.ID, minor=True), Column("record", "Record", minor=True),
        ),
        count=len(at.sample),
        rows=lambda: _rows(at),
        note="Receipts are inclusion proofs of c2sp.org/tlog-proof, in the folder `receipts`. The facts and policies that these rest on "
        "are in `evidence`, under their SHA-256, unless they were erased after their time.",
        empty="There was no decision to draw from.",
    )  # fmt: skip
    return Section(
        name="sample",
        title="Sampling annex",
        lead=(
            f"{counted(len(at.sample), 'decision')} of {total:,}, drawn with the seed `{at.seed}`.",
            (
                "To draw it again: take the population of section 3, compute for each decision the SHA-256 of the text SEED:ID, and take those "
                "with the smallest values. The same seed and population give the same sample, whatever the program."
            ),
        ),
        pairs=(("Seed", at.seed), ("Population", total), ("Sample", len(at.sample))),
        tables=(table,),
    )


def _rows(at: Context) -> Iterator[Row]:
    for place, entry_id in enumerate(at.sample, 1):
        seq, when, result, action, ref, actor, environment, outcomes = at.ledger.row(
            "SELECT seq, at, result, action, ref, actor, environment, (SELECT group_concat(seq, ', ') FROM outcome o "
            "WHERE o.decision = d.id) FROM decision d WHERE id = ? AND later = 0",
            (entry_id,),
        )
        stored = at.log.store.get(entry_id)
        yield (
            place, seq, when, result, action, ref, actor, environment, outcomes, receipt_name(seq),
            f"{sample_rank(at.seed, entry_id):064x}", entry_id,
            None if stored is None else stored.data.decode("utf-8", "replace"),
        )  # fmt: skip


def receipt_name(index: int | None) -> str | None:
    """The file that proves an entry. None for an entry that is not in the tree yet."""
    return None if index is None else f"receipts/{index}.tlog-proof"


def matrix(at: Context) -> Section:
    """The control matrix."""
    controls = at.controls
    lead = (
        (
            (
                "Each line names a control, what the records of the period contribute to it, and the search that finds them. A number of "
                "records is not a judgement."
            ),
        )
        if controls
        else ("No framework was asked for (`--framework`).",)
    )
    return Section(
        name="controls",
        title="Control matrix, and what this log does not show",
        lead=(*lead, *_NOT_SHOWN),
        pairs=tuple((f"{each.framework.title}", counted(len(each.results), "control")) for each in controls),
        tables=tuple(table for each in controls for table in (_framework(each), *_dates(each))),
    )


def _framework(found: FrameworkResult) -> Table:
    rows: list[Row] = []
    for result in found.results:
        control = result.control
        for place, count in enumerate(result.counts):
            first = place == 0
            rows.append((
                control.id, control.title if first else "", control.claim if first else "", STATUS_WORDS[result.status], count.count,
                count.query, count.command, control.not_shown if first else "",
            ))  # fmt: skip
    return Table(
        name=f"controls-{found.framework.name}",
        title=f"{found.framework.title}, {found.framework.version}",
        columns=(
            Column("control", "Control", CellKind.ID), Column("title", "Title"), Column("claim", "What the records contribute"),
            Column("status", "Records", CellKind.WORD), Column("count", "Count", CellKind.NUMBER), Column("query", "Search", CellKind.ID),
            Column("command", "Command", CellKind.ID, minor=True), Column("not_shown", "What they do not show", minor=True),
        ),
        count=len(rows),
        rows=lambda: iter(rows),
        note=found.framework.note or None,
        empty="This framework has no control that the log could say something about.",
    )  # fmt: skip


def _dates(found: FrameworkResult) -> Iterator[Table]:
    """When duties begin, where a framework's file knows days, with where it has them from."""
    if found.framework.dates:
        yield fixed_table(
            f"dates-{found.framework.name}",
            f"{found.framework.title}: dates",
            (
                Column("on", "From"), col.WHAT, Column("certain", "Certain", CellKind.WORD),
                Column("source", "Source"),
            ),
            [(each.on, each.what, "yes" if each.certain else "no", each.source) for each in found.framework.dates],
        )  # fmt: skip
