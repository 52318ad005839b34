"""`mlgov policy explain`, `diff` and `backtest` as a user runs them, on a log that a gate wrote."""

from __future__ import annotations

import json
import shlex
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.errors import RefusedError
from governance.gate import Gate
from governance.model.facts import FactValue, Unknown
from governance.policy.compile import compile_bundle
from governance.policy.load import load_policies
from tests.audit_tools import database_of, tamper
from tests.scenarios.cli import run_cli
from tests.unit import gate_kit as gate

POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: models}
spec:
  default: allow
  rules:
    - {id: malicious, effect: block, waivable: never, when: {fact: xray.malicious, is: true}, message: malicious}
    - {id: unscanned, effect: quarantine, when: {fact: scan.complete, is: false}, message: not scanned}
"""
WORLDS: tuple[dict[str, FactValue], ...] = (
    {"xray.malicious": False, "scan.complete": True},
    {"xray.malicious": True, "scan.complete": True},
    {"xray.malicious": False, "scan.complete": Unknown("Xray is down")},
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a policy and a log of three decisions: allowed, blocked, quarantined."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "models.yaml").write_text(POLICY)
    start = datetime.now(UTC) - timedelta(days=3)
    policy = compile_bundle(load_policies([tmp_path / "policies"]))
    with closing(AuditLog(SqliteStore(tmp_path / "audit.sqlite"), now=lambda: start, instance="t")) as log:
        world = gate.World()
        door = Gate(
            policies=gate.Fixed(policy), collectors=[world], log=log, now=lambda: start, reuse_seconds=0
        )
        for facts in WORLDS:
            world.facts = facts
            try:
                with door.admit(gate.request(at=start, environment="production")) as permit:
                    permit.moved("model.pkl", gate.ONE)
            except RefusedError:
                pass
    return tmp_path


def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    environ = {"MLGOV_HOME": str(home), "MLGOV_POLICY_PATH": str(home / "policies")}
    done = run_cli(*arguments, variables=environ, cwd=home)
    return done.code, done.out, done.err


def _committed(home: Path, *names: str) -> None:
    git = ["git", "-C", str(home), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "policies", *names], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)


def decisions(home: Path) -> list[str]:
    with closing(AuditLog(SqliteStore(home / "audit.sqlite"), now=lambda: gate.NOON, instance="t")) as log:
        return [stored.entry.id for stored in log.find(kind=EntryKind.DECISION)]


def test_explain_names_rules_facts_and_what_would_change_it(home: Path) -> None:
    _, blocked, quarantined = decisions(home)
    code, text, _ = run(home, "policy", "explain", quarantined)
    assert code == 0
    assert "models/unscanned (quarantine): unknown, which counts as a match" in text
    assert "unknown: Xray is down" in text
    assert "allow if scan.complete were true (it is unknown: Xray is down)" in text
    assert f"mlgov waiver request --decision {quarantined}" in text
    code, text, _ = run(home, "policy", "explain", blocked, "--json")
    document = json.loads(text)
    assert code == 0
    assert document["decision"] == document["recorded"] == "block"
    assert document["waiver_command"] is None
    assert {"fact": "xray.malicious", "now": "true", "then": "false", "decision": "allow"} in document[
        "would_change"
    ]
    assert next(row for row in document["facts"] if row["fact"] == "xray.malicious")["source"] == "world"


def test_explain_without_such_an_entry(home: Path) -> None:
    code, _, problem = run(home, "policy", "explain", "01900000-0000-7000-8000-000000000000")
    assert code == 2
    assert "no entry `01900000" in problem


def test_diff_of_files_revisions_and_recorded_digests(home: Path) -> None:
    _committed(home)
    looser = POLICY.replace("effect: block", "effect: warn")
    (home / "policies" / "models.yaml").write_text(looser)
    code, text, _ = run(home, "policy", "diff", "HEAD:policies", "policies")
    assert code == 1
    assert "looser" in text
    assert "block became warn" in text
    code, text, _ = run(home, "policy", "diff", "policies", "HEAD:policies", "--json")
    found = json.loads(text)
    assert code == 0
    assert found["counts"] == {"looser": 0, "stricter": 1, "other": 0}
    with closing(AuditLog(SqliteStore(home / "audit.sqlite"), now=lambda: gate.NOON, instance="t")) as log:
        digest = str(next(log.find(kind=EntryKind.POLICY)).entry.body["digest"])
    code, text, _ = run(home, "policy", "diff", digest[:12], "HEAD:policies")
    assert (code, "no difference" in text) == (0, True)


def test_a_revision_is_read_as_a_folder_is(home: Path) -> None:
    (home / "policies" / "more.YAML").write_text(POLICY.replace("name: models", "name: more"))
    _committed(home)
    code, text, _ = run(home, "policy", "diff", "HEAD:policies", "policies")
    assert (code, "no difference" in text) == (0, True)


def test_hidden_files_of_a_revision_are_no_policies(home: Path) -> None:
    hidden = home / "policies" / ".drafts"
    hidden.mkdir()
    (hidden / "more.yaml").write_text(POLICY.replace("name: models", "name: more"))
    _committed(home)
    code, text, _ = run(home, "policy", "diff", "HEAD:policies", "policies")
    assert (code, "no difference" in text) == (0, True)
    code, text, _ = run(home, "policy", "diff", "HEAD:policies/.drafts", "policies")
    assert "policy removed" in text, "a folder that is named is read, whatever its name"


@pytest.mark.parametrize(("name", "target"), [("more.yaml", "../other/a.yaml"), ("more", "../other")])
def test_a_link_in_a_revision_is_refused_and_not_left_out(home: Path, name: str, target: str) -> None:
    (home / "other").mkdir()
    (home / "other" / "a.yaml").write_text(POLICY.replace("name: models", "name: more"))
    (home / "policies" / name).symlink_to(target)
    (home / "policies" / "README").symlink_to(
        "models.yaml"
    )  # to what is no folder, and no policy by its name
    _committed(home, "other")
    code, _, told = run(home, "policy", "diff", "HEAD:policies", "policies")
    assert code == 2
    assert f"policies/{name}` is a link in revision `HEAD`" in " ".join(told.split())


def test_the_commands_of_the_documentation(home: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()
    block = page.partition("## Explain, compare, try")[2].partition("```sh\n")[2].partition("```")[0]
    _committed(home)
    for line in block.strip().splitlines():
        arguments = [decisions(home)[1] if word == "ID" else word for word in line.split()[1:]]
        code, text, problem = run(home, *arguments)
        assert (code, problem.count("error")) == (0, 0), line
        assert text
    assert (home / "backtest.html").exists()


def test_the_road_from_observing_to_enforcing(home: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "policy-tasks.md").read_text()
    task = page.partition("## From observing to enforcing\n")[2].partition("\n## ")[0]
    team = home / "team"
    (team / ".governance").mkdir(parents=True)
    (team / ".governance/signed-only.yaml").write_text(task.partition("```yaml\n")[2].partition("```")[0])
    git = ["git", "-C", str(team), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", ".governance"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    said = {}
    for line in task.partition("```sh\n")[2].partition("```")[0].strip().splitlines():
        arguments = shlex.split(line, comments=True)[1:]
        done = run_cli(*arguments, variables={"MLGOV_HOME": str(home)}, cwd=team)
        said[arguments[1]] = (done.code, done.out)
    assert {verb: code for verb, (code, _) in said.items()} == {"test": 0, "backtest": 1, "diff": 0}
    assert "0 survived" in said["test"][1]
    assert "newly blocked: 1" in said["backtest"][1], "whether the loaded model was signed is not known"
    assert "signed-only/unsigned" in said["backtest"][1]
    assert "no difference" in said["diff"][1]


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("nowhere", "names no policy"),
        ("deadbeef", "no recorded policy begins with"),
        ("--no:x", "o such option|no revision|names no"),
    ],
)
def test_diff_of_what_is_not_there(home: Path, version: str, problem: str) -> None:
    code, _, text = run(home, "policy", "diff", "policies", version)
    assert code == 2
    assert any(words in text.lower() for words in problem.split("|"))


def test_backtest_tells_writes_a_page_and_exits_by_what_it_found(home: Path) -> None:
    code, text, _ = run(home, "policy", "backtest")
    assert code == 0
    assert "as recorded: 3" in text
    (home / "next.yaml").write_text(POLICY.replace("is: true", "is: false"))
    code, text, _ = run(home, "policy", "backtest", "next.yaml", "--html", "page.html", "--json")
    document = json.loads(text)
    assert code == 1
    assert (document["newly_blocked"]["count"], document["newly_allowed"]["count"]) == (1, 1)
    assert "Policy backtest" in (home / "page.html").read_text()
    code, _, problem = run(home, "policy", "backtest", "--since", "soon")
    assert (code, "neither a span of time nor a date" in problem) == (2, True)


def test_backtest_over_a_broken_entry_and_a_log_of_an_older_version(home: Path) -> None:
    tamper(
        home / "audit.sqlite",
        "UPDATE entry SET data = CAST(replace(data, 'alice', 'mallo') AS BLOB) WHERE seq = (SELECT min(seq) FROM entry WHERE kind = 'decision')",
    )
    code, text, problem = run(home, "policy", "backtest")
    assert code == 4
    assert "as recorded: 2" in text
    assert "1 of 3 decisions are broken" in problem
    with database_of(home / "audit.sqlite") as database:
        database.execute("PRAGMA user_version = 0")
    code, _, problem = run(home, "policy", "backtest")
    assert code == 4
    assert "an audit log of the older version 0" in problem
