"""The embedded server in a process of its own, so that no measured client shares an interpreter with it.

Run as a module it starts one, prints host, token and temporary folder's repository on a line, and ends with its standard
input.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "benchmark-local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running server."""

    host: str
    token: str


@contextmanager
def embedded() -> Iterator[Embedded]:
    """Start a server with an empty repository."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.embedded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        host, token = process.stdout.readline().split()
        yield Embedded(host=host, token=token)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=60)


def main() -> None:
    """Serve until standard input ends."""
    from governance.devserver import DevServer, DevServerConfig

    with DevServer.start(DevServerConfig()) as server:
        server.create_repository(REPOSITORY)
        print(server.host, server.token("alice"), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
