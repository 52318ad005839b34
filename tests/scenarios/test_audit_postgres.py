"""The PostgreSQL log where things break: server stopped or crashed, leader killed, two leaders, a connection cut."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.retention import erase_expired, set_hold
from governance.audit.store import EvidenceInfo, Query
from governance.errors import AuditBrokenError, AuditUnavailableError
from governance.model.canonical import Json
from tests.audit_tools import Clock, body, draft, fill, make_log
from tests.postgres_server import PostgresServer, running_postgres, why_not
from tests.scenarios.postgres_log import name_of, numbers, open_log, settled

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

ROOT = Path(__file__).resolve().parents[2]


def start_worker(dsn: str, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.audit_worker", dsn, name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_several_processes_write_one_log(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    workers = [start_worker(dsn, f"p{n}", 60) for n in range(8)]
    confirmed = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [len(ids) for ids in confirmed] == [60] * 8
    log = settled(open_log(dsn))
    verification = log.verify()
    assert verification.problems == ()
    assert verification.size == 8 * 61
    assert {one for ids in confirmed for one in ids} <= {stored.entry.id for stored in log.find()}
    log.close()


def test_a_stopped_server_refuses_and_nothing_is_lost_or_doubled() -> None:
    with running_postgres() as server:
        log = open_log(server.new_database(), timeout=5)
        fill(log, 3)
        server.stop()
        with pytest.raises(AuditUnavailableError) as caught:
            fill(log, 1)
        assert caught.value.entry_id
        assert "postgresql://" not in str(caught.value)
        server.start()
        fill(log, 2)
        settled(log)
        assert numbers(log) == list(range(1, 1 + 3 + 1 + 1 + 2 + 1))
        assert log.get(caught.value.entry_id) is not None
        assert log.verify().problems == ()
        log.close()


def test_after_a_restart_of_the_server_nothing_is_refused() -> None:
    """The sessions that were kept ended with it, which is found out by using them."""
    with running_postgres() as server:
        log = open_log(server.new_database(), timeout=5)
        fill(log, 3)
        settled(log)
        server.stop()
        server.start()
        assert log.store.frontier().size == 4
        fill(log, 1)
        settled(log)
        assert numbers(log) == [1, 2, 3, 4, 5]
        assert log.verify().problems == ()
        log.close()


def test_a_server_that_stands_still_is_given_up_by_who_reads_too() -> None:
    with running_postgres() as server:
        log = open_log(server.new_database(), timeout=2)
        fill(log, 2)
        settled(log)
        for connection in log.store._readers:  # type: ignore[attr-defined]
            connection.patience = 0.3
        with server.suspended():
            for ask in (log.store.frontier, lambda: fill(log, 1)):
                with pytest.raises(AuditUnavailableError):
                    ask()
        fill(log, 1)
        assert settled(log).verify().problems == ()
        log.close()


def test_an_outage_is_told_of_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    def told(words: str) -> list[str]:
        return [record.message for record in caplog.records if words in record.message]

    with running_postgres() as server:
        log = open_log(server.new_database(), timeout=5)
        fill(log, 1)
        settled(log)
        server.stop()
        time.sleep(3)  # in which it tries more than once
        anew = told("starts anew")
        assert 1 <= len(anew) == len(set(anew)), (
            "cut off, perhaps while it shuts down, and then refused: each once"
        )
        server.start()
        fill(log, 1)
        settled(log)
        assert len(told("has its database again")) == 1
        log.close()


def test_entries_confirmed_before_a_crash_of_the_server_are_there_after_it() -> None:
    with running_postgres() as server:
        dsn = server.new_database()
        workers = [start_worker(dsn, f"k{n}", 100_000) for n in range(3)]
        early = {(worker.stdout or sys.stdin).readline().strip() for worker in workers for _ in range(30)}
        server.stop(at_once=True)
        confirmed = {line for worker in workers for line in worker.communicate(timeout=60)[0].splitlines()}
        server.start()
        log = settled(open_log(dsn))
        stored = {found.entry.id for found in log.find()}
        assert early | confirmed <= stored
        assert len(early) == 90
        assert log.verify().problems == ()
        log.close()


def test_another_process_leads_on_when_the_leader_is_killed(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    name = name_of(dsn)
    first, second = open_log(dsn), open_log(dsn)
    settled(first)
    fill(first, 5)
    fill(second, 5)
    settled(second)
    killed = postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        f" AND database = (SELECT oid FROM pg_database WHERE datname = '{name}')"
    )
    assert killed == [(True,)]
    fill(first, 5)
    fill(second, 5)
    settled(second)
    assert second.verify().problems == ()
    assert second.verify().size == 22
    first.close()
    second.close()


def test_another_process_leads_on_when_the_leader_is_stopped(postgres: PostgresServer) -> None:
    """One that lives, holds the lock and does nothing, as by SIGSTOP or on a machine that sleeps."""
    from governance.audit.postgres_schema import connect
    from governance.audit.sequencer import try_to_lead

    dsn = postgres.new_database()
    log = open_log(dsn)
    with contextlib.closing(connect(dsn, timeout=30)) as stopped:
        assert try_to_lead(stopped, patience=1.0)
        fill(log, 3)
        settled(log)
        assert log.verify().size == 4
    log.close()


def test_who_writes_one_entry_and_ends_leaves_none_without_a_place(postgres: PostgresServer) -> None:
    """As a command does, `mlgov keys rotate` for one; what has no place is in no search, report or verification."""
    dsn = postgres.new_database()
    for number in range(1, 4):
        log = open_log(dsn)
        fill(log, 1)
        log.close()
        reader = open_log(dsn)
        assert reader.store.frontier().size == 2 * number  # the start of its writer, and the entry
        reader.close()

    def write_and_end(log: AuditLog) -> None:
        fill(log, 1)
        log.close()

    with ThreadPoolExecutor(4) as threads:  # those who end at once count on nobody but themselves
        list(threads.map(write_and_end, [open_log(dsn) for _ in range(4)]))
    reader = open_log(dsn)
    assert reader.store.frontier().size == 3 * 2 + 4 * 2
    reader.close()


def test_two_leaders_at_once_give_each_place_once(postgres: PostgresServer) -> None:
    """As behind a pooler that shares sessions, where both were told that they hold the lock."""
    from governance.audit.postgres import PostgresStore
    from governance.audit.postgres_schema import connect
    from governance.audit.sequencer import place_batch

    dsn = postgres.new_database()
    store = PostgresStore(dsn)
    store._sequencer.start = lambda: None  # type: ignore[method-assign]  # nobody else leads
    for start in range(0, 3000, 500):
        store.append([draft(n) for n in range(start + 1, start + 501)])

    def lead() -> None:
        with contextlib.closing(connect(dsn, timeout=20)) as connection:
            while place_batch(connection):
                pass

    leaders = [threading.Thread(target=lead) for _ in range(4)]
    for leader in leaders:
        leader.start()
    for leader in leaders:
        leader.join()
    assert [row.seq for row in store.rows(0, 4000)] == list(range(3000))
    assert make_log(store).verify().problems == ()
    store.close()


@contextlib.contextmanager
def cutting_proxy(port: int) -> Iterator[tuple[int, threading.Semaphore]]:
    """Forwards to the server on `port`. For each release of `cuts`, passes one COMMIT on and cuts the line before its answer."""
    cuts, ended = threading.Semaphore(0), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)

    def pump(source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                cut = is_client and b"COMMIT" in data and cuts.acquire(blocking=False)
                target.sendall(data)
                if cut:
                    break
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            server = socket.create_connection(("127.0.0.1", port))
            held.extend([client, server])
            for pair in ((client, server, True), (server, client, False)):
                threads.append(threading.Thread(target=pump, args=pair, daemon=True))
                threads[-1].start()

    held: list[socket.socket] = []
    threads: list[threading.Thread] = []
    server_thread = threading.Thread(target=serve)
    server_thread.start()
    try:
        yield listener.getsockname()[1], cuts
    finally:
        ended.set()
        server_thread.join()
        listener.close()
        for one in held:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(timeout=5)
        for one in held:
            one.close()


@pytest.mark.parametrize("times", [1, 2])
def test_a_connection_cut_in_commit_leaves_the_entry_once(postgres: PostgresServer, times: int) -> None:
    """Once is made good on a new connection; what is cut there too is for the caller to know."""
    dsn = postgres.new_database()
    with cutting_proxy(postgres.port) as (port, cuts):
        log = open_log(dsn.replace(f":{postgres.port}/", f":{port}/"))
        fill(log, 2)
        # The sequencer's connection commits as well, and would spring the trap: it does not work meanwhile.
        log.store._sequencer.stop()  # type: ignore[attr-defined]
        cuts.release(times)
        entry_id: str | None
        try:
            entry_id = log.append(EntryKind.OUTCOME, body("cut"), subject="models/cut", correlation="c").id
        except AuditUnavailableError as error:
            assert times == 2
            entry_id = error.entry_id
        else:
            assert times == 1
        assert not cuts.acquire(blocking=False)
        fill(log, 1)
        log.close()
    log = settled(open_log(dsn))
    assert [row.id for row in log.store.find(Query(subject="models/cut"))] == [entry_id]
    assert log.verify().problems == ()
    log.close()


def test_a_hold_that_has_no_place_yet_keeps_its_evidence(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from governance.audit.postgres import PostgresStore

    dsn, clock = postgres.new_database(), Clock()
    log = make_log(PostgresStore(dsn), now=clock)
    named: dict[str, Json] = {"bytes": 0, "count": 1, "manifest": evidence_digest(b"old")}
    log.append(EntryKind.OUTCOME, body(moved=named), subject="models/a", correlation="c", evidence=[b"old"])
    settled(log)
    clock.at += timedelta(days=40)
    listed = log.store.evidence_list
    with psycopg.connect(dsn) as sequencing:

        def meanwhile() -> Iterator[EvidenceInfo]:
            monkeypatch.undo()
            yield from listed()
            sequencing.execute("SELECT 1 FROM mlgov_audit.head FOR UPDATE")  # nobody gets a place
            set_hold(log, "models/a", held=True, reason="case 7", by="dpo")
            threading.Timer(0.5, sequencing.rollback).start()

        monkeypatch.setattr(log.store, "evidence_list", meanwhile)
        terms = {EntryKind.OUTCOME: timedelta(days=30)}
        assert erase_expired(log, terms, now=clock.at, reason="30 days", by="dpo") == ()
    assert log.evidence(evidence_digest(b"old")) == b"old"
    log.close()


def test_many_hosts_keep_their_numbers(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    logs = [AuditLog(open_log(dsn).store, now=lambda: datetime.now(UTC), instance=f"h{n}") for n in range(3)]
    threads = [threading.Thread(target=fill, args=(log, 20)) for log in logs for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled(logs[0])
    verification = logs[0].verify()
    assert verification.problems == ()
    assert verification.size == 3 * 81
    for log in logs:
        log.close()


def test_a_forked_child_uses_connections_of_its_own(postgres: PostgresServer) -> None:
    log = open_log(postgres.new_database())
    fill(log, 3)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fill(log, 5)
            log.close()
            code = 0
        finally:
            os._exit(code)
    fill(log, 3)
    assert os.waitpid(child, 0)[1] == 0
    settled(log)
    verification = log.verify()
    assert verification.problems == ()
    assert verification.size == (1 + 3 + 3) + (1 + 5)
    log.close()


def test_what_another_database_in_its_place_has_lost_is_noticed_with_the_next_entry(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A standby that was behind, or a backup: the log proves itself and continues every head that left, and yet entries are gone. As long
    as it takes no writes it may only be late, and nothing is said to be lost."""
    dsn = postgres.new_database()
    name = name_of(dsn)
    log = open_log(dsn)
    fill(log, 1)
    settled(log).close()
    postgres.run(f"CREATE DATABASE {name}_behind TEMPLATE {name}")
    log = open_log(dsn)
    fill(log, 2)
    settled(log)
    postgres.run(f"ALTER DATABASE {name}_behind SET default_transaction_read_only = on")
    _exchange(postgres, name, f"{name}_behind", f"{name}_ahead")
    with pytest.raises(AuditUnavailableError, match="takes no writes: it is a standby"):
        fill(log, 1)
    postgres.run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    for _ in range(2):
        with pytest.raises(AuditBrokenError, match="lost what it had confirmed") as caught:
            fill(log, 1)
        assert "standby that was behind" in str(caught.value.hint)
    deadline = time.monotonic() + 30
    while not any(row.levelname == "CRITICAL" and "lost what" in row.message for row in caplog.records):
        assert time.monotonic() < deadline, "its operator reads of it without anybody's asking"
        time.sleep(0.05)
    _exchange(postgres, name, f"{name}_ahead", f"{name}_behind")
    fill(log, 1)
    assert settled(log).verify().problems == ()
    log.close()


def _exchange(postgres: PostgresServer, name: str, new: str, old: str) -> None:
    """Put the database `new` in the place of another, which is called `old` from then on."""
    import psycopg

    while True:
        postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with contextlib.suppress(psycopg.errors.ObjectInUse):  # somebody was quick to connect again
            postgres.run(f"ALTER DATABASE {name} RENAME TO {old}")
            break
    postgres.run(f"ALTER DATABASE {new} RENAME TO {name}")


def test_a_server_that_is_about_to_start_is_waited_for(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover, and after one of its processes was killed."""
    import psycopg

    from governance.audit import postgres as store
    from governance.audit.postgres_schema import connect

    refusals = [
        *(
            psycopg.OperationalError(f'connection to server at "127.0.0.1" failed: FATAL:  {words}')
            for words in (
                "the database system is starting up",
                "the database system is in recovery mode",
                "the database system is not yet accepting connections",
                "terminating connection because of crash of another server process",
            )
        ),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
    ]

    def starting(dsn: str, *, timeout: float) -> object:
        if refusals:
            raise refusals.pop()
        return connect(dsn, timeout=timeout)

    monkeypatch.setattr(store, "connect", starting)
    log = open_log(postgres.new_database())
    fill(log, 1)
    assert refusals == []
    log.close()
