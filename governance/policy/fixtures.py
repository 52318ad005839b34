"""Facts as a `PolicyTest` writes them: the inverse of `casereading.FactReader`, and the same on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from governance.model.facts import Collection, FactSpec, FactType, Unknown, find_spec
from governance.policy.literals import duration_text

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null"})


def facts_tree(facts: Mapping[str, Any], catalogue: Mapping[str, FactSpec]) -> dict[str, Any]:
    """Facts by name, as under `set` in a case."""
    return {name: value_tree(find_spec(name, catalogue), value) for name, value in facts.items()}


def value_tree(spec: FactSpec | None, value: Any) -> Any:
    """One value."""
    if isinstance(value, Unknown):
        doubt = {"unknown": value.reason}
        return doubt if value.at_least is None else doubt | {"atLeast": value_tree(spec, value.at_least)}
    if isinstance(value, Collection):
        fields = {field.name: field for field in spec.fields} if spec is not None else {}
        items = [
            {name: value_tree(fields.get(name), one) for name, one in item.items()} for item in value.items
        ]
        return items if value.missing is None else {"items": items, "missing": value.missing}
    if isinstance(value, tuple):
        return list(value)
    if spec is not None and spec.type is FactType.DURATION and isinstance(value, int) and value >= 0:
        return duration_text(value)
    return value


def flow_text(tree: Any) -> str:
    """A tree as YAML on one line."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{_text(key)}: {flow_text(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(flow_text, tree)) + "]"
    return _text(tree) if isinstance(tree, str) else json.dumps(tree)


def _text(text: str) -> str:
    """Bare where YAML reads it as this text, else in quotes. A duration or digest starts with no letter it must have."""
    bare = _PLAIN.fullmatch(text) or re.fullmatch(r"\d+[smhd]", text)
    return text if bare and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)
