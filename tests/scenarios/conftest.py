"""What the scenarios of the command line share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance.cli.main import main
from governance.devserver import DevServer
from tests.scenarios.audit_keeper import keeper
from tests.scenarios.cli import Cli, Done, clean
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
        environment = clean(**(settings | variables))
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(list(arguments))
        printed = capsys.readouterr()
        return Done(code=code, out=printed.out, err=printed.err)

    return run
