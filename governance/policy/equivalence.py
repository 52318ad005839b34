"""Whether a mutant can be told from its policy at all: a search through everything that facts could answer.

Promises: `differing` gives an assignment under which the two come out differently, or None where it went through all
there is and found none, which proves that they are the same policy in other words; it raises `UndecidedError` where the
search was cut short. Does not: use what other policies say, which could only hide more.

1. A variable is a fact, whose values are those of its probe; or, where its probe is not whole, one comparison on it that
   may come out in any way. Either covers at least what real facts can do, so what is proved of them is proved of facts.
2. Conditions are judged on sets of truths, so that facts not chosen yet stand for all they could be.
3. A branch is left as soon as both rules surely come out alike, or something of a higher effect surely fires. The latter
   counts only where the mutant's rule allows: an objection is told to the user even beside a stronger one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from governance.model.verdict import Effect
from governance.policy.closures import compile_condition
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Not, Quantified, Scope
from governance.policy.probing import fact_of, leaves, probe

MOST_STEPS = 20_000
"""Branches of one search."""

_TRUE, _FALSE, _UNKNOWN = 1, 2, 4
_ALL = _TRUE | _FALSE | _UNKNOWN
_BIT = {True: _TRUE, False: _FALSE, None: _UNKNOWN}

Leaf: TypeAlias = "Compare | Quantified"


class UndecidedError(Exception):
    """The search was cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A rule as the search sees it. `when` None never fires; `free` says that more than the condition decides."""

    when: Condition | None
    match_unknown: bool
    effect: Effect
    free: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variable:
    """A fact or a single comparison. `answers` are what the leaves say for each of its values."""

    fact: str | None
    values: tuple[Any, ...]
    answers: tuple[Mapping[Leaf, int], ...]


def differing(
    before: Ruling | None, after: Ruling | None, others: Sequence[Ruling], scope: Scope
) -> dict[str, Any] | None:
    """Facts for which `before` and `after` come out differently and no other rule hides it, or None where there are none.
    With neither given: facts for which no rule fires.

    Raises `UndecidedError`.
    """
    effects = [one.effect for one in (before, after) if one is not None]
    hides = [
        one
        for one in others
        if effects in ([], *_ALLOWING) and one.effect > max(effects, default=Effect.WARN)
    ]
    hides += [one for one in others if not effects and one.effect is Effect.ALLOW]
    rulings = [one for one in (before, after, *hides) if one is not None]
    search = _Search(before, after, hides, _variables(rulings, scope))
    return search.run()


def outcomes(condition: Condition, scope: Scope) -> frozenset[bool]:
    """Which of true and false some facts make of the condition; both where the search was cut short."""
    never, always = AnyOf(()), AllOf(())
    found = set()
    for truth, other in ((True, never), (False, always)):
        before = Ruling(when=condition, match_unknown=not truth, effect=Effect.BLOCK)
        after = Ruling(when=other, match_unknown=False, effect=Effect.BLOCK)
        try:
            if differing(before, after, (), scope) is not None:
                found.add(truth)
        except UndecidedError:
            found.add(truth)
    return frozenset(found)


_ALLOWING = ([Effect.ALLOW], [Effect.ALLOW, Effect.ALLOW])


class _Search:
    def __init__(
        self,
        before: Ruling | None,
        after: Ruling | None,
        hides: Sequence[Ruling],
        variables: Mapping[Leaf, _Variable],
    ) -> None:
        self.before, self.after, self.hides, self.variables = before, after, hides, variables
        self.chosen: dict[int, int] = {}
        self.left = MOST_STEPS
        self.open = {
            id(variable): {
                leaf: _joined(answers[leaf] for answers in variable.answers) for leaf in variable.answers[0]
            }
            for variable in variables.values()
        }

    def run(self) -> dict[str, Any] | None:
        """The first assignment that shows a difference."""
        self.left -= 1
        if self.left < 0:
            raise UndecidedError
        before, after = self.fires(self.before), self.fires(self.after)
        if self.before is not None or self.after is not None:
            if before == after and before in {_TRUE, _FALSE} and self._same_effect():
                return None
            if before == after == _FALSE:
                return None
        if any(self.fires(one) == _TRUE for one in self.hides):
            return None
        variable = self._next()
        if variable is None:
            return self._assignment()
        for number in range(len(variable.values)):
            self.chosen[id(variable)] = number
            found = self.run()
            if found is not None:
                return found
        del self.chosen[id(variable)]
        return None

    def fires(self, rule: Ruling | None) -> int:
        """Whether a rule fires, as a set of truths."""
        if rule is None or rule.when is None:
            return _FALSE
        truths = self.truths(rule.when)
        unknown = _TRUE if rule.match_unknown else _FALSE
        fired = truths & (_TRUE | _FALSE) | (unknown if truths & _UNKNOWN else 0)
        return fired | _FALSE if rule.free else fired

    def truths(self, condition: Condition) -> int:
        """What a condition may come out as."""
        if isinstance(condition, AllOf):
            return _conjunction([self.truths(part) for part in condition.parts])
        if isinstance(condition, AnyOf):
            return _negation(_conjunction([_negation(self.truths(part)) for part in condition.parts]))
        if isinstance(condition, Not):
            return _negation(self.truths(condition.part))
        variable = self.variables[condition]
        number = self.chosen.get(id(variable))
        return self.open[id(variable)][condition] if number is None else variable.answers[number][condition]

    def _same_effect(self) -> bool:
        return self.before is None or self.after is None or self.before.effect is self.after.effect

    def _next(self) -> _Variable | None:
        """A variable that something still open depends on, those of the changed rule first."""
        for rule in (self.before, self.after, *self.hides):
            if rule is None or rule.when is None or self.fires(rule) in {_TRUE, _FALSE}:
                continue
            for leaf in leaves(rule.when):
                variable = self.variables[leaf]
                if id(variable) not in self.chosen:
                    return variable
        return None

    def _assignment(self) -> dict[str, Any]:
        known = {id(variable): variable for variable in self.variables.values()}
        return {
            str(known[one].fact): known[one].values[number]
            for one, number in self.chosen.items()
            if known[one].fact is not None
        }


def _variables(rulings: Sequence[Ruling], scope: Scope) -> dict[Leaf, _Variable]:
    asked: dict[str, dict[Leaf, None]] = {}
    for rule in rulings:
        for leaf in leaves(rule.when) if rule.when is not None else ():
            asked.setdefault(fact_of(leaf), {})[leaf] = None
    found: dict[Leaf, _Variable] = {}
    for name, unique in asked.items():
        values = probe(name, tuple(unique), scope)
        if not values.whole:
            found |= {leaf: _free(leaf) for leaf in unique}
            continue
        tests = {leaf: compile_condition(leaf, scope) for leaf in unique}
        answers = tuple(
            {leaf: _BIT[test({name: value}, {name: value})] for leaf, test in tests.items()}
            for value in values.values
        )
        variable = _Variable(fact=name, values=values.values, answers=answers)
        found |= dict.fromkeys(unique, variable)
    return found


def _free(leaf: Leaf) -> _Variable:
    return _Variable(
        fact=None, values=(True, False, None), answers=tuple({leaf: bit} for bit in _BIT.values())
    )


def _joined(bits: Any) -> int:
    joined = 0
    for bit in bits:
        joined |= bit
    return joined


def _negation(truths: int) -> int:
    return truths & _UNKNOWN | (_FALSE if truths & _TRUE else 0) | (_TRUE if truths & _FALSE else 0)


def _conjunction(parts: Sequence[int]) -> int:
    """True where all can be; false where one can be; unknown where none need be false and one can be unknown."""
    result = _TRUE if all(part & _TRUE for part in parts) else 0
    if any(part & _FALSE for part in parts):
        result |= _FALSE
    if all(part & (_TRUE | _UNKNOWN) for part in parts) and any(part & _UNKNOWN for part in parts):
        result |= _UNKNOWN
    return result
