"""The shipped advisories about PyPI packages, and matching a version against them.

Promises names and versions in normal form (PEP 503, PEP 440) on both sides. Does not fetch anything: the file is a small
excerpt for trials and knows only the packages that it names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_FILE = Path(__file__).with_name("advisories.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package at one version. Make it with `of`."""

    name: str
    version: str

    @classmethod
    def of(cls, name: str, version: str) -> Package:
        """Normalise the name; the version stays as written."""
        return cls(name=canonicalize_name(name), version=version)

    @property
    def component_id(self) -> str:
        """As Xray names it."""
        return f"pypi://{self.name}:{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One published vulnerability of one package. `affected` are version specifiers, any of which may match."""

    cve: str
    package: str
    affected: tuple[SpecifierSet, ...]
    fixed: tuple[str, ...]
    severity: str
    cvss: float
    vector: str
    cwe: tuple[str, ...]
    published: str
    summary: str
    source: str

    @property
    def url(self) -> str:
        """Where it was published."""
        if self.source.startswith("PYSEC"):
            return f"https://osv.dev/vulnerability/{self.source}"
        return f"https://github.com/advisories/{self.source}"

    @property
    def issue_id(self) -> str:
        """Our own id: ids that begin with XRAY belong to JFrog."""
        return f"DEV-{self.cve}"


class Advisories:
    """The advisories by package."""

    def __init__(self, rows: list[dict[str, Any]], licences: dict[str, list[str]]) -> None:
        self.licences = licences
        self._by_package: dict[str, list[Advisory]] = {}
        for row in rows:
            advisory = Advisory(
                **{
                    **row,
                    "package": canonicalize_name(row["package"]),
                    "affected": tuple(SpecifierSet(each) for each in row["affected"]),
                    "fixed": tuple(row["fixed"]),
                    "cwe": tuple(row["cwe"]),
                }
            )
            self._by_package.setdefault(advisory.package, []).append(advisory)

    def about(self, package: Package) -> list[Advisory]:
        """Advisories that affect that version. None for a version that is not one."""
        try:
            version = Version(package.version)
        except InvalidVersion:
            return []
        return [
            row
            for row in self._by_package.get(package.name, ())
            if any(each.contains(version, prereleases=True) for each in row.affected)
        ]

    def by_cve(self, cve: str) -> list[Advisory]:
        """Advisories with that CVE id."""
        return [row for rows in self._by_package.values() for row in rows if row.cve == cve.upper()]


@lru_cache(maxsize=1)
def shipped() -> Advisories:
    """The advisories of the file beside this module."""
    document = json.loads(_FILE.read_text("utf-8"))
    return Advisories(document["advisories"], document["licences"])
