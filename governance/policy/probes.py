"""Probes: given the value of one fact, the rules whose condition on it may be anything but false.

A probe may name a rule too many, never one too few: a value it cannot read brings every rule that was posted with it,
since these conditions are then unknown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from governance.model.facts import Collection
from governance.policy.closures import NO_VALUE
from governance.policy.condition import MEMBER, Record

Found = dict[int, None]
"""Numbers of rules, each once, in no order that matters."""

UNREADABLE = object()
"""The value is unknown or of the wrong type."""

ABSENT = object()
"""The value is known to be absent, which equals nothing."""


class Probe(Protocol):
    """Rules posted under keys of one fact."""

    def post(self, key: Any, rule: int) -> None:
        """Post a rule under a key."""
        ...

    def seal(self) -> None:
        """Make ready for look-ups; nothing is posted afterwards."""
        ...

    def find(self, value: Any, found: Found) -> None:
        """Add the rules whose condition may hold of `value`, or may be unknown."""
        ...

    def find_all(self, found: Found) -> None:
        """Add every rule."""
        ...


@dataclass(slots=True)
class _Posted:
    """What every probe keeps: all its rules, for a value that cannot be read."""

    everything: Found = field(default_factory=dict)

    def seal(self) -> None:
        """Nothing to do."""

    def find_all(self, found: Found) -> None:
        """Add every rule."""
        found.update(self.everything)


@dataclass(slots=True)
class ValueProbe(_Posted):
    """Equality: rules by the exact key. `extract` gives a key, `UNREADABLE` or `ABSENT`."""

    extract: Callable[[Any], Any] = lambda value: value
    table: dict[Hashable, Found] = field(default_factory=dict)

    def post(self, key: Any, rule: int) -> None:
        """Post a rule under a key."""
        self.table.setdefault(key, {})[rule] = None
        self.everything[rule] = None

    def find(self, value: Any, found: Found) -> None:
        """Add the rules under the value's key."""
        key = self.extract(value)
        if key is UNREADABLE:
            found.update(self.everything)
            return
        rules = self.table.get(key)
        if rules is not None:
            found.update(rules)


@dataclass(slots=True)
class MembersProbe(_Posted):
    """Equality with any of several keys that one value has, such as the licences of an expression."""

    extract: Callable[[Any], Any] = lambda value: value
    table: dict[Hashable, Found] = field(default_factory=dict)

    def post(self, key: Any, rule: int) -> None:
        """Post a rule under a key."""
        self.table.setdefault(key, {})[rule] = None
        self.everything[rule] = None

    def find(self, value: Any, found: Found) -> None:
        """Add the rules under each of the value's keys."""
        keys = self.extract(value)
        if keys is UNREADABLE:
            found.update(self.everything)
        elif keys is not ABSENT:
            for key in keys:
                found.update(self.table.get(key, ()))


@dataclass(slots=True)
class EndsProbe(_Posted):
    """Globs by their fixed start or end, looked up once per length that occurs."""

    extract: Callable[[Any], Any] = lambda value: value
    suffix: bool = False
    tables: dict[int, dict[str, Found]] = field(default_factory=dict)

    def post(self, key: Any, rule: int) -> None:
        """Post a rule under a start or end."""
        self.tables.setdefault(len(key), {}).setdefault(key, {})[rule] = None
        self.everything[rule] = None

    def find(self, value: Any, found: Found) -> None:
        """Add the rules whose start or end the value has."""
        text = self.extract(value)
        if text is UNREADABLE:
            found.update(self.everything)
        elif text is not ABSENT:
            for length, table in self.tables.items():
                rules = table.get(text[-length:] if self.suffix else text[:length])
                if rules is not None:
                    found.update(rules)


@dataclass(slots=True)
class OrderProbe(_Posted):
    """Thresholds: for `gte` the rules at or below the value, for `lte` those at or above it."""

    extract: Callable[[Any], Any] = lambda value: value
    upwards: bool = True
    _posted: list[tuple[Any, int]] = field(default_factory=list)
    _thresholds: list[Any] = field(default_factory=list)
    _rules: list[int] = field(default_factory=list)

    def post(self, key: Any, rule: int) -> None:
        """Post a rule under its threshold."""
        self._posted.append((key, rule))
        self.everything[rule] = None

    def seal(self) -> None:
        """Sort by threshold."""
        self._posted.sort(key=lambda pair: pair[0])
        self._thresholds = [key for key, _ in self._posted]
        self._rules = [rule for _, rule in self._posted]

    def find(self, value: Any, found: Found) -> None:
        """Add the rules whose threshold the value reaches. An absent value has no order: all are unknown."""
        key = self.extract(value)
        if key is UNREADABLE or key is ABSENT:
            found.update(self.everything)
        elif self.upwards:
            found.update(dict.fromkeys(self._rules[: bisect_right(self._thresholds, key)]))
        else:
            found.update(dict.fromkeys(self._rules[bisect_left(self._thresholds, key) :]))


@dataclass(slots=True)
class CollectionProbe:
    """Probes over the fields of the items of one collection."""

    name: str
    fields: list[tuple[str, Probe]]

    def find(self, facts: Record, found: Found) -> None:
        """Add the rules that some item may match; all of them where there may be items nobody knows."""
        value = facts.get(self.name, NO_VALUE)
        if isinstance(value, Collection):
            if value.missing is not None:
                self._find_all(found)
                return
            for item in value.items:
                if not isinstance(item, Mapping):
                    self._find_all(found)
                    return
                for name, probe in self.fields:
                    probe.find(item.get(name, NO_VALUE), found)
        elif isinstance(value, tuple):
            for member in value:
                for name, probe in self.fields:
                    probe.find(member if name == MEMBER and isinstance(member, str) else NO_VALUE, found)
        elif value is not None:
            self._find_all(found)

    def _find_all(self, found: Found) -> None:
        for _, probe in self.fields:
            probe.find_all(found)
