"""A checked CEL expression as a tree: read from the bytes that the runtime writes of it, which are the only way to see it.

Promises: macros are there as what they stand for (comprehensions), and a name with dots is one name where the runtime took it
for one. Does not: check anything; what it does not know becomes `Other`, with its parts.

The bytes are `cel.expr.CheckedExpr` (github.com/google/cel-spec, proto/cel/expr/checked.proto and syntax.proto) within a
`google.protobuf.Any`. The numbers below are those of its fields. How deep a tree is, the runtime's own parser bounds (32).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string as it stands."""

    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A variable: a fact, or what a macro calls its items."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """`operand.field`; within `has()` it only asks whether there is one."""

    operand: Node
    field: str
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function or an operator, such as `_[_]`. A receiver is the first argument."""

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`[a, b]`."""

    elements: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`{key: value}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comprehension:
    """`gathered` begins as `start`, becomes `step` for each `item` of `over`, and the whole is `result`."""

    item: str
    over: Node
    gathered: str
    start: Node
    condition: Node
    step: Node
    result: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Numbers, and whatever a later runtime has."""

    parts: tuple[Node, ...] = ()


Node: TypeAlias = "Text | Name | Select | Call | Listing | Table | Comprehension | Other"


def read_tree(data: bytes) -> Node:
    """The tree of a serialized expression. Raises `ValueError` for bytes that are none."""
    try:
        checked = _Message(_Message(data).part(2))
        names = dict(_references(checked))
        return _Reader(names).node(checked.part(4))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("not a checked CEL expression") from error


def walk(node: Node) -> Iterator[Node]:
    """The tree and all its parts."""
    yield node
    match node:
        case Select():
            parts: tuple[Node, ...] = (node.operand,)
        case Call():
            parts = node.args
        case Listing():
            parts = node.elements
        case Table():
            parts = tuple(part for entry in node.entries for part in entry)
        case Comprehension():
            parts = (node.over, node.start, node.condition, node.step, node.result)
        case Other():
            parts = node.parts
        case _:
            parts = ()
    for part in parts:
        yield from walk(part)


def _references(checked: _Message) -> Iterator[tuple[int, str]]:
    for entry in checked.parts(2):
        row = _Message(entry)
        reference = _Message(row.part(2))
        if not reference.parts(3):  # it names no overloads, as those of functions do
            yield row.number(1), reference.text(1)


@dataclass(frozen=True, slots=True)
class _Reader:
    names: dict[int, str]
    """Of variables, by the number of the expression that the runtime resolved to them."""

    def node(self, data: bytes) -> Node:
        expression = _Message(data)
        name = self.names.get(expression.number(2))
        if name is not None:
            return Name(name=name.removeprefix("."))
        for kind, read in _KINDS.items():
            for body in expression.parts(kind):
                return read(self, _Message(body))
        return Other()

    def nodes(self, body: _Message, place: int) -> tuple[Node, ...]:
        return tuple(self.node(part) for part in body.parts(place))

    def constant(self, body: _Message) -> Node:
        return next((Text(value=found.decode()) for found in body.parts(6)), Other())

    def name(self, body: _Message) -> Node:
        return Name(name=body.text(1).removeprefix("."))

    def select(self, body: _Message) -> Node:
        return Select(operand=self.node(body.part(1)), field=body.text(2), asks=bool(body.number(3)))

    def call(self, body: _Message) -> Node:
        return Call(function=body.text(2), args=self.nodes(body, 1) + self.nodes(body, 3))

    def listing(self, body: _Message) -> Node:
        return Listing(elements=self.nodes(body, 1))

    def table(self, body: _Message) -> Node:
        rows = [_Message(entry) for entry in body.parts(2)]
        if not all(row.parts(3) for row in rows):
            # A message with named fields, of which our environment has none.
            return Other(parts=tuple(self.node(row.part(4)) for row in rows))
        return Table(entries=tuple((self.node(row.part(3)), self.node(row.part(4))) for row in rows))

    def comprehension(self, body: _Message) -> Node:
        return Comprehension(
            item=body.text(1), over=self.node(body.part(2)), gathered=body.text(3), start=self.node(body.part(4)),
            condition=self.node(body.part(5)), step=self.node(body.part(6)), result=self.node(body.part(7)),
        )  # fmt: skip


_KINDS = {
    3: _Reader.constant,
    4: _Reader.name,
    5: _Reader.select,
    6: _Reader.call,
    7: _Reader.listing,
    8: _Reader.table,
    9: _Reader.comprehension,
}


class _Message:
    """The fields of one protobuf message by number, in their order. Fields of fixed width are passed over."""

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[bytes]] = {}
        self._numbers: dict[int, int] = {}
        place = 0
        while place < len(data):
            tag, place = _varint(data, place)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                self._numbers[number], place = _varint(data, place)
            elif wire == _BYTES:
                size, place = _varint(data, place)
                if place + size > len(data):
                    raise ValueError("not a checked CEL expression: it ends too early")
                self._fields.setdefault(number, []).append(data[place : place + size])
                place += size
            elif wire in {_FIXED64, _FIXED32}:
                place += 8 if wire == _FIXED64 else 4
            else:
                raise ValueError("not a checked CEL expression: a field of an unknown sort")

    def parts(self, number: int) -> list[bytes]:
        return self._fields.get(number, [])

    def part(self, number: int) -> bytes:
        """The only one, or what stands for nothing."""
        return self._fields.get(number, [b""])[-1]

    def text(self, number: int) -> str:
        return self.part(number).decode()

    def number(self, number: int) -> int:
        return self._numbers.get(number, 0)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
