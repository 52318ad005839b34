"""Running `mlgov` as a user does, in a process of its own or in this one, with nothing of the caller's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from governance.cli.main import main

_OURS = ("MLGOV_", "MLFLOW_", "_MLFLOW_", "ARTIFACTORY_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]
"""`mlgov ARGUMENTS` with settings of its own on top of those of a fixture."""


def clean(**variables: str) -> dict[str, str]:
    """This process's environment without settings of ours, with `variables` on top."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1", "MLGOV_HOME": "/nonexistent/mlgov", **variables}


def run_cli(*arguments: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None) -> Done:
    """`mlgov ARGUMENTS` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "governance.cli.main", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=clean(**(variables or {})),
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def be(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Make the environment of `clean` that of this process, until the test ends."""
    environment = clean(**variables)
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def run_here(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Done:
    """`mlgov ARGUMENTS` in this process, with its environment as it is."""
    code = main(list(arguments))
    printed = capsys.readouterr()
    return Done(code=code, out=printed.out, err=printed.err)
