"""Xray's searches and exports: by CVE, by component, impacted files, licence names, and the export of one file's details.

Promises answers from the same scans and advisories as the summaries. Exports hold CycloneDX and the issues as JSON; SPDX
and PDF are not offered.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from aiohttp import web

from governance.devserver import access, findings
from governance.devserver.advisories import Package
from governance.devserver.items import Item, iso
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.scanner import Findings
from governance.devserver.xray import parse_component, stored_file

Json = dict[str, Any]


def add_routes(router: Router) -> None:
    """Searches and exports."""
    router.add("GET", "/xray/api/v1/licensesNames", licence_names)
    router.add("POST", "/xray/api/v1/component/searchByCves", search_by_cves)
    router.add("POST", "/xray/api/v1/component/searchCvesByComponents", search_by_components)
    router.add("GET", "/xray/api/v1/component/{name}", component)
    router.add("GET", "/xray/api/v2/search/impactedResources", impacted)
    router.add("POST", "/xray/api/v2/component/exportDetails", export)


async def licence_names(call: Call) -> web.Response:
    """Licences that are known. May be told to be empty, because `jfrog-xray` compares the rows with a wrong class."""
    call.signed_in()
    known = call.platform.scans.advisories.licences.values()
    names = sorted({name for names in known for name in names})
    if not call.platform.config.licences_listed:
        names = []
    rows = [
        {
            "name": name,
            "full_name": name,
            "references": [f"https://spdx.org/licenses/{name}.html"],
            "category": "Copyleft" if name.startswith(("GPL", "MPL")) else "Permissive",
            "priority": -1,
            "default_priority": 200,
            "isCustom": False,
        }
        for name in names
    ]
    return web.json_response(rows)


async def search_by_cves(call: Call) -> web.Response:
    """Packages that a CVE is about, at the versions that are stored here. The key is written in both known ways."""
    call.signed_in()
    cves = (await call.json_object()).get("cves") or []
    stored = {package async for _, found in _scanned(call) for package in found.packages}
    rows = []
    for cve in map(str, cves):
        about = {row.package for row in call.platform.scans.advisories.by_cve(cve)}
        hit = sorted(
            (p for p in stored if p.name in about and _is_affected(call, p, cve)),
            key=lambda p: p.component_id,
        )
        components = [
            {"name": p.name, "package_type": "Pypi", "version": p.version, "link": call.base()} for p in hit
        ]
        rows.append({"cve": cve, "cve_details": cve, "components": components})
    return web.json_response(rows)


def _is_affected(call: Call, package: Package, cve: str) -> bool:
    return any(row.cve == cve.upper() for row in call.platform.scans.advisories.about(package))


async def search_by_components(call: Call) -> web.Response:
    """CVEs of packages by component id."""
    call.signed_in()
    rows: list[Json] = []
    for component_id in (await call.json_object()).get("components_id") or []:
        package = parse_component(str(component_id))
        if package is None:
            rows.append({"component_id": component_id, "error": "Failed to get component"})
            continue
        cves = [row.cve for row in call.platform.scans.advisories.about(package)]
        rows.append({"component_id": component_id, "cves": cves})
    return web.json_response(rows)


async def component(call: Call) -> web.Response:
    """A package by its id."""
    call.signed_in()
    package = parse_component(call.params["name"])
    if package is None:
        raise Problem(404, "Failed to get component")
    return web.json_response({"name": package.name, "package_type": "Pypi", "versions": [package.version]})


async def _scanned(call: Call) -> Any:
    """Files with a finished scan that the caller may read."""
    platform = call.platform
    for config in platform.store.repositories.all():
        for item in platform.store.everything(config["key"]):
            if item.folder or not access.has(call, "r", item.repo, item.path):
                continue
            found = (await platform.scans.look(item)).findings
            if found is not None:
                yield item, found


async def impacted(call: Call) -> web.Response:
    """Files with a vulnerability, or with a package."""
    call.signed_in()
    vulnerability, name = call.query("vulnerability"), call.query("name")
    if not vulnerability and not name:
        raise Problem(400, "Provide a vulnerability or a name")
    rows: list[Json] = []
    async for item, found in _scanned(call):
        packages = _impacted_packages(found, vulnerability, name, call.query("version"))
        rows += [_impacted_row(item, package, iso(item.modified)) for package in packages]
    return web.json_response({"result": rows, "last_key": ""})


def _impacted_packages(found: Findings, vulnerability: str, name: str, version: str) -> list[Package]:
    if vulnerability:
        return [package for package, row in found.advisories if vulnerability in (row.cve, row.issue_id)]
    return [p for p in found.packages if p.name == name.lower() and version in ("", p.version)]


def _impacted_row(item: Item, package: Package, scanned: str) -> Json:
    described = {"type": "pypi", "name": package.name, "version": package.version, "ecosystem": "generic"}
    return {
        "type": "Artifact",
        "name": item.name,
        "path": f"{item.repo}/{item.path}",
        "repo": item.repo,
        "scan_date": scanned,
        "impacted_pkg_version": described,
    }


# -- export


async def export(call: Call) -> web.Response:
    """A ZIP, also for one document: issues of a stored file or of a package, with a CycloneDX list if wanted."""
    call.signed_in()
    body = await call.json_object()
    item = stored_file(call, str(body.get("path") or ""))
    name = str(body.get("component_name") or "")
    if item is not None:
        access.require(call, "r", item.repo, item.path)
        scan = await call.platform.scans.look(item)
        packages = scan.findings.packages if scan.findings else ()
        issues = findings.issues_of(item, scan.findings, scan.at) if scan.findings else []
        name = item.name
    else:
        package = parse_component(f"pypi://{name.removeprefix('pypi://')}")
        if package is None:
            raise Problem(404, f"Component {name} was not found")
        packages, issues = (package,), findings.issues_of_package(package, call.platform.scans.advisories)
    return web.Response(body=_zip(body, name, packages, issues), content_type="application/zip")


def _zip(body: Json, name: str, packages: tuple[Package, ...], issues: list[Json]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("issues.json", json.dumps({"component": name, "issues": issues}, indent=1))
        if body.get("cyclonedx"):
            archive.writestr("cyclonedx.json", json.dumps(_cyclonedx(name, packages), indent=1))
    return held.getvalue()


def _cyclonedx(name: str, packages: tuple[Package, ...]) -> Json:
    components = [
        {"type": "library", "name": p.name, "version": p.version, "purl": f"pkg:pypi/{p.name}@{p.version}"}
        for p in packages
    ]
    root = {"component": {"type": "file", "name": name}}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": root,
        "components": components,
    }
