"""As many transfers at a time as pay.

Python runs one thread at a time: where a server is near, two threads keep a core busy, and eight of them would only take
turns at twice the cost. Where it is far, eight wait at the same time instead of one after the other. So two threads start,
and one more joins whenever those at work have left the core idle for a moment, up to the given number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

_FIRST = 2
_LOOK_SECONDS = 0.05
_BUSY = 0.4
_PARTING_SECONDS = 3.0


def run_all(
    tasks: Sequence[Callable[[], None]],
    most: int,
    done: Callable[[], object],
    *,
    stop: threading.Event | None = None,
) -> None:
    """Run all tasks, up to `most` at a time, and call `done` after each. Raises the first error; tasks that had not begun
    by then never do, and `stop` tells those that had. No thread is left when it returns; but where the caller is interrupted
    (Ctrl-C), one that hears nothing from its server for some seconds is not waited for."""
    if len(tasks) <= 1 or most <= 1:
        for task in tasks:
            task()
            done()
        return
    _Crew(tasks, min(most, len(tasks)), done, stop or threading.Event()).run()


class _Crew:
    """Threads that take the next task until none is left or one has failed."""

    def __init__(
        self,
        tasks: Sequence[Callable[[], None]],
        most: int,
        done: Callable[[], object],
        stop: threading.Event,
    ) -> None:
        self._tasks = iter(tasks)
        self._most = most
        self._done = done
        self._told = stop
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._active = 0
        self._worked = 0.0
        self._error: BaseException | None = None
        self._over = threading.Event()

    def run(self) -> None:
        try:
            for _ in range(min(_FIRST, self._most)):
                self._join()
            self._grow()
        finally:
            self._stop()
            end = time.monotonic() + _PARTING_SECONDS
            for thread in self._threads:
                # All are over but where this thread was interrupted.
                thread.join(None if self._over.is_set() else max(0.0, end - time.monotonic()))
        if self._error is not None:
            raise self._error

    def _grow(self) -> None:
        """Wait for the end, and add a thread after each look at which the core was not busy."""
        worked, looked = 0.0, time.perf_counter()
        while not self._over.wait(_LOOK_SECONDS):
            now = time.perf_counter()
            if self._worked - worked < _BUSY * (now - looked) and len(self._threads) < self._most:
                self._join()
            worked, looked = self._worked, now

    def _join(self) -> None:
        thread = threading.Thread(target=self._work, name="mlgov-transfer", daemon=True)
        with self._lock:
            self._active += 1
        try:
            thread.start()
        except RuntimeError:  # a limit on processes and threads
            self._most = len(self._threads)  # those there are do all; without any, the caller does
            if self._threads:
                self._leave()
            else:
                self._work()
        else:
            self._threads.append(thread)

    def _stop(self) -> None:
        with self._lock:
            self._tasks = iter(())
        self._told.set()

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                began = time.thread_time()
                task()
                self._done()
                with self._lock:
                    self._worked += time.thread_time() - began
        except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
            with self._lock:
                self._error = self._error or error
                self._tasks = iter(())
            self._told.set()
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._active -= 1
            if self._active == 0:
                self._over.set()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            return next(self._tasks, None)
