"""Xray's answers about stored files and components: summaries, scan status, re-indexing.

Promises that a file which is not scanned has no entry in a summary, which means "not indexed" and not "clean". Policies
and violations are in `xray_policies`, graph scans in `xray_graph`.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from governance.devserver import access, findings
from governance.devserver.advisories import Package
from governance.devserver.items import Item, iso
from governance.devserver.paths import clean_path
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.scans import Status

MAX_PATHS = 1000
_NOT_INDEXED = "Artifact doesn't exist or not indexed/cached in Xray"
_ENTITLED = frozenset({"xray", "curation"})

Json = dict[str, Any]


def add_routes(router: Router) -> None:
    """Summaries and scans."""
    router.add("GET", "/xray/api/v1/system/ping", ping)
    router.add("GET", "/xray/api/v1/system/version", version)
    router.add("GET", "/xray/api/v1/entitlements/feature/{feature}", entitlement)
    router.add("POST", "/xray/api/v1/summary/artifact", summary_v1)
    router.add("POST", "/xray/api/v2/summary/artifact", summary_v2)
    router.add("POST", "/xray/api/v1/summary/component", component_summary)
    router.add("POST", "/xray/api/v1/artifact/status", artifact_status)
    router.add("POST", "/xray/api/v1/scan/status/artifact", scan_status)
    router.add("POST", "/xray/api/v1/scanArtifact", scan_artifact)
    router.add("POST", "/xray/api/v2/index", index)
    router.add("POST", "/xray/api/v1/forceReindex", force_reindex)


async def ping(_: Call) -> web.Response:
    """Whether Xray is up."""
    return web.json_response({"status": "pong"})


async def version(call: Call) -> web.Response:
    """What Xray calls itself."""
    return web.json_response(
        {"xray_version": call.platform.config.xray_version, "xray_revision": "devserver"}
    )


async def entitlement(call: Call) -> web.Response:
    """Whether a licence covers a feature; nothing beyond plain scans is offered."""
    feature = call.params["feature"]
    return web.json_response({"feature_id": feature, "entitled": feature in _ENTITLED})


# -- summaries


async def summary_v1(call: Call) -> web.Response:
    """Summary of stored files, in which issues do not name their components."""
    answer = await _summary(call)
    for artifact in answer["artifacts"]:
        for issue in artifact["issues"]:
            issue.pop("components")
    return web.json_response(answer)


async def summary_v2(call: Call) -> web.Response:
    """Summary of stored files."""
    return web.json_response(await _summary(call))


async def _summary(call: Call) -> Json:
    caller = call.signed_in()
    try:
        body = await call.json_object()
    except Problem as problem:
        raise Problem(415, "Failed to parse json.") from problem
    artifacts, errors = [], []
    for asked, items in _asked(call, body):
        found = [item for item in items if "r" in call.platform.security.rights(caller, item.repo, item.path)]
        entries = [entry for item in found if (entry := await _entry(call, item))]
        artifacts.extend(entries)
        if not entries:
            errors.append({"identifier": asked, "error": _NOT_INDEXED})
    return {"artifacts": artifacts, "errors": errors} if errors else {"artifacts": artifacts}


def _asked(call: Call, body: Json) -> list[tuple[str, list[Item]]]:
    """What a summary asks for, with the files it means. Paths go before checksums."""
    store = call.platform.store
    paths, checksums = body.get("paths") or [], body.get("checksums") or []
    if not paths and not checksums:
        raise Problem(400, "No paths or checksums were given.")
    if len(paths) > MAX_PATHS or len(checksums) > MAX_PATHS:
        raise Problem(400, f"More than {MAX_PATHS} artifacts were asked for.")
    if paths:
        return [(path, [item] if (item := stored_file(call, path)) else []) for path in map(str, paths)]
    sums = [str(each).lower() for each in checksums]
    return [(each, store.holders("sha256" if len(each) == 64 else "sha1", each)) for each in sums]


def stored_file(call: Call, path: str) -> Item | None:
    """The file behind `[default/]repo/path`."""
    store = call.platform.store
    for candidate in (path.removeprefix("default/"), path):
        repo, _, rest = candidate.strip("/").partition("/")
        item = store.find(repo, clean_path(rest)) if rest else None
        if item is not None and not item.folder:
            return item
    return None


async def _entry(call: Call, item: Item) -> Json | None:
    """A file's entry, or None while it has no result. After a partial scan there is one only if it found something,
    since an empty one would look clean."""
    scan = await call.platform.scans.look(item)
    found = scan.findings
    if found is None or not (found.complete or found.advisories or found.malice):
        return None
    return {
        "general": {
            "component_id": findings.component_id(item),
            "name": item.name,
            "path": findings.artifact_path(item),
            "pkg_type": "Generic",
            "sha256": item.content.sha256,
        },
        "issues": findings.issues_of(item, found, scan.at),
        "licenses": findings.licences_of(found.packages, call.platform.scans.advisories),
        "operational_risks": [],
    }


async def component_summary(call: Call) -> web.Response:
    """Summary of components by id; nothing needs to be stored. Unknown schemes and versions are errors."""
    call.signed_in()
    artifacts, errors = [], []
    for detail in (await call.json_object()).get("component_details") or []:
        asked = str(detail.get("component_id", ""))
        package = parse_component(asked)
        if package is None:
            errors.append({"identifier": asked, "error": "Component is unknown to this server"})
        else:
            artifacts.append(_package_entry(call, asked, package))
    return web.json_response(
        {"artifacts": artifacts, "errors": errors} if errors else {"artifacts": artifacts}
    )


def _package_entry(call: Call, asked: str, package: Package) -> Json:
    advisories = call.platform.scans.advisories
    return {
        "general": {
            "component_id": asked,
            "name": f"{package.name}:{package.version}",
            "path": "",
            "pkg_type": "Pypi",
        },
        "issues": findings.issues_of_package(package, advisories),
        "licenses": findings.licences_of((package,), advisories),
        "operational_risks": [],
    }


def parse_component(component_id: str) -> Package | None:
    """A package from `pypi://name:version`; other schemes are not known here."""
    scheme, _, rest = component_id.partition("://")
    name, _, version_text = rest.rpartition(":")
    return Package.of(name, version_text) if scheme == "pypi" and name and version_text else None


# -- status


async def artifact_status(call: Call) -> web.Response:
    """How far a file's scan is, overall and by scanner."""
    body = await call.json_object()
    scan = await call.platform.scans.look(_named(call, body))
    state = {"status": scan.status, "time": iso(scan.at)}
    idle = {"status": Status.NOT_SUPPORTED, "time": iso(scan.at)}
    kinds = ("secrets", "iac", "services", "applications")
    exposures = {"status": Status.NOT_SUPPORTED, "categories": dict.fromkeys(kinds, idle)}
    details = {"sca": state, "contextual_analysis": idle, "exposures": exposures, "violations": state}
    return web.json_response({"overall": state, "details": details})


async def scan_status(call: Call) -> web.Response:
    """The older form of the scan status."""
    body = await call.json_object()
    item = stored_file(call, str(body.get("path", "")))
    if item is None:
        raise Problem(404, f"artifact at path {body.get('path')} does not exist in Artifactory")
    _may_read(call, item)
    scan = await call.platform.scans.look(item)
    return web.json_response({"status": "scanned" if scan.status is Status.DONE else "not scanned"})


def _named(call: Call, body: Json) -> Item:
    call.signed_in()
    repo, path = str(body.get("repo", "")), str(body.get("path", "")).strip("/")
    item = call.platform.store.find(repo, clean_path(path))
    if item is None or item.folder:
        raise Problem(404, f"artifact at path {repo}/{path} does not exist in Artifactory")
    _may_read(call, item)
    return item


def _may_read(call: Call, item: Item) -> None:
    access.require(call, "r", item.repo, item.path)


# -- triggering


async def scan_artifact(call: Call) -> web.Response:
    """Ask for a scan of a component."""
    call.signed_in()
    try:
        body = await call.json_object()
    except Problem as problem:
        raise Problem(415, "Failed to parse json.") from problem
    component = str(body.get("componentID", ""))
    if not component:
        raise Problem(500, f"Failed to scan component {component}")
    return web.json_response({"info": "Scan of artifact is in progress"})


async def index(call: Call) -> web.Response:
    """Scan one file again."""
    path = str((await call.json_object()).get("repo_path", ""))
    return _reindexed(call, [path])


async def force_reindex(call: Call) -> web.Response:
    """Scan several files again."""
    rows = (await call.json_object()).get("artifacts") or []
    return _reindexed(call, [f"{row.get('repository')}/{row.get('path')}" for row in rows])


def _reindexed(call: Call, paths: list[str]) -> web.Response:
    call.signed_in()
    sent, failed = [], []
    for path in paths:
        item = stored_file(call, path)
        if item is None or not access.has(call, "r", item.repo, item.path):
            repo, _, rest = path.partition("/")
            failed.append({"repository": repo, "path": rest, "error": _NOT_INDEXED})
            continue
        call.platform.scans.rescan(item)
        sent.append({"repository": item.repo, "path": item.path, "sha256": item.content.sha256})
    return web.json_response(
        {
            "sent_to_reindex": {"artifacts": sent, "builds": []},
            "failed_send_to_reindex": {"artifacts": failed, "builds": []},
        }
    )
