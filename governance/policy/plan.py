"""Plans: what binds one sort of request, and what is remembered about judging it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from governance.model.request import Actor
from governance.model.verdict import Effect, Mode
from governance.policy.bits import numbers_in
from governance.policy.combining import combine, effects_in
from governance.policy.compiled import CompiledRule, Judged
from governance.policy.condition import Record, Test
from governance.policy.documents import Policy
from governance.policy.index import Index
from governance.policy.patterns import TextTest, compile_glob
from governance.policy.waiver import fits_actor

_MAX_OUTCOMES = 512
_MAX_LEFT = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicyPart:
    """One policy, ready to be bound."""

    policy: Policy
    number: int
    repositories: tuple[TextTest, ...] | None
    environments: tuple[TextTest, ...] | None
    rules: tuple[int, ...]

    def binds(self, action: str, environment: str, repository: str, kind: str) -> bool:
        """Whether the policy binds such a request, the actor aside."""
        match = self.policy.match
        return (
            (match.actions is None or action in match.actions)
            and (match.kinds is None or kind in match.kinds)
            and (self.repositories is None or any(test(repository) for test in self.repositories))
            and (self.environments is None or any(test(environment) for test in self.environments))
        )

    def binds_actor(self, actor: Actor) -> bool:
        """Whether the policy binds requests of the actor."""
        actors = self.policy.match.actors
        return actors is None or any(fits_actor(pattern, actor) for pattern in actors)


def compile_part(number: int, policy: Policy, rules: tuple[int, ...]) -> CompiledPolicyPart:
    """One policy ready to be bound, whose rules have these numbers."""
    match = policy.match
    return CompiledPolicyPart(
        policy=policy,
        number=number,
        repositories=None if match.repositories is None else tuple(map(compile_glob, match.repositories)),
        environments=None if match.environments is None else tuple(map(compile_glob, match.environments)),
        rules=rules,
    )


Outcome: TypeAlias = "tuple[tuple[tuple[str, Effect], ...], Effect]"
"""What each policy says by itself, and what they say together."""


Left: TypeAlias = (
    "tuple[tuple[Judged, ...], int, tuple[Judged, ...], tuple[tuple[CompiledRule, Test, bool], ...]]"
)
"""What is left of the rules once the index has been asked: those held to be true; the effects of them that nothing may
soften, and the others of them; the tests to be made of what is open, and whether what they find may be softened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What binds one sort of request: the policies by name, their modes, and all their rules by name. `start` are the places
    of these in the index; `softened` the names of rules that grace or a waiver may soften. `narrowed` are the plans for
    actors whom fewer policies bind, by the numbers of these."""

    parts: tuple[CompiledPolicyPart, ...]
    names: tuple[str, ...]
    modes: Mapping[str, Mode]
    rules: tuple[CompiledRule, ...]
    index: Index
    start: int
    softened: frozenset[str]
    asks_actor: bool
    narrowed: dict[tuple[int, ...], Plan] = field(default_factory=dict)
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _reads: list[frozenset[str]] = field(default_factory=list)
    _left: dict[int | tuple[int, int], Left] = field(default_factory=dict)

    def reads(self) -> frozenset[str]:
        """The facts that some rule reads: what need not be gathered for the others. Worked out once."""
        if not self._reads:
            self._reads.append(frozenset().union(*(rule.reads() for rule in self.rules)))
        return self._reads[0]

    def outcome(self, mask: int) -> Outcome:
        """What the effects in `mask` come to, for each policy and for all of them. Remembered, up to a bound."""
        known = self._outcomes.get(mask)
        if known is None:
            by_policy = tuple(
                (part.policy.name, combine(part.policy.default, effects_in(mask, part.number)))
                for part in self.parts
            )
            known = by_policy, max(decision for _, decision in by_policy)
            if len(self._outcomes) < _MAX_OUTCOMES:
                self._outcomes[mask] = known
        return known

    def left(self, facts: Record) -> Left:
        """What the index leaves to be judged on these facts. Remembered for each set of places, up to a bound."""
        is_open, doubt = self.index.find(facts, self.start)
        key = (is_open, doubt) if doubt else is_open
        known = self._left.get(key)
        if known is None:
            known = self._sorted(is_open, doubt)
            if len(self._left) < _MAX_LEFT:
                self._left[key] = known
        return known

    def _sorted(self, is_open: int, doubt: int) -> Left:
        places = self.index.places
        tests: dict[CompiledRule, Test | None] = {}
        for place in numbers_in(is_open):
            rule = places[place]
            if doubt >> place & 1:
                tests[rule] = rule.test
            elif rule not in tests:
                tests[rule] = rule.rest  # a rule may have several places: one in doubt counts for all
        held = tuple((rule, True) for rule, test in tests.items() if test is None)
        effects = 0
        for rule, _ in held:
            if rule.name not in self.softened:
                effects |= rule.mask
        touched = tuple((rule, True) for rule, _ in held if rule.name in self.softened)
        tried = ((rule, test, rule.name in self.softened) for rule, test in tests.items() if test is not None)
        return held, effects, touched, tuple(tried)
