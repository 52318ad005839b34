"""Which of the options of each rule the index takes: all conjuncts it can, each in a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from governance.model.facts import FactType
from governance.policy.condition import Condition, Quantified, Scope
from governance.policy.options import Option, options
from governance.policy.postings import TableKey


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
        _chosen(ways, tables, frozenset(_filled(parts, scope)))
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
                    self._keys.setdefault(posting.table, set()).add(posting.key)

    def chance(self, option: Option) -> float:
        """A guess at how many requests meet the option."""
        # With many keys in a table, a request that has one of them has few of the others.
        return sum(
            max(posting.floor, posting.chance / len(self._keys[posting.table])) for posting in option.postings
        )


def _chosen(ways: Sequence[Option], tables: _Tables, filled: frozenset[str]) -> Chosen:
    ranked = sorted(ways, key=tables.chance) if len(ways) > 1 else ways
    every: dict[TableKey, Option] = {}
    posted: set[int] = set()
    for option in ranked:
        keys = {posting.table for posting in option.postings}
        key = next(iter(keys))
        if len(keys) == 1 and key not in every and option.conjunct not in posted:
            every[key] = option
            posted.add(option.conjunct)
    settled = frozenset(option.conjunct for option in every.values() if option.sure)
    if every or not ranked:
        return Chosen(every=tuple(every.items()), filled=filled, settled=settled)
    first = ranked[0]
    return Chosen(either=first, filled=filled, settled=frozenset({first.conjunct} if first.sure else ()))


def _filled(parts: Sequence[Condition], scope: Scope) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Quantified) and part.quantifier == "some":
            spec = scope.find(part.collection)
            if spec is not None and spec[0].type is FactType.COLLECTION:
                yield part.collection
