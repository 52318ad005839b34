"""Group commit: many threads, one transaction at a time, no timer.

One thread of the process commits. What is handed in while a commit runs forms the next batch, so a lone caller waits
for nobody, and many share one flush of the disk. The queue is bounded and refuses when full; nothing is dropped. A
caller waits at most `timeout` seconds, whatever becomes of the request it works for, and then has to treat its entry
as unknown: the commit may still succeed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from governance.audit.store import Draft
from governance.errors import AuditBrokenError, AuditUnavailableError
from governance.forking import call_after_fork

Commit = Callable[[Sequence[Draft]], Sequence[int | None]]
"""Makes many drafts durable in one transaction, and returns their leaf indexes."""


def begin_thread(run: Callable[[], None], *, name: str) -> threading.Thread:
    """A thread that runs. Raises `AuditUnavailableError` where there can be no more: the next to come then tries again, and does
    not wait for one that never ran."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise AuditUnavailableError(
            "the audit log needs a thread, and the system gives this process no more",
            hint="Raise the limit on its processes and threads (`ulimit -u`, the `pids` limit of a container). Nothing was let through.",
        ) from error
    return thread


class _Ticket:
    """One caller's drafts on their way. `done` is held until the batch is decided."""

    __slots__ = ("done", "drafts", "error", "indexes")

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts
        self.indexes: Sequence[int | None] = ()
        self.error: BaseException | None = None
        # A bare lock is the cheapest thing to sleep on, and with 64 callers that is what counts.
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit:
    """Hands batches of drafts to `commit`, from one thread. Survives a fork: the child starts its own thread. `bound` drafts wait at
    most, `batch` are handed over at once, and whoever submits waits `timeout` seconds."""

    def __init__(
        self,
        commit: Commit,
        *,
        bound: int = 4_096,
        batch: int = 512,
        timeout: float = 30.0,
        name: str = "audit",
    ) -> None:
        self._commit = commit
        self._bound = bound
        self._batch = batch
        self._timeout = timeout
        self._name = name
        self._reset()
        call_after_fork(self._reset)

    def _reset(self) -> None:
        """Start empty: locks and threads of a parent process mean nothing in its child."""
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: deque[_Ticket] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """Wait until the drafts are durable. Raises `AuditUnavailableError` when the queue is full, on time-out, and
        whatever `commit` raises."""
        ticket = _Ticket(drafts)
        with self._lock:
            if self._is_closed:
                raise AuditUnavailableError("the audit log is closed")
            if len(self._queue) >= self._bound:
                raise AuditUnavailableError(
                    f"the audit log is behind: {len(self._queue)} entries wait to be written",
                    hint="The disk under the audit log is slower than the traffic. Nothing was let through; try again.",
                )
            if self._thread is None:
                self._thread = begin_thread(self._run, name=self._name)
            self._queue.append(ticket)
            if len(self._queue) == 1:
                self._wake.notify()
        if not ticket.done.acquire(timeout=self._timeout):
            raise AuditUnavailableError(
                f"the audit log did not confirm within {self._timeout:g} s",
                hint="Look at the disk or the database under the audit log: it does not answer.",
            )
        if ticket.error is not None:
            raise ticket.error
        return ticket.indexes

    def close(self, *, wait: float = 10.0) -> None:
        """Write what is queued, for `wait` seconds at most, then refuse."""
        with self._lock:
            self._is_closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=wait)

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue:
                    if self._is_closed:
                        return
                    self._wake.wait()
                batch = self._take()
            self._decide(batch)

    def _take(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        room = self._batch
        while self._queue and (not batch or len(self._queue[0].drafts) <= room):
            ticket = self._queue.popleft()
            room -= len(ticket.drafts)
            batch.append(ticket)
        return batch

    def _decide(self, batch: list[_Ticket]) -> None:
        """Commit the batch, and tell everybody. A refusal of the whole batch is tried again one by one, so that one
        caller's bad entry is not another's error."""
        drafts = [draft for ticket in batch for draft in ticket.drafts]
        try:
            indexes = self._commit(drafts)
        except (AuditUnavailableError, AuditBrokenError) as error:
            self._settle(batch, error)
        except Exception as error:  # noqa: BLE001 - handed to the callers; the thread must live on
            if len(batch) == 1:
                self._settle(batch, error)
            else:
                for ticket in batch:
                    self._decide([ticket])
        else:
            start = 0
            for ticket in batch:
                stop = start + len(ticket.drafts)
                ticket.indexes = indexes[start:stop]
                start = stop
                ticket.done.release()

    @staticmethod
    def _settle(batch: list[_Ticket], error: BaseException) -> None:
        for ticket in batch:
            ticket.error = error
            ticket.done.release()
