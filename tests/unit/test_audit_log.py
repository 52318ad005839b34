"""The log's own promises, over stores that fail on command."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind, evidence_digest, parse_entry
from governance.audit.memory import MemoryStore
from governance.audit.sqlite import SqliteStore
from governance.audit.store import Query
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError, SettingsError
from governance.model.request import new_id
from tests.audit_tools import START, Clock, FailingStore, body, fill, make_log


def kinds(store: MemoryStore) -> list[str]:
    return [row.kind for row in store.rows(0, 100)]


def numbers(store: MemoryStore) -> list[int]:
    return [parse_entry(row.data).writer.n for row in store.rows(0, 100)]


def test_the_first_append_is_preceded_by_the_start_of_its_writer() -> None:
    store = MemoryStore()
    receipt = make_log(store).append(EntryKind.OUTCOME, body(), subject="s", correlation="c")
    assert receipt.index == 1
    assert kinds(store) == ["start", "outcome"]
    assert numbers(store) == [1, 2]


def test_a_writer_that_waited_for_its_first_entry_was_not_late() -> None:
    """A server's worker that nobody asked for an hour: its start is of the time at which it is written."""
    store, clock = MemoryStore(), Clock()
    idle, busy = make_log(store, now=clock), make_log(store, now=clock)
    fill(busy, 1)
    clock.at += timedelta(hours=1)
    fill(busy, 1)
    fill(idle, 1)
    assert [stored.entry.kind for stored in idle.find()][3:] == [EntryKind.START, EntryKind.OUTCOME]
    assert idle.verify().notes == ()


def test_a_log_that_only_reads_writes_nothing() -> None:
    store = MemoryStore()
    assert list(make_log(store).find()) == []
    assert store.frontier().size == 0


def test_a_log_keeps_the_name_it_began_with() -> None:
    """Entries of two names would make every checkpoint one that speaks of another log, and stay for good."""
    store = MemoryStore()
    fill(make_log(store, origin="mlgov.local/audit"), 1)
    renamed = make_log(store, origin="acme.example/audit")
    with pytest.raises(
        SettingsError, match=r"is called `mlgov\.local/audit`, and `audit_origin` says `acme"
    ) as refused:
        fill(renamed, 1)
    assert refused.value.hint is not None
    assert len(list(store.rows(0, 10))) == 2, "nothing was written"
    fill(make_log(store, origin="mlgov.local/audit"), 1)


def test_an_append_that_failed_comes_first_the_next_time_and_is_named() -> None:
    store = FailingStore()
    log = make_log(store)
    store.refuse = "no"
    with pytest.raises(AuditUnavailableError) as caught:
        log.append(EntryKind.OUTCOME, body("lost"), subject="s", correlation="c")
    store.refuse = None
    log.append(EntryKind.OUTCOME, body("next"), subject="s", correlation="c")
    assert kinds(store) == ["start", "outcome", "recovery", "outcome"]
    assert numbers(store) == [1, 2, 3, 4]
    (recovery,) = log.find(kind=EntryKind.RECOVERY)
    assert recovery.entry.body["ids"] == [caught.value.entry_id]
    assert log.verify().is_good


def test_an_append_that_was_written_but_not_confirmed_is_there_once() -> None:
    store = FailingStore()
    log = make_log(store)
    store.fail_after = "connection cut in commit"
    with pytest.raises(AuditUnavailableError) as caught:
        log.append(EntryKind.OUTCOME, body("lost"), subject="s", correlation="c")
    store.fail_after = None
    fill(log, 2)
    assert [row.id for row in store.find(Query(correlation="c"))] == [caught.value.entry_id]
    assert kinds(store) == ["start", "outcome", "recovery", "outcome", "outcome"]
    assert log.verify().is_good


def test_repeated_failures_leave_no_gap_in_the_numbers() -> None:
    store = FailingStore()
    log = make_log(store)
    store.refuse = "no"
    for _ in range(3):
        with pytest.raises(AuditUnavailableError):
            log.append(EntryKind.OUTCOME, body(), subject="s", correlation="c")
    store.refuse = None
    fill(log, 1)
    assert numbers(store) == list(range(1, len(numbers(store)) + 1))
    named = [str(name) for found in log.find(kind=EntryKind.RECOVERY) for name in found.entry.body["ids"]]  # type: ignore[union-attr]
    assert sorted(named) == sorted(row.id for row in store.find(Query(correlation="c")))


def test_too_much_in_doubt_is_refused_without_a_new_entry() -> None:
    store = FailingStore()
    log = make_log(store, doubt_bound=4)
    store.refuse = "no"
    errors = []
    for _ in range(5):
        with pytest.raises(AuditUnavailableError) as caught:
            log.append(EntryKind.OUTCOME, body(), subject="s", correlation="c")
        errors.append(caught.value)
    assert "has not confirmed" in errors[-1].message
    assert errors[-1].entry_id is None
    store.refuse = None
    fill(log, 1)
    assert numbers(store) == list(range(1, len(numbers(store)) + 1)), (
        "and it goes on once the store is mended"
    )
    assert log.verify().is_good


def test_a_body_that_does_not_fit_its_kind_spends_no_number() -> None:
    store = MemoryStore()
    log = make_log(store)
    with pytest.raises(ValueError, match="lacks action"):
        log.append(
            EntryKind.OUTCOME, {"decision": "d", "status": "done", "moved": {}}, subject="s", correlation="c"
        )
    with pytest.raises(ValueError, match="subject"):
        log.append(EntryKind.OUTCOME, body(), subject="", correlation="c")
    with pytest.raises(ValueError, match="bytes"):
        log.append(EntryKind.OUTCOME, body(more="x" * 70_000), subject="s", correlation="c")
    fill(log, 2)
    assert numbers(store) == [1, 2, 3]


def test_a_given_id_is_the_key_of_idempotence() -> None:
    store = MemoryStore()
    log = make_log(store)
    wanted = new_id(START)
    first = log.append(EntryKind.OUTCOME, body(), subject="s", correlation="c", id=wanted)
    again = make_log(store).append(EntryKind.OUTCOME, body(), subject="s", correlation="c", id=wanted)
    assert again == first
    assert first.id == wanted
    with pytest.raises(AuditConflictError):
        log.append(EntryKind.OUTCOME, body("other"), subject="s", correlation="c", id=wanted)
    fill(log, 1)
    assert log.verify().problems == ()


def test_evidence_is_named_by_its_digest_and_checked_when_read() -> None:
    store = MemoryStore()
    log = make_log(store)
    log.append(EntryKind.OUTCOME, body(), subject="s", correlation="c", evidence=[b"facts"])
    digest = evidence_digest(b"facts")
    assert log.evidence(digest) == b"facts"
    store._evidence[digest] = (store._evidence[digest][0], b"other")
    with pytest.raises(AuditBrokenError, match="changed"):
        log.evidence(digest)


def test_an_entry_changed_in_the_store_is_not_handed_out() -> None:
    store = MemoryStore()
    log = make_log(store)
    fill(log, 2)
    row = store._rows[1]
    store._rows[1] = row._replace(data=row.data.replace(b'"status":"done"', b'"status":"done!"'))
    with pytest.raises(AuditBrokenError, match="changed"):
        list(log.find())


def test_a_blocked_store_refuses_in_time_and_loses_nothing(tmp_path: Path) -> None:
    """Another process sits on the lock: the caller gets its answer, and the entry is recorded in the end."""
    import fcntl

    store = SqliteStore(tmp_path / "audit.sqlite", timeout=2)
    log = make_log(store)
    fill(log, 1)
    with (tmp_path / "audit.sqlite.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(AuditUnavailableError, match="did not confirm") as caught:
            log.append(EntryKind.OUTCOME, body("blocked"), subject="s", correlation="late")
        assert time.monotonic() - started < 5
    fill(log, 1)
    assert [row.id for row in store.find(Query(correlation="late"))] == [caught.value.entry_id]
    assert log.verify().is_good
    log.close()


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    import fcntl

    store = SqliteStore(tmp_path / "audit.sqlite", timeout=20, bound=3)
    log = make_log(store)
    fill(log, 1)
    results: list[str] = []

    def one() -> None:
        try:
            log.append(EntryKind.OUTCOME, body(), subject="s", correlation="crowd")
            results.append("written")
        except AuditUnavailableError as error:
            results.append(error.message)

    with (tmp_path / "audit.sqlite.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threads = [threading.Thread(target=one) for _ in range(10)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert results.count("written") == 4  # one in the hands of the writer, three in the queue
    assert sum("behind" in result for result in results) == 6
    fill(log, 1)
    assert log.verify().is_good
    log.close()


def test_a_forked_child_is_a_new_boot(tmp_path: Path) -> None:
    log = make_log(SqliteStore(tmp_path / "audit.sqlite"))
    fill(log, 3)
    child = os.fork()
    if child == 0:
        try:
            fill(log, 5)
            log.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    fill(log, 3)
    assert os.waitpid(child, 0)[1] == 0
    verification = log.verify()
    assert verification.problems == ()
    assert verification.size == (1 + 3 + 3) + (1 + 5)
    log.close()
