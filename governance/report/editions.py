"""The two editions of a report: the short one for those who run the gate, and the one for auditors, in a folder that proves itself.

Both are made of the same sections by the same code and rendered by the same formats. Does not: make a report (see
`governance.report.making`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from governance.report.book import Edition, Section
from governance.report.sections.changes import keys, policies
from governance.report.sections.closing import matrix, sample
from governance.report.sections.context import Context
from governance.report.sections.coverage import coverage
from governance.report.sections.exceptions import break_glass, degraded, waivers
from governance.report.sections.opening import integrity, scope
from governance.report.sections.others import others
from governance.report.sections.population import decisions, overview, population
from governance.report.sections.refusals import refusals
from governance.report.sections.usage import inventory, reevaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """An edition with its sections, in their order."""

    edition: Edition
    sections: tuple[Callable[[Context], Section], ...]


COMPLIANCE = Outline(
    edition=Edition(
        title="Compliance report",
        most_rows=300,
        newest_first=False,
        rest="all of them in `{file}` (format `csv`)",
        proof="The folder of this report carries the checkpoints, the hashes that join them, the receipts of the sample and a program "
        "of one file that checks all of it without network and without this software.",
        checking="In the folder that this page came in, with Python 3.11 or later and no other software (signatures need the package `cryptography`):",
    ),
    sections=(
        scope, integrity, population, refusals, waivers, break_glass, degraded, policies, coverage, inventory, keys, reevaluation,
        sample, matrix,
    ),
)  # fmt: skip
"""For those who test the gate."""

AUDIT = Outline(
    edition=Edition(
        title="Audit report",
        most_rows=1_000,
        newest_first=True,
        rest="counted above and on record: in the lines of this report (format `jsonl`), and in the tables of `mlgov report compliance`",
        proof="This page is what somebody says about the log. An export of it carries every entry and a program of one file that checks "
        "them without network and without this software.",
        checking="Export the log, and run the one program that comes with it:",
    ),
    sections=(overview, refusals, degraded, decisions, keys, others, integrity),
)
"""For those who run it: what happened, newest first."""
