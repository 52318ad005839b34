"""A process that has loaded a model forks, as data loaders and worker pools do, and parent and children load on with what they have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from governance import forking
from governance.devserver import DevServer
from governance.forking import ForkLock, UseLock, call_after_fork, file_lock, made_once
from tests.mlflow_tools import make_home

SCRIPT = """
import os, sys, threading, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

uri, place, busy = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "busy"
source = place / "source"
source.mkdir()
(source / "MLmodel").write_text("flavors: {}")
for number in range(30):
    (source / f"{number}.bin").write_bytes(bytes([number]) * 20_000)
repository = get_artifact_repository(uri)
repository.log_artifacts(str(source))


def load(tag, times):
    for number in range(times):
        target = place / f"{tag}-{number}"
        target.mkdir()
        repository.download_artifacts("", str(target))
        for path in source.iterdir():
            assert (target / path.name).read_bytes() == path.read_bytes(), path


load("first", 1)
thread = threading.Thread(target=load, args=("thread", 4))
if busy:
    thread.start()
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        try:
            load(f"child{number}", 3)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
load("parent", 3)
if busy:
    thread.join()
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("busy", ["busy", "idle"])
def test_forked_children_and_their_parent_load_what_they_asked_for(
    devserver: DevServer, repo: str, tmp_path: Path, busy: str
) -> None:
    """Over shared connections each got the other's answers: bytes of another file, and verdicts about another artifact."""
    home = make_home(tmp_path / "home", devserver)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            f"artifactory://{devserver.host}/artifactory/{repo}/m",
            str(tmp_path),
            busy,
        ],
        env={**os.environ, **home.env},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@contextmanager
def held_by_another_thread(lock: ForkLock) -> Iterator[threading.Event]:
    """While another thread has the lock; until the end of this, or until the event is set."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield over
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("patience", [10.0, 0.01])
def test_a_fork_waits_for_the_use_of_a_library_and_says_where_it_waited_in_vain(
    monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(forking, "_PATIENCE", patience)
    lock, is_waited_for = UseLock(), patience > 1
    with held_by_another_thread(lock) as over:
        if is_waited_for:
            threading.Timer(0.1, over.set).start()
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            with lock:
                os._exit(0 if lock.was_cut is not is_waited_for else 1)
        assert over.is_set() is is_waited_for
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with lock:
        assert not lock.was_cut


def test_a_lock_that_another_thread_holds_is_free_in_a_child() -> None:
    lock = ForkLock()
    with held_by_another_thread(lock):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            with lock:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class _Slow:
    """Whose part takes another thread until `over`."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    @made_once
    def part(self) -> object:
        self.begun.set()
        self.over.wait(30)
        return object()


def test_what_another_thread_was_making_is_made_anew_in_a_child() -> None:
    """A worker that was forked while the parent's first model was being loaded waited for that thread for ever."""
    whole = _Slow()
    thread = threading.Thread(target=lambda: whole.part)
    thread.start()
    whole.begun.wait()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        signal.alarm(20)
        whole.over = threading.Event()
        whole.over.set()
        os._exit(0 if whole.part is whole.part else 1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        whole.over.set()
        thread.join()


def test_a_part_is_made_once_for_all_threads() -> None:
    whole = _Slow()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(whole.part)) for _ in range(4)]
    for each in threads:
        each.start()
    whole.begun.wait()
    whole.over.set()
    for each in threads:
        each.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_an_interrupt_leaves_no_lock_taken() -> None:
    """Ctrl-C in a notebook between taking a lock and the block that it guards: the next load waited for ever."""
    lock = ForkLock()
    is_armed = False

    def interrupt(*_: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(300):
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the block is what is interrupted
                is_armed = True
                while True:
                    with lock:
                        pass
            assert not lock._lock.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_lock_on_a_file_is_free_once_its_holder_has_let_go_though_a_child_lives_on(tmp_path: Path) -> None:
    """The lock is on what was opened, and a child has that open as well: for as long as it lived, nobody could write to the log."""
    path = tmp_path / "lock"
    with file_lock(path):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            signal.pause()
    try:
        with file_lock(path, waits=False):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_is_gone_is_not_called_in_a_child() -> None:
    read, write = os.pipe()

    class Teller:
        def tell(self) -> None:
            os.write(write, b"x")

    kept, gone = Teller(), Teller()
    for each in (kept, gone):
        call_after_fork(each.tell)
    del each, gone
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as told:
        assert told.read() == b"x"


def test_a_script_that_ends_with_all_it_had_open_ends_without_a_word() -> None:
    """Objects in circles are collected with the interpreter's own modules, in no order."""
    script = (
        "from governance.forking import call_after_fork\n"
        "class Part:\n"
        "    def __init__(self):\n        self.me = self\n        call_after_fork(self.renew)\n"
        "    def renew(self): pass\n"
        "parts = [Part() for _ in range(20)]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
