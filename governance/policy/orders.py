"""How the ecosystems that follow neither PEP 440 nor Semantic Versioning order their versions: deb, rpm, maven, nuget, conda.

Promises: for each a key of a text that can be compared with keys of the same ecosystem, or None where the text is no version
there; total. What begins with no digit is none, though some of them would order it: `unknown` must stay unknown. Does not:
know ranges; see `versions`.

The orders are those of `univers`, the library of the makers of package URLs, but for conda's, which it does not have: that one is written
from conda's `VersionOrder` (conda.io, `Version ordering`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cmp_to_key
from itertools import zip_longest
from typing import Any, NamedTuple


class RpmKey(NamedTuple):
    """Epoch and version, then the release; that is empty where none is written, and then stands for every release."""

    version: Any
    release: Any

    @property
    def has_release(self) -> bool:
        """Whether a release is written."""
        return bool(self.release.version)


_DEB = re.compile(r"(?:\d{1,9}:)?[0-9][0-9A-Za-z.+~:-]*", re.ASCII)
_RPM = re.compile(
    r"(?:(?P<epoch>\d{1,9}):)?(?P<version>[0-9][0-9A-Za-z._+~^]*)(?:-(?P<release>[0-9A-Za-z._+~^]+))?",
    re.ASCII,
)
_NUGET = re.compile(
    r"v?\d{1,15}(?:\.\d{1,15}){0,3}(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_CONDA = re.compile(
    r"(?:(?P<epoch>\d{1,9})!)?(?P<version>[0-9][0-9a-z._]*)(?:\+(?P<local>[0-9a-z._]+))?", re.ASCII
)
_MAVEN = re.compile(r"[0-9][0-9A-Za-z.+-]*")
_MAVEN_RELEASE = re.compile(r"(?<![a-z])release(?![a-z])", re.IGNORECASE)


def deb_key(text: str) -> Any | None:
    """deb-version(7): `~` sorts before the end of a part, letters before other signs; no revision is revision 0."""
    from univers.debian import Version

    return _read(Version.from_string, text) if _DEB.fullmatch(text) else None


def rpm_key(text: str) -> RpmKey | None:
    """rpm-version(7): numbers sort after words, `~` before everything, `^` just after what it stands behind."""
    from univers.rpm import RpmVersion

    found = _RPM.fullmatch(text)
    if found is None:
        return None
    version = RpmVersion(int(found["epoch"] or 0), found["version"], "")
    return RpmKey(version, RpmVersion(0, found["release"] or "", ""))


def nuget_key(text: str) -> Any | None:
    """Up to four numbers; words of a pre-release without case."""
    from univers.nuget import Version

    return _read(Version.from_string, text.removeprefix("v")) if _NUGET.fullmatch(text) else None


def maven_key(text: str) -> Any | None:
    """Maven's `ComparableVersion`: `1.0-alpha-1` < `1.0-SNAPSHOT` < `1.0` = `1` = `1.0.Final` < `1.0-sp` < `1.0-1` < `1.0.1`.

    `RELEASE` is taken for `Final`, as Maven 4 began to: advisories write `5.3.17` of what is published as `5.3.17.RELEASE`. Of a
    version with `_` Maven's own parts disagree (MRESOLVER-334), so it is none.
    """
    from univers.maven import Version

    return Version(_MAVEN_RELEASE.sub("final", text)) if _MAVEN.fullmatch(text) else None


def _read(read: Callable[[str], Any], text: str) -> Any | None:
    try:
        return read(text)
    except ValueError:
        return None


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
                    return int(token > against) - int(token < against)
    return 0


_CONDA_ORDER = cmp_to_key(_conda_compare)
