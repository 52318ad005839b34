"""Fields in a CEL expression: whether each that is read is one that there can be.

Items are maps to the runtime, which would find a misspelt field only when it judges, and be unknown for ever. So the shape of
each part is followed from the facts through macros, operators and literals to where a field of it is read.

Promises: a field is refused only where the shape is known and has no such field; a misspelt field of an item is found also
behind `filter`, `map`, an index, a choice (`? :`), or a literal. Does not: check types, which the runtime has done before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType

from governance.model.facts import FactSpec, FactType
from governance.policy.celtree import Call, Comprehension, Listing, Name, Node, Other, Select, Table, Text
from governance.policy.mistakes import nearest

_INDEX, _CHOICE, _PLUS, _AS_IT_IS = "_[_]", "_?_:_", "_+_", "dyn"


class FieldError(ValueError):
    """A field that is read of something that has no such field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is known of a value: its fields by name, or None where it may have any, and what its elements look like, or None
    where nothing is known of them."""

    fields: Mapping[str, Shape] | None = None
    element: Shape | None = None


ANYTHING = Shape()
_PLAIN = Shape(fields=MappingProxyType({}))
"""A value without fields, and a list of which nothing was seen yet."""


def check_fields(tree: Node, specs: Mapping[str, FactSpec]) -> None:
    """Demand that every field that is read is there. Raises `FieldError`."""
    _Walk({name: _shape_of(spec) for name, spec in specs.items()}).shape(tree)


def _shape_of(spec: FactSpec) -> Shape:
    if spec.type is FactType.COLLECTION:
        item = Shape(fields=MappingProxyType({each.name: _shape_of(each) for each in spec.fields}))
        return Shape(fields=_PLAIN.fields, element=item)
    if spec.type is FactType.STRINGS:
        return Shape(fields=_PLAIN.fields, element=_PLAIN)
    return _PLAIN


def _joined(one: Shape | None, other: Shape | None) -> Shape | None:
    """What is either the one or the other: a field of one of them may be read."""
    if one is None or other is None:
        return one or other
    if one.fields is None or other.fields is None:
        return ANYTHING
    fields = dict(one.fields)
    for name, shape in other.fields.items():
        fields[name] = _either(fields.get(name, shape), shape)
    return Shape(fields=MappingProxyType(fields), element=_joined(one.element, other.element))


def _either(one: Shape, other: Shape) -> Shape:
    return _joined(one, other) or ANYTHING


@dataclass(frozen=True, slots=True)
class _Walk:
    variables: Mapping[str, Shape] = field(default_factory=dict)

    def shape(self, node: Node) -> Shape:
        """The shape of a part, every field in it checked."""
        found = ANYTHING
        match node:
            case Name():
                found = self.variables.get(node.name, ANYTHING)
            case Select():
                found = _read(self.shape(node.operand), node.field, node.operand)
            case Call():
                found = self._call(node)
            case Listing():
                shapes = [self.shape(each) for each in node.elements]
                found = Shape(fields=_PLAIN.fields, element=reduce(_either, shapes) if shapes else None)
            case Table():
                found = self._table(node)
            case Comprehension():
                found = self._comprehension(node)
            case Text():
                found = _PLAIN
            case Other():
                for part in node.parts:
                    self.shape(part)
        return found

    def _call(self, node: Call) -> Shape:
        shapes = [self.shape(each) for each in node.args]
        if node.function == _INDEX and len(shapes) == 2:
            key = node.args[1]
            if isinstance(key, Text) and shapes[0].element is None:
                return _read(shapes[0], key.value, node.args[0])
            return shapes[0].element or ANYTHING
        if node.function == _CHOICE and len(shapes) == 3:
            return _either(shapes[1], shapes[2])
        if node.function == _PLUS and len(shapes) == 2:
            return _either(*shapes)
        return shapes[0] if node.function == _AS_IT_IS and shapes else ANYTHING

    def _table(self, node: Table) -> Shape:
        fields: dict[str, Shape] = {}
        is_known = True
        for key, value in node.entries:
            self.shape(key)
            shape = self.shape(value)
            if isinstance(key, Text):
                fields[key.value] = shape
            else:
                is_known = False
        return Shape(fields=MappingProxyType(fields)) if is_known else ANYTHING

    def _comprehension(self, node: Comprehension) -> Shape:
        """As much as one turn shows: what a macro gathers has after it the shape that it has after all."""
        item = self.shape(node.over).element or ANYTHING
        start = self.shape(node.start)
        inner = _Walk({**self.variables, node.item: item, node.gathered: start})
        inner.shape(node.condition)
        gathered = _either(start, inner.shape(node.step))
        return _Walk({**self.variables, node.gathered: gathered}).shape(node.result)


def _read(shape: Shape, name: str, operand: Node) -> Shape:
    if shape.fields is None:
        return ANYTHING
    found = shape.fields.get(name)
    if found is None:
        of = operand.name if isinstance(operand, Name) else ""
        near = nearest(name, shape.fields)
        meant = f"did you mean `{near}`" if near else f"there are {', '.join(sorted(shape.fields)) or 'none'}"
        raise FieldError(f"fields that the items have ({of}.{name} is none; {meant})")
    return found
