"""Figures of `benchmarks.report`: recorded decisions replayed in bulk, on one core.

The decisions are those of `benchmarks.backtest`: 27 rules, each decision with facts of its own as evidence.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.backtest import read_only, record
from benchmarks.policy import load, row
from benchmarks.policy_world import NOW, make_requests, realistic_rules
from benchmarks.report_log import World
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.report.replay_bulk import BulkReplay
from governance.report.selection import Selection

WANTED = 20_000.0


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
            bare = max(bare, read_only(log)() / (time.process_time() - started))
    yield row(
        f"replay of {len(requests):,} decisions to the same bytes", best, "decisions/CPU s",
        peer="reading and hashing one by one", ratio=best / bare, target=WANTED, met=best >= WANTED,
    )  # fmt: skip
