"""What is SQLite's alone: the plan of each search, and its thread."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from governance.audit import sqlite_file, sqlite_pool
from governance.audit.sqlite import SqliteStore
from governance.audit.sqlite_pool import using_sqlite
from governance.errors import AuditUnavailableError
from tests.audit_tools import database_of, draft


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("subject = 'a' AND kind = 'outcome'", "entry_subject (subject=? AND kind=? AND rowid>?)"),
        (
            "correlation = 'a' AND kind = 'outcome'",
            "entry_correlation (correlation=? AND kind=? AND rowid>?)",
        ),
        ("subject = 'a'", "entry_subject (subject=?)"),
        ("correlation = 'a'", "entry_correlation (correlation=?)"),
        ("kind = 'key'", "entry_kind (kind=? AND rowid>?)"),
    ],
)
def test_searches_use_their_index(tmp_path: Path, where: str, index: str) -> None:
    SqliteStore(tmp_path / "audit.sqlite").close()
    with database_of(tmp_path / "audit.sqlite") as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT data FROM entry WHERE {where} AND seq > 7 ORDER BY seq LIMIT 9"
        )
        assert index in str(plan.fetchall())


def test_a_log_that_could_have_no_thread_is_written_once_there_is_one(
    tmp_path: Path, leave_threads: Callable[[int], None]
) -> None:
    """Once was enough for ever: each later entry waited its half minute for a thread that had never begun."""
    store = SqliteStore(tmp_path / "audit.sqlite", timeout=5)
    leave_threads(0)
    with pytest.raises(AuditUnavailableError, match="gives this process no more") as caught:
        store.append([draft(1)])
    assert "pids" in str(caught.value.hint)
    leave_threads(1)
    assert list(store.append([draft(2)])) == [0]
    store.close()


def test_a_log_that_cannot_be_locked_says_what_both_reasons_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says of a file system without locks, such as some of the network, that somebody else holds them."""
    monkeypatch.setattr(sqlite_file, "_BUSY_MS", 10)
    path = tmp_path / "audit.sqlite"
    SqliteStore(path).close()
    with database_of(path) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AuditUnavailableError, match="holds it locked") as caught:
            SqliteStore(path)
    assert "local disk" in str(caught.value.hint)


def _in_child(act: Callable[[], object]) -> int:
    """Have a forked child do something. Returns its number; it ends with 0 where nothing was raised."""
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        with contextlib.suppress(BaseException):
            act()
            code = 0
        os._exit(code)
    return child


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextlib.contextmanager
def _thread_inside(over: threading.Event) -> Iterator[None]:
    """While another thread has SQLite do something, which lasts until `over`."""
    inside = threading.Event()

    def use() -> None:
        with using_sqlite():
            inside.set()
            over.wait()

    thread = threading.Thread(target=use)
    thread.start()
    inside.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_a_child_wrote_is_in_the_log_when_its_parent_has_ended(tmp_path: Path) -> None:
    """SQLite in the child took the parent's lock for its own: whoever closed the file last took the journal away, and with it all
    entries that were acknowledged to the child."""
    path = tmp_path / "audit.sqlite"
    store = SqliteStore(path)
    store.append([draft(1)])
    assert len(list(store.rows(0, 1))) == 1
    (ready, is_ready), (closed, is_closed) = os.pipe(), os.pipe()

    def write() -> None:
        store.append([draft(2)])
        os.write(is_ready, b"x")
        os.read(closed, 1)
        store.append([draft(3)])

    child = _in_child(write)
    os.read(ready, 1)
    store.close()
    os.write(is_closed, b"x")
    assert _ended(child) == 0
    after = SqliteStore(path)
    assert after.frontier().size == 3
    after.close()
    for descriptor in (ready, is_ready, closed, is_closed):
        os.close(descriptor)


def test_a_fork_waits_for_the_thread_that_is_at_the_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "audit.sqlite")
    over = threading.Event()
    with _thread_inside(over):
        threading.Timer(0.1, over.set).start()
        child = _in_child(lambda: store.append([draft(1)]))
        assert over.is_set()
        assert _ended(child) == 0
    store.append([draft(2)])
    assert store.frontier().size == 2
    store.close()


def test_a_child_forked_in_the_middle_of_a_use_of_the_log_is_refused_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_pool, "_PATIENCE", 0.01)
    store = SqliteStore(tmp_path / "audit.sqlite")

    def be_refused() -> None:
        for act in (lambda: store.append([draft(1)]), store.frontier):
            with pytest.raises(AuditUnavailableError, match="forked while its parent was using the log"):
                act()
        store.close()

    with _thread_inside(threading.Event()):
        assert _ended(_in_child(be_refused)) == 0
    store.append([draft(2)])
    assert store.frontier().size == 1
    store.close()
