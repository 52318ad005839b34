"""`mlgov policy check` and `mlgov policy test` as a user runs them: exit codes, formats, git revisions, mutants."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import policies as packs
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.gate import Gate
from governance.policy.compile import compile_bundle
from governance.policy.load import load_policies
from tests.scenarios.cli import Cli, Done, run_here
from tests.unit import gate_kit as gate

POLICY = """\
apiVersion: mlgov/v1
kind: Policy
metadata: {name: models}
spec:
  default: block
  rules:
    - {id: scanned, effect: allow, when: {fact: scan.complete, is: true}}
    - {id: malicious, effect: block, when: {fact: xray.malicious, is: true}, message: malicious}
"""
CASES = """\
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: models}
spec:
  at: 2026-11-20T12:00:00Z
  fixtures:
    good: {scan.complete: true, xray.malicious: false}
  cases:
    - {name: good, from: good, action: load, expect: {verdict: allow, rules: [scanned]}}
    - {name: bad, from: good, set: {xray.malicious: true}, action: load, expect: {verdict: block, rules: [malicious]}}
    - {name: unknown, from: good, set: {xray.malicious: {unknown: x}}, action: load, expect: {verdict: block, rules: [malicious]}}
    - {name: unscanned, from: good, set: {scan.complete: false}, action: load, expect: {verdict: block, rules: []}}
    - {name: unknown scan, from: good, set: {scan.complete: {unknown: x}}, action: load, expect: {verdict: block, rules: []}}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with a policy and its cases, committed; the working directory."""
    folder = tmp_path / ".governance"
    folder.mkdir()
    (folder / "models.yaml").write_text(POLICY)
    (folder / "models.cases.yaml").write_text(CASES)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    for name in [name for name in os.environ if name.startswith("MLGOV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "policy")


def edit(repository: Path, change: Callable[[str], str]) -> None:
    file = repository / ".governance" / "models.yaml"
    file.write_text(change(file.read_text()))


class Line:
    """The command line, run in this process: dozens of Python starts would tell no more."""

    def __init__(self, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.verb, self.capsys = verb, capsys

    def __call__(self, *arguments: str) -> Done:
        self.capsys.readouterr()
        return run_here("policy", self.verb, *arguments, capsys=self.capsys)


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line("check", capsys)


@pytest.fixture
def run_tests(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line("test", capsys)


def test_a_policy_in_order_passes_at_every_level(repository: Path, check: Line) -> None:
    done = check("--fail-on", "note")
    assert (done.code, done.err) == (0, "")
    assert "1 policies in order" in done.out


def test_a_file_for_words_is_refused_and_not_left_unwritten(
    repository: Path, check: Line, run_tests: Line
) -> None:
    for run in (check, run_tests):
        done = run("--output", "out.txt")
        assert (done.code, "nothing would be written to `out.txt`" in done.err) == (2, True)


def test_an_empty_folder_is_named(repository: Path, check: Line) -> None:
    (repository / "empty").mkdir()
    done = check("empty")
    assert (done.code, "empty:1:1" in done.out) == (2, True)
    assert "expected a YAML file below this folder" in done.out


def test_the_exit_code_follows_the_level(repository: Path, check: Line) -> None:
    edit(repository, lambda text: text.replace("message: malicious}", "message: malicious, onUnknown: skip}"))
    assert [check("--fail-on", level).code for level in ("error", "warning", "note", "never")] == [
        0, 0, 1, 0,
    ]  # fmt: skip
    edit(repository, lambda text: text.replace("default: block", "default: allow"))
    done = check("--fail-on", "warning")
    assert done.code == 1
    assert "models.yaml:5:12 warning [default-allow-in-production]" in done.out
    assert "what to do: Set `default: block`" in done.out


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit"])
def test_what_does_not_load_comes_out_in_every_format(repository: Path, form: str, check: Line) -> None:
    edit(
        repository,
        lambda text: text.replace("scan.complete", "scan.compleet").replace("default: block", "default: no"),
    )
    done = check("--format", form)
    assert (done.code, done.err) == (2, "")
    assert "scan.compleet" in done.out
    assert "did you mean `scan.complete`?" in done.out.replace("&apos;", "'")
    if form == "json":
        assert json.loads(done.out)["counts"]["error"] == 2
    if form == "sarif":
        lines = [
            one["locations"][0]["physicalLocation"]["region"]["startLine"]
            for one in json.loads(done.out)["runs"][0]["results"]
        ]
        assert lines == [5, 7]
    if form == "junit":
        assert ET.fromstring(done.out).get("failures") == "2"


def test_a_format_goes_to_a_file_while_words_go_to_the_log(repository: Path, check: Line) -> None:
    done = check("--format", "sarif", "--output", "policy.sarif")
    assert done.code == 0
    assert "1 policies in order" in done.out
    assert json.loads((repository / "policy.sarif").read_text())["version"] == "2.1.0"
    refused = check("--format", "json", "--output", "no/such/folder/x.json")
    assert refused.code == 2
    assert "`no/such/folder/x.json` cannot be written: No such file or directory" in refused.err


def test_against_a_revision_only_what_is_new_counts(repository: Path, check: Line) -> None:
    edit(repository, lambda text: text.replace("default: block", "default: allow"))
    commit(repository)
    assert check("--fail-on", "warning").code == 1
    assert check("--fail-on", "warning", "--against", "HEAD").code == 0
    assert "2 stood in `HEAD` already" in check("--against", "HEAD").out
    done = check("--fail-on", "warning", "--against", "HEAD~1", "--format", "json")
    assert done.code == 1
    found: Any = json.loads(done.out)
    assert {(one["id"], one["subject"], one["line"]) for one in found["findings"]} == {
        ("default-allow-in-production", "models", 5),
        ("allow-without-effect", "models/scanned", 7),
        ("loosened", "models", 5),
    }


def test_why_git_does_not_know_a_revision_is_told(
    repository: Path, check: Line, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(repository, lambda text: text.replace("default: block", "default: allow"))
    commit(repository)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shallow, empty = elsewhere / "shallow", elsewhere / "empty"
    git(elsewhere, "clone", "-q", "--depth", "1", repository.as_uri(), str(shallow))
    monkeypatch.chdir(shallow)
    assert "this clone is shallow" in check("--against", "HEAD~1").err
    shutil.copytree(repository / ".governance", empty / ".governance")
    monkeypatch.chdir(empty)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(elsewhere))
    assert "git reads no repository at" in check(".governance", "--against", "HEAD").err
    monkeypatch.chdir(repository)
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'7' * 40},.governance/team")
    git(repository, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "a submodule")
    assert "`.governance/team` is a submodule in revision `HEAD`" in check("--against", "HEAD").err


def test_a_revision_that_is_not_there_or_holds_no_good_policy_is_told(repository: Path, check: Line) -> None:
    missing = check("--against", "nosuch")
    assert missing.code == 2
    assert "git knows no revision `nosuch` here" in missing.err
    assert check("--against", "--upload-pack=x").code == 2
    edit(repository, lambda text: text.replace("default: block", "default: no"))
    commit(repository)
    edit(repository, lambda text: text.replace("default: no", "default: allow"))
    done = check("--against", "HEAD", "--fail-on", "warning")
    assert done.code == 1
    assert "the policy of `HEAD` does not load (1 mistakes): everything counts as new" in done.err
    fresh = repository / "other"
    fresh.mkdir()
    (fresh / "p.yaml").write_text(POLICY)
    new = check("other", "--against", "HEAD")
    assert new.code == 0
    assert "there is no policy file at these paths in `HEAD`" in new.err


def test_rules_that_matched_nothing_in_the_log_are_named(repository: Path, check: Line) -> None:
    none = check("--idle", "90d")
    assert none.code == 4
    policy = compile_bundle(load_policies([repository / ".governance"]))
    now = datetime.now(UTC)
    (repository / "home").mkdir(exist_ok=True)
    store = SqliteStore(repository / "home" / "audit.sqlite")
    with closing(AuditLog(store, now=lambda: now, instance="t")) as log:
        world = gate.World()
        world.facts = {"xray.malicious": False, "scan.complete": True}
        door = Gate(
            policies=gate.Fixed(policy), collectors=[world], log=log, now=lambda: now, reuse_seconds=0
        )
        with door.admit(gate.request(at=now, environment="production")) as permit:
            permit.moved("model.pkl", gate.ONE)
    done = check("--idle", "90d", "--fail-on", "note")
    assert done.code == 1
    assert "models/malicious: a rule that matched nothing in the log's decisions" in done.out
    assert "models/scanned" not in done.out


def test_no_mutant_of_a_well_tested_policy_survives(repository: Path, run_tests: Line) -> None:
    done = run_tests("--mutate", "--coverage")
    assert (done.code, done.err) == (0, "")
    assert "5 of 5 cases as expected, 2 of 2 rules covered" in done.out
    assert "17 of 17 mutants noticed, 0 survived" in done.out


def test_a_survivor_is_told_with_its_place_and_the_case_that_would_notice(
    repository: Path, run_tests: Line
) -> None:
    cases = repository / ".governance" / "models.cases.yaml"
    cases.write_text(
        "".join(line for line in CASES.splitlines(keepends=True) if "name: unknown," not in line)
    )
    done = run_tests("--mutate")
    assert done.code == 1
    assert ".governance/models.yaml:8:7 models/malicious" in done.out
    assert "`onUnknown: match` became `onUnknown: skip`, and no case noticed" in done.out
    assert (
        'a case that would: like `models: good` with set: {xray.malicious: {unknown: "not known"}}; '
        "expect {verdict: block, rules: [models/malicious]}, where the mutant says allow by models/scanned"
    ) in done.out
    made: Any = json.loads(run_tests("--mutate", "--format", "json").out)
    (survivor,) = made["mutation"]["survivors"]
    assert survivor["case"]["set"] == {"xray.malicious": {"unknown": "not known"}}
    junit = ET.fromstring(run_tests("--mutate", "--format", "junit").out)
    assert [(one.get("name"), one.get("failures")) for one in junit.iter("testsuite")] == [
        ("models", "0"), ("coverage", "0"), ("mutants", "1"),
    ]  # fmt: skip
    assert run_tests("--mutate", "--rules", "models/scanned").code == 0


def test_a_failing_case_shows_what_was_expected_and_the_facts_behind_what_came(
    repository: Path, run_tests: Line
) -> None:
    edit(repository, lambda text: text.replace("is: true}, message", "is: false}, message"))
    done = run_tests("--mutate")
    assert done.code == 1
    assert "no mutant was tried, since cases fail before anything was changed" in done.err
    lines = [line.strip() for line in done.out.splitlines()]
    start = lines.index("✗ models: good")
    assert lines[start + 1 : start + 9] == [
        ".governance/models.cases.yaml:9:7",
        "- verdict allow",
        "+ verdict block",
        "- rule models/scanned",
        "allow; matched, so it fires",
        "scan.complete: true",
        "+ rule models/malicious",
        "block; matched, so it fires",
    ]
    failed = ET.fromstring(run_tests("--format", "junit").out)
    assert failed.get("failures") == "4"
    assert "+ verdict block" in str(next(failed.iter("failure")).text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mutate", "--rules", "nosuch/*"], "no rule or policy that is tested fits `nosuch/*`"),
        ([".governance/models.yaml", "--mutate"], "there is no PolicyTest in these files"),
        (["nosuch.yaml"], "expected a folder or file of policies, got nothing"),
    ],
)
def test_each_refusal_says_why_and_what_to_do(
    repository: Path, arguments: list[str], message: str, run_tests: Line
) -> None:
    done = run_tests(*arguments)
    assert done.code == 2
    assert message in done.err
    assert "what to do: " in done.err


def test_policy(cli: Cli) -> None:
    checked = cli("policy", "check", str(packs.path("baseline")), str(packs.path("strict")))
    assert checked.code == 0
    assert "baseline-models" in checked.out
    assert cli("policy", "check").code == 0  # what is in force where nothing is said
    assert cli("policy", "check", "nowhere.yaml").code == 2
    tested = cli("policy", "test", str(packs.path("baseline")), str(packs.cases("baseline")))
    assert tested.code == 0, tested.out
    assert "cases as expected" in tested.out
    assert cli("policy", "test", str(packs.path("baseline"))).code == 2  # no case proves nothing


@pytest.mark.parametrize("kind", ["Policy", "PolicySet", "Waiver", "PolicyTest"])
def test_policy_schema(cli: Cli, kind: str) -> None:
    assert json.loads(cli("policy", "schema", kind).out)["type"] == "object"
    assert cli("policy", "schema", "Opinion").code == 2
