"""Retention: evidence bodies are erased when their time is over, and their digests stand.

Promises: an entry that says what was erased and why is durable before anything is; evidence that a younger entry names
too, or that any entry about a subject under legal hold names, stays, also where that entry or the hold came while others were erased, or
after the entry which says that it is: it is looked for once more while nobody can bring a document that is about to go. Does not: erase
entries. They hold no contents, only names, digests and findings, and actors may bear pseudonyms.

A hold is an entry of kind `hold` about the subject, and is lifted by another. Both say who did it, by the name that this process
claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from governance.audit.entry import EntryKind, parse_entry
from governance.audit.log import AuditLog
from governance.audit.store import PlacedLater
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.request import utc_text

_HEX = re.compile(r"(?:[a-z0-9]+:)?([0-9a-f]{64})")
_AT_ONCE = 500  # digests that fit one entry
_PLACE_SECONDS = 30.0


def set_hold(log: AuditLog, subject: str, *, held: bool, reason: str, by: str) -> None:
    """Put everything about `subject` under legal hold, or lift it."""
    body: dict[str, Json] = {"by": _told(log, by), "held": held, "reason": reason}
    log.append(EntryKind.HOLD, body, subject=subject, correlation=subject)


def held_subjects(log: AuditLog) -> frozenset[str]:
    """The subjects whose last hold entry says that they are held."""
    last = {
        stored.entry.subject: stored.entry.body["held"] is True for stored in log.find(kind=EntryKind.HOLD)
    }
    return frozenset(subject for subject, is_held in last.items() if is_held)


def expired_evidence(
    log: AuditLog, terms: Mapping[EntryKind, timedelta], *, now: datetime
) -> tuple[Sha256, ...]:
    """Evidence whose term is over. `terms` says how long evidence that came with a kind of entry is kept after the last
    entry that names it; kinds that are not in it are kept for good."""
    held = held_subjects(log)
    kept: set[str] = set()
    newest: dict[str, str] = {}
    for stored in log.find():
        entry = stored.entry
        if entry.kind is EntryKind.ERASURE:  # it names what it took, or meant to take when it was interrupted
            continue
        for digest in _digests(entry.body):
            newest[digest] = max(newest.get(digest, ""), utc_text(entry.at))
            if entry.subject in held:
                kept.add(digest)
    over = []
    for info in log.store.evidence_list():
        term = terms.get(EntryKind(info.category))
        if term is None or info.is_erased or info.sha256 in kept:
            continue
        if max(newest.get(info.sha256, ""), info.at) < utc_text(now - term):
            over.append(info.sha256)
    return tuple(over)


def erase_expired(
    log: AuditLog, terms: Mapping[EntryKind, timedelta], *, now: datetime, reason: str, by: str
) -> tuple[Sha256, ...]:
    """Erase what `expired_evidence` finds, and return it. The log says so first; see the module."""
    erased: list[Sha256] = []
    size, over = _settled(log, terms, now=now)
    if not over:
        log.store.erase(())  # what an earlier run erased may still lie in a journal
    while over:
        part = over[:_AT_ONCE]
        log.append(
            EntryKind.ERASURE,
            {"by": _told(log, by), "digests": list(part), "reason": reason},
            subject=log.origin,
            correlation=log.origin,
        )
        seen: int | None = None

        def may(size: int = size, over: Sequence[Sha256] = over) -> bool:
            nonlocal seen
            seen = _unchanged(log, size, over)
            return seen is not None

        if log.store.erase(part, may) and seen is not None:
            erased += part
            over = over[_AT_ONCE:]
            if over:  # the bytes of many documents take long as well
                seen = _unchanged(log, seen, over)
        size, over = (seen, over) if seen is not None else _settled(log, terms, now=now)
    return tuple(erased)


def _settled(
    log: AuditLog, terms: Mapping[EntryKind, timedelta], *, now: datetime
) -> tuple[int, tuple[Sha256, ...]]:
    """What `expired_evidence` finds, and the number of entries from which it follows."""
    while True:  # a long log is read for minutes, in which others write on
        size = log.store.frontier().size
        over = expired_evidence(log, terms, now=now)
        seen = _unchanged(log, size, over)
        if seen is not None:
            return seen, over


def _unchanged(log: AuditLog, size: int, over: Sequence[Sha256]) -> int | None:
    """The number of entries now, or None where one after the first `size` names one of these documents, or sets a hold."""
    if isinstance(log.store, PlacedLater):
        log.store.settle(timeout=_PLACE_SECONDS)  # or a hold that is durable already would be seen too late
    now = log.store.frontier().size
    entries = (parse_entry(row.data) for row in log.store.rows(size, now))
    wanted = frozenset(over)
    changed = any(
        entry.kind is EntryKind.HOLD
        or (entry.kind is not EntryKind.ERASURE and not wanted.isdisjoint(_digests(entry.body)))
        for entry in entries
    )
    return None if changed else now


def _told(log: AuditLog, by: str) -> str:
    return by if log.pseudonyms is None else log.pseudonyms.of(by)


def _digests(value: Json) -> Iterator[str]:
    """Every SHA-256 in a body, wherever it stands."""
    if isinstance(value, str):
        found = _HEX.fullmatch(value)
        if found:
            yield found[1]
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _digests(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _digests(member)
