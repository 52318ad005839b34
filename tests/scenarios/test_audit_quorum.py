"""A log whose settings refuse every act while its witness keeps no heads: on the command line, and behind a tracking server."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
import requests

from governance.audit.note import generate_key, load_signer
from governance.cli.checkup.local import local_checks
from governance.cli.output import Line, Mark
from governance.devserver import DevServer
from governance.settings import load_settings
from governance.wiring import build_assembly
from tests.mlflow_tools import Home, environment, free_port, make_home, tracking_server
from tests.scenarios.cli import Done, run_cli, run_here
from tests.scenarios.test_audit_heartbeat import until
from tests.scenarios.witness import witness_process

ORIGIN = "team.example/audit"


@pytest.fixture
def home(tmp_path: Path, devserver: DevServer) -> Home:
    made = make_home(tmp_path / "home", devserver)
    (made.path / "mlgov.toml").write_text(f'audit_origin = "{ORIGIN}"\n')
    return made


def demand(home: Home, place: str, *, heartbeat: int, age: int) -> None:
    (home.path / "mlgov.toml").write_text(
        f'audit_origin = "{ORIGIN}"\naudit_anchors = ["{place}"]\naudit_heartbeat = {heartbeat}\n'
        f'audit_quorum_unmet = "refuse"\naudit_quorum_max_age = {age}\n'
    )


def key_of(home: Home) -> str:
    path = home.path / "keys/audit.pem"
    generate_key(path, passphrase=None)
    return load_signer(path, name=ORIGIN).key.vkey


def test_each_command_knows_what_became_of_the_heads(
    home: Home, devserver: DevServer, repo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each begins anew, so what it knows it has from the log."""

    def run(*arguments: str) -> Done:
        with environment(home.env):
            return run_here(*arguments, capsys=capsys)

    def heads() -> Line:
        """What `mlgov doctor` says of them."""
        with environment(home.env), closing(build_assembly(load_settings())) as assembly:
            (check,) = [each for each in local_checks(assembly) if each.subject == "audit log"]
            (line,) = [line for line in check.look() if line.subject == "audit heads"]
        return line

    devserver.put(repo, "m/weights.bin", b"weights")
    vkey, port = key_of(home), free_port()
    with witness_process(tmp_path / "elsewhere", vkey, port=port) as (place, _):
        demand(home, place, heartbeat=1800, age=3600)
        refused = run("sign", f"{repo}/m")
        assert refused.code == 4
        assert "no act is permitted: no head of the audit log was ever kept by 1 of 1 places" in refused.err
        assert not [path for path in devserver.paths(repo) if path.endswith(".sig")]
        assert heads().mark is Mark.FAIL
        assert run("audit", "checkpoint").code == 0
        assert run("sign", f"{repo}/m").code == 0
        assert heads().mark is Mark.OK
    # The witness is gone. For an hour its last word is good enough, and people are told.
    assert run("audit", "checkpoint").code == 4
    warned = heads()
    assert warned.mark is Mark.WARN
    assert "witness.example/w1: kept none since" in warned.seen
    assert run("sign", f"{repo}/m").code == 0
    # As if that hour were over.
    demand(home, place, heartbeat=1, age=2)
    time.sleep(2)
    refused = run_cli("sign", f"{repo}/m", variables=home.env)  # a process that saw nothing of all this
    assert refused.code == 4
    assert "the last head of the audit log that 1 of 1 places kept is of 20" in refused.err
    assert "witness witness.example/w1: kept none since 20" in refused.err
    assert "(UnreachableError)" in refused.err
    assert run("audit", "verify").code == 0
    assert run("audit", "tail").code == 0
    assert run("check", f"{repo}/m", "--action", "download").code in {0, 1}
    with witness_process(tmp_path / "elsewhere", vkey, port=port):
        demand(home, place, heartbeat=1800, age=3600)
        assert run("audit", "checkpoint").code == 0
        assert run("sign", f"{repo}/m").code == 0
    assert run("audit", "verify").code == 0


@pytest.mark.long
def test_a_server_refuses_its_clients_until_the_witness_is_back(
    home: Home, devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    vkey, port = key_of(home), free_port()
    destination = f"artifactory://{devserver.host}/artifactory/{repo}"

    def upload(url: str, name: str) -> requests.Response:
        return requests.put(f"{url}/api/2.0/mlflow-artifacts/artifacts/{name}/a.txt", data=b"a", timeout=60)

    with witness_process(tmp_path / "elsewhere", vkey, port=port) as (place, _):
        demand(home, place, heartbeat=1, age=4)
        with tracking_server(tmp_path / "server", home.env, destination) as server:
            until(lambda: upload(server.url, "first").ok)
    with tracking_server(
        tmp_path / "server", home.env, destination
    ) as server:  # started anew, and the witness is gone
        until(lambda: not upload(server.url, "second").ok)
        answer = upload(server.url, "third")
        assert answer.status_code < 500
        assert answer.json()["reason"] == "AuditQuorumError"
        # It says so from its first attempt on, which may come after the last head has grown too old.
        until(lambda: "kept none since" in upload(server.url, "third").json()["message"])
        assert not [path for path in devserver.paths(repo) if path.startswith("third")]
        assert requests.get(f"{server.url}/gov/audit/head", timeout=60).ok
        with witness_process(tmp_path / "elsewhere", vkey, port=port):
            until(lambda: upload(server.url, "fourth").ok)
    assert "the audit log's head did not leave" in server.log.read_text()
