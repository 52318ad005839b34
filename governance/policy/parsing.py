"""From the tree under a rule's `when` to a `Condition`, and back.

Every name, operator and operand is checked against the fact catalogue here, so that a compiled condition cannot meet
a fact it has no test for. `condition_tree` is the inverse of `parse_condition`, up to the normal form of literals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from governance.model.facts import FactSpec, FactType
from governance.policy.condition import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    ListName,
    Not,
    Operand,
    Quantified,
    Scope,
)
from governance.policy.documents import PolicyBundle
from governance.policy.literals import Literal, LiteralError, duration_text, parse_literal
from governance.policy.mistakes import Mistakes, Path, joined
from governance.policy.operators import OPERATORS, Operator, operators_for

_HEADS = ("fact", "all", "any", "not", "some", "every")
_GROUPS: Mapping[str, Mapping[str, Operator]] = {
    "matches": {row.name: row for row in OPERATORS.values() if row.group == "matches"},
}
_PLAIN = {row.name: row for row in OPERATORS.values() if row.group is None}
_IN_MESSAGES_ALONE = frozenset({"request.action", "action"})
"""What people write as a fact, since messages know it: a rule is about the same for every action, and a policy says for which it is."""

_SET_TYPES = frozenset({FactType.STRINGS, FactType.COLLECTION})


@dataclass(frozen=True, slots=True)
class ConditionParser:
    """Parses conditions of one document; mistakes go to `mistakes`."""

    mistakes: Mistakes

    def parse(self, tree: object, path: Path, scope: Scope) -> Condition | None:
        """The condition at `path`, or None after noting what is wrong with it."""
        if not isinstance(tree, dict):
            self.mistakes.add(path, f"a condition: a mapping with one of {joined(_HEADS)}", got=tree)
            return None
        heads = [head for head in _HEADS if head in tree]
        if len(heads) != 1:
            self._heads(tree, path, heads)
            return None
        head = heads[0]
        if head in {"all", "any"}:
            return self._connective(head, tree, path, scope)
        if head == "not":
            self._no_more(tree, path, ("not",))
            part = self.parse(tree["not"], (*path, "not"), scope)
            return None if part is None else Not(part)
        return (
            self._compare(tree, path, scope) if head == "fact" else self._quantified(head, tree, path, scope)
        )

    def _heads(self, tree: dict[str, Any], path: Path, heads: list[str]) -> None:
        if heads:
            self.mistakes.add(path, f"one of {joined(heads)}, not several", got=tree)
        elif tree:
            stray = next(iter(tree))
            expected = f"a condition: one of {joined(_HEADS)}"
            self.mistakes.add((*path, stray), expected, got=stray, among=_HEADS, key=True)
        else:
            self.mistakes.add(path, f"a condition: a mapping with one of {joined(_HEADS)}", got=tree)

    def _no_more(self, tree: dict[str, Any], path: Path, known: tuple[str, ...]) -> None:
        for key in tree:
            if key not in known:
                self.mistakes.add((*path, key), f"only {joined(known)} here", got=key, among=known, key=True)

    def _connective(self, head: str, tree: dict[str, Any], path: Path, scope: Scope) -> Condition | None:
        self._no_more(tree, path, (head,))
        members, below = tree[head], (*path, head)
        if not isinstance(members, list) or not members:
            self.mistakes.add(below, "a list with at least one condition", got=members)
            return None
        parts = [self.parse(member, (*below, place), scope) for place, member in enumerate(members)]
        if any(part is None for part in parts):
            return None
        known = tuple(part for part in parts if part is not None)
        return AllOf(known) if head == "all" else AnyOf(known)

    def _quantified(self, head: str, tree: dict[str, Any], path: Path, scope: Scope) -> Condition | None:
        self._no_more(tree, path, (head, "where"))
        name, at = tree[head], (*path, head)
        found = scope.find(name) if isinstance(name, str) else None
        if found is None or found[0].type not in _SET_TYPES:
            names = [known for known in scope.names() if _is_set(scope, known)]
            self.mistakes.add(at, f"a collection: one of {joined(names)}", got=name, among=names)
            return None
        if "where" not in tree:
            self.mistakes.add(path, f"`where` beside `{head}`: what must hold of {head} item", got=None)
            return None
        where = self.parse(tree["where"], (*path, "where"), scope.below(found[0]))
        if where is None:
            return None
        return Quantified("some" if head == "some" else "every", cast("str", name), where)

    def _compare(self, tree: dict[str, Any], path: Path, scope: Scope) -> Condition | None:
        name = tree["fact"]
        found = scope.find(name) if isinstance(name, str) else None
        if found is None:
            expected = "a fact of the catalogue" if scope.fields is None else (
                f"a field of the item ({joined(list(scope.fields))}) or a fact of the catalogue"
            )  # fmt: skip
            if isinstance(name, str) and name in _IN_MESSAGES_ALONE:
                expected += "; which actions a policy is about is said by `match: {actions: [...]}`"
            self.mistakes.add((*path, "fact"), expected, got=name, among=scope.names())
            return None
        spec = found[0]
        before = len(self.mistakes.found)
        parts = [
            part
            for key, value in tree.items()
            if key != "fact"
            for part in self._operators(spec, key, value, (*path, key))
        ]
        if len(self.mistakes.found) > before:
            return None
        if not parts:
            self.mistakes.add(path, f"an operator beside `fact`: {self._usable(spec)}")
            return None
        ordered = sorted(parts, key=lambda part: list(OPERATORS).index(part.operator))
        compares = tuple(Compare(cast("str", name), part.operator, part.operand) for part in ordered)
        return compares[0] if len(compares) == 1 else AllOf(compares)

    def _operators(self, spec: FactSpec, key: str, value: object, path: Path) -> list[Compare]:
        if key not in _GROUPS:
            row = _PLAIN.get(key)
            return self._operator(spec, row, key, value, path, among=(*_PLAIN, *_GROUPS))
        group = _GROUPS[key]
        if not isinstance(value, dict) or not value:
            self.mistakes.add(path, f"a mapping with one of {joined(list(group))}", got=value)
            return []
        return [
            part
            for name, operand in value.items()
            for part in self._operator(
                spec, group.get(name), name, operand, (*path, name), among=tuple(group)
            )
        ]

    def _operator(
        self,
        spec: FactSpec,
        row: Operator | None,
        key: str,
        value: object,
        path: Path,
        *,
        among: tuple[str, ...],
    ) -> list[Compare]:
        if row is None:
            expected = f"an operator: {self._usable(spec)}"
            self.mistakes.add(path, expected, got=key, among=among, key=True)
            return []
        if spec.type not in row.types:
            expected = (
                f"an operator for `{spec.name}`, which is of type {spec.type.value}: {self._usable(spec)}"
            )
            self.mistakes.add(path, expected, got=key, key=True)
            return []
        operand = self._operand(spec, row, value, path)
        return [] if operand is None else [Compare(spec.name, row.name, operand)]

    def _operand(self, spec: FactSpec, row: Operator, value: object, path: Path) -> Operand | None:
        if row.many and isinstance(value, dict) and set(value) == {"list"} and isinstance(value["list"], str):
            return ListName(value["list"])
        try:
            return row.read(spec, value)
        except LiteralError as error:
            self._bad_operand(spec, row, value, path, error)
            return None

    def _bad_operand(
        self, spec: FactSpec, row: Operator, value: object, path: Path, error: LiteralError
    ) -> None:
        if not row.many or not isinstance(value, list) or not value:
            self.mistakes.add(path, error.expected, got=value, among=error.among)
            return
        for place, member in enumerate(value):  # name each bad member at its own place
            try:
                row.read(spec, [member])
            except LiteralError as inner:
                self.mistakes.add((*path, place), inner.expected, got=member, among=inner.among)

    def _usable(self, spec: FactSpec) -> str:
        usable = operators_for(spec.type)
        if spec.type in _SET_TYPES:
            return f"{joined(usable)}, or `some: {spec.name}` with `where`"
        return joined(usable)


def condition_tree(condition: Condition, scope: Scope) -> Any:
    """The condition as it is written: what `ConditionParser.parse` reads."""
    if isinstance(condition, AllOf | AnyOf):
        head = "all" if isinstance(condition, AllOf) else "any"
        return {head: [condition_tree(part, scope) for part in condition.parts]}
    if isinstance(condition, Not):
        return {"not": condition_tree(condition.part, scope)}
    if isinstance(condition, Quantified):
        found = scope.find(condition.collection)
        below = scope.below(found[0]) if found else scope
        return {condition.quantifier: condition.collection, "where": condition_tree(condition.where, below)}
    found = scope.find(condition.fact)
    kind = found[0].type if found else FactType.STRING
    row = OPERATORS[condition.operator]
    operand = _operand_tree(condition.operand, kind, is_literal=row.name != "exists")
    if row.group:
        return {"fact": condition.fact, row.group: {row.name: operand}}
    return {"fact": condition.fact, row.name: operand}


@dataclass(frozen=True, slots=True)
class ListResolver:
    """Replaces each `{list: name}` by its values, read by the type of the fact they meet. `on_error` gets the name of
    a list that is not there (None), or with each value that does not suit the fact what is expected, and the value.
    """

    lists: Mapping[str, tuple[Any, ...]]
    on_error: Callable[[str, LiteralError | None, object], None]

    def resolve(self, condition: Condition, scope: Scope) -> Condition:
        """The condition without list names, but for those that were reported."""
        if isinstance(condition, AllOf | AnyOf):
            return type(condition)(tuple(self.resolve(part, scope) for part in condition.parts))
        if isinstance(condition, Not):
            return Not(self.resolve(condition.part, scope))
        if isinstance(condition, Quantified):
            found = scope.find(condition.collection)
            where = self.resolve(condition.where, scope.below(found[0]) if found else scope)
            return Quantified(condition.quantifier, condition.collection, where)
        return self._compare(condition, condition.operand, scope)

    def _compare(self, condition: Compare, operand: Operand, scope: Scope) -> Compare:
        if not isinstance(operand, ListName):
            return condition
        found = scope.find(condition.fact)
        if operand.name not in self.lists or found is None:
            self.on_error(operand.name, None, None)
            return condition
        read, listed = OPERATORS[condition.operator].read, list(self.lists[operand.name])
        try:
            return Compare(condition.fact, condition.operator, read(found[0], listed))
        except LiteralError as error:
            self._tell(operand.name, found[0], listed, error)
            return condition

    def _tell(self, name: str, spec: FactSpec, listed: list[Any], error: LiteralError) -> None:
        if not listed:
            self.on_error(name, error, listed)
        for value in listed:
            try:
                parse_literal(spec, value)
            except LiteralError as inner:
                self.on_error(name, inner, value)


def resolve_lists(bundle: PolicyBundle, condition: Condition) -> Condition:
    """The condition of a rule of the bundle with its lists written out. Raises `LookupError` for a list that is not there,
    which the loader would have refused."""

    def unresolved(name: str, _error: object, _value: object) -> None:
        raise LookupError(f"list `{name}` passed the loader and is not there")

    lists = dict(bundle.set.lists) if bundle.set else {}
    return ListResolver(lists, unresolved).resolve(condition, Scope(bundle.catalogue))


def _is_set(scope: Scope, name: str) -> bool:
    found = scope.find(name)
    return found is not None and found[0].type in _SET_TYPES


def _operand_tree(operand: Operand, kind: FactType, *, is_literal: bool) -> Any:
    if isinstance(operand, ListName):
        return {"list": operand.name}
    if isinstance(operand, tuple):
        return [_literal_tree(member, kind) for member in operand]
    return _literal_tree(operand, kind) if is_literal else operand


def _literal_tree(value: Literal, kind: FactType) -> Any:
    return duration_text(value) if kind is FactType.DURATION and isinstance(value, int) else value
