"""What a CEL expression says in constants: patterns, times and durations that are none, and fields that it looks for.

The runtime finds a broken pattern only when it judges, and is unknown for ever; and it takes an item's field that nobody could
establish for one that is not there. Promises: what is refused can never have a value. Does not: look at what is computed.
"""

from __future__ import annotations

import re

from governance.policy.celfields import FieldError
from governance.policy.celtree import Call, Node, Select, Text, walk
from governance.policy.literals import time_key
from governance.policy.patterns import PatternError, check_regex

_DURATION = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?(h|m|s|ms|us|ns))+|0")
_IN = "@in"


def check_constants(tree: Node) -> None:
    """Demand that patterns, times and durations are some. Raises `FieldError`."""
    for node in walk(tree):
        if isinstance(node, Call) and node.args and isinstance(node.args[-1], Text):
            _check(node.function, node.args[-1].value)


def _check(function: str, value: str) -> None:
    if function == "matches":
        try:
            check_regex(value)
        except PatternError as error:
            raise FieldError(str(error)) from error
    elif function == "timestamp" and time_key(value) is None:
        raise FieldError(f"a time such as `2026-11-20T00:00:00Z` in `timestamp`, which `{value[:40]}` is not")
    elif function == "duration" and not _DURATION.fullmatch(value):
        raise FieldError(f"a duration such as `12h` or `90s` in `duration`, which `{value[:40]}` is not")


def fields_looked_for(tree: Node) -> frozenset[str]:
    """The fields of which it is asked whether they are there: `has(f.format)`, `'format' in f`."""
    nodes = list(walk(tree))
    had = {node.field for node in nodes if isinstance(node, Select) and node.asks}
    keys = {
        node.args[0].value
        for node in nodes
        if isinstance(node, Call) and node.function == _IN and isinstance(node.args[0], Text)
    }
    return frozenset(had | keys)
