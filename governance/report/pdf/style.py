"""Sizes, colours and styles of paragraphs, in one place. The colours are those of the page (`templates/page.css`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle

from governance.report.pdf.letters import Letters

PAGE_WIDTH, PAGE_HEIGHT = landscape(A4)
MARGIN = 40.0
TOP, BOTTOM = 54.0, 46.0
WIDTH = PAGE_WIDTH - 2 * MARGIN
HEIGHT = PAGE_HEIGHT - TOP - BOTTOM

INK, SOFT, LINE, PAPER = HexColor(0x171A21), HexColor(0x5B6473), HexColor(0xD5D9E0), HexColor(0xF5F6F8)
ACCENT, BAD, BAD_PAPER = HexColor(0x2F5BD7), HexColor(0xC62A2F), HexColor(0xFDECEC)
GOOD, GOOD_PAPER = HexColor(0x1B7F4B), HexColor(0xE5F6EC)

_RED, _AMBER, _GREEN = HexColor(0xC62A2F), HexColor(0xB25E09), HexColor(0x1B7F4B)
TONES: dict[str, Color] = {
    "refused": _RED, "quarantined": _AMBER, "would-block": HexColor(0x7A3FC4), "waived": HexColor(0x0B7285),
    "warned": HexColor(0x8A6D00), "allowed": _GREEN, "block": _RED, "quarantine": _AMBER, "critical": _RED, "failed": _RED,
    "incomplete": _AMBER, "done": _GREEN, "no record in the period": _AMBER, "records found": _GREEN,
}  # fmt: skip
"""Words that bear a colour. The word itself always says the same."""

SERIES = (ACCENT, _AMBER, HexColor(0x7A3FC4), HexColor(0x0B7285), HexColor(0x8A6D00), HexColor(0x5B6473))
"""Colours of a chart's series that have none of their own."""


@dataclass(frozen=True)
class Styles:
    """Paragraph styles in one set of letters."""

    letters: Letters

    def _style(self, name: str, size: float, *, leading: float = 1.35, **more: Any) -> ParagraphStyle:
        given: dict[str, Any] = {"fontName": self.letters.plain, "textColor": INK, "splitLongWords": 1} | more
        return ParagraphStyle(name, fontSize=size, leading=size * leading, **given)

    @cached_property
    def title(self) -> ParagraphStyle:
        """Of the report."""
        return self._style("title", 28, leading=1.15, fontName=self.letters.bold, spaceAfter=8)

    @cached_property
    def heading(self) -> ParagraphStyle:
        """Of a section."""
        return self._style(
            "heading", 16, leading=1.2, fontName=self.letters.bold, spaceAfter=8, keepWithNext=1
        )

    @cached_property
    def subheading(self) -> ParagraphStyle:
        """Of a table or chart."""
        return self._style(
            "subheading", 10.5, fontName=self.letters.bold, spaceBefore=12, spaceAfter=4, keepWithNext=1
        )

    @cached_property
    def body(self) -> ParagraphStyle:
        """Sentences."""
        return self._style("body", 9, leading=1.45, spaceAfter=4)

    @cached_property
    def soft(self) -> ParagraphStyle:
        """Notes."""
        return self._style("soft", 7.5, textColor=SOFT, spaceBefore=3, spaceAfter=3)

    @cached_property
    def cell(self) -> ParagraphStyle:
        """Of a table."""
        return self._style("cell", 6.8, leading=1.28)

    @cached_property
    def mono(self) -> ParagraphStyle:
        """Ids and digests."""
        return self._style("mono", 6.2, leading=1.35, fontName=self.letters.mono)

    @cached_property
    def number(self) -> ParagraphStyle:
        """Numbers, at the right."""
        return self._style("number", 6.8, leading=1.28, alignment=2)

    @cached_property
    def label(self) -> ParagraphStyle:
        """What a value is."""
        return self._style("label", 6.4, leading=1.3, textColor=SOFT, keepWithNext=1)

    @cached_property
    def head(self) -> ParagraphStyle:
        """Of a column."""
        return self._style("head", 6.4, leading=1.2, fontName=self.letters.bold)

    @cached_property
    def head_right(self) -> ParagraphStyle:
        """Of a column of numbers."""
        return self._style("head_right", 6.4, leading=1.2, fontName=self.letters.bold, alignment=2)

    @cached_property
    def record(self) -> ParagraphStyle:
        """The first line of a record."""
        return self._style(
            "record", 7.4, fontName=self.letters.bold, spaceBefore=7, spaceAfter=2, keepWithNext=1
        )

    @cached_property
    def toc(self) -> ParagraphStyle:
        """A line of the table of contents."""
        return self._style("toc", 10, leading=1.7)

    def banner(self, color: Color) -> ParagraphStyle:
        """The one statement of the cover."""
        return self._style("banner", 15, leading=1.25, fontName=self.letters.bold, textColor=color)

    def figure(self, tone: str) -> ParagraphStyle:
        """One of the figures of the cover."""
        color = TONES.get(tone, INK)
        return self._style("figure", 16, leading=1.2, fontName=self.letters.bold, textColor=color)

    def word(self, value: str) -> ParagraphStyle:
        """A word that may bear a colour."""
        tone = TONES.get(value)
        return self.cell if tone is None else self._style("word", 6.8, leading=1.28, textColor=tone)
