"""The report as OCSF events, one a line: what a SIEM takes in.

There is no head, since every line must be an event: the statement of integrity is in the other formats, and each event
carries its entry's bytes and their hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol

from governance.audit.log import Stored
from governance.report.ocsf.event import ocsf_line
from governance.report.ocsf.ids import VERSION


class Entries(Protocol):
    """What a report of any sort has."""

    @property
    def origin(self) -> str:
        """The log's name."""
        ...

    @property
    def entries(self) -> Iterable[Stored]:
        """The entries, read anew each time."""
        ...


class OcsfFormat:
    """One line an entry, in the order of the log."""

    def __init__(self, version: str = VERSION, *, name: str = "events.ocsf.jsonl") -> None:
        self.name = name
        self._version = version

    def write(self, report: Entries, out: BinaryIO) -> None:
        """See `ReportFormat.write`."""
        out.writelines(
            ocsf_line(stored, origin=report.origin, version=self._version) + b"\n"
            for stored in report.entries
        )
