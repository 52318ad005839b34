"""Where the values in a Jinja template come from, as far as it matters for looking something up by them.

Promises: errs towards `MADE`. All assignments to a name count, wherever they stand and whether or not they are reached, so that no
order of statements hides one. Does not: compute any value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from jinja2 import nodes

Kinds = frozenset[str]

NUMBER: Final = "number"
DATA: Final = "data"
"""Handed over by whoever renders, or a part of that."""
TEXT: Final = "text"
"""Written out in the template, unaltered."""
TEXTS: Final = "texts"
"""Something that holds such texts."""
WORD: Final = "word"
"""As `TEXT`, without an underscore: no part of it is a name that matters."""
WORDS: Final = "words"
NAMESPACE: Final = "namespace"
MADE: Final = "made"
"""A text that the template puts together, cuts or alters."""

_NUMBER, _DATA, _MADE = (frozenset({kind}) for kind in (NUMBER, DATA, MADE))
_NONE: Final[Kinds] = frozenset()
_ROUNDS: Final = 20
_ANY: Final = ".*"
_LOOSE: Final = ".?"
_LOOP_ITEM: Final = "loop.item"

_COUNTS: Final = frozenset(
    ("index", "index0", "revindex", "revindex0", "length", "depth", "depth0", "first", "last")
)
_NUMERIC_FILTERS: Final = frozenset(("length", "count", "int", "float", "round", "abs", "wordcount"))
_WHOLE_FILTERS: Final = frozenset(
    ("list", "sort", "unique", "select", "reject", "selectattr", "rejectattr", "batch", "slice", "items", "dictsort", "groupby")
)  # fmt: skip
_PICKING_FILTERS: Final = frozenset(("first", "last", "random", "min", "max", "attr"))
_CUTTING_FILTERS: Final = frozenset(("lower", "upper", "trim", "capitalize", "title", "reverse"))
_CUTTING: Final = frozenset(
    (
        "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "split", "rsplit", "splitlines", "partition", "rpartition",
        "removeprefix", "removesuffix",
    )
)  # fmt: skip
_WHOLE: Final = frozenset(("items", "keys", "values", "copy", "next", "current"))
_PICKING: Final = frozenset(("get", "pop", "setdefault"))
_FILLING: Final = frozenset(("append", "extend", "insert", "update", "add", "setdefault"))
_ASKING: Final = frozenset(
    ("index", "find", "rfind", "count", "startswith", "endswith", "isdigit", "isalpha", "isalnum", "isspace")
)
_GIVEN_BACK: Final = {"range": _NUMBER, "namespace": frozenset({NAMESPACE})}


def _element(kinds: Kinds) -> Kinds:
    """Of what one takes out of something."""
    changed = {TEXT: MADE, TEXTS: TEXT, WORDS: WORD}
    return frozenset(changed.get(kind, kind) for kind in kinds)


def _cut(kinds: Kinds) -> Kinds:
    return frozenset(MADE if kind == TEXT else kind for kind in kinds)


def _held(kinds: Kinds) -> Kinds:
    """Of what holds something."""
    changed = {TEXT: TEXTS, WORD: WORDS}
    return frozenset(changed.get(kind, kind) for kind in kinds)


class Origins:
    """The kinds of all names in a template, given as its nodes."""

    def __init__(self, every: Sequence[nodes.Node]) -> None:
        self._names: dict[str, Kinds] = {}
        macros = [node for node in every if isinstance(node, nodes.Macro)]
        self._macros = {node.name: node for node in macros}
        called = {id(node.node) for node in every if isinstance(node, nodes.Call)}
        self._handed_on = {
            node.name for node in every if isinstance(node, nodes.Name) and id(node) not in called
        }
        """Names of which something else is done than to call them: who calls a macro by another name is not to be seen."""
        several = Counter(node.name for node in macros)
        self._handed_on |= {name for name, count in several.items() if count > 1}
        for _ in range(_ROUNDS):
            before = dict(self._names)
            for node in every:
                for name, kinds in self._assigned(node):
                    self._names[name] = self._names.get(name, _NONE) | kinds
            if self._names == before:
                return
        self._names = dict.fromkeys(self._names, _MADE)

    def of(self, node: nodes.Node | None) -> Kinds:
        """What the value of an expression may be."""
        if node is None:
            return _NONE
        read = _READERS.get(type(node))
        return read(self, node) if read is not None else _MADE

    def all(self, several: Sequence[nodes.Node]) -> Kinds:
        """What any of several values may be."""
        return _NONE.union(*(self.of(each) for each in several))

    def name(self, node: nodes.Name) -> Kinds:
        """Of a variable. Special tokens are the model's own words, as its template is."""
        return self._names.get(node.name, _DATA) | (_MADE if node.name.endswith("_token") else _NONE)

    def attribute(self, node: nodes.Getattr) -> Kinds:
        """Of what stands behind a dot."""
        if isinstance(node.node, nodes.Name) and node.node.name == "loop":
            return _NUMBER if node.attr in _COUNTS else self._names.get(_LOOP_ITEM, _DATA)
        return self._field(self.of(node.node), node.attr)

    def item(self, node: nodes.Getitem) -> Kinds:
        """Of what stands under a key, or of a part."""
        kinds = self.of(node.node)
        if isinstance(node.arg, nodes.Slice):
            return _cut(kinds)
        if isinstance(node.arg, nodes.Const):
            return self._field(kinds, str(node.arg.value))
        return _element(kinds) | (self._names.get(_ANY, _NONE) if NAMESPACE in kinds else _NONE)

    def _field(self, kinds: Kinds, name: str) -> Kinds:
        """What is under a name in something; where that is a namespace alone, what was put under it there."""
        kept = self._names.get(f".{name}", _DATA) | self._names.get(_LOOSE, _NONE)
        return (kept if NAMESPACE in kinds else _NONE) | _element(kinds - {NAMESPACE})

    def filtered(self, node: nodes.Filter) -> Kinds:
        """Of what a filter makes of something."""
        name, of = node.name, self.of(node.node)
        if name in _NUMERIC_FILTERS:
            return _NUMBER
        if name in {"default", "d"}:
            return of | self.all(node.args) | self.all(node.kwargs)
        if name in _CUTTING_FILTERS:
            return _cut(of)
        if name in _PICKING_FILTERS:
            return _element(of)
        only_attribute = not node.args and all(each.key in {"attribute", "default"} for each in node.kwargs)
        if name in _WHOLE_FILTERS or (name == "map" and only_attribute and not node.dyn_kwargs):
            return _cut(of)
        return _MADE

    def called(self, node: nodes.Call) -> Kinds:
        """Of what a call gives back."""
        given = self.all(node.args) | self.all(node.kwargs)
        match node.node:
            case nodes.Name(name="dict"):
                return _held(given) | ({TEXTS} if any("_" in each.key for each in node.kwargs) else _NONE)
            case nodes.Name(name="cycler") | nodes.Getattr(node=nodes.Name(name="loop"), attr="cycle"):
                return given
            case nodes.Name(name=name):
                return _GIVEN_BACK.get(name, _MADE)
            case nodes.Getattr(node=of, attr=method):
                return self._asked(of, method, given)
        return _MADE

    def _asked(self, of: nodes.Expr, method: str, given: Kinds) -> Kinds:
        if method in _ASKING:
            return _NUMBER
        if method in _CUTTING:
            return _cut(self.of(of))
        if method in _WHOLE:
            return self.of(of)
        if method in _PICKING:
            return _element(self.of(of)) | given | self._names.get(_ANY, _NONE)
        return _MADE

    def reckoned(self, node: nodes.BinExpr) -> Kinds:
        """Of what `+`, `*` and `%` make: all of them take texts too."""
        left, right = self.of(node.left), self.of(node.right)
        if isinstance(node, nodes.Mod):
            return _NUMBER if left == _NUMBER else _MADE
        if isinstance(node, nodes.Mul):
            return _NUMBER if left == right == _NUMBER else _MADE
        if _NUMBER in (left, right):
            return _NUMBER  # nothing but a number can be added to one
        both = left | right
        return _MADE if both & {TEXT, WORD, MADE} else both

    def _assigned(self, node: nodes.Node) -> Iterator[tuple[str, Kinds]]:
        """Which names a node gives a value, and what may be in it."""
        match node:
            case nodes.Assign(target=target, node=value):
                yield from self._targets(target, value)
            case nodes.With(targets=targets, values=values):
                yield from self._targets(nodes.Tuple(targets, "store"), nodes.Tuple(values, "load"))
            case nodes.AssignBlock(target=target):
                yield from _named(target, _MADE)
            case nodes.For(target=target, iter=source):
                yield from _named(target, _element(self.of(source)))
                yield _LOOP_ITEM, _element(self.of(source))
            case nodes.Macro() | nodes.CallBlock():
                yield from self._parameters(node)
            case nodes.Call():
                yield from self._handed(node)

    def _parameters(self, node: nodes.Macro | nodes.CallBlock) -> Iterator[tuple[str, Kinds]]:
        name = "caller" if isinstance(node, nodes.CallBlock) else node.name
        strange = _DATA | self._names.get(f"{name}()", _NONE) | (_MADE if name in self._handed_on else _NONE)
        for target, value in zip_longest(reversed(node.args), reversed(node.defaults)):
            yield target.name, self.of(value) | strange

    def _targets(self, target: nodes.Node, value: nodes.Node) -> Iterator[tuple[str, Kinds]]:
        if isinstance(target, nodes.Tuple) and isinstance(value, nodes.Tuple):
            for one, its in zip(target.items, value.items, strict=False):
                yield from self._targets(one, its)
            return
        kinds = self.of(value)
        yield from _named(target, _element(kinds) if isinstance(target, nodes.Tuple) else kinds)

    def _handed(self, node: nodes.Call) -> Iterator[tuple[str, Kinds]]:
        """What a call leaves behind: parameters of a macro, fields of a namespace, something more in a list or mapping."""
        given = self.all(node.args) | self.all(node.kwargs)
        dynamic = self.all([each for each in (node.dyn_args, node.dyn_kwargs) if each is not None])
        match node.node:
            case nodes.Name(name="namespace"):
                yield from ((f".{each.key}", self.of(each.value)) for each in node.kwargs)
                yield _ANY, given
                yield _LOOSE, _element(self.all(node.args) | dynamic)
            case nodes.Name(name="caller"):
                yield "caller()", given | _element(dynamic)
            case nodes.Name(name=name) if name in self._macros:
                yield from self._passed(self._macros[name], node, dynamic)
            case nodes.Getattr(node=of, attr=method) if method in _FILLING:
                yield from ((name, _held(given | dynamic) | _DATA) for name in _places(of))

    def _passed(self, macro: nodes.Macro, node: nodes.Call, dynamic: Kinds) -> Iterator[tuple[str, Kinds]]:
        for target, value in zip(macro.args, node.args, strict=False):
            yield target.name, self.of(value)
        yield from ((each.key, self.of(each.value)) for each in node.kwargs)
        yield f"{macro.name}()", _element(dynamic)
        yield "varargs", _held(self.all(node.args)) | dynamic
        yield "kwargs", _held(self.all(node.kwargs)) | dynamic


def _places(node: nodes.Node) -> Iterator[str]:
    """Under which names something can be reached that is put into what an expression gives."""
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            yield f".{node.attr}"
        elif isinstance(node.arg, nodes.Const):
            yield f".{node.arg.value}"
        node = node.node
    yield _ANY
    if isinstance(node, nodes.Name):
        yield node.name


def _text(node: nodes.Const) -> Kinds:
    if not isinstance(node.value, str):
        return _NUMBER
    return frozenset({TEXT if "_" in node.value else WORD}) if node.value else _NONE


_READERS: Final[Mapping[type[nodes.Node], Callable[[Origins, Any], Kinds]]] = {
    nodes.Const: lambda _, node: _text(node),
    nodes.Name: Origins.name,
    nodes.Getattr: Origins.attribute,
    nodes.Getitem: Origins.item,
    nodes.Filter: Origins.filtered,
    nodes.Call: Origins.called,
    nodes.Keyword: lambda origins, node: origins.of(node.value),
    nodes.Pair: lambda origins, node: origins.of(node.key) | origins.of(node.value),
    nodes.CondExpr: lambda origins, node: origins.of(node.expr1) | origins.of(node.expr2),
    **dict.fromkeys(
        (nodes.And, nodes.Or), lambda origins, node: origins.of(node.left) | origins.of(node.right)
    ),
    **dict.fromkeys(
        (nodes.List, nodes.Tuple, nodes.Dict), lambda origins, node: _held(origins.all(node.items))
    ),
    **dict.fromkeys((nodes.Add, nodes.Mul, nodes.Mod), Origins.reckoned),
    **dict.fromkeys(
        (
            nodes.Sub,
            nodes.Div,
            nodes.FloorDiv,
            nodes.Pow,
            nodes.Neg,
            nodes.Pos,
            nodes.Compare,
            nodes.Not,
            nodes.Test,
        ),
        lambda _, __: _NUMBER,
    ),
}


def _named(target: nodes.Node, kinds: Kinds) -> Iterator[tuple[str, Kinds]]:
    match target:
        case nodes.Name(name=name):
            yield name, kinds
        case nodes.NSRef(attr=attr):
            yield f".{attr}", kinds
            yield _ANY, kinds
        case nodes.Tuple(items=items):
            for each in items:
                yield from _named(each, kinds)
