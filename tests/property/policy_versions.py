"""Orders of versions of Debian, RPM, Maven, NuGet and conda for the oracle, one naive comparison each: -1, 0, 1, or None.

Written from deb-version(7), rpm's `rpmvercmp`, Maven's POM reference (`Version Order Specification`), NuGet's and conda's
documentation; slow on purpose, and shares no code with the engine. What begins with no digit is no version.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any


def sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


def first(*found: int) -> int:
    return next((one for one in found if one), 0)


def deb(one: str, other: str) -> int | None:
    split = [_split(text, r"[0-9A-Za-z.+~:-]") for text in (one, other)]
    if split[0] is None or split[1] is None:
        return None
    (left, left_end), (right, right_end) = (
        (part.rpartition("-")[0], part.rpartition("-")[2]) if "-" in part else (part, "0")
        for part in (split[0][1], split[1][1])
    )
    return first(sign(split[0][0], split[1][0]), _dpkg(left, right), _dpkg(left_end, right_end))


def _split(text: str, signs: str) -> tuple[int, str] | None:
    """The epoch and the rest."""
    found = re.fullmatch(rf"(?:([0-9]{{1,9}}):)?([0-9]{signs}*)", text)
    return None if found is None or text.endswith("-") else (int(found[1] or 0), found[2])


def _dpkg(one: str, other: str) -> int:
    """dpkg's own loop: signs in turn until digits begin, then the number."""
    while one or other:
        while (one and not one[0].isdigit()) or (other and not other[0].isdigit()):
            left, right = _weight(one), _weight(other)
            if left != right:
                return sign(left, right)
            one, other = one[1:], other[1:]
        numbers = [re.match("[0-9]*", text) for text in (one, other)]
        left, right = (int(found[0] or 0) if found else 0 for found in numbers)
        if left != right:
            return sign(left, right)
        one, other = (
            one[numbers[0].end() :] if numbers[0] else "",
            other[numbers[1].end() :] if numbers[1] else "",
        )
    return 0


def _weight(text: str) -> int:
    if not text or text[0].isdigit():
        return 0
    return -1 if text[0] == "~" else ord(text[0]) if text[0].isalpha() else ord(text[0]) + 256


def rpm(value: str, written: str) -> int | None:
    """Where a policy writes no release, or there is none, releases are not compared."""
    split = [_split(text, r"[0-9A-Za-z._+~^-]") for text in (value, written)]
    if split[0] is None or split[1] is None or value.count("-") > 1 or written.count("-") > 1:
        return None
    (one, _, one_end), (other, _, other_end) = (part[1].partition("-") for part in split if part)
    releases = _rpmvercmp(one_end, other_end) if one_end and other_end else 0
    return first(sign(split[0][0], split[1][0]), _rpmvercmp(one, other), releases)


def _rpmvercmp(one: str, other: str) -> int:
    while one or other:
        one, other = (re.sub(r"^[^0-9A-Za-z~^]+", "", text) for text in (one, other))
        if one[:1] == "~" or other[:1] == "~":
            if one[:1] != other[:1]:
                return -1 if one[:1] == "~" else 1
            one, other = one[1:], other[1:]
            continue
        if one[:1] == "^" or other[:1] == "^":
            if not one or not other:
                return -1 if not one else 1
            if one[0] != other[0]:
                return -1 if one[0] == "^" else 1
            one, other = one[1:], other[1:]
            continue
        if not one or not other:
            break
        kind = "[0-9]+" if one[0].isdigit() else "[A-Za-z]+"
        left, right = re.match(kind, one), re.match(kind, other)
        assert left
        if right is None:
            return 1 if one[0].isdigit() else -1
        found = sign(int(left[0]), int(right[0])) if one[0].isdigit() else sign(left[0], right[0])
        if found:
            return found
        one, other = one[left.end() :], other[right.end() :]
    return sign(bool(one), bool(other))


WORDS = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"]


def maven(one: str, other: str) -> int | None:
    if not all(re.fullmatch("[0-9][0-9A-Za-z._+-]*", text) for text in (one, other)):
        return None
    left, right = _tokens(one.lower()), _tokens(other.lower())
    for mine, theirs in zip_longest(left, right):
        # The shorter one is padded with what says nothing, behind the other's sign.
        a = mine or _nothing(theirs)
        b = theirs or _nothing(mine)
        found = sign(_prefixed(*a), _prefixed(*b))
        if found:
            return found
    return 0


def _tokens(text: str) -> list[tuple[str, str]]:
    text = re.sub(
        "(?<![a-z])[abm](?=[0-9])",
        lambda found: {"a": "alpha", "b": "beta", "m": "milestone"}[found[0]],
        text,
    )
    marked = re.sub(r"(?<=[0-9])(?=[^0-9.\-_])|(?<=[^0-9.\-_])(?=[0-9])", "-", text).replace("_", ".")
    found = [(separator or ".", token or "0") for separator, token in re.findall(r"(^|[.-])([^.-]*)", marked)]
    named = [
        (separator, {"cr": "rc", "ga": "", "final": "", "release": ""}.get(token, token))
        for separator, token in found
    ]
    kept: list[tuple[str, str]] = []
    for separator, token in reversed(named):  # null values at the end, and before each hyphen, say nothing
        if token in {"0", ""} and (not kept or kept[-1][0] == "-"):
            continue
        kept.append((separator, token))
    return kept[::-1]


def _nothing(other: tuple[str, str]) -> tuple[str, str]:
    """What pads the shorter version: a zero against a number behind a dot, no word against the rest."""
    return other[0], "0" if other[0] == "." and other[1].isdigit() else ""


def _prefixed(separator: str, token: str) -> tuple[int, int, str]:
    if token.isdigit():
        return (2 if separator == "." else 1, int(token), "")
    return (0, WORDS.index(token) if token in WORDS else len(WORDS), token if token not in WORDS else "")


def nuget(one: str, other: str) -> int | None:
    parts = [
        re.fullmatch(
            r"v?([0-9]+(?:\.[0-9]+){0,3})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", text
        )
        for text in (one, other)
    ]
    if not parts[0] or not parts[1]:
        return None
    numbers = [[*map(int, found[1].split(".")), 0, 0, 0][:4] for found in parts if found]
    words = [
        [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in found[2].lower().split(".")]
        if found[2]
        else [(2,)]
        for found in parts
        if found
    ]
    return first(sign(*numbers), sign(*words))


def conda(one: str, other: str) -> int | None:
    read = [_conda(text.lower()) for text in (one, other)]
    if read[0] is None or read[1] is None:
        return None
    for left, right in zip_longest(read[0], read[1], fillvalue=[["0"]]):
        for a, b in zip_longest(left, right, fillvalue=["0"]):
            for mine, theirs in zip_longest(a, b, fillvalue="0"):
                found = sign(_rank(mine), _rank(theirs))
                if found:
                    return found
    return 0


def _rank(token: str) -> tuple[int, float, str]:
    """`dev`, other words, numbers, `post`."""
    if token.isdigit():
        return (2, int(token), "")
    return {"dev": (0, 0, ""), "post": (3, 0, "")}.get(token, (1, 0, token))


def _conda(text: str) -> list[list[list[str]]] | None:
    text = text if "_" in text else text.replace("-", "_")
    found = re.fullmatch(r"(?:([0-9]{1,9})!)?([0-9][0-9a-z._]*)(?:\+([0-9a-z._]+))?", text)
    if not found:
        return None
    sides = []
    for side in (found[2], found[3] or ""):
        parts = re.sub(r"_(?!$)", ".", side).split(".") if side else []
        if "" in parts:
            return None
        sides.append(
            [re.findall("[0-9]+|[^0-9]+", part if part[0].isdigit() else f"0{part}") for part in parts]
        )
    return [[[found[1] or "0"]], *sides]
