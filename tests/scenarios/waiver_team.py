"""A team that uses `mlgov waiver`: requester, approvers, a policy set and a model that is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import policies as packs
from governance.cli.main import main
from governance.cli.reference import locate, parse_reference
from governance.devserver import DevServer
from governance.errors import RefusedError
from governance.model.request import Action, Actor, Request, new_id
from governance.settings import load_settings
from governance.wiring import build_assembly
from tests.scenarios.cli import Done, clean

VULNERABLE = {
    "MLmodel": b"flavors: {}\n",
    "requirements.txt": b"PyYAML==5.3\n",
    "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}


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
        settings = load_settings()
        assembly = build_assembly(settings)
        place = parse_reference(self.ref, settings)
        (part,) = locate(assembly.artifactory(place.host), place)
        at = assembly.now()
        request = Request(
            action=Action.LOAD, artifact=part.artifact, actor=Actor(name=actor), environment=settings.environment,
            at=at, correlation=new_id(at),
        )  # fmt: skip
        try:
            with assembly.gate.admit(request) as permit:
                for entry in part.artifact.files:
                    assert entry.sha256 is not None
                    permit.moved(str(entry.path), entry.sha256)
        except RefusedError as error:
            return str(error)
        finally:
            assembly.close()
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
    for name, data in VULNERABLE.items():
        devserver.put(repo, f"m/{name}", data)
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
        environment = clean(**(settings | variables))
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(list(arguments))
        printed = capsys.readouterr()
        return Done(code=code, out=printed.out, err=printed.err)

    for who in ("ann", "bob", "carol"):
        assert run(who, "keys", "init", "--name", who).code == 0
    return Team(run=run, folder=folder, ref=f"{repo}/m", server=devserver)
