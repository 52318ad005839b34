"""Notices on their way: a sink of the stream's pump, with a memory of what was told.

1. the pump hands over entries and keeps the place in the log; this sink finds the news in them;
2. a notice that was told, or is quiet, is passed over; one too many for this hour is counted and told of later;
3. it is sent, and only then remembered, on disk, before the next one: a crash in between sends it once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from governance.forking import made_once
from governance.notify.memory import Memory
from governance.notify.notice import Notice
from governance.notify.watch import Watcher
from governance.stream.sink import Message

_LOOK_EVERY = 60.0


class Carrier(Protocol):
    """Takes one notice to its readers, or raises `RemoteError`."""

    def send(self, notice: Notice) -> None:
        """Deliver it."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class NoticeSink:
    """A `Sink` that tells the news in the entries it is handed. `tick` tells what time brings. `memory` is asked for what was told once,
    and not before there is something to tell: the channel is this process's then, and nobody else's who remembers."""

    def __init__(
        self,
        *,
        watcher: Watcher,
        memory: Callable[[], Memory],
        carrier: Carrier,
        now: Callable[[], datetime],
    ) -> None:
        self._watcher = watcher
        self._recall = memory
        self._carrier = carrier
        self._now = now
        self._looked: datetime | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """See `Sink.send`."""
        for message in messages:
            self._tell(self._watcher.news_of(message.stored))

    def tick(self) -> None:
        """Look at the clock: waivers that end, and what was held back."""
        now = self._now()
        if self._looked is not None and abs((now - self._looked).total_seconds()) < _LOOK_EVERY:
            return
        self._tell(self._watcher.news_at(now))
        self._tell_held(now)
        self._looked = now

    def close(self, *, gracefully: bool) -> None:  # noqa: ARG002 - the contract's argument; each notice was taken
        """See `Sink.close`."""
        self._carrier.close()

    @made_once
    def _memory(self) -> Memory:
        return self._recall()

    def _tell(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            now = self._now()
            if not self._memory.is_news(notice, now):
                continue
            self._tell_held(now)
            if self._memory.has_room(now):
                self._carrier.send(notice)
                self._memory.sent.append(now)
            else:
                self._memory.hold_back(notice)
            self._memory.remember(notice, now)
            self._memory.save()

    def _tell_held(self, now: datetime) -> None:
        """One notice about all that were held back, as soon as there is room."""
        memory = self._memory
        if not memory.held or not memory.has_room(now):
            return
        rows = [(f"held back {number}", title) for number, title in enumerate(memory.titles, 1)]
        self._carrier.send(
            Notice(
                kind="held-back",
                key=f"held-{now.timestamp():.0f}",
                title=f"{memory.held} more notices were held back ({memory.per_hour} an hour are sent)",
                rows=(*rows, ("all", "mlgov audit tail --kind decision")),
                at=now,
            )
        )
        memory.sent.append(now)
        memory.held, memory.titles = 0, []
        memory.save()
