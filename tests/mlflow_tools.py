"""What the MLflow scenarios need: a home with key, trust and policy; a real `mlflow server`; models to log."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import mlflow
import requests

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.devserver import DevServer
from governance.settings import Settings
from governance.signing.keyring import init_key
from governance.wiring import Assembly, build_assembly

PASSPHRASE = "correct horse battery staple"

POLICIES = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: test-models, title: Models under test, owner: tests@example.org}
spec:
  match: {actions: [download, load, promote], repositories: ["*"], kinds: [model]}
  default: allow
  rules:
    - id: malicious
      effect: block
      severity: critical
      waivable: never
      when: {fact: xray.malicious, is: true}
      onUnknown: skip
      message: "{artifact.ref} is reported malicious"
      remediation: Do not load it.
    - id: unsigned
      effect: block
      severity: high
      when: {fact: signature.valid, is: false}
      onUnknown: match
      message: "the signature is not good: {signature.reason}"
      remediation: Have it signed.
    - id: scanned
      effect: quarantine
      severity: high
      when: {fact: scan.complete, is: false}
      onUnknown: match
      message: not scanned yet
---
apiVersion: mlgov/v1
kind: Policy
metadata: {name: test-rest, title: Everything else, owner: tests@example.org}
spec:
  match: {actions: [download, load, upload, delete], repositories: ["*"]}
  default: allow
  rules:
    - id: forbidden-name
      effect: block
      severity: low
      when: {fact: artifact.name, matches: {glob: "forbidden*"}}
      onUnknown: skip
      message: "{artifact.name} is a forbidden name"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home below `path`, and the environment that points at it."""

    path: Path
    env: Mapping[str, str]

    def assembly(self, **overrides: Any) -> Assembly:
        """The parts for this home, to look into its audit log."""
        settings = Settings(
            home=self.path,
            policy_path=self.path / "policy.yaml",
            environment="production",
            artifactory_url=self.env["MLGOV_ARTIFACTORY_URL"],
            xray_url=self.env["MLGOV_XRAY_URL"],
            key_passphrase=PASSPHRASE,
            ARTIFACTORY_AUTH_TOKEN=self.env["ARTIFACTORY_AUTH_TOKEN"],
            **overrides,
        )
        return build_assembly(settings)

    def entries(self, kind: EntryKind, **query: Any) -> list[Stored]:
        """Entries of the audit log."""
        parts = self.assembly()
        try:
            return list(parts.log.find(kind=kind, **query))
        finally:
            parts.close()


def bodies(rows: Sequence[Stored]) -> list[Any]:
    """The bodies of entries, to look into."""
    return [row.entry.body for row in rows]


def make_home(
    path: Path,
    devserver: DevServer,
    *,
    user: str = "alice",
    policy: str = POLICIES,
    key: bool = True,
    environment: str = "production",
) -> Home:
    """Make a home: signing key, trust file, policy, and the settings as environment variables."""
    path.mkdir(parents=True, exist_ok=True)
    if key:
        init_key(
            path / "keys/signing.pem",
            path / "trust.json",
            PASSPHRASE,
            name="team",
            at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    (path / "policy.yaml").write_text(policy)
    env = {
        "MLGOV_HOME": str(path),
        "MLGOV_ENVIRONMENT": environment,
        "MLGOV_POLICY_PATH": str(path / "policy.yaml"),
        "MLGOV_KEY_PASSPHRASE": PASSPHRASE,
        "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
        "MLGOV_XRAY_URL": devserver.xray_url,
        "MLGOV_REUSE_SECONDS": "0",
        "ARTIFACTORY_AUTH_TOKEN": devserver.token(user),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    return Home(path=path, env=env)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, and none of another home, for the duration."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MLGOV_", "ARTIFACTORY_", "_MLFLOW_"))]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingServer:
    """A running `mlflow server`. `pid` is also the number of its process group."""

    url: str
    log: Path
    pid: int
    stop: Callable[[], None] = field(repr=False)


@contextmanager
def tracking_server(
    folder: Path,
    env: Mapping[str, str],
    destination: str,
    *,
    database: Path | None = None,
    gunicorn: bool = False,
    workers: int = 1,
    app: str | None = "governance",
    options: Sequence[str] = (),
    prefix: str = "",
) -> Iterator[TrackingServer]:
    """A real `mlflow server` with an SQLite backend, which is gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    store = database or folder / "mlflow.db"
    if not store.exists():
        shutil.copy(database_template(), store)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{store}",
        "--artifacts-destination", destination, "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
        *(["--app-name", app] if app else []),
        *(["--gunicorn-opts", "--timeout 120 --threads 4"] if gunicorn else []),
        *options,
    ]  # fmt: skip
    log = folder / f"server-{port}.log"
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLGOV_", "ARTIFACTORY_"))
    }
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=clean | extra | dict(env), stdout=out, stderr=out, start_new_session=True, cwd=folder
        )
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            _end(process)

    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}{prefix}", process, log)
        yield TrackingServer(url=url, log=log, pid=process.pid, stop=stop)
    finally:
        stop()


@contextmanager
def used_server(
    folder: Path,
    home: Home,
    repository: str,
    *,
    below: str = "ml",
    login: Mapping[str, str] = MappingProxyType({}),
    **more: Any,
) -> Iterator[TrackingServer]:
    """A tracking server that keeps its artifacts in `REPOSITORY/BELOW`, and which MLflow in this process uses with `login`."""
    host = urlsplit(home.env["MLGOV_ARTIFACTORY_URL"]).netloc
    env = {**home.env, **more.pop("env", {})}
    with (
        tracking_server(
            folder, env, f"artifactory://{host}/artifactory/{repository}/{below}", **more
        ) as running,
        environment(
            {name: value for name, value in home.env.items() if name.startswith("MLFLOW")} | dict(login)
        ),
    ):
        mlflow.set_tracking_uri(running.url)
        mlflow.set_registry_uri(running.url)
        try:
            yield running
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)


def basic_auth(folder: Path, admin: tuple[str, str], *, cached: bool = True) -> dict[str, str]:
    """The environment of a server with MLflow's own login and this administrator. `cached` has MLflow hash each good password once
    a minute: it takes 0.16 s, and logging a model asks for it some forty times."""
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {admin[0]}\nadmin_password = {admin[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"auth_cache_ttl_seconds = {60 if cached else 0}\n"
    )
    return {
        "MLGOV_SERVER_AUTH": "basic-auth",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of a test",
    }


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"the tracking server did not start:\n{log.read_text()[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=15)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


@functools.cache
def database_template() -> Path:
    """An SQLite backend with its tables. Making them takes longer than anything else here, so it is done once."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = Path(tempfile.mkdtemp(prefix="mlgov-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder / "unused")).engine.dispose()
    return folder / "mlflow.db"


def fitted_model() -> Any:
    """A small real model."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, labels = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=300).fit(features, labels)


NOT_THROUGH_MLFLOW = ("per%20cent.txt", "hash#tag.txt", "%2e%2e%2fup.txt")
"""Names that MLflow's artifact proxy cuts or changes; straight to Artifactory they work."""

NASTY_NAMES = (
    "plain.txt", "with space.txt", "semi;colon=1.txt", "100%.txt", "a+b.txt", "ünïcödé-模型.txt", "quote'.txt", "amp&eq=.txt", "a,b@c!.txt", "[brackets]{}.txt", "~tilde$.txt",
)  # fmt: skip


class Malicious:
    """Unpickling runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.marker}",))
