"""The demo's stage: one folder, the two servers in it, and the means to act like a user.

Promises: everything that the demo makes lies in one folder; the servers end with the stage. Does not: tell the story
(see `scenes`).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from governance.cli.stage.processes import (
    ChildFailedError,
    Server,
    Session,
    clean_environment,
    free_port,
    tail_of,
)
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.devserver import DevServer

REPOSITORY = "models-local"
_MARKER = ".mlgov-demo"
_START_SECONDS = 120
_COMMAND_SECONDS = 120
_direct = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended: its exit code and what it printed."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays. `environment` is what a user would set."""

    folder: Path
    artifactory: DevServer
    tracking_url: str
    environment: Mapping[str, str]
    settings: Mapping[str, str]
    session: Session

    def script(self, name: str, *arguments: str, expected: int = 0, **environment: str) -> Any:
        """Run `plugin.demo.NAME` as a user would; what it wrote to its `--json` file.

        Raises `ChildFailedError` where it exits with another code than `expected`.
        """
        number = len(list(self.logs.glob("*.json"))) + 1
        result = self.logs / f"{number:02}-{name}.json"
        log = result.with_suffix(".log")
        code = self.session.run(
            f"plugin.demo.{name}",
            [*arguments, "--json", str(result)],
            environment={**self.environment, **environment},
            log=log,
        )
        if code != expected or not result.exists():
            raise ChildFailedError(
                f"`plugin.demo.{name}` ended with {code} instead of {expected}:\n{tail_of(log)}",
                hint=f"Its whole output is `{log}`, the tracking server's is `{self.logs / 'mlflow.log'}`.",
            )
        return json.loads(result.read_text(encoding="utf-8"))

    def mlgov(self, *arguments: str, expected: Sequence[int] = (0,)) -> Done:
        """Run `mlgov ARGUMENTS` as a user would. Raises `ChildFailedError` for an exit code that is not expected."""
        # S603: our own command with arguments of the story; no shell is involved.
        done = subprocess.run(  # noqa: S603 - a list of our own making, no shell
            [sys.executable, "-m", "governance.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environment, "COLUMNS": "108"},  # what it prints is set in by two
            cwd=self.folder,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        text = done.stdout.decode(errors="replace").rstrip()
        if done.returncode not in expected:
            raise ChildFailedError(f"`mlgov {' '.join(arguments)}` ended with {done.returncode}:\n{text}")
        return Done(code=done.returncode, text=text)

    def location(self, path: str = "") -> str:
        """The `artifactory://` location of a path in the repository."""
        return f"artifactory://{self.artifactory.host}/artifactory/{REPOSITORY}/{path}".rstrip("/")

    @property
    def logs(self) -> Path:
        """Where the output of servers and scripts goes."""
        return self.folder / "logs"


def prepare_folder(folder: Path) -> Path:
    """An empty folder for a new run. What an earlier run left is removed; anything else is left alone.

    Raises `SettingsError` for a folder that holds something else.
    """
    folder = folder.expanduser().absolute()
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARKER).exists()):
            raise SettingsError(
                f"`{folder}` exists and is not the folder of an earlier demo",
                hint="Name another with `--folder`.",
            )
        shutil.rmtree(folder)
    try:
        for path in (folder, folder / "logs", folder / "home", folder / "tmp"):
            path.mkdir(parents=True, mode=0o700)
        (folder / _MARKER).touch()
    except OSError as error:
        raise SettingsError(f"`{folder}` cannot be made: {error.strerror}") from error
    return folder


@contextmanager
def artifactory_server(folder: Path) -> Iterator[DevServer]:
    """The embedded server, in a thread of this process, so that nothing of it can be left behind."""
    try:
        from governance.devserver import DevServer, DevServerConfig
    except ImportError as error:
        from governance.cli.serve import missing_extra

        raise missing_extra(error) from error

    server = DevServer.start(DevServerConfig(root=folder / "artifactory"))
    try:
        yield server
    finally:
        server.stop()


def user_settings(folder: Path, server: DevServer, tracking_url: str) -> dict[str, str]:
    """The variables that a user sets to work with the two servers."""
    home = folder / "home"
    return {
        "MLFLOW_TRACKING_URI": tracking_url,
        "ARTIFACTORY_AUTH_TOKEN": server.token("alice"),
        "MLGOV_ARTIFACTORY_URL": server.artifactory_url,
        "MLGOV_ENVIRONMENT": "production",
        "MLGOV_HOME": str(home),
        "MLGOV_POLICY_PATH": str(folder / "policies"),
        "MLGOV_KEY_PASSPHRASE_FILE": str(home / "passphrase"),
    }


def write_passphrase(folder: Path) -> None:
    """A random passphrase for the signing key, for its owner to read."""
    path = folder / "home" / "passphrase"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))


@contextmanager
def tracking_server(stage: Stage) -> Iterator[Server]:
    """A real MLflow tracking server with the plugin and our app. It takes a while until it answers."""
    port = stage.tracking_url.rpartition(":")[2]
    command = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", port, "--workers", "1",
        "--app-name", "governance",
        "--backend-store-uri", f"sqlite:///{stage.folder / 'mlflow.db'}",
        "--artifacts-destination", stage.location(),
    ]  # fmt: skip
    log = stage.logs / "mlflow.log"
    with Server(
        "the tracking server", command, environment=stage.environment, log=log, cwd=stage.folder
    ) as server:
        yield server


def wait_for_tracking(stage: Stage, server: Server) -> None:
    """Wait until the tracking server answers. Raises `ChildFailedError`."""
    server.wait_until(lambda: answers(f"{stage.tracking_url}/health"), seconds=_START_SECONDS)


def child_environment(settings: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """The environment of every child: the user's settings, temporary files in the demo's own folder, and nothing that
    phones home or draws bars into logs.
    """
    quiet = {
        "TMPDIR": str(temporary),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONUNBUFFERED": "1",
    }
    return clean_environment(os.environ, {**quiet, **settings})


def answers(url: str) -> bool:
    """Whether a server answers this URL with a success."""
    try:
        with _direct.open(url, timeout=5) as response:
            ok: bool = response.status == 200
            return ok
    except (URLError, OSError):
        return False


@contextmanager
def open_stage(folder: Path, artifactory: DevServer) -> Iterator[Stage]:
    """The stage around a running Artifactory. The tracking server gets its address now and is started later."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = user_settings(folder, artifactory, url)
    environment = child_environment(settings, folder / "tmp")
    log = folder / "logs" / "session.log"
    try:
        with Session("plugin.demo.session", environment=environment, log=log, cwd=folder) as session:
            yield Stage(
                folder=folder,
                artifactory=artifactory,
                tracking_url=url,
                environment=environment,
                settings=settings,
                session=session,
            )
    finally:
        shutil.rmtree(folder / "tmp", ignore_errors=True)  # copies of models, which MLflow leaves behind
