"""The contracts of the formats, and the tables of all there are. A new format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import BinaryIO, Protocol

from governance.errors import SettingsError
from governance.report.book import Report


class ReportFormat(Protocol):
    """Renders a report.

    | member | meaning |
    | --- | --- |
    | `name` | of its file in the report's folder |
    | `write(report, out)` | write all of it, in constant memory; reads nothing but the report |
    """

    @property
    def name(self) -> str:
        """The file's name."""
        ...

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write all of it."""
        ...


def _jsonl() -> ReportFormat:
    from governance.report.to_json import JsonLinesFormat

    return JsonLinesFormat()


def _page() -> ReportFormat:
    from governance.report.to_page import PageFormat

    return PageFormat()


def _ocsf() -> ReportFormat:
    from governance.report.to_ocsf import OcsfFormat

    return OcsfFormat()


def _ocsf_report() -> ReportFormat:
    from governance.report.to_ocsf import OcsfFormat

    return OcsfFormat(name="report.ocsf.jsonl")


def _pdf() -> ReportFormat:
    with _needs("pdf", "reportlab"):
        from governance.report.to_pdf import PdfFormat

        return PdfFormat()


def _sarif() -> ReportFormat:
    from governance.report.to_sarif import SarifFormat

    return SarifFormat()


def _cyclonedx() -> ReportFormat:
    with _needs("cyclonedx", "cyclonedx"):
        from governance.report.to_cyclonedx import CycloneDxFormat

        return CycloneDxFormat()


def _oscal() -> ReportFormat:
    from governance.report.to_oscal import OscalFormat

    return OscalFormat()


@contextmanager
def _needs(extra: str, package: str) -> Iterator[None]:
    """Say which extra a format lacks. Any other import that fails is a mistake of ours, and passes."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise SettingsError(
            f"the format `{extra}` needs a package that is not installed: `{package}`",
            hint=f"pip install 'mlflow-governance[{extra}]'",
        ) from error


FORMATS: Mapping[str, Callable[[], ReportFormat]] = MappingProxyType(
    {"html": _page, "pdf": _pdf, "sarif": _sarif, "cyclonedx": _cyclonedx, "oscal": _oscal, "ocsf": _ocsf}
)
"""Of a compliance report, one file each. `csv` and `jsonl` are the folder's own (`governance.report.folder`): a file for each
table, and the entries that its proofs are about."""

AUDIT_FORMATS: Mapping[str, Callable[[], ReportFormat]] = MappingProxyType(
    {"html": _page, "jsonl": _jsonl, "ocsf": _ocsf_report}
)
"""Of the short report, one file each."""
