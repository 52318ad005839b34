"""The SQLite log where things break: killed processes, full disks, a crowd of writers, a clock set back."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind, parse_entry
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.audit.sqlite_file import translated
from governance.errors import AuditUnavailableError
from tests.audit_tools import Clock, body, fill, make_log

ROOT = Path(__file__).resolve().parents[2]


def start_worker(where: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.audit_worker", str(where), name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def stored_ids(path: Path) -> set[str]:
    log = make_log(SqliteStore(path, may_create=False))
    verification = log.verify()
    assert verification.problems == ()
    found = {stored.entry.id for stored in log.find()}
    log.close()
    return found


def kill_loop(path: Path, wanted: int) -> tuple[int, int]:
    """Kill writers at random moments until `wanted` entries were confirmed. Returns how many were, and the kills."""
    confirmed: set[str] = set()
    rounds = 0
    chance = random.Random(7)
    while len(confirmed) < wanted:
        workers = [start_worker(path, f"k{rounds}-{n}", 10_000) for n in range(2)]
        lines: list[str] = []
        target = chance.randint(1, min(400, wanted // 4))
        for line in workers[0].stdout or ():
            lines.append(line)
            if len(lines) >= target:
                break
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            rest, _ = worker.communicate()
            lines += rest.splitlines(keepends=True)
        confirmed |= {line.strip() for line in lines if line.endswith("\n")}
        rounds += 1
        assert confirmed <= stored_ids(path), "confirmed entries are missing"
    return len(confirmed), rounds * 2


def test_entries_confirmed_before_a_kill_are_there_after_it(tmp_path: Path) -> None:
    kill_loop(tmp_path / "audit.sqlite", 300)


@pytest.mark.long
def test_ten_thousand_confirmed_entries_survive_kills(tmp_path: Path) -> None:
    confirmed, kills = kill_loop(tmp_path / "audit.sqlite", 10_000)
    print(f"{confirmed} confirmed, {kills} kills, 0 missing")


def test_eight_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    workers = [start_worker(path, f"p{n}", 60) for n in range(8)]
    confirmed = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8
    assert [len(ids) for ids in confirmed] == [60] * 8
    assert {one for ids in confirmed for one in ids} <= stored_ids(path)
    log = make_log(SqliteStore(path))
    assert log.verify().size == 8 * 61
    log.close()


def test_sixty_four_producers_leave_no_gap_in_their_numbers(tmp_path: Path) -> None:
    log = AuditLog(SqliteStore(tmp_path / "audit.sqlite"), now=lambda: datetime.now(UTC), instance="hammer")
    wanted = 64 * 20

    def work(name: int) -> None:
        for n in range(20):
            log.append(EntryKind.OUTCOME, body(f"{name}-{n}"), subject=f"models/{name}", correlation="c")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = Counter(stored.entry.subject for stored in log.find(kind=EntryKind.OUTCOME))
    assert set(counts.values()) == {20}
    numbers = sorted(parse_entry(row.data).writer.n for row in log.store.rows(0, 10_000))
    assert numbers == list(range(1, wanted + 2))
    assert log.verify().problems == ()
    log.close()


def test_a_clock_set_back_is_noted_and_breaks_nothing(tmp_path: Path) -> None:
    clock = Clock()
    log = make_log(SqliteStore(tmp_path / "audit.sqlite"), now=clock)
    fill(log, 3)
    clock.at -= timedelta(days=400)
    fill(log, 3)
    verification = log.verify()
    assert verification.is_good
    assert len(verification.notes) == 3
    assert "is behind an earlier entry" in str(verification.notes[0])
    log.close()


def test_writers_that_waited_for_their_turn_are_nothing_odd(tmp_path: Path) -> None:
    early, late = Clock(), Clock()
    late.at += timedelta(seconds=20)
    logs = [make_log(SqliteStore(tmp_path / "audit.sqlite"), now=clock) for clock in (late, early)]
    for log in logs:
        fill(log, 3)
    assert logs[0].verify().notes == ()
    for log in logs:
        log.close()


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own, as large as the test says."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "none", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill_up(log: AuditLog) -> list[str]:
    """Append until the disk is full. Returns what was confirmed."""
    confirmed: list[str] = []
    with pytest.raises(AuditUnavailableError, match="no space is left on its disk"):  # noqa: PT012 - at which append is open
        for _ in range(3_000):
            confirmed += fill(log, 1)
    return confirmed


@pytest.mark.parametrize("small_disk", ["1m"], indirect=True)
def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    log = make_log(SqliteStore(small_disk / "audit.sqlite"))
    confirmed = fill(log, 20)
    (small_disk / "ballast").write_bytes(b"x" * (200 << 10))
    confirmed += fill_up(log)
    with pytest.raises(AuditUnavailableError):
        fill(log, 1)
    (small_disk / "ballast").unlink()
    confirmed += fill(log, 3)
    assert log.verify().problems == ()
    assert set(confirmed) <= {stored.entry.id for stored in log.find()}
    assert list(log.find(kind=EntryKind.RECOVERY))
    log.close()


@pytest.mark.parametrize("small_disk", ["44m"], indirect=True)
def test_a_disk_that_others_filled_is_used_again_once_they_make_room(small_disk: Path) -> None:
    """The journal of some megabytes is then in the database, and does not take the room that became free."""
    log = make_log(SqliteStore(small_disk / "audit.sqlite"))
    confirmed = fill(log, 120)
    journal = small_disk / "audit.sqlite-wal"
    assert journal.stat().st_size > 4 << 20
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(b"x" * 65_536):
            pass
    confirmed += fill_up(log)
    with (small_disk / "ballast").open("r+b") as ballast:
        ballast.truncate((small_disk / "ballast").stat().st_size - (400 << 10))
    confirmed += fill(log, 100)
    assert journal.stat().st_size < 400 << 10
    assert log.verify().problems == ()
    assert set(confirmed) <= {stored.entry.id for stored in log.find()}
    log.close()


def test_a_file_that_may_not_grow_refuses(tmp_path: Path) -> None:
    """As with a quota: writing beyond the limit fails with EFBIG. In a child, since the limit is the process's."""
    path = tmp_path / "audit.sqlite"
    log = make_log(SqliteStore(path))
    fill(log, 5)
    log.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
            log = make_log(SqliteStore(path))
            try:
                fill(log, 500)
            except AuditUnavailableError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    log = make_log(SqliteStore(path))
    assert log.verify().problems == ()
    fill(log, 1)
    log.close()


def test_a_read_only_log_refuses(tmp_path: Path) -> None:
    """In a child without root's rights, since root may write read-only files."""
    path = tmp_path / "audit.sqlite"
    log = make_log(SqliteStore(path))
    fill(log, 1)
    log.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                for each in (*tmp_path.parents, tmp_path):
                    if each.stat().st_mode & 0o005 != 0o005:
                        each.chmod(0o755)
                for each in (tmp_path, *tmp_path.iterdir()):
                    os.chown(each, 65534, 65534)
                os.setuid(65534)
            path.chmod(0o400)
            try:
                fill(make_log(SqliteStore(path)), 1)
            except AuditUnavailableError as error:
                is_told = "read-only" in error.message and "copy the file" in str(error.hint)
                code = 0 if is_told else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_whoever_holds_a_log_on_read_only_media_is_told_how_to_read_it(tmp_path: Path, number: int) -> None:
    with pytest.raises(AuditUnavailableError) as caught, translated(tmp_path / "audit.sqlite"):
        raise OSError(number, os.strerror(number))
    assert "copy the file" in str(caught.value.hint)
    assert "audit_path" in str(caught.value.hint)


FAULTS = [(call, error) for call in ("fdatasync", "pwrite64", "openat") for error in ("EIO", "ENOSPC")]


def run_with_fault(path: Path, call: str, error: str, when: str) -> tuple[set[str], bool]:
    """A worker whose file calls fail as told. Returns what it was told is durable, and whether a fault struck."""
    trace = path.with_suffix(".strace")
    done = subprocess.run(
        ["strace", "-f", "-o", str(trace), "-P", str(path), "-P", f"{path}-wal", "-P", f"{path}-journal",
         "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}",
         sys.executable, "-m", "tests.audit_worker", str(path), "f", "12", "--go-on"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return set(done.stdout.split()), "(INJECTED)" in trace.read_text()


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (`apt-get install strace`)"
)
@pytest.mark.parametrize(("call", "error"), FAULTS)
@pytest.mark.parametrize("lasting", [False, True])
def test_each_file_call_fails_in_turn(tmp_path: Path, call: str, error: str, lasting: bool) -> None:
    """EIO and ENOSPC in one call after another, once or from there on: nothing confirmed is missing afterwards."""
    struck = 0
    for number in range(1, 31, 3 if lasting else 1):
        path = tmp_path / f"{number}.sqlite"
        make_log(SqliteStore(path)).close()
        confirmed, was_struck = run_with_fault(path, call, error, f"{number}+" if lasting else str(number))
        if not was_struck:
            break
        struck += 1
        assert confirmed <= stored_ids(path)
    assert struck >= 1
