"""Options: the ways in which a part of a rule's condition can be looked up in the index, without being judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from governance.policy.closures import cost_of
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Quantified, Scope
from governance.policy.postings import Posting, postings_of


class Option(NamedTuple):
    """Postings that together cover a condition: it is false for every request that none of them finds. `sure` says
    that the condition is true where one of them is met.
    """

    postings: tuple[Posting, ...]
    sure: bool
    conjunct: int = 0


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
