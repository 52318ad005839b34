"""What is SQLite's alone: the plan of each search, and its thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.audit import sqlite_file
from governance.audit.sqlite import SqliteStore
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
