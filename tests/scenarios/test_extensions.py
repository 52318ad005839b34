"""A package of somebody else brings facts and a collector: installed as packages are, and used as ours are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.devserver import DevServer
from tests.scenarios.cli import Done, run_cli

FACTS = """
from governance.model.facts import FactSpec, FactType

FACTS = [
    FactSpec(name="acme.approved", type=FactType.BOOLEAN, source="acme", meaning="whether our board approved it"),
    FactSpec(name="acme.risk", type=FactType.INTEGER, source="acme", meaning="what our board thinks", unit="points"),
]
"""
COLLECTOR = """
class Board:
    supplies = frozenset({"acme.approved", "acme.risk"})

    def __init__(self, context):
        self.artifactory = context.artifactory

    def collect(self, request):
        found = self.artifactory(request.artifact.host).properties(request.artifact.repository, request.artifact.path)
        return {"acme.approved": found.get("board") == ("yes",), "acme.risk": 3}
"""
POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: board}
spec:
  default: allow
  rules:
    - id: approved
      effect: block
      when: {fact: acme.approved, is: false}
      message: "the board did not approve {artifact.ref} (risk {acme.risk})"
"""
CASES = """
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: board}
spec:
  at: 2026-11-22T12:00:00Z
  fixtures: {known: {acme.approved: true, acme.risk: 1}}
  cases:
    - {name: approved, from: known, action: load, expect: {verdict: allow}}
    - {name: not approved, from: known, set: {acme.approved: false}, action: load, expect: {verdict: block}}
    - {name: nobody knows, from: known, unset: [acme.approved], action: load, expect: {verdict: block}}
"""


class World:
    """A site-packages of its own, policies, and an artifact in Artifactory."""

    def __init__(self, folder: Path, devserver: DevServer, repo: str, token: str) -> None:
        self.site, self.policies = folder / "site", folder / "policies"
        self.policies.mkdir()
        (self.policies / "board.yaml").write_text(POLICY)
        (self.policies / "board.cases.yaml").write_text(CASES)
        devserver.put(repo, "m/MLmodel", b"flavors: {}\n")
        self.ref, self._folder = f"{repo}/m", folder
        self._settings = {
            "MLGOV_HOME": str(folder / "home"),
            "MLGOV_POLICY_PATH": str(self.policies),
            "MLGOV_ENVIRONMENT": "production",
            "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
            "ARTIFACTORY_AUTH_TOKEN": token,
            "PYTHONPATH": str(self.site),
        }

    def install(
        self, points: str, *, facts: str = FACTS, collector: str = COLLECTOR, name: str = "acme"
    ) -> None:
        package, info = self.site / f"{name}_gov", self.site / f"{name}_gov-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").touch()
        (package / "facts.py").write_text(facts)
        (package / "board.py").write_text(collector)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-gov\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)

    def run(self, *arguments: str) -> Done:
        return run_cli(*arguments, cwd=self._folder, variables=self._settings)


BOTH = """
[governance.facts]
acme = acme_gov.facts:FACTS
[governance.collectors]
acme = acme_gov.board:Board
"""


@pytest.fixture
def world(tmp_path: Path, devserver: DevServer, repo: str, alice_token: str) -> World:
    return World(tmp_path, devserver, repo, alice_token)


def test_its_facts_are_judged_by(world: World) -> None:
    world.install(BOTH)
    assert world.run("policy", "check").code == 0
    assert world.run("policy", "test").code == 0
    refused = world.run("check", world.ref)
    assert (refused.code, "(risk 3)" in refused.out) == (1, True), refused.err
    assert "acme.approved" in world.run("policy", "schema", "Policy").out
    assert "collectors: acme" in world.run("doctor").out


def test_a_collector_that_does_not_load_leaves_its_facts_unknown(world: World) -> None:
    world.install(BOTH, collector="raise RuntimeError('secret')\n")
    done = world.run("policy", "explain", world.ref, "--json")
    (approved,) = [each for each in json.loads(done.out)["facts"] if each["fact"] == "acme.approved"]
    assert "RuntimeError" in str(approved["value"])
    assert "secret" not in done.out + done.err
    assert world.run("check", world.ref).code == 1


def test_facts_that_do_not_load_are_told_and_policies_that_name_them_refused(world: World) -> None:
    world.install(BOTH, facts="import nowhere_at_all\n")
    refused = world.run("check", world.ref)
    assert (refused.code, "acme.approved" in refused.err) == (2, True)
    assert "ModuleNotFoundError" in refused.err
