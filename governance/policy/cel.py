"""Optional: a rule's `condition` in CEL, for what fields and operators cannot say. Needs the extra `cel`.

Promises: type-checked against the fact catalogue when the policy is loaded, bounded in cost (the runtime bounds
the turns, `celsizes` what is built), and total: where a fact it names is unknown, absent, incomplete or of the wrong type, or
where it fails or costs too much, it is unknown. Does not: see any fact that the expression does not name.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from governance.model.facts import Collection, FactSpec, FactType, find_spec
from governance.policy.celconstants import check_constants, fields_looked_for
from governance.policy.celfields import FieldError, check_fields
from governance.policy.celsizes import MOST, builds, built, size_of
from governance.policy.celtree import Node, read_tree
from governance.policy.closures import value_of
from governance.policy.comparing import order_key
from governance.policy.condition import Record, Test
from governance.policy.literals import severity_key
from governance.policy.logic import NO_VALUE

Reader: TypeAlias = "Callable[[Any], Any]"

_STRINGS = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_CHAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_MESSAGE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")

_MOST_REASONS = 8

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
    readers = [(name, _reader(spec, sought)) for name, spec in specs.items()]

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


def _reader(spec: FactSpec, sought: frozenset[str] = frozenset()) -> Reader:
    """What CEL gets for a value, or `NO_VALUE` for one that operators are unknown about: of the wrong type, outside a closed list,
    no number, or a severity that may be any."""
    if spec.type is FactType.COLLECTION:
        return _items_reader(spec, sought)
    if spec.type is FactType.STRINGS:
        return lambda value: list(value) if isinstance(value, tuple) else NO_VALUE
    if spec.type is FactType.BOOLEAN:
        return lambda value: value if isinstance(value, bool) else NO_VALUE
    if spec.type in {FactType.INTEGER, FactType.DURATION, FactType.SCORE}:
        key, made = order_key(spec), float if spec.type is FactType.SCORE else int
        return lambda value: NO_VALUE if (found := key(value)) is None else made(found)
    if spec.type is FactType.SEVERITY:
        return lambda value: NO_VALUE if severity_key(value) is None else value
    allowed = frozenset(spec.values)
    return lambda value: value if isinstance(value, str) and (not allowed or value in allowed) else NO_VALUE


def _items_reader(spec: FactSpec, sought: frozenset[str]) -> Reader:
    """Absent and unknown fields are left out of items: to read one is an error there. Where a field is looked for (`has`) that is
    unknown in some item, nobody knows whether it is there."""
    fields = {one.name: _reader(one) for one in spec.fields}
    looked_for = sought & fields.keys()

    def read(value: Any) -> Any:
        if not isinstance(value, Collection) or not value.is_complete:
            return NO_VALUE
        items = []
        for item in value.items:
            known = {name: field(item[name]) for name, field in fields.items() if item.get(name) is not None}
            if any(known.get(name, item.get(name, NO_VALUE)) is NO_VALUE for name in looked_for):
                return NO_VALUE
            items.append({name: member for name, member in known.items() if member is not NO_VALUE})
        return items

    return read


def _reason(text: str) -> str:
    """All that the runtime has to say, up to a bound."""
    found = [f"column {one[2]}: {one[3]}" for one in _MESSAGE.finditer(text)]
    return "; ".join(found[:_MOST_REASONS]) if found else text.split("\n", 1)[0][:200]
