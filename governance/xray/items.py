"""What Xray says, as values. Severities are in the house's words; what Xray leaves open stays None or Unknown."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from governance.model.digest import Sha256
from governance.model.verdict import Severity


class ScanState(enum.StrEnum):
    """How far the scan of a file is. `ABSENT` is ours: Xray has never heard of the file."""

    NOT_SUPPORTED = "NOT_SUPPORTED"
    NOT_SCANNED = "NOT_SCANNED"
    PENDING = "PENDING"
    SCANNING = "SCANNING"
    DONE = "DONE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    ABSENT = "ABSENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatus:
    """State of one file's scan. `at` is when it ended, where it did; `engines` are those that took part."""

    state: ScanState
    at: datetime | None = None
    engines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cve:
    """A CVE with its CVSS v3 base score, where there is one."""

    id: str | None
    cvss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A component that an issue is about. `ecosystem` is the scheme of its id, such as `pypi`; `fixed_in` is None where Xray does not
    say."""

    ecosystem: str
    name: str
    version: str | None
    fixed_in: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One issue of a summary. `applicable` is None where no contextual analysis has spoken. `is_malicious` says that
    it reports malice rather than a mistake."""

    id: str
    severity: Severity
    summary: str
    is_security: bool
    is_malicious: bool
    cves: tuple[Cve, ...] = ()
    components: tuple[Affected, ...] = ()
    created: datetime | None = None
    applicable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentLicence:
    """A licence's name as Xray writes it, and the components that carry it."""

    name: str
    components: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What Xray knows of one file or component. `path` is `repository/path` for a file. `operational_risk` is None
    where Xray says nothing about it."""

    path: str | None
    component_id: str
    sha256: Sha256 | None
    issues: tuple[Issue, ...] = ()
    licences: tuple[ComponentLicence, ...] = ()
    operational_risk: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A violation of Xray's own policies."""

    id: str | None
    watch: str
    type: str
    severity: Severity
    issue_id: str | None
