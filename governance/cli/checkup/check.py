"""How a check is written: a generator of lines, whose error of the tree becomes one more line.

Promises: a check that fails does not keep the next one from running. Does not: print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from governance.cli.exits import exit_code
from governance.cli.output import Line, Mark
from governance.errors import GovernanceError

DEFAULT_CODE = 2
_MOST_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `subject` names it where it raises; `code` is what its `fail` lines count for."""

    subject: str
    look: Callable[[], Iterable[Line]]
    code: int = DEFAULT_CODE


def run_checks(checks: Iterable[Check]) -> Iterator[tuple[Line, int]]:
    """Every line of every check, with the exit code it stands for (0 where it is in order)."""
    for check in checks:
        try:
            for line in check.look():
                yield line, check.code if line.mark is Mark.FAIL else 0
        except GovernanceError as error:
            seen = in_one_line(error)
            yield Line(mark=Mark.FAIL, subject=check.subject, seen=seen, remedy=error.hint), exit_code(error)
        except OSError as error:
            seen = f"`{error.filename or 'a file'}` cannot be looked at: {error.strerror or error}"
            yield (
                fail(
                    check.subject,
                    seen,
                    "Fix the rights of the file and of its folders, or the setting that names it.",
                ),
                check.code,
            )


def in_one_line(error: GovernanceError) -> str:
    """What an error says first; where that announces a list, with the first of what is on it."""
    first, *rest = error.message.split("\n")
    if not first.endswith(":"):
        return first
    more = f"; and {len(rest) - _MOST_LISTED} more" if len(rest) > _MOST_LISTED else ""
    return f"{first} {'; '.join(one.strip() for one in rest[:_MOST_LISTED])}{more}"


def ok(subject: str, seen: str) -> Line:
    """In order."""
    return Line(mark=Mark.OK, subject=subject, seen=seen)


def warn(subject: str, seen: str, remedy: str) -> Line:
    """Works, and is not as it should be."""
    return Line(mark=Mark.WARN, subject=subject, seen=seen, remedy=remedy)


def fail(subject: str, seen: str, remedy: str) -> Line:
    """Does not work."""
    return Line(mark=Mark.FAIL, subject=subject, seen=seen, remedy=remedy)


def skip(subject: str, seen: str) -> Line:
    """Was not looked at, and why."""
    return Line(mark=Mark.SKIP, subject=subject, seen=seen)
