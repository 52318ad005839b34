"""Optional: a rule's `condition` in CEL, for what fields and operators cannot say. Needs the extra `cel`.

Promises: type-checked against the fact catalogue when the policy is loaded, bounded in cost (the runtime bounds
the turns, `celsizes` what is built), and total: where a fact it names is unknown, absent, incomplete or of the wrong type, or
where it fails or costs too much, it is unknown. Does not: see any fact that the expression does not name.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from governance.model.facts import Collection, FactSpec, FactType, Unknown, find_spec
from governance.policy.celconstants import check_constants, fields_looked_for
from governance.policy.celfields import FieldError, check_fields
from governance.policy.celsizes import MOST, builds, built, size_of
from governance.policy.celtree import Node, read_tree
from governance.policy.closures import value_of
from governance.policy.condition import Record, Test
from governance.policy.logic import NO_VALUE

_STRINGS = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_CHAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_MESSAGE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")

_CEL_TYPES = {
    FactType.INTEGER: "INT",
    FactType.DURATION: "INT",
    FactType.SCORE: "DOUBLE",
    FactType.BOOLEAN: "BOOL",
}


class CelError(ValueError):
    """An expression that does not type-check, or no runtime to check it with. The message says what is expected."""


def facts_named(text: str, catalogue: Mapping[str, FactSpec]) -> frozenset[str]:
    """The facts that the expression may read. It may name one too many, and no other can be read."""
    names = set()
    for chain in _CHAIN.findall(_STRINGS.sub('""', text)):
        parts = chain.split(".")
        for length in range(len(parts), 0, -1):
            name = ".".join(parts[:length])
            if find_spec(name, catalogue) is not None:
                names.add(name)
                break
    return frozenset(names)


def compile_expression(text: str, catalogue: Mapping[str, FactSpec]) -> Test:
    """The closure of a CEL expression of type bool. Raises `CelError`."""
    cel = _runtime()
    specs = {
        name: spec
        for name in facts_named(text, catalogue)
        if (spec := find_spec(name, catalogue)) is not None
    }
    if not specs:
        raise CelError("an expression over at least one fact")
    environment = cel.NewEnv(variables={name: _type(cel, spec) for name, spec in specs.items()})
    try:
        program = environment.compile(text)
    except (RuntimeError, ValueError) as error:
        raise CelError(f"a CEL expression ({_reason(str(error))})") from error
    if program.return_type() != cel.Type.BOOL:
        raise CelError("a CEL expression of type bool")
    return _closure(program, specs, cel.Type.BOOL, _checked(program, specs))


def _checked(program: Any, specs: Mapping[str, FactSpec]) -> Node:
    """The expression, after it was looked at for what it can never find."""
    try:
        tree = read_tree(program.serialize())
    except ValueError as error:
        raise CelError("a runtime for CEL whose expressions can be read (cel-expr-python 0.1)") from error
    try:
        check_fields(tree, specs)
        check_constants(tree)
    except FieldError as error:
        raise CelError(str(error)) from error
    return tree


def _closure(program: Any, specs: Mapping[str, FactSpec], wanted: Any, tree: Node) -> Test:
    sought, is_measured = fields_looked_for(tree), builds(tree)
    readers: list[tuple[str, Callable[[Any], Any]]] = [
        (name, _reader(spec, sought)) for name, spec in specs.items()
    ]

    def test(record: Record, _facts: Record) -> bool | None:
        data: dict[str, Any] = {}
        for name, read in readers:
            value = read(value_of(record, name))
            if value is NO_VALUE:
                return None
            data[name] = value
        if is_measured and built(tree, {name: size_of(value) for name, value in data.items()}) > MOST:
            return None
        try:
            result = program.eval(data=data)
            return bool(result.value()) if result.type() == wanted else None
        except Exception:  # noqa: BLE001 - whatever a native runtime raises on odd values, the answer is unknown
            return None

    return test


def _runtime() -> Any:
    try:
        return importlib.import_module("cel_expr_python.cel")
    except ImportError as error:
        raise CelError("no `condition`, or the extra: pip install 'mlflow-governance[cel]'") from error


def _type(cel: Any, spec: FactSpec) -> Any:
    kinds = cel.Type
    if spec.type is FactType.COLLECTION:
        return kinds.List(kinds.Map(kinds.STRING, kinds.DYN))
    if spec.type is FactType.STRINGS:
        return kinds.List(kinds.STRING)
    return getattr(kinds, _CEL_TYPES.get(spec.type, "STRING"))


def _reader(spec: FactSpec, sought: frozenset[str]) -> Callable[[Any], Any]:
    """What CEL gets for a value, or `NO_VALUE`. Unknown fields are left out of items: to read one is an error there, and
    where one of them is looked for, nobody knows whether it is there."""
    if spec.type is FactType.COLLECTION:
        names = tuple(one.name for one in spec.fields if one.name in sought)
        return (lambda value: _items(value, names)) if names else _items
    if spec.type is FactType.STRINGS:
        return lambda value: list(value) if isinstance(value, tuple) else NO_VALUE
    if spec.type is FactType.BOOLEAN:
        return lambda value: value if isinstance(value, bool) else NO_VALUE
    if spec.type is FactType.SCORE:
        return lambda value: (
            float(value) if isinstance(value, int | float) and not isinstance(value, bool) else NO_VALUE
        )
    if spec.type in {FactType.INTEGER, FactType.DURATION}:
        return lambda value: value if isinstance(value, int) and not isinstance(value, bool) else NO_VALUE
    return lambda value: value if isinstance(value, str) else NO_VALUE


def _items(value: Any, sought: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, Collection) or not value.is_complete:
        return NO_VALUE
    if any(isinstance(item.get(name, NO_VALUE), Unknown) for item in value.items for name in sought):
        return NO_VALUE
    return [
        {
            name: list(member) if isinstance(member, tuple) else member
            for name, member in item.items()
            if not isinstance(member, Unknown) and member is not None
        }
        for item in value.items
    ]


def _reason(text: str) -> str:
    found = _MESSAGE.search(text)
    return f"column {found[2]}: {found[3]}" if found else text.split("\n", 1)[0][:200]
