"""What is odd about a text in a policy, so that it may never equal the text that it looks like.

Texts are compared as they are written: Artifactory, too, takes two spellings of `é` for two paths. So whoever writes one of
them hears of it. Promises: pure; a text of plain ASCII without outer white space is never odd.
"""

from __future__ import annotations

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_ALIKE = ("LATIN", "CYRILLIC", "GREEK")
"""Scripts with letters that look the same."""


def oddity(text: str) -> str | None:
    """What is odd about `text`, or None."""
    if text != text.strip():
        return "it begins or ends with white space"
    if text.isascii() and text.isprintable():
        return None
    unseen = next((sign for sign in text if sign != " " and unicodedata.category(sign) in _UNSEEN), None)
    if unseen is not None:
        return f"it holds U+{ord(unseen):04X} ({unicodedata.name(unseen, 'unnamed').lower()}), which cannot be seen"
    if unicodedata.normalize("NFC", text) != text:
        return (
            "a letter with an accent is written as two characters, and equals no composed one (Unicode NFC)"
        )
    return _alike(text)


def _alike(text: str) -> str | None:
    """What is odd about letters that look like others."""
    scripts = {unicodedata.name(sign, "").partition(" ")[0] for sign in text if sign.isalpha()}
    mixed = [script for script in _ALIKE if script in scripts]
    if len(mixed) > 1:
        return f"it mixes {' and '.join(script.capitalize() for script in mixed)} letters, some of which look the same"
    if unicodedata.normalize("NFKC", text) != text:
        return "it holds characters that only look like others (Unicode NFKC), such as wide letters"
    return None
