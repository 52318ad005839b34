"""The working parts of this process, made once for each set of settings.

MLflow makes a new repository object for nearly every call, and opening a key or compiling a policy each time would
cost more than the call. Settings are read anew each time, so that a test or notebook may change the environment.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping

from governance.artifactory.address import SCHEME, Address, parse_uri
from governance.errors import SettingsError
from governance.settings import Settings, load_settings
from governance.wiring import Assembly, build_assembly
from plugin.context import DESTINATION_VARIABLE, is_in_server

_ROOT_VARIABLE = "_MLFLOW_SERVER_ARTIFACT_ROOT"


def assembly_for(environ: Mapping[str, str] = os.environ) -> Assembly:
    """The parts for the settings that are in force now. Raises `SettingsError`."""
    own = server_destination(environ)
    hosts = frozenset({own.host}) if own is not None else frozenset()
    return _build(os.getpid(), load_settings(), hosts)


def server_destination(environ: Mapping[str, str] = os.environ) -> Address | None:
    """Where the tracking server keeps proxied artifacts, in its own process. Raises `SettingsError` for a bad URI.

    Whoever starts the server says this on its command line, so its host may be given the token; a location that came
    with a request may not name a host.
    """
    uri = environ.get(DESTINATION_VARIABLE, "")
    return parse_uri(uri) if uri.startswith(f"{SCHEME}:") else None


def require_own(root: Address, settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Raise `SettingsError` where a tracking server is asked for a repository that is none of its own.

    Whoever may make an experiment may choose its location, and the server goes there with its own token: it would read what
    its caller may not, and store files where packages are installed from. Its own are the repositories that its command line
    and the settings name; a server whose command line names none has none of its own to keep to.
    """
    if not is_in_server(environ):
        return
    named = [environ.get(name, "") for name in (DESTINATION_VARIABLE, _ROOT_VARIABLE)]
    own = [parse_uri(uri) for uri in named if uri.startswith(f"{SCHEME}:")]
    if not own and not settings.server_repositories:
        return
    at_home = any((each.host, each.repository) == (root.host, root.repository) for each in own)
    if not at_home and root.repository not in settings.server_repositories:
        raise SettingsError(
            f"repository `{root.repository}` is none of this tracking server's own",
            hint="If it is to go there, name it in `MLGOV_SERVER_REPOSITORIES`. If you do not know it, an artifact location "
            "points somewhere it should not.",
        )


@functools.lru_cache(maxsize=8)
def _build(pid: int, settings: Settings, hosts: frozenset[str]) -> Assembly:
    del pid  # a forked worker makes its own connections
    if settings.debug:
        _talk()
    return build_assembly(settings, extra_hosts=hosts)


def _talk() -> None:
    """What `ARTIFACTORY_DEBUG` asks for: each request with its status and time on standard error, and no header of it."""
    for name in ("governance", "plugin"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler())
