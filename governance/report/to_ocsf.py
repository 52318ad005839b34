"""The report as OCSF events, one a line: what a SIEM takes in.

There is no head, since every line must be an event: the statement of integrity is in the other formats, and each event
carries its entry's bytes and their hash.
"""

from __future__ import annotations

from typing import BinaryIO

from governance.report.ocsf.event import ocsf_line
from governance.report.ocsf.ids import VERSION
from governance.report.query import Report


class OcsfFormat:
    """One line an entry, in the order of the log."""

    suffix = ".ocsf.jsonl"

    def __init__(self, version: str = VERSION) -> None:
        self._version = version

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `ReportFormat.write`."""
        out.writelines(
            ocsf_line(stored, origin=report.origin, version=self._version) + b"\n"
            for stored in report.entries
        )
