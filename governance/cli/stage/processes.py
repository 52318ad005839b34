"""Child processes of the demo: servers on a leash, and a user's scripts.

Promises: each child gets the environment it is given and nothing of the caller's own MLflow, Artifactory or `mlgov`
settings; each server ends with the demo, however that ends (see `keeper`). Does not: know what it runs.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from governance.errors import TransferError

_OURS = ("MLGOV_", "MLFLOW_", "_MLFLOW_", "ARTIFACTORY_")
_POLL_SECONDS = 0.1
_TAIL = 12


class ChildFailedError(TransferError):
    """A server or script of the demo did not do its part. The message holds the end of its log."""


def clean_environment(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """`base` without any setting of MLflow, Artifactory or ours, with `extra` on top."""
    kept = {name: value for name, value in base.items() if not name.startswith(_OURS)}
    # Servers on loopback must not be sought behind a company's proxy.
    return kept | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"} | dict(extra)


def free_port() -> int:
    """A port of loopback that nobody listens on now. Somebody may before it is used; then the server says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Server:
    """A server on a leash. Leaving the context ends it and everything it started."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path, cwd: Path
    ) -> None:
        self.name = name
        self._log = log
        keeper = [sys.executable, "-m", "governance.cli.stage.keeper", *command]
        with log.open("wb") as sink:
            # S603: the command is the demo's own, never a user's text; no shell is involved.
            self._keeper = subprocess.Popen(  # noqa: S603 - a list of our own making, no shell
                keeper,
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._keeper.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait for `is_ready`. Raises `ChildFailedError` when the server ends first, or the time runs out."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running:
                raise ChildFailedError(f"{self.name} ended while starting:\n{self.tail()}", hint=self._hint())
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"{self.name} was not ready within {seconds:g} s:\n{self.tail()}", hint=self._hint()
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the server. Does nothing when it has ended."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        return tail_of(self._log)

    def _hint(self) -> str:
        return f"The whole log is `{self._log}`."


class Session:
    """A Python process that runs a user's scripts one after another. Leaving the context ends it.

    It ends with its standard input, hence with this process, however that ends.
    """

    def __init__(self, module: str, *, environment: Mapping[str, str], log: Path, cwd: Path) -> None:
        with log.open("wb") as sink:
            # S603: as above.
            self._process = subprocess.Popen(  # noqa: S603 - a list of our own making, no shell
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A script that is running when the demo is interrupted is of no more use.
        self._process.kill()
        self._process.communicate()

    def run(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        seconds: float = 180,
    ) -> int:
        """Run one script to its end, with its output in `log`. Returns its exit code; raises `ChildFailedError`."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise ValueError("a session without pipes")
        asked = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
        }
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            answer = b""
        else:
            ready, _, _ = select.select([process.stdout], [], [], seconds)
            if not ready:
                raise ChildFailedError(
                    f"`{module}` was not done within {seconds:g} s:\n{tail_of(log)}",
                    hint=f"The whole log is `{log}`.",
                )
            answer = process.stdout.readline()
        if not answer:
            raise ChildFailedError(
                f"`{module}` ended its interpreter:\n{tail_of(log)}\n{tail_of(self._log)}",
                hint=f"The whole log is `{log}`.",
            )
        code: int = json.loads(answer)["code"]
        return code


def tail_of(log: Path) -> str:
    """The last lines of a log file."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = text.splitlines()[-_TAIL:]
    return os.linesep.join(f"  {line[:300]}" for line in lines) or "  (it printed nothing)"
