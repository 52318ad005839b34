"""Charts as rectangles and paths of a drawing 100 high, for a page on which inline styles are forbidden.

Does not: choose a colour. A series has the tone of what it is called where that is the result of a decision, else the one that it
names, else one of four by its place.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.report.book import Chart, Series
from governance.report.entries import RESULTS
from governance.report.showing import result_words

_SLOT = 12
_WIDTH = 240
_COLUMN = 40


def drawn(chart: Chart) -> dict[str, object]:
    """What the template draws."""
    base: dict[str, object] = {
        "kind": chart.kind,
        "title": chart.title,
        "unit": chart.unit,
        "labels": chart.labels,
        "series": [
            {"name": each.name, "tone": _tone(each, place)} for place, each in enumerate(chart.series)
        ],
    }
    return base | (_bars(chart) if chart.kind == "bar" else _plot(chart))


def _bars(chart: Chart) -> dict[str, object]:
    """A bar for each label, of the first series."""
    series = chart.series[0] if chart.series else Series("", ())
    top = max((value or 0 for value in series.values), default=0) or 1
    return {
        "rows": [
            {"label": label, "value": value, "width": f"{100 * (value or 0) / top:.2f}", "tone": _tone(series, 0)}
            for label, value in zip(chart.labels, series.values, strict=True)
        ]
    }  # fmt: skip


def _plot(chart: Chart) -> dict[str, object]:
    """Columns, each in as many parts as there are series, or lines."""
    stacked = chart.kind == "columns"
    sums = [sum(values) if stacked else max(values, default=0) for values in _by_label(chart.series)]
    top = max(sums, default=0) or 1
    slot = _slot(len(chart.labels))
    return {
        "highest": top,
        "width": len(chart.labels) * slot if len(chart.labels) > 1 else _WIDTH,
        "slot": slot,
        "column": min(slot - 2, _COLUMN),
        "marks": list(_marks(chart, top, slot, stacked=stacked)),
        "lines": [] if stacked else [{"tone": _tone(each, at), "path": _steps(each, top, slot)} for at, each in enumerate(chart.series)],
    }  # fmt: skip


def _slot(labels: int) -> int:
    """How wide the place of one label is: all of them fill the drawing, since the last one's name stands at its right end."""
    return _SLOT if labels < 2 else max(_SLOT, _WIDTH // labels)


def _by_label(series: tuple[Series, ...]) -> Iterator[tuple[int, ...]]:
    for values in zip(*(each.values for each in series), strict=True):
        yield tuple(value or 0 for value in values)


def _marks(chart: Chart, top: int, slot: int, *, stacked: bool) -> Iterator[dict[str, object]]:
    """A column for each label, with what it says when it is pointed at."""
    for place, label in enumerate(chart.labels):
        parts, level, words = [], 100.0, [label]
        for at, each in reversed(list(enumerate(chart.series))):
            value = each.values[place]
            if value is None or (stacked and not value):
                continue
            words.append(f"{result_words(each.name)} {value:,}")
            height = 100.0 * value / top
            level -= height
            if stacked:
                parts.append({"tone": _tone(each, at), "y": f"{level:.2f}", "height": f"{height:.2f}"})
        left = place * slot + (slot - min(slot - 2, _COLUMN)) / 2
        yield {"x": place * slot, "left": f"{left:g}", "words": ", ".join(words), "parts": parts}


def _steps(series: Series, top: int, slot: int) -> str:
    """A line of level pieces, one a label, broken where nothing is known."""
    path, is_drawing = [], False
    for place, value in enumerate(series.values):
        if value is None:
            is_drawing = False
            continue
        y = f"{98 - 96.0 * value / top:.2f}"
        path.append(f"{'L' if is_drawing else 'M'}{place * slot} {y}H{(place + 1) * slot}")
        is_drawing = True
    return "".join(path)


def _tone(series: Series, place: int) -> str:
    name = series.tone or series.name
    return f"t-{name}" if name in RESULTS else f"s-{place % 4}"
