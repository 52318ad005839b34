"""Controls of a framework, and what the log shows for each: counts of records, each with the search behind it.

Does not: claim that a control is met. A framework speaks of people and procedures too; `not_shown` says what a log cannot tell.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control: what its records are claimed to show, the selections that find them, and what they do not show."""

    id: str
    title: str
    claim: str
    queries: tuple[str, ...]
    not_shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkDate:
    """A day from which duties of a framework apply, and who says so. `certain` is False where sources differ."""

    what: str
    on: str
    certain: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A catalogue of controls, in one version."""

    name: str
    version: str
    title: str
    controls: tuple[Control, ...]
    note: str = ""
    """What the records mean for this framework, and what they do not."""
    dates: tuple[FrameworkDate, ...] = ()


class ControlStatus(enum.StrEnum):
    """What the period holds for a control."""

    RECORDS = "records"  # each query finds some
    PARTLY = "partly"  # some do
    NOTHING = "nothing"  # none does


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCount:
    """A selection, the command that repeats it, and how many entries of the period it finds."""

    query: str
    command: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlResult:
    """What was found for one control."""

    control: Control
    counts: tuple[QueryCount, ...]
    status: ControlStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkResult:
    """What was found for one framework."""

    framework: Framework
    results: tuple[ControlResult, ...]
