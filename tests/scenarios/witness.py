"""A witness of an audit log, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.cli import clean


@contextmanager
def witness_process(folder: Path, vkey: str, *, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A witness elsewhere: another process with a home of its own. Yields what names it as a place."""
    command = [
        *(sys.executable, "-m", "governance.cli.main", "audit", "witness", str(folder)),
        *("--log", vkey, "--name", "witness.example/w1", "--port", str(port)),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=clean(PYTHONUNBUFFERED="1", COLUMNS="400")
    )
    try:
        said: dict[str, str] = {}
        for line in process.stdout or ():
            words = line.split()
            if words[:1] == ["address"]:
                said["address"] = words[-1]
            if words[:2] == ["public", "key"]:
                said["key"] = words[-1]
                break
        yield f"{said['address']}={said['key']}", process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
