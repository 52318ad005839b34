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
from governance.settings import Settings, load_settings
from governance.wiring import Assembly, build_assembly
from plugin.context import DESTINATION_VARIABLE


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
