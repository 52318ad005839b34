"""Pages: heads and feet, the table of contents, and bytes that are the same for the same report.

Promises: a log that does not prove itself is said on every page; metadata and outline hold no markup and no time but the report's.
"""

from __future__ import annotations

import calendar
import time
from typing import Any, Literal

from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph, TableStyle
from reportlab.platypus.doctemplate import IndexingFlowable
from reportlab.platypus.tableofcontents import TableOfContents

from governance.report.book import Report
from governance.report.pdf.letters import Letters
from governance.report.pdf.style import (
    BAD,
    BOTTOM,
    HEIGHT,
    LINE,
    MARGIN,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SOFT,
    TOP,
    WIDTH,
    Styles,
)
from governance.report.pdf.tables import text_style  # fmt: skip


class Heading(Paragraph):
    """A section's heading, which the contents and the outline list."""

    def __init__(self, number: int, title: str, styles: Styles) -> None:
        super().__init__(f"{number}. {styles.letters.text(title)}", styles.heading)
        self.key = f"section-{number}"
        self.plain = f"{number}. {styles.letters.raw(title)}"
        self.marked = f"{number}. {styles.letters.text(title)}"


class PageTotal(IndexingFlowable):
    """The number of pages, which is known only when all are laid out: asks for another round until it stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.seen = 0

    def isIndexing(self) -> Literal[1]:  # noqa: N802 - ReportLab's name
        """See `IndexingFlowable`."""
        return 1

    def beforeBuild(self) -> None:  # noqa: N802 - ReportLab's name
        """A round begins, which says as many pages as the last one had."""
        self.total = self.seen

    def isSatisfied(self) -> int:  # noqa: N802 - ReportLab's name
        """Whether the round had as many pages as it said."""
        return int(self.seen == self.total)

    def wrap(self, *_: object) -> tuple[int, int]:
        """It takes no room."""
        return 0, 0

    def draw(self) -> None:
        """It draws nothing."""


class Pages(BaseDocTemplate):
    """The document. `build_all` lays out a story in as many rounds as the contents need."""

    def __init__(self, out: Any, report: Report, letters: Letters) -> None:
        self.total = PageTotal()
        self._report, self._letters = report, letters
        title = letters.raw(f"Compliance report of {report.origin}")
        super().__init__(
            out, pagesize=(PAGE_WIDTH, PAGE_HEIGHT), leftMargin=MARGIN, rightMargin=MARGIN, topMargin=TOP, bottomMargin=BOTTOM,
            title=title, author=letters.raw(report.made_by), subject=letters.raw(self._period()),
            creator="mlflow-governance", producer="mlflow-governance with ReportLab", keywords=["audit", "compliance", "MLflow"],
            lang="en", invariant=1, pageCompression=1, displayDocTitle=1, initialFontName=letters.plain, initialFontSize=9,
        )  # fmt: skip
        frame = Frame(
            MARGIN, BOTTOM, WIDTH, HEIGHT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0
        )
        self.addPageTemplates([
            PageTemplate(id="cover", frames=[frame], onPage=self._foot),
            PageTemplate(id="inside", frames=[frame], onPage=self._head),
        ])  # fmt: skip

    def afterFlowable(self, flowable: object) -> None:  # noqa: N802 - ReportLab's name
        """Headings go to the contents and to the outline."""
        if isinstance(flowable, Heading):
            self.canv.bookmarkPage(flowable.key)
            self.canv.addOutlineEntry(flowable.plain, flowable.key, level=0, closed=True)
            self.notify("TOCEntry", (0, flowable.marked, self.page, flowable.key))

    def handle_documentBegin(self) -> None:  # noqa: N802 - ReportLab's name
        """The one time that the file bears is the report's."""
        super().handle_documentBegin()
        stamp = _seconds(self._report.made_at)
        canvas: Any = self.canv
        at = canvas._doc._timeStamp  # noqa: SLF001 - there is no other way to set it
        at.t, at.lt = stamp, tuple(time.gmtime(stamp))
        at.YMDhms = at.lt[:6]

    def _period(self) -> str:
        since, until = self._report.since, self._report.until
        return f"from {since or 'the first entry'} to {until or self._report.made_at}"

    def _head(self, canvas: Canvas, _: object) -> None:
        self._foot(canvas, _)
        y = PAGE_HEIGHT - 34
        canvas.setFont(self._letters.plain, 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(MARGIN, y, self._letters.raw(f"Compliance report · {self._report.origin}", 110))
        if self._report.is_good:
            canvas.drawRightString(PAGE_WIDTH - MARGIN, y, self._letters.raw(self._period()))
        else:
            canvas.setFillColor(BAD)
            canvas.setFont(self._letters.bold, 7)
            canvas.drawRightString(
                PAGE_WIDTH - MARGIN, y, "THE LOG DOES NOT PROVE ITSELF: do not rely on this report"
            )
        canvas.setStrokeColor(LINE)
        canvas.line(MARGIN, y - 6, PAGE_WIDTH - MARGIN, y - 6)

    def _foot(self, canvas: Canvas, _: object) -> None:
        canvas.setFont(self._letters.plain, 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(MARGIN, 26, self._letters.raw(f"made at {self._report.made_at}"))
        self.total.seen = page = canvas.getPageNumber()
        canvas.drawRightString(PAGE_WIDTH - MARGIN, 26, f"page {page} of {self.total.total}")


def contents(styles: Styles) -> TableOfContents:
    """The table of contents, whose lines lead to the sections."""
    made = TableOfContents(levelStyles=[styles.toc], dotsMinLevel=0, rightColumnWidth=40)
    made.tableStyle = TableStyle([*text_style(styles.toc), *made.tableStyle.getCommands()])
    return made


def _seconds(at: str) -> int:
    return calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S"))
