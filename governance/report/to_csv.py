"""A compliance report as files of comma-separated values (RFC 4180), one a table.

Promises: a spreadsheet takes no cell for a formula, and a terminal no cell for a command; no row is left out. Does not: write
charts or sentences, which the page has.

A text that begins as a formula would (`=`, `+`, `-`, `@`, or a tab or line end in front) gets an apostrophe before it. Numbers
stay numbers, times are RFC 3339 in UTC, and what was not recorded is an empty cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from governance.report.book import Cell, Report, table_file
from governance.report.showing import shown

_FORMULA = re.compile(
    r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]"
)  # and their wide forms, which some take for the same


def write_tables(report: Report, folder: Path) -> Iterator[Path]:
    """Write every table into a folder, and one with the figures of each section."""
    folder.mkdir()
    yield _write(folder / "00-figures.csv", ("section", "figure", "value"), _figures(report))
    for section in report.sections:
        for table in section.tables:
            names = tuple(column.name for column in table.columns)
            yield _write(folder / table_file(section, table), names, table.rows())


def _figures(report: Report) -> Iterator[tuple[Cell, ...]]:
    for section in report.sections:
        for name, value in section.pairs:
            yield section.title, name, value


def _write(path: Path, names: tuple[str, ...], rows: Iterator[tuple[Cell, ...]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(names)
        writer.writerows([cell_text(cell) for cell in row] for row in rows)
    return path


def cell_text(cell: Cell) -> Cell:
    """A cell as it is written."""
    if not isinstance(cell, str):
        return cell
    text = shown(cell)
    return f"'{text}" if _FORMULA.match(cell) or _FORMULA.match(text) else text
