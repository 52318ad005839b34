"""The contract of a report format, and the table of all there are. A new format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import BinaryIO, Protocol

from governance.report.query import Report


class ReportFormat(Protocol):
    """Renders a report.

    | member | meaning |
    | --- | --- |
    | `suffix` | of files, with the dot |
    | `write(report, out)` | write all of it; reads nothing but the report |
    """

    @property
    def suffix(self) -> str:
        """With the dot."""
        ...

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write all of it."""
        ...


def _html() -> ReportFormat:
    from governance.report.to_html import HtmlFormat

    return HtmlFormat()


def _jsonl() -> ReportFormat:
    from governance.report.to_json import JsonLinesFormat

    return JsonLinesFormat()


FORMATS: Mapping[str, Callable[[], ReportFormat]] = MappingProxyType({"html": _html, "jsonl": _jsonl})
