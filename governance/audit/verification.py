"""What a look at a log, or at a part of it, found wrong.

Promises: what a newer version of this program wrote is told from what is broken, and neither passes for good. Does not: look
(`governance.audit.verify` does).
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.errors import AuditBrokenError, NewerLogError


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, at entry `index` where it has one."""

    index: int | None
    what: str
    is_newer: bool = False
    """Nothing is wrong, but a newer program wrote what this one cannot read."""

    @classmethod
    def of(cls, index: int | None, error: AuditBrokenError) -> Problem:
        """What an error says of an entry."""
        return cls(index, error.message, is_newer=isinstance(error, NewerLogError))

    def __str__(self) -> str:
        return self.what if self.index is None else f"entry {self.index}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a walk over the log found. `notes` are oddities that are no break, such as a clock set back; like problems, at most 100."""

    size: int
    root: bytes
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    compared: int = 0
    """How many roots remembered from elsewhere the log was held against."""

    @property
    def is_good(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems

    @property
    def is_newer(self) -> bool:
        """True where nothing is wrong, but not all of it can be read by this program."""
        return bool(self.problems) and all(each.is_newer for each in self.problems)

    def require_readable(self) -> None:
        """Raise `NewerLogError` where nothing is wrong, but not all of it can be read."""
        if self.is_newer:
            first = self.problems[0]
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise NewerLogError(
                f"this program is too old for this log, in which nothing else was found wrong: {first}{more}",
                index=first.index,
            )

    def require_good(self) -> None:
        """Raise `AuditBrokenError` that names the first bad entry, or `NewerLogError`."""
        self.require_readable()
        broken = [each for each in self.problems if not each.is_newer]
        if broken:
            first = broken[0]
            more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            raise AuditBrokenError(
                f"the audit log does not prove itself: {first}{more}",
                index=first.index,
                hint="Keep the file as it is, stop what writes to it, and compare it with an earlier export.",
            )
