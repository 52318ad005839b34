"""Which names a YAML file would have imported, or called, by who loads it with all of Python's tags (`yaml.unsafe_load`).

Promises: tags are read from the parser's own events, so that handles and escapes are resolved as loaders do; nothing is built. What was
found before a file stops to be YAML stands. Does not: judge; the names are judged as those of a pickle, which such a file is.

Source: PyYAML's documentation, "Python-specific tags".
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from governance.content.effort import Effort

_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = re.compile(
    r"tag:yaml\.org,2002:python/(?:name|module|object(?:/apply|/new)?):(.{1,1000})", re.DOTALL
)
_EVENT: Final = 10
"""How many operations of a pickle an event is worth."""
_DEEPEST: Final = 1_000


def tag_imports(data: bytes, effort: Effort) -> frozenset[str]:
    """The names in a file's tags. Raises `SpentError`."""
    if b"!" not in data:  # each tag has one, in any encoding
        return frozenset()
    found = set()
    depth = 0
    try:
        for event in yaml.parse(data, Loader=_PARSER):
            effort.demand(_EVENT)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            match = _TAG.match(getattr(event, "tag", None) or "")
            if match is not None:
                found.add(match[1])
            if depth > _DEEPEST:
                break  # those who load it stop with an error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        pass
    return frozenset(found)
