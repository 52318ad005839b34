"""A running tracking server takes up a changed policy without restart, whole or not at all, and says so loudly."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from governance.devserver import DevServer
from tests.mlflow_tools import make_home, tracking_server

POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {{name: reload}}
spec:
  default: allow
  rules:
    - {{id: shut, effect: block, message: "{words}", when: {{fact: artifact.name, matches: {{glob: "{names}"}}}}}}
"""


def until(url: str, status: int, says: str = "") -> requests.Response:
    """The answer, once it is the expected one: changes are looked for once a second."""
    end = time.monotonic() + 30
    while True:
        answer = requests.get(url, timeout=30)
        if answer.status_code == status and says in answer.text:
            return answer
        assert time.monotonic() < end, (answer.status_code, answer.text[:300])
        time.sleep(0.3)


def test_a_server_follows_its_policy(devserver: DevServer, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    policy = folder / "reload.yaml"
    policy.write_text(POLICY.format(words="first", names="nothing-is-called-so"))
    home = make_home(tmp_path / "home", devserver)
    env = {**home.env, "MLGOV_POLICY_PATH": str(folder)}
    destination = f"artifactory://{devserver.host}/artifactory/{repo}"
    with tracking_server(tmp_path / "server", env, destination) as server:
        url = f"{server.url}/api/2.0/mlflow-artifacts/artifacts/notes/a.txt"
        requests.put(url, data=b"a", timeout=60).raise_for_status()
        assert requests.get(url, timeout=60).content == b"a"

        policy.write_text(POLICY.format(words="second", names="a.txt"))
        until(url, 403, "second")

        # Broken, half written, and gone: the last good version stays in force, and the log says why.
        policy.write_text(POLICY.format(words="third", names="*").replace("effect: block", "effect: blok"))
        deadline = time.monotonic() + 30
        while "THE NEW POLICY IS BROKEN" not in server.log.read_text():
            assert requests.get(url, timeout=30).status_code == 403
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert "did you mean `block`" in server.log.read_text()
        policy.unlink()
        time.sleep(1.2)
        assert "second" in requests.get(url, timeout=30).text

        policy.write_text(POLICY.format(words="fourth", names="nothing-is-called-so"))
        assert until(url, 200).content == b"a"
        assert "replaces" in server.log.read_text()
