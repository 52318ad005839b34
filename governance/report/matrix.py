"""The control matrix: how many entries of a period each query of each framework finds, counted in one pass.

Promises: constant memory, whatever the log's size; the counts are those that `mlgov audit search` would give for the same query and
period. Does not: say that a control is met, or that a control without a record is not.

An entry is boiled down to those of its words that any query asks about, with those values alone. Logs hold few such combinations,
so queries are matched against each combination once, and not against each entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, TypeAlias

from governance.audit.entry import Entry, EntryKind
from governance.report.controls import (
    Control,
    ControlResult,
    ControlStatus,
    Framework,
    FrameworkResult,
    QueryCount,
)
from governance.report.selection import Selection, parse_selection
from governance.report.words import READERS

_Said: TypeAlias = "tuple[frozenset[str], ...]"

_NOTHING: frozenset[str] = frozenset()

STATUS_WORDS = {
    ControlStatus.RECORDS: "records found",
    ControlStatus.PARTLY: "records found for some of the queries",
    ControlStatus.NOTHING: "no record in the period",
}
"""How a status is worded. None of them is about whether a control is met."""


class ControlTally:
    """Counts for some frameworks. Feed it each entry of the period once with `add`, then ask for `results`."""

    def __init__(self, frameworks: Sequence[Framework]) -> None:
        self._frameworks = tuple(frameworks)
        texts = {query for each in frameworks for control in each.controls for query in control.queries}
        self._selections = {text: parse_selection(text) for text in sorted(texts)}
        wanted: dict[str, frozenset[str]] = {}
        for selection in self._selections.values():
            for word, values in selection.wanted():
                wanted[word] = wanted.get(word, frozenset()) | values
        self._wanted = tuple(wanted.items())
        self._asked = {kind: self._asked_of(kind) for kind in EntryKind}
        self._seen: Counter[_Said] = Counter()

    def _asked_of(self, kind: EntryKind) -> tuple[tuple[int, str, frozenset[str]], ...]:
        """The words that queries about a kind of entry ask for, each with its place. What no such query asks for is not read."""
        words = {
            word
            for selection in self._selections.values()
            if not selection.kinds or kind in selection.kinds
            for word, _ in selection.wanted()
        }
        return tuple(
            (place, word, values) for place, (word, values) in enumerate(self._wanted) if word in words
        )

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        said = [_NOTHING] * len(self._wanted)
        for place, word, values in self._asked[entry.kind]:
            said[place] = values.intersection(READERS[word](entry))
        self._seen[tuple(said)] += 1

    def results(
        self, *, within: Selection | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[FrameworkResult, ...]:
        """What was found. `within` and the period are those of the report: they narrow the command that repeats a query, as they
        narrowed the entries."""
        counts = {text: self._count(selection) for text, selection in self._selections.items()}
        commands = {
            text: _command(selection, within, since, until) for text, selection in self._selections.items()
        }
        return tuple(
            FrameworkResult(
                framework=framework,
                results=tuple(_result(control, counts, commands) for control in framework.controls),
            )
            for framework in self._frameworks
        )

    def _count(self, selection: Selection) -> int:
        asked = dict(selection.wanted())
        tests = [(place, asked[word]) for place, (word, _) in enumerate(self._wanted) if word in asked]
        return sum(
            count
            for said, count in self._seen.items()
            if all(said[place] & values for place, values in tests)
        )


def _result(control: Control, counts: dict[str, int], commands: dict[str, str]) -> ControlResult:
    rows = tuple(
        QueryCount(query=query, command=commands[query], count=counts[query]) for query in control.queries
    )
    found = sum(row.count > 0 for row in rows)
    status = ControlStatus.NOTHING
    if found:
        status = ControlStatus.RECORDS if found == len(rows) else ControlStatus.PARTLY
    return ControlResult(control=control, counts=rows, status=status)


_ONE_VALUE = frozenset({
    "kinds", "decisions", "modes", "refused", "would_block", "degraded", "waived", "break_glass", "actions", "environments",
    "outcomes", "events",
})  # fmt: skip
"""Words of which an entry says one value at most, so that two demands come down to the values both allow."""


def _command(
    selection: Selection, within: Selection | None, since: datetime | None, until: datetime | None
) -> str:
    """The line that repeats a query within the report's own limits, shows all and says how many. Empty where no selection says both at once, as where they
    contradict each other."""
    narrowed = selection if within is None else _both(selection, within)
    return "" if narrowed is None else f"{replace(narrowed, since=since, until=until).as_command()} --limit 0"


def _both(one: Selection, other: Selection) -> Selection | None:
    values: dict[str, Any] = {}
    for each in fields(Selection):
        first, second = getattr(one, each.name), getattr(other, each.name)
        if first in {None, ()} or second in {None, ()} or first == second:
            values[each.name] = second if first in {None, ()} else first
        elif each.name not in _ONE_VALUE or isinstance(first, bool):
            return None
        else:
            values[each.name] = tuple(value for value in first if value in second)
            if not values[each.name]:
                return None
    return Selection(**values)
