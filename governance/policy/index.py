"""The index: from the facts of a request to the few rules that can be anything but false.

Each rule is posted under the condition that the fewest requests satisfy: one whose being false makes the whole rule
false. Only those under the keys that the facts have are evaluated; all others are false without being looked at, which
is the same answer as evaluating them gives. Rules without such a condition are evaluated for every request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from governance.model.facts import Collection, FactType
from governance.policy.closures import cost_of, value_of
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Quantified, Record, Scope
from governance.policy.logic import NO_VALUE
from governance.policy.postings import Posting, postings_of
from governance.policy.tables import (
    Found,
    OrderTable,
    Rule,
    TextTable,
    boolean_table,
    order_table,
    text_table,
)


class Option(NamedTuple):
    """Postings that together cover a condition: it is false for every request that none of them finds. `sure` says
    that the condition is true where one of them is met.
    """

    postings: tuple[Posting, ...]
    sure: bool
    conjunct: int = 0


class TableKey(NamedTuple):
    """Which table: of a fact, or of a field of a collection's items."""

    collection: str | None
    fact: str
    table: str


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that must all hold, the quick ones first."""
    if not isinstance(condition, AllOf):
        return (condition,)
    flat = [one for part in condition.parts for one in conjuncts(part)]
    return tuple(sorted(flat, key=cost_of))


def options(parts: Sequence[Condition], scope: Scope) -> list[Option]:
    """The ways in which a rule of these conjuncts could be posted: each conjunct alone makes it false."""
    return [
        Option(option.postings, option.sure, place)
        for place, part in enumerate(parts)
        for option in _options(part, scope, None)
    ]


def _options(condition: Condition, scope: Scope, collection: str | None) -> list[Option]:
    if isinstance(condition, AllOf):
        inner = [option for part in condition.parts for option in _options(part, scope, collection)]
        return [Option(option.postings, sure=False) for option in inner]
    if isinstance(condition, AnyOf):
        return _either([_options(part, scope, collection) for part in condition.parts])
    if isinstance(condition, Quantified):
        found = scope.find(condition.collection)
        if condition.quantifier != "some" or collection is not None or found is None:
            return []
        return _options(condition.where, scope.below(found[0]), condition.collection)
    return _comparison(condition, scope, collection) if isinstance(condition, Compare) else []


def _comparison(condition: Compare, scope: Scope, collection: str | None) -> list[Option]:
    found = scope.find(condition.fact)
    # A fact of the artifact named below a quantifier cannot serve: an incomplete collection makes the quantifier
    # unknown whatever that fact says.
    if found is None or found[1] is not (collection is not None):
        return []
    postings = postings_of(condition, found[0], collection)
    return [Option(postings, all(posting.sure for posting in postings))] if postings else []


def _either(parts: list[list[Option]]) -> list[Option]:
    """A disjunction is covered by covering each of its parts."""
    if not all(parts):
        return []
    best = [min(choices, key=_guess) for choices in parts]
    return [Option(tuple(posting for one in best for posting in one.postings), all(one.sure for one in best))]


def _guess(option: Option) -> float:
    return sum(posting.chance for posting in option.postings)


Row: TypeAlias = "tuple[str, type, dict[Any, Found], TextTable]"
"""A table of texts (or booleans) laid open, so that most look-ups need no call: name, class, what was seen, table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionIndex:
    """The tables over the fields of one collection's items, or over a set of texts."""

    name: str
    texts: bool
    rows: tuple[Row, ...]
    orders: tuple[tuple[str, OrderTable], ...]

    @property
    def single(self) -> Row | None:
        """The only table, of a collection of items."""
        return self.rows[0] if len(self.rows) == 1 and not self.orders and not self.texts else None

    @property
    def everything(self) -> Found:
        """Every rule posted here."""
        found: Found = {}
        for tables in (self.rows, self.orders):
            for row in tables:
                found.update(row[-1].everything)
        return found

    def find(self, value: Any, found: Found) -> None:
        """Add the rules that some item may match; all of them where there may be items nobody knows."""
        if self.texts and isinstance(value, tuple) and all(text.__class__ is str for text in value):
            for _, kind, _, table in self.rows:
                for text in value:
                    found.update(table.bring(text, kind))
        elif isinstance(value, Collection) and value.missing is None and not self.texts:
            for item in value.items:
                self._find_item(item, found)
        elif value is not None:
            found.update(self.everything)

    def _find_item(self, item: Record, found: Found) -> None:
        for name, kind, _, table in self.rows:
            found.update(table.bring(item.get(name, NO_VALUE), kind))
        for name, order in self.orders:
            order.find(item.get(name, NO_VALUE), found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Built once, then only read, but for what its tables remember of texts. `singles` are the collections with one table
    of their items, `collections` all others."""

    rows: tuple[Row, ...] = ()
    singles: tuple[tuple[CollectionIndex, Row], ...] = ()
    properties: tuple[Row, ...] = ()
    orders: tuple[tuple[str, OrderTable], ...] = ()
    collections: tuple[CollectionIndex, ...] = ()

    def find(self, facts: Record) -> Found:
        """The posted rules that may be true or unknown, and what is left to be judged of each."""
        found: Found = {}
        get = facts.get
        for name, kind, seen, table in self.rows:
            value = get(name, NO_VALUE)
            rules = seen.get(value) if value.__class__ is kind else None
            if rules is None:
                rules = table.bring(value, kind)
            if rules:
                found.update(rules)
        for collection, (name, kind, seen, table) in self.singles:
            whole = get(collection.name, NO_VALUE)
            if whole.__class__ is not Collection or whole.missing is not None:
                collection.find(whole, found)
                continue
            for item in whole.items:
                value = item.get(name, NO_VALUE)
                rules = seen.get(value) if value.__class__ is kind else None
                if rules is None:
                    rules = table.bring(value, kind)
                if rules:
                    found.update(rules)
        self._find_others(facts, found)
        return found

    def _find_others(self, facts: Record, found: Found) -> None:
        """What asks for more than one look-up in one table."""
        if self.properties:
            self._find_properties(facts, found)
        for name, order in self.orders:
            order.find(facts.get(name, NO_VALUE), found)
        for collection in self.collections:
            collection.find(facts.get(collection.name, NO_VALUE), found)

    def _find_properties(self, facts: Record, found: Found) -> None:
        for name, kind, _, table in self.properties:
            found.update(table.bring(value_of(facts, name), kind))


def choose_options(
    rules: Sequence[Sequence[Condition]], scope: Scope
) -> tuple[list[Option | None], list[bool]]:
    """For rules given as lists of their conjuncts: how each is to be posted, or None where it is looked at for every
    request; and whether there was any way to post it.
    """
    choices = [options(parts, scope) for parts in rules]
    chosen = _choose(choices)
    return [chosen.get(number) for number in range(len(rules))], [bool(found) for found in choices]


def _choose(choices: Sequence[list[Option]]) -> dict[int, Option]:
    """For each rule the option that the fewest requests will find, among those whose tables serve enough rules."""
    keys: dict[TableKey, set[Any]] = {}
    users: Counter[TableKey] = Counter()
    for rule_options in choices:
        postings = [posting for option in rule_options for posting in option.postings]
        users.update({_key(posting) for posting in postings})
        for posting in postings:
            keys.setdefault(_key(posting), set()).add(posting.key)

    def chance(option: Option) -> float:
        # With many keys in a table, a request that has one of them has few of the others.
        return sum(
            max(posting.floor, posting.chance / len(keys[_key(posting)])) for posting in option.postings
        )

    worthwhile = (
        [one for one in found if all(users[_key(posting)] >= _worth(posting) for posting in one.postings)]
        for found in choices
    )
    return {
        rule: found[0] if len(found) == 1 else min(found, key=chance)
        for rule, found in enumerate(worthwhile)
        if found
    }


def _worth(posting: Posting) -> int:
    """How many rules a table must be able to serve, below which it costs more than looking at them."""
    if posting.table in {"up", "down"}:
        return 4
    return 1 if posting.collection is None else 2


def _key(posting: Posting) -> TableKey:
    return TableKey(posting.collection, posting.fact, posting.table)


def build_index(posted: Iterable[tuple[Rule, Option]], scope: Scope) -> Index:
    """The index of rules, each posted as was chosen for it."""
    texts: dict[TableKey, TextTable] = {}
    orders: dict[TableKey, OrderTable] = {}
    for rule, option in posted:
        for posting in option.postings:
            key = _key(posting)
            if posting.table in {"up", "down"}:
                if key not in orders:
                    orders[key] = order_table(posting.spec, upwards=posting.table == "up")
                orders[key].post(posting.key, rule)
            else:
                if key not in texts:
                    texts[key] = boolean_table() if posting.table == "boolean" else text_table(posting.spec)
                texts[key].post(posting.how, posting.key, rule, sure=option.sure, absent=posting.absent)
    for order in orders.values():
        order.seal()
    names = sorted({key.collection for key in (*texts, *orders) if key.collection is not None})
    rows = _rows(texts, None)
    collections = [_collection(name, texts, orders, scope) for name in names]
    return Index(
        rows=tuple(row for row in rows if not row[0].startswith("property.")),
        singles=tuple((one, one.single) for one in collections if one.single is not None),
        properties=tuple(row for row in rows if row[0].startswith("property.")),
        orders=_orders(orders, None),
        collections=tuple(one for one in collections if one.single is None),
    )


def _collection(
    name: str, texts: Mapping[TableKey, TextTable], orders: Mapping[TableKey, OrderTable], scope: Scope
) -> CollectionIndex:
    spec = scope.find(name)
    rows, ordered = _rows(texts, name), _orders(orders, name)
    is_texts = spec is not None and spec[0].type is FactType.STRINGS
    return CollectionIndex(name=name, texts=is_texts, rows=rows, orders=ordered)


def _rows(texts: Mapping[TableKey, TextTable], collection: str | None) -> tuple[Row, ...]:
    return tuple(
        (key.fact, bool if key.table == "boolean" else str, table.seen, table)
        for key, table in texts.items()
        if key.collection == collection
    )


def _orders(
    orders: Mapping[TableKey, OrderTable], collection: str | None
) -> tuple[tuple[str, OrderTable], ...]:
    return tuple((key.fact, table) for key, table in orders.items() if key.collection == collection)
