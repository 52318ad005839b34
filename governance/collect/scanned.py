"""Which files of an artifact were scanned to the end, as the bytes they are now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from governance.content.formats import format_of_name
from governance.model.artifact import FileEntry
from governance.model.facts import Unknown
from governance.xray.items import ScanState, ScanStatus, Summary

_PLAIN: Final = frozenset({"text", "json", "yaml"})
_KNOWN: Final = frozenset(ScanState) - {ScanState.ABSENT, ScanState.NOT_SCANNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScan:
    """One file with what Xray says about it: nothing, one summary, or several that need not agree. The status is unknown where
    Xray could not be asked for it."""

    entry: FileEntry
    status: ScanStatus | Unknown
    summaries: tuple[Summary, ...]

    @property
    def problem(self) -> str | None:
        """Why the file does not count as scanned, or None where it does."""
        if isinstance(self.status, Unknown):
            return self.status.reason
        if self.status.state is ScanState.NOT_SUPPORTED and format_of_name(self.entry.path) in _PLAIN:
            return None
        if self.status.state is not ScanState.DONE:
            return f"`{self.entry.path}` is {_WORDS[self.status.state]}"
        if not self.summaries:
            return f"`{self.entry.path}` has no scan result"
        if not all(map(self.is_current, self.summaries)):
            return f"`{self.entry.path}` was scanned with other bytes than it has now"
        return None

    def is_current(self, summary: Summary) -> bool:
        """Whether a summary is about the bytes that are there now."""
        return self.entry.sha256 is not None and summary.sha256 == self.entry.sha256

    @property
    def is_indexed(self) -> bool:
        """True where Xray is known to know the file."""
        return bool(self.summaries) or (isinstance(self.status, ScanStatus) and self.status.state in _KNOWN)


_WORDS: Final[Mapping[ScanState, str]] = {
    ScanState.NOT_SUPPORTED: "of a type that Xray does not scan",
    ScanState.NOT_SCANNED: "not scanned",
    ScanState.PENDING: "still waiting to be scanned",
    ScanState.SCANNING: "being scanned",
    ScanState.DONE: "scanned",
    ScanState.PARTIAL: "scanned in part only",
    ScanState.FAILED: "not scanned: the scan failed",
    ScanState.ABSENT: "unknown to Xray",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The files of one artifact, and what stands in the way of calling it scanned."""

    files: tuple[FileScan, ...]

    @property
    def problem(self) -> str | None:
        """Why the artifact is not known to be scanned to the end: the first file's reason and how many more, or None."""
        return None if self.doubt is None else self.doubt.reason

    @property
    def doubt(self) -> Unknown | None:
        """The problem, and whether it is that Xray gave no answer. What it did say comes first."""
        if not self.files:
            return Unknown("there is no file")
        problems = [
            file.status if isinstance(file.status, Unknown) else Unknown(problem)
            for file in self.files
            if (problem := file.problem) is not None
        ]
        first, others = foremost(*problems), len({problem.reason for problem in problems}) - 1
        if first is None or not others:
            return first
        return replace(first, reason=f"{first.reason}, and {others} more")

    @property
    def unasked(self) -> Unknown | None:
        """Why the status of some file is not known, or None where that of each is."""
        return foremost(*(file.status for file in self.files if isinstance(file.status, Unknown)))

    @property
    def is_complete(self) -> bool | Unknown:
        """Whether every file is scanned to the end. One that is not outweighs those whose state is not known."""
        said = (file.problem is None for file in self.files if not isinstance(file.status, Unknown))
        if not self.files or not all(said):
            return False
        return self.doubt or True

    @property
    def is_indexed(self) -> bool | Unknown:
        """Whether Xray knows every file."""
        strange = [file.status for file in self.files if not file.is_indexed]
        if not self.files or any(isinstance(status, ScanStatus) for status in strange):
            return False
        return next((status for status in strange if isinstance(status, Unknown)), True)

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """What is known of the bytes that are there now. A summary of other bytes is no news about these."""
        return tuple(each for file in self.files for each in file.summaries if file.is_current(each))

    @property
    def oldest(self) -> datetime | None:
        """When the oldest scan ended; None where one of them does not say."""
        times = [status.at for status in self._statuses if status.state is ScanState.DONE]
        known = [at for at in times if at is not None]
        return min(known) if known and len(known) == len(times) else None

    @property
    def engines(self) -> tuple[str, ...]:
        """Every engine that took part in the scan of any file."""
        return tuple(sorted({engine for status in self._statuses for engine in status.engines}))

    @property
    def _statuses(self) -> tuple[ScanStatus, ...]:
        return tuple(file.status for file in self.files if isinstance(file.status, ScanStatus))


def foremost(*reasons: Unknown | None) -> Unknown | None:
    """Of several reasons why something is not known the first that an answer would not do away with, else the first."""
    given = [reason for reason in reasons if reason is not None]
    return next((reason for reason in given if not reason.out_of_reach), given[0] if given else None)


def join(
    places: Iterable[tuple[FileEntry, str]],
    statuses: Mapping[str, ScanStatus | Unknown],
    summaries: Iterable[Summary],
) -> Scanned:
    """Bring together files with their `repository/path`, statuses by that place, and summaries."""
    by_place: dict[str | None, list[Summary]] = {}
    for summary in summaries:
        by_place.setdefault(summary.path, []).append(summary)
    absent = ScanStatus(state=ScanState.ABSENT)
    return Scanned(
        files=tuple(
            FileScan(
                entry=entry,
                status=statuses.get(place, absent),
                summaries=tuple(by_place.get(place, ())),
            )
            for entry, place in places
        )
    )
