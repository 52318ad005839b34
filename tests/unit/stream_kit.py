"""What the tests of streams share: a receiver that obeys, a pump to it, and the place it kept."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from governance.audit.log import AuditLog
from governance.errors import GovernanceError, UnreachableError
from governance.stream.cursor import Cursor, CursorFile
from governance.stream.destination import Destination
from governance.stream.pump import Pump
from governance.stream.sink import BatchTooLargeError, Message
from governance.stream.source import LogSource
from tests.audit_tools import Clock

ROUGH = st.text(st.characters(codec="utf-8"), max_size=60)
"""Texts that nobody would choose as a name."""


class Receiver:
    """A sink that obeys: it fails as often as it was told to, and takes batches up to a size."""

    def __init__(self, *failures: GovernanceError, most: int = 10_000) -> None:
        self.failures = list(failures)
        self.most = most
        self.got: list[int] = []
        self.closed: list[bool] = []
        self.close_error: GovernanceError | None = None

    def send(self, messages: Sequence[Message]) -> None:
        if len(messages) > self.most:
            raise BatchTooLargeError("too many")
        if self.failures:
            raise self.failures.pop(0)
        self.got += [int(str(message.stored.index)) for message in messages]

    def close(self, *, gracefully: bool) -> None:
        self.closed.append(gracefully)
        if gracefully and self.close_error is not None:
            raise self.close_error


def unreachable() -> UnreachableError:
    """What a sink raises of a receiver that does not answer."""
    return UnreachableError("no answer", service="syslog", method="SEND", path="x")


def pump(
    log: AuditLog, folder: Path, sink: Any, *, stop: threading.Event | None = None, start: Any = "start", **more: Any
) -> Pump:  # fmt: skip
    """A pump of the log to `sink`, with its cursor in `folder`, whose pauses take no time; `more` are its arguments."""
    destination = Destination.model_validate({"name": "siem", "to": f"file:{folder}/out", "from": start})
    settings: dict[str, Any] = {
        "target": destination, "source": LogSource(log), "file": CursorFile(folder, "siem"), "sink": sink,
        "encode": lambda stored: stored.data, "now": Clock(), "stop": stop or threading.Event(), "spread": lambda: -1.0,
    }  # fmt: skip
    return Pump(**(settings | more))


def cursor(folder: Path) -> Cursor:
    """The cursor that such a pump left there."""
    found = CursorFile(folder, "siem").load()
    assert found is not None
    return found
