"""Users, groups and API keys over HTTP.

Promises that no answer holds a password or its hash. Permission targets are in `permissions`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router

Json = dict[str, Any]


def add_routes(router: Router) -> None:
    """`api/security`, permissions aside."""
    router.add("GET", "/artifactory/api/security/users", list_users)
    router.add("GET", "/artifactory/api/security/users/{name}", get_user)
    router.add("PUT", "/artifactory/api/security/users/{name}", create_user)
    router.add("POST", "/artifactory/api/security/users/{name}", update_user)
    router.add("DELETE", "/artifactory/api/security/users/{name}", delete_user)
    router.add("POST", "/artifactory/api/security/unlockUsers/{name}", unlock_user)
    router.add("GET", "/artifactory/api/security/groups", list_groups)
    router.add("GET", "/artifactory/api/security/groups/{name}", get_group)
    router.add("PUT|POST", "/artifactory/api/security/groups/{name}", save_group)
    router.add("DELETE", "/artifactory/api/security/groups/{name}", delete_group)
    router.add("GET", "/artifactory/api/security/encryptedPassword", encrypted_password)
    router.add("GET", "/artifactory/api/security/apiKey", get_api_key)
    router.add("POST|PUT", "/artifactory/api/security/apiKey", make_api_key)
    router.add("DELETE", "/artifactory/api/security/apiKey", drop_api_key)
    router.add("DELETE", "/artifactory/api/security/apiKey/{name}", drop_api_key_of)


def _rows(call: Call, kind: str, names: list[str], **extra: str) -> web.Response:
    rows = [{"name": name, "uri": f"{call.base()}/api/security/{kind}/{name}", **extra} for name in names]
    return web.json_response(rows)


# -- users


async def list_users(call: Call) -> web.Response:
    """Names of all users."""
    call.platform.security.require_admin(call.caller)
    return _rows(call, "users", sorted(call.platform.security.users), realm="internal")


async def get_user(call: Call) -> web.Response:
    """One user; everybody may ask about themselves."""
    if call.caller.name != call.params["name"]:
        call.platform.security.require_admin(call.caller)
    return web.json_response(_shown(_known_user(call)))


def _known_user(call: Call) -> Json:
    user = call.platform.security.users.get(call.params["name"])
    if user is None:
        raise Problem(404, "User not found")
    return user


def _shown(user: Mapping[str, Any]) -> Json:
    return {key: value for key, value in user.items() if key not in ("hash", "apiKey")}


async def create_user(call: Call) -> web.Response:
    """Create or replace a user."""
    call.platform.security.require_admin(call.caller)
    fields = await call.json_object()
    if not fields.get("email"):
        raise Problem(400, "Request payload is missing the email")
    if not fields.get("password") and not fields.get("internalPasswordDisabled"):
        raise Problem(400, "Request payload is missing the password")
    call.platform.security.save_user(call.params["name"], fields)
    return web.Response(status=201)


async def update_user(call: Call) -> web.Response:
    """Change a user."""
    call.platform.security.require_admin(call.caller)
    _known_user(call)
    fields = {key: value for key, value in (await call.json_object()).items() if value is not None}
    call.platform.security.save_user(call.params["name"], fields)
    return web.Response(status=200)


async def delete_user(call: Call) -> web.Response:
    """Remove a user."""
    call.platform.security.require_admin(call.caller)
    name = _known_user(call)["name"]
    call.platform.security.remove_user(name)
    return web.Response(text=f"The user: '{name}' has been removed successfully.")


async def unlock_user(call: Call) -> web.Response:
    """Nobody is ever locked out here."""
    call.platform.security.require_admin(call.caller)
    return web.Response(text=f"The user '{_known_user(call)['name']}' was unlocked")


async def encrypted_password(call: Call) -> web.Response:
    """A stand-in for the caller's encrypted password: opaque, and no credential here."""
    name = call.signed_in().name
    return web.Response(text=f"AP-devserver-{name}")


# -- API keys


async def get_api_key(call: Call) -> web.Response:
    """The caller's API key, if there is one."""
    user = call.platform.security.users[call.signed_in().name]
    return web.json_response({"apiKey": user["apiKey"]} if user.get("apiKey") else {})


async def make_api_key(call: Call) -> web.Response:
    """A fresh API key. POST refuses where there is one."""
    security, name = call.platform.security, call.signed_in().name
    if call.request.method == "POST" and security.users[name].get("apiKey"):
        raise Problem(400, "Api key already exists for user.")
    security.save_user(name, {"apiKey": "AKC" + secrets.token_hex(32)})
    return web.json_response({"apiKey": security.users[name]["apiKey"]}, status=201)


async def drop_api_key(call: Call) -> web.Response:
    """Revoke the caller's key, or with `deleteAll=1` everybody's."""
    security, names = call.platform.security, [call.signed_in().name]
    if call.query("deleteAll") == "1":
        security.require_admin(call.caller)
        names = list(security.users)
    for name in names:
        security.save_user(name, {"apiKey": None})
    return web.json_response({"info": "Successfully revoked API key"})


async def drop_api_key_of(call: Call) -> web.Response:
    """Revoke another user's key."""
    call.platform.security.require_admin(call.caller)
    call.platform.security.save_user(_known_user(call)["name"], {"apiKey": None})
    return web.json_response({"info": "Successfully revoked API key"})


# -- groups


async def list_groups(call: Call) -> web.Response:
    """Names of all groups."""
    call.platform.security.require_admin(call.caller)
    return _rows(call, "groups", sorted(call.platform.security.groups))


async def get_group(call: Call) -> web.Response:
    """One group with its members."""
    security = call.platform.security
    security.require_admin(call.caller)
    group = security.groups.get(call.params["name"])
    if group is None:
        raise Problem(404, "Group not found")
    return web.json_response({**group, "userNames": security.members(group["name"])})


async def save_group(call: Call) -> web.Response:
    """Create (PUT) or change (POST) a group."""
    security, name = call.platform.security, call.params["name"]
    security.require_admin(call.caller)
    if call.request.method == "POST" and name not in security.groups:
        raise Problem(404, "Group not found")
    security.save_group(name, await call.json_object())
    return web.Response(status=201 if call.request.method == "PUT" else 200)


async def delete_group(call: Call) -> web.Response:
    """Remove a group."""
    security, name = call.platform.security, call.params["name"]
    security.require_admin(call.caller)
    if name not in security.groups:
        raise Problem(404, "Group not found")
    security.remove_group(name)
    return web.Response(text=f"Group '{name}' has been removed successfully.")
