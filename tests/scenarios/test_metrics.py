"""`gov/metrics` of a real tracking server, with a login and several workers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from tests.mlflow_tools import basic_auth, make_home, tracking_server

PASSWORD = "a long admin password"
API = "api/2.0/mlflow-artifacts/artifacts"


def total(text: str, name: str) -> float:
    """The sum of a counter's series."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("kind", ["uvicorn", pytest.param("gunicorn", marks=pytest.mark.long)])
def test_whichever_worker_is_asked_answers_for_all(
    kind: str, devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "home", devserver)
    own = basic_auth(tmp_path, ("boss", PASSWORD), cached=kind != "gunicorn")
    env = {**home.env, **own, "MLGOV_METRICS": "true"}
    destination = f"artifactory://{devserver.host}/artifactory/{repo}"
    with tracking_server(tmp_path, env, destination, gunicorn=kind == "gunicorn", workers=2) as server:
        boss = ("boss", PASSWORD)
        assert requests.get(f"{server.url}/gov/metrics", timeout=30).status_code == 401
        made = requests.post(
            f"{server.url}/api/2.0/mlflow/users/create", json={"username": "scraper", "password": "scraper password 1"},
            auth=boss, timeout=30,
        )  # fmt: skip
        assert made.status_code == 200, made.text
        for number in range(12):  # each over a connection of its own, so that both workers get some
            name = "forbidden" if number % 4 == 3 else "fine"
            requests.put(f"{server.url}/{API}/x/{name}-{number}.txt", data=b"x", auth=boss, timeout=60)
        seen = {
            requests.get(f"{server.url}/gov/metrics", auth=("scraper", "scraper password 1"), timeout=30).text
            for _ in range(6)
        }
        text = seen.pop()
        decisions = home.entries(EntryKind.DECISION)
        assert len(decisions) == 12
        for each in (text, *seen):
            assert total(each, "mlgov_decisions_total") == 12
        assert total(text, "mlgov_findings_total") == 3
        assert 'mlgov_findings_total{effect="block",rule="test-rest/forbidden-name"} 3.0' in text
        assert total(text, "mlgov_record_seconds_count") == 12
        assert total(text, "mlgov_log_entries") == home.assembly().log.store.frontier().size
        assert "boss" not in text
        assert "fine-" not in text
