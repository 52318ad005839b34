"""The index: from the facts of a request to the few rules that can be anything but false.

Each rule has a place, which is a bit. A rule is posted under every condition that makes it false and that a table
answers by one look-up; each table then shuts the places that the facts rule out, by one operation on all of them. What
is left open is judged; all else is false without being looked at, which is the same answer as judging it gives. Rules
that no table serves are open for every request.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from governance.model.facts import Collection, FactType
from governance.policy.bits import bits_of
from governance.policy.choosing import Chosen
from governance.policy.closures import value_of
from governance.policy.compiled import CompiledRule
from governance.policy.condition import Record, Scope
from governance.policy.logic import NO_VALUE
from governance.policy.postings import Posting, TableKey
from governance.policy.tables import (
    Answer,
    BooleanTable,
    OrderTable,
    TextTable,
    order_table,
    text_table,
)

Table: TypeAlias = "TextTable | BooleanTable | OrderTable"
Ask: TypeAlias = "Callable[[Record], Answer]"
"""A table's answer to the facts."""

Bring: TypeAlias = "Callable[[Any], Answer]"
"""A table's answer to a value, whatever it is."""


# The tables most often asked are laid open, so that most look-ups need no call. As plain tuples: these are what Python
# takes apart quickly.

TextRow: TypeAlias = "tuple[str, Mapping[Any, int], Bring]"
"""A table of texts: the fact, what each text seen leaves open, and the answer to any value."""

BooleanRow: TypeAlias = "tuple[str, int, int, Bring]"
"""A table of a boolean: the fact, what yes and no leave open, and the answer to any value. An integer is no boolean,
though Python takes 1 and True for the same key."""

OrderRow: TypeAlias = "tuple[int, str, type, Sequence[Any], Mapping[int, int], Bring]"
"""A table of numbers: its places, the fact, their class, the bounds, what is left open by how many of these are reached,
and the answer to any value."""

OtherRow: TypeAlias = "tuple[int, Ask]"
"""A table that takes more than a look-up: its places, and how it is asked."""

TextColumn: TypeAlias = "tuple[str, Mapping[Any, int], Bring, int]"
"""A table of texts over one field of a collection's items, and the places of other tables."""

OrderColumn: TypeAlias = "tuple[str, type, Sequence[Any], Mapping[int, int], Bring, int]"
"""The same of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Built once, then only read, but for what its tables remember. `places` are the rules: where the index leaves one open
    without a doubt, its `rest` is left to be judged. `unsure` are places that are always in doubt; `others` the tables that
    take more than a look-up."""

    places: tuple[CompiledRule, ...]
    unsure: int = 0
    texts: tuple[TextRow, ...] = ()
    booleans: tuple[BooleanRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    others: tuple[OtherRow, ...] = ()

    def places_of(self, policies: Container[int]) -> int:
        """The places of the rules of these policies, by number."""
        numbers = (place for place, rule in enumerate(self.places) if rule.policy in policies)
        return bits_of(numbers, len(self.places))

    def find(self, facts: Record, is_open: int) -> Answer:  # noqa: C901, PLR0912 - a call costs as much as a look-up
        """The places among `is_open` whose rules may be true or unknown, and those of them of which the tables cannot tell."""
        doubt = self.unsure
        get = facts.get
        for name, yes, no, bring in self.booleans:
            try:
                value = facts[name]
            except KeyError:
                value = NO_VALUE
            if value is True:
                is_open &= yes
            elif value is False:
                is_open &= no
            else:
                fits, unsure = bring(value)
                is_open &= fits
                doubt |= unsure
        for name, seen, bring in self.texts:
            try:
                is_open &= seen[facts[name]]
            except (KeyError, TypeError):  # not seen yet, or no text
                fits, unsure = bring(get(name, NO_VALUE))
                is_open &= fits
                doubt |= unsure
        for concerned, name, kind, bounds, reached, bring in self.orders:
            if not is_open & concerned:
                continue
            try:
                value = facts[name]
                if value.__class__ is kind and value == value:  # noqa: PLR0124 - NaN, which has no order
                    is_open &= reached[bisect_right(bounds, value)]
                    continue
            except KeyError:  # not reached yet, or no value
                value = get(name, NO_VALUE)
            fits, unsure = bring(value)
            is_open &= fits
            doubt |= unsure
        for concerned, ask in self.others:
            if is_open & concerned:
                fits, unsure = ask(facts)
                is_open &= fits
                doubt |= unsure
        return is_open, doubt & is_open


def plain_index(rules: Iterable[CompiledRule]) -> Index:
    """An index that shuts nothing, and is sure of nothing."""
    places = tuple(rules)
    return Index(places=places, unsure=(1 << len(places)) - 1)


def _of_fact(name: str, bring: Bring) -> Ask:
    return lambda facts: bring(value_of(facts, name))


def _of_texts(name: str, table: TextTable) -> Ask:
    """Of a set of texts."""
    seen, others = table.seen, table.others

    def ask(facts: Record) -> Answer:
        value = facts.get(name, NO_VALUE)
        if value.__class__ is not tuple:
            return (others, 0) if value is None else table.everything
        fits = others
        try:
            for text in value:
                fits |= seen[text]
        except (KeyError, TypeError):
            if not all(text.__class__ is str for text in value):
                return table.everything
            return _joined(others, map(table.bring, value))
        return fits, 0

    return ask


def _of_items(
    name: str, empty: int, everything: Answer, texts: Sequence[TextColumn], orders: Sequence[OrderColumn]
) -> Ask:
    """Of a collection: `empty` are the places that are open while it has no items, `everything` the answer where there may
    be items that nobody knows."""

    def ask(facts: Record) -> Answer:
        whole = facts.get(name, NO_VALUE)
        if whole.__class__ is not Collection or whole.missing is not None:
            return (empty, 0) if whole is None else everything
        items = whole.items
        if not items:
            return empty, 0
        is_open, doubt = everything[0], 0
        for field, seen, bring, others in texts:
            fits = others
            try:
                for item in items:
                    fits |= seen[item[field]]
            except (KeyError, TypeError):
                fits, unsure = _joined(others, [bring(item.get(field, NO_VALUE)) for item in items])
                doubt |= unsure
            is_open &= fits
        for field, kind, bounds, reached, bring, others in orders:
            fits = others
            for item in items:
                value = item.get(field, NO_VALUE)
                plain = value.__class__ is kind and value == value  # noqa: PLR0124 - as in `Index.find`
                known = reached.get(bisect_right(bounds, value)) if plain else None
                if known is None:
                    known, unsure = bring(value)
                    doubt |= unsure
                fits |= known
            is_open &= fits
        return is_open, doubt

    return ask


def _of_column(name: str, field: str, table: Table) -> Ask:
    """Of one field of a collection's items, neither a text nor a number."""

    def ask(facts: Record) -> Answer:
        value = facts.get(name, NO_VALUE)
        if value is None:
            return table.others, 0
        if not isinstance(value, Collection) or value.missing is not None:
            return table.everything
        return _joined(table.others, [table.bring(item.get(field, NO_VALUE)) for item in value.items])

    return ask


def _joined(others: int, answers: Iterable[Answer]) -> Answer:
    is_open, doubt = others, 0
    for fits, unsure in answers:
        is_open |= fits
        doubt |= unsure
    return is_open, doubt


def build_index(rules: Sequence[tuple[CompiledRule, Chosen]], scope: Scope) -> Index:
    """The index of rules, each posted as was chosen for it."""
    building = _Building(scope)
    for rule, chosen in rules:
        building.add(rule, chosen)
    return building.sealed()


class _Building:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._tables: dict[TableKey, Table] = {}
        self._filled: dict[str, list[int]] = {}
        self._places: list[CompiledRule] = []

    def add(self, rule: CompiledRule, chosen: Chosen) -> None:
        """One place, or one for each table of which any may be met."""
        if chosen.either is None:
            place = self._place(rule, chosen)
            for _, option in chosen.every:
                self._post(option.postings, place)
            return
        tables: dict[TableKey, list[Posting]] = {}
        for posting in chosen.either.postings:
            tables.setdefault(posting.table, []).append(posting)
        for postings in tables.values():
            self._post(postings, self._place(rule, chosen))

    def _place(self, rule: CompiledRule, chosen: Chosen) -> int:
        place = len(self._places)
        self._places.append(rule)
        for collection in chosen.filled:
            self._filled.setdefault(collection, []).append(place)
        return place

    def _post(self, postings: Iterable[Posting], place: int) -> None:
        for posting in postings:
            table = self._tables.get(posting.table)
            if table is None:
                table = self._tables[posting.table] = _new_table(posting)
            table.post(posting.how, posting.key, place)
            if isinstance(table, TextTable):
                if posting.absent:
                    table.absent.append(place)
                if posting.spelling is not None:
                    table.spelt.setdefault(place, set()).add(posting.spelling)

    def sealed(self) -> Index:
        """The index of what was added."""
        width = len(self._places)
        texts: list[TextRow] = []
        booleans: list[BooleanRow] = []
        orders: list[OrderRow] = []
        below: dict[str, list[tuple[str, TextTable | OrderTable]]] = {}
        others: list[OtherRow] = []
        full = (1 << width) - 1
        for (collection, fact, _), table in self._tables.items():
            table.seal(width)
            concerned = full ^ table.others
            if collection is not None:
                if isinstance(table, TextTable) and self._is_texts(collection):
                    others.append((concerned, _of_texts(collection, table)))
                elif isinstance(table, TextTable) or (
                    isinstance(table, OrderTable) and table.kind is not None
                ):
                    below.setdefault(collection, []).append((fact, table))
                else:
                    others.append((concerned, _of_column(collection, fact, table)))
            elif fact.startswith("property."):
                others.append((concerned, _of_fact(fact, table.bring)))
            elif isinstance(table, TextTable):
                texts.append((fact, table.seen, table.bring))
            elif isinstance(table, BooleanTable):
                booleans.append((fact, table.yes, table.no, table.bring))
            elif table.kind is not None:
                orders.append((concerned, fact, table.kind, table.bounds, table.seen, table.bring))
            else:
                others.append((concerned, _of_fact(fact, table.bring)))
        others += [self._collection(name, tables, width) for name, tables in below.items()]
        # What shuts most goes first, so that others need not be asked.
        others.sort(key=lambda one: one[0].bit_count(), reverse=True)
        return Index(
            places=tuple(self._places),
            texts=tuple(texts),
            booleans=tuple(booleans),
            orders=tuple(orders),
            others=tuple(others),
        )

    def _is_texts(self, collection: str) -> bool:
        spec = self._scope.find(collection)
        return spec is not None and spec[0].type is FactType.STRINGS

    def _collection(
        self, name: str, tables: Sequence[tuple[str, TextTable | OrderTable]], width: int
    ) -> OtherRow:
        concerned = bits_of(self._filled.get(name, ()), width)
        for _, table in tables:
            concerned |= table.everything[1]
        full = (1 << width) - 1
        texts = [
            (field, one.seen, one.bring, one.others) for field, one in tables if isinstance(one, TextTable)
        ]
        orders = [
            (field, one.kind, one.bounds, one.seen, one.bring, one.others)
            for field, one in tables
            if isinstance(one, OrderTable) and one.kind is not None
        ]
        return concerned, _of_items(name, full ^ concerned, (full, concerned), texts, orders)


def _new_table(posting: Posting) -> Table:
    if posting.table.sort == "boolean":
        return BooleanTable()
    if posting.table.sort == "text":
        return text_table(posting.spec)
    return order_table(posting.spec)
