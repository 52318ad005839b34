"""Who asks, and in which run, experiment and model: what can be known without asking a server.

Promises: a name is marked as authenticated only where the tracking server's own login vouches for it; everything else
is a claim, recorded as such. Does not: read any HTTP header by itself outside a server, or use the network.

Inside a tracking server the caller is told by the innermost ASGI middleware (`plugin.server`) through `CALLER`, or, where
Flask serves the request, by what basic-auth left in Flask's context. Pool threads see neither: ask before submitting.
"""

from __future__ import annotations

import getpass
import os
import platform
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from governance.artifactory.address import Address
from governance.content.dependencies import read_mapping
from governance.model.request import Actor, ActorKind, MlflowContext
from plugin.location import MODEL_FILE, experiment_id, logged_model_id, run_id

CALLER: ContextVar[Actor | None] = ContextVar("mlgov_caller", default=None)
"""The caller of the HTTP request that a tracking server is answering."""

CALLER_HOST: ContextVar[str | None] = ContextVar("mlgov_caller_host", default=None)
"""The address that the request which a tracking server is answering came from; a proxy's where there is one."""

DESTINATION_VARIABLE = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"
_BACKEND_VARIABLE = "_MLFLOW_SERVER_FILE_STORE"
_DEFAULT_WORKSPACE = "default"
_BASIC = "basic-auth"
_MAX_MODEL_FILE = 1 << 20
_MAX_NAME = 256


def is_in_server(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a worker of `mlflow server`."""
    return DESTINATION_VARIABLE in environ or _BACKEND_VARIABLE in environ


def caller(environ: Mapping[str, str] = os.environ) -> Actor:
    """Whoever asks for what happens on this thread."""
    told = _from_flask() or CALLER.get()
    if told is not None:
        return told
    return Actor(name="anonymous") if is_in_server(environ) else local_user(environ)


def local_user(environ: Mapping[str, str] = os.environ) -> Actor:
    """The user who runs this process, as the operating system says. Nobody vouches for it towards others."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return Actor(name=name[:_MAX_NAME], kind=ActorKind.CI if environ.get("CI") else ActorKind.UNKNOWN)


def caller_host(environ: Mapping[str, str] = os.environ) -> str | None:
    """The machine that asks: inside a server the address that it sees, else this machine's own name. No proof of
    anything.
    """
    if not is_in_server(environ):
        return platform.node()[:_MAX_NAME] or None
    flask = sys.modules.get("flask")
    told = flask.request.remote_addr if flask is not None and flask.has_request_context() else None
    return (told or CALLER_HOST.get() or "")[:_MAX_NAME] or None


def web_user(authenticated: str | None, claimed: str | None) -> Actor:
    """A caller over HTTP. A user name that no login checked is a claim: anybody can send any header."""
    if authenticated:
        return Actor(name=authenticated[:_MAX_NAME], authentication=_BASIC)
    return Actor(name=(claimed or "anonymous")[:_MAX_NAME])


def in_workspace(name: str) -> str:
    """The name of a registered model as it stands on record: `WORKSPACE/NAME` outside of MLflow's default workspace, since each
    workspace may have a model of that name. MLflow takes no name with a slash."""
    context = sys.modules.get("mlflow.utils.workspace_context")
    workspace = context.get_request_workspace() if context is not None else None
    return f"{workspace}/{name}" if workspace and workspace != _DEFAULT_WORKSPACE else name


def mlflow_context(
    place: Address, *, environ: Mapping[str, str] = os.environ, flavors: tuple[str, ...] = ()
) -> MlflowContext:
    """What path, environment and active run say. The path counts for more: it is where the bytes go."""
    run = _active_run()
    tags = getattr(getattr(run, "data", None), "tags", None) or {}
    info = getattr(run, "info", None)
    return MlflowContext(
        run_id=run_id(place.path) or getattr(info, "run_id", None) or _variable(environ, "MLFLOW_RUN_ID"),
        experiment_id=experiment_id(place.path)
        or getattr(info, "experiment_id", None)
        or _variable(environ, "MLFLOW_EXPERIMENT_ID"),
        model_id=logged_model_id(place.path),
        source_commit=tags.get("mlflow.source.git.commit"),
        flavors=flavors,
    )


def read_flavors(folder: Path) -> tuple[str, ...]:
    """The flavors that a local `MLmodel` names; none where there is no such file or it is not of the usual form."""
    try:
        with (folder / MODEL_FILE).open("rb") as file:
            document = read_mapping(file.read(_MAX_MODEL_FILE).decode())
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return ()
    flavors = document.get("flavors")
    return tuple(sorted(str(name)[:100] for name in flavors))[:50] if isinstance(flavors, dict) else ()


def _active_run() -> Any:
    # Only if the user has loaded it: this must neither import the fluent API nor start a run. A server has no run.
    fluent = sys.modules.get("mlflow.tracking.fluent")
    return None if fluent is None or is_in_server() else fluent.active_run()


def _from_flask() -> Actor | None:
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return None
    known = flask.g.get("mlflow_authenticated_user")
    if known is None and CALLER.get() is not None:
        return None
    claimed = flask.request.authorization
    return web_user(known, claimed.username if claimed is not None else None)


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    return environ.get(name, "")[:_MAX_NAME] or None
