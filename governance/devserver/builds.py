"""Build information: stored as sent, listed, renamed, deleted, and summarised from the scans of its artifacts.

Promises what `pyartifactory` and Xray's build summary need. Promotion and differences are not offered. Lives in memory.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from governance.devserver import access, findings
from governance.devserver.items import iso
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router

Json = dict[str, Any]


def add_routes(router: Router) -> None:
    """`api/build` and Xray's build summary."""
    router.add("PUT", "/artifactory/api/build", publish)
    router.add("GET", "/artifactory/api/build", list_builds)
    router.add("POST", "/artifactory/api/build/delete", delete)
    router.add("POST", "/artifactory/api/build/rename/{name}", rename)
    router.add("GET", "/artifactory/api/build/{name}", list_runs)
    router.add("GET", "/artifactory/api/build/{name}/{number}", get_run)
    router.add("GET", "/xray/api/v2/summary/build", summary)
    router.add("POST", "/xray/api/v1/build/status", status)


async def publish(call: Call) -> web.Response:
    """Store a build."""
    call.signed_in()
    body: Json = _without_nulls(await call.json_object())
    name, number = str(body.get("name") or ""), str(body.get("number") or "")
    if not name or not number:
        raise Problem(400, "A build needs a name and a number")
    call.platform.builds.setdefault(name, {})[number] = body
    return web.Response(status=204)


def _without_nulls(value: Any) -> Any:
    """Real servers leave out what was sent as null, and clients count on it."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


async def list_builds(call: Call) -> web.Response:
    """All builds."""
    call.signed_in()
    rows = [
        {"uri": f"/{name}", "lastStarted": max(str(run.get("started", "")) for run in runs.values())}
        for name, runs in call.platform.builds.items()
        if runs
    ]
    return web.json_response({"uri": f"{call.base()}/api/build", "builds": rows})


def _runs(call: Call) -> dict[str, Json]:
    call.signed_in()
    runs = call.platform.builds.get(call.params["name"])
    if not runs:
        raise Problem(404, f"No build was found for build name: {call.params['name']}")
    return runs


async def list_runs(call: Call) -> web.Response:
    """The numbers of a build."""
    rows = [
        {"uri": f"/{number}", "started": str(run.get("started", ""))} for number, run in _runs(call).items()
    ]
    return web.json_response({"uri": f"{call.base()}/api/build/{call.params['name']}", "buildsNumbers": rows})


async def get_run(call: Call) -> web.Response:
    """One build."""
    run = _runs(call).get(call.params["number"])
    if run is None:
        raise Problem(
            404, f"No build was found for build name: {call.params['name']}, number {call.params['number']}"
        )
    if call.query("diff"):
        raise Problem(400, "This server does not compare builds.")
    uri = f"{call.base()}/api/build/{call.params['name']}/{call.params['number']}"
    return web.json_response({"uri": uri, "buildInfo": run})


async def delete(call: Call) -> web.Response:
    """Remove builds."""
    call.platform.security.require_admin(call.caller)
    body = await call.json_object()
    runs = call.platform.builds.get(str(body.get("buildName")), {})
    for number in list(runs) if body.get("deleteAll") else body.get("buildNumbers") or []:
        runs.pop(str(number), None)
    return web.Response(text="The following builds has been deleted successfully")


async def rename(call: Call) -> web.Response:
    """Give a build another name."""
    call.platform.security.require_admin(call.caller)
    runs, to = _runs(call), call.query("to")
    if not to:
        raise Problem(400, "The new name is missing")
    del call.platform.builds[call.params["name"]]
    call.platform.builds[to] = runs
    return web.Response(text=f"Build renaming of '{call.params['name']}' to '{to}' was successfully started.")


# -- Xray


async def summary(call: Call) -> web.Response:
    """Issues of a build's artifacts, as far as they are stored and may be read."""
    call.signed_in()
    name, number = call.query("build_name"), call.query("build_number")
    run = call.platform.builds.get(name, {}).get(number)
    if run is None:
        error = {"identifier": f"{name}:{number}", "error": "Build doesn't exist or not indexed in Xray"}
        return web.json_response(
            {"build_name": name, "build_number": number, "issues": [], "errors": [error]}
        )
    issues: list[Json] = []
    for artifact in _artifacts(run):
        algorithm = "sha256" if artifact.get("sha256") else "sha1"
        for item in call.platform.store.holders(algorithm, str(artifact.get(algorithm, "")))[:1]:
            if access.has(call, "r", item.repo, item.path):
                scan = await call.platform.scans.look(item)
                issues += findings.issues_of(item, scan.findings, scan.at) if scan.findings else []
    body = {
        "build_name": name,
        "build_number": number,
        "issues": issues,
        "licenses": [],
        "operational_risks": [],
    }
    return web.json_response(body)


def _artifacts(run: Json) -> list[Json]:
    return [artifact for module in run.get("modules") or [] for artifact in module.get("artifacts") or []]


async def status(call: Call) -> web.Response:
    """The scan status of a build, which is done as soon as it is published."""
    call.signed_in()
    body = await call.json_object()
    name, number = str(body.get("name")), str(body.get("number"))
    if number not in call.platform.builds.get(name, {}):
        raise Problem(404, f"build {name}/{number} does not exist in Artifactory")
    state = {"status": "DONE", "time": iso(call.platform.now())}
    return web.json_response({"overall": state, "details": {"sca": state}})
