"""Which of the options of each rule the index takes: all conjuncts it can, each in a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from governance.model.facts import FactType
from governance.policy.condition import Condition, Quantified, Scope
from governance.policy.options import Option, options
from governance.policy.postings import Posting


class TableKey(NamedTuple):
    """Which table: of a fact, or of a field of a collection's items."""

    collection: str | None
    fact: str
    table: str


class Chosen(NamedTuple):
    """How a rule is posted. It is false unless all of `every` are met, each in a table of its own; where there is none of
    these, unless one of the postings of `either` is. `filled` are collections without which it is false. `settled` are the
    conjuncts that need not be judged where the index has no doubt.
    """

    every: tuple[tuple[TableKey, Option], ...] = ()
    either: Option | None = None
    filled: frozenset[str] = frozenset()
    settled: frozenset[int] = frozenset()


def choose(rules: Sequence[Sequence[Condition]], scope: Scope) -> tuple[list[Chosen], list[bool]]:
    """For rules given as lists of their conjuncts: how each is posted, and whether any table could serve it."""
    found = [options(parts, scope) for parts in rules]
    tables = _Tables(found)
    chosen = [
        _chosen(ways, tables)._replace(filled=frozenset(_filled(parts, scope)))
        for ways, parts in zip(found, rules, strict=True)
    ]
    return chosen, [bool(ways) for ways in found]


class _Tables:
    """What the tables would hold if every option were taken."""

    def __init__(self, found: Sequence[Sequence[Option]]) -> None:
        self._keys: dict[TableKey, set[Any]] = {}
        for ways in found:
            for option in ways:
                for posting in option.postings:
                    self._keys.setdefault(key_of(posting), set()).add(posting.key)

    def chance(self, option: Option) -> float:
        """A guess at how many requests meet the option."""
        # With many keys in a table, a request that has one of them has few of the others.
        return sum(
            max(posting.floor, posting.chance / len(self._keys[key_of(posting)]))
            for posting in option.postings
        )


def _chosen(ways: Sequence[Option], tables: _Tables) -> Chosen:
    ranked = sorted(ways, key=tables.chance)
    every: dict[TableKey, Option] = {}
    posted: set[int] = set()
    for option in ranked:
        keys = {key_of(posting) for posting in option.postings}
        key = next(iter(keys))
        if len(keys) == 1 and key not in every and option.conjunct not in posted:
            every[key] = option
            posted.add(option.conjunct)
    settled = frozenset(option.conjunct for option in every.values() if option.sure)
    if every or not ranked:
        return Chosen(every=tuple(every.items()), settled=settled)
    return Chosen(either=ranked[0], settled=frozenset({ranked[0].conjunct} if ranked[0].sure else ()))


def _filled(parts: Sequence[Condition], scope: Scope) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Quantified) and part.quantifier == "some":
            spec = scope.find(part.collection)
            if spec is not None and spec[0].type is FactType.COLLECTION:
                yield part.collection


def key_of(posting: Posting) -> TableKey:
    """The table that a posting belongs to."""
    return TableKey(posting.collection, posting.fact, posting.table)
