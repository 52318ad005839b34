"""Transfers at a time: all run, the first error is raised, no thread is left, and waiting ones are joined by more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial

import pytest

from plugin.workers import run_all


@pytest.mark.parametrize("most", [1, 2, 3, 64])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_task_runs_once(count: int, most: int) -> None:
    seen: list[int] = []
    ended: list[None] = []
    run_all([partial(seen.append, number) for number in range(count)], most, lambda: ended.append(None))
    assert sorted(seen) == list(range(count))
    assert len(ended) == count


def test_tasks_that_wait_are_joined_by_more_up_to_the_limit() -> None:
    """Each waits until four are at it at once: with fewer threads this would never end."""
    together = threading.Barrier(4, timeout=20)
    run_all([lambda: _meet(together)] * 8, 4, lambda: None)
    too_many = threading.Barrier(5, timeout=0.5)
    with pytest.raises(threading.BrokenBarrierError):
        run_all([lambda: _meet(too_many)] * 8, 4, lambda: None)


def _meet(barrier: threading.Barrier) -> None:
    barrier.wait()


@pytest.mark.parametrize("most", [1, 4])
def test_the_first_error_is_raised_and_what_had_not_begun_never_does(most: int) -> None:
    before = threading.active_count()
    ran: list[int] = []

    def task(number: int) -> Callable[[], None]:
        def run() -> None:
            ran.append(number)
            if number == 0:
                raise ZeroDivisionError
            threading.Event().wait(0.05)

        return run

    with pytest.raises(ZeroDivisionError):
        run_all([task(number) for number in range(100)], most, lambda: None)
    assert len(ran) <= most
    assert threading.active_count() == before


def test_an_interrupt_of_the_caller_leaves_no_thread() -> None:
    before = threading.active_count()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([interrupted, *[lambda: None] * 9], 2, lambda: None)
    assert threading.active_count() == before


def test_an_interrupted_caller_is_not_held_by_a_server_that_says_nothing() -> None:
    silence, begun = threading.Event(), threading.Barrier(3, timeout=20)

    def waits() -> None:
        begun.wait()
        silence.wait()

    def interrupt() -> None:
        begun.wait()
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_all([waits] * 2, 2, lambda: None)  # this would never end
    silence.set()


def test_what_is_under_way_is_told_when_another_fails() -> None:
    stop, ended = threading.Event(), threading.Event()

    def fails() -> None:
        raise ZeroDivisionError

    def goes_on() -> None:
        assert stop.wait(20)
        ended.set()

    with pytest.raises(ZeroDivisionError):
        run_all([goes_on, fails], 2, lambda: None, stop=stop)
    assert ended.is_set()


@pytest.mark.parametrize("left", [0, 1, 3])
def test_where_no_more_threads_can_be_had_those_there_are_do_all(
    left: int, leave_threads: Callable[[int], None]
) -> None:
    """In a container with a limit on processes the transfer went well until one thread more was to join it."""
    before = set(threading.enumerate())
    leave_threads(left)
    seen: list[int] = []

    def task(number: int) -> None:
        threading.Event().wait(0.02)
        seen.append(number)

    run_all([partial(task, number) for number in range(20)], 8, lambda: None)
    assert sorted(seen) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        run_all([lambda: None, lambda: print(1 // 0)], 8, lambda: None)
    assert set(threading.enumerate()) <= before  # those of tests before may end meanwhile
