"""The audit log in PostgreSQL as a team has it: named in the settings file, written by the gate, read by the commands."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.devserver import DevServer
from plugin.assembly import assembly_for
from plugin.errors import GovernanceUnavailableError
from tests.mlflow_tools import Home, environment, make_home
from tests.postgres_server import PostgresServer, running_postgres, why_not
from tests.scenarios.cli import Done, run_here

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def home(tmp_path: Path, devserver: DevServer, postgres: PostgresServer) -> Iterator[Home]:
    made = make_home(tmp_path / "home", devserver)
    dsn = postgres.new_database()
    (made.path / "mlgov.toml").write_text(f'audit_dsn = "{dsn}"\naudit_anchors = ["{tmp_path}/kept"]\n')
    with environment(made.env):
        yield made
        assembly_for().close()


Cli = Callable[..., Done]


@pytest.fixture
def cli(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`mlgov ARGUMENTS` in this process, with the home's settings."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str, **more: str) -> Done:
        with monkeypatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            return run_here(*arguments, capsys=capsys)

    return run


def database(home: Home) -> str:
    return (home.path / "mlgov.toml").read_text().split('"')[1].rsplit("/", 1)[1]


def test_from_the_settings_file_through_the_gate_into_the_database(
    cli: Cli, home: Home, repo: str, devserver: DevServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    artifacts = get_artifact_repository(f"artifactory://{devserver.host}/artifactory/{repo}/r")
    artifacts.log_artifact(str(tmp_path / "notes.txt"))
    assert not (home.path / "audit.sqlite").exists()
    kinds = postgres.run("SELECT kind FROM mlgov_audit.entry ORDER BY ticket", database(home))
    assert [kind for (kind,) in kinds if kind != "signature"] == ["start", "policy", "decision", "outcome"]
    done = cli("audit", "key", "--unencrypted")
    assert done.code == 0, done.err
    vkey = done.out.split()[-1]
    done = cli("audit", "checkpoint")
    assert done.code == 0, done.err
    done = cli("audit", "verify", "--json")
    assert (done.code, json.loads(done.out)["good"]) == (0, True)
    assert json.loads(done.out)["compared"] in {1, 2}
    assert cli("audit", "prove", "2", "-o", str(tmp_path / "proof")).code == 0
    assert cli("audit", "receipt", str(tmp_path / "proof"), "--key", vkey).code == 0
    assert cli("audit", "export", str(tmp_path / "out")).code == 0
    assert cli("audit", "verify", str(tmp_path / "out"), "--key", vkey).code == 0
    lines = json.loads(cli("doctor", "--offline", "--json").out)
    assert ("audit log", "ok") in {(line["subject"], line["mark"]) for line in lines}
    # The owner of the database who puts an empty one in its place is told apart by this client's memory. The log is put aside and
    # not dropped, which may deadlock with this process, the leader, that goes on reading.
    postgres.run("ALTER SCHEMA mlgov_audit RENAME TO before", database(home))
    done = cli("audit", "checkpoint", "--print")
    assert (done.code, "it was rolled back" in done.err) == (4, True), done.err


def test_a_variable_chooses_no_database(cli: Cli, postgres: PostgresServer) -> None:
    secret = postgres.dsn().replace("postgres@", "postgres:hunter2@")
    done = cli("audit", "verify", mlgov_audit_dsn=secret)
    assert (done.code, "settings file alone" in done.err, "hunter2" in done.err) == (2, True, False)


def test_without_the_database_nothing_moves(tmp_path: Path, devserver: DevServer, repo: str) -> None:
    """And nothing falls back to a file."""
    made = make_home(tmp_path / "home", devserver)
    (tmp_path / "notes.txt").write_text("notes")
    uri = f"artifactory://{devserver.host}/artifactory/{repo}/r"
    with running_postgres() as server, environment(made.env):
        dsn = server.new_database().replace("postgres@", "postgres:hunter2@")
        (made.path / "mlgov.toml").write_text(f'audit_dsn = "{dsn}"\n')
        get_artifact_repository(uri).log_artifact(str(tmp_path / "notes.txt"), "before")
        server.stop(at_once=True)
        with pytest.raises(GovernanceUnavailableError) as caught:
            get_artifact_repository(uri).log_artifact(str(tmp_path / "notes.txt"), "while")
        assert "hunter2" not in str(caught.value)
        server.start()
        get_artifact_repository(uri).log_artifact(str(tmp_path / "notes.txt"), "after")
        kinds = [kind for (kind,) in server.run("SELECT kind FROM mlgov_audit.entry", dsn.rsplit("/", 1)[1])]
        assert "recovery" in kinds
        assert kinds.count("decision") == 3
        assembly_for().close()
    with contextlib.suppress(FileNotFoundError):
        assert not list(made.path.glob("*.sqlite"))
    assert [path for path in devserver.paths(repo) if "while" in path] == []
