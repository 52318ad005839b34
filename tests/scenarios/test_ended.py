"""A job that is ended in the middle of a transfer: what was decided has an outcome on record, and nothing half is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.audit.entry import EntryKind
from governance.devserver import DevServer, Fault
from plugin.ending import EndedError, ended_in_order
from tests.mlflow_tools import Home, bodies, environment, make_home
from tests.scenarios.cli import clean

_JOB = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
repository = get_artifact_repository(sys.argv[2])
if sys.argv[1] == "load":
    repository.download_artifacts("folder", sys.argv[3])
else:
    repository.log_artifacts(sys.argv[3], "other")
"""


@pytest.fixture
def home(devserver: DevServer, tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", devserver)


@pytest.mark.parametrize(
    ("verb", "number"), [("load", signal.SIGTERM), ("load", signal.SIGINT), ("store", signal.SIGTERM)]
)
def test_an_ended_transfer_has_its_outcome_and_leaves_nothing(
    devserver: DevServer, home: Home, repo: str, tmp_path: Path, verb: str, number: signal.Signals
) -> None:
    uri = f"artifactory://{devserver.host}/artifactory/{repo}"
    source, out = tmp_path / "src", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(name.encode() * 5000)
    with environment(home.env):
        get_artifact_repository(uri).log_artifacts(str(source), "folder")
    method, path = ("GET", f"*/{repo}/folder/a") if verb == "load" else ("PUT", f"*/{repo}/other/a")
    slow = Fault(method=method, path=path, times=None, delay=300)
    devserver.faults.add(slow)
    before = len(home.entries(EntryKind.OUTCOME))
    job = subprocess.Popen(
        [sys.executable, "-c", _JOB, verb, uri, str(out if verb == "load" else source)],
        env=clean(**home.env), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while slow.hits == 0:
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(number)
    assert job.wait(120) == -number  # as it would have died without us, and without waiting for the answer
    assert list(out.iterdir()) == []
    (outcome,) = bodies(home.entries(EntryKind.OUTCOME))[before:]
    wanted = "KeyboardInterrupt" if number == signal.SIGINT else "EndedError"
    assert (outcome["status"], outcome["error"]) == ("failed", wanted)
    decisions = {row.entry.id for row in home.entries(EntryKind.DECISION)}
    assert outcome["decision"] in decisions


def _end_this_process(heard: Sequence[int] = ()) -> None:
    """Any of its threads may be the one that takes the signal, and this one hears of it a little later."""
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 10
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)


def test_who_provided_for_a_signal_is_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with ended_in_order():
            _end_this_process(heard)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_the_outermost_unwinds_last_and_threads_are_left_alone() -> None:
    with ended_in_order():
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(EndedError), ended_in_order():
            _end_this_process()
        assert handler is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def inside() -> None:
        with ended_in_order():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
