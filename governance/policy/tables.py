"""Tables of the index: given the value of one fact, the rules whose condition on it may be anything but false.

A table may name a rule too many, never one too few: a value it cannot read brings every rule that was posted with it,
since their conditions are then unknown. What a text brings is remembered, up to a bound; it never changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from governance.model.facts import FactSpec, FactType
from governance.policy.comparing import order_key
from governance.policy.condition import Test
from governance.policy.licences import licences_in
from governance.policy.literals import SEVERITIES
from governance.policy.names import loose_name, parse_purl

Found: TypeAlias = "dict[Any, Test | None]"
"""Rules, each once, in no order that matters, with what is left to be judged of them: the whole rule, or the rest of it
where the condition it was posted under is known to hold, or None where that is all there is to it."""


class Rule(Protocol):
    """What a table needs of a rule."""

    @property
    def test(self) -> Test:
        """Judges the rule."""
        ...

    @property
    def rest(self) -> Test | None:
        """Judges what is left of it."""
        ...


Form: TypeAlias = "Callable[[str], frozenset[str] | None]"
"""The keys under which a text is looked up; None where it cannot be read."""

_MAX_SEEN = 8192


@dataclass(slots=True)
class TextTable:
    """Rules by what a text must equal, begin or end with. For booleans, by the boolean. An absent value equals nothing,
    but it has no order either: `absent` are the rules that compare it."""

    form: Form
    exact: dict[Any, Found] = field(default_factory=dict)
    starts: dict[int, dict[str, Found]] = field(default_factory=dict)
    ends: dict[int, dict[str, Found]] = field(default_factory=dict)
    everything: Found = field(default_factory=dict)
    absent: Found = field(default_factory=dict)
    seen: dict[Any, Found] = field(default_factory=dict)

    def post(self, how: str, key: Any, rule: Rule, *, sure: bool, absent: bool) -> None:
        """Post a rule under a key."""
        if how == "exact":
            self.exact.setdefault(key, {})[rule] = rule.rest if sure else rule.test
        else:
            tables = self.starts if how == "prefix" else self.ends
            tables.setdefault(len(key), {}).setdefault(key, {})[rule] = rule.rest if sure else rule.test
        self.everything[rule] = rule.test
        if absent:
            self.absent[rule] = rule.test

    def bring(self, value: Any, kind: type) -> Found:
        """The rules that a value brings, whatever it is."""
        if value.__class__ is kind:
            known = self.seen.get(value)
            return self._look(value) if known is None else known
        return self.absent if value is None else self.everything

    def _look(self, text: Any) -> Found:
        keys = self.form(text)
        found: Found = {}
        if keys is None:
            found = self.everything
        else:
            for key in keys:
                self._add(key, found)
        if len(self.seen) < _MAX_SEEN:
            self.seen[text] = found
        return found

    def _add(self, key: str, found: Found) -> None:
        found.update(self.exact.get(key, ()))
        for length, table in self.starts.items():
            found.update(table.get(key[:length], ()))
        for length, table in self.ends.items():
            found.update(table.get(key[-length:], ()))


@dataclass(slots=True)
class OrderTable:
    """Rules by threshold: for `gte` those at or below the value, for `lte` those at or above it."""

    key: Callable[[Any], Any]
    upwards: bool
    everything: Found = field(default_factory=dict)
    _posted: list[tuple[Any, Rule]] = field(default_factory=list)
    _thresholds: list[Any] = field(default_factory=list)

    def post(self, key: Any, rule: Rule) -> None:
        """Post a rule under its threshold."""
        self._posted.append((key, rule))
        self.everything[rule] = rule.test

    def seal(self) -> None:
        """Sort by threshold; nothing is posted afterwards."""
        self._posted.sort(key=lambda pair: pair[0])
        self._thresholds = [key for key, _ in self._posted]

    def find(self, value: Any, found: Found) -> None:
        """Add the rules whose threshold the value reaches. A value without an order brings all: they are unknown."""
        key = self.key(value)
        if key is None:
            found.update(self.everything)
        elif self.upwards:
            found.update((rule, rule.test) for _, rule in self._posted[: bisect_right(self._thresholds, key)])
        else:
            found.update((rule, rule.test) for _, rule in self._posted[bisect_left(self._thresholds, key) :])


def text_table(spec: FactSpec) -> TextTable:
    """An empty table for texts (or booleans) of a fact's type."""
    if spec.type is FactType.SEVERITY:
        # `unknown` may be any severity, so every rule is unknown about it.
        return TextTable(_closed(frozenset(SEVERITIES) - {"unknown"}))
    if spec.values:
        return TextTable(_closed(frozenset(spec.values)))
    return TextTable(_FORMS.get(spec.type, _itself))


def order_table(spec: FactSpec, *, upwards: bool) -> OrderTable:
    """An empty table for thresholds of a fact's type."""
    return OrderTable(order_key(spec), upwards)


def boolean_table() -> TextTable:
    """An empty table for a boolean: what it brings is known beforehand."""
    table = TextTable(lambda _text: None)
    table.exact = table.seen = {True: {}, False: {}}
    return table


def _itself(text: str) -> frozenset[str] | None:
    return frozenset({text})


def _closed(allowed: frozenset[str]) -> Form:
    return lambda text: frozenset({text}) if text in allowed else None


def _name(text: str) -> frozenset[str] | None:
    return frozenset({loose_name(text)})


def _package(text: str) -> frozenset[str] | None:
    purl = parse_purl(text)
    return None if purl is None else frozenset({purl.package})


_FORMS: Mapping[FactType, Form] = {
    FactType.NAME: _name,
    FactType.PURL: _package,
    FactType.LICENCE: licences_in,
}
