"""The pump: in order, once, again where a receiver fails, and never past what a receiver confirmed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.sqlite import SqliteStore
from governance.errors import RateLimitedError, TransferError, UnreachableError
from governance.stream.destination import Destination
from governance.stream.pump import pause_after
from governance.stream.sink import Message
from tests.audit_tools import Clock, fill, make_log
from tests.full_disk import full_above
from tests.postgres_server import PostgresServer
from tests.unit.stream_kit import Receiver, cursor, pump, unreachable


def test_everything_is_delivered_once_and_in_order(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver()
    fill(log, 600)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 601
    fill(log, 3)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 3
    assert sink.got == list(range(604))
    assert cursor(tmp_path).root == log.store.frontier().root().hex()


def test_a_receiver_that_fails_gets_the_same_batch_again(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 300)
    sink = Receiver(unreachable(), unreachable(), TransferError("no room"))
    pump(log, tmp_path, sink).run(follow=False)
    assert sink.got == list(range(301))
    assert cursor(tmp_path).trouble is None


def test_a_run_once_gives_up_and_keeps_its_place(tmp_path: Path) -> None:
    log, ticks = make_log(), iter(range(0, 10_000, 30))
    fill(log, 5)
    sink = Receiver(*(unreachable() for _ in range(50)))
    with pytest.raises(UnreachableError):
        pump(log, tmp_path, sink, clock=lambda: next(ticks)).run(follow=False)
    kept = cursor(tmp_path)
    assert (kept.index, sink.got, sink.closed) == (0, [], [False])
    assert kept.trouble is not None
    assert "no answer" in kept.trouble.what
    assert kept.trouble.tries >= 1


def test_a_follower_never_gives_up_and_ends_when_told(tmp_path: Path) -> None:
    log, stop = make_log(), threading.Event()
    fill(log, 5)

    class Stopping(Receiver):
        def send(self, messages: Sequence[Message]) -> None:
            if len(self.failures) == 1:
                stop.set()
            super().send(messages)

    sink = Stopping(*(unreachable() for _ in range(30)))
    done = pump(log, tmp_path, sink, stop=stop, clock=iter(range(0, 10**6, 1000)).__next__).run(follow=True)
    assert (done.entries, sink.failures) == (0, [])
    kept = cursor(tmp_path).trouble
    assert kept is not None
    assert kept.tries == 30


def test_a_follower_waits_until_its_place_can_be_written(tmp_path: Path) -> None:
    """As on a disk that is full for a while: nothing more is sent meanwhile, and nothing twice after it."""
    log, stop, sink = make_log(), threading.Event(), Receiver(unreachable())
    full, clock, looks = ExitStack(), Clock(), 0
    fill(log, 5)

    def now() -> datetime:
        nonlocal looks
        looks += 1
        if looks == 2:  # the first look was for the new cursor
            full.enter_context(full_above(0))
        elif looks == 8:
            full.close()
        return clock()

    with full:
        done = pump(log, tmp_path, sink, stop=stop, idle=stop.set, now=now).run(follow=True)
    assert sink.got == [0, 1, 2, 3, 4, 5]
    assert (done.entries, cursor(tmp_path).index, cursor(tmp_path).trouble) == (6, 6, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["siem.json", "siem.lock"]


def test_a_stream_that_ends_by_a_mistake_of_ours_is_not_a_success(tmp_path: Path) -> None:
    """Of several, each runs in a thread, and a thread that dies of something unexpected says so nowhere else."""
    from governance.cli.audit_stream import run_pumps

    class Mistaken(Receiver):
        def send(self, messages: Sequence[Message]) -> None:
            raise UnicodeError("label empty or too long")

    log, good = make_log(), Receiver()
    fill(log, 3)
    pumps = [pump(log, tmp_path / "a", Mistaken()), pump(log, tmp_path / "b", good)]
    with pytest.raises(UnicodeError):
        run_pumps(
            [(Destination(name=name, to="file:/x"), each) for name, each in zip("ab", pumps, strict=True)],
            follow=False,
        )
    assert good.got == [0, 1, 2, 3]


def test_batches_shrink_for_a_receiver_that_wants_them_small(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver(most=10)
    fill(log, 99)
    pump(log, tmp_path, sink).run(follow=False)
    assert sink.got == list(range(100))


def test_what_a_receiver_did_not_confirm_at_the_end_goes_out_again(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver()
    fill(log, 300)
    sink.close_error = unreachable()
    with pytest.raises(UnreachableError):
        pump(log, tmp_path, sink).run(follow=False)
    assert cursor(tmp_path).index == 0


@given(st.integers(1, 60), st.floats(0, 1))
def test_pauses_grow_and_are_bounded(tries: int, spread: float) -> None:
    pause = pause_after(tries, spread)
    assert 0.25 <= pause <= 60
    assert pause_after(tries + 1, spread) >= pause


@pytest.mark.parametrize(("asked", "waited"), [(None, 0.0), (0.1, 0.1), (120.0, 120.0), (1e300, 900.0)])
def test_a_receiver_is_not_asked_sooner_than_it_says_up_to_a_bound(
    tmp_path: Path, asked: float | None, waited: float
) -> None:
    class Told(threading.Event):
        """Whoever waits on it is noted, and goes on at once."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    waits: list[float] = []
    busy = RateLimitedError("busy", service="webhook", method="POST", path="x", retry_after=asked)
    log, sink = make_log(), Receiver(busy)
    fill(log, 1)
    pump(log, tmp_path, sink, stop=Told(), patience=10_000).run(follow=False)
    assert (waits, sink.got) == ([waited], [0, 1])


def test_a_log_in_postgresql_streams_like_any_other(postgres: PostgresServer, tmp_path: Path) -> None:
    from governance.audit.postgres import PostgresStore

    store = PostgresStore(postgres.new_database())
    log, sink = make_log(store), Receiver()
    fill(log, 300)
    store.settle(timeout=30)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 301
    fill(log, 5)
    store.settle(timeout=30)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 5
    assert sink.got == list(range(306))
    log.close()


def test_a_sqlite_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    log, sink, stop = make_log(SqliteStore(tmp_path / "log")), Receiver(), threading.Event()
    reading = threading.Thread(
        target=lambda: pump(log, tmp_path, sink, stop=stop, poll=0.01).run(follow=True)
    )
    reading.start()
    fill(log, 300)
    wait_for(lambda: len(sink.got) == 301)
    stop.set()
    reading.join(10)
    assert sink.got == list(range(301))
    log.close()


def wait_for(what: Callable[[], bool]) -> None:
    event = threading.Event()
    for _ in range(1_000):
        if what():
            return
        event.wait(0.02)
    raise AssertionError("it did not come to pass")
