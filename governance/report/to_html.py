"""The report as one HTML page that needs nothing else: no network, no script, prints well, light and dark.

Promises: nothing in the log can act on the page. All text is escaped by the template engine; the page's policy allows
one style sheet, by its hash, and nothing else at all; characters that would turn the direction of text or hide in it
are shown as what they are. Does not: leave anything out silently (see `Report.omitted`).
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import BinaryIO

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from governance.report.entries import RESULTS
from governance.report.query import Report
from governance.report.showing import human_size, marked, shown

_WORDS = {
    "refused": "refused",
    "quarantined": "quarantined",
    "would-block": "would have been blocked",
    "waived": "allowed by waiver",
    "warned": "allowed with warning",
    "allowed": "allowed",
}


class HtmlFormat:
    """One self-contained page."""

    suffix = ".html"

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `ReportFormat.write`."""
        style = _read("report.css")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        environment = Environment(
            loader=FunctionLoader(_read),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "shown": shown, "size": human_size, "day": _day, "clock": _clock, "short": _short, "word": _word, "marked": marked,
        }  # fmt: skip
        page = environment.get_template("report.html").stream(
            report=report,
            # Our own file, under its hash; the only markup that is not escaped.
            style=Markup(style),  # noqa: S704 - see above
            style_digest=digest,
            bars=_bars(report),
            results=RESULTS,
        )
        out.writelines(part.encode() for part in page)


def _read(name: str) -> str:
    return files("governance.report").joinpath("templates", name).read_text(encoding="utf-8")


def _day(at: str) -> str:
    return at[:10]


def _clock(at: str) -> str:
    return at[11:19]


def _short(digest: str | None) -> str:
    """The beginning of a digest, with its algorithm."""
    if not digest:
        return "none"
    name, colon, value = digest.rpartition(":")
    return f"{name}{colon}{value[:12]}…" if len(value) > 16 else digest


def _word(result: str) -> str:
    return _WORDS.get(result, result)


def _bars(report: Report) -> list[dict[str, object]]:
    """The timeline's columns as rectangles of a drawing 100 high: inline styles are forbidden on the page."""
    highest = max((sum(counts.values()) for _, counts in report.timeline), default=1)
    columns: list[dict[str, object]] = []
    for place, (label, counts) in enumerate(report.timeline):
        top = 100.0
        parts: list[dict[str, str]] = []
        for result in reversed(RESULTS):
            height = 100.0 * counts[result] / highest
            if height:
                top -= height
                parts.append({"result": result, "y": f"{top:.2f}", "height": f"{height:.2f}"})
        columns.append({"x": place * 12, "label": label, "parts": parts, "total": sum(counts.values())})
    return columns
