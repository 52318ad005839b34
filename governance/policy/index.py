"""The index: from the facts of a request to the few rules that can be anything but false.

Each rule is posted under the condition that the fewest requests satisfy: one whose being false makes the whole rule
false. Only those under the keys that the facts have are evaluated; all others are false without being looked at, which
is the same answer as evaluating them gives. Rules without such a condition are evaluated for every request, and
`Index.unserved` names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from governance.policy.closures import value_of
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Quantified, Record, Scope
from governance.policy.postings import Posting, make_probe, postings_of
from governance.policy.probes import CollectionProbe, Found, Probe

Option: TypeAlias = "tuple[Posting, ...]"
"""Postings that together cover a condition: it is false for every request that none of them finds."""

_WORTH = 4
"""A probe that serves fewer rules costs more than looking at them."""


class ProbeKey(NamedTuple):
    """Which probe: of a fact, or of a field of a collection's items, and how it is looked up."""

    collection: str | None
    fact: str
    kind: str


def options(condition: Condition, scope: Scope, collection: str | None = None) -> list[Option]:
    """The ways in which `condition` could be posted."""
    if isinstance(condition, AllOf):
        return [option for part in condition.parts for option in options(part, scope, collection)]
    if isinstance(condition, AnyOf):
        return _either([options(part, scope, collection) for part in condition.parts])
    if isinstance(condition, Quantified):
        found = scope.find(condition.collection)
        if condition.quantifier != "some" or collection is not None or found is None:
            return []
        return options(condition.where, scope.below(found[0]), condition.collection)
    return _comparison(condition, scope, collection) if isinstance(condition, Compare) else []


def _comparison(condition: Compare, scope: Scope, collection: str | None) -> list[Option]:
    found = scope.find(condition.fact)
    # A fact of the artifact named below a quantifier cannot serve: an incomplete collection makes the quantifier
    # unknown whatever that fact says.
    if found is None or found[1] is not (collection is not None):
        return []
    option = postings_of(condition, found[0], collection)
    return [option] if option else []


def _either(parts: list[list[Option]]) -> list[Option]:
    """A disjunction is covered by covering each of its parts."""
    if not all(parts):
        return []
    return [tuple(posting for choices in parts for posting in min(choices, key=_guess))]


def _guess(option: Option) -> float:
    return sum(posting.chance for posting in option)


@dataclass(slots=True)
class Index:
    """Built once, then only read."""

    always: tuple[int, ...]
    unserved: tuple[int, ...]
    _facts: list[tuple[str, Probe]] = field(default_factory=list)
    _open: list[tuple[str, Probe]] = field(default_factory=list)
    _collections: list[CollectionProbe] = field(default_factory=list)

    def find(self, facts: Record) -> Found:
        """The rules that may be true or unknown, beside those in `always`."""
        found: Found = {}
        get = facts.get
        for name, probe in self._facts:
            probe.find(get(name, _NOTHING), found)
        for name, probe in self._open:
            probe.find(value_of(facts, name), found)
        for collection in self._collections:
            collection.find(facts, found)
        return found


_NOTHING = object()
"""Stands for a fact nobody supplied; unreadable for every probe."""


def build_index(conditions: Sequence[Condition | None], scope: Scope) -> Index:
    """The index of rules numbered as in `conditions`. None is a rule that only CEL can judge."""
    choices = [options(one, scope) if one is not None else [] for one in conditions]
    chosen = _choose(choices)
    served = Counter(_key(posting) for option in chosen.values() for posting in option)
    kept = {
        rule: option
        for rule, option in chosen.items()
        if all(served[_key(posting)] >= _WORTH for posting in option)
    }
    always = tuple(rule for rule in range(len(conditions)) if rule not in kept)
    index = Index(always, tuple(rule for rule in range(len(conditions)) if rule not in chosen))
    _fill(index, kept.items())
    return index


def _choose(choices: Sequence[list[Option]]) -> dict[int, Option]:
    """For each rule the option that the fewest requests will find."""
    distinct: dict[ProbeKey, set[Any]] = {}
    for rule_options in choices:
        for option in rule_options:
            for posting in option:
                distinct.setdefault(_key(posting), set()).add(posting.key)

    def chance(option: Option) -> float:
        # With many keys under a probe, a request that has one of them has few of the others.
        return sum(max(posting.floor, posting.chance / len(distinct[_key(posting)])) for posting in option)

    return {rule: min(found, key=chance) for rule, found in enumerate(choices) if found}


def _key(posting: Posting) -> ProbeKey:
    return ProbeKey(posting.collection, posting.fact, posting.kind)


def _fill(index: Index, chosen: Iterable[tuple[int, Option]]) -> None:
    probes: dict[ProbeKey, Probe] = {}
    for rule, option in chosen:
        for posting in option:
            key = _key(posting)
            if key not in probes:
                probes[key] = make_probe(posting)
            probes[key].post(posting.key, rule)
    below: dict[str, list[tuple[str, Probe]]] = {}
    for key, probe in probes.items():
        probe.seal()
        if key.collection is not None:
            below.setdefault(key.collection, []).append((key.fact, probe))
        elif key.fact.startswith("property."):
            index._open.append((key.fact, probe))  # noqa: SLF001 - the builder of this very class
        else:
            index._facts.append((key.fact, probe))  # noqa: SLF001 - as above
    index._collections.extend(CollectionProbe(name, fields) for name, fields in below.items())  # noqa: SLF001
