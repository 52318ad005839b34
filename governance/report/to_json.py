"""The report as JSON lines: a head, then every entry of the period, byte for byte as it was hashed.

So a line's SHA-256 after a zero byte is the leaf hash in the log's tree, and nothing is lost between log and report.
"""

from __future__ import annotations

from typing import BinaryIO

from governance.model.canonical import Json, canonical_bytes
from governance.report.book import Report


class JsonLinesFormat:
    """One line of head, then one line an entry, all canonical JSON."""

    name = "report.jsonl"

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `ReportFormat.write`. Entries that are not what was recorded are left out; the head tells of them."""
        out.write(canonical_bytes(_head(report)) + b"\n")
        out.writelines(stored.data + b"\n" for stored in report.entries)


def _head(report: Report) -> dict[str, Json]:
    verification, checkpoint = report.verification, report.checkpoints.head
    return {
        "report": "audit",
        "v": 1,
        "origin": report.origin,
        "made_at": report.made_at,
        "period": {"since": report.since, "until": report.until},
        "subject": next(iter(report.selection.subjects), None),
        "counts": dict(report.counts),
        "integrity": {
            "good": report.is_good,
            "size": verification.size,
            "root": verification.root.hex(),
            "problems": [str(problem) for problem in verification.problems],
            "notes": [str(note) for note in verification.notes],
            "checkpoint": checkpoint.to_bytes().decode(),
            "signed": checkpoint.note is not None,
            "key": report.vkey,
            "command": report.command,
        },
    }
