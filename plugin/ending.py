"""Ending in order when a job is ended.

A process that is told to end (SIGTERM from a scheduler, SIGHUP from a closed terminal) and has made no provision dies at once: in
the middle of a transfer this would leave a decision without an outcome in the log, and half a model in the destination.

Promises: what is done within `ended_in_order` is unwound and recorded, and then the process dies of the same signal as it would
have without. Does not: touch a process that has provided for the signal itself, as servers do; wait for anything.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedError(BaseException):
    """The process was told to end. No `Exception`, as little as `KeyboardInterrupt`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Unwind what is inside when a signal comes that would have killed the process, and die of it then."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears of signals
        return
    kept = [each for each in _SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in kept:
            signal.signal(each, _end)
        yield
    except EndedError as ended:
        if ended.number not in kept:  # whoever asked for it further out has more to unwind
            raise
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)
        raise
    finally:
        for each in kept:
            signal.signal(each, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # whoever says it twice means at once
    raise EndedError(number)
