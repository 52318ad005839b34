"""Each example is run as its docstring says, against the embedded server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from governance.devserver import DevServer
from tests.scenarios.cli import Done, clean, run_cli

ROOT = Path(__file__).resolve().parents[2]
TEAM_POLICY = ROOT / "examples" / "team_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team's machine: a home with a signing key, the team's policy, and a model that was trained and logged."""

    folder: Path
    environment: dict[str, str]
    location: str
    uri: str

    def example(self, name: str, *arguments: str) -> Done:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), *arguments], capture_output=True, text=True,
            env=self.environment, cwd=self.folder, timeout=120, check=False,
        )  # fmt: skip
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="module")
def team(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    repo = devserver.create_repository("examples-local")
    environment = clean(
        MLGOV_HOME=str(folder / "home"),
        MLGOV_KEY_PASSPHRASE="correct horse",
        MLGOV_ENVIRONMENT="production",
        MLGOV_POLICY_PATH=str(TEAM_POLICY),
        MLGOV_ARTIFACTORY_URL=devserver.artifactory_url,
        ARTIFACTORY_AUTH_TOKEN=devserver.token("alice"),
        MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    location = f"artifactory://{devserver.host}/artifactory/{repo}/wine"
    made = run_cli("keys", "init", "--name", "ci", variables=environment)
    assert made.code == 0, made.err
    team = Team(folder=folder, environment=environment, location=location, uri="")
    trained = team.example("train_and_log.py", location)
    assert trained.code == 0, trained.err
    yield Team(folder=folder, environment=environment, location=location, uri=trained.out.split()[-1])
    shutil.rmtree(folder)


def test_train_and_log(team: Team, devserver: DevServer) -> None:
    assert team.uri.startswith("models:/m-")
    stored = [path for path in devserver.paths("examples-local") if path.startswith("wine/models/")]
    assert any(path.endswith("/model.sig") for path in stored)


def test_load_guarded(team: Team) -> None:
    done = team.example("load_guarded.py", team.uri)
    assert done.code == 0, done.err
    assert done.out.startswith("loaded m-")


def test_load_guarded_explains_a_refusal(team: Team, devserver: DevServer) -> None:
    (weights,) = [
        path for path in devserver.paths("examples-local") if path.endswith(("model.skops", "model.pkl"))
    ]
    before = devserver.read("examples-local", weights)
    devserver.put_bytes_behind_the_scenes("examples-local", weights, b"other")
    try:
        done = team.example("load_guarded.py", team.uri)
    finally:
        devserver.put_bytes_behind_the_scenes("examples-local", weights, before)
    assert done.code == 1
    assert "blocked: decision " in done.err or "quarantined" in done.err
    assert "Traceback" not in done.err


def test_team_policy_passes_its_own_cases() -> None:
    done = run_cli("policy", "test", "--coverage", str(TEAM_POLICY))
    assert done.code == 0, done.out
    assert "5 of 5 rules covered" in done.out


def test_team_policy_judges_the_logged_model(team: Team) -> None:
    stored = run_cli("check", f"{team.location}/{models_folder(team.uri)}", variables=team.environment)
    assert stored.code == 0, stored.out + stored.err
    assert "speech-models" in stored.out


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    for path in (ROOT / "examples").iterdir():
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
            assert path.name in text, f"{path.name} is run by no test"


def models_folder(uri: str) -> str:
    return f"models/{uri.removeprefix('models:/')}/artifacts"
