"""This installation: versions, rivals, packages that the settings need, and which classes MLflow really uses.

MLflow is asked in a process of its own: an entry point that failed to load is a mere warning there, after which the
built-in classes stay in place without a gate.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec

from governance import __version__
from governance.cli.checkup.check import Check, fail, ok, warn
from governance.cli.output import Line
from governance.errors import ConfigurationError
from governance.settings import Settings
from plugin.entry import RIVAL, is_rival_installed

_SECONDS = 60
_SHOWN = 300
Diagnose = Callable[[], dict[str, str]]


def install_checks(settings: Settings, diagnose: Diagnose | None = None) -> tuple[Check, ...]:
    """All checks of this module. `diagnose` returns MLflow's registry: scheme to class or factory."""
    return (
        Check(subject="versions", look=_versions),
        Check(subject="rival plugin", look=_rival),
        Check(subject="extras", look=lambda: _extras(settings)),
        Check(subject="other packages", look=_extensions),
        Check(subject="MLflow schemes", look=lambda: _schemes(diagnose or ask_mlflow)),
    )


def ask_mlflow() -> dict[str, str]:
    """What MLflow has registered for our schemes in this environment, by asking it. Raises `ConfigurationError` where it cannot say."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "plugin.diagnose"],
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            text=True,
        )
        # The last line is ours: what stands before it was printed by packages that MLflow imports.
        found: dict[str, str] = json.loads("".join(done.stdout.splitlines()[-1:]))
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise ConfigurationError(
            f"MLflow could not be asked: {told[-1][:_SHOWN] if told else 'it said nothing'}",
            hint="`python -m plugin.diagnose` shows where that comes from.",
        ) from error
    return found


def _versions() -> Iterator[Line]:
    try:
        yield ok(
            "versions",
            f"mlgov {__version__}, MLflow {metadata.version('mlflow')}, Python {sys.version.split()[0]}",
        )
    except metadata.PackageNotFoundError:
        yield fail("versions", "MLflow is not installed in this environment", "`pip install mlflow`")


def _rival() -> Iterator[Line]:
    if is_rival_installed():
        yield fail(
            "rival plugin",
            f"`{RIVAL}` is installed: it claims the scheme `artifactory` too, and MLflow lets the last one win",
            f"`pip uninstall {RIVAL}`; then reinstall `mlflow-governance`, whose package `plugin` it may have overwritten.",
        )
    else:
        yield ok("rival plugin", f"`{RIVAL}` is not installed")


def _extras(settings: Settings) -> Iterator[Line]:
    """What the tracking server is told to do and cannot: it would not start."""
    for setting, is_set, module, extra in (
        ("metrics", settings.metrics, "prometheus_client", "metrics"),
        ("server_auth", settings.server_auth == "basic-auth", "flask_wtf", "auth"),
    ):
        if is_set and find_spec(module) is None:
            yield fail(
                "extras",
                f"`{setting}` needs the extra `{extra}`, and a tracking server does not start without it",
                f"`pip install 'mlflow-governance[{extra}]'`",
            )


def _extensions() -> Iterator[Line]:
    """Facts and collectors that other packages add. One that does not load leaves facts unknown, which may refuse."""
    from governance.collect.extensions import extensions

    found = extensions()
    for problem in found.problems:
        yield fail(
            "other packages",
            str(problem),
            "Fix or remove the package that has it; until then its facts are unknown.",
        )
    good = [name for name, maker in found.makers.items() if callable(maker)]
    if good:
        yield ok("other packages", f"collectors: {', '.join(sorted(good))}")


def _schemes(diagnose: Diagnose) -> Iterator[Line]:
    registered = diagnose()
    if not registered:
        yield fail("MLflow schemes", "MLflow knows none of them", "Reinstall `mlflow-governance`.")
        return
    for scheme, needed in (("artifactory", True), ("mlflow-artifacts", False), ("runs", False)):
        owner = registered.get(scheme, "nobody")
        if owner.startswith("plugin."):
            yield ok("MLflow schemes", f"`{scheme}:` is handled by `{owner}`")
        elif needed:
            yield fail(
                "MLflow schemes",
                f"`{scheme}:` is handled by `{owner}`: no policy is applied",
                "Reinstall `mlflow-governance`; `python -m plugin.diagnose` shows what MLflow says.",
            )
        else:
            yield warn(
                "MLflow schemes",
                f"`{scheme}:` is handled by `{owner}`: refusals reach this client without their type",
                "Remove the package that claims the scheme.",
            )
