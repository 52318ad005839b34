"""`mlgov serve dev` in the foreground, as a user runs it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.scenarios.cli import clean, run_cli

SERVE = [sys.executable, "-u", "-m", "governance.cli.main", "serve", "dev"]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its URL, and what it printed until it was ready."""
    with subprocess.Popen(
        [*SERVE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean()
    ) as process:
        assert process.stdout is not None
        printed, found = "", None
        while found is None:
            line = process.stdout.readline()
            assert line, printed
            printed += line
            found = re.search(r"http://[^\s:]+:\d+", line)
        try:
            yield process, found[0], printed
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def test_it_serves_keeps_its_state_and_ends(tmp_path: Path) -> None:
    folder = str(tmp_path / "state")
    with serving("--port", "0", "--folder", folder) as (process, url, printed):
        assert "models-local" in printed
        assert "admin/password" in printed
        assert "not a production store" in printed
        answer = requests.put(
            f"{url}/artifactory/models-local/a", data=b"x", auth=("alice", "alice"), timeout=10
        )
        assert answer.status_code == 201
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    with serving("--port", "0", "--folder", folder) as (_, url, _):
        kept = requests.get(f"{url}/artifactory/models-local/a", auth=("alice", "alice"), timeout=10)
        assert kept.content == b"x"


def test_it_warns_when_others_can_reach_it() -> None:
    with serving("--port", "0", "--host", "0.0.0.0") as (_, _, printed):
        assert "others can reach" in printed


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_cli("serve", "dev", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "cannot listen on" in done.err
    assert "`--port 0` takes a free port" in done.err


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"], ["--scan-delay", "-1"]])
def test_wrong_options(arguments: list[str]) -> None:
    assert run_cli("serve", "dev", *arguments).code == 2
