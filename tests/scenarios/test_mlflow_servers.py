"""The server app under gunicorn, and with MLflow's basic-auth underneath, for both kinds of servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.tracking import MlflowClient

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from plugin.errors import BlockedModelError, QuarantinedModelError
from tests.mlflow_tools import (
    Home,
    TrackingServer,
    bodies,
    environment,
    fitted_model,
    make_home,
    tracking_server,
)

REPO = "servers-local"
PASSWORD = "a long admin password"
PLAIN: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver)


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def server(
    request: pytest.FixtureRequest, devserver: DevServer, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackingServer]:
    """A tracking server with basic-auth. Under gunicorn it has two workers, so files of one model arrive at both."""
    folder = tmp_path_factory.mktemp(request.param)
    config = folder / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = boss\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    env = {
        **home.env,
        "MLGOV_SERVER_AUTH": "basic-auth",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of a test",
    }
    destination = f"artifactory://{devserver.host}/artifactory/{REPO}/{request.param}"
    gunicorn = request.param == "gunicorn"
    own = {name: value for name, value in home.env.items() if name.startswith("MLFLOW")}
    user = {"MLFLOW_TRACKING_USERNAME": "boss", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    with (
        tracking_server(folder, env, destination, gunicorn=gunicorn, workers=2 if gunicorn else 1) as running,
        environment({**own, **user}),
    ):
        mlflow.set_tracking_uri(running.url)
        yield running
        mlflow.set_tracking_uri(None)


def log(server: TrackingServer) -> tuple[Any, str]:
    """A model, and its root below the repository."""
    kind = server.log.parent.name.rstrip("0123456789")
    mlflow.set_experiment("servers")
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(fitted_model(), name="model", **PLAIN)
    return info, f"{kind}/{run.info.experiment_id}/models/{info.model_id}/artifacts"


def test_the_login_stays_closed(server: TrackingServer) -> None:
    url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/x/y"
    assert requests.get(url, timeout=30).status_code == 401
    assert requests.put(url, data=b"x", auth=("boss", "wrong"), timeout=30).status_code == 401


def test_who_logged_in_is_on_record_as_authenticated(
    server: TrackingServer, home: Home, devserver: DevServer
) -> None:
    info, root = log(server)
    assert f"{root}/model.sig" in devserver.paths(REPO)
    actors = [body["actor"] for body in bodies(home.entries(EntryKind.DECISION, subject=f"{REPO}/{root}"))]
    assert {(actor["name"], actor["authentication"]) for actor in actors} == {("boss", "basic-auth")}
    mlflow.pyfunc.load_model(info.model_uri)
    properties = home.assembly().artifactory(devserver.host).properties(REPO, root)
    assert properties["mlgov.user"] == ("boss",)


def test_refusals_reach_the_client_typed(server: TrackingServer, devserver: DevServer) -> None:
    info, root = log(server)
    devserver.hold_scans(REPO, root)
    with pytest.raises(QuarantinedModelError):
        mlflow.pyfunc.load_model(info.model_uri)
    devserver.release_scans()
    devserver.put_bytes_behind_the_scenes(REPO, f"{root}/model.pkl", b"other")
    for uri in (info.model_uri, f"runs:/{info.run_id}/model"):
        with pytest.raises(BlockedModelError) as caught:
            mlflow.pyfunc.load_model(uri)
        assert caught.value.findings[0].rule == "test-models/unsigned"


def test_list_and_delete(server: TrackingServer, devserver: DevServer, home: Home, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("x")
    mlflow.set_experiment("servers")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "f.txt"))
    assert [item.path for item in MlflowClient().list_artifacts(run.info.run_id)] == ["f.txt"]
    path = f"{run.info.experiment_id}/{run.info.run_id}/artifacts/f.txt"
    answer = requests.delete(
        f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{path}", auth=("boss", PASSWORD), timeout=30
    )
    assert answer.status_code == 200
    assert not any(stored.endswith(f"{path}") for stored in devserver.paths(REPO))
    kind = server.log.parent.name.rstrip("0123456789")
    (deleted,) = [
        body
        for body in bodies(home.entries(EntryKind.DECISION, subject=f"{REPO}/{kind}/{path}"))
        if body["action"] == "delete"
    ]
    assert deleted["actor"]["name"] == "boss"
    assert deleted["actor"]["authentication"] == "basic-auth"
