"""Conditions: what a rule's `when` says, as values. Parsing, printing, compiling and linting all speak in these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from governance.model.facts import CATALOGUE, FactSpec, FactType, find_spec
from governance.policy import literals

Record: TypeAlias = "Mapping[str, Any]"
Test: TypeAlias = "Callable[[Record, Record], bool | None]"
"""A compiled condition: the record in scope (all facts, or one item), and all facts. None is unknown."""


@dataclass(frozen=True, slots=True)
class ListName:
    """A list of the policy set, by name."""

    name: str


Operand: TypeAlias = "literals.Literal | tuple[literals.Literal, ...] | ListName"


@dataclass(frozen=True, slots=True)
class Compare:
    """One fact against one operand. `operator` is a row of `operators.OPERATORS`."""

    fact: str
    operator: str
    operand: Operand


@dataclass(frozen=True, slots=True)
class AllOf:
    """True where every part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True where a part is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Kleene's negation."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Quantified:
    """`some` or `every` item of a collection (or text of a set of texts)."""

    quantifier: Literal["some", "every"]
    collection: str
    where: Condition


Condition: TypeAlias = "Compare | AllOf | AnyOf | Not | Quantified"

MEMBER = "value"
"""The field under which a text of a set of texts is compared: `some: actor.groups, where: {fact: value, is: x}`."""

_MEMBER_FIELDS = {MEMBER: FactSpec(name=MEMBER, type=FactType.STRING, source="", meaning="the text itself")}


@dataclass(frozen=True, slots=True)
class Scope:
    """The names a condition may use: all facts, or first the fields of an item and then all facts."""

    catalogue: Mapping[str, FactSpec] = field(default_factory=lambda: CATALOGUE)
    fields: Mapping[str, FactSpec] | None = None

    def find(self, name: str) -> tuple[FactSpec, bool] | None:
        """The row of `name`, and whether it is a field of the item."""
        if self.fields is not None and name in self.fields:
            return self.fields[name], True
        spec = find_spec(name, self.catalogue)
        return None if spec is None or name == "property.*" else (spec, False)

    def below(self, collection: FactSpec) -> Scope:
        """The scope of `where` over `collection`."""
        if collection.type is FactType.STRINGS:
            return Scope(self.catalogue, _MEMBER_FIELDS)
        return Scope(self.catalogue, {field.name: field for field in collection.fields})

    def names(self) -> list[str]:
        """Every name, for suggestions."""
        return [*(self.fields or {}), *(name for name in self.catalogue if name != "property.*")]


def walk(condition: Condition) -> Iterator[Condition]:
    """The condition and all its parts."""
    yield condition
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from walk(part)
    elif isinstance(condition, Not):
        yield from walk(condition.part)
    elif isinstance(condition, Quantified):
        yield from walk(condition.where)


def root_facts(condition: Condition, scope: Scope) -> frozenset[str]:
    """The facts (not fields of items) that the condition reads, collections included."""
    if isinstance(condition, AllOf | AnyOf):
        return frozenset().union(*(root_facts(part, scope) for part in condition.parts))
    if isinstance(condition, Not):
        return root_facts(condition.part, scope)
    if isinstance(condition, Compare):
        found = scope.find(condition.fact)
        return frozenset() if found is None or found[1] else frozenset({condition.fact})
    found = scope.find(condition.collection)
    if found is None:
        return frozenset()
    own = frozenset() if found[1] else frozenset({condition.collection})
    return own | root_facts(condition.where, scope.below(found[0]))
