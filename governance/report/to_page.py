"""A report as one HTML page; see `governance.report.page` for what such a page promises.

A long table shows its first rows, says how many more there are, and where.
"""

from __future__ import annotations

from typing import BinaryIO

from governance.report.book import Report
from governance.report.headline import HOW_TO_READ, headline
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
            cards=headline(report),
            how_to_read=HOW_TO_READ,
            most=edition.most_rows,
            rest=edition.rest,
        )
        out.writelines(made)
