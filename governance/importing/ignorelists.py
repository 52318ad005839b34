"""Ignore lists of osv-scanner and pip-audit, and which objections of a recorded refusal they speak of.

Such a list silences an advisory everywhere and for ever; a waiver is for one rule and one artifact, approved and
dated. So a list gives no waiver by itself: it gives the reason, and an end, for asking for one of a refusal on record
all of whose advisories it names. Promises: an entry that has ended counts for nothing; an objection is spoken for only
where each advisory that made it is. Does not: write, sign or approve anything.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from governance.errors import ConfigurationError
from governance.policy.condition import Record

MAX_LIST = 1 << 20

_ID = re.compile(
    r"\b(?:CVE-\d{4}-\d{4,}|(?:PYSEC|OSV|GO|RUSTSEC)-\d{4}-\d+|GHSA(?:-[0-9a-z]{4}){3}|XRAY-\d+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """One entry: an advisory by id, or a package (at a version, or any). `until` is its end, where it has one."""

    advisory: str | None = None
    package: str | None = None
    version: str | None = None
    until: datetime | None = None
    reason: str | None = None

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return self.advisory or f"{self.package} {self.version or '(any version)'}"

    def covers(self, item: Record) -> bool:
        """Whether it speaks of an advisory on record."""
        if self.advisory is not None:
            ids = {str(item.get(name) or "").upper() for name in ("id", "cve")}
            return self.advisory.upper() in ids
        same = _pypi(str(item.get("component") or "")) == _pypi(self.package or "")
        return same and self.version in (None, "", str(item.get("component_version") or ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a list says of one objection: the entries that cover its advisories, and the advisories that none covers."""

    entries: tuple[Ignored, ...]
    missing: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every advisory is spoken for."""
        return bool(self.entries) and not self.missing

    @property
    def until(self) -> datetime | None:
        """The first end of any of them."""
        return min((each.until for each in self.entries if each.until is not None), default=None)

    def reason(self, source: str) -> str:
        """The reasons of the list, as those of a waiver."""
        parts = (f"{each.label}: {each.reason or 'no reason was given'}" for each in self.entries)
        return f"imported from {source}. {'; '.join(parts)}"[:1_900]


def read_osv(data: bytes) -> tuple[Ignored, ...]:
    """The entries of an `osv-scanner.toml`. Raises `ConfigurationError`."""
    _check_size(data)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"the ignore list is not TOML: {error}") from error
    return (
        *_advisories(_tables(document, "IgnoredVulns")),
        *_packages(_tables(document, "PackageOverrides")),
    )


def read_pip_audit(data: bytes) -> tuple[Ignored, ...]:
    """The ids of a pip-audit command line, workflow or list, with what stands after `#` as their reason."""
    _check_size(data)
    found: dict[str, Ignored] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        ids, _, comment = line.partition("#")
        for match in _ID.finditer(ids):
            name = match[0].upper()
            found.setdefault(name, Ignored(advisory=name, reason=comment.strip()[:500] or None))
    if not found:
        raise ConfigurationError(
            "the ignore list names no advisory (such as `PYSEC-2024-1` or `CVE-2024-1234`)"
        )
    return tuple(found.values())


READERS: Mapping[str, Any] = {"osv-scanner": read_osv, "pip-audit": read_pip_audit}


def speak(items: Sequence[Record], entries: Iterable[Ignored], *, now: datetime) -> Spoken:
    """What the entries in force say of the advisories that made a rule match."""
    live = [each for each in entries if each.until is None or each.until > now]
    used: dict[str, Ignored] = {}
    missing = []
    for item in items:
        entry = next((each for each in live if each.covers(item)), None)
        if entry is None:
            missing.append(str(item.get("cve") or item.get("id") or item.get("component") or "?"))
        else:
            used[entry.label] = entry
    return Spoken(entries=tuple(used.values()), missing=tuple(dict.fromkeys(missing)))


def _advisories(rows: Iterable[Mapping[str, Any]]) -> Iterable[Ignored]:
    for row in rows:
        name = row.get("id")
        if not isinstance(name, str) or not name:
            raise ConfigurationError("the ignore list has an entry of `IgnoredVulns` without an `id`")
        yield Ignored(advisory=name, until=_end(row.get("ignoreUntil")), reason=_text(row.get("reason")))


def _packages(rows: Iterable[Mapping[str, Any]]) -> Iterable[Ignored]:
    """Overrides that silence advisories; those about licences alone are about another question."""
    for row in rows:
        about = row.get("vulnerability")
        silenced = row.get("ignore") is True or (isinstance(about, Mapping) and about.get("ignore") is True)
        name = row.get("name")
        # A whole ecosystem without a name would stand for everything.
        if silenced and isinstance(name, str) and name:
            yield Ignored(
                package=name,
                version=_text(row.get("version")),
                until=_end(row.get("effectiveUntil")),
                reason=_text(row.get("reason")),
            )


def _tables(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = document.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigurationError(f"the ignore list's `{name}` is not a list of tables")
    return rows


def _end(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def _text(value: object) -> str | None:
    return " ".join(value.split())[:500] if isinstance(value, str) and value.strip() else None


def _pypi(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_size(data: bytes) -> None:
    if len(data) > MAX_LIST:
        raise ConfigurationError(f"the ignore list has more than {MAX_LIST} bytes")
