"""Small documents that outlive a restart: items, repositories, users, tokens, policies.

Promises that what `put` returned from is read again by `load` after an orderly restart. Without a file it keeps nothing.
Does not index: each owner keeps its own view in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Documents:
    """A table of JSON documents by kind and key. The caller serialises access."""

    def __init__(self, path: Path | None) -> None:
        self._db: sqlite3.Connection | None = None
        if path is not None:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=OFF"
            )  # no production store: a power cut may lose the last writes
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS document (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key))"
            )

    def load(self, kind: str) -> Iterator[tuple[str, Any]]:
        """All documents of a kind, by key."""
        if self._db is None:
            return
        for key, body in self._db.execute(
            "SELECT key, body FROM document WHERE kind = ? ORDER BY key", (kind,)
        ):
            yield key, json.loads(body)

    def put(self, kind: str, key: str, body: Any) -> None:
        """Write or replace one document."""
        if self._db is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (kind, key, json.dumps(body))
            )

    def remove(self, kind: str, key: str) -> None:
        """Remove one document, if it is there."""
        if self._db is not None:
            self._db.execute("DELETE FROM document WHERE kind = ? AND key = ?", (kind, key))

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
