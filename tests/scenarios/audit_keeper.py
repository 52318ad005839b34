"""Whoever keeps a log, and what they type."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from tests.audit_tools import Clock, fill, make_log
from tests.scenarios.cli import Done, be, run_here

ORIGIN = "team.example/audit"


@dataclass(frozen=True)
class Keeper:
    """`mlgov ARGUMENTS`, and `mlgov audit ARGUMENTS`, of one user, whose log is a file in their home."""

    home: Path
    cli: Callable[..., Done]

    @property
    def file(self) -> Path:
        """The log's."""
        return self.home / "audit.sqlite"

    def run(self, *arguments: str, **variables: str) -> Done:
        return self.cli("audit", *arguments, **variables)

    def settings(self, text: str) -> None:
        (self.home / "mlgov.toml").write_text(f'audit_origin = "{ORIGIN}"\n{text}\n')

    def log(self, now: Callable[[], datetime] | None = None) -> AuditLog:
        return make_log(SqliteStore(self.file), origin=ORIGIN, now=now or Clock())

    def fill(self, count: int, subject: str = "models/a") -> list[str]:
        with closing(self.log()) as log:
            return fill(log, count, subject=subject)

    def key(self) -> str:
        done = self.run("key", "--unencrypted")
        assert done.code == 0, done.err
        return done.out.split()[-1]


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keeper:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()

    def cli(*arguments: str, **variables: str) -> Done:
        be(monkeypatch, MLGOV_HOME=str(home), **variables)
        return run_here(*arguments, capsys=capsys)

    made = Keeper(home, cli)
    made.settings("")
    return made
