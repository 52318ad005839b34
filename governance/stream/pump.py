"""Moves entries from the log to one destination, in order, and remembers how far it came.

Promises: the cursor moves only when a batch was delivered, so every entry is delivered at least once, and a second time
only after a crash or a broken connection; a receiver that fails or never answers is tried again after ever longer
pauses, up to a bound, and not sooner than it asks for, up to another; nothing overtakes what waits; at most one batch is
in memory. Does not: drop anything, ever.

A follow run ends by `stop` alone, or where the log itself is not in order. A run `once` gives up after `patience`
seconds without success and raises what stood in the way.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

from governance.audit.log import Stored
from governance.audit.merkle import Frontier
from governance.errors import (
    AuditUnavailableError,
    GovernanceError,
    RemoteError,
    SettingsError,
    TransferError,
)
from governance.model.request import utc_text
from governance.stream.cursor import Cursor, CursorFile
from governance.stream.destination import Start
from governance.stream.sink import BatchTooLargeError, Message, Sink
from governance.stream.source import BATCH, Batch, LogSource

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_LONGEST_ASKED: Final = 900.0
T = TypeVar("T")
_MAY_PASS: Final = (RemoteError, TransferError, AuditUnavailableError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a run came to."""

    entries: int
    index: int


class Target(Protocol):
    """What a pump has to know of where it delivers to: `Destination` says it, and so does a channel of notices."""

    @property
    def name(self) -> str:
        """Of the cursor."""
        ...

    @property
    def shown(self) -> str:
        """The address, fit to be printed."""
        ...

    @property
    def digest(self) -> str:
        """Tells addresses apart."""
        ...

    @property
    def start(self) -> Start:
        """Where to begin without a cursor."""
        ...


class Pump:
    """One destination's pump. `encode` makes the line of an entry, `sink` takes batches. `idle` is called, as patiently as
    the sink, when there is nothing to deliver; `poll` are the seconds between two looks, `patience` those without success after which
    a run `once` gives up."""

    def __init__(
        self,
        *,
        target: Target,
        source: LogSource,
        file: CursorFile,
        sink: Sink,
        encode: Callable[[Stored], bytes],
        now: Callable[[], datetime],
        stop: threading.Event,
        idle: Callable[[], None] = lambda: None,
        poll: float = 1.0,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._target = target
        self._source = source
        self._file = file
        self._sink = sink
        self._encode = encode
        self._now = now
        self._stop = stop
        self._idle = idle
        self._poll = poll
        self._patience = patience
        self._clock = clock
        self._spread = spread
        self._most = BATCH

    def run(self, *, follow: bool) -> Delivered:
        """Deliver what there is, and with `follow` what comes. Raises `SettingsError` for a cursor of another
        destination or log, `AuditBrokenError` for a log that is not in order; without `follow` also what `Sink` raises."""
        with self._file.held():
            cursor = safe = self._begin()
            at, count = self._source.resume(cursor), 0
            try:
                while not self._stop.is_set():
                    batch = self._patiently(cursor, lambda at=at: self._source.read(at), follow=follow)  # type: ignore[misc]  # the default binds
                    if batch is None:
                        self._patiently(cursor, self._idle, follow=follow)
                        if not follow or self._stop.wait(self._poll):
                            break
                        continue
                    sent = self._deliver(cursor, batch, at, follow=follow)
                    if sent is None:
                        break
                    at, count = sent.after, count + len(sent.entries)
                    safe = cursor if follow else safe
                    cursor = self._moved(cursor, at, follow=follow)
            except BaseException:
                self._sink.close(gracefully=False)
                raise
            self._end(safe)
            return Delivered(entries=count, index=at.size)

    def _end(self, safe: Cursor) -> None:
        """Close the sink. Where the other side does not say that it has read everything, what may lie unread goes out
        once more the next time: all of a run `once`, the last batch of a run that followed."""
        try:
            self._sink.close(gracefully=True)
        except RemoteError:
            self._file.save(safe)
            raise

    def _begin(self) -> Cursor:
        """The cursor there is, or a new one with a loud word about it."""
        known, to = self._file.load(), self._target
        if known is not None:
            _check_same(known, to, self._file)
            return known
        at = self._source.begin(to.start)
        waiting = self._source.size() - at.size
        logger.warning(
            "NO CURSOR for `%s` (%s): beginning at entry %d (`from` is `%s`), %d entries to deliver. If it was streamed to "
            "before, its cursor `%s` is lost, and entries are delivered twice or, with `now`, not at all",
            to.name, to.shown, at.size, to.start, waiting, self._file.path,
        )  # fmt: skip
        fresh = Cursor(
            name=to.name, to=to.digest, shown=to.shown, origin=self._source.origin, index=at.size,
            root=at.root().hex(), saved_at=utc_text(self._now()),
        )  # fmt: skip
        self._file.save(fresh)
        return fresh

    def _deliver(self, cursor: Cursor, batch: Batch, before: Frontier, *, follow: bool) -> Batch | None:
        """What was delivered of the batch, or None where the end was asked for."""

        def send() -> Batch:
            while True:
                part = batch if len(batch.entries) <= self._most else batch.first(self._most, before)
                try:
                    self._sink.send(
                        [Message(stored=stored, line=self._encode(stored)) for stored in part.entries]
                    )
                except BatchTooLargeError:
                    self._most = max(1, len(part.entries) // 2)
                    continue
                return part

        return self._patiently(cursor, send, follow=follow)

    def _patiently(self, cursor: Cursor, act: Callable[[], T], *, follow: bool) -> T | None:
        """The result of `act`, tried until it succeeds. None where the end was asked for."""
        tries, began = 0, self._clock()
        while True:
            try:
                result = act()
            except _MAY_PASS as error:
                tries += 1
                pause = max(pause_after(tries, self._spread()), _asked(error))
                if not follow and self._clock() + pause - began > self._patience:
                    raise
                cursor = self._note(cursor, error)
                logger.warning("`%s`, try %d, again in %.1f s: %s", self._target.name, tries, pause, error)
                if self._stop.wait(pause):
                    return None
                continue
            if tries:
                logger.warning("`%s` is in order again after %d tries", self._target.name, tries)
                self._mark(replace(cursor, trouble=None))
            return result

    def _note(self, cursor: Cursor, error: GovernanceError) -> Cursor:
        noted = cursor.in_trouble(error.message.partition("\n")[0], utc_text(self._now()))
        self._mark(noted)
        return noted

    def _mark(self, cursor: Cursor) -> None:
        """Write down the trouble, for `mlgov doctor`. The place is the same, and where it cannot be written that is no reason to
        end: a full disk, which is the trouble itself, may have room again."""
        try:
            self._file.save(cursor)
        except TransferError as error:
            logger.warning("`%s`: %s", self._target.name, error.message)

    def _moved(self, cursor: Cursor, at: Frontier, *, follow: bool) -> Cursor:
        """The cursor at its new place. Nothing more is sent before it is on disk."""
        moved = replace(
            cursor, index=at.size, root=at.root().hex(), saved_at=utc_text(self._now()), trouble=None
        )
        self._patiently(moved, lambda: self._file.save(moved), follow=follow)
        return moved


def pause_after(tries: int, spread: float) -> float:
    """Seconds until the next try: twice as long each time up to a bound, and between half and all of it, so that many
    streams do not return at the same moment."""
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(tries - 1, 30))
    return longest * (0.5 + spread / 2)


def _asked(error: GovernanceError) -> float:
    """Seconds that the receiver asks for, up to a bound: it may say how long it is overloaded, and not that nothing is to come."""
    asked = error.retry_after if isinstance(error, RemoteError) else None
    return min(asked or 0.0, _LONGEST_ASKED)


def _check_same(cursor: Cursor, target: Target, file: CursorFile) -> None:
    if cursor.to != target.digest:
        raise SettingsError(
            f"the cursor `{file.path}` is of another address ({cursor.shown}) than `{target.name}` has now",
            hint="Give the new destination a name of its own; or, where it is the same receiver at a new address, delete "
            f"the cursor and begin with `--from {cursor.index}`.",
        )
