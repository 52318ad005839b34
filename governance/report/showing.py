"""Text from outside made fit to be shown: what hides or turns text is shown as what it is, and sizes read like sizes.

Does not: escape for a format. Each format does that itself, after this.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

# Controls, direction marks and overrides, zero-width characters, line separators, and what cannot be displayed.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)

_WORDS = {
    "would-block": "would have been blocked",
    "waived": "allowed by waiver",
    "warned": "allowed with warning",
}


def shown(value: object) -> str:
    """Text in which everything that hides or turns text is shown by its code. Escaping of markup comes after."""
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def result_words(value: object) -> str:
    """The result of a decision as people say it; any other word as it is shown."""
    return _WORDS.get(str(value)) or shown(value)


def human_size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "?"
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def marked(value: object) -> Markup:
    """Text of ours whose `backticked` parts are set as code."""
    parts = shown(value).split("`")
    if len(parts) % 2 == 0:
        return escape(shown(value))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )
