"""From Xray's words to the house's. Pure.

Promises: a word that is not known becomes `UNKNOWN` or None, never something harmless. Does not: say whether a thing
without a summary was looked at; that is `ScanStatus`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from packaging.utils import canonicalize_name

from governance.model.digest import Sha256, parse_sha256
from governance.model.verdict import Severity
from governance.xray import wire
from governance.xray.items import (
    Affected,
    ComponentLicence,
    Cve,
    Issue,
    ScanState,
    ScanStatus,
    Summary,
)
from governance.xray.rules import XrayIgnoreRule, XrayPolicy, XrayResource, XrayRule, XrayWatch

_SEVERITIES: Final = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "information": Severity.NONE,
    "none": Severity.NONE,
}
_MALICE: Final = re.compile(r"\bmalicious\b", re.IGNORECASE)
_OTHER_TYPES: Final = frozenset({"license", "licence", "operational_risk", "operational risk"})
_MALICE_TYPES: Final = frozenset({"malicious", "malicious_package", "malicious_code", "malware"})
_COMPONENT: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<name>.+?)(?::(?P<version>[^:/]*))?", re.IGNORECASE
)
_SERVER = "default/"


def severity(word: str) -> Severity:
    """The severity for Xray's word. `Normal`, `Pending` and words to come are unknown."""
    return _SEVERITIES.get(word.strip().lower(), Severity.UNKNOWN)


def status(row: wire.StatusAnswer) -> ScanStatus:
    """The state of a scan. A state that is not known counts as failed."""
    try:
        state = ScanState(row.overall.status.upper())
    except ValueError:
        state = ScanState.FAILED
    done = [
        name
        for name, part in (row.details or {}).items()
        if isinstance(part, dict) and str(part.get("status", "")).upper() == ScanState.DONE
    ]
    return ScanStatus(state=state, at=row.overall.time, engines=tuple(sorted(done)))


def summary(row: wire.ArtifactRow) -> Summary:
    """One summary."""
    general = row.general
    risks = None
    if row.operational_risks is not None:
        risks = max((severity(risk.risk) for risk in row.operational_risks), default=Severity.NONE)
    return Summary(
        path=general.path.removeprefix(_SERVER) or None,
        component_id=general.component_id,
        sha256=_sha256(general.sha256),
        issues=tuple(issue(found, general.component_id) for found in row.issues),
        licences=tuple(
            ComponentLicence(name=found.name, components=found.components) for found in row.licenses
        ),
        operational_risk=risks,
    )


def issue(row: wire.IssueRow, subject: str) -> Issue:
    """One issue of the component or file `subject`."""
    components = tuple(_affected(found) for found in row.components if found.component_id)
    if not components and (own := parse_component(subject)) is not None:
        components = (own,)
    return Issue(
        id=row.issue_id or "unnamed",
        severity=severity(row.severity),
        summary=row.summary,
        is_security=row.issue_type.lower() not in _OTHER_TYPES,
        is_malicious=_is_malicious(row),
        cves=tuple(Cve(id=found.cve or None, cvss=cvss(found)) for found in row.cves),
        components=components,
        created=row.created,
        applicable=_applicable(row),
    )


def cvss(row: wire.CveRow) -> float | None:
    """The CVSS v3 base score: the number before the vector in a summary, a field of its own elsewhere."""
    for text in (row.cvss_v3_score, row.cvss_v3.partition("/")[0]):
        try:
            score = float(text)
        except ValueError:
            continue
        if math.isfinite(score) and 0 <= score <= 10:
            return round(score, 1)
    return None


def parse_component(text: str) -> Affected | None:
    """Read `pypi://requests:2.31.0` and the like. None for another form."""
    match = _COMPONENT.fullmatch(text)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    return Affected(
        ecosystem=scheme, name=normal_name(match["name"], scheme), version=match["version"] or None
    )


def normal_name(name: str, ecosystem: str) -> str:
    """The name in the normal form of its ecosystem, so that no spelling slips past a list (PEP 503 for PyPI)."""
    if ecosystem.lower() in {"pypi", "python"}:
        return str(canonicalize_name(name))
    if ecosystem.lower() == "generic":
        return name.rpartition("/")[2]  # `generic://sha256:<hex>/model.pkl` is the file `model.pkl`
    return name.lower() if ecosystem.lower().startswith("huggingface") else name


def _affected(row: wire.ComponentRow) -> Affected:
    parsed = parse_component(row.component_id)
    ecosystem = (row.pkg_type or (parsed.ecosystem if parsed else "")).lower()
    name = parsed.name if parsed else normal_name(row.component_id, ecosystem)
    return Affected(
        ecosystem=ecosystem,
        name=name,
        version=row.version or (parsed.version if parsed else None),
        fixed_in=tuple(_plain_version(text) for text in row.fixed_versions if text),
    )


def _plain_version(text: str) -> str:
    """`[2.2.18]` is the version 2.2.18; a real range stays as it is."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return inner if "," not in inner else text


def _is_malicious(row: wire.IssueRow) -> bool:
    """Xray has no field for malice. Its malicious packages are critical issues without a CVE that say so in words."""
    if row.issue_type.lower() in _MALICE_TYPES:
        return True
    has_cve = any(found.cve for found in row.cves)
    return (
        not has_cve
        and severity(row.severity) is Severity.CRITICAL
        and _MALICE.search(f"{row.summary} {row.description}") is not None
    )


def _applicable(row: wire.IssueRow) -> bool | None:
    results = {found.result.lower() for found in row.applicability_details}
    if "applicable" in results:
        return True
    return False if results == {"not_applicable"} else None


def _sha256(text: str) -> Sha256 | None:
    try:
        return parse_sha256(text)
    except ValueError:
        return None


def policy(row: wire.PolicyRow) -> XrayPolicy:
    """A policy of Xray's own."""
    rules = (
        XrayRule(name=each.name, priority=each.priority, criteria=each.criteria, actions=each.actions)
        for each in row.rules
    )
    return XrayPolicy(name=row.name, type=row.type.lower(), description=row.description, rules=tuple(rules))


def watch(row: wire.WatchRow) -> XrayWatch:
    """A watch."""
    resources = (
        XrayResource(type=each.type, name=each.name, filters=each.filters)
        for each in row.project_resources.resources
    )
    return XrayWatch(
        name=row.general_data.name,
        active=row.general_data.active,
        resources=tuple(resources),
        policies=tuple(each.name for each in row.assigned_policies),
    )


def ignore_rule(row: Mapping[str, Any]) -> XrayIgnoreRule:
    """An ignore rule, with all that was said of it."""
    expires = row.get("expires_at")
    return XrayIgnoreRule(
        id=str(row.get("id") or ""),
        author=str(row.get("author") or ""),
        notes=str(row.get("notes") or ""),
        expires=str(expires) if expires else None,
        document=orjson.dumps(dict(row), option=orjson.OPT_SORT_KEYS),
    )
