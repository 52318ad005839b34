"""Charts, drawn with lines and rectangles. What a colour says is also said in words below."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from reportlab.lib.colors import Color
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable

from governance.report.book import Chart, Series
from governance.report.pdf.letters import Letters
from governance.report.pdf.style import INK, LINE, SERIES, SOFT, TONES
from governance.report.showing import result_words

_HIGH, _LEFT, _BELOW, _LEGEND = 120.0, 46.0, 16.0, 14.0
_BAR, _NAME = 13.0, 220.0
_SMALL = 6.8
_MOST_BARS = 25


class Drawn(Flowable):
    """A chart as wide as the text."""

    def __init__(self, chart: Chart, letters: Letters, width: float) -> None:
        super().__init__()
        self._chart, self._letters, self.width = chart, letters, width
        self.height = (
            _BAR * min(len(chart.labels), _MOST_BARS) + 4 if chart.kind == "bar" else _HIGH + _BELOW + _LEGEND
        )

    def wrap(self, *_: object) -> tuple[float, float]:
        """Its size, whatever room there is."""
        return self.width, self.height

    def draw(self) -> None:
        """See `Flowable.draw`."""
        self.canv.setLineWidth(0.5)
        match self._chart.kind:
            case "bar":
                self._bars()
            case "columns":
                self._grid(max(self._stacks(), default=0))
                self._columns()
                self._legend()
            case "lines":
                self._grid(
                    max((value or 0 for each in self._chart.series for value in each.values), default=0)
                )
                self._lines()
                self._legend()

    # -- the parts

    def _grid(self, highest: int) -> None:
        """Lines at a few round numbers up to at least `highest`, and the labels below."""
        self._top = top = _rounded_up(highest)
        canvas, base, wide = self.canv, _BELOW + _LEGEND, self.width - _LEFT
        canvas.setFont(self._letters.plain, _SMALL)
        steps = 4 if top % 4 == 0 else 2 if top % 2 == 0 else 1
        for step in range(steps + 1):
            y = base + (_HIGH - 8) * step / steps
            canvas.setStrokeColor(LINE)
            canvas.line(_LEFT, y, self.width, y)
            canvas.setFillColor(SOFT)
            canvas.drawRightString(_LEFT - 5, y - 2.3, f"{top * step // steps:,}")
        labels = self._chart.labels
        every = max(1, -(-len(labels) // 8))
        for place in range(0, len(labels), every):
            text = self._short(labels[place], wide / len(labels) * every - 6)
            canvas.drawString(_LEFT + wide * place / len(labels), base - 10, text)

    def _columns(self) -> None:
        canvas, base = self.canv, _BELOW + _LEGEND
        wide = (self.width - _LEFT) / max(1, len(self._chart.labels))
        for place, _ in enumerate(self._chart.labels):
            y = base
            for number, each in enumerate(self._chart.series):
                value = each.values[place] or 0
                high = (_HIGH - 8) * value / self._top
                canvas.setFillColor(_color(each, number))
                if value:
                    canvas.rect(_LEFT + wide * place + wide * 0.12, y, wide * 0.76, high, stroke=0, fill=1)
                y += high

    def _lines(self) -> None:
        canvas, base = self.canv, _BELOW + _LEGEND
        wide = (self.width - _LEFT) / max(1, len(self._chart.labels))
        for number, each in enumerate(self._chart.series):
            color = _color(each, number)
            canvas.setStrokeColor(color)
            canvas.setFillColor(color)
            points = [
                None
                if value is None
                else (_LEFT + wide * (place + 0.5), base + (_HIGH - 8) * value / self._top)
                for place, value in enumerate(each.values)
            ]
            canvas.setLineWidth(1.2)
            for one, other in pairwise(points):
                if one is not None and other is not None:
                    canvas.line(*one, *other)
            for point in points:
                if point is not None:
                    canvas.circle(*point, 1.4, stroke=0, fill=1)

    def _bars(self) -> None:
        canvas, chart = self.canv, self._chart
        totals = self._stacks()[:_MOST_BARS]
        highest = max(totals, default=0) or 1
        room = self.width - _NAME - 60
        canvas.setFont(self._letters.plain, _SMALL)
        for place, total in enumerate(totals):
            y = self.height - _BAR * (place + 1)
            canvas.setFillColor(INK)
            canvas.drawRightString(_NAME - 6, y + 3.5, self._short(chart.labels[place], _NAME - 10))
            x = _NAME
            for number, each in enumerate(chart.series):
                length = room * (each.values[place] or 0) / highest
                canvas.setFillColor(_color(each, number))
                if length:
                    canvas.rect(x, y + 1.5, length, _BAR - 4, stroke=0, fill=1)
                x += length
            canvas.setFillColor(SOFT)
            canvas.drawString(x + 5, y + 3.5, f"{total:,} {chart.unit}")

    def _legend(self) -> None:
        canvas, x = self.canv, _LEFT
        canvas.setFont(self._letters.plain, _SMALL)
        for number, each in enumerate(self._chart.series):
            total = sum(value or 0 for value in each.values)
            more = "" if self._chart.kind == "lines" else f" ({total:,})"
            text = self._letters.raw(f"{result_words(each.name)}{more}")
            canvas.setFillColor(_color(each, number))
            canvas.rect(x, 2, 6, 6, stroke=0, fill=1)
            canvas.setFillColor(SOFT)
            canvas.drawString(x + 9, 2.5, text)
            x += 9 + stringWidth(text, self._letters.plain, _SMALL) + 14
        canvas.drawRightString(self.width, 2.5, self._letters.raw(self._chart.unit))

    def _stacks(self) -> list[int]:
        return [
            sum(each.values[place] or 0 for each in self._chart.series)
            for place in range(len(self._chart.labels))
        ]

    def _short(self, label: str, room: float) -> str:
        """A label cut to the room there is; the table beside the chart has it whole."""
        text = self._letters.raw(label)
        while text and stringWidth(text, self._letters.plain, _SMALL) > room:
            text = text[: int(len(text) * 0.9)].rstrip("…") + "…" if len(text) > 2 else ""
        return text


def _color(series: Series, number: int) -> Color:
    return TONES.get(series.name, SERIES[number % len(SERIES)])


def _rounded_up(highest: int) -> int:
    """The next of 1, 2, 4, 5, 10, 20 ..."""
    power: Any = 1
    while True:
        for factor in (1, 2, 4, 5):
            if power * factor >= highest:
                return max(1, int(power * factor))
        power *= 10
