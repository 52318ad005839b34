"""The tracking server: whether it answers, and whether our app is in it."""

from __future__ import annotations

from collections.abc import Iterator

from governance.audit_wiring import tracking_credentials
from governance.cli.checkup.anonymous import plain_transport
from governance.cli.checkup.check import Check, fail, ok, skip, warn
from governance.cli.output import Line
from governance.errors import ForbiddenError, NotFoundError, ProtocolError, UnauthenticatedError
from governance.settings import Settings
from governance.transport import Transport


def tracking_checks(uri: str | None, settings: Settings) -> tuple[Check, ...]:
    """All checks of this module."""
    return (Check(subject="tracking server", look=lambda: _server(uri, settings), code=3),)


def _server(uri: str | None, settings: Settings) -> Iterator[Line]:
    if not uri:
        yield skip("tracking server", "`MLFLOW_TRACKING_URI` is not set")
        return
    if not uri.startswith(("http://", "https://")):
        yield warn(
            "tracking server",
            "MLflow keeps its records locally, so this machine's own policy decides",
            "For a policy that users cannot edit, run `mlflow server --app-name governance`.",
        )
        return
    # No credentials where none are asked for; and then MLflow's login, since the token is not meant for this server.
    transport = plain_transport(uri, "MLflow", settings)
    try:
        transport.call("GET", "health")
        yield ok("tracking server", f"`{uri}` answers")
        yield _app(transport, uri, settings)
    finally:
        transport.close()


def _app(transport: Transport, uri: str, settings: Settings) -> Line:
    try:
        found = _health(transport)
    except UnauthenticatedError:
        login = tracking_credentials(settings)
        if login is None:
            return warn(
                "tracking server",
                "asks for a login, so whether it runs the governance app was not seen",
                "Set `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`.",
            )
        known = plain_transport(uri, "MLflow", settings, credentials=login)
        try:
            found = _health(known)
        except (UnauthenticatedError, ForbiddenError):
            return fail(
                "tracking server",
                "refuses the login",
                "Fix `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`.",
            )
        finally:
            known.close()
    if isinstance(found, dict) and found.get("app") == "governance":
        return ok("tracking server", "runs the governance app: callers are known, logged models are signed")
    return warn(
        "tracking server",
        "does not run the governance app: models logged through it stay unsigned, callers are anonymous",
        "Start it with `mlflow server --app-name governance`.",
    )


def _health(transport: Transport) -> object:
    """What our app says of itself; None where something else answers."""
    try:
        return transport.json("GET", "gov/health")
    except (NotFoundError, ProtocolError):
        return None
