"""Figures of `benchmarks.report`: recorded decisions replayed in bulk, on one core.

The decisions are those of `benchmarks.backtest`: 27 rules, each decision with facts of its own as evidence. The peer is what no
replay can do without: each entry and its facts read, hashed and parsed, a page at a time, and nothing done with them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from benchmarks.backtest import record
from benchmarks.policy import load, row
from benchmarks.policy_world import NOW, make_requests, realistic_rules
from benchmarks.report_log import World
from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hash
from governance.audit.sqlite import SqliteStore
from governance.report.evidence_page import PageOfEvidence, digest_in
from governance.report.replay_bulk import BulkReplay
from governance.report.search import read_rows
from governance.report.selection import Selection

WANTED = 20_000.0
_PAGE = 256


def replay_figures(_path: Path, _world: World, quick: bool) -> Iterator[dict[str, Any]]:
    """Decisions replayed a CPU second, the best of three."""
    rules, requests = realistic_rules(), make_requests(1_000 if quick else 10_000)
    policy = load(rules, requests)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(AuditLog(SqliteStore(Path(folder) / "a.sqlite"), now=lambda: NOW, instance="bench")) as log,
    ):
        record(log, policy, requests)
        size = log.store.frontier().size
        best = bare = 0.0
        for _ in range(3):
            started = time.process_time()
            made = BulkReplay(log, Selection()).run(range(size))
            best = max(best, made.same / (time.process_time() - started))
            if made.same != len(requests):
                raise AssertionError(f"{made.decisions - made.same} decisions came out otherwise")
            started = time.process_time()
            bare = max(bare, _parse_all(log, size) / (time.process_time() - started))
    yield row(
        f"replay of {len(requests):,} decisions to the same bytes", best, "decisions/CPU s",
        peer="reading, hashing and parsing the same", ratio=best / bare, target=WANTED, met=best >= WANTED,
    )  # fmt: skip


def _parse_all(log: AuditLog, size: int) -> int:
    """Read, hash and parse every entry and its facts."""
    count, page = 0, PageOfEvidence(log)
    for start in range(0, size, _PAGE):
        rows = read_rows(log.store, range(start, min(size, start + _PAGE)))
        bodies = [orjson.loads(row.data)["body"] for row in rows.values() if leaf_hash(row.data) == row.leaf]
        names = [name for body in bodies if (name := digest_in(body, "facts")) is not None]
        page.load(names)
        for name in names:
            count += orjson.loads(page.evidence(name) or b"") is not None
    return count
