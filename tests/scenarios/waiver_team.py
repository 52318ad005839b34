"""A team that uses `mlgov waiver`: requester, approvers, a policy set and a model that is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import policies as packs
from governance.devserver import DevServer
from governance.errors import RefusedError
from governance.model.request import Actor
from tests.scenarios.cli import Done, be, run_here
from tests.scenarios.models import VULNERABLE, load, store

RULE = "baseline-models/critical-vulnerability"


SET = (
    "apiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: acme, revision: 1}\nspec:\n"
    "  waivers: {maxDays: 60, approvals: 2}\n"
)


@dataclass
class Team:
    """People at one repository. `run` is `mlgov` in this process, as one of them."""

    run: Callable[..., Done]
    folder: Path
    ref: str
    server: DevServer

    @property
    def waivers(self) -> Path:
        return self.folder / ".governance" / "waivers"

    def load(self, who: str = "server", actor: str = "zoe", **variables: str) -> str:
        """Ask the gate for the model, on record: `allowed`, or the refusal's text."""
        self.run(who, "--version", **variables)  # leaves this process's environment as that of `who`
        try:
            load(self.ref, Actor(name=actor))
        except RefusedError as error:
            return str(error)
        return "allowed"

    def decision(self) -> str:
        """The id of the newest decision on record."""
        line = self.run("server", "audit", "tail", "--kind", "decision", "-n", "1", "--json").out
        return str(json.loads(line)["id"])

    def ask(self, who: str = "ann", **options: str) -> str:
        """Have the model refused and a waiver asked for; its name."""
        if self.load() == "allowed":
            raise AssertionError("nothing to ask for")
        given = {"reason": "sandbox only", "ticket": "SEC-1", **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        done = self.run(who, "waiver", "request", "--decision", self.decision(), *words)
        assert done.code == 0, done.err
        return max(self.waivers.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns).stem

    def listed(self, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("ann", "waiver", "list", "--json", *options).out)
        return found


def log_of(folder: Path, name: str) -> str:
    """A settings file that names a log of its own."""
    file = folder / f"{name}.toml"
    file.write_text(f'audit_path = "{folder / name}.sqlite"\n')
    return str(file)


@pytest.fixture
def team(
    tmp_path: Path,
    devserver: DevServer,
    repo: str,
    alice_token: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Team:
    """Ann, Bob and Carol with keys in one trust file, the baseline policies in a repository, and a vulnerable model."""
    folder = tmp_path / "repository"
    (folder / ".governance").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".governance" / "baseline.yaml").write_text(packs.read("baseline"))
    monkeypatch.chdir(folder)

    def run(who: str, *arguments: str, **variables: str) -> Done:
        settings = {
            "MLGOV_HOME": str(tmp_path / who),
            "MLGOV_KEY_PASSPHRASE": "correct horse",
            "MLGOV_TRUST": str(tmp_path / "trust.json"),
            "MLGOV_CONFIG": log_of(tmp_path, "audit"),
            "MLGOV_ENVIRONMENT": "production",
            "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
            "ARTIFACTORY_AUTH_TOKEN": alice_token,
        }
        be(monkeypatch, **(settings | variables))
        return run_here(*arguments, capsys=capsys)

    for who in ("ann", "bob", "carol"):
        assert run(who, "keys", "init", "--name", who).code == 0
    return Team(run=run, folder=folder, ref=store(devserver, repo, "m", VULNERABLE), server=devserver)
