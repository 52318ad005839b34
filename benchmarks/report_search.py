"""Figures of `benchmarks.report`: the index built, a search by digest, and who loaded what."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import orjson

from benchmarks.policy import row
from benchmarks.report_log import Model, World
from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hashes
from governance.audit.sqlite import SqliteStore
from governance.report.index.lookup import Index
from governance.report.question import parse_question
from governance.report.search import Search, checked_at
from governance.report.selection import Selection
from governance.report.who_loaded import who_loaded

WANTED_SEARCH, WANTED_RADIUS, WANTED_BUILD = 50.0, 200.0, 60_000.0
_SCANNED, _PRINTED = 100_000, 50


def search_figures(path: Path, world: World, quick: bool) -> Iterator[dict[str, Any]]:
    """All of them, on the log at `path`."""
    with closing(AuditLog(SqliteStore(path), now=lambda: datetime.now(UTC), instance="bench")) as log:
        where = path.with_name(path.name + ".index")
        if not where.exists():
            yield _build(log, where)
        count = 20 if quick else 100
        asked = [*_spread(world.models, count)]
        index = Index(log.store, where)
        size = index.size
        index.close()
        scan = _scan(log, size)
        digests = [model.digest for model in asked]
        for name, most in (("the newest 50 and how many more", 50), ("all hits", None)):
            hits, searched = _answers(digests, partial(_search, log, where, most))
            about = f"search by digest, {size:,} entries, {name} of {median(hits):.0f}"
            yield _timed(about, searched, scan, WANTED_SEARCH)
        few = asked[:: max(1, count // 20)]
        questions = {
            "digest of a model": [model.digest for model in few],
            "digest of a file": [model.files[3] for model in few],
            "model": [f"{model.name}/{model.version}" for model in few],
            "package with version": [model.packages[3] for model in few],
            "advisory": [model.advisories[0] for model in few if model.advisories],
        }
        for name, texts in questions.items():
            for ended, told in ((_PRINTED, ""), (None, ", all outcomes")):
                counts, times = _answers(texts, partial(_ask, log, where, ended))
                about = f"who loaded: {name}, {size:,} entries, {median(counts):.0f} decisions{told}"
                yield _timed(about, times, scan, WANTED_RADIUS)


def _build(log: AuditLog, where: Path) -> dict[str, Any]:
    """The index from nothing, beside reading, hashing and parsing the same entries. CPU seconds of one process."""
    started = time.process_time()
    with closing(Index(log.store, where)) as index:
        size = index.size
    rate = size / (time.process_time() - started)
    some = min(size, _SCANNED)
    started = time.process_time()
    for page in SqliteStore.framed_pages(log.store, 0, some):  # type: ignore[arg-type]  # it is one
        leaf_hashes([each[4] for each in page])
        for each in page:
            orjson.loads(each[4])
    bare = some / (time.process_time() - started)
    return row(
        f"index built, {size:,} entries", rate, "entries/CPU s", peer="reading, hashing and parsing them",
        ratio=rate / bare, target=WANTED_BUILD, met=rate >= WANTED_BUILD,
    )  # fmt: skip


def _spread(models: Sequence[Model], count: int) -> Iterator[Model]:
    """Models from the often to the seldom loaded; the first are loaded thousands of times."""
    first = len(models) // 20
    for place in range(count):
        yield models[first + (len(models) - first - 1) * place // count]


def _search(log: AuditLog, where: Path, most: int | None, digest: str) -> int:
    """How many hits there are, of which at most so many are read: 50 is what the command line shows."""
    with closing(Index(log.store, where)) as index:
        search = Search(log, Selection(digests=(digest,)), index)
        return len(list(itertools.islice(search, most))) + search.more()[0]


def _ask(log: AuditLog, where: Path, ended: int | None, text: str) -> int:
    """Every decision is read; of how it ended only what the command prints, or all of it as for `--json`."""
    with closing(Index(log.store, where)) as index:
        made = who_loaded(log, parse_question(text), index, ended=ended)
    if not made.acts or made.broken:
        raise AssertionError(f"nobody is known to have loaded {text}")
    return len(made.acts)


def _scan(log: AuditLog, size: int) -> float:
    """Milliseconds of a search that reads everything; of a large log, from a part of it."""
    some = min(size, _SCANNED)
    selection = Selection(digests=("ab" * 32,))
    started = time.perf_counter()
    for number, each in enumerate(log.store.rows(size - some, size), size - some):
        selection.matches(checked_at(number, each).entry)
    return (time.perf_counter() - started) * 1_000 * size / some


Times = list[tuple[float, float]]


def _answers(texts: Sequence[str], ask: Callable[[str], int]) -> tuple[list[int], Times]:
    """How much was found for each, and the milliseconds that it took: by the clock, and of this process."""
    found, times = [], []
    for text in texts:
        started, cpu = time.perf_counter(), time.process_time()
        found.append(ask(text))
        times.append(((time.perf_counter() - started) * 1_000, (time.process_time() - cpu) * 1_000))
    return found, times


def _timed(figure: str, times: Times, scan: float, target: float) -> dict[str, Any]:
    clock, cpu = [each[0] for each in times], [each[1] for each in times]
    value = median(clock)
    return row(
        figure, value, "ms", p95=quantiles(clock, n=20)[-1], least=min(clock), cpu_ms=median(cpu), peer="full scan", peer_ms=scan,
        ratio=scan / value, target=target, met=value < target,
    )  # fmt: skip
