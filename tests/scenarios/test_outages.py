"""A scanner out of reach, over HTTP: the last verdict stands where the outage alone refuses, and never where anything else does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.audit.entry import EntryKind
from governance.devserver import DevServer, Fault
from plugin.errors import BlockedModelError
from tests.mlflow_tools import Home, environment, make_home
from tests.scenarios.cli import run_cli

MODEL = "m-" + "0123456789abcdef" * 2
POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: signed-and-scanned}
spec:
  match: {actions: [download, load]}
  default: allow
  rules:
    - {id: malicious, effect: block, when: {fact: xray.malicious, is: true}, message: reported malicious}
    - {id: unsigned, effect: block, when: {fact: signature.valid, is: false}, message: "no signature that counts: {signature.reason}"}
---
apiVersion: mlgov/v1
kind: Policy
metadata: {name: uploads}
spec: {match: {actions: [upload]}, default: allow, rules: []}
---
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: s}
spec:
  bindings: [{policies: ["*"], environments: ["*"], mode: enforce}]
  outage: {production: {action: last-verdict, maxAge: 12h}}
"""


@pytest.fixture
def home(devserver: DevServer, tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", devserver, policy=POLICY)


@pytest.fixture
def root(devserver: DevServer, home: Home, repo: str, tmp_path: Path) -> str:
    """Where a model lies that was stored, signed and let out once."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  python_function: {}\n")
    (folder / "weights.bin").write_bytes(b"\xff" * 99)
    address = f"artifactory://{devserver.host}/artifactory/{repo}/1/models/{MODEL}/artifacts"
    with environment(home.env):
        get_artifact_repository(address).log_artifacts(str(folder))
    fetch(home, address, tmp_path / "first")
    return address


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of an Xray at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/xray"


def fetch(home: Home, address: str, to: Path, **more: str) -> Mapping[str, Any]:
    """Fetch the model as MLflow does. What the log says of the decision."""
    to.mkdir()
    with environment({**home.env, **more}):
        try:
            get_artifact_repository(address).download_artifacts("", str(to))
        finally:
            with closing(home.assembly()) as parts:
                last = list(parts.log.find(kind=EntryKind.DECISION))[-1]
    verdict = last.entry.body["verdict"]
    assert isinstance(verdict, Mapping)
    return verdict


def test_a_scanner_out_of_reach_lets_the_last_verdict_stand(
    home: Home, root: str, nobody: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        verdict = fetch(home, root, tmp_path / "out", MLGOV_XRAY_URL=nobody)
    assert verdict["decision"] == "allow"
    assert str(verdict["degraded"]).startswith("no answer from xray; the verdict of decision ")
    assert (tmp_path / "out/MLmodel").exists()
    assert (
        f"let through in an outage: {root.partition('/artifactory/')[2]}: {verdict['degraded']}"
        in caplog.text
    )
    checked = run_cli("check", root, variables={**home.env, "MLGOV_XRAY_URL": nobody})
    assert checked.code == 0
    assert "in an outage: no answer from xray; the verdict of decision " in checked.out


def test_who_is_refused_in_an_outage_is_told_of_it(
    home: Home, root: str, nobody: str, tmp_path: Path
) -> None:
    bob = {"MLGOV_XRAY_URL": nobody, "LOGNAME": "bob"}
    with pytest.raises(BlockedModelError) as error:
        fetch(home, root, tmp_path / "out", **bob)
    assert "in an outage: no answer from xray; no verdict of the last 43200 s to fall back on" in str(
        error.value
    )
    assert "`mlgov doctor` tries each" in str(error.value.hint)


def test_a_scanner_out_of_reach_does_not_excuse_a_trust_file_that_cannot_be_read(
    home: Home, root: str, nobody: str, tmp_path: Path
) -> None:
    good = (home.path / "trust.json").read_bytes()
    (home.path / "trust.json").write_text("{")
    with pytest.raises(BlockedModelError, match="unsigned") as error:
        fetch(home, root, tmp_path / "out", MLGOV_XRAY_URL=nobody)
    assert not any((tmp_path / "out").iterdir())
    assert "in an outage" not in str(error.value)
    (home.path / "trust.json").write_bytes(good)
    with pytest.raises(
        BlockedModelError, match=r"in an outage: no answer from xray; the verdict of .* refused"
    ):
        fetch(home, root, tmp_path / "again", MLGOV_XRAY_URL=nobody)  # the last verdict is a refusal now


BASELINE = (Path(__file__).parents[2] / "policies/baseline.yaml").read_text()
SET = POLICY.rpartition("---\n")[2]
PINS = ["torch==2.5.1", *(f"zzz-{number}==1" for number in range(60))]
"""More packages than Xray is asked about at once, the bad one first."""


def without_issues(body: bytes) -> bytes:
    answer = json.loads(body)
    return json.dumps({"artifacts": [{**each, "issues": []} for each in answer["artifacts"]]}).encode()


@pytest.mark.parametrize(
    ("status", "outage"), [(403, "{action: block}"), (503, "{action: last-verdict, maxAge: 12h}")]
)
def test_a_critical_advisory_counts_although_the_next_answer_fails(
    devserver: DevServer, repo: str, tmp_path: Path, status: int, outage: str
) -> None:
    """The rule of `baseline` skips what is unknown, and the verdict of the day before, when nobody knew of the advisory, would stand."""
    rules = f"{BASELINE}---\n{SET.replace('{action: last-verdict, maxAge: 12h}', outage)}"
    home = make_home(tmp_path / "home", devserver, policy=rules)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  python_function: {env: {virtualenv: python_env.yaml}}\n")
    (folder / "python_env.yaml").write_text(f"dependencies: {json.dumps(PINS)}\n")
    address = f"artifactory://{devserver.host}/artifactory/{repo}/1/models/{MODEL}/artifacts"
    devserver.faults.add(Fault(path="*/summary/component", times=None, rewrite=without_issues))
    with environment(home.env):
        get_artifact_repository(address).log_artifacts(str(folder))
    assert fetch(home, address, tmp_path / "day-before")["decision"] == "allow"
    devserver.faults.clear()
    devserver.faults.add(Fault(path="*/summary/component", times=None, skip=1, status=status))
    with pytest.raises(BlockedModelError, match="CVE-2025-32434") as error:
        fetch(home, address, tmp_path / "out")
    assert "in an outage" not in str(error.value)
    assert not any((tmp_path / "out").iterdir())
