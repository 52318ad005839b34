"""MLflow's workspaces: one tracking server, its artifacts apart by workspace, under the same gate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from plugin.errors import BlockedModelError
from tests.mlflow_tools import (
    POLICIES,
    Home,
    Malicious,
    TrackingServer,
    bodies,
    fitted_model,
    make_home,
    used_server,
)

REPO = "workspaces-local"
PLAIN: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}
TEAM = "team-b"


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver, policy=POLICIES)


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    env, options = {"MLGOV_PROMOTIONS": "champion=production"}, ("--enable-workspaces",)
    with used_server(tmp_path_factory.mktemp("server"), home, REPO, env=env, options=options) as running:
        MlflowClient().create_workspace(TEAM)
        yield running


@contextmanager
def inside(workspace: str) -> Iterator[None]:
    mlflow.set_workspace(workspace)
    try:
        yield
    finally:
        mlflow.set_workspace(None)


def log(model: Any, name: str | None = None) -> Any:
    """A model, logged and perhaps registered, in the workspace at hand."""
    mlflow.set_experiment("all")
    with mlflow.start_run():
        return mlflow.sklearn.log_model(model, name="model", registered_model_name=name, **PLAIN)


@pytest.fixture(scope="module")
def logged(server: TrackingServer) -> dict[str, Any]:
    """A good model of the same name in each workspace."""
    found = {}
    for workspace in ("default", TEAM):
        with inside(workspace):
            found[workspace] = log(fitted_model(), "fraud")
    return found


def root_of(info: Any, workspace: str) -> str:
    with inside(workspace):
        experiment = mlflow.get_logged_model(info.model_id).experiment_id
    return f"ml/workspaces/{workspace}/{experiment}/models/{info.model_id}/artifacts"


@pytest.mark.parametrize("workspace", ["default", TEAM])
def test_models_are_signed_loaded_and_promoted_within_their_workspace(
    server: TrackingServer, home: Home, devserver: DevServer, logged: dict[str, Any], workspace: str
) -> None:
    info, root = logged[workspace], root_of(logged[workspace], workspace)
    assert f"{root}/model.sig" in devserver.paths(REPO)
    with inside(workspace):
        MlflowClient().set_registered_model_alias("fraud", "champion", "1")
        for uri in (
            info.model_uri,
            "models:/fraud/1",
            "models:/fraud@champion",
            f"runs:/{info.run_id}/model",
        ):
            assert len(mlflow.pyfunc.load_model(uri).predict(np.zeros((1, 4)))) == 1
    rows = bodies(home.entries(EntryKind.DECISION, subject=f"{REPO}/{root}"))
    assert {row["action"] for row in rows} == {"upload", "load", "promote"}
    assert {row["artifact"]["name"] for row in rows} == {info.model_id}


def test_a_malicious_model_is_refused_in_a_workspace_too(server: TrackingServer, tmp_path: Path) -> None:
    with inside(TEAM):
        info = log(Malicious(tmp_path / "ran"))
        for uri in (info.model_uri, f"runs:/{info.run_id}/model"):
            with pytest.raises(BlockedModelError):
                mlflow.pyfunc.load_model(uri)
    assert not (tmp_path / "ran").exists()


def test_models_of_one_name_are_told_apart_on_record(
    server: TrackingServer, home: Home, logged: dict[str, Any]
) -> None:
    with inside(TEAM):
        MlflowClient().rename_registered_model("fraud", "deceit")
        MlflowClient().rename_registered_model("deceit", "fraud")
    rows = bodies(home.entries(EntryKind.REGISTRATION))
    assert {row["name"]: row["artifact"]["name"] for row in rows if row["event"] == "created"} == {
        "fraud": logged["default"].model_id,
        f"{TEAM}/fraud": logged[TEAM].model_id,
    }
    renamed = [(row["before"], row["name"]) for row in rows if row["event"] == "renamed"]
    assert renamed[0] == (f"{TEAM}/fraud", f"{TEAM}/deceit")


@pytest.mark.parametrize(
    "path",
    ["{root}", "1/models/{id}/artifacts", "workspaces/../{root}", "workspaces/default/x/../../../{root}"],
)
def test_one_workspace_reads_nothing_of_another(
    server: TrackingServer, logged: dict[str, Any], path: str
) -> None:
    root = root_of(logged["default"], "default").removeprefix("ml/")
    place = path.format(root=root, id=logged["default"].model_id)
    answer = requests.get(
        f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{place}/model.pkl",
        headers={"X-MLFLOW-WORKSPACE": TEAM},
        timeout=30,
    )
    assert answer.status_code in {400, 404}, answer.text


def test_a_location_of_another_workspace_is_no_source_of_a_version(
    server: TrackingServer, logged: dict[str, Any]
) -> None:
    """A version of one workspace would be judged by the good files of another, and loaded from its own path."""
    root = root_of(logged["default"], "default").removeprefix("ml/")
    short = root.removeprefix("workspaces/default/")
    with inside(TEAM):
        client = MlflowClient()
        client.create_registered_model("slipped")
        for source in (
            f"mlflow-artifacts:/{root}",
            f"mlflow-artifacts:/{short}",
            logged["default"].model_uri,
        ):
            with pytest.raises(MlflowException):
                client.create_model_version("slipped", source, run_id=logged[TEAM].run_id)
