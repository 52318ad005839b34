"""Where our own paths lie at a tracking server: at its root, and below the prefix of `mlflow server --static-prefix` as well.

Promises: each path answers in both places, by the same function and under the same login. A proxy often lets through nothing but what is
below the prefix, and that address is what users know the server by. Does not: take the place of a login.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

_PREFIX: Final = "_MLFLOW_STATIC_PREFIX"
"""Where MLflow's command line leaves the prefix for the processes that it starts."""


def places(path: str) -> tuple[str, ...]:
    """The paths under which `path` is served."""
    prefix = os.environ.get(_PREFIX, "").rstrip("/")
    return (path, f"{prefix}{path}") if prefix else (path,)


def serve(flask_app: Any, path: str, endpoint: str, view: Callable[..., Any], *, method: str = "GET") -> None:
    """Have `view` answer at each of the places of `path`."""
    for place in places(path):
        flask_app.add_url_rule(place, endpoint=endpoint, view_func=view, methods=[method])
