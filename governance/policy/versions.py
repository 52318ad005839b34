"""Versions and ranges of versions: PEP 440 for PyPI, Semantic Versioning 2.0 for the ecosystems that follow it, and
orders of their own for the others (`orders`).

Ranges are PEP 440 specifiers (`>=1.0,<2`) or VERS (`vers:npm/>=1.0.0|<2.0.0`). Pre-releases are compared like every
other version, since an advisory does not spare them. Where nobody knows the ecosystem, an answer is given only if
PEP 440 and Semantic Versioning, as far as they can read the versions, give the same one.

What a policy writes says how closely is looked: a version without a local label (`2.1.0`) stands for `2.1.0+cu118` too (PEP
440, `Version matching`), and one without an rpm's release for each release of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias
from urllib.parse import unquote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from governance.policy.orders import (
    RpmKey,
    conda_key,
    deb_key,
    maven_key,
    nuget_key,
    rpm_key,
)

Key: TypeAlias = Any
"""A value that can be compared with keys of the same scheme."""

_SEMVER = re.compile(
    r"v?(\d{1,15})\.(\d{1,15})(?:\.(\d{1,15}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_NUMBERS = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15}){0,7}")
_ZEROS = re.compile(r"(?:\.0+)+\Z")
_CONSTRAINT = re.compile(r"(>=|<=|!=|<|>|=)?(.+)")
_MAX_VERSION = 128
_MAX_CONSTRAINTS = 64
_CACHE = 8192

_SCHEMES = {
    "pypi": "pep440", "npm": "semver", "cargo": "semver", "golang": "semver", "semver": "semver", "mlflow": "pep440",
    "nuget": "nuget", "maven": "maven", "deb": "deb", "rpm": "rpm", "conda": "conda",
}  # fmt: skip
_SPECIFIED = frozenset({"pypi", "conda", "mlflow"})
"""The ecosystems of which a PEP 440 specifier speaks."""
RANGE_SCHEMES = tuple(name for name in _SCHEMES if name != "mlflow")


class RangeError(ValueError):
    """Not a range of versions. The message says what was expected."""


@lru_cache(maxsize=_CACHE)
def version_key(scheme: str, text: str) -> Key | None:
    """A comparable key of `text` in a scheme, or None where it is not a version there."""
    return _KEYS[scheme](text) if len(text) <= _MAX_VERSION else None


def schemes_for(ecosystem: str | None) -> tuple[str, ...]:
    """The schemes that may apply: one where the ecosystem is known, both where it is not, none for a strange one."""
    if ecosystem is None:
        return ("pep440", "semver")
    scheme = _SCHEMES.get(ecosystem)
    return (scheme,) if scheme else ()


def compare_versions(ecosystem: str | None, left: str, right: str) -> int | None:
    """-1, 0 or 1, or None where it cannot be told."""
    answers: set[int] = set()
    for scheme in schemes_for(ecosystem):
        one, other = version_key(scheme, left), version_key(scheme, right)
        if one is None or other is None:
            continue
        answers.add(_order(one, other))
    return answers.pop() if len(answers) == 1 else None


def _order(one: Key, written: Key) -> int:
    """-1, 0 or 1: where a version lies of one that a policy writes, as closely as that is written."""
    if isinstance(written, Version) and written.local is None and one.local is not None:
        one = Version(one.public)
    elif isinstance(written, RpmKey) and not (written.has_release and one.has_release):
        one, written = one.version, written.version
    return int(one > written) - int(one < written)


@lru_cache(maxsize=_CACHE)
def version_spellings(ecosystem: str, version: str) -> tuple[str, ...]:
    """`version` in the one spelling that all versions equal to it have, then what else it counts as: PEP 440's `2.1.0+cu118`
    is also what `2.1` asks for, since a local label is that of a build.

    Versions of Conda, NuGet and Maven are brought to one spelling where they are numbers alone, those of deb and rpm never: what
    is not brought to one stands as it is, and two that are spelled alike are equal always.
    """
    scheme = _SCHEMES.get(ecosystem)
    if scheme in {"pep440", "semver"}:
        key = version_key(scheme, version)
        if key is not None:
            return _pep440_spellings(key) if scheme == "pep440" else (_semver_spelling(key),)
    elif scheme in {"conda", "nuget", "maven"} and _NUMBERS.fullmatch(version):
        return (".".join(str(int(part)) for part in _ZEROS.sub("", version).split(".")),)
    return (version,)


def _pep440_spellings(version: Version) -> tuple[str, ...]:
    # `canonicalize_version` drops zeros at the end of the release, which do not count in comparisons.
    whole, public = canonicalize_version(version), canonicalize_version(version.public)
    return (whole,) if whole == public else (whole, public)


def _semver_spelling(key: Key) -> str:
    major, minor, patch, is_final, ranked = key
    pre = ".".join(word or str(number) for _, number, word in ranked)
    return f"{major}.{minor}.{patch}" + ("" if is_final else f"-{pre}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRange:
    """A range. `ecosystems` are those it speaks of, None where it speaks of all, and `is_named` whether it says so; `holds`
    tells for a version, or None where it is not one there."""

    ecosystems: frozenset[str] | None
    holds: Callable[[str], bool | None]
    is_named: bool = True


@lru_cache(maxsize=1024)
def parse_range(text: str) -> VersionRange:
    """Read a PEP 440 specifier or a VERS. Raises `RangeError`."""
    if text.startswith("vers:"):
        return _vers(text)
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier as error:
        raise RangeError("a range such as `>=1.0,<2` or `vers:pypi/>=1.0|<2`") from error
    if not len(specifiers):
        raise RangeError("a range that is not empty")

    def holds(version: str) -> bool | None:
        key = version_key("pep440", version)
        return None if key is None else bool(specifiers.contains(key, prereleases=True))

    return VersionRange(ecosystems=_SPECIFIED, holds=holds, is_named=False)


def in_range(wanted: VersionRange, ecosystem: str | None, version: str) -> bool | None:
    """Whether `version` of `ecosystem` lies in the range. A VERS of another ecosystem holds nothing of this one; a
    specifier, which names none, cannot tell."""
    if ecosystem is not None and wanted.ecosystems is not None and ecosystem not in wanted.ecosystems:
        return False if wanted.is_named else None
    inside = wanted.holds(version)
    return None if inside and ecosystem is None else inside


def _pep440(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _semver(text: str) -> Key | None:
    found = _SEMVER.fullmatch(text)
    if not found:
        return None
    major, minor, patch, pre = found.groups()
    # Without a pre-release ranks above every pre-release; numbers rank below words (SemVer 2.0, section 11).
    return int(major), int(minor), int(patch or 0), not pre, _pre_release_key(pre) if pre else ()


def _pre_release_key(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split("."))


_KEYS: Mapping[str, Callable[[str], Key | None]] = {
    "pep440": _pep440, "semver": _semver, "nuget": nuget_key, "maven": maven_key, "deb": deb_key, "rpm": rpm_key,
    "conda": conda_key,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Constraint:
    sign: str
    key: Key


def _vers(text: str) -> VersionRange:
    scheme, separator, rest = text[5:].partition("/")
    if not separator or scheme not in RANGE_SCHEMES:
        known = ", ".join(RANGE_SCHEMES)
        raise RangeError(f"a VERS of a known scheme ({known}), as in `vers:pypi/>=1.0|<2`")
    spoken_of = None if scheme == "semver" else frozenset({scheme})
    parts = rest.replace(" ", "").split("|")
    if parts == ["*"]:
        return VersionRange(ecosystems=spoken_of, holds=lambda version: _known(scheme, version))
    if len(parts) > _MAX_CONSTRAINTS:
        raise RangeError(f"a VERS of at most {_MAX_CONSTRAINTS} constraints")
    constraints = sorted((_constraint(scheme, part) for part in parts), key=lambda one: one.key)
    if any(_order(other.key, one.key) == 0 for one, other in pairwise(constraints)):
        raise RangeError("a VERS in which each version stands once")
    _check_alternation(constraints)

    def holds(version: str) -> bool | None:
        key = version_key(_SCHEMES[scheme], version)
        return None if key is None else _contains(constraints, key)

    return VersionRange(ecosystems=spoken_of, holds=holds)


def _known(scheme: str, version: str) -> bool | None:
    return None if version_key(_SCHEMES[scheme], version) is None else True


def _constraint(scheme: str, text: str) -> _Constraint:
    found = _CONSTRAINT.fullmatch(text)
    key = version_key(_SCHEMES[scheme], unquote(found[2])) if found else None
    if not found or key is None:
        raise RangeError(f"versions of {scheme} in the VERS; `{text[:40]}` is none")
    return _Constraint(found[1] or "=", key)


def _check_alternation(constraints: list[_Constraint]) -> None:
    """Lower and upper bounds take turns (VERS, `Version constraints simplification`); else the range says two things."""
    bounds = [one.sign[0] for one in constraints if one.sign[0] in "<>"]
    if any(one == other for one, other in pairwise(bounds)):
        raise RangeError("a VERS whose lower and upper bounds take turns")


def _contains(constraints: list[_Constraint], key: Key) -> bool:
    """VERS, `Checking if a version is contained within a range`."""
    for one in constraints:
        if _order(key, one.key) == 0:
            return one.sign in {"=", "<=", ">="}
    bounds = [one for one in constraints if one.sign[0] in "<>"]
    if not bounds:
        # Only equalities and exclusions: `!=1|!=2` holds all else, `1|2` nothing else.
        return all(one.sign == "!=" for one in constraints)
    if bounds[0].sign[0] == "<" and _order(key, bounds[0].key) < 0:
        return True
    if bounds[-1].sign[0] == ">" and _order(key, bounds[-1].key) > 0:
        return True
    return any(
        low.sign[0] == ">" and high.sign[0] == "<" and _order(key, low.key) > 0 and _order(key, high.key) < 0
        for low, high in pairwise(bounds)
    )
