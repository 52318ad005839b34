"""Names of environments. `prod` and `Production` are production: a rule for production must not be passed by spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from governance.policy.mistakes import Path

PRODUCTION = "production"

_ALIASES = {"prod": PRODUCTION, "live": PRODUCTION, "dev": "development", "stage": "staging"}
_USUAL = (PRODUCTION, "staging", "development")
_CLOSE = 0.85
"""How alike two names are that are taken for one: a letter too few, too many or in the wrong place."""


def normal_environment(name: str) -> str:
    """The one form in which environments are compared."""
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)


def meant_environment(name: str) -> str | None:
    """The usual environment that `name` is probably a misspelling of, such as `prodution`; None for any other name. Names
    that say more, such as `prod-eu` and `preproduction`, are names of their own."""
    normal = normal_environment(name)
    if not normal.isalpha() or any(usual in normal for usual in _USUAL):
        return None
    close = difflib.get_close_matches(normal, (*_USUAL, "prod", "stage"), n=1, cutoff=_CLOSE)
    return normal_environment(close[0]) if close else None


def environments_in(tree: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The names of environments that a document writes, each with its path."""
    if isinstance(tree, list):
        for number, part in enumerate(tree):
            yield from environments_in(part, (*path, number))
    if not isinstance(tree, dict):
        return
    is_compared = tree.get("fact") == "environment"
    for key, value in tree.items():
        below = (*path, key)
        if key in {"environment", "environments"} or (is_compared and key in {"is", "in"}):
            yield from _texts(value, below)
        elif key in {"outage", "grace"} and isinstance(value, dict):
            yield from (((*below, name), name) for name in value)
        else:
            yield from environments_in(value, below)


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        yield from (((*path, number), one) for number, one in enumerate(value) if isinstance(one, str))


def is_production(name: str) -> bool:
    """Whether the strict defaults apply: a request that no policy binds is blocked, and verdicts are enforced."""
    return normal_environment(name) == PRODUCTION
