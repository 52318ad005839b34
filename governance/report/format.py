"""The contracts of the formats, and the tables of all there are. A new format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import BinaryIO, Protocol

from governance.report.book import ComplianceReport
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


class BookFormat(Protocol):
    """Renders a compliance report.

    | member | meaning |
    | --- | --- |
    | `name` | of its file in the report's folder |
    | `write(report, out)` | write all of it, in constant memory; reads nothing but the report |
    """

    @property
    def name(self) -> str:
        """The file's name."""
        ...

    def write(self, report: ComplianceReport, out: BinaryIO) -> None:
        """Write all of it."""
        ...


def _html() -> ReportFormat:
    from governance.report.to_html import HtmlFormat

    return HtmlFormat()


def _jsonl() -> ReportFormat:
    from governance.report.to_json import JsonLinesFormat

    return JsonLinesFormat()


def _page() -> BookFormat:
    from governance.report.to_page import PageFormat

    return PageFormat()


def _ocsf() -> ReportFormat:
    from governance.report.to_ocsf import OcsfFormat

    return OcsfFormat()


FORMATS: Mapping[str, Callable[[], ReportFormat]] = MappingProxyType(
    {"html": _html, "jsonl": _jsonl, "ocsf": _ocsf}
)

BOOK_FORMATS: Mapping[str, Callable[[], BookFormat]] = MappingProxyType({"html": _page})
"""One file each. `csv` and `jsonl` are the folder's own (`governance.report.folder`): a file for each table, and the entries
that its proofs are about."""
