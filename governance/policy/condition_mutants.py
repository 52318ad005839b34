"""Conditions with one small change each: what `mutants` does below a rule's `when`.

Promises: every change is at one node, whose place in the file is given; what is made is described in `mutants`. Does
not: compile or judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from governance.model.facts import FactSpec
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Not, Quantified, Scope
from governance.policy.mistakes import Path
from governance.policy.narrowing import condition_words
from governance.policy.operators import ORDERS
from governance.policy.places import condition_parts
from governance.policy.thresholds import beside

_STRICTNESS = {"gt": "gte", "gte": "gt", "lt": "lte", "lte": "lt"}
_REVERSED = {"gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte"}
_ALWAYS = AllOf(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMutant:
    """A whole condition with one change. `before` and `after` are the part that holds the change, up to the innermost
    quantifier around it, and `scope` the names it may use: where the two say the same, the mutant is no other policy."""

    condition: Condition
    sort: str
    words: str
    path: Path
    before: Condition
    after: Condition
    scope: Scope


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of one node, before the condition around it is put together again."""

    node: Condition
    sort: str
    words: str
    path: Path
    inner: tuple[Condition, Condition, Scope] | None = None


def conditions(when: Condition, tree: Any, path: Path, scope: Scope) -> Iterator[ConditionMutant]:
    """All mutants of a condition, read from `tree` at `path`; a condition that is written nowhere has no tree."""
    for one in _root(when, tree, path, scope):
        before, after, within = one.inner or (when, one.node, scope)
        yield ConditionMutant(
            condition=one.node,
            sort=one.sort,
            words=one.words,
            path=one.path,
            before=before,
            after=after,
            scope=within,
        )


def _root(node: Condition, tree: Any, path: Path, scope: Scope) -> Iterator[_Change]:
    """A condition that stands alone, which may be left out as a whole: then it always holds."""
    if not (isinstance(node, AllOf | AnyOf) and len(node.parts) > 1):
        yield _Change(_ALWAYS, "removed condition", f"{_said(node, scope)} was left out", path)
    yield from _changes(node, tree, path, scope, below_not=False)


def _changes(node: Condition, tree: Any, path: Path, scope: Scope, *, below_not: bool) -> Iterator[_Change]:
    if isinstance(node, AllOf | AnyOf):
        yield from _connective(node, tree, path, scope)
    elif isinstance(node, Not):
        yield _Change(
            node.part, "removed not", f"the `not` before {_said(node.part, scope)} was left out", path
        )
        below = condition_parts(node, tree, path)[0]
        yield from _around(Not, _changes(node.part, *below, scope, below_not=True))
    elif isinstance(node, Quantified):
        yield from _quantifier(node, tree, path, scope)
    else:
        yield from _comparison(node, path, scope, below_not=below_not)


def _connective(node: AllOf | AnyOf, tree: Any, path: Path, scope: Scope) -> Iterator[_Change]:
    places = condition_parts(node, tree, path)
    if len(node.parts) > 1:
        old, other = ("all", AnyOf) if isinstance(node, AllOf) else ("any", AllOf)
        new = "any" if old == "all" else "all"
        yield _Change(other(node.parts), "connective", f"`{old}` became `{new}`", path)
    for number, part in enumerate(node.parts):
        before, after = node.parts[:number], node.parts[number + 1 :]
        below, at = places[number]
        if len(node.parts) > 1:
            left = (*before, *after)
            rest = left[0] if len(left) == 1 else type(node)(left)
            yield _Change(rest, "removed condition", f"{_said(part, scope)} was left out", at)

        def rebuilt(one: Condition, before: Any = before, after: Any = after) -> Condition:
            return type(node)((*before, one, *after))

        yield from _around(rebuilt, _changes(part, below, at, scope, below_not=False))


def _quantifier(node: Quantified, tree: Any, path: Path, scope: Scope) -> Iterator[_Change]:
    other = "every" if node.quantifier == "some" else "some"
    words = f"`{node.quantifier}: {node.collection}` became `{other}: {node.collection}`"
    yield _Change(Quantified(other, node.collection, node.where), "quantifier", words, path)  # type: ignore[arg-type]  # one of the two
    found = scope.find(node.collection)
    assert found is not None  # the loader looked it up
    within = scope.below(found[0])
    ((below, at),) = condition_parts(node, tree, path)
    for one in _root(node.where, below, at, within):
        inner = one.inner or (node.where, one.node, within)
        yield replace(one, node=Quantified(node.quantifier, node.collection, one.node), inner=inner)


def _comparison(node: Compare, path: Path, scope: Scope, *, below_not: bool) -> Iterator[_Change]:
    found = scope.find(node.fact)
    assert found is not None  # the loader looked it up
    said = _said(node, scope)
    if isinstance(node.operand, bool) and node.operator in {"is", "exists"}:
        flipped = replace(node, operand=not node.operand)
        yield _Change(flipped, "operand", f"{said} became {_said(flipped, scope)}", path)
    elif not below_not:
        yield _Change(Not(node), "added not", f"a `not` was put before {said}", path)
    if node.operator in ORDERS:
        for changed, sort in _orders(node, found[0]):
            yield _Change(changed, sort, f"{said} became {_said(changed, scope)}", path)


def _orders(node: Compare, spec: FactSpec) -> Iterator[tuple[Compare, str]]:
    yield replace(node, operator=_STRICTNESS[node.operator]), "operator"
    yield replace(node, operator=_REVERSED[node.operator]), "operator"
    upwards = node.operator in {"gt", "lte"}
    operand: Any = node.operand
    stepped = beside(spec, operand, upwards=upwards)
    if stepped is not None:
        yield replace(node, operand=stepped), "threshold"


def _around(rebuild: Callable[[Condition], Condition], changes: Iterator[_Change]) -> Iterator[_Change]:
    return (replace(one, node=rebuild(one.node)) for one in changes)


def _said(condition: Condition, scope: Scope) -> str:
    """`scan.age gt 30d` for a comparison, the flow form for anything else."""
    return f"`{condition_words(condition, scope)}`"
