"""Facts as text: for messages, evidence and records. Short, on one line, and harmless on a terminal.

Names of files and packages come from outside and may hold anything: control characters are made visible, and length is
cut, before they reach an error message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from governance.model.facts import Collection, FactType, Unknown

MAX_VALUE = 200
AT_LEAST = "at least "
"""Before what is known of a fact that is not known to the last."""
_MAX_MEMBERS = 8
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_LABELS = ("path", "cve", "id", "spdx", "purl", "name", "value")


def safe_text(text: str, limit: int = MAX_VALUE) -> str:
    """`text` on one line, without control, direction or surrogate characters, cut to `limit`."""
    if len(text) > limit:
        text = f"{text[: limit - 3]}..."
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def value_text(value: object, kind: FactType | None = None) -> str:
    """A fact's value in a few words."""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, Unknown):
        reason = safe_text(value.reason)
        known = None if value.at_least is None else value_text(value.at_least, kind)
        return f"unknown: {reason}" if known is None else f"{AT_LEAST}{known} ({reason})"
    if isinstance(value, Collection):
        return count_text(value)
    if isinstance(value, tuple):
        return strings_text(value)
    if kind is FactType.DURATION and isinstance(value, int) and not isinstance(value, bool):
        return age_text(value)
    return _WORDS[value] if value is None or isinstance(value, bool) else safe_text(str(value))


_WORDS: dict[object, str] = {None: "none", True: "true", False: "false"}


def age_text(seconds: int) -> str:
    """A span of time in its two largest units: `7d 3h`."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    parts: list[str] = []
    for size, unit in _STEPS:
        count, left = divmod(left, size)
        if count or (parts and unit != "s"):
            parts.append(f"{count}{unit}")
    kept = [part for part in parts[:2] if part[0] != "0"]
    return sign + (" ".join(kept) or "0s")


def count_text(collection: Collection) -> str:
    """`3 items`, or `at least 3 items` where there may be more."""
    count = len(collection.items)
    text = f"{count} item{'' if count == 1 else 's'}"
    return text if collection.is_complete else f"{AT_LEAST}{text} ({safe_text(collection.missing or '')})"


def strings_text(values: tuple[object, ...]) -> str:
    """A set of texts, the first few of them."""
    if not values:
        return "none"
    shown = ", ".join(safe_text(str(value), 60) for value in values[:_MAX_MEMBERS])
    more = len(values) - _MAX_MEMBERS
    return f"{shown} and {more} more" if more > 0 else shown


def item_text(item: Mapping[str, Any]) -> str:
    """What an item is called: a file's path, an advisory's id with its component, a licence, a package."""
    for label in _LABELS:
        name = item.get(label)
        if isinstance(name, str) and name:
            break
    else:
        name = "an item without a name"
    component, version = item.get("component"), item.get("component_version")
    if isinstance(component, str) and component:
        name = f"{name} in {component}{f' {version}' if isinstance(version, str) else ''}"
    return safe_text(name)
