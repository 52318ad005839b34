"""What must not be carried into a forked child: locks, threads, connections, and the number of a writer's boot."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in every child forked from now on, for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def run() -> None:
        found = reference()
        if found is not None:
            found()

    os.register_at_fork(after_in_child=run)
