"""How much a CEL expression may build: the runtime bounds its turns, not what grows in them (`files.map(f, files + files)`).

Promises: an upper bound of what is built on given facts, counted in characters and places of lists, before anything is; a walk
over the expression, whatever the size of the facts. Does not: count what an expression only reads, which costs no memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from governance.policy.celtree import Call, Comprehension, Listing, Name, Node, Select, Table, Text, walk

MOST = 40_000_000
"""What an expression may build, which is about a hundred megabytes: a list of some two thousand files, since the runtime makes
a list anew for each element that is added."""

_CHOICE, _INDEX, _PLUS, _AS_IT_IS = "_?_:_", "_[_]", "_+_", "dyn"
_PLACE = 16.0
"""What a place in a list counts, beside what stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a value: its places, the largest of what stands there, its fields, and its own text."""

    places: float = 0.0
    each: Size | None = None
    fields: Mapping[str, Size] = field(default_factory=dict)
    text: float = 1.0

    @property
    def whole(self) -> float:
        """All of it."""
        fields = sum(_PLACE + one.whole for one in self.fields.values())
        return (
            self.text + fields + self.places * (_PLACE + (self.each.whole if self.each is not None else 0.0))
        )

    def read(self, name: str) -> Size:
        """One of its fields; where it is not known to have such, it may be all of it."""
        return self.fields[name] if name in self.fields else Size(places=self.whole, text=self.whole)


def builds(tree: Node) -> bool:
    """Whether the expression builds anything whose size depends on the facts."""
    return any(
        (isinstance(node, Call) and node.function == _PLUS)
        or (isinstance(node, Comprehension) and _gathers(node))
        for node in walk(tree)
    )


def _gathers(node: Comprehension) -> bool:
    return isinstance(node.start, Listing | Table)


def size_of(value: Any) -> Size:
    """The size of what CEL gets for a fact."""
    if isinstance(value, str):
        return Size(text=len(value))
    if isinstance(value, list):
        return Size(places=len(value), each=_largest(map(size_of, value)))
    if isinstance(value, dict):
        return Size(fields={name: size_of(one) for name, one in value.items()})
    return Size()


def _largest(sizes: Any) -> Size | None:
    found: Size | None = None
    for one in sizes:
        found = one if found is None else _either(found, one)
    return found


def _either(one: Size, other: Size) -> Size:
    fields = dict(one.fields)
    for name, size in other.fields.items():
        fields[name] = _either(fields[name], size) if name in fields else size
    each = [size for size in (one.each, other.each) if size is not None]
    return Size(
        places=max(one.places, other.places),
        each=_largest(each),
        fields=fields,
        text=max(one.text, other.text),
    )


def built(tree: Node, facts: Mapping[str, Size]) -> float:
    """An upper bound of what the expression builds."""
    total = [0.0]
    _Walk(total=total, known=facts).size(tree)
    return total[0]


@dataclass(frozen=True, slots=True)
class _Walk:
    """`times` is how often the part is judged; what it builds is added to `total`."""

    total: list[float]
    known: Mapping[str, Size] = field(default_factory=dict)
    times: float = 1.0

    def size(self, node: Node) -> Size:
        found = Size()
        match node:
            case Name():
                found = self.known.get(node.name, found)
            case Text():
                found = Size(text=len(node.value))
            case Select():
                operand = self.size(node.operand)
                found = found if node.asks else operand.read(node.field)
            case Listing():
                found = self._made(
                    Size(places=len(node.elements), each=_largest(map(self.size, node.elements)))
                )
            case Table():
                found = self._made(Size(fields={
                    key.value if isinstance(key, Text) else f"[{place}]": self.size(value)
                    for place, (key, value) in enumerate(node.entries)
                }))  # fmt: skip
            case Call():
                found = self._call(node)
            case Comprehension():
                found = self._comprehension(node)
        return found

    def _made(self, size: Size) -> Size:
        self.total[0] += self.times * size.whole
        return size

    def _call(self, node: Call) -> Size:
        sizes = [self.size(each) for each in node.args]
        if node.function == _PLUS and len(sizes) == 2:
            one, other = sizes
            each = _either(one, other).each
            return self._made(Size(places=one.places + other.places, each=each, text=one.text + other.text))
        if node.function == _CHOICE and len(sizes) == 3:
            return _either(sizes[1], sizes[2])
        if node.function == _INDEX and sizes:
            key = node.args[-1]
            return sizes[0].each or sizes[0].read(key.value if isinstance(key, Text) else "")
        if node.function == _AS_IT_IS and sizes:
            return sizes[0]
        # Whatever else there is gives a number, a truth, or a text made of what it gets.
        return Size(text=1.0 + sum(size.whole for size in sizes))

    def _comprehension(self, node: Comprehension) -> Size:
        over = self.size(node.over)
        turns = over.places or float(len(over.fields))
        item = over.each or Size()
        start = self.size(node.start)
        inside = _Walk(
            total=self.total,
            known={**self.known, node.item: item, node.gathered: start},
            times=self.times * turns,
        )
        step = inside.size(node.step)
        # What a macro gathers grows by the same with each turn: a list by its element.
        grown = max(step.places - start.places, 0.0) * turns + start.places
        gathered = replace(step, places=grown) if _gathers(node) else _either(start, step)
        if _gathers(node):
            self.total[0] += self.times * turns * grown * _PLACE / 2  # made anew with each turn
            self._made(gathered)
        return _Walk(total=self.total, known={**self.known, node.gathered: gathered}, times=self.times).size(
            node.result
        )
