"""The app of `mlflow server --app-name governance`.

It adds to MLflow's own app (with basic-auth underneath where that is configured):

1. the caller's identity, captured where only authenticated requests arrive, for the repository to find (`plugin.context`);
2. the signature over a logged model, made when MLflow marks the model READY and before MLflow's client hears of it;
3. `GET /gov/health`, which says that this app is in place;
4. `GET /gov/policy`, the signed policy bundle that this server was given as a file, for clients to take and verify;
5. `GET /gov/metrics`, figures for Prometheus, where the settings want them (`plugin.figures`);
6. `/gov/audit/...`, the audit log for clients that talk to Artifactory directly (`plugin.trail`);
7. the record of what is done to the model registry, and the gate before promotions (`plugin.registry`);
8. the heartbeat that sends the audit log's head out, also in quiet times (`plugin.heartbeat`).

It does not start without its audit log, nor with one that is not the one seen before.

Promises: enforcement of loads does not depend on this app; without it, proxied models stay unsigned, and policies that ask for a
signature refuse them. Promotions are judged here and nowhere else. When a signature cannot be made the client gets an error
that it repeats, and a repeat does no harm. Does not: authenticate anybody.

Under uvicorn MLflow wants an ASGI app, under gunicorn and waitress a WSGI app; both hold the same Flask app, which
answers the request that marks a model READY, so that hook is Flask's in either case.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance.artifactory.address import SCHEME
from governance.forking import file_lock
from governance.model.request import Actor
from governance.places import expanded, make_private
from governance.policy_wiring import policy_bundle as bundle_location
from governance.policy_wiring import read_bundle_file
from governance.settings import Settings, load_settings
from plugin.assembly import assembly_for, server_destination
from plugin.context import CALLER, CALLER_HOST, web_user
from plugin.errors import GovernedError
from plugin.figures import METRICS, add_metrics
from plugin.heartbeat import Heartbeat
from plugin.registry import guard_registry
from plugin.repository import GovernedArtifactRepository
from plugin.routes import places, serve
from plugin.trail import TRAIL_ROUTES, add_routes, is_oversized

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]

_FINALIZE = re.compile(r".*/(?:api|ajax-api)/[0-9.]+/mlflow/logged-models/(?P<id>m-[0-9a-f]{32})/?")
_READY = "LOGGED_MODEL_READY"
_SERVER = "uvicorn"
_HEALTH = "/gov/health"
_POLICY = "/gov/policy"
_MAX_HEADER = 4096


def create_app() -> Any:
    """The app, for the server that MLflow says it starts (`_MLFLOW_SGI_NAME`)."""
    assembly_for().recall_head()
    from mlflow.server import app as flask_app

    flask_app.after_request(seal_when_ready)
    serve(flask_app, _HEALTH, "governance_health", health)
    serve(flask_app, _POLICY, "governance_policy", policy_bundle)
    add_routes(flask_app)
    guard_registry(flask_app)
    settings = load_settings()
    add_metrics(flask_app, settings)
    heartbeat = flask_app.extensions["governance_heartbeat"] = Heartbeat(assembly_for)
    heartbeat.start()
    under_uvicorn = os.environ.get("_MLFLOW_SGI_NAME", _SERVER) == _SERVER
    app = _with_basic_auth(settings) if _wants_basic_auth(settings) else _plain(flask_app, asgi=under_uvicorn)
    if under_uvicorn:
        from starlette.middleware import Middleware

        # Appended is innermost: what arrives here has passed the login, and what it says is no longer only a claim.
        app.user_middleware.append(Middleware(CaptureCaller))
    return app


class CaptureCaller:
    """ASGI middleware that tells `plugin.context` who is calling."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Set the caller for one HTTP request; everything else passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_oversized(scope):
            await _too_large(send)
            return
        token = CALLER.set(caller_of(scope))
        client = scope.get("client")
        host = CALLER_HOST.set(str(client[0]) if client else None)
        try:
            await self._app(scope, receive, send)
        finally:
            CALLER_HOST.reset(host)
            CALLER.reset(token)


async def _too_large(send: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "larger than this server takes"}'})


def caller_of(scope: Mapping[str, Any]) -> Actor:
    """Who calls, by what the login left in the request's state, or else by what the `Authorization` header claims."""
    known = (scope.get("state") or {}).get("username")
    return web_user(known if isinstance(known, str) else None, _claimed(scope))


def seal_when_ready(response: Any) -> Any:
    """Sign a logged model that has just become READY. The response itself, or an error in its place."""
    from flask import request

    match = _FINALIZE.fullmatch(request.path)
    if match is None or request.method != "PATCH" or not 200 <= response.status_code < 300:
        return response
    ready = _ready_model(response.get_json(silent=True))
    if ready is None:
        return response
    try:
        sealed = _seal(*ready)
    except GovernedError as error:
        return _refused(error, match["id"])
    except Exception:
        logger.exception("logged model %s could not be signed", match["id"])
        return _again(match["id"])
    if not sealed:
        logger.warning(
            "logged model %s: no file of it came through this server, so it stays unsigned", match["id"]
        )
    return response


def health() -> Any:
    """That the app is in place, for load balancers and `mlgov doctor`. Says nothing that needs a login."""
    from flask import jsonify

    return jsonify({"app": "governance", "status": "ok"})


def policy_bundle() -> Any:
    """The policy bundle as it lies on this server's disk; 404 where the settings name no file."""
    from flask import Response

    location = bundle_location(load_settings())
    if location is None or urlsplit(location).scheme:
        return Response("this server has no policy bundle\n", status=404, mimetype="text/plain")
    return Response(read_bundle_file(expanded(location)), mimetype="application/x-tar")


def proxied_path(uri: str) -> str | None:
    """The path below the server's destination that a proxied artifact location means, or None for other locations."""
    parts = urlsplit(uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" else None


def _seal(uri: str, run_id: str | None) -> bool:
    root = server_destination()
    path = proxied_path(uri)
    if root is None or path is None:
        # Files that went straight to Artifactory were signed by whoever sent them.
        return uri.startswith(f"{SCHEME}:")
    return GovernedArtifactRepository(root.uri).seal(path, run_id=run_id)


def _ready_model(document: Any) -> tuple[str, str | None] | None:
    """The artifact location of a model that a response says is READY, and the run that logged it."""
    info = (document or {}).get("model", {}).get("info", {}) if isinstance(document, dict) else {}
    if not isinstance(info, dict) or info.get("status") != _READY:
        return None
    uri, run_id = info.get("artifact_uri"), info.get("source_run_id")
    return (uri, run_id if isinstance(run_id, str) and run_id else None) if isinstance(uri, str) else None


def _refused(error: GovernedError, model: str) -> Any:
    logger.error("logged model %s was not signed: %s", model, error.message)
    return _answer(error.get_http_status_code(), error.serialize_as_json())


def _again(model: str) -> Any:
    document = {
        "error_code": "TEMPORARILY_UNAVAILABLE",
        "error_class": "GOVERNANCE_UNAVAILABLE",
        "message": f"model {model} is stored and could not be signed; the server's log says why. Try again.",
    }
    return _answer(503, json.dumps(document))


def _answer(status: int, document: str) -> Any:
    from flask import Response

    return Response(document, status=status, mimetype="application/json")


def _plain(flask_app: Any, *, asgi: bool) -> Any:
    if not asgi:
        return flask_app
    from mlflow.server.fastapi_app import create_fastapi_app

    return create_fastapi_app(flask_app)


def _wants_basic_auth(settings: Settings) -> bool:
    return settings.server_auth == "basic-auth" or bool(os.environ.get("MLFLOW_AUTH_CONFIG_PATH"))


def _with_basic_auth(settings: Settings) -> Any:
    with _one_at_a_time(settings.home):
        # Makes the administrator on first use, which several workers must not try at once.
        from mlflow.server import auth

        _open_to_users(auth)
        return auth.create_app()


def _open_to_users(auth: Any) -> None:
    """Let everybody who is logged in reach our routes, which ask for no right of MLflow's. Where MLflow knows no
    validator for a route it lets none but administrators through."""
    validators: dict[tuple[str, str], Callable[[], bool]] = auth.BEFORE_REQUEST_VALIDATORS
    for path, method in ((_HEALTH, "GET"), (_POLICY, "GET"), (METRICS, "GET"), *TRAIL_ROUTES):
        for place in places(path):
            validators[place, method] = lambda: True


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    make_private(home)
    with file_lock(home / "server-auth.lock"):
        yield


def _claimed(scope: Mapping[str, Any]) -> str | None:
    headers = dict(scope.get("headers") or ())
    value: bytes = headers.get(b"authorization", b"")
    scheme, _, coded = value[:_MAX_HEADER].partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, _ = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name if colon and name else None
