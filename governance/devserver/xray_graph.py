"""Graph scans: a tree of components in, the advisories about them out.

Promises the two steps of the real interface, though the result is there at once. Matches PyPI packages only.
"""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from governance.devserver import findings
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.xray import parse_component

_MAX_GRAPHS = 100
_MAX_DEPTH = 64

Json = dict[str, Any]


def add_routes(router: Router) -> None:
    """`/xray/api/v1/scan/graph`."""
    router.add("POST", "/xray/api/v1/scan/graph", scan_graph)
    router.add("GET", "/xray/api/v1/scan/graph/{scan_id}", graph_result)


async def scan_graph(call: Call) -> web.Response:
    """Scan a tree of components. The result is kept until it is fetched."""
    call.signed_in()
    tree = await call.json_object()
    scan_id = str(uuid.uuid4())
    graphs = call.platform.graphs
    graphs[scan_id] = _graph_result(call, scan_id, tree)
    while len(graphs) > _MAX_GRAPHS:
        graphs.pop(next(iter(graphs)))
    return web.json_response({"scan_id": scan_id}, status=201)


async def graph_result(call: Call) -> web.Response:
    """The result of a graph scan."""
    call.signed_in()
    result = call.platform.graphs.get(call.params["scan_id"])
    if result is None:
        raise Problem(404, "Scan was not found")
    return web.json_response(result)


def _graph_result(call: Call, scan_id: str, tree: Json) -> Json:
    advisories, root = call.platform.scans.advisories, str(tree.get("component_id", ""))
    vulnerabilities, packages = [], []
    for path in _graph_paths(tree, ()):
        package = parse_component(path[-1])
        if package is None:
            continue
        packages.append(package)
        steps = [{"component_id": each, "full_path": each} for each in path]
        issues = findings.issues_of_package(package, advisories)
        vulnerabilities += [_graph_issue(issue, path[-1], steps) for issue in issues]
    licences = [
        {"license_key": row["name"], "components": {each: {} for each in row["components"]}}
        for row in findings.licences_of(tuple(packages), advisories)
    ]
    return {
        "scan_id": scan_id,
        "component_id": root,
        "package_type": "Pypi",
        "status": "completed",
        "vulnerabilities": vulnerabilities,
        "licenses": licences,
        "violations": [],
    }


def _graph_issue(issue: Json, component: str, steps: list[Json]) -> Json:
    cves = []
    for cve in issue["cves"]:
        score, _, vector = cve["cvss_v3"].partition("/")
        cves.append({"cve": cve["cve"], "cvss_v3_score": score, "cvss_v3_vector": vector})
    place = {"fixed_versions": issue["components"][0]["fixed_versions"], "impact_paths": [steps]}
    kept = {key: issue[key] for key in ("issue_id", "summary", "severity", "references")}
    return {**kept, "cves": cves, "components": {component: place}}


def _graph_paths(node: Json, above: tuple[str, ...], depth: int = 0) -> list[tuple[str, ...]]:
    if depth > _MAX_DEPTH:
        raise Problem(400, "The dependency tree is too deep.")
    here = (*above, str(node.get("component_id", "")))
    found = [here]
    for child in node.get("nodes") or []:
        found.extend(_graph_paths(child, here, depth + 1))
    return found
