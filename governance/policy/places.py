"""Where in a document the parts of a policy stand: the path of a rule, and of each part of a condition.

Promises: a path that `Located.place` resolves to a line and column; what is written nowhere, such as the conditions
behind the shorthand, has the place of the key that stands for it. Does not: read files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Not
from governance.policy.mistakes import Path
from governance.policy.operators import OPERATORS
from governance.policy.shorthand import ALLOW_ID


def rule_path(tree: Any, rule: str) -> Path:
    """The path of a rule in its policy's document."""
    spec = tree["spec"]
    for number, one in enumerate(spec.get("rules", ())):
        if one["id"] == rule:
            return ("spec", "rules", number)
    if rule == ALLOW_ID:
        return ("spec", "allow")
    effect, _, key = rule.partition("-")
    return ("spec", effect, key) if key in spec.get(effect, {}) else ("spec",)


def rule_tree(tree: Any, path: Path) -> Mapping[str, Any] | None:
    """The rule as written at `path`, or None for one of the shorthand."""
    if path[:2] != ("spec", "rules"):
        return None
    found: Mapping[str, Any] = tree["spec"]["rules"][path[2]]
    return found


def condition_parts(condition: Condition, tree: Any, path: Path) -> list[tuple[Any, Path]]:
    """Tree and path of each part of a condition that was read from `tree` at `path`. What has no tree of its own has
    None, and the path of what it stands in."""
    if isinstance(condition, Compare):
        return []
    if isinstance(condition, AllOf | AnyOf):
        if tree is None:
            return [(None, path)] * len(condition.parts)
        if "fact" in tree:  # several operators beside one fact
            return [(None, (*path, *_key(part, tree))) for part in condition.parts]
        head = "all" if isinstance(condition, AllOf) else "any"
        return [(one, (*path, head, number)) for number, one in enumerate(tree[head])]
    key = "not" if isinstance(condition, Not) else "where"
    return [(None, path) if tree is None else (tree[key], (*path, key))]


def _key(part: Condition, tree: Mapping[str, Any]) -> Path:
    if not isinstance(part, Compare):
        return ()
    group = OPERATORS[part.operator].group
    path = (group, part.operator) if group else (part.operator,)
    return path if path[0] in tree else ()
