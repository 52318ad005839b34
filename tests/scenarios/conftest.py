"""What the scenarios of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.devserver import DevServer
from tests.scenarios.audit_keeper import keeper
from tests.scenarios.cli import Cli, Done, be, run_here
from tests.scenarios.waiver_team import team

__all__ = ["cli", "keeper", "team"]


@pytest.fixture
def cli(
    tmp_path: Path,
    devserver: DevServer,
    alice_token: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """`mlgov ARGUMENTS` in this process, as a user of production with a home of their own."""
    settings = {
        "MLGOV_HOME": str(tmp_path / "home"),
        "MLGOV_KEY_PASSPHRASE": "correct horse",
        "MLGOV_ENVIRONMENT": "production",
        "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
        "ARTIFACTORY_AUTH_TOKEN": alice_token,
    }
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Done:
        be(monkeypatch, **(settings | variables))
        return run_here(*arguments, capsys=capsys)

    return run
