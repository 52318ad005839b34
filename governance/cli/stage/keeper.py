"""A guard between the demo and a server: `python -m governance.cli.stage.keeper COMMAND...`.

Promises: the command and everything it started are gone when this program ends, and this program ends when its standard
input does. So a demo that is interrupted, crashes or is killed leaves no server behind: the kernel closes the pipe for
it. Does not: restart anything, or know what it runs.

A tracking server starts workers of its own, so the command gets a session, and the whole process group is signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

GRACE_SECONDS = 4.0
"""How long the command may take to end by itself."""


def keep(command: Sequence[str], *, leash: int) -> int:
    """Run `command` until it ends or the pipe `leash` is closed at its other end. Returns the command's exit code."""
    # The terminal's Ctrl-C is for the demo, which then lets go of the leash.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # S603: the command is the demo's own; no shell is involved.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as child:  # noqa: S603 - a list of our own making, no shell
        signal.signal(signal.SIGTERM, lambda *_: _end(child.pid, signal.SIGTERM))
        threading.Thread(target=_watch, args=(leash, child), daemon=True).start()
        code = child.wait()
        _end(child.pid, signal.SIGKILL)  # what the command left behind in its group
    return code


def _watch(leash: int, child: subprocess.Popen[bytes]) -> None:
    while os.read(leash, 1):
        pass
    _end(child.pid, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if child.poll() is None:
        _end(child.pid, signal.SIGKILL)


def _end(group: int, signal_number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal_number)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:], leash=sys.stdin.fileno()))
