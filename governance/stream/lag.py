"""How far destinations are behind, from their cursors. Reads only, and never disturbs a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.errors import AuditError, GovernanceError, SettingsError
from governance.stream.cursor import Cursor, CursorFile
from governance.stream.source import LogSource

_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """`entries` wait to be delivered, the oldest for `seconds`. `problem` is why the stream cannot go on as it is, and
    `trouble` what its last tries met. `is_started` is False where there is no cursor yet."""

    name: str
    shown: str
    entries: int = 0
    seconds: float = 0.0
    trouble: str | None = None
    problem: GovernanceError | None = None
    is_started: bool = True


def lags(
    source: LogSource, folder: Path, declared: Iterable[tuple[str, str]], *, now: datetime
) -> Iterator[Lag]:
    """One for each declared destination (name, what may be shown of its address), then one for each other cursor."""
    known = dict(declared)
    found = sorted(path.stem for path in folder.glob("*.json"))[:_MOST] if folder.is_dir() else []
    for name in [*known, *(each for each in found if each not in known)]:
        yield _lag(source, CursorFile(folder, name), known.get(name, ""), now)


def _lag(source: LogSource, file: CursorFile, shown: str, now: datetime) -> Lag:
    name = file.path.stem
    try:
        cursor = file.load()
        if cursor is None:
            return Lag(name=name, shown=shown, entries=source.size(), is_started=False)
        return _measured(source, cursor, now)
    except (SettingsError, AuditError) as error:
        return Lag(name=name, shown=shown, problem=error)


def _measured(source: LogSource, cursor: Cursor, now: datetime) -> Lag:
    source.resume(cursor)
    waiting = source.size() - cursor.index
    oldest = source.oldest_waiting(cursor.index)
    seconds = 0.0 if oldest is None else max(0.0, (now - oldest.entry.at).total_seconds())
    trouble = cursor.trouble
    what = None if trouble is None else f"{trouble.what}; {trouble.tries} tries since {trouble.since}"
    return Lag(name=cursor.name, shown=cursor.shown, entries=waiting, seconds=seconds, trouble=what)
