"""`mlgov policy init` as a user runs it: what it writes passes its own checks, in the pipelines it writes, over nothing."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import policies
from governance.cli.main import main
from governance.policy.starting import FOLDER, GITHUB, GITLAB, GITLAB_ROOT, PRE_COMMIT
from tests.full_disk import full_above
from tests.scenarios.cli import Done, clean, run_here

ROOT = Path(__file__).resolve().parents[2]


class Repository:
    """An empty git repository, in which the command line is run in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def mlgov(self, *arguments: str) -> Done:
        """`mlgov policy ARGUMENTS`."""
        self.capsys.readouterr()
        return run_here("policy", *arguments, capsys=self.capsys)

    def write(self, name: str, text: str) -> Path:
        """A file that is there already."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text()

    def files(self) -> dict[str, str]:
        """Every file, git's own aside."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and ".git" not in path.parts)
        return {path.relative_to(self.folder).as_posix(): path.read_text() for path in found}


@pytest.fixture
def repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Repository:
    """The working directory, without any settings of ours."""
    folder = tmp_path / "repository"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for name in [name for name in os.environ if name.startswith("MLGOV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return Repository(folder, capsys)


def is_valid_schema(schema: str, path: Path) -> bool:
    """Whether `check-jsonschema` takes a file for what the schema says."""
    check: Any = importlib.import_module("check_jsonschema").main
    return not check(["--builtin-schema", schema, str(path)], standalone_mode=False)


def is_valid_hooks(kind: str, path: Path) -> bool:
    """Whether pre-commit takes a file for its `config` or `manifest`."""
    check: Any = importlib.import_module("pre_commit.main").main
    return bool(check([f"validate-{kind}", str(path)]) == 0)


def test_what_is_written_passes_its_own_checks(repository: Repository) -> None:
    done = repository.mlgov("init")
    assert (done.code, done.err) == (0, "")
    assert set(repository.files()) == {
        f"{FOLDER}/models.yaml", f"{FOLDER}/models.cases.yaml", f"{FOLDER}/set.yaml", GITHUB, GITLAB, GITLAB_ROOT, PRE_COMMIT,
    }  # fmt: skip
    checked = repository.mlgov("check", "--fail-on", "note")
    assert (checked.code, checked.err) == (0, "")
    tested = repository.mlgov("test", "--mutate", "--coverage")
    assert tested.code == 0
    assert re.search(r"(\d+) of \1 mutants noticed, 0 survived", tested.out)


def test_the_pipelines_are_valid_and_so_are_the_hooks(repository: Repository) -> None:
    repository.mlgov("init")
    for schema, name in (("github-workflows", GITHUB), ("gitlab-ci", GITLAB), ("gitlab-ci", GITLAB_ROOT)):
        assert is_valid_schema(f"vendor.{schema}", repository.folder / name)
    assert not is_valid_schema("vendor.github-workflows", repository.folder / GITLAB)
    assert is_valid_hooks("config", repository.folder / PRE_COMMIT)
    assert is_valid_hooks("manifest", ROOT / ".pre-commit-hooks.yaml")
    assert not is_valid_hooks("config", repository.folder / GITLAB)


@pytest.fixture
def shell(repository: Repository, tmp_path: Path) -> dict[str, str]:
    """An environment in which `mlgov` is this checkout's and `pip` does nothing, after the first commit of what init wrote."""
    repository.mlgov("init")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, line in (
        ("mlgov", f'exec {shlex.quote(sys.executable)} -m governance.cli.main "$@"'),
        ("pip", "exit 0"),
    ):
        tool = tools / name
        tool.write_text(f"#!/bin/sh\n{line}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (
        ("add", "-A"),
        (*author, "commit", "-qm", "policies"),
        ("update-ref", "refs/remotes/origin/main", "HEAD"),
    ):
        subprocess.run(["git", *command], cwd=repository.folder, check=True)
    return clean(PATH=f"{tools}{os.pathsep}{os.environ['PATH']}", HOME=str(tmp_path))


def run_line(line: str, environment: dict[str, str]) -> str:
    """One line of a pipeline, as its runner runs it."""
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_each_step_of_the_github_workflow_runs(repository: Repository, shell: dict[str, str]) -> None:
    (job,) = yaml.safe_load(repository.read(GITHUB))["jobs"].values()
    lines = [step["run"] for step in job["steps"] if "run" in step]
    assert [" ".join(line.split()[:3]) for line in lines[1:]] == [
        "mlgov policy check", "mlgov policy check", "mlgov policy test", "mlgov waiver list",
    ]  # fmt: skip
    printed = [run_line(line, shell | {"BASE": "main"}) for line in lines]
    assert "1 stood in `origin/main` already" in printed[2]
    assert "0 survived" in printed[3]
    assert {path.name for path in repository.folder.glob("policy-*.xml")} == {
        "policy-check.xml",
        "policy-test.xml",
    }


def test_the_gitlab_job_runs_the_same_lines(repository: Repository, shell: dict[str, str]) -> None:
    (job,) = yaml.safe_load(repository.read(GITLAB)).values()
    (github,) = yaml.safe_load(repository.read(GITHUB))["jobs"].values()
    plain = [line for line in job["script"] if line.startswith("mlgov")]
    assert set(plain) <= {step.get("run") for step in github["steps"]}
    assert len(plain) == 3
    (compare,) = set(job["script"]) - set(plain)
    assert run_line(compare, shell) == ""  # not a merge request
    assert "3 policies in order" in run_line(compare, shell | {"CI_MERGE_REQUEST_DIFF_BASE_SHA": "HEAD"})
    assert job["artifacts"]["reports"]["junit"] == ["policy-check.xml", "policy-test.xml"]


@pytest.mark.parametrize("file", [PRE_COMMIT, ".pre-commit-hooks.yaml"])
def test_each_hook_passes_on_what_was_written(repository: Repository, file: str) -> None:
    repository.mlgov("init")
    hooks: Any
    if file == PRE_COMMIT:
        hooks = [hook for one in yaml.safe_load(repository.read(file))["repos"] for hook in one["hooks"]]
    else:
        hooks = yaml.safe_load((ROOT / file).read_text())
    assert len(hooks) >= 2
    for hook in hooks:
        words = hook["entry"].split()
        assert words[0] == "mlgov"
        assert main(words[1:]) == 0, hook["entry"]
        assert re.search(hook["files"], ".governance/models.yaml")


def test_nothing_that_is_there_is_overwritten(repository: Repository) -> None:
    for name in (f"{FOLDER}/models.yaml", GITHUB, GITLAB, GITLAB_ROOT):
        repository.write(name, "mine: true\n")
    repository.write(f"{FOLDER}/models.yaml", policies.read("baseline"))
    before = repository.files()
    done = repository.mlgov("init", "--ci", "github", "--ci", "gitlab")
    assert done.code == 0
    assert repository.files() == before
    assert ".governance holds policies already and stays as it is" in done.out
    assert f"{GITHUB} is there already and stays as it is" in done.out
    assert f"{GITLAB_ROOT} is there already and stays as it is; add to it:\n      include:\n" in done.out
    again = repository.mlgov("init")
    assert PRE_COMMIT in again.out
    assert repository.files().keys() - before.keys() == {PRE_COMMIT}


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_hooks_are_added_at_the_end_of_a_configuration(repository: Repository, indent: str) -> None:
    mine = f"# mine\nrepos:\n{indent}- repo: https://example.org/x  # a comment\n{indent}  rev: '1'\n{indent}  hooks:\n{indent}  - id: y"
    repository.write(PRE_COMMIT, mine)
    assert "has the hooks added at its end" in repository.mlgov("init", "--ci", "pre-commit").out
    text = repository.read(PRE_COMMIT)
    assert text.startswith(mine)
    assert [one["repo"] for one in yaml.safe_load(text)["repos"]] == ["https://example.org/x", "local"]
    assert is_valid_hooks("config", repository.folder / PRE_COMMIT)
    assert "has the hooks already" in repository.mlgov("init", "--ci", "pre-commit").out
    assert repository.read(PRE_COMMIT) == text


def test_a_configuration_to_which_a_full_disk_lets_nothing_be_added_stays(repository: Repository) -> None:
    mine = f"{'# mine' * 4_000}\nrepos:\n- repo: https://example.org/x\n  rev: '1'\n  hooks:\n  - id: y"
    repository.write(PRE_COMMIT, mine).chmod(0o640)
    with full_above(20_000):
        done = repository.mlgov("init", "--ci", "pre-commit")
    assert (done.code, "File too large" in done.err) == (3, True), done.err
    assert repository.read(PRE_COMMIT) == mine
    assert repository.mlgov("init", "--ci", "pre-commit").code == 0
    assert repository.read(PRE_COMMIT).startswith(mine)
    assert stat.S_IMODE((repository.folder / PRE_COMMIT).stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "mine",
    [
        "repos:\n- repo: x\n  hooks: []\nci: {autofix_prs: false}\n",  # `repos` is not the last key
        "repos: [{repo: x, hooks: []}]\n",
        "repos: []\n",
        "repos: [\n",
        "",
        "- repo: x\n",
    ],
)
def test_a_configuration_that_cannot_be_added_to_is_left_and_the_lines_are_shown(
    repository: Repository, mine: str
) -> None:
    repository.write(PRE_COMMIT, mine)
    done = repository.mlgov("init", "--ci", "pre-commit")
    assert done.code == 0
    assert repository.read(PRE_COMMIT) == mine
    assert "cannot be added to safely; add below `repos`:" in done.out
    assert "      - repo: local\n" in done.out


@pytest.mark.parametrize("pack", policies.names())
def test_each_pack_is_a_beginning_that_passes_its_cases(repository: Repository, pack: str) -> None:
    assert repository.mlgov("init", "--pack", pack, "--ci", "github").code == 0
    names = {name for name in repository.files() if name.startswith(FOLDER)}
    assert names - {f"{FOLDER}/set.yaml"} == {f"{FOLDER}/{pack}.yaml", f"{FOLDER}/{pack}.cases.yaml"}
    assert "yaml-language-server" not in "".join(repository.files().values())
    checked = repository.mlgov("check", "--fail-on", "warning")
    assert checked.code == 0, checked.out
    tested = repository.mlgov("test", "--coverage", "--mutate")
    assert tested.code == 0, tested.out


def test_packs_stand_side_by_side(repository: Repository) -> None:
    wanted = [word for name in policies.names() for word in ("--pack", name)]
    assert repository.mlgov("init", *wanted, "--ci", "github").code == 0
    assert repository.mlgov("check", "--fail-on", "warning").code == 0
    assert repository.mlgov("test").code == 0
    added = repository.mlgov("init", "--ci", "github")
    assert "holds policies already" in added.out


def test_each_refusal_says_why_and_writes_nothing(repository: Repository) -> None:
    unknown = repository.mlgov("init", "--pack", "nosuch")
    assert unknown.code == 2
    assert "`nosuch` is not a shipped pack" in unknown.err
    assert "There are: baseline" in unknown.err
    nowhere = repository.mlgov("init", "no/such/folder")
    assert nowhere.code == 2
    assert "`no/such/folder` is not a folder" in nowhere.err
    assert repository.files() == {}
    repository.write(f"{FOLDER}/other.yaml", policies.read("baseline"))
    clash = repository.mlgov("init", "--pack", "baseline")
    assert clash.code == 2
    assert (
        "the packs baseline cannot stand together beside what is in `.governance`; nothing was written"
        in clash.err
    )
    assert set(repository.files()) == {f"{FOLDER}/other.yaml"}


@pytest.mark.parametrize("link", [".github", ".governance", ".pre-commit-config.yaml"])
def test_a_link_out_of_the_repository_is_refused(repository: Repository, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository.folder / link).symlink_to(outside / "file" if link.endswith("yaml") else outside)
    done = repository.mlgov("init")
    assert done.code == 2
    assert f"`{link}" in done.err
    assert "leads out of the repository" in done.err
    assert list(outside.iterdir()) == []
    assert repository.files() == {}
