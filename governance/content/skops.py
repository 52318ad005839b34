"""Which types and functions a skops file would import when it is loaded, read from its schema.

skops imports what the caller trusts, and with MLflow the caller is `MLmodel`, whose `skops_trusted_types` were written by whoever
uploaded the model. So the format is no statement about safety: its names are judged as those of a pickle.

Promises: nothing is imported; every name that a node of the schema states is listed, as `module.name`. Does not: follow what
skops itself makes of a node, or judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import orjson

SCHEMA: Final = "schema.json"
"""The member of the zip that says what to build."""

_NAMES: Final = (("__module__", "__class__"), ("module_path", "function"))
_MAX_NODES: Final = 1_000_000


class SchemaError(ValueError):
    """Not a schema of skops, or one too large to look through."""


def schema_imports(data: bytes) -> frozenset[str]:
    """The names in a schema; none in a JSON file that has its name by chance. Raises `SchemaError`."""
    try:
        document: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SchemaError("a schema that is no JSON") from error
    if not isinstance(document, Mapping) or "__loader__" not in document:
        return frozenset()
    return frozenset(name for node in _nodes(document) for name in _stated(node))


def _nodes(document: object) -> Iterator[Mapping[str, object]]:
    """Every object in the document, without recursion."""
    waiting, seen = [document], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > _MAX_NODES:
            raise SchemaError(f"more than {_MAX_NODES} nodes")
        if isinstance(value, Mapping):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _stated(node: Mapping[str, object]) -> Iterator[str]:
    for module_key, name_key in _NAMES:
        module, name = node.get(module_key), node.get(name_key)
        if isinstance(module, str) and isinstance(name, str):
            yield f"{module}.{name}"[:1_000]
