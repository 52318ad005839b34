"""Tables as they fit on paper: in columns where these have room, else one record below the other.

Promises: what is left out is said with its number: rows over the limit, characters of a long cell. Headings repeat on each page, and
no cell is too tall for a page. Does not: shorten a digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, KeepTogether, LongTable, Paragraph, Spacer
from reportlab.platypus import Table as Grid

from governance.report.book import Cell, CellKind, Column, Row, Table
from governance.report.pdf.style import INK, LINE, PAPER, TONES, WIDTH, Styles
from governance.report.showing import human_size, result_words

_LEAST = {
    CellKind.TEXT: 78.0, CellKind.TIME: 74.0, CellKind.NUMBER: 52.0, CellKind.SIZE: 48.0, CellKind.ID: 84.0,
    CellKind.DIGEST: 84.0, CellKind.WORD: 56.0, CellKind.NAME: 56.0,
}  # fmt: skip
"""The least width of a column, in points."""

_WEIGHT = {
    CellKind.TEXT: 3.0,
    CellKind.ID: 2.0,
    CellKind.DIGEST: 2.0,
    CellKind.TIME: 0.5,
    CellKind.WORD: 0.5,
    CellKind.NAME: 0.5,
}
_RIGHT = frozenset({CellKind.NUMBER, CellKind.SIZE})
_NAMING = frozenset({CellKind.WORD, CellKind.NAME, CellKind.TEXT})
_MOST = {CellKind.WORD: 140, CellKind.NAME: 140, CellKind.TIME: 140, CellKind.NUMBER: 60, CellKind.SIZE: 60}
_IN_CELL, _IN_RECORD, _SHORT = 420, 80_000, 90
_CHUNK = 100  # rows of one table object; longer ones take ever longer to lay out
_ACROSS = 6  # values beside each other in a record
Command: TypeAlias = "tuple[Any, ...]"
"""Of a table's style, as ReportLab reads it."""

_RULE: Command = ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE)
_TIGHT: list[Command] = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 3),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
]


def table_flowables(table: Table, styles: Styles, most: int, rest: str) -> Iterator[Flowable]:
    """A table with its title, at most `most` rows of it, and what is to be said about it. `rest` says where the other rows are."""
    heading = Paragraph(styles.letters.text(table.title), styles.subheading)
    if not table.count:
        yield KeepTogether([heading, Paragraph(styles.letters.marked(table.empty), styles.soft)])
        return
    yield heading
    rows = islice(table.rows(), most)
    if sum(_LEAST[column.kind] for column in table.columns) <= WIDTH:
        yield from _columns(table.columns, rows, styles)
    else:
        yield from _records(table.columns, rows, styles)
    if table.count > most:
        said = f"The first {most:,} of {table.count:,} rows. {rest[:1].upper()}{rest[1:]}."
        yield Paragraph(styles.letters.marked(said), styles.soft)
    if table.note:
        yield Paragraph(styles.letters.marked(table.note), styles.soft)


def pairs_flowable(pairs: tuple[tuple[str, Cell], ...], styles: Styles) -> Flowable:
    """Figures by name, in two columns of text."""
    letters = styles.letters
    cells = [
        (Paragraph(letters.text(name), styles.label), Paragraph(letters.text(_words(CellKind.TEXT, value), 2_000), styles.cell))
        for name, value in pairs
    ]  # fmt: skip
    return Grid(
        cells,
        colWidths=(150, WIDTH - 150),
        style=[*text_style(styles.cell), *_TIGHT, _RULE],
        splitInRow=1,
        hAlign="LEFT",
    )


def _columns(columns: tuple[Column, ...], rows: Iterator[Row], styles: Styles) -> Iterator[Flowable]:
    widths = _widths(columns)
    head = [
        Paragraph(
            styles.letters.text(column.title), styles.head_right if column.kind in _RIGHT else styles.head
        )
        for column in columns
    ]
    style = [
        *text_style(styles.cell), *_TIGHT, _RULE, ("BACKGROUND", (0, 0), (-1, 0), PAPER), ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
    ]  # fmt: skip
    for place, column in enumerate(columns):
        style += _fonts(column.kind, (place, 1), (place, -1), styles)
        style.append(("ALIGN", (place, 1), (place, -1), "RIGHT" if column.kind in _RIGHT else "LEFT"))
    while part := list(islice(rows, _CHUNK)):
        tones: list[Command] = []
        cells = [
            [
                _cell(column.kind, value, styles, width=width, tones=tones, place=(x, y))
                for x, (column, value, width) in enumerate(zip(columns, row, widths, strict=True))
            ]
            for y, row in enumerate(part, 1)
        ]
        yield LongTable(
            [head, *cells],
            colWidths=widths,
            repeatRows=1,
            style=[*style, *tones],
            splitInRow=1,
            hAlign="LEFT",
        )


def _widths(columns: tuple[Column, ...]) -> list[float]:
    """The least width of each, and the rest of the page to those whose texts are long."""
    least = [_LEAST[column.kind] for column in columns]
    weights = [_WEIGHT.get(column.kind, 0.0) for column in columns]
    rest, total = WIDTH - sum(least), sum(weights) or 1.0
    widths = [width + rest * weight / total for width, weight in zip(least, weights, strict=True)]
    return [min(width, 320.0) for width in widths]


def _records(columns: tuple[Column, ...], rows: Iterator[Row], styles: Styles) -> Iterator[Flowable]:
    for number, row in enumerate(rows, 1):
        short: list[tuple[Column, Cell]] = []
        long: list[tuple[Column, Cell]] = []
        for column, value in zip(columns, row, strict=True):
            if value is not None and value != "":
                (long if len(str(value)) > _SHORT else short).append((column, value))
        yield Paragraph(f"{number}. {_named(short, styles)}", styles.record)
        if short:
            yield _short_values(short, styles)
        for column, value in long:
            style = (
                styles.mono
                if column.kind in {CellKind.ID, CellKind.DIGEST} or _is_record(value)
                else styles.cell
            )
            yield Spacer(1, 2)
            yield Paragraph(styles.letters.text(column.title), styles.label)
            yield Paragraph(styles.letters.text(value, _IN_RECORD), style)


def _named(values: list[tuple[Column, Cell]], styles: Styles) -> str:
    """What a record is recognised by: its first word and text."""
    named = [(column.kind, value) for column, value in values if column.kind in _NAMING][:3]
    return " · ".join(styles.letters.text(_words(kind, value), 80) for kind, value in named)


def _short_values(values: list[tuple[Column, Cell]], styles: Styles) -> Flowable:
    """A few values beside each other, each below its name."""
    width = WIDTH / _ACROSS
    lines: list[list[object]] = []
    style: list[Command] = [*_TIGHT, *text_style(styles.cell)]
    for first in range(0, len(values), _ACROSS):
        group = values[first : first + _ACROSS]
        y = len(lines)
        lines.append([styles.letters.raw(column.title, 60) for column, _ in group])
        style += [*text_style(styles.label, (0, y), (-1, y)), ("BOTTOMPADDING", (0, y), (-1, y), 0)]
        style += [
            ("TOPPADDING", (0, y + 1), (-1, y + 1), 0),
            ("LINEBELOW", (0, y + 1), (-1, y + 1), 0.4, LINE),
        ]
        for x, (column, _) in enumerate(group):
            style += _fonts(column.kind, (x, y + 1), (x, y + 1), styles)
        lines.append([
            _cell(column.kind, value, styles, width=width, tones=style, place=(x, y + 1))
            for x, (column, value) in enumerate(group)
        ])  # fmt: skip
        for line in lines[-2:]:
            line.extend([""] * (_ACROSS - len(line)))
    return Grid(lines, colWidths=[width] * _ACROSS, style=style, hAlign="LEFT")


def _cell(
    kind: CellKind,
    value: Cell,
    styles: Styles,
    *,
    width: float,
    tones: list[Command],
    place: tuple[int, int],
) -> str | Paragraph:
    """A cell: plain text where it fits in one line, which is laid out much faster, else a paragraph. Its colour goes to `tones`."""
    style = _style(kind, styles)
    text = styles.letters.raw(_words(kind, value), _MOST.get(kind, _IN_CELL))
    tone = TONES.get(str(value)) if kind is CellKind.WORD else None
    if stringWidth(text, style.fontName, style.fontSize) <= width - 6 and "\n" not in text:
        if tone is not None:
            tones.append(("TEXTCOLOR", place, place, tone))
        return text
    return Paragraph(escape(text), style if tone is None else styles.word(str(value)))


def _words(kind: CellKind, value: Cell) -> str:
    match value:
        case None:
            return "\N{EN DASH}"
        case int():
            return human_size(value) if kind is CellKind.SIZE else f"{value:,}"
        case _ if kind is CellKind.TIME:
            return value[:19].replace("T", " ")
        case _ if kind is CellKind.WORD:
            return result_words(value)
        case _:
            return value


def _style(kind: CellKind, styles: Styles) -> ParagraphStyle:
    match kind:
        case CellKind.ID | CellKind.DIGEST:
            return styles.mono
        case CellKind.NUMBER | CellKind.SIZE:
            return styles.number
        case _:
            return styles.cell


def _fonts(kind: CellKind, first: tuple[int, int], last: tuple[int, int], styles: Styles) -> list[Command]:
    return text_style(_style(kind, styles), first, last)


def text_style(
    style: ParagraphStyle, first: tuple[int, int] = (0, 0), last: tuple[int, int] = (-1, -1)
) -> list[Command]:
    """The same look for plain text as a paragraph of this style has. Without it a table names a font that is not embedded."""
    return [
        ("FONT", first, last, style.fontName, style.fontSize, style.leading),
        ("TEXTCOLOR", first, last, style.textColor),
    ]


def _is_record(value: Cell) -> bool:
    return isinstance(value, str) and value.startswith('{"')
