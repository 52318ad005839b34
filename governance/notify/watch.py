"""Finds the news in entries and waivers, by the rules of one channel.

What was said about some bytes before is the log's own knowledge: it is asked once for each question and remembered for a
bounded number of them, so a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.notify.notice import (
    Judged,
    LiveWaiver,
    Notice,
    judged,
    new_block,
    question,
    verdict_changed,
    waiver_expiring,
)
from governance.notify.rules import NewBlock, VerdictChanged, WaiverExpiring

_MOST: Final = 10_000

_Question = tuple[str, str, str, str]
_Last = tuple[Judged, datetime | None]
"""The last verdict, and when the bytes were last let through."""


class Watcher:
    """The rules of one channel over one log. `waivers` gives those that count now."""

    def __init__(
        self,
        rules: Sequence[NewBlock | VerdictChanged | WaiverExpiring],
        log: AuditLog,
        waivers: Callable[[], Iterable[LiveWaiver]],
    ) -> None:
        self._blocks = [rule for rule in rules if isinstance(rule, NewBlock)]
        self._changes = [rule for rule in rules if isinstance(rule, VerdictChanged)]
        self._expiries = [rule for rule in rules if isinstance(rule, WaiverExpiring)]
        self._log = log
        self._waivers = waivers
        self._known: dict[_Question, _Last] = {}

    def news_of(self, stored: Stored) -> Iterator[Notice]:
        """What an entry tells."""
        for block in self._blocks:
            notice = new_block(block, stored)
            if notice is not None:
                yield notice
        if self._changes:
            yield from self._changed(stored)

    def news_at(self, now: datetime) -> Iterator[Notice]:
        """What the time tells."""
        if not self._expiries:
            return
        for waiver in self._waivers():
            for rule in self._expiries:
                notice = waiver_expiring(rule, waiver, now)
                if notice is not None:
                    yield notice

    def _changed(self, stored: Stored) -> Iterator[Notice]:
        asked, now = question(stored), judged(stored)
        if asked is None or now is None:
            return
        before = self._known.pop(asked, None)
        if before is None or before[0].at > now.at or before[0].id == now.id:
            before = self._before(asked, stored)
        if before is not None:
            last, last_use = before
            for rule in self._changes:
                notice = verdict_changed(rule, stored, last, last_use)
                if notice is not None:
                    yield notice
        self._known[asked] = (now, now.at if now.was_used else (before[1] if before else None))
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def _before(self, asked: _Question, stored: Stored) -> _Last | None:
        """From the log: what stands before this entry."""
        last: Judged | None = None
        last_use: datetime | None = None
        for each in self._log.find(kind=EntryKind.DECISION, subject=asked[0]):
            if each.entry.id == stored.entry.id:
                break
            found = judged(each) if question(each) == asked else None
            if found is not None:
                last = found
                last_use = found.at if found.was_used else last_use
        return None if last is None else (last, last_use)
