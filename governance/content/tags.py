"""Which names a YAML file would have imported, or called, by who loads it with all of Python's tags (`yaml.unsafe_load`).

Promises: tags are read from the parser's own events, so that handles and escapes are resolved as loaders do; nothing is built. What was
found before a file stops to be YAML stands. Does not: judge; the names are judged as those of a pickle, which such a file is.

Source: PyYAML's documentation, "Python-specific tags".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    tags = (_TAG.match(getattr(event, "tag", None) or "") for event in events(data, effort))
    return frozenset(match[1] for match in tags if match is not None)


def events(data: bytes, effort: Effort) -> Iterator[yaml.Event]:
    """What a parser makes of a file, up to where it stops to be YAML, or is nested deeper than anybody loads. Raises `SpentError`."""
    depth = 0
    try:
        for event in yaml.parse(data, Loader=_PARSER):
            effort.demand(_EVENT)
            yield event
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                return  # those who load it stop with an error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        return
