"""Attacks on a real tracking server under its app `governance`: every address of MLflow's that hands out, or takes, bytes of
artifacts, asked for a model that the policy refuses; and the addresses of ours.

The requests are made by hand, since no client of MLflow's would send most of them.
"""

from __future__ import annotations

import hashlib
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.tracking import MlflowClient

from governance.audit.bodies import OutcomeStatus, outcome_body
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.parcel import pack
from governance.audit.store import draft_of
from governance.devserver import DevServer
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.digest import Sha256
from tests.mlflow_tools import Home, Malicious, TrackingServer, make_home, used_server

REPO = "attacked-local"
ATTACHMENT = str(uuid.uuid4())
MARK = b"touch /nowhere/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server with a refused model, by all the names that MLflow has for it."""

    url: str
    run: str
    experiment: str
    model: str
    trace: str
    archived: str

    def fill(self, path: str) -> str:
        names = {name: getattr(self, name) for name in ("run", "experiment", "model", "trace", "archived")}
        return self.url + path.format(**names, attachment=ATTACHMENT)


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver)


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with used_server(tmp_path_factory.mktemp("server"), home, REPO) as running:
        yield running


@pytest.fixture(scope="module")
def target(server: TrackingServer, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The refused model is logged as MLflow does it today, and as files of a run; traces claim that it is theirs."""
    experiment = mlflow.set_experiment("attacked").experiment_id
    bad = Malicious(Path("/nowhere/marker"))
    folder = tmp_path_factory.mktemp("bad")
    for name in ("model.pkl", "traces.json", "traces.pb", f"attachments/{ATTACHMENT}"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(bad))
    (folder / "MLmodel").write_text("flavors: {}\n")
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            bad, name="model", pip_requirements=[], serialization_format="cloudpickle"
        )
        MlflowClient().log_artifacts(run.info.run_id, str(folder), "model")
    client = MlflowClient()
    client.create_registered_model("bad")
    client.create_model_version("bad", info.model_uri, model_id=info.model_id)
    place = f"mlflow-artifacts:/{experiment}/{run.info.run_id}/artifacts/model"
    return Target(
        url=server.url,
        run=run.info.run_id,
        experiment=experiment,
        model=info.model_id,
        trace=_trace(server.url, experiment, place, {}),
        archived=_trace(
            server.url,
            experiment,
            place,
            {
                "mlflow.trace.spansLocation": "ARCHIVE_REPO",
                "mlflow.trace.archiveLocation": place,
            },
        ),
    )


def _trace(url: str, experiment: str, place: str, tags: dict[str, str]) -> str:
    """A trace whose data is claimed to lie at `place`."""
    trace = f"tr-{uuid.uuid4().hex}"
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    document = {
        "trace": {
            "trace_info": {
                "trace_id": trace,
                "trace_location": where,
                "request_time": "2026-01-01T00:00:00Z",
                "execution_duration": "1s",
                "state": "OK",
                "tags": tags,
                "trace_metadata": {"mlflow.trace_schema.version": "3"},
            }
        }
    }
    answer = requests.post(f"{url}/api/3.0/mlflow/traces", json=document, timeout=30)
    assert answer.ok, answer.text
    tag = {"trace_id": trace, "key": "mlflow.artifactLocation", "value": place}
    answer = requests.patch(f"{url}/api/3.0/mlflow/traces/{trace}/tags", json=tag, timeout=30)
    # From 3.18 on MLflow itself lets nobody say so; such a trace must hand out no more.
    assert answer.ok or "is immutable" in answer.text, answer.text
    return trace


_LOGGED = "{experiment}/models/{model}/artifacts/model.pkl"
_OF_RUN = "{experiment}/{run}/artifacts/model/model.pkl"
READS = [
    *(
        f"/{api}/2.0/mlflow-artifacts/{verb}/{path}"
        for api in ("api", "ajax-api")
        for verb in ("artifacts", "presigned")
        for path in (_LOGGED, _OF_RUN)
    ),
    f"/api/2.0/mlflow-artifacts/artifacts//{_LOGGED}",
    f"/api/2.0/mlflow-artifacts/artifacts/./{_LOGGED}",
    f"/api/2.0/mlflow-artifacts/artifacts/{_LOGGED}/",
    f"/api/2.0/mlflow-artifacts/artifacts/{_LOGGED}%3B",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}/models//{model}/artifacts/model.pkl",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}/x/../models/{model}/artifacts/model.pkl",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}/x/%2e%2e/models/{model}/artifacts/model.pkl",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}%2Fmodels%2F{model}%2Fartifacts%2Fmodel.pkl",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}",
    "/api/2.0/mlflow-artifacts/artifacts/{experiment}",
    "/get-artifact?run_uuid={run}&path=model/model.pkl",
    "/get-artifact?run_uuid={run}&path=model/model.pkl&presigned=true",
    "/get-artifact?run_uuid={run}&path=model",
    "/get-artifact?run_uuid={run}&path=model/traces.json",
    "/model-versions/get-artifact?name=bad&version=1&path=model.pkl",
    "/model-versions/get-artifact?name=bad&version=1&path=model.pkl&presigned=true",
    "/model-versions/get-artifact?name=bad&version=1&path=",
    "/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files?artifact_file_path=model.pkl",
    "/ajax-api/2.0/mlflow/get-trace-artifact?request_id={trace}",
    "/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}",
    "/ajax-api/3.0/mlflow/get-trace-artifact?request_id={trace}&path={attachment}",
    "/ajax-api/3.0/mlflow/get-trace-artifact?request_id={archived}",
    "/api/3.0/mlflow/traces/get?trace_id={archived}",
    "/api/3.0/mlflow/traces/batchGet?trace_ids={archived}",
]


@pytest.mark.parametrize("path", READS)
def test_no_address_hands_out_a_byte_of_a_refused_model(target: Target, path: str) -> None:
    session = requests.Session()
    prepared = session.prepare_request(requests.Request("GET", target.fill("/")))
    prepared.url = target.fill(path)  # as it stands: `requests` would tidy it up
    answer = session.send(prepared, timeout=60)
    assert MARK not in answer.content
    if "/traces/" not in path:  # these answer for the trace, without what was to be its data
        assert answer.status_code in {400, 403, 404, 500, 501}, answer.text[:300]


WRITES = [
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/" + _LOGGED, {"path": "model.pkl", "num_parts": 1}),
    (
        "POST",
        "/api/2.0/mlflow-artifacts/mpu/complete/" + _LOGGED,
        {"path": "x", "upload_id": "1", "parts": []},
    ),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/" + _LOGGED, {"path": "x", "upload_id": "1"}),
    ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", {"model_id": "{model}", "path": "model.pkl"}),
    ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", {"run_id": "{run}", "path": "model.pkl"}),
    ("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", {"run_id": "{run}", "path": "model.pkl"}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_no_address_lets_bytes_pass_by(target: Target, method: str, path: str, body: dict[str, Any]) -> None:
    names = {"run": target.run, "model": target.model}
    document = {
        key: value.format(**names) if isinstance(value, str) else value for key, value in body.items()
    }
    answer = requests.request(method, target.fill(path), json=document, timeout=60)
    assert answer.status_code in {400, 501}, answer.text[:300]
    assert b"artifactory" not in answer.content


def test_a_forged_record_of_an_upload_is_not_signed(target: Target, home: Home, devserver: DevServer) -> None:
    """Whoever may write to the log has the server believe that a file passed it. The server's signature would then vouch for
    bytes that came into storage by another way."""
    made = requests.post(
        f"{target.url}/api/2.0/mlflow/logged-models",
        json={"experiment_id": target.experiment, "name": "forged"},
        timeout=30,
    ).json()["model"]["info"]
    root = f"ml/{target.experiment}/models/{made['model_id']}/artifacts"
    bad = pickle.dumps(Malicious(Path("/nowhere/forged")))
    devserver.put(REPO, f"{root}/model.pkl", bad)
    digest = Sha256(hashlib.sha256(bad).hexdigest())
    log = AuditLog(MemoryStore(), now=lambda: datetime.now(UTC), instance="laptop")
    facts = (evidence_digest(b"{}"), b"{}")
    body: dict[str, Any] = {**home.entries(EntryKind.DECISION)[0].entry.body}
    body |= {"action": "upload", "facts": facts[0]}
    body["artifact"] = {**body["artifact"], "host": devserver.host, "repository": REPO, "path": root}
    decision = log.append(EntryKind.DECISION, body, subject=f"{REPO}/{root}", correlation="c").id
    moved = (FileEntry(path=parse_relative_path("model.pkl"), size=len(bad), sha256=digest),)
    outcome = outcome_body(decision=decision, action="upload", status=OutcomeStatus.DONE, moved=moved)
    log.append(EntryKind.OUTCOME, outcome, subject=f"{REPO}/{root}", correlation="c")
    parcel = pack(
        [draft_of(each.entry, (facts,)) for each in log.find() if each.entry.kind is not EntryKind.START]
    )
    sent = requests.post(
        f"{target.url}/gov/audit/entries",
        data=parcel,
        headers={"Content-Type": "application/vnd.mlgov.audit-entries"},
        timeout=30,
    )
    assert sent.ok, sent.text
    ready = requests.patch(
        f"{target.url}/api/2.0/mlflow/logged-models/{made['model_id']}",
        json={"model_id": made["model_id"], "status": "LOGGED_MODEL_READY"},
        timeout=60,
    )
    assert ready.ok, ready.text
    assert f"{root}/model.sig" not in devserver.paths(REPO)
