"""How the ecosystems that follow neither PEP 440 nor Semantic Versioning order their versions: deb, rpm, maven, nuget, conda.

Promises: for each a key of a text that can be compared with keys of the same ecosystem, or None where the text is no version
there; total. What begins with no digit is none, though some of them would order it: `unknown` must stay unknown. Does not:
know ranges; see `versions`.

Written from deb-version(7), rpm-version(7), Maven's `ComparableVersion` (version order specification), NuGet's
`NuGetVersion` and conda's `VersionOrder` (conda.io, `Version ordering`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

Item: TypeAlias = "int | str | list[Item]"


class RpmKey(NamedTuple):
    """Epoch, version and release; the release is empty where none is written, and then stands for every release."""

    epoch: int
    version: tuple[Any, ...]
    release: tuple[Any, ...]


_DEB = re.compile(
    r"(?:(?P<epoch>\d{1,9}):)?(?P<upstream>[0-9](?:[0-9A-Za-z.+~:-]*?[0-9A-Za-z.+~:])??)(?:-(?P<revision>[0-9A-Za-z.+~]+))?",
    re.ASCII,
)
_RPM = re.compile(
    r"(?:(?P<epoch>\d{1,9}):)?(?P<version>[0-9][0-9A-Za-z._+~^]*)(?:-(?P<release>[0-9A-Za-z._+~^]+))?"
)
_RPM_PART = re.compile(r"~|\^|[0-9]+|[A-Za-z]+")
_NUGET = re.compile(
    r"v?(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)
_CONDA = re.compile(
    r"(?:(?P<epoch>\d{1,9})!)?(?P<version>[0-9][0-9a-z._]*)(?:\+(?P<local>[0-9a-z._]+))?", re.ASCII
)
_MAVEN = re.compile(r"[0-9][0-9A-Za-z._+-]*")


def deb_key(text: str) -> Any | None:
    """deb-version(7): `~` sorts before the end of a part, letters before other signs; no revision is revision 0."""
    found = _DEB.fullmatch(text)
    if found is None:
        return None
    return int(found["epoch"] or 0), _deb_part(found["upstream"]), _deb_part(found["revision"] or "")


def _deb_part(text: str) -> tuple[Any, ...]:
    pairs = [(_deb_signs(signs), int(digits or 0)) for signs, digits in re.findall(r"(\D*)(\d*)", text)]
    while pairs and pairs[-1] == _DEB_END:
        pairs.pop()
    return (*pairs, _DEB_END)


def _deb_signs(signs: str) -> tuple[int, ...]:
    return (*(-1 if sign == "~" else ord(sign) if sign.isalpha() else ord(sign) + 256 for sign in signs), 0)


_DEB_END = ((0,), 0)


def rpm_key(text: str) -> RpmKey | None:
    """rpm-version(7): numbers sort after words, `~` before everything, `^` just after what it stands behind."""
    found = _RPM.fullmatch(text)
    if found is None:
        return None
    release = found["release"]
    return RpmKey(
        int(found["epoch"] or 0), _rpm_part(found["version"]), _rpm_part(release) if release else ()
    )


def _rpm_part(text: str) -> tuple[Any, ...]:
    return (*map(_rpm_token, _RPM_PART.findall(text)), _RPM_END)


def _rpm_token(part: str) -> tuple[int, int, str]:
    if part == "~":
        return 0, 0, ""
    if part == "^":
        return 2, 0, ""
    return (4, int(part), "") if part.isdigit() else (3, 0, part)


_RPM_END = (1, 0, "")


def nuget_key(text: str) -> Any | None:
    """Up to four numbers; words of a pre-release without case."""
    found = _NUGET.fullmatch(text)
    if found is None:
        return None
    *numbers, pre = found.groups()
    return (*(int(one or 0) for one in numbers), not pre, pre_release_key(pre.lower()) if pre else ())


def pre_release_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Semantic Versioning 2.0, section 11: numbers rank below words."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))


def maven_key(text: str) -> Any | None:
    """Maven's `ComparableVersion`: `1.0-alpha-1` < `1.0-SNAPSHOT` < `1.0` = `1` = `1.0.Final` < `1.0-sp` < `1.0-1` < `1.0.1`."""
    return _MAVEN_ORDER(_maven_items(text.lower())) if _MAVEN.fullmatch(text) else None


def _maven_items(text: str) -> list[Item]:
    root: list[Item] = []
    lists, here = [root], root
    start, in_digits = 0, False

    def close(end: int, *, before_digit: bool = False) -> None:
        here.append(_maven_item(text[start:end], is_number=in_digits, before_digit=before_digit))

    for place, sign in enumerate(text):
        if sign in ".-_":
            if place == start:
                here.append(0)
            else:
                close(place)
            start = place + 1
            if sign == "-":
                here = _nested(here, lists)
        elif sign.isdigit() is not in_digits:
            if place > start:
                close(place, before_digit=not in_digits)
                start = place
                here = _nested(here, lists)
            in_digits = not in_digits
    if len(text) > start:
        close(len(text))
    for each in reversed(lists):
        _without_null_end(each)
    return root


def _nested(here: list[Item], lists: list[list[Item]]) -> list[Item]:
    below: list[Item] = []
    here.append(below)
    lists.append(below)
    return below


def _maven_item(text: str, *, is_number: bool, before_digit: bool) -> Item:
    if is_number:
        return int(text)
    if before_digit:
        text = {"a": "alpha", "b": "beta", "m": "milestone"}.get(text, text)
    return {"ga": "", "final": "", "release": "", "cr": "rc"}.get(text, text)


def _without_null_end(items: list[Item]) -> None:
    """Zeros, empty words and empty lists at the end, also before a list that stays, say nothing."""
    for place in range(len(items) - 1, -1, -1):
        if items[place] in (0, "", []):
            del items[place]
        elif not isinstance(items[place], list):
            return


_QUALIFIERS = ("alpha", "beta", "milestone", "rc", "snapshot", "", "sp")


def _word_key(word: str) -> tuple[int, str]:
    return (_QUALIFIERS.index(word), "") if word in _QUALIFIERS else (len(_QUALIFIERS), word)


def _maven_compare(one: Item | None, other: Item | None) -> int:
    if one is None or other is None:
        return _maven_end(one) if other is None else -_maven_end(other)
    ranks = [_MAVEN_RANKS[type(each)] for each in (one, other)]
    if ranks[0] != ranks[1]:
        return _sign(*ranks)
    if isinstance(one, list) and isinstance(other, list):
        return next((found for pair in zip_longest(one, other) if (found := _maven_compare(*pair))), 0)
    if isinstance(one, str) and isinstance(other, str):
        return _sign(_word_key(one), _word_key(other))
    return _sign(one, other)


def _maven_end(one: Item | None) -> int:
    """Where an item lies of the end of a version."""
    if isinstance(one, list):
        return next((found for each in one if (found := _maven_end(each))), 0)
    return _sign(_word_key(one), _word_key("")) if isinstance(one, str) else _sign(one or 0, 0)


_MAVEN_RANKS: Mapping[type, int] = {str: 0, list: 1, int: 2}
"""`1.x` < `1-x` < `1.1`."""


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


_MAVEN_ORDER = cmp_to_key(_maven_compare)


def conda_key(text: str) -> Any | None:
    """The order of conda's `VersionOrder`: words sort before numbers, `dev` before other words, `post` after numbers."""
    lowered = text.lower()
    if "_" not in lowered:
        lowered = lowered.replace("-", "_")
    found = _CONDA.fullmatch(lowered)
    parts = [_conda_parts(found[name]) for name in ("version", "local")] if found else [None]
    if found is None or None in parts:
        return None
    return _CONDA_ORDER([[[int(found["epoch"] or 0)]], *parts])


def _conda_parts(text: str | None) -> list[list[int | float | str]] | None:
    if text is None:
        return []
    # A trailing `_` is OpenSSL's, where 1.0.1_ comes before 1.0.1a.
    tail = "_" if text.endswith("_") else ""
    written = text.removesuffix("_").replace("_", ".") + tail
    parts = [re.findall(r"[0-9]+|[^0-9]+", part) for part in written.split(".")]
    if not all(parts):
        return None
    return [[*([] if part[0].isdigit() else [0]), *map(_conda_token, part)] for part in parts]


def _conda_token(part: str) -> int | float | str:
    if part.isdigit():
        return int(part)
    if part == "post":
        return float("inf")
    return "DEV" if part == "dev" else part  # capitals sort before small letters


def _conda_compare(one: Sequence[Any], other: Sequence[Any]) -> int:
    left: Sequence[Any]
    right: Sequence[Any]
    for left, right in zip_longest(one, other, fillvalue=[]):
        for part, counterpart in zip_longest(left, right, fillvalue=[0]):
            for token, against in zip_longest(part, counterpart, fillvalue=0):
                is_word = isinstance(token, str)
                if is_word is not isinstance(against, str):
                    return -1 if is_word else 1
                if token != against:
                    return _sign(token, against)
    return 0


_CONDA_ORDER = cmp_to_key(_conda_compare)
