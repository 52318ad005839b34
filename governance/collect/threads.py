"""Threads for what waits on others.

Promises: no process waits for them when it ends, and none begins a task after the time that its caller waits at most, nor goes on with
one that asks `while_waited_for`: a service that drags its answers out holds nobody up. Where the system gives no more threads, fewer
do it all, and without any the task fails. (The standard library's pool works off all its tasks before a process may end.)
Does not: end a task that has begun; that bounds its own waits.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from typing import Any, TypeVar

from governance.errors import GovernanceError

Result = TypeVar("Result")

_UNTIL: ContextVar[float | None] = ContextVar("mlgov-collect-until", default=None)


class NobodyWaitsError(TimeoutError):
    """A task was not begun, as its caller's time was over."""


def limit_thread(until: float) -> None:
    """Let pools that this thread makes begin nothing after `until` (of `time.monotonic`)."""
    _UNTIL.set(until)


def while_waited_for(items: Iterable[Result]) -> Iterator[Result]:
    """The same, of which each may be asked for. Raises `NobodyWaitsError` once the time of this thread's caller is over."""
    for item in items:
        until = _UNTIL.get()
        if until is not None and time.monotonic() > until:
            raise NobodyWaitsError("nobody waits for the rest any more")
        yield item


class Threads(Executor):
    """A pool of up to `most` threads, whose first error is what `map` raises."""

    def __init__(self, most: int, name: str, *, is_limited: bool = True) -> None:
        """Where it `is_limited`, none begins a task after the time of this thread's caller."""
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._until = _UNTIL.get() if is_limited else None
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._pending: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Have `fn` called in one of the threads."""
        future: Future[Result] = Future()
        self._pending.append(future)
        self._tasks.put(lambda: self._run(future, lambda: fn(*args, **kwargs)))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(
                thread
            )  # first of all: it also ends where this one is interrupted while it begins
            try:
                thread.start()
            except RuntimeError:  # a limit on processes and threads: those there are do all
                self._threads.remove(thread)
                if not self._threads:
                    self._tasks.get()
                    future.set_exception(GovernanceError("the system gives this process no more threads"))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. `wait` until all are done; `cancel_futures` that have not begun."""
        if cancel_futures:
            for future in self._pending:
                future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            if thread.is_alive():  # else it is over, or was interrupted before it began
                thread.join()

    def _work(self) -> None:
        _UNTIL.set(self._until)  # a thread begins with nothing of what its caller set
        while (task := self._tasks.get()) is not None:
            task()

    def _run(self, future: Future[Result], call: Callable[[], Result]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        if self._until is not None and time.monotonic() > self._until:
            future.set_exception(NobodyWaitsError("nobody waits for this any more"))
            return
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - carried to the caller, whatever it is
            future.set_exception(error)
