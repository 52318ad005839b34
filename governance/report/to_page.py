"""A compliance report as one HTML page that needs nothing else: no network, prints well, reads well on a phone.

Promises: nothing in the log can act on the page. All text is escaped by the template engine; the page's policy allows one style
sheet and one script, each by its hash, and nothing else at all; characters that turn or hide text are shown as what they are.
A long table shows its first rows, says how many more there are, and where. Does not: hold a table in memory.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import BinaryIO

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from governance.report.book import Chart, ComplianceReport, Row, Section, Series, Table
from governance.report.entries import RESULTS
from governance.report.showing import human_size, marked, shown
from governance.report.to_csv import table_file

MOST_ROWS = 300
"""Rows of a table that the page shows."""

_WORDS = {
    "refused": "refused",
    "quarantined": "quarantined",
    "would-block": "would have been blocked",
    "waived": "allowed by waiver",
    "warned": "allowed with warning",
    "allowed": "allowed",
}
_SLUG = re.compile(r"[^a-z0-9]+")
_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{6}Z")
_SLOT = 12


class PageFormat:
    """One self-contained page."""

    name = "report.html"

    def write(self, report: ComplianceReport, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        style, script = _read("book.css"), _read("book.js")
        environment = Environment(
            loader=FunctionLoader(_read),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "shown": shown, "marked": marked, "size": human_size, "moment": _moment, "grouped": _grouped, "slug": _slug,
            "word": _word, "brief": _brief, "first": _first, "drawn": drawn, "file": _file,
        }  # fmt: skip
        page = environment.get_template("book.html").stream(
            report=report,
            cards=_cards(report),
            most=MOST_ROWS,
            # Our own files, under their hashes; the only markup that is not escaped.
            style=Markup(style),  # noqa: S704 - see above
            script=Markup(script),  # noqa: S704 - see above
            style_digest=_digest(style),
            script_digest=_digest(script),
        )
        page.enable_buffering(64)
        out.writelines(part.encode() for part in page)


def _cards(report: ComplianceReport) -> list[tuple[str, int, str]]:
    pairs = dict(report.section("population").pairs)

    def figure(name: str) -> int:
        value = pairs.get(name)
        return value if isinstance(value, int) else 0

    degraded = dict(report.section("degraded").pairs)
    glass = dict(report.section("break-glass").pairs)
    return [
        ("plain", figure("Decisions"), "decisions"),
        ("allowed", figure("Allowed") + figure("Allowed with warning"), "allowed"),
        ("refused", figure("Refused"), "refused"),
        ("quarantined", figure("Quarantined"), "quarantined"),
        ("would-block", figure("Would have been blocked"), "would have been blocked"),
        ("waived", figure("Allowed by waiver"), "allowed by waiver"),
        ("warned", _int(degraded.get("Decisions without an outcome")), "without an outcome"),
        ("would-block", _int(glass.get("that opened the door")), "break-glass uses"),
    ]


def drawn(chart: Chart) -> dict[str, object]:
    """A chart as rectangles and paths of a drawing 100 high: inline styles are forbidden on the page."""
    base: dict[str, object] = {
        "kind": chart.kind,
        "title": chart.title,
        "unit": chart.unit,
        "labels": chart.labels,
    }
    series = [{"name": each.name, "tone": _tone(each.name, place)} for place, each in enumerate(chart.series)]
    if chart.kind == "bar":
        values = chart.series[0].values if chart.series else ()
        top = max((value or 0 for value in values), default=0) or 1
        rows = [
            {
                "label": label,
                "value": value,
                "width": f"{100 * (value or 0) / top:.2f}",
                "tone": series[0]["tone"],
            }
            for label, value in zip(chart.labels, values, strict=True)
        ]
        return base | {"rows": rows, "series": series}
    stacked = chart.kind == "columns"
    sums = [sum(values) if stacked else max(values, default=0) for values in _by_label(chart.series)]
    top = max(sums, default=0) or 1
    return base | {
        "series": series,
        "highest": top,
        "width": max(len(chart.labels) * _SLOT, 240),
        "marks": list(_marks(chart, top, stacked=stacked)),
        "lines": [] if stacked else [{"tone": _tone(each.name, at), "path": _steps(each, top)} for at, each in enumerate(chart.series)],
    }  # fmt: skip


def _by_label(series: tuple[Series, ...]) -> Iterator[tuple[int, ...]]:
    for values in zip(*(each.values for each in series), strict=True):
        yield tuple(value or 0 for value in values)


def _marks(chart: Chart, top: int, *, stacked: bool) -> Iterator[dict[str, object]]:
    """A column for each label, with what it says when it is pointed at."""
    for place, label in enumerate(chart.labels):
        parts, level, words = [], 100.0, [label]
        for at, each in reversed(list(enumerate(chart.series))):
            value = each.values[place]
            if value is None or (stacked and not value):
                continue
            words.append(f"{_word(each.name)} {value:,}")
            height = 100.0 * value / top
            level -= height
            if stacked:
                parts.append({"tone": _tone(each.name, at), "y": f"{level:.2f}", "height": f"{height:.2f}"})
        yield {"x": place * _SLOT, "words": ", ".join(words), "parts": parts}


def _steps(series: Series, top: int) -> str:
    """A line of level pieces, one a label, broken where nothing is known."""
    path, is_drawing = [], False
    for place, value in enumerate(series.values):
        if value is None:
            is_drawing = False
            continue
        y = f"{98 - 96.0 * value / top:.2f}"
        path.append(f"{'L' if is_drawing else 'M'}{place * _SLOT} {y}H{(place + 1) * _SLOT}")
        is_drawing = True
    return "".join(path)


def _tone(name: str, place: int) -> str:
    return f"t-{name}" if name in RESULTS else f"s-{place % 4}"


def _first(rows: Iterator[Row], most: int) -> Iterator[Row]:
    return itertools.islice(rows, most)


def _file(section: Section, table: Table) -> str:
    return f"tables/{table_file(section, table)}"


def _moment(at: str) -> str:
    """`2026-03-01 12:00:04`; the whole is in the files."""
    return shown(at[:19].replace("T", " ")) if at[10:11] == "T" else shown(at)


def _brief(text: str) -> str:
    """A sentence with its times to the second."""
    return _TIME.sub(lambda found: f"{found[1]} {found[2]}", text)


def _grouped(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else shown(value)


def _slug(value: object) -> str:
    """A class name for a word, which may come from outside."""
    return _SLUG.sub("-", str(value).lower()[:40]).strip("-") or "other"


def _word(value: object) -> str:
    return _WORDS.get(str(value)) or shown(value)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return files("governance.report").joinpath("templates", name).read_text(encoding="utf-8")
