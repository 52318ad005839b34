"""The heartbeat of a running server: the log's head goes out, also when nothing happens.

A log that was cut short shows only against a head that somebody else has, and a head that does not come is a finding. So
the governance app sends one out every `audit_heartbeat` seconds, whether or not there were entries. One worker does it for
all: whoever finds that the last head which enough places kept is old enough, with a file lock among the workers of a host. In between
each compares the head each minute with the one that this host saw last.

Promises: where the log turns out not to be the one that was seen before, this process lets nothing through any more, and
says so in its log until somebody restarts it; a head that could not leave is an error in the process's log and is tried
again a minute later. Does not: stop requests that rest on decisions recorded before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

from governance.errors import AuditBrokenError, GovernanceError
from governance.forking import call_after_fork, file_lock
from governance.places import make_private
from governance.wiring import Assembly

_AGAIN = 60.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own from `start` on, in this process and in children forked from it."""

    def __init__(self, assembly: Callable[[], Assembly]) -> None:
        self._assembly = assembly
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. A log that a server elsewhere keeps has its heart there."""
        if self._assembly().settings.audit_url is None:
            self._run_anew()
            call_after_fork(self._run_anew)

    def stop(self) -> None:
        """End after the beat at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def beat(self) -> bool:
        """Send the head out if that is due, and else compare and remember it: what a database loses before the next one leaves shows
        only here. Returns whether it was due. Raises what went wrong."""
        assembly = self._assembly()
        with _alone(assembly) as is_alone:
            every = timedelta(seconds=assembly.settings.audit_heartbeat)
            if not is_alone:
                return False
            if assembly.quorum.is_met_within(every):
                assembly.recall_head()
                return False
            assembly.send_head()
            return True

    def _run_anew(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        stop = self._stop
        pause = 1.0
        while not stop.wait(pause):
            pause = _AGAIN
            try:
                pause = min(_AGAIN, self._assembly().settings.audit_heartbeat / 2)
                self.beat()
            except AuditBrokenError as error:
                logger.critical("NOTHING IS LET THROUGH: %s", error)
                with suppress(GovernanceError):  # a log that cannot be opened lets nothing through either
                    self._assembly().log.condemn(error)
            except GovernanceError as error:
                logger.error("the audit log's head did not leave, nor was it compared: %s", error)  # noqa: TRY400 - expected, and said in full
            except Exception:
                logger.exception("the audit log's head did not leave")


@contextmanager
def _alone(assembly: Assembly) -> Iterator[bool]:
    """Whether no other worker of this host is at it."""
    home = assembly.settings.home
    make_private(home)
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(home / "audit-heartbeat.lock", waits=False))
        except BlockingIOError:
            yield False
            return
        yield True
