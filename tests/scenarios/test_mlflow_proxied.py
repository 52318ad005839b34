"""Models through a real tracking server (uvicorn), and the same models straight to Artifactory."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from governance.audit.entry import EntryKind
from governance.devserver import DevServer, Fault
from plugin.errors import BlockedModelError, GovernedStorageError, QuarantinedModelError
from tests.mlflow_tools import (
    NASTY_NAMES,
    NOT_THROUGH_MLFLOW,
    Home,
    Malicious,
    TrackingServer,
    bodies,
    environment,
    fitted_model,
    make_home,
    tracking_server,
    used_server,
)

REPO = "proxied-local"
PLAIN: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver)


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with used_server(tmp_path_factory.mktemp("server"), home, REPO) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(devserver: DevServer, server: TrackingServer) -> Iterator[None]:
    yield
    devserver.faults.clear()
    devserver.release_scans()


@pytest.fixture(scope="module")
def model() -> Any:
    return fitted_model()


@pytest.fixture(scope="module")
def logged(server: TrackingServer, model: Any) -> Any:
    """A model logged and registered through the server."""
    mlflow.set_experiment("good")
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model, name="model", registered_model_name="iris", input_example=np.zeros((1, 4))
        )
    MlflowClient().set_registered_model_alias("iris", "prod", info.registered_model_version)
    return info


def storage_path(info: Any) -> str:
    experiment = mlflow.get_logged_model(info.model_id).experiment_id
    return f"ml/{experiment}/models/{info.model_id}/artifacts"


def log(model: Any, name: str = "model") -> Any:
    mlflow.set_experiment("various")
    with mlflow.start_run():
        return mlflow.sklearn.log_model(model, name=name, **PLAIN)


def test_a_logged_model_is_signed_as_it_becomes_ready(logged: Any, devserver: DevServer, home: Home) -> None:
    root = storage_path(logged)
    assert f"{root}/model.sig" in devserver.paths(REPO)
    assert not any(path.endswith(".mlgov.sig") for path in devserver.paths(REPO) if path.startswith(root))
    (made,) = [row.entry for row in home.entries(EntryKind.SIGNATURE, subject=f"{REPO}/{root}")]
    properties = home.assembly().artifactory(devserver.host).properties(REPO, root)
    assert properties["mlgov.digest"] == (made.body["digest"],)
    assert properties["mlgov.signature"] == (made.body["bundle"],)
    assert properties["mlgov.model"] == (logged.model_id,)
    envelope = json.loads(devserver.read(REPO, f"{root}/model.sig"))["dsseEnvelope"]
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    notes = subject["annotations"]
    assert notes["mlgov.uploader.authentication"] == "claimed"
    assert notes["mlgov.claimed.run"] == logged.run_id
    assert notes["mlgov.claimed.host"] == "127.0.0.1"


@pytest.mark.parametrize("form", ["models:/{id}", "models:/iris/1", "models:/iris@prod", "runs:/{run}/model"])
def test_every_uri_loads_and_predicts(logged: Any, model: Any, form: str) -> None:
    loaded = mlflow.pyfunc.load_model(form.format(id=logged.model_id, run=logged.run_id))
    sample = np.array([[5.1, 3.5, 1.4, 0.2]])
    assert loaded.predict(sample) == model.predict(sample)


def test_one_decision_stands_for_the_files_of_one_load(
    devserver: DevServer, home: Home, model: Any, tmp_path: Path
) -> None:
    info = log(model)
    mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(tmp_path))
    subject = f"{REPO}/{storage_path(info)}"
    loads = [
        row.entry
        for row in home.entries(EntryKind.OUTCOME, subject=subject)
        if row.entry.body["action"] == "load"
    ]
    assert loads
    assert {entry.body["status"] for entry in loads} == {"done"}
    assert len({entry.correlation for entry in loads}) == 1, "one id for the whole sequence"
    assert len(loads) > 3


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_files_with_any_name_go_through_the_server(server: TrackingServer, tmp_path: Path, name: str) -> None:
    mlflow.set_experiment("names")
    (tmp_path / name).write_bytes(name.encode())
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / name), "a folder")
    (tmp_path / "out").mkdir()
    listed = [info.path for info in MlflowClient().list_artifacts(run.info.run_id, "a folder")]
    assert listed == [f"a folder/{name}"]
    found = MlflowClient().download_artifacts(run.info.run_id, "a folder", str(tmp_path / "out"))
    assert (Path(found) / name).read_bytes() == name.encode()


@pytest.mark.parametrize("name", NOT_THROUGH_MLFLOW)
def test_a_name_that_mlflow_would_change_is_refused(
    server: TrackingServer, tmp_path: Path, name: str
) -> None:
    mlflow.set_experiment("names")
    (tmp_path / name).write_bytes(b"x")
    with mlflow.start_run() as run, pytest.raises(GovernedStorageError, match="cannot carry"):
        mlflow.log_artifact(str(tmp_path / name))
    assert MlflowClient().list_artifacts(run.info.run_id) == []


def test_a_malicious_pickle_is_refused_typed_by_every_uri(server: TrackingServer, tmp_path: Path) -> None:
    info = log(Malicious(tmp_path / "ran"))
    for uri in (info.model_uri, f"runs:/{info.run_id}/model"):
        with pytest.raises(BlockedModelError) as caught:
            mlflow.pyfunc.load_model(uri)
        error = caught.value
        assert error.findings[0].rule == "test-models/malicious"
        assert error.findings[0].remediation == "Do not load it."
        assert error.waiver_command is None
        assert pickle.loads(pickle.dumps(error)).decision_id == error.decision_id
    assert not (tmp_path / "ran").exists()


def test_a_refusal_is_told_once_and_not_for_each_file(server: TrackingServer, tmp_path: Path) -> None:
    info = log(Malicious(tmp_path / "ran"))
    with pytest.raises(BlockedModelError) as caught:
        mlflow.pyfunc.load_model(info.model_uri)
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("\n  decision ") == 1
    assert len(told.splitlines()) < 60


def test_a_refusal_leaves_nothing_behind(server: TrackingServer, tmp_path: Path) -> None:
    info = log(Malicious(tmp_path / "ran"))
    (tmp_path / "out").mkdir()
    for path in ("", "MLmodel"):
        with pytest.raises(BlockedModelError):
            get_artifact_repository(info.model_uri).download_artifacts(path, str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_not_scanned_yet_is_quarantined_and_loads_later(
    devserver: DevServer, server: TrackingServer, model: Any
) -> None:
    info = log(model)
    devserver.hold_scans(REPO, storage_path(info))
    with pytest.raises(QuarantinedModelError) as caught:
        mlflow.pyfunc.load_model(info.model_uri)
    assert caught.value.problem()["retryable"] is True
    devserver.release_scans()
    mlflow.pyfunc.load_model(info.model_uri)


@pytest.mark.parametrize("keep_checksums", [False, True])
def test_a_swapped_file_is_found_out(
    devserver: DevServer, server: TrackingServer, model: Any, tmp_path: Path, keep_checksums: bool
) -> None:
    info = log(model)
    place = f"{storage_path(info)}/model.pkl"
    devserver.put_bytes_behind_the_scenes(REPO, place, b"other bytes", keep_checksums=keep_checksums)
    (tmp_path / "out").mkdir()
    with pytest.raises(MlflowException) as caught:
        mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(tmp_path / "out"))
    assert caught.value.error_class.startswith("GOVERNANCE_")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unmodified_client_is_refused_all_the_same(
    server: TrackingServer, home: Home, tmp_path: Path
) -> None:
    info = log(Malicious(tmp_path / "ran"))
    code = (
        "import mlflow, sys\n"
        "from mlflow.store.artifact import artifact_repository_registry as r\n"
        "from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository as M\n"
        "from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository as R\n"
        "r._artifact_repository_registry.register('mlflow-artifacts', M)\n"
        "r._artifact_repository_registry.register('runs', R)\n"
        "for uri in sys.argv[1:]:\n"
        "    try: mlflow.pyfunc.load_model(uri)\n"
        "    except mlflow.exceptions.MlflowException as e: print(type(e).__name__, 'GOVERNANCE_BLOCKED' in str(e))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, info.model_uri, f"runs:/{info.run_id}/model"],
        env={**home.env, "MLFLOW_TRACKING_URI": server.url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == ["MlflowException True", "MlflowException False"]
    assert not (tmp_path / "ran").exists()


def test_a_refused_put_raises_at_the_client(server: TrackingServer, tmp_path: Path) -> None:
    mlflow.set_experiment("refused")
    (tmp_path / "forbidden.txt").write_text("x")
    with mlflow.start_run(), pytest.raises(BlockedModelError, match="forbidden"):
        mlflow.log_artifact(str(tmp_path / "forbidden.txt"))


def test_a_put_that_artifactory_refuses_raises_at_the_client(
    devserver: DevServer, server: TrackingServer, tmp_path: Path
) -> None:
    mlflow.set_experiment("refused")
    devserver.faults.add(Fault(method="PUT", path="*/notes.txt", status=403, times=None))
    (tmp_path / "notes.txt").write_text("x")
    with mlflow.start_run(), pytest.raises(GovernedStorageError) as caught:
        mlflow.log_artifact(str(tmp_path / "notes.txt"))
    assert caught.value.error_code == "PERMISSION_DENIED"
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("Artifactory: not permitted") == 1
    assert told.count("what to do: This is for whoever runs the tracking server") == 1


@pytest.mark.parametrize(
    ("status", "told"), [(507, "storage is full"), (413, "too large for the server"), (409, "as conflicting")]
)
def test_what_artifactory_refuses_for_good_is_told_at_once_and_not_asked_again(
    devserver: DevServer, server: TrackingServer, home: Home, tmp_path: Path, status: int, told: str
) -> None:
    mlflow.set_experiment("refused")
    devserver.faults.add(Fault(method="PUT", path="*/full.txt", status=status, times=None))
    (tmp_path / "full.txt").write_text("x")
    before = len(home.entries(EntryKind.OUTCOME))
    with mlflow.start_run(), pytest.raises(GovernedStorageError, match=told):
        mlflow.log_artifact(str(tmp_path / "full.txt"))
    assert len(home.entries(EntryKind.OUTCOME)) == before + 1


def test_two_models_at_once(server: TrackingServer, devserver: DevServer, model: Any) -> None:
    mlflow.set_experiment("at once")
    results: list[Any] = []

    def work(number: int) -> None:
        results.append(mlflow.sklearn.log_model(model, name=f"model{number}", **PLAIN))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    for info in results:
        assert f"{storage_path(info)}/model.sig" in devserver.paths(REPO)
        mlflow.pyfunc.load_model(info.model_uri)


def test_later_edits_by_mlflow_are_signed_again(server: TrackingServer, model: Any) -> None:
    from mlflow.models import infer_signature, set_signature, update_model_requirements

    info = log(model)
    sample = np.array([[5.1, 3.5, 1.4, 0.2]])
    set_signature(info.model_uri, infer_signature(sample, model.predict(sample)))
    update_model_requirements(info.model_uri, "add", ["packaging"])
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    assert loaded.metadata.signature is not None


def test_a_model_whose_upload_failed_is_not_signed(
    server: TrackingServer, devserver: DevServer, home: Home, model: Any
) -> None:
    before = len(home.entries(EntryKind.SIGNATURE))
    devserver.faults.add(Fault(method="PUT", path="*/model.pkl", status=403, times=None))
    with pytest.raises(MlflowException):
        log(model)
    assert len(home.entries(EntryKind.SIGNATURE)) == before


def test_signing_that_fails_is_told_and_a_repeat_mends_it(
    server: TrackingServer, devserver: DevServer, model: Any
) -> None:
    devserver.faults.add(Fault(method="PUT", path="*/model.sig", status=403, times=1))
    with pytest.raises(MlflowException):
        log(model, name="unlucky")
    (unlucky,) = mlflow.search_logged_models(filter_string="name = 'unlucky'", output_format="list")
    with pytest.raises(BlockedModelError, match="missing"):
        mlflow.pyfunc.load_model(f"models:/{unlucky.model_id}")
    mlflow.finalize_logged_model(unlucky.model_id, "READY")
    mlflow.pyfunc.load_model(f"models:/{unlucky.model_id}")


def test_signing_is_repeated_by_mlflows_own_client(
    server: TrackingServer, devserver: DevServer, model: Any
) -> None:
    # Artifactory gives up on the signature once, after all of our own tries; MLflow's client sends READY again.
    devserver.faults.add(
        Fault(method="PUT", path="*/model.sig", status=503, times=4, headers={"Retry-After": "0"})
    )
    mlflow.pyfunc.load_model(log(model).model_uri)


def test_the_ui_gets_the_same_refusal(server: TrackingServer, tmp_path: Path) -> None:
    info = log(Malicious(tmp_path / "ran"))
    path = storage_path(info).removeprefix("ml/")
    for route in ("api", "ajax-api"):
        answer = requests.get(
            f"{server.url}/{route}/2.0/mlflow-artifacts/artifacts/{path}/model.pkl", timeout=30
        )
        document = answer.json()
        assert (answer.status_code, document["error_class"]) == (403, "GOVERNANCE_BLOCKED")
        assert document["decision_id"]
    answer = requests.get(
        f"{server.url}/ajax-api/2.0/mlflow/logged-models/{info.model_id}/artifacts/files",
        params={"artifact_file_path": "model.pkl"},
        timeout=30,
    )
    assert answer.status_code == 403


def test_neither_presigned_nor_multipart_ways_around(server: TrackingServer, logged: Any) -> None:
    path = storage_path(logged).removeprefix("ml/")
    answer = requests.get(f"{server.url}/api/2.0/mlflow-artifacts/presigned/{path}/model.pkl", timeout=30)
    assert answer.status_code == 501
    answer = requests.post(
        f"{server.url}/api/2.0/mlflow-artifacts/mpu/create/{path}",
        json={"path": "x", "num_parts": 1},
        timeout=30,
    )
    assert answer.status_code == 501


def test_health(server: TrackingServer) -> None:
    assert requests.get(f"{server.url}/gov/health", timeout=10).json() == {
        "app": "governance",
        "status": "ok",
    }


def test_callers_without_login_are_recorded_as_claims(
    server: TrackingServer, home: Home, tmp_path: Path
) -> None:
    mlflow.set_experiment("callers")
    (tmp_path / "eve.txt").write_text("x")
    experiment = mlflow.get_experiment_by_name("callers").experiment_id
    url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/x/eve.txt"
    requests.put(url, data=b"x", auth=("eve", "made-up"), timeout=30).raise_for_status()
    (body,) = bodies(home.entries(EntryKind.DECISION, subject=f"{REPO}/ml/{experiment}/x/eve.txt"))
    actor = body["actor"]
    assert (actor["name"], actor["authentication"]) == ("eve", None)


def gc(server: TrackingServer, env: Mapping[str, str], home: Path, *arguments: str) -> str:
    """Run `mlflow gc` on the server's database. What it said."""
    database = server.log.parent / "mlflow.db"
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", f"sqlite:///{database}", *arguments],
        env={**env, "PATH": "/usr/bin:/bin", "HOME": str(home), "MLFLOW_TRACKING_URI": server.url},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_gc_deletes_what_was_deleted(
    server: TrackingServer, devserver: DevServer, home: Home, model: Any, tmp_path: Path
) -> None:
    mlflow.set_experiment("gc")
    (tmp_path / "f").write_text("x")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "f"))
        info = mlflow.sklearn.log_model(model, name="model", **PLAIN)
    root = storage_path(info)
    artifact = f"ml/{run.info.experiment_id}/{run.info.run_id}/artifacts/f"
    assert artifact in devserver.paths(REPO)
    MlflowClient().delete_run(run.info.run_id)
    gc(server, home.env, tmp_path, "--run-ids", run.info.run_id)
    assert artifact not in devserver.paths(REPO)
    assert f"{root}/MLmodel" in devserver.paths(REPO)
    MlflowClient().delete_logged_model(info.model_id)
    gc(server, home.env, tmp_path, "--logged-model-ids", info.model_id)
    assert not any(path.startswith(root) for path in devserver.paths(REPO))


def test_gc_keeps_files_where_the_skip_switch_says_so(
    server: TrackingServer, devserver: DevServer, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("x")
    with environment(home.env):
        mlflow.create_experiment(
            "kept", artifact_location=f"artifactory://{devserver.host}/artifactory/{REPO}/kept"
        )
        mlflow.set_experiment("kept")
        with mlflow.start_run() as run:
            mlflow.log_artifact(str(tmp_path / "f"))
    MlflowClient().delete_run(run.info.run_id)
    env = {**home.env, "ARTIFACTORY_ARTIFACTS_DELETE_SKIP": "True"}
    said = gc(server, env, tmp_path, "--run-ids", run.info.run_id)
    assert "stays in Artifactory" in said
    assert f"kept/{run.info.run_id}/artifacts/f" in devserver.paths(REPO)


def test_a_model_straight_to_artifactory_and_back(
    server: TrackingServer, devserver: DevServer, home: Home, model: Any
) -> None:
    location = f"artifactory://{devserver.host}/artifactory/{REPO}/direct"
    with environment(home.env):
        mlflow.create_experiment("direct", artifact_location=location)
        mlflow.set_experiment("direct")
        with mlflow.start_run() as run:
            info = mlflow.sklearn.log_model(model, name="model", registered_model_name="direct-iris", **PLAIN)
        root = f"direct/models/{info.model_id}/artifacts"
        assert f"{root}/model.sig" in devserver.paths(REPO)
        for uri in (
            info.model_uri,
            "models:/direct-iris/1",
            f"runs:/{run.info.run_id}/model",
            f"{location}/models/{info.model_id}/artifacts",
        ):
            mlflow.pyfunc.load_model(uri)
        devserver.put_bytes_behind_the_scenes(REPO, f"{root}/model.pkl", b"x")
        for uri in (info.model_uri, f"runs:/{run.info.run_id}/model"):
            with pytest.raises(BlockedModelError):
                mlflow.pyfunc.load_model(uri)


def test_a_restart_between_upload_and_ready_loses_nothing(
    devserver: DevServer, home: Home, server: TrackingServer, model: Any, tmp_path: Path
) -> None:
    """One server takes the files and is gone; another with the same database, which saw nothing of it, signs them."""
    destination = f"artifactory://{devserver.host}/artifactory/{REPO}/ml"
    database = server.log.parent / "mlflow.db"
    local = tmp_path / "model"
    mlflow.sklearn.save_model(model, str(local), **PLAIN)
    with tracking_server(tmp_path / "one", home.env, destination, database=database) as first:
        client = MlflowClient(first.url)
        experiment = client.create_experiment("restart")
        pending = client.create_logged_model(experiment, name="model")
        client.log_model_artifacts(pending.model_id, str(local))
    MlflowClient(server.url).finalize_logged_model(pending.model_id, "READY")
    mlflow.pyfunc.load_model(f"models:/{pending.model_id}")
    assert json.loads(devserver.read(REPO, f"ml/{experiment}/models/{pending.model_id}/artifacts/model.sig"))
