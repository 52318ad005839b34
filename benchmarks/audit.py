"""What a record costs: `python -m benchmarks.audit [--json] [--quick] [--postgres] [--flush-ms N] [--millions N]`.

Appends a second by 1, 8, 64 and 256 threads, and by 8 processes, against a bare loop on the same kind of store in the same
run: one connection that inserts the same bytes into a table with an id and commits, over and over. The bare loop is
bound by how fast the disk flushes, so the time of one `fdatasync` is printed too, and the ratio grows with it: where a
flush takes 4 ms (a network disk), 64 threads share one; where it takes 0.15 ms, the interpreter is the limit and not the
disk. `--flush-ms 4` makes every flush, ours and the bare loop's, take so much longer (it needs `cc`, for `slow_flush.c`).
Verification counts CPU seconds of one process.

`--postgres` does the appends against a real PostgreSQL, started for it. `--millions N` grows a tree of N million entries
first (for 10 about 20 minutes, and 13 GB of disk) and measures inclusion proofs and memory on it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from governance.audit import merkle
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.audit.store import AuditStore, Draft
from governance.audit.verify import verify_store
from governance.model.request import new_id

_UNDISTURBED = 6.0
ROOT = Path(__file__).resolve().parents[1]
FILES = b'[{"path":"MLmodel","sha256":"00","size":1}]'
"""What an outcome rests on: the list of its files, the same for all of them."""
BODY: dict[str, Any] = {
    "decision": "01a2055f-2dc1-7ad1-bb49-8f5dcc180d49",
    "action": "load",
    "status": "done",
    "moved": {
        "bytes": 1_048_576,
        "count": 12,
        "digest": "dirhash1:" + "ab" * 32,
        "manifest": evidence_digest(FILES),
    },
    "error": None,
    "signature": {
        "event": "made",
        "digest": "dirhash1:" + "ab" * 32,
        "key_id": "ef" * 32,
        "bundle": "01" * 32,
    },
    "notes": {f"key{number}": "a value of some length" for number in range(6)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the result. `ratio` is ours to the peer's, `met` None where no target was set."""

    figure: str
    value: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool | None = None


def now() -> datetime:
    return datetime.now(UTC)


def flush_time(folder: Path, count: int = 200) -> float:
    """Median milliseconds of an append of 1 KiB with `fdatasync`."""
    times = []
    descriptor = os.open(folder / "flush", os.O_RDWR | os.O_CREAT)
    for _ in range(count):
        started = time.perf_counter()
        os.write(descriptor, b"x" * 1024)
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started)
    os.close(descriptor)
    return sorted(times)[count // 2] * 1000


def sample() -> bytes:
    """The bytes of an entry as the log writes them."""
    from governance.audit.memory import MemoryStore

    store = MemoryStore()
    AuditLog(store, now=now, instance="bench").append(
        EntryKind.OUTCOME, BODY, subject="models/a", correlation="c"
    )
    return list(store.rows(0, 2))[1].data


def bare_sqlite(path: Path, data: bytes, seconds: float) -> float:
    """Commits a second of the loop anybody would write."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE ev (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, body BLOB) STRICT")
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO ev (id, body) VALUES (?, ?)", (new_id(now()), data))
        connection.execute("COMMIT")
        count += 1
    rate = count / (time.perf_counter() - started)
    connection.close()
    return rate


def bare_postgres(dsn: str, data: bytes, seconds: float) -> float:
    """The same against PostgreSQL."""
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE ev (seq bigserial PRIMARY KEY, id text UNIQUE, body bytea)")
        connection.commit()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            connection.execute("INSERT INTO ev (id, body) VALUES (%s, %b)", (new_id(now()), data))
            connection.commit()
            count += 1
        return count / (time.perf_counter() - started)


def hammer(log: AuditLog, threads: int, seconds: float) -> tuple[float, float]:
    """Appends a second by so many threads, and the 99th percentile of one append in milliseconds."""
    ended = threading.Event()
    times: list[list[float]] = [[] for _ in range(threads)]

    def work(mine: list[float]) -> None:
        while not ended.is_set():
            started = time.perf_counter()
            log.append(EntryKind.OUTCOME, BODY, subject="models/a", correlation="c", evidence=(FILES,))
            mine.append(time.perf_counter() - started)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in times]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    ended.set()
    for worker in workers:
        worker.join()
    taken = time.perf_counter() - started
    every = sorted(one for mine in times for one in mine)
    return len(every) / taken, every[int(len(every) * 0.99)] * 1000


def process_rate(where: str, processes: int, seconds: float) -> float:
    """Appends a second by so many processes of one thread each."""
    command = [sys.executable, "-m", "benchmarks.audit", "--worker", where, "--seconds", str(seconds)]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sum(float(worker.communicate()[0]) for worker in workers)


def open_store(where: str) -> AuditStore:
    if where.startswith("postgresql:"):
        from governance.audit.postgres import PostgresStore

        return PostgresStore(where)
    return SqliteStore(Path(where))


def appends(
    name: str, make: Callable[[], str], bare: Callable[[], float], times: tuple[float, int], target: float
) -> Iterator[Figure]:
    """The rates of one store, each beside the bare loop measured right before it."""
    seconds, rounds = times
    for threads in (1, 8, 64, 256):
        best: tuple[float, float, float, float] | None = None
        for _ in range(rounds):
            peer = bare()
            log = AuditLog(open_store(make()), now=now, instance="bench")
            rate, late = hammer(log, threads, seconds)
            log.close()
            best = max(best or (0.0, 0.0, 0.0, 0.0), (rate / peer, rate, peer, late))
        assert best is not None
        ratio, rate, peer, late = best
        aim = target if threads == 64 else None
        yield Figure(
            figure=f"{name}, {threads} threads", value=round(rate), unit="appends/s", peer=round(peer),
            ratio=round(ratio, 2), target=f">= {aim:g}x bare" if aim else None, met=ratio >= aim if aim else None,
        )  # fmt: skip
        yield Figure(figure=f"{name}, {threads} threads, p99", value=round(late, 2), unit="ms")
    peer = bare()
    rate = process_rate(make(), 8, seconds)
    yield Figure(
        figure=f"{name}, 8 processes",
        value=round(rate),
        unit="appends/s",
        peer=round(peer),
        ratio=round(rate / peer, 2),
    )


def grow(store: SqliteStore, count: int) -> None:
    """Fill a store by its front door, in large batches."""
    log = AuditLog(store, now=now, instance="bench")
    data = log._draft(EntryKind.OUTCOME, BODY, subject="models/a", correlation="c")  # noqa: SLF001 - a benchmark
    data = data._replace(evidence=((evidence_digest(FILES), FILES),))
    at = now()
    for start in range(0, count, 512):
        drafts: list[Draft] = []
        for number in range(start, min(start + 512, count)):
            entry_id = new_id(at)
            text = data.data.replace(data.id.encode(), entry_id.encode())
            text = text[: text.rindex(b":") + 1] + b"%d}}" % (number + 1)
            drafts.append(data._replace(id=entry_id, data=text, leaf=merkle.leaf_hash(text)))
        store.append(drafts)


def hashing_rate(data: bytes, count: int = 200_000) -> float:
    """Leaf hashes a CPU second: what a machine gives at this moment, so that the ratio tells more than the rate."""
    started = time.process_time()
    for _ in range(count):
        merkle.leaf_hash(data)
    return count / (time.process_time() - started)


def verification(folder: Path, count: int) -> Iterator[Figure]:
    """Entries verified a CPU second, the best of nine runs or of six seconds' runs: one that nobody disturbed. Once the log
    alone, and once with the documents that its entries rest on."""
    store = SqliteStore(folder / "verify.sqlite")
    grow(store, count)
    log = AuditLog(store, now=now, instance="bench")
    peer = hashing_rate(sample())
    for verify, more in (
        (partial(verify_store, store), ""),
        (log.verify, ", and that what they rest on is there"),
    ):
        best, begun, runs = 0.0, time.monotonic(), 0
        while runs < 9 or time.monotonic() - begun < _UNDISTURBED:
            started = time.process_time()
            result = verify()
            best = max(best, result.size / (time.process_time() - started))
            result.require_good()
            runs += 1
        yield Figure(
            figure=f"verify {count} entries{more}, beside hashing alone", value=round(best), unit="entries/CPU s", peer=round(peer),
            ratio=round(best / peer, 2), target=">= 250000", met=best >= 250_000,
        )  # fmt: skip
    yield from proofs(log, count)
    log.close()


def proofs(log: AuditLog, count: int) -> Iterator[Figure]:
    """Inclusion proofs at random places, the tree head known."""
    size = log.store.frontier().size
    checkpoint = log.checkpoint()
    times = []
    for step in range(400):
        started = time.perf_counter()
        log.prove(step * 7_919_993 % size, checkpoint)
        times.append(time.perf_counter() - started)
    median = sorted(times)[len(times) // 2] * 1000
    yield Figure(
        figure=f"inclusion proof among {count} entries, made and checked", value=round(median, 3), unit="ms",
        target="< 1 ms", met=median < 1,
    )  # fmt: skip


def large_tree(folder: Path, millions: int) -> Iterator[Figure]:
    """Proofs in a large tree, and the memory that making them took."""
    store = SqliteStore(folder / "large.sqlite", timeout=600)
    started = time.perf_counter()
    grow(store, millions * 1_000_000)
    yield Figure(
        figure=f"grow to {millions} million",
        value=round(millions * 1e6 / (time.perf_counter() - started)),
        unit="entries/s",
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    log = AuditLog(store, now=now, instance="bench")
    yield from proofs(log, millions * 1_000_000)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield Figure(figure="memory taken by 400 proofs", value=round((after - before) / 1024, 1), unit="MiB")
    log.close()


def run(*, quick: bool, postgres: bool, millions: int, folder: Path) -> Iterator[Figure]:
    times = (0.7, 1) if quick else (3.0, 3)
    data = sample()
    yield Figure(figure="one entry", value=len(data), unit="bytes")
    yield Figure(figure="fdatasync", value=round(flush_time(folder), 3), unit="ms")
    numbers = iter(range(10_000))

    def fresh() -> Path:
        return folder / f"{next(numbers)}.sqlite"

    yield from appends(
        "sqlite", lambda: str(fresh()), lambda: bare_sqlite(fresh(), data, times[0]), times, 10
    )
    yield from verification(folder, 20_000 if quick else 200_000)
    if millions:
        yield from large_tree(folder, millions)
    if postgres:
        from tests.postgres_server import running_postgres

        with running_postgres() as server:
            yield from appends(
                "postgres",
                server.new_database,
                lambda: bare_postgres(server.new_database(), data, times[0]),
                times,
                5,
            )


def slower(milliseconds: int) -> int:
    """Run this program anew with every flush delayed. Needs a C compiler (`cc`). Returns its exit code."""
    flags = list(sys.argv[1:])
    place = next(place for place, flag in enumerate(flags) if flag.startswith("--flush-ms"))
    del flags[place : place + (1 if "=" in flags[place] else 2)]
    with tempfile.TemporaryDirectory(prefix="mlgov-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL, which runs as another user, loads it too
        library = Path(folder) / "slow_flush.so"
        source = Path(__file__).with_name("slow_flush.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        longer = {"LD_PRELOAD": str(library), "MLGOV_BENCH_FLUSH_MS": str(milliseconds)}
        command = [sys.executable, "-m", "benchmarks.audit", *flags]
        return subprocess.run(command, env=os.environ | longer, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--millions", type=int, default=0)
    parser.add_argument("--flush-ms", type=int, default=0, help="let every flush take so much longer")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--worker")
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    if options.flush_ms:
        sys.exit(slower(options.flush_ms))
    if options.worker:
        log = AuditLog(open_store(options.worker), now=now, instance="bench")
        print(hammer(log, 1, options.seconds)[0])
        log.close()
        return
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mlgov-bench-"))
        )
        figures = []
        for figure in run(
            quick=options.quick, postgres=options.postgres, millions=options.millions, folder=folder
        ):
            figures.append(figure)
            if not options.json:
                print(_line(figure), flush=True)
        if options.json:
            print(json.dumps({"benchmark": "audit", "figures": [asdict(figure) for figure in figures]}))


def _line(figure: Figure) -> str:
    peer = f"   bare {figure.peer:g}: {figure.ratio:g}x" if figure.peer is not None else ""
    verdict = {True: "   met", False: "   NOT met", None: ""}[figure.met]
    return f"{figure.figure:55} {figure.value:>12g} {figure.unit}{peer}{f'   target {figure.target}' if figure.target else ''}{verdict}"


if __name__ == "__main__":
    main()
