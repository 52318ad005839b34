"""The server app under uvicorn and gunicorn with two workers each, and with MLflow's basic-auth underneath.

What is signed is looked at with `mlgov verify`'s own means: every file is read from Artifactory and hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from mlflow.tracking import MlflowClient

from governance.artifactory.address import parse_uri
from governance.audit.entry import EntryKind
from governance.cli.reference import locate
from governance.cli.stored import hash_stored
from governance.devserver import DevServer
from governance.signing.report import SignatureReport
from governance.signing.verify import verify_bundle
from plugin.errors import BlockedModelError, QuarantinedModelError
from tests.mlflow_tools import (
    Home,
    TrackingServer,
    basic_auth,
    bodies,
    fitted_model,
    make_home,
    used_server,
)

REPO = "servers-local"
PASSWORD = "a long admin password"
PLAIN: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver)


@pytest.fixture(scope="module", params=["uvicorn", pytest.param("gunicorn", marks=pytest.mark.long)])
def server(
    request: pytest.FixtureRequest, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackingServer]:
    """A tracking server with basic-auth and two workers, so files of one model arrive at both."""
    folder = tmp_path_factory.mktemp(request.param)
    is_gunicorn = request.param == "gunicorn"
    env = basic_auth(folder, ("boss", PASSWORD), cached=not is_gunicorn)
    user = {"MLFLOW_TRACKING_USERNAME": "boss", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    with used_server(
        folder, home, REPO, below=request.param, login=user, env=env, gunicorn=is_gunicorn, workers=2
    ) as running:
        yield running


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


def test_metrics_are_not_there_unless_wanted(server: TrackingServer) -> None:
    assert requests.get(f"{server.url}/gov/metrics", auth=("boss", PASSWORD), timeout=30).status_code == 404


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


def test_promotions_pass_the_gate_at_every_worker_under_the_name_of_who_logged_in(
    server: TrackingServer, home: Home, devserver: DevServer
) -> None:
    kind = server.log.parent.name.rstrip("0123456789")
    client, name = MlflowClient(server.url), f"fraud-{kind}"
    info, root = log(server)
    client.create_registered_model(name)
    made = client.create_model_version(name, source=info.model_uri, model_id=info.model_id)
    client.set_registered_model_alias(name, "champion", made.version)
    (outcome,) = [
        each
        for each in bodies(home.entries(EntryKind.OUTCOME, subject=f"{REPO}/{root}"))
        if each["action"] == "promote"
    ]
    assert outcome["status"] == "done"
    client.delete_registered_model_alias(name, "champion")
    devserver.put(REPO, f"{root}/requirements.txt", b"other-bytes\n")
    url = f"{server.url}/ajax-api/2.0/mlflow/registered-models/alias"
    form = {"name": name, "alias": "champion", "version": made.version}
    for _ in range(4):  # both workers come to it
        answer = requests.post(url, json=form, auth=("boss", PASSWORD), timeout=60)
        assert (answer.status_code, answer.json()["error_class"]) == (403, "GOVERNANCE_BLOCKED")
    assert requests.post(url, json=form, timeout=30).status_code == 401, (
        "who is not logged in gets no decision"
    )
    assert client.get_registered_model(name).aliases == {}
    entries = [each for each in bodies(home.entries(EntryKind.REGISTRATION)) if each["name"] == name]
    assert [each["event"] for each in entries] == ["created", "alias-set", "alias-removed"]
    assert {(each["actor"]["name"], each["actor"]["authentication"]) for each in entries} == {
        ("boss", "basic-auth")
    }


def verified(home: Home, devserver: DevServer, root: str) -> SignatureReport:
    """What a verification of all stored bytes says."""
    assembly = home.assembly()
    client = assembly.artifactory(devserver.host)
    place = parse_uri(f"artifactory://{devserver.host}/artifactory/{REPO}/{root}")
    (part,) = locate(client, place)
    bundle = (
        devserver.read(REPO, f"{root}/model.sig") if f"{root}/model.sig" in devserver.paths(REPO) else None
    )
    manifest = hash_stored(client, part)
    return verify_bundle(bundle, manifest, assembly.trust, at=assembly.now(), repository=REPO)


def pending(server: TrackingServer, folder: Path) -> tuple[MlflowClient, str, str]:
    """A logged model with all of its files and not READY yet: client, its id, and its root below the repository."""
    mlflow.sklearn.save_model(fitted_model(), str(folder), **PLAIN)
    client = MlflowClient(server.url)
    mlflow.set_experiment("pending")
    experiment = mlflow.get_experiment_by_name("pending").experiment_id
    model = client.create_logged_model(experiment, name="model")
    client.log_model_artifacts(model.model_id, str(folder))
    kind = server.log.parent.name.rstrip("0123456789")
    return client, model.model_id, f"{kind}/{experiment}/models/{model.model_id}/artifacts"


def test_a_file_replaced_before_ready_is_signed_as_it_is_then(
    server: TrackingServer, home: Home, devserver: DevServer, tmp_path: Path
) -> None:
    client, model_id, root = pending(server, tmp_path / "model")
    (tmp_path / "model/requirements.txt").write_text("scikit-learn==1.5.1\n")
    client.log_model_artifact(model_id, str(tmp_path / "model/requirements.txt"))
    assert not verified(home, devserver, root).valid
    client.finalize_logged_model(model_id, "READY")
    report = verified(home, devserver, root)
    assert report.valid, report.detail
    assert devserver.read(REPO, f"{root}/requirements.txt") == b"scikit-learn==1.5.1\n"


def test_a_file_exchanged_in_storage_before_ready_is_not_signed(
    server: TrackingServer, home: Home, devserver: DevServer, tmp_path: Path
) -> None:
    client, model_id, root = pending(server, tmp_path / "model")
    devserver.put_bytes_behind_the_scenes(REPO, f"{root}/requirements.txt", b"evil\n")
    client.finalize_logged_model(model_id, "READY")
    # What was seen at the PUT is what is signed, so the exchange shows.
    assert verified(home, devserver, root).changed == ("requirements.txt",)


def test_a_model_that_ends_failed_is_not_signed(
    server: TrackingServer, devserver: DevServer, tmp_path: Path
) -> None:
    client, model_id, root = pending(server, tmp_path / "model")
    client.finalize_logged_model(model_id, "FAILED")
    assert f"{root}/MLmodel" in devserver.paths(REPO)
    assert f"{root}/model.sig" not in devserver.paths(REPO)


def test_two_models_at_once_and_later_edits(server: TrackingServer, home: Home, devserver: DevServer) -> None:
    from mlflow.models import infer_signature, set_signature, update_model_requirements

    with ThreadPoolExecutor(2) as pool:
        (first, root), (_, other) = pool.map(lambda _: log(server), range(2))
    for each in (root, other):
        report = verified(home, devserver, each)
        assert report.valid, report.detail
    before = devserver.read(REPO, f"{root}/model.sig")
    sample = np.array([[5.1, 3.5, 1.4, 0.2]])
    set_signature(first.model_uri, infer_signature(sample, np.array([0])))
    update_model_requirements(first.model_uri, "add", ["packaging"])
    report = verified(home, devserver, root)
    assert report.valid, report.detail
    assert devserver.read(REPO, f"{root}/model.sig") != before
    # The statement says which digests were taken over from the signature before.
    assert report.manifest is not None
    carried = {str(entry.name) for entry in report.manifest.entries if entry.carried}
    assert "model.pkl" in carried
    assert "requirements.txt" not in carried


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
