"""Which change of which single fact would change a verdict: found by trying, never by guessing.

Promises: every change that is named was judged by the same evaluator and does change the decision; the search is bounded.
Does not: find changes that need two facts at once, or say that a change is right to make.

What is tried for a fact: the values that the policy's own rules compare it with, the values just beside a threshold, each
value of a closed list, known absence, and, for collections, being complete, being empty, and being without one item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from governance.model.facts import Collection, Facts, FactSpec, FactType, FactValue, find_spec
from governance.model.request import Request, utc_text
from governance.model.verdict import Effect
from governance.policy.compile import CompiledPolicy
from governance.policy.condition import Compare, Condition, ListName, walk
from governance.policy.environments import normal_environment
from governance.policy.evaluate import evaluate
from governance.policy.literals import closed_values
from governance.policy.wording import item_text, value_text

MOST_TRIED = 2_000
"""Evaluations per search."""

_ENVIRONMENT = "environment"
_STATED = ("artifact.", "actor.", "mlflow.")
"""Facts that the request itself states: another value would be another request."""

_DERIVED = frozenset({"artifact.age", "artifact.created_by", "artifact.origin", "artifact.ecosystem"})
_MOST_ITEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """If `fact` were `then` (it is `now`), the decision would be `decision`."""

    fact: str
    now: str
    then: str
    decision: Effect


def counterfactuals(policy: CompiledPolicy, request: Request, facts: Facts) -> tuple[Counterfactual, ...]:
    """The changes that matter, mildest decision first; for each fact one change per decision it leads to."""
    before = evaluate(policy, request, facts).decision
    found: dict[tuple[str, Effect], Counterfactual] = {}
    for tried, (fact, then, value) in enumerate(_candidates(policy, request, facts)):
        if tried >= MOST_TRIED:
            break
        asked = replace(request, environment=str(value)) if fact == _ENVIRONMENT else request
        after = evaluate(policy, asked, Facts({**facts.values, fact: value}, facts.origins)).decision
        if after is not before and (fact, after) not in found:
            now = value_text(facts.get(fact), _kind(policy, fact))
            found[fact, after] = Counterfactual(fact=fact, now=now, then=then, decision=after)
    return tuple(sorted(found.values(), key=lambda one: (one.decision, one.fact)))


def _candidates(
    policy: CompiledPolicy, request: Request, facts: Facts
) -> Iterator[tuple[str, str, FactValue]]:
    plan = policy.plan_for(request)
    operands = _operands(policy, request)
    for environment in ("production", "staging", "development"):
        if environment != normal_environment(request.environment):
            yield _ENVIRONMENT, environment, environment
    for name in sorted(plan.reads()):
        spec = find_spec(name, policy.catalogue)
        if spec is None or name == _ENVIRONMENT or (name.startswith(_STATED) and name not in _DERIVED):
            continue
        now = facts.get(name)
        for then, value in _values(spec, now, operands.get(name, ())):
            if value != now:
                yield name, then, value


def _values(spec: FactSpec, now: FactValue, operands: Sequence[Any]) -> Iterator[tuple[str, FactValue]]:
    if spec.type is FactType.COLLECTION:
        yield from _collections(now)
        return
    if spec.type is FactType.STRINGS:
        texts = now if isinstance(now, tuple) else ()
        yield "empty", ()
        for text in texts[:_MOST_ITEMS]:
            yield f"without {text}", tuple(one for one in texts if one != text)
        return
    for value in (*_plain_values(spec, operands), None):
        yield ("absent" if value is None else value_text(value, spec.type)), value


def _plain_values(spec: FactSpec, operands: Sequence[Any]) -> Iterator[FactValue]:
    closed = closed_values(spec)
    if closed is not None:
        yield from closed
        return
    for operand in operands:
        yield from _beside(spec.type, operand)


def _beside(kind: FactType, operand: Any) -> Iterator[FactValue]:
    """An operand, and the values just beside it."""
    if isinstance(operand, datetime):
        for step in (timedelta(0), timedelta(seconds=1), timedelta(seconds=-1)):
            yield utc_text(operand + step)
    elif kind is FactType.SCORE and isinstance(operand, int | float):
        yield from (float(operand), round(operand - 0.1, 1), round(operand + 0.1, 1))
    elif isinstance(operand, int):
        yield from (operand, operand - 1, operand + 1)
    else:
        yield str(operand)


def _collections(now: FactValue) -> Iterator[tuple[str, FactValue]]:
    items = now.items if isinstance(now, Collection) else ()
    if isinstance(now, Collection) and now.missing is not None:
        yield f"complete with these {len(items)}", Collection(items)
    yield "complete and empty", Collection(())
    missing = now.missing if isinstance(now, Collection) else None
    for place, item in enumerate(items[:_MOST_ITEMS]):
        yield f"without {item_text(item)}", Collection(items[:place] + items[place + 1 :], missing)


def _operands(policy: CompiledPolicy, request: Request) -> dict[str, list[Any]]:
    """The values that rules of the policies bound compare each fact with."""
    found: dict[str, list[Any]] = {}
    lists = dict(policy.bundle.set.lists) if policy.bundle.set else {}
    for rule in policy.plan_for(request).rules:
        for part in _parts(rule.rule.when):
            operand: Any = part.operand
            if isinstance(operand, ListName):
                operand = tuple(lists.get(operand.name, ()))
            known = found.setdefault(part.fact, [])
            known.extend(
                one for one in (operand if isinstance(operand, tuple) else (operand,)) if one not in known
            )
    return found


def _parts(when: Condition | None) -> Iterator[Compare]:
    if when is not None:
        for part in walk(when):
            if isinstance(part, Compare) and part.operator != "exists":
                yield part


def _kind(policy: CompiledPolicy, fact: str) -> FactType:
    spec = find_spec(fact, policy.catalogue)
    return spec.type if spec is not None else FactType.STRING
