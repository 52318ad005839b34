"""Attack: the same bytes by another key of Artifactory's, to which the policy about them is not bound; other bytes by a model's name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from plugin.errors import BlockedModelError, ModelVerificationError
from tests.mlflow_tools import bodies, database_template, environment, make_home

DOORS = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: doors, title: Every file by its own repository, owner: tests@example.org}
spec:
  match: {actions: [download, load], repositories: ["*"]}
  default: allow
  rules:
    - id: another-door
      effect: block
      severity: high
      when: {fact: artifact.origin, in: [virtual, remote]}
      onUnknown: match
      message: "{artifact.ref} is asked for by another repository than its own"
      remediation: Ask for it by the repository that holds it.
---
apiVersion: mlgov/v1
kind: Policy
metadata: {name: rest, title: Everything else, owner: tests@example.org}
spec: {match: {actions: [upload]}, default: allow, rules: []}
"""


def test_a_rule_keeps_a_virtual_repository_from_being_a_way_around_those_bound_to_what_is_behind_it(
    devserver: DevServer, repo: str, admin_token: str, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/MLmodel").write_text("flavors: {}\n")
    (tmp_path / "out").mkdir()
    requests.put(
        f"{devserver.artifactory_url}/api/repositories/{repo}-door",
        json={"rclass": "virtual", "packageType": "generic", "repositories": [repo]},
        headers={"Authorization": f"Bearer {admin_token}"},
        timeout=10,
    ).raise_for_status()
    base = f"artifactory://{devserver.host}/artifactory"
    with environment(make_home(tmp_path / "home", devserver, policy=DOORS).env):
        get_artifact_repository(f"{base}/{repo}").log_artifacts(str(tmp_path / "m"), "m")
        get_artifact_repository(f"{base}/{repo}").download_artifacts("m", str(tmp_path / "out"))
        with pytest.raises(BlockedModelError, match="by another repository than its own"):
            get_artifact_repository(f"{base}/{repo}-door").download_artifacts("m", str(tmp_path / "out"))
    devserver.remove_repository(f"{repo}-door")


def test_a_file_of_a_model_at_the_top_of_a_repository_is_judged_as_that_model(
    devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    """Nothing above it but the repository: one file asked for by its own name was no model's, and passed."""
    evil = b"cos\nsystem\n(S'echo'\ntR."
    inner = {"inner/MLmodel": b"flavors: {}\n", "inner/a.txt": b"a", "data/own/MLmodel": b"flavors: {}\n"}
    for name, data in {
        "MLmodel": b"flavors: {}\n",
        "data/w.pkl": evil,
        "data/own/a.txt": b"a",
        **inner,
    }.items():
        devserver.put(repo, name, data)
    run = f"0/{'ab' * 16}/artifacts/notes.txt"
    devserver.put(repo, run, b"of a run, and of no model")
    (tmp_path / "out").mkdir()
    home = make_home(tmp_path / "home", devserver)
    with environment(home.env):
        store = get_artifact_repository(f"artifactory://{devserver.host}/artifactory/{repo}")
        for name in ("data/w.pkl", "data", "MLmodel", "data/own/a.txt"):
            with pytest.raises(BlockedModelError):
                store.download_artifacts(name, str(tmp_path / "out"))
        store.download_artifacts(run, str(tmp_path / "out"))
        store.delete_artifacts("data/w.pkl")
    assert "data/w.pkl" not in devserver.paths(repo)
    rows = home.entries(EntryKind.DECISION)
    decided = [
        (row.entry.subject, body["artifact"]["kind"]) for row, body in zip(rows, bodies(rows), strict=True)
    ]
    assert decided == [
        (repo, "model"),
        (f"{repo}/data/own", "model"),
        (repo, "model"),
        (f"{repo}/data/own", "model"),
        (f"{repo}/{run}", "file"),
        (repo, "model"),
    ]


def test_a_model_at_the_top_of_a_repository_is_signed_like_any_other(
    devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    """It was not signed at all, without a word, and then refused for want of a signature."""
    for folder, name in (("src", "MLmodel"), ("src", "w.txt"), ("plain", "more.txt"), ("other", "MLmodel")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("{}")
    (tmp_path / "out").mkdir()
    home = make_home(tmp_path / "home", devserver)
    with environment(home.env):
        store = get_artifact_repository(f"artifactory://{devserver.host}/artifactory/{repo}")
        store.log_artifacts(str(tmp_path / "src"))
        store.log_artifacts(str(tmp_path / "other"), "inner")
        (tmp_path / "w.txt").write_text("other bytes")
        store.log_artifact(str(tmp_path / "w.txt"))
        store.log_artifacts(str(tmp_path / "plain"), "data")
        store.download_artifacts("w.txt", str(tmp_path / "out"))
        store.download_artifacts("", str(tmp_path / "out"))
        store.delete_artifacts("data")
        store.download_artifacts("", str(tmp_path / "out"))
    assert devserver.paths(repo) == ("MLmodel", "inner/MLmodel", "inner/model.sig", "model.sig", "w.txt")
    rows = home.entries(EntryKind.SIGNATURE)
    assert [row.entry.subject for row in rows] == [repo, f"{repo}/inner", repo, repo, repo]


@pytest.fixture
def run_with_model(
    devserver: DevServer, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The id of a run, straight to Artifactory, whose model `model` brings a module of its own along."""
    shutil.copy(database_template(), tmp_path / "mlflow.db")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/bystander.py").write_text("")
    with environment(make_home(tmp_path / "home", devserver).env):
        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        try:
            mlflow.create_experiment(
                "e", artifact_location=f"artifactory://{devserver.host}/artifactory/{repo}/e"
            )
            mlflow.set_experiment("e")
            with mlflow.start_run() as run:
                mlflow.pyfunc.log_model(
                    name="model",
                    loader_module="bystander",
                    code_paths=[str(tmp_path / "own/bystander.py")],
                    pip_requirements=["mlflow"],
                )
            yield run.info.run_id
        finally:
            mlflow.set_tracking_uri(None)


def test_files_of_a_run_are_not_mixed_into_the_model_of_their_folders_name(
    run_with_model: str, tmp_path: Path
) -> None:
    """Each was judged by itself. The module would be the first of its name that the model's code finds."""
    (tmp_path / "json.py").write_text("raise SystemExit")
    MlflowClient().log_artifact(run_with_model, str(tmp_path / "json.py"), "model/code")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelVerificationError, match=r"has a file `model/code/json[.]py`"):
        mlflow.artifacts.download_artifacts(f"runs:/{run_with_model}/model", dst_path=str(tmp_path / "out"))
    with pytest.raises(ModelVerificationError, match=r"has a file `code/json[.]py`"):
        mlflow.artifacts.download_artifacts(
            f"runs:/{run_with_model}/model/code", dst_path=str(tmp_path / "out")
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_adds_nothing_to_its_model_is_put_together_with_it(
    run_with_model: str, tmp_path: Path
) -> None:
    (tmp_path / "bystander.py").write_text("raise SystemExit")
    client = MlflowClient()
    client.log_artifact(run_with_model, str(tmp_path / "bystander.py"), "model/code")
    client.log_artifact(run_with_model, str(tmp_path / "bystander.py"), "models")
    found = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_with_model}/model"))
    assert found.name == "model"
    assert (found / "MLmodel").is_file()
    assert (found / "code/bystander.py").read_text() == ""
