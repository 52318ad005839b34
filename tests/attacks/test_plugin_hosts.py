"""Attack: a client chooses an artifact location on another host, and waits there for the server's token.

Seen with the stock plugin: whoever may create an experiment may set its `artifact_location`; asking the tracking server to
list a run of it makes the server send its own `Authorization` header to that host.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from governance.devserver import DevServer
from plugin.errors import GovernanceUnavailableError
from tests.mlflow_tools import Home, TrackingServer, environment, make_home, tracking_server


class Trap:
    """Another host, which writes down every request it gets."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | None]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append((self.path, self.headers.get("Authorization")))
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_DELETE = do_POST = do_HEAD = do_GET  # noqa: N815 - names that `http.server` looks for

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository("hosts-local")
    return make_home(tmp_path_factory.mktemp("home"), devserver)


@pytest.fixture(scope="module")
def server(
    devserver: DevServer, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackingServer]:
    folder = tmp_path_factory.mktemp("server")
    destination = f"artifactory://{devserver.host}/artifactory/hosts-local"
    # The server knows its Artifactory from its own command line; that is all it may trust.
    env = {name: value for name, value in home.env.items() if name != "MLGOV_ARTIFACTORY_URL"} | {
        "ARTIFACTORY_NO_SSL": "true"
    }
    with tracking_server(folder, env, destination) as running:
        yield running


def test_the_server_sends_nothing_to_a_host_that_a_client_chose(
    server: TrackingServer, trap: Trap, tmp_path: Path
) -> None:
    client = MlflowClient(server.url)
    location = f"artifactory://{trap.host}/artifactory/repo"
    experiment = client.create_experiment(f"ssrf {trap.host}", artifact_location=location)
    run = client.create_run(experiment)
    answers = [
        requests.get(
            f"{server.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run.info.run_id}, timeout=30
        ),
        requests.get(
            f"{server.url}/get-artifact", params={"run_id": run.info.run_id, "path": "x"}, timeout=30
        ),
    ]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert all(answer.json()["error_class"] == "GOVERNANCE_UNAVAILABLE" for answer in answers)
    assert trap.heard == []


def test_the_servers_token_is_not_used_in_a_repository_that_a_client_chose(
    server: TrackingServer, devserver: DevServer
) -> None:
    """The host is right, and the server's token may do there what its caller may not: read others' models, or put a package
    where people install from."""
    other = devserver.create_repository("others-local")
    devserver.put(other, "secret/MLmodel", b"flavors: {}\n")
    client = MlflowClient(server.url)
    location = f"artifactory://{devserver.host}/artifactory/{other}"
    run = client.create_run(client.create_experiment("elsewhere", artifact_location=location)).info.run_id
    answers = [
        requests.get(f"{server.url}/api/2.0/mlflow/artifacts/list", params={"run_id": run}, timeout=30),
        requests.get(f"{server.url}/get-artifact", params={"run_id": run, "path": "x"}, timeout=30),
        requests.post(
            f"{server.url}/ajax-api/2.0/mlflow/upload-artifact",
            params={"run_uuid": run, "path": "evil-1.0.whl"},
            data=b"PK",
            timeout=30,
        ),
    ]
    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert all("none of this tracking server's own" in answer.json()["message"] for answer in answers)
    assert devserver.paths(other) == ("secret/MLmodel",)
    devserver.remove_repository(other)


def test_the_servers_own_destination_works_without_further_settings(
    server: TrackingServer, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(server.url)
    try:
        (tmp_path / "f").write_text("x")
        mlflow.set_experiment("own")
        with mlflow.start_run() as run:
            mlflow.log_artifact(str(tmp_path / "f"))
        assert [info.path for info in MlflowClient(server.url).list_artifacts(run.info.run_id)] == ["f"]
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    "uri",
    [
        "artifactory://{trap}/artifactory/repo",
        "artifactory://{own}@{trap}/artifactory/repo",
        "artifactory://{own}%40{trap}/artifactory/repo",
        "artifactory://{own}:80@{trap}/artifactory/repo",
        "artifactory://{trap}#{own}/artifactory/repo",
        "artifactory://{trap}?{own}/artifactory/repo",
        "artifactory://{own}.{trap}/artifactory/repo",
        "artifactory://{trap}\\@{own}/artifactory/repo",
        "artifactory:///{trap}/artifactory/repo",
    ],
)
def test_a_client_sends_nothing_to_a_host_that_is_not_its_own(
    devserver: DevServer, home: Home, trap: Trap, tmp_path: Path, uri: str
) -> None:
    (tmp_path / "f").write_text("x")
    with environment(home.env), pytest.raises(GovernanceUnavailableError):
        get_artifact_repository(uri.format(trap=trap.host, own=devserver.host)).log_artifact(
            str(tmp_path / "f")
        )
    assert trap.heard == []


def test_the_error_says_how_to_allow_a_host_and_not_the_token(home: Home, trap: Trap) -> None:
    with environment(home.env), pytest.raises(GovernanceUnavailableError) as caught:
        get_artifact_repository(f"artifactory://{trap.host}/artifactory/repo")
    assert "MLGOV_ARTIFACTORY_URL" in str(caught.value)
    assert home.env["ARTIFACTORY_AUTH_TOKEN"] not in str(caught.value) + str(caught.value.to_json())
