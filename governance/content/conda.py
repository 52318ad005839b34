"""A row of a conda environment: which package, and whether exactly one version is meant (conda's `MatchSpec`).

Promises: a version counts as exact only where conda takes it so: `a==1.2`, `a 1.2`, `a=1.2=build`. `a=1.2` is any that begins with
1.2. Does not: read brackets (`a[version=1.2]`), which count as no version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

COMMON_CHANNELS: Final = frozenset({"conda-forge", "defaults", "nodefaults", "pkgs/main", "pkgs/r"})
"""Where conda packages come from unless somebody has said otherwise, as PyPI is for pip's."""

_ROW: Final = re.compile(
    r"(?:(?P<channel>[\w./:-]+)::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?P<asked>(?:[\s=<>!~\[*,|].*)?)"
)
_PLATFORM: Final = re.compile(r"noarch|(?:linux|osx|win)-\w+")
_VERSION: Final = r"(?P<version>\w[\w.!+]*)"
_EXACT: Final = (
    re.compile(rf"\s*==\s*{_VERSION}(?:\s*=\s*[^\s=]+)?"),
    re.compile(rf"\s*=\s*{_VERSION}\s*=\s*[^\s=]+"),
    re.compile(rf"\s+{_VERSION}(?:[\s=]+[^\s=]+)?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a row asks for. `asked` is what it says about the version, `channel` where it wants it from, if it says so."""

    name: str
    version: str | None
    asked: str
    channel: str | None


def read_spec(row: str) -> Spec | None:
    """A row that names a package; None for an address, a file, an option, or nothing that is known."""
    match = _ROW.fullmatch(row.strip())
    if match is None:
        return None
    asked = match["asked"].strip()
    exact = next((found for form in _EXACT if (found := form.fullmatch(match["asked"]))), None)
    version = exact["version"] if exact else None
    return Spec(name=match["name"].lower(), version=version, asked=asked, channel=match["channel"])


def is_common(channel: str) -> bool:
    """Whether a channel is one of the usual ones, for one platform or all."""
    base, _, platform = channel.rpartition("/")
    return channel in COMMON_CHANNELS or (
        base in COMMON_CHANNELS and _PLATFORM.fullmatch(platform) is not None
    )
