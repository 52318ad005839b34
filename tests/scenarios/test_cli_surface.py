"""The command line as such: help, exit codes, how errors look, and that nothing heavy is imported."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from governance import errors
from governance.cli.exits import EXIT_CODES, exit_code
from governance.cli.main import main
from governance.cli.output import plain
from governance.cli.stage.telling import Narrator, narration
from governance.model.verdict import Effect, Refusal
from tests.full_disk import full_above
from tests.mlflow_tools import environment
from tests.scenarios.cli import clean, run_cli

PACK = Path(__file__).parents[2] / "policies" / "baseline.yaml"
REFUSAL = Refusal(
    decision_id="d", decision=Effect.BLOCK, action="load", artifact_kind="model", artifact_ref="r/p",
    artifact_digest=None, environment="production", policies=("p",), policy_digest="0" * 64, policy_revision=None,
    findings=(),
)  # fmt: skip


def remote(kind: type[errors.RemoteError]) -> errors.RemoteError:
    return kind("no", service="Artifactory", method="GET", path="x", status=500)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BlockedError(REFUSAL), 1),
        (errors.QuarantinedError(REFUSAL), 1),
        (errors.SignatureError("no", reason="missing"), 1),
        (errors.DigestMismatchError("f", expected="a", actual="b"), 1),
        (errors.SettingsError("no"), 2),
        (errors.PolicyInvalidError(["p.yaml:1:1 spec: expected more"]), 2),
        (errors.KeyFileError("no"), 2),
        (remote(errors.UnreachableError), 3),
        (remote(errors.UnavailableError), 3),
        (errors.UnsafePathError("no"), 3),
        (errors.AuditBrokenError("no"), 4),
        (errors.NewerLogError("no"), 3),
        (errors.AuditUnavailableError("no"), 4),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_exit_code(error: errors.GovernanceError, code: int) -> None:
    assert exit_code(error) == code


def test_every_branch_of_the_tree_has_a_code() -> None:
    branches = errors.GovernanceError.__subclasses__()
    own = {errors.NewerLogError}  # within a branch, and not what the others of it are
    assert {kind for kind, _ in EXIT_CODES} - own == {
        kind for kind in branches if kind.__module__ == "governance.errors"
    }


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["doctor", "--help"], ["--version"]])
def test_help_imports_neither_mlflow_nor_a_client(arguments: list[str]) -> None:
    program = (
        "import sys; from governance.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'mlflow', 'requests', 'aiohttp', 'cryptography', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=clean(), check=False
    )
    assert done.returncode == 0, done.stderr


def test_top_level_help_groups_the_verbs() -> None:
    done = run_cli("--help")
    for heading in ("Try it out", "Decide", "Keys and signatures", "Evidence", "Operate"):
        assert heading in done.out
    assert done.code == 0


@pytest.mark.parametrize("arguments", [
    ["audit", "show", "caf\udce9"], ["audit", "who-loaded", "caf\udce9", "--json"], ["audit", "prove", "caf\udce9", "-o", "x"],
    ["report", "--artifact", "caf\udce9"], ["report", "compliance", "--filter", "actor:caf\udce9"], ["check", "caf\udce9"],
])  # fmt: skip
def test_arguments_that_are_not_utf_8_are_refused_in_words(arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "caf\\udce9` is not UTF-8" in done.err
    assert "what to do: " in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chekc"], "`chekc`"),
        (["check"], "REF"),
        (["check", "a/b", "--action", "eat"], "`eat`"),
        (["audit", "tail", "-n", "many"], "--lines"),
        (["keys", "export", "--nonsense"], "--nonsense"),
    ],
)
def test_wrong_command_lines(arguments: list[str], says: str) -> None:
    done = run_cli(*arguments)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert says in done.err
    assert "what to do: `mlgov" in done.err


def test_what_a_terminal_has_no_character_for_is_shown_escaped_in_text_and_json(tmp_path: Path) -> None:
    variables = {
        "MLGOV_HOME": str(tmp_path),
        "MLGOV_KEY_PASSPHRASE": "a passphrase for this",
        "PYTHONIOENCODING": "ascii",
    }
    made = run_cli("keys", "init", "--name", "Jürgen 模 🦉", variables=variables)
    assert (made.code, made.err) == (0, "")
    assert r"J\u00fcrgen \u6a21 \ud83e\udd89" in made.out
    (*_, last) = run_cli("audit", "tail", "--json", variables=variables).out.splitlines()
    assert json.loads(last)["body"]["name"] == "Jürgen 模 🦉"
    wrong = run_cli("keys", "ünit", variables=variables)
    assert (wrong.code, r"\u00fcnit" in wrong.err) == (2, True)


@pytest.mark.parametrize("arguments", [("policy", "check"), ("policy", "init"), ("audit", "export", "x")])
def test_a_working_directory_that_was_removed_is_named(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    home, gone = tmp_path / "home", tmp_path / "gone"
    variables = {
        "MLGOV_HOME": str(home),
        "MLGOV_KEY_PASSPHRASE": "a passphrase for this",
        "PYTHONPATH": str(PACK.parents[1]),
    }
    assert run_cli("keys", "init", variables=variables).code == 0
    gone.mkdir()
    script = (
        f"cd {gone} && rmdir {gone} && exec {sys.executable} -m governance.cli.main {' '.join(arguments)}"
    )
    done = subprocess.run(
        ["sh", "-c", script], env=clean(**variables), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "the working directory was removed" in done.stderr
    assert "what to do: `cd`" in done.stderr


def test_bare_command_shows_help() -> None:
    done = run_cli()
    assert done.code == 2
    assert "Usage" in done.out + done.err


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"MLGOV_GATHER_SECONDS": "soon"}, "MLGOV_GATHER_SECONDS"),
        ({"MLGOV_ARTIFACTORY_URL": "ftp://x"}, "MLGOV_ARTIFACTORY_URL"),
        ({"MLGOV_ENVIRONMENT": "Über"}, "MLGOV_ENVIRONMENT"),
        ({"MLGOV_CONFIG": "/nowhere/mlgov.toml"}, "`/nowhere/mlgov.toml`"),
    ],
)
def test_wrong_settings(variables: dict[str, str], says: str) -> None:
    done = run_cli("check", "models-local/x", variables=variables)
    assert done.code == 2
    assert says in done.err
    assert "what to do: " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doctor", ""], "is not a repository key"),
        (["policy", "import", "xray", "some.json"], "Xray is asked by REST, and `some.json` is not read"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: list[str], says: str) -> None:
    done = run_cli(*arguments)
    assert (done.code, says in done.err, "what to do: " in done.err) == (2, True, True), done.err


def test_lines_to_be_copied_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"export ARTIFACTORY_AUTH_TOKEN='{'x' * 600}'"
    Narrator(narration()).copyable(line)
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("wanted", ["", "1"])
def test_a_traceback_only_on_demand(wanted: str) -> None:
    done = run_cli("check", "nowhere", variables={"MLGOV_DEBUG": wanted})
    assert done.code == 2
    assert ("Traceback" in done.err) == bool(wanted)


def test_secrets_stay_out_of_errors() -> None:
    secrets = {"ARTIFACTORY_AUTH_TOKEN": "t0ken", "MLGOV_DEBUG": "1"}
    done = run_cli("check", "artifactory://user:s3cret@host/artifactory/r/p", variables=secrets)
    assert done.code == 2
    assert "s3cret" not in done.err + done.out
    assert "t0ken" not in done.err + done.out


def run_with(stdout: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "governance.cli.main", *arguments], stdout=stdout, stderr=subprocess.PIPE,
        env=clean(), check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [("policy", "check", str(PACK)), ("--help",)])
def test_a_reader_that_went_away_is_neither_an_error_nor_a_yes_nor_a_no(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run_with(write, *arguments)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [("policy", "check", str(PACK)), ("--version",), ("report", "--help")])
def test_output_to_a_full_disk_is_an_error_that_says_so(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_with(full.fileno(), *arguments)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: the output")
    assert b"cannot be written: No space left on device\nwhat to do: " in done.stderr


def test_a_full_disk_leaves_the_file_that_was_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, home, file = tmp_path / "model", tmp_path / "home", tmp_path / "out" / "file"
    for folder in (model, file.parent):
        folder.mkdir()
    (model / "weights").write_bytes(b"w")
    with environment({"MLGOV_HOME": str(home), "MLGOV_KEY_PASSPHRASE": "correct horse"}):
        assert main(["keys", "init"]) == 0
        for code, *words in (
            (3, "sign", str(model), "--output", str(file)),
            (2, "keys", "export", "--output", str(file)),
            (2, "policy", "check", str(PACK), "--format", "json", "--output", str(file)),
        ):
            file.write_bytes(b"the one before")
            file.chmod(0o640)
            with full_above(100):
                assert main(words) == code, words
            assert "cannot be written: File too large" in capsys.readouterr().err.replace("\n", " ")
            assert [(each.name, each.read_bytes()) for each in file.parent.iterdir()] == [
                ("file", b"the one before")
            ], words
            assert main(words) == 0, words
            assert file.stat().st_size > 100
            assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_change_no_exit_code(closed: str) -> None:
    command = f"exec {sys.executable} -m governance.cli.main policy check {PACK} {closed}"
    assert (
        subprocess.run(["/bin/sh", "-c", command], env=clean(), check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand tab", "two\nlines\tand tab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x07b\rc", "a\\x07b\\rc"),
        ("right\u202eleft", "right\\u202eleft"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("Grüße 模型", "Grüße 模型"),
    ],
)
def test_what_comes_from_outside_cannot_act_on_the_terminal(text: str, shown: str) -> None:
    assert plain(text) == shown
