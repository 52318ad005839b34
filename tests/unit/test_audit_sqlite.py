"""What is SQLite's alone: the plan of each search."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.audit.sqlite import SqliteStore
from tests.audit_tools import database_of


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
