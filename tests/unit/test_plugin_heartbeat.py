"""The heartbeat: a head leaves in quiet times too, one worker sends it, and a log that is not the one seen before stops all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.audit.anchor import HeadMemory
from governance.audit.entry import EntryKind
from governance.audit.sqlite import SqliteStore
from governance.audit.store import Row
from governance.errors import AuditBrokenError, AuditUnavailableError, SettingsError
from governance.settings import load_settings
from governance.wiring import Assembly
from plugin.heartbeat import Heartbeat
from tests.audit_tools import StillClock, body, draft, make_log
from tests.mlflow_tools import environment

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "home"
    path.mkdir()
    (path / "mlgov.toml").write_text(f'audit_anchors = ["{tmp_path}/kept"]\naudit_heartbeat = 600\n')
    with environment({"MLGOV_HOME": str(path)}):
        yield path


def append(assembly: Assembly) -> None:
    assembly.log.append(EntryKind.OUTCOME, body(), subject="models/a", correlation="c")


def test_a_head_leaves_when_it_is_due_and_not_before(home: Path, tmp_path: Path) -> None:
    clock = StillClock(NOON)
    with closing(Assembly(load_settings(), now=clock)) as assembly:
        beat = Heartbeat(lambda: assembly).beat
        assert beat()
        assert not beat()
        clock.at += timedelta(seconds=599)
        assert not beat()
        clock.at += timedelta(seconds=2)
        assert beat()  # nothing happened meanwhile
        clock.at -= timedelta(days=400)  # a clock that was wrong, and is set right, keeps no head back
        assert beat()
        assert not beat()
        assert len(list((tmp_path / "kept").iterdir())) == 3
        # An empty log has no head worth keeping: the first beat puts one there before it sends any.
        assert len(list(assembly.log.find(kind=EntryKind.CHECKPOINT))) == 4
        assert assembly.log.verify().is_good


def test_one_worker_sends_it_for_all(home: Path) -> None:
    clock = StillClock(NOON)
    with (
        closing(Assembly(load_settings(), now=clock)) as one,
        closing(Assembly(load_settings(), now=clock)) as other,
    ):
        assert Heartbeat(lambda: one).beat()
        assert not Heartbeat(lambda: other).beat()


def test_a_head_that_nobody_keeps_is_an_error_and_is_due_again(home: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with closing(Assembly(load_settings())) as assembly:
        with pytest.raises(AuditUnavailableError, match="0 of 1 anchors, 1 are demanded"):
            Heartbeat(lambda: assembly).beat()
        append(assembly)  # an alarm, and no reason to stop


def test_a_log_that_is_not_the_one_seen_before_stops_all(home: Path) -> None:
    """In a running process: found by the next beat, and from then on nothing is let through."""
    (home / "mlgov.toml").write_text("audit_heartbeat = 1\n")
    with closing(Assembly(load_settings())) as assembly:
        append(assembly)
        assembly.recall_head()
        append(assembly)
        (memory,) = [path for path in (home / "audit-heads").iterdir() if path.suffix != ".lock"]
        heart = Heartbeat(lambda: assembly)
        heart.start()
        deadline = time.monotonic() + 60
        while not list(assembly.log.find(kind=EntryKind.CHECKPOINT)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # What this machine remembers is no longer what the log is: as if the log had been exchanged.
        with closing(Assembly(load_settings(audit_path=home / "other.sqlite"))) as other:
            for _ in range(3):
                append(other)
            memory.write_bytes(other.recall_head().to_bytes())
        while True:
            try:
                append(assembly)
            except AuditBrokenError:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        heart.stop()
        with pytest.raises(AuditBrokenError, match="not the one seen before"):
            append(assembly)
        with pytest.raises(AuditBrokenError):
            _ = assembly.gate


def test_a_beat_that_sends_no_head_compares_and_remembers_it(home: Path) -> None:
    """Between two that leave lies an hour, in which a failover or a restored backup may lose what came since."""
    with closing(Assembly(load_settings(), now=StillClock(NOON))) as assembly:
        beat = Heartbeat(lambda: assembly).beat
        assert beat()
        append(assembly)
        assert not beat()
        (memory,) = [path for path in (home / "audit-heads").iterdir() if path.suffix != ".lock"]
        known = HeadMemory(memory).recall()
        assert known is not None
        assert known.size == assembly.log.store.frontier().size
        with closing(Assembly(load_settings(audit_path=home / "ahead.sqlite"))) as ahead:
            for _ in range(9):
                append(ahead)
            memory.write_bytes(ahead.recall_head().to_bytes())
        with pytest.raises(AuditBrokenError, match="rolled back"):
            beat()


def test_a_gate_is_not_made_over_a_log_that_was_rolled_back(home: Path) -> None:
    with closing(Assembly(load_settings())) as assembly:
        append(assembly)
    shutil.copy(home / "audit.sqlite", home / "old")
    with closing(Assembly(load_settings())) as assembly:
        append(assembly)
        assert assembly.gate is not None
    shutil.copy(home / "old", home / "audit.sqlite")
    with closing(Assembly(load_settings())) as assembly, pytest.raises(AuditBrokenError, match="rolled back"):
        _ = assembly.gate


class Counting(SqliteStore):
    """A store of which no entry may be read, and that counts the hashes."""

    nodes = 0

    def node(self, level: int, index: int) -> bytes:
        self.nodes += 1
        return super().node(level, index)

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        raise AssertionError("an entry was read")


def test_remembering_costs_a_proof_and_no_walk(tmp_path: Path) -> None:
    """However long the log is: no entry is read, and few hashes."""
    memory, path = HeadMemory(tmp_path / "seen"), tmp_path / "audit.sqlite"
    with closing(SqliteStore(path)) as store:
        for start in (0, 3_333):
            store.append([draft(number) for number in range(start, start + 3_333)])
            if not start:
                memory.check(make_log(store))
    with closing(Counting(path)) as store:
        assert memory.check(make_log(store)).size == 6_666
        assert 0 < store.nodes <= 2 * 13


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('audit_path = "/etc/hostname/audit.sqlite"', AuditUnavailableError),
        ('audit_path = "a.sqlite"\naudit_url = "https://mlflow.example"', SettingsError),
    ],
)
def test_no_log_or_two_is_an_error_at_start(home: Path, text: str, error: type[Exception]) -> None:
    (home / "mlgov.toml").write_text(text + "\n")
    from plugin.server import create_app

    with pytest.raises(error):
        create_app()
