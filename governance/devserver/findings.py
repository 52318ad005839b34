"""What a scan found, in the forms of Xray's answers.

Promises that malicious content shows as a critical issue without a CVE whose summary says "malicious", as Xray has no
field of its own for it. Does not scan.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from governance.devserver.advisories import Advisories, Advisory, Package
from governance.devserver.items import Item
from governance.devserver.scanner import Findings, Malice
from governance.devserver.scans import Scan

PROVIDER = "mlgov devserver"
Json = dict[str, Any]


def artifact_path(item: Item) -> str:
    """As Xray names a stored file."""
    return f"default/{item.repo}/{item.path}"


def component_id(item: Item) -> str:
    """The id of a file as a component of its own."""
    return f"generic://sha256:{item.content.sha256}/{item.name}"


def issues_of(item: Item, findings: Findings, at: datetime) -> list[Json]:
    """All issues of a stored file, in the form of the v2 summary."""
    where = artifact_path(item)
    found = [_malicious(malice, where, component_id(item), at) for malice in findings.malice]
    return found + [_vulnerable(package, row, where) for package, row in findings.advisories]


def issues_of_package(package: Package, advisories: Advisories) -> list[Json]:
    """All issues of a package that need not be stored anywhere."""
    return [_vulnerable(package, row, package.component_id) for row in advisories.about(package)]


def _malicious(malice: Malice, where: str, component: str, at: datetime) -> Json:
    imports = ", ".join(malice.imports[:8])
    text = (
        f"`{malice.file}` is a serialized Python object that runs code when it is loaded: it imports {imports}."
        " Do not load it."
    )
    return {
        "issue_id": "DEV-MALICIOUS-PICKLE",
        "summary": f"Malicious code in {malice.file}: unpickling it calls {imports}",
        "description": text,
        "issue_type": "security",
        "severity": "Critical",
        "provider": PROVIDER,
        "cves": [],
        "created": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "impact_path": [where],
        "components": [
            {"component_id": component, "version": "", "pkg_type": "Generic", "fixed_versions": []}
        ],
        "component_physical_paths": [where],
        "references": ["https://github.com/mmaitre314/picklescan"],
        "extended_information": {"short_description": "malicious pickle", "full_description": text},
        "applicability": [],
        "applicability_details": [],
    }


def _vulnerable(package: Package, row: Advisory, where: str) -> Json:
    name = package.name
    fixed = [f"[{version}]" for version in row.fixed]
    remedy = f"Upgrade {name} to {' or '.join(row.fixed)}." if row.fixed else "No fixed version is known."
    return {
        "issue_id": row.issue_id,
        "summary": row.summary,
        "description": f"{row.summary}. {remedy}",
        "issue_type": "security",
        "severity": row.severity,
        "provider": PROVIDER,
        "cves": [{"cve": row.cve, "cwe": list(row.cwe), "cvss_v3": f"{row.cvss}/{row.vector}"}],
        "created": f"{row.published}T00:00:00Z",
        "impact_path": [where if where.endswith(package.component_id) else f"{where}/{name}"],
        "components": [
            {"component_id": name, "version": package.version, "pkg_type": "Pypi", "fixed_versions": fixed}
        ],
        "component_physical_paths": [where],
        "references": [
            row.url,
            f"https://nvd.nist.gov/vuln/detail/{row.cve}",
        ],
        "extended_information": {"short_description": row.summary, "remediation": remedy},
        "applicability": [],
        "applicability_details": [],
    }


def judged(issue: Json) -> Json:
    """The few things of an issue that policies look at."""
    component = issue["components"][0]
    scores = [float(cve["cvss_v3"].split("/")[0]) for cve in issue["cves"] if cve.get("cvss_v3")]
    malicious = not issue["cves"] and "malicious" in issue["summary"].lower()
    return {
        "issue_id": issue["issue_id"],
        "summary": issue["summary"],
        "description": issue["description"],
        "severity": issue["severity"],
        "cve_ids": [cve["cve"] for cve in issue["cves"]],
        "score": max(scores, default=None),
        "malicious": malicious,
        "package": component["component_id"],
        "version": component["version"],
        "component": f"pypi://{component['component_id']}:{component['version']}"
        if issue["cves"]
        else component["component_id"],
        "fixed": component["fixed_versions"],
    }


def judged_issues(item: Item, scan: Scan) -> list[Json]:
    """Issues of a file as policies look at them; none while its scan has no result."""
    if scan.findings is None:
        return []
    return [judged(issue) for issue in issues_of(item, scan.findings, scan.at)]


def licences_of(packages: tuple[Package, ...], advisories: Advisories) -> list[Json]:
    """Licences of packages, as far as they are known."""
    found: dict[str, list[str]] = {}
    for package in packages:
        for licence in advisories.licences.get(package.name, ()):
            found.setdefault(licence, []).append(package.component_id)
    return [
        {
            "name": name,
            "full_name": name,
            "more_info_url": [f"https://spdx.org/licenses/{name}.html"],
            "components": ids,
        }
        for name, ids in sorted(found.items())
    ]
