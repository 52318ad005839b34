"""Policies, watches, ignore rules and violations over HTTP.

Promises what a client wrote is what it reads. What follows from them is worked out in `watching`.
"""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from governance.devserver import access
from governance.devserver.findings import artifact_path, judged_issues
from governance.devserver.items import Item, iso
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.watching import RANK, Violation

Json = dict[str, Any]
_MAX_PAGE = 10_000


def add_routes(router: Router) -> None:
    """`/xray/api/v2/policies`, `watches`, `/xray/api/v1/ignore_rules`, `violations`."""
    for kind in ("policies", "watches"):
        router.add("GET", f"/xray/api/v2/{kind}", list_all)
        router.add("POST", f"/xray/api/v2/{kind}", create)
        router.add("GET", f"/xray/api/v2/{kind}/{{name}}", get_one)
        router.add("PUT", f"/xray/api/v2/{kind}/{{name}}", update)
        router.add("DELETE", f"/xray/api/v2/{kind}/{{name}}", delete)
    router.add("GET", "/xray/api/v1/ignore_rules", list_rules)
    router.add("POST", "/xray/api/v1/ignore_rules", create_rule)
    router.add("GET|DELETE", "/xray/api/v1/ignore_rules/{rule_id}", one_rule)
    router.add("POST", "/xray/api/v1/violations", violations)
    router.add("POST", "/xray/api/v1/violations/ignored", ignored_violations)
    router.add("GET", "/xray/api/v1/violations/ignored/{watch}", ignored_by_watch)


# -- policies and watches


def _kind(call: Call) -> str:
    return "policy" if "/policies" in call.request.path else "watch"


def _table(call: Call) -> dict[str, Json]:
    watching = call.platform.watching
    return watching.policies if _kind(call) == "policy" else watching.watches


def _known(call: Call) -> Json:
    found = _table(call).get(call.params["name"])
    if found is None:
        raise Problem(404, f"{_kind(call).capitalize()} {call.params['name']} was not found")
    return found


async def list_all(call: Call) -> web.Response:
    """All policies or watches."""
    call.signed_in()
    return web.json_response(list(_table(call).values()))


async def create(call: Call) -> web.Response:
    """Create a policy or watch; one that exists is a conflict."""
    call.platform.security.require_admin(call.caller)
    body, kind = await call.json_object(), _kind(call)
    name = str(body.get("name") or (body.get("general_data") or {}).get("name") or "")
    if not name:
        raise Problem(400, f"The {kind} has no name")
    if name in _table(call):
        raise Problem(409, f"{kind.capitalize()} {name} already exists")
    _save(call, kind, name, body)
    return web.json_response({"info": f"{kind.capitalize()} created successfully"}, status=201)


def _save(call: Call, kind: str, name: str, body: Json) -> None:
    watching = call.platform.watching
    if kind == "policy":
        stamps = {"created": iso(call.platform.now()), "author": call.caller.name}
        watching.save("policy", name, {**stamps, **body, "name": name, "modified": iso(call.platform.now())})
        return
    missing = [
        each for each in body.get("assigned_policies") or [] if each.get("name") not in watching.policies
    ]
    if missing:
        raise Problem(400, f"Policy {missing[0].get('name')} does not exist")
    general = {**(body.get("general_data") or {}), "name": name}
    watching.save("watch", name, {**body, "general_data": general})


async def get_one(call: Call) -> web.Response:
    """One policy or watch."""
    call.signed_in()
    return web.json_response(_known(call))


async def update(call: Call) -> web.Response:
    """Replace a policy or watch."""
    call.platform.security.require_admin(call.caller)
    _known(call)
    _save(call, _kind(call), call.params["name"], await call.json_object())
    return web.json_response({"info": f"{_kind(call).capitalize()} updated successfully"})


async def delete(call: Call) -> web.Response:
    """Remove a policy or watch."""
    call.platform.security.require_admin(call.caller)
    _known(call)
    call.platform.watching.remove(_kind(call), call.params["name"])
    return web.json_response({"info": f"{_kind(call).capitalize()} was deleted successfully"})


# -- ignore rules


async def list_rules(call: Call) -> web.Response:
    """All ignore rules."""
    call.signed_in()
    rules = list(call.platform.watching.ignored.values())
    return web.json_response({"data": rules, "total_count": len(rules)})


async def create_rule(call: Call) -> web.Response:
    """Ignore what some filters match. Clients read the id out of the answer's text."""
    call.platform.security.require_admin(call.caller)
    body = await call.json_object()
    if not any((body.get("ignore_filters") or {}).values()):
        raise Problem(400, "At least one filter is needed")
    rule_id = str(uuid.uuid4())
    stamps = {"id": rule_id, "author": call.caller.name, "created": iso(call.platform.now())}
    call.platform.watching.save("ignore-rule", rule_id, {**body, **stamps})
    return web.json_response({"info": f"Successfully added Ignore rule with id: {rule_id}"}, status=201)


async def one_rule(call: Call) -> web.Response:
    """Read or remove an ignore rule."""
    rule = call.platform.watching.ignored.get(call.params["rule_id"])
    call.signed_in()
    if rule is None:
        raise Problem(404, "Ignore rule was not found")
    if call.request.method == "GET":
        return web.json_response(rule)
    call.platform.security.require_admin(call.caller)
    call.platform.watching.remove("ignore-rule", rule["id"])
    return web.Response(status=204)


# -- violations


async def violations(call: Call) -> web.Response:
    """Violations in force, filtered and by page."""
    return await _violations(call, ignored=False)


async def ignored_violations(call: Call) -> web.Response:
    """Violations that an ignore rule covers."""
    return await _violations(call, ignored=True)


async def _violations(call: Call, *, ignored: bool) -> web.Response:
    body = await call.json_object()
    filters = body.get("filters") or {}
    if filters.get("watch_name") not in (None, "", *call.platform.watching.watches):
        raise Problem(400, f"There is no watch {filters['watch_name']}")
    rows = await _found(call, filters, ignored=ignored)
    pagination = body.get("pagination") or {}
    rows.sort(key=lambda row: str(row["created"]), reverse=pagination.get("direction", "desc") != "asc")
    shown = _page(rows, pagination)
    return web.json_response({"total_violations": len(rows), "violations": shown})


def _page(rows: list[Json], pagination: Json) -> list[Json]:
    """`offset` counts pages from 1. Some clients ask for 2**63 - 1 rows."""
    limit = min(max(1, int(pagination.get("limit") or 25)), _MAX_PAGE)
    start = max(0, int(pagination.get("offset") or 1) - 1) * limit
    return rows[start : start + limit]


async def ignored_by_watch(call: Call) -> web.Response:
    """Ignored violations of one watch."""
    rows = await _found(call, {"watch_name": call.params["watch"]}, ignored=True)
    page = _page(rows, {"limit": call.query("limit", "25"), "offset": call.query("offset", "1")})
    return web.json_response({"data": page, "total_count": len(rows)})


async def _found(call: Call, filters: Json, *, ignored: bool) -> list[Json]:
    call.signed_in()
    platform = call.platform
    rows: dict[str, Json] = {}
    for item in _candidates(call, filters):
        scan = await platform.scans.look(item)
        issues = judged_issues(item, scan)
        for violation in platform.watching.violations(item, scan, issues, ignored=ignored):
            if _passes(violation, filters):
                row = rows.setdefault(violation.id, _row(violation, call.base()))
                row["matched_policies"].append(_match(violation))
                rule = platform.watching.ignore_rule(violation)
                if rule is not None:
                    kept = {
                        name: rule.get(name) for name in ("id", "author", "created", "notes", "expires_at")
                    }
                    row["ignore_rule_details"] = {**kept, "is_expired": False}
    return list(rows.values())


def _candidates(call: Call, filters: Json) -> list[Item]:
    """Files that may have violations: those named, or everything in watched repositories that the caller may read."""
    platform = call.platform
    named = (filters.get("resources") or {}).get("artifacts") or []
    if named:
        found = [
            platform.store.find(str(each.get("repo")), str(each.get("path", "")).strip("/")) for each in named
        ]
        items = [item for item in found if item is not None and not item.folder]
    else:
        keys = [config["key"] for config in platform.store.repositories.all()]
        items = [item for key in keys for item in platform.store.everything(key) if not item.folder]
    return [
        item
        for item in items
        if platform.watching.is_watched(item) and access.has(call, "r", item.repo, item.path)
    ]


def _passes(violation: Violation, filters: Json) -> bool:
    issue = violation.issue
    kind = str(filters.get("violation_type") or "security").lower()
    severity = RANK.get(str(filters.get("min_severity") or "unknown").lower(), 0)
    text = str(filters.get("name_contains") or "").lower()
    return (
        kind in ("security", "malicious")
        and filters.get("watch_name") in (None, "", violation.watch)
        and RANK[issue["severity"].lower()] >= severity
        and filters.get("issue_id") in (None, "", issue["issue_id"])
        and (not filters.get("cve_id") or filters["cve_id"] in issue["cve_ids"])
        and (not text or text in issue["summary"].lower() or text in violation.item.path.lower())
        and str(filters.get("created_from") or "") <= iso(violation.created)
        and (not filters.get("created_until") or str(filters["created_until"]) >= iso(violation.created))
    )


def _row(violation: Violation, base: str) -> Json:
    where, issue = artifact_path(violation.item), violation.issue
    return {
        "violation_id": violation.id,
        "type": "Security",
        "severity": issue["severity"],
        "summary": issue["summary"],
        "description": issue["description"],
        "issue_id": issue["issue_id"],
        "watch_name": violation.watch,
        "created": iso(violation.created),
        "updated": iso(violation.created),
        "infected_components": [issue["component"]],
        # The documents say the one, JFrog's Go client reads the other.
        "impacted_artifacts": [where],
        "impact_artifacts": [where],
        "violation_details_url": f"{base.removesuffix('/artifactory')}/xray/api/v1/violations/{violation.id}",
        "matched_policies": [],
        "impacted_artifact": {"name": violation.item.name, "path": where.removeprefix("default/")},
        "applicability": None,
        "properties": [{"cve": cve, "Cve": cve} for cve in issue["cve_ids"]],
    }


def _match(violation: Violation) -> Json:
    actions = violation.rule.get("actions") or {}
    return {
        "policy": violation.policy,
        "rule": violation.rule["name"],
        "is_blocking": violation.blocks,
        "is_build_failed": bool(actions.get("fail_build")),
        "fail_pull_request": bool(actions.get("fail_pull_request")),
    }
