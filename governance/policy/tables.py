"""Tables of the index: given the value of one fact, the places in the index that it leaves open.

A table answers with two sets of places, as bits: those that the value does not shut, among them all that are none of
the table's business, and those of which it cannot tell. It may leave open too many, never too few. What a text comes to
is remembered, up to a bound; it never changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from governance.model.facts import FactSpec, FactType
from governance.policy.bits import bits_of
from governance.policy.comparing import order_key
from governance.policy.licences import licences_in
from governance.policy.literals import SEVERITIES
from governance.policy.names import loose_name, parse_purl

Answer: TypeAlias = "tuple[int, int]"
"""The places left open, and those of them that are in doubt."""

Form: TypeAlias = "Callable[[str], frozenset[str] | None]"
"""The keys under which a text is looked up; None where it cannot be read."""

_MAX_SEEN = 8_192
_MAX_SEEN_BYTES = 16 << 20
_LARGE = 1 << 53


@dataclass(slots=True)
class TextTable:
    """Places by what a text must equal, begin or end with. An absent value equals nothing, but it has no order either:
    `absent` are the places of what compares it. Names and licences meet a key in several spellings; `spelt` are those of
    which a place is sure. `seen` holds what is open for texts that leave no doubt, `others` the places of other tables."""

    form: Form
    written: Callable[[str], str] = str
    exact: dict[str, list[int]] = field(default_factory=dict)
    starts: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    ends: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    absent: list[int] = field(default_factory=list)
    posted: list[int] = field(default_factory=list)
    spelt: dict[int, set[str]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    others: int = 0
    everything: Answer = (0, 0)
    _nothing: Answer = (0, 0)
    _width: int = 0
    _most: int = 0

    def post(self, how: str, key: str, place: int) -> None:
        """Post a place under a key."""
        if how == "exact":
            self.exact.setdefault(key, []).append(place)
        else:
            tables = self.starts if how == "prefix" else self.ends
            tables.setdefault(len(key), {}).setdefault(key, []).append(place)
        self.posted.append(place)

    def seal(self, width: int) -> None:
        """Make ready to be asked; nothing is posted afterwards. `width` is the number of places in the index."""
        concerned, full = bits_of(self.posted, width), (1 << width) - 1
        unordered = bits_of(self.absent, width)
        self._width, self._most = width, min(_MAX_SEEN, _MAX_SEEN_BYTES // (width // 8 + 1))
        self.others = full ^ concerned
        self.everything = full, concerned
        self._nothing = self.others | unordered, unordered

    def bring(self, value: Any) -> Answer:
        """What a value leaves open, whatever it is."""
        if value.__class__ is str:
            known = self.seen.get(value)
            return self._look(value) if known is None else (known, 0)
        return self._nothing if value is None else self.everything

    def _look(self, text: str) -> Answer:
        keys = self.form(text)
        if keys is None:
            return self.everything
        found: list[int] = []
        for key in keys:
            self._add(key, found)
        is_open = self.others | bits_of(found, self._width) if found else self.others
        written = self.written(text)
        doubt = [place for place in found if place in self.spelt and written not in self.spelt[place]]
        if doubt:
            return is_open, bits_of(doubt, self._width)
        if len(self.seen) < self._most:
            self.seen[text] = is_open
        return is_open, 0

    def _add(self, key: str, found: list[int]) -> None:
        found += self.exact.get(key, ())
        for length, table in self.starts.items():
            found += table.get(key[:length], ())
        for length, table in self.ends.items():
            found += table.get(key[-length:], ())


@dataclass(slots=True)
class BooleanTable:
    """Places by a boolean: `yes` and `no` are what each leaves open."""

    yes: int = 0
    no: int = 0
    others: int = 0
    everything: Answer = (0, 0)
    _posted: list[tuple[bool, int]] = field(default_factory=list)

    def post(self, _how: str, key: bool, place: int) -> None:
        """Post a place under a boolean."""
        self._posted.append((key, place))

    def seal(self, width: int) -> None:
        """Make ready to be asked; nothing is posted afterwards."""
        concerned, full = bits_of((place for _, place in self._posted), width), (1 << width) - 1
        self.others, self.everything = full ^ concerned, (full, concerned)
        self.yes, self.no = (
            self.others | bits_of((place for key, place in self._posted if key is wanted), width)
            for wanted in (True, False)
        )

    def bring(self, value: Any) -> Answer:
        """What a value leaves open, whatever it is."""
        if value is True:
            return self.yes, 0
        if value is False:
            return self.no, 0
        return (self.others, 0) if value is None else self.everything


@dataclass(slots=True)
class OrderTable:
    """Places by threshold: open where the value is at least the bound (`from`), or less (`below`). `seen` holds what is
    open by the number of `bounds` that a value reaches. `kind` is the class of values that are their own `key`, if there is
    one."""

    key: Callable[[Any], Any]
    kind: type | None = None
    bounds: list[Any] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    others: int = 0
    everything: Answer = (0, 0)
    _posted: list[tuple[str, Any, int]] = field(default_factory=list)
    _width: int = 0

    def post(self, how: str, bound: Any, place: int) -> None:
        """Post a place under its bound."""
        self._posted.append((how, bound, place))

    def seal(self, width: int) -> None:
        """Sort the bounds; nothing is posted afterwards."""
        self.bounds = sorted({bound for _, bound, _ in self._posted})
        concerned, full = bits_of((place for *_, place in self._posted), width), (1 << width) - 1
        self._width, self.others, self.everything = width, full ^ concerned, (full, concerned)

    def bring(self, value: Any) -> Answer:
        """What a value leaves open. One without an order leaves all in doubt."""
        key = self.key(value)
        if key is None:
            return self.everything
        reached = bisect_right(self.bounds, key)
        known = self.seen.get(reached)
        if known is None:
            fitting = [place for how, bound, place in self._posted if (how == "from") is (bound <= key)]
            known = self.others | bits_of(fitting, self._width)
            if len(self.seen) < _MAX_SEEN_BYTES // (self._width // 8 + 1):
                self.seen[reached] = known
        return known, 0


def text_table(spec: FactSpec) -> TextTable:
    """An empty table for texts of a fact's type."""
    if spec.type is FactType.SEVERITY:
        # `unknown` may be any severity, so every rule is unknown about it.
        return TextTable(_closed(frozenset(SEVERITIES) - {"unknown"}))
    if spec.values:
        return TextTable(_closed(frozenset(spec.values)))
    if spec.type is FactType.LICENCE:
        return TextTable(licences_in, written=str.lower)  # a plain identifier, which has no case
    return TextTable(_FORMS.get(spec.type, _itself))


def order_table(spec: FactSpec) -> OrderTable:
    """An empty table for thresholds of a fact's type."""
    key = order_key(spec)
    if spec.type is FactType.TIME:
        return OrderTable(key)
    return OrderTable(_exactly(key), float) if spec.type is FactType.SCORE else OrderTable(key, int)


def _exactly(key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Between two neighbouring fractions lie whole numbers, once they are large enough: of these no bound can tell."""

    def exact(value: Any) -> Any:
        found = key(value)
        return None if isinstance(found, int) and abs(found) >= _LARGE else found

    return exact


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
}
