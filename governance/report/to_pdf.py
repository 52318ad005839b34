"""The compliance report as a PDF for auditors: a cover that says whether the log proves itself, contents, fourteen sections.

Promises: the same report gives the same bytes; nothing in the log is read as markup or as PDF (see `governance.report.pdf.letters`);
what does not fit is counted. Does not: hold every row of a long table, which is what the formats `csv`, `jsonl` and `html` are for:
so its size and the memory it takes are bounded, whatever the log's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from reportlab.platypus import Flowable, NextPageTemplate, PageBreak, Paragraph, Spacer
from reportlab.platypus import Table as Grid

from governance.report.book import Report, Section, table_file
from governance.report.headline import HOW_TO_READ, headline
from governance.report.pdf.charts import Drawn
from governance.report.pdf.letters import letters
from governance.report.pdf.pages import Heading, Pages, contents
from governance.report.pdf.style import BAD, BAD_PAPER, GOOD, GOOD_PAPER, LINE, PAPER, WIDTH, Styles
from governance.report.pdf.tables import pairs_flowable, table_flowables, text_style

MOST_ROWS = 200
_CODES = (
    "Characters that would hide or turn text, and those that the fonts of this document lack or would set in the wrong order (Chinese "
    "and Arabic ones, for instance), are shown as their code, such as `\\u4e2d`. The formats `csv` and `jsonl` of this report have them as they are."
)


class PdfFormat:
    """One document. `most` is how many rows of a table it shows; the sample is always whole."""

    name = "report.pdf"

    def __init__(self, *, most: int = MOST_ROWS, wide: bool = True) -> None:
        self._most = most
        self._letters = letters(wide=wide)

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        pages = Pages(out, report, self._letters)
        styles = Styles(self._letters)
        story = [*_cover(report, styles), *self._inside(report, styles), pages.total]
        pages.multiBuild(story, maxPasses=6)

    def _inside(self, report: Report, styles: Styles) -> Iterator[Flowable]:
        yield NextPageTemplate("inside")
        yield PageBreak()
        yield Paragraph("Contents", styles.heading)
        yield contents(styles)
        yield Paragraph("How to read this", styles.subheading)
        yield Paragraph(self._letters.marked(" ".join(HOW_TO_READ)), styles.body)
        yield Paragraph(self._letters.marked(_CODES), styles.body)
        for section in report.sections:
            yield PageBreak()
            most = max(self._most, len(report.sample)) if section.name == "sample" else self._most
            yield from _section(section, styles, most, report.edition.rest)


def _cover(report: Report, styles: Styles) -> Iterator[Flowable]:
    text = styles.letters.text
    yield Spacer(1, 30)
    yield Paragraph(report.edition.title, styles.title)
    yield Paragraph(f"of the audit log {text(report.origin, 200)}", styles.toc)
    yield Spacer(1, 14)
    yield _statement(report, styles)
    yield Spacer(1, 12)
    yield _figures(report, styles)
    yield Spacer(1, 12)
    head = report.checkpoints.head
    yield pairs_flowable(
        (
            ("Period", f"{report.since or 'from the first entry'} to {report.until or report.made_at} (exclusive), UTC"),
            ("Selection", report.filter or "every entry of the period"),
            ("Made at, by", f"{report.made_at}, {report.made_by}"),
            ("Entries in the whole log", head.size),
            ("Root of the whole log", head.root.hex()),
            ("Key that signs its checkpoints", report.vkey or "none: the checkpoints are not signed"),
            ("Witnesses that cosigned it", ", ".join(key.name for key in report.witnesses) or "none"),
            ("To check it offline, in the report's folder", report.command),
            *report.software,
        ),
        styles,
    )  # fmt: skip


def _statement(report: Report, styles: Styles) -> Flowable:
    """The first thing to be seen."""
    verification = report.verification
    if report.is_good:
        color, paper = GOOD, GOOD_PAPER
        title = "The log proves itself"
        lines = [
            f"All {verification.size:,} entries were read and recomputed for this report: none was changed, removed or added."
        ]
        lines.append(
            f"It continues what was remembered from before (tree heads compared: {verification.compared:,})."
            if verification.compared
            else "No head remembered from before was compared: a log rewritten as a whole would not show. Compare the root below."
        )
    else:
        color, paper = BAD, BAD_PAPER
        title = "THE LOG DOES NOT PROVE ITSELF"
        found = [str(each) for each in verification.problems[:8]]
        more = len(verification.problems) - len(found)
        lines = [
            "Do not rely on any figure in this report until this is explained. Keep the log as it is.",
            *found,
        ]
        lines += [f"and {more:,} more problems (section 2)"] if more > 0 else []
        if report.broken:
            lines.append(f"Broken entries in the period, left out of every figure: {report.broken:,}")
    cells = [[Paragraph(title, styles.banner(color))]]
    cells += [[Paragraph(styles.letters.text(line, 500), styles.body)] for line in lines]
    box: list[tuple[Any, ...]] = [
        *text_style(styles.body),
        ("BACKGROUND", (0, 0), (-1, -1), paper), ("BOX", (0, 0), (-1, -1), 1.2, color), ("LEFTPADDING", (0, 0), (-1, -1), 14),
        ("RIGHTPADDING", (0, 0), (-1, -1), 14), ("TOPPADDING", (0, 0), (0, 0), 10), ("BOTTOMPADDING", (0, -1), (-1, -1), 10),
    ]  # fmt: skip
    return Grid(cells, colWidths=[WIDTH], style=box)


def _figures(report: Report, styles: Styles) -> Flowable:
    """What a page shows as its cards: how many decisions, and what became of them."""
    figures = headline(report)
    cells = [
        [Paragraph(f"{value:,}", styles.figure(tone)) for tone, value, _ in figures],
        [Paragraph(styles.letters.text(words), styles.label) for _, _, words in figures],
    ]
    box: list[tuple[Any, ...]] = [
        *text_style(styles.label), ("BOX", (0, 0), (-1, -1), 0.6, LINE), ("LINEAFTER", (0, 0), (-2, -1), 0.6, LINE), ("BACKGROUND", (0, 0), (-1, -1), PAPER),
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 1), (-1, 1), 0),
    ]  # fmt: skip
    return Grid(cells, colWidths=[WIDTH / len(figures)] * len(figures), style=box)


def _section(section: Section, styles: Styles, most: int, rest: str) -> Iterator[Flowable]:
    fonts = styles.letters
    yield Heading(section.number, section.title, styles)
    for sentence in section.lead:
        yield Paragraph(fonts.marked(sentence), styles.body)
    if section.pairs:
        yield Spacer(1, 4)
        yield pairs_flowable(section.pairs, styles)
    for chart in section.charts:
        yield Paragraph(fonts.text(chart.title), styles.subheading)
        yield Drawn(chart, fonts, WIDTH)
    for table in section.tables:
        yield from table_flowables(
            table, styles, most, rest.format(file=f"tables/{table_file(section, table)}")
        )
    if section.selection:
        yield Paragraph(fonts.marked(f"The records behind this section: `{section.selection}`"), styles.soft)
