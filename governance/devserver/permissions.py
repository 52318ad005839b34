"""Permission targets over HTTP, in both API generations.

Promises one store behind them: letters (`r w n d m`) inside, words in the second generation. Does not check rights on
items (`access`).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.security import Target


def add_routes(router: Router) -> None:
    """`api/security/permissions` and `api/v2/security/permissions`."""
    router.add("GET", "/artifactory/api/security/permissions", list_targets)
    router.add("GET", "/artifactory/api/security/permissions/{name}", get_target)
    router.add("PUT", "/artifactory/api/security/permissions/{name}", put_target)
    router.add("DELETE", "/artifactory/api/security/permissions/{name}", delete_target)
    router.add("GET", "/artifactory/api/v2/security/permissions", list_targets)
    router.add("GET", "/artifactory/api/v2/security/permissions/{name}", get_target_v2)
    router.add("POST", "/artifactory/api/v2/security/permissions/{name}", create_target_v2)
    router.add("PUT", "/artifactory/api/v2/security/permissions/{name}", put_target_v2)
    router.add("DELETE", "/artifactory/api/v2/security/permissions/{name}", delete_target)


_WORDS = {"read": "r", "write": "w", "annotate": "n", "delete": "d", "manage": "m"} | {
    "managedXrayMeta": "mxm",
    "distribute": "x",
}
_LETTERS = {letter: word for word, letter in _WORDS.items()}


async def list_targets(call: Call) -> web.Response:
    """Names of all permission targets."""
    call.platform.security.require_admin(call.caller)
    uri = f"{call.base()}/api/security/permissions"
    names = sorted(call.platform.security.targets)
    return web.json_response([{"name": name, "uri": f"{uri}/{name}"} for name in names])


async def get_target(call: Call) -> web.Response:
    """One target, with letters."""
    target = _known_target(call)
    return web.json_response(
        {
            "name": target.name,
            "includesPattern": ",".join(target.includes),
            "excludesPattern": ",".join(target.excludes),
            "repositories": target.repositories,
            "principals": {"users": target.users, "groups": target.groups},
        }
    )


def _known_target(call: Call) -> Target:
    call.platform.security.require_admin(call.caller)
    target = call.platform.security.targets.get(call.params["name"])
    if target is None:
        raise Problem(404, f"Could not find requested permission target {call.params['name']}")
    return target


async def put_target(call: Call) -> web.Response:
    """Create or replace a target given with letters."""
    call.platform.security.require_admin(call.caller)
    body = await call.json_object()
    principals = body.get("principals") or {}
    target = Target(
        name=call.params["name"],
        repositories=list(body.get("repositories") or []),
        includes=_patterns(body.get("includesPattern")) or ["**"],
        excludes=_patterns(body.get("excludesPattern")),
        users={user: list(letters) for user, letters in (principals.get("users") or {}).items()},
        groups={group: list(letters) for group, letters in (principals.get("groups") or {}).items()},
    )
    call.platform.security.save_target(target)
    return web.Response(status=201)


def _patterns(text: str | None) -> list[str]:
    return [each.strip() for each in (text or "").split(",") if each.strip()]


async def delete_target(call: Call) -> web.Response:
    """Remove a target."""
    target = _known_target(call)
    call.platform.security.remove_target(target.name)
    return web.Response(text=f"Permission Target '{target.name}' has been removed successfully.")


async def get_target_v2(call: Call) -> web.Response:
    """One target, with words."""
    target = _known_target(call)
    actions = {
        kind: {name: [_LETTERS[letter] for letter in letters] for name, letters in granted.items()}
        for kind, granted in (("users", target.users), ("groups", target.groups))
    }
    repo = {
        "include-patterns": target.includes,
        "exclude-patterns": target.excludes,
        "repositories": target.repositories,
        "actions": actions,
    }
    return web.json_response({"name": target.name, "repo": repo})


async def create_target_v2(call: Call) -> web.Response:
    """Create a target given with words; one that exists is a conflict."""
    call.platform.security.require_admin(call.caller)
    if call.params["name"] in call.platform.security.targets:
        raise Problem(409, f"Permission target {call.params['name']} already exists")
    return await put_target_v2(call)


async def put_target_v2(call: Call) -> web.Response:
    """Create or replace a target given with words."""
    call.platform.security.require_admin(call.caller)
    repo = (await call.json_object()).get("repo") or {}
    actions = repo.get("actions") or {}
    target = Target(
        name=call.params["name"],
        repositories=list(repo.get("repositories") or []),
        includes=[each for each in repo.get("include-patterns") or [] if each] or ["**"],
        excludes=[each for each in repo.get("exclude-patterns") or [] if each],
        users=_letters(actions.get("users")),
        groups=_letters(actions.get("groups")),
    )
    call.platform.security.save_target(target)
    return web.Response(status=200)


def _letters(granted: Mapping[str, list[str]] | None) -> dict[str, list[str]]:
    try:
        return {name: [_WORDS[word] for word in words] for name, words in (granted or {}).items()}
    except KeyError as error:
        raise Problem(400, f"Unknown permission {error}") from error
