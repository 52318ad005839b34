"""What unit tests of one subject share over several files."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.unit.collect_kit import edge
from tests.unit.notify_kit import desk

__all__ = ["desk", "edge"]


@pytest.fixture
def leave_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many threads more be started, and each further one fail as it does in a container with a limit on them."""
    start = threading.Thread.start

    def limit(most: int) -> None:
        left = iter(range(most))

        def limited(thread: threading.Thread) -> None:
            if next(left, None) is None:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return limit
