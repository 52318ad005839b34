"""Which types and functions a skops file would import when it is loaded, read from its schema.

skops imports what the caller trusts, and with MLflow the caller is `MLmodel`, whose `skops_trusted_types` were written by whoever
uploaded the model. So the format is no statement about safety: its names are judged as those of a pickle.

Promises: nothing is imported; every name that a node of the schema states is listed, as `module.name`. Does not: follow what
skops itself makes of a node, or judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from governance.content.documents import objects_in

SCHEMA: Final = "schema.json"
"""The member of the zip that says what to build."""

_NAMES: Final = (("__module__", "__class__"), ("module_path", "function"))


def schema_imports(data: bytes) -> frozenset[str]:
    """The names in a schema; none in a JSON file that has its name by chance. Raises `DocumentError`."""
    nodes = list(objects_in(data))
    if not nodes or "__loader__" not in nodes[0]:
        return frozenset()
    return frozenset(name for node in nodes for name in _stated(node))


def _stated(node: Mapping[str, object]) -> Iterator[str]:
    for module_key, name_key in _NAMES:
        module, name = node.get(module_key), node.get(name_key)
        if isinstance(module, str) and isinstance(name, str):
            yield f"{module}.{name}{_method(node)}"[:1_000]


def _method(node: Mapping[str, object]) -> str:
    """What a node takes of the object that it builds: a method of a harmless class need not be harmless."""
    content = node.get("content")
    taken = content.get("func") if isinstance(content, Mapping) else None
    return f".{taken}" if node.get("__loader__") == "MethodNode" and isinstance(taken, str) else ""
