"""What JFrog Access answers: tokens in the current and the legacy form, and projects.

Promises that nobody gets a token for another user or with more rights unless they are an administrator. OIDC exchange is
not offered. Projects are stored and mean nothing.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router
from governance.devserver.tokens import USER_SCOPE, Issued, Token

_DEFAULT_LIFE = 3600
_MAX_KEY = 32


def add_routes(router: Router) -> None:
    """`/access/api/v1`, also below `/artifactory` where `pyartifactory` asks for it, and `api/security/token`."""
    for root in ("", "/artifactory"):
        router.add("POST", f"{root}/access/api/v1/tokens", create_token)
        router.add("GET", f"{root}/access/api/v1/tokens", list_tokens)
        router.add("DELETE", f"{root}/access/api/v1/tokens/revoke", revoke_token)
        router.add("GET", f"{root}/access/api/v1/tokens/{{token_id}}", get_token)
        router.add("DELETE", f"{root}/access/api/v1/tokens/{{token_id}}", delete_token)
    router.add("POST", "/artifactory/api/security/token", create_token)
    router.add("GET", "/artifactory/api/security/token", list_tokens)
    router.add("POST", "/artifactory/api/security/token/revoke", revoke_token)
    router.add("GET", "/access/api/v1/system/ping", ping)
    router.add("GET|POST", "/access/api/v1/projects", projects)
    router.add("GET|PUT|DELETE", "/access/api/v1/projects/{key}", project)


async def ping(_: Call) -> web.Response:
    """Whether the service is up."""
    return web.json_response({"status": "OK", "code": "OK"})


# -- tokens


async def create_token(call: Call) -> web.Response:
    """A new token, or a fresh one for a refresh token."""
    fields = await call.fields()
    tokens = call.platform.security.tokens
    if fields.get("grant_type") == "refresh_token":
        return _refreshed(call, str(fields.get("refresh_token", "")))
    caller = call.signed_in()
    username = str(fields.get("username") or caller.name)
    scope = str(fields.get("scope") or USER_SCOPE)
    if not caller.admin and (username != caller.name or scope not in (USER_SCOPE, caller.scope)):
        raise Problem(403, "The user is not allowed to create a token for another user or with that scope")
    if username not in call.platform.security.users:
        raise Problem(400, f"The user {username} does not exist")
    expires_in = _seconds(fields.get("expires_in"))
    if not caller.admin:
        expires_in = min(expires_in or _DEFAULT_LIFE, _DEFAULT_LIFE)
    issued = tokens.issue(
        username,
        scope=scope.replace("member-of-groups:", "applied-permissions/groups:"),
        expires_in=expires_in,
        description=str(fields.get("description") or ""),
        refreshable=_flag(fields.get("refreshable")),
        with_reference=_flag(fields.get("include_reference_token")),
    )
    return web.json_response(issued.body(expires_in))


def _refreshed(call: Call, refresh_token: str) -> web.Response:
    tokens = call.platform.security.tokens
    old = tokens.refreshed(refresh_token)
    if old is None:
        raise Problem(400, "The refresh token is not valid")
    life = (old.expiry - old.issued_at) if old.expiry else 0
    tokens.revoke(old.token_id)
    fresh: Issued = tokens.issue(old.username, scope=old.scope, expires_in=life, refreshable=True)
    return web.json_response(fresh.body(life))


def _seconds(value: Any) -> int:
    try:
        seconds = _DEFAULT_LIFE if value in (None, "") else int(value)
    except (TypeError, ValueError) as error:
        raise Problem(400, "expires_in is not a number") from error
    if seconds < 0:
        raise Problem(400, "expires_in is negative")
    return seconds


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _visible(call: Call) -> list[Token]:
    caller = call.signed_in()
    return [
        token
        for token in call.platform.security.tokens.all()
        if caller.admin or token.username == caller.name
    ]


async def list_tokens(call: Call) -> web.Response:
    """The caller's tokens; all for administrators."""
    rows = [token.row() for token in _visible(call)]
    wanted = {name: call.query(name) for name in ("description", "token_id") if call.query(name)}
    kept = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    if user := call.query("username"):
        kept = [row for row in kept if row["subject"].endswith(f"/users/{user}")]
    return web.json_response({"tokens": kept})


def _named_token(call: Call, token_id: str | None) -> Token:
    wanted = call.caller.token_id if token_id == "me" else token_id  # noqa: S105 - JFrog's word for one's own token
    token = next((token for token in _visible(call) if token.token_id == wanted), None)
    if token is None:
        raise Problem(404, "Token not found")
    return token


async def get_token(call: Call) -> web.Response:
    """One token's description."""
    return web.json_response(_named_token(call, call.params["token_id"]).row())


async def delete_token(call: Call) -> web.Response:
    """Revoke a token by its id."""
    token = _named_token(call, call.params["token_id"])
    call.platform.security.tokens.revoke(token.token_id)
    return web.json_response({"revoked_token_id": token.token_id})


async def revoke_token(call: Call) -> web.Response:
    """Revoke a token by its id or by itself. One that is worthless already is no error."""
    fields = await call.fields()
    security = call.platform.security
    if fields.get("token"):
        try:
            token_id = security.tokens.check(str(fields["token"])).token_id
        except Problem:
            call.signed_in()
            return web.json_response({"revoked_token_id": None})
    else:
        token_id = str(fields.get("token_id", ""))
    security.tokens.revoke(_named_token(call, token_id).token_id)
    return web.json_response({"revoked_token_id": token_id})


# -- projects


async def projects(call: Call) -> web.Response:
    """List or create projects."""
    call.platform.security.require_admin(call.caller)
    held = call.platform.projects
    if call.request.method == "GET":
        return web.json_response(list(held.values()))
    body = await call.json_object()
    key = str(body.get("project_key", ""))
    if not key or len(key) > _MAX_KEY:
        raise Problem(400, "The project key must have 1 to 32 characters")
    if key in held:
        raise Problem(409, f"Project {key} exists already")
    held[key] = body
    return web.json_response(body, status=201)


async def project(call: Call) -> web.Response:
    """Read, change or remove a project."""
    call.platform.security.require_admin(call.caller)
    held, key = call.platform.projects, call.params["key"]
    if key not in held:
        raise Problem(404, f"Project {key} was not found")
    if call.request.method == "DELETE":
        del held[key]
        return web.Response(status=204)
    if call.request.method == "PUT":
        held[key] = {**held[key], **await call.json_object(), "project_key": key}
    return web.json_response(held[key])
