"""A report as one HTML page; see `governance.report.page` for what such a page promises.

A long table shows its first rows, says how many more there are, and where.
"""

from __future__ import annotations

from typing import BinaryIO

from governance.report.book import Report
from governance.report.page import page


class PageFormat:
    """One self-contained page, with a search, filters and charts."""

    name = "report.html"

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `ReportFormat.write`."""
        edition = report.edition
        made = page(
            "report.html",
            script="report.js",
            report=report,
            cards=_cards(report),
            most=edition.most_rows,
            rest=edition.rest,
        )
        out.writelines(made)


def _cards(report: Report) -> list[tuple[str, int, str]]:
    counts = report.counts
    has_glass = any(section.name == "break-glass" for section in report.sections)
    return [
        ("plain", counts["decisions"], "decisions"),
        ("allowed", counts["allowed"] + counts["warned"], "allowed"),
        ("refused", counts["refused"], "refused"),
        ("quarantined", counts["quarantined"], "quarantined"),
        ("would-block", counts["would-block"], "would have been blocked"),
        ("waived", counts["waived"], "allowed by waiver"),
        ("warned", counts["unfinished"], "without an outcome"),
        ("would-block", counts["break-glass"], "break-glass uses") if has_glass
        else ("plain", counts["signed"], f"of {counts['uploads']:,} upload{'s' * (counts['uploads'] != 1)} signed"),
    ]  # fmt: skip
