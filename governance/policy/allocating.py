"""Pausing the garbage collector while many small values are made, none of which is garbage.

Loading 10,000 rules makes a million objects. The collector would look through all of them again and again, which takes
as long as the loading itself, and finds nothing. The switch is the process's own, so it is thrown for as short as it can
be and only where it pays.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused(*, worth_it: bool) -> Iterator[None]:
    """The body runs without cyclic collection where `worth_it`, unless it was off already."""
    pause = worth_it and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()
