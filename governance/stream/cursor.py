"""How far a destination has come, on disk.

Promises: a cursor is either the old or the new one, also where power is lost while it is written; two processes never
stream to one destination at a time; a damaged cursor is an error and is not taken for none. Does not: compare it with
the log (`governance.stream.source`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from governance.errors import SettingsError, TransferError
from governance.places import make_private, open_made, write_whole

_VERSION = 1
_MAX_SIZE = 64 << 10
_MAX_TEXT = 300
_TEXTS = ("name", "to", "shown", "origin", "root", "saved_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What keeps the next entries from being delivered, and since when."""

    since: str
    what: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """`index` is the next entry to deliver; `root` the tree's root over those before it, which binds the cursor to this
    log. `to` is the digest of the destination's address, `shown` what may be printed of it."""

    name: str
    to: str
    shown: str
    origin: str
    index: int
    root: str
    saved_at: str
    trouble: Trouble | None = None

    def to_bytes(self) -> bytes:
        """As it is kept."""
        trouble = self.trouble
        return orjson.dumps(
            {
                "v": _VERSION, "name": self.name, "to": self.to, "shown": self.shown, "origin": self.origin,
                "index": self.index, "root": self.root, "saved_at": self.saved_at,
                "trouble": None if trouble is None
                else {"since": trouble.since, "what": trouble.what, "tries": trouble.tries},
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )  # fmt: skip

    def in_trouble(self, what: str, at: str) -> Cursor:
        """The same place, with one more try that failed."""
        known = self.trouble
        since, tries = (at, 1) if known is None else (known.since, known.tries + 1)
        return replace(self, saved_at=at, trouble=Trouble(since=since, what=what[:_MAX_TEXT], tries=tries))


def parse_cursor(data: bytes) -> Cursor:
    """Read what `Cursor.to_bytes` wrote. Raises `ValueError`."""
    found = orjson.loads(data)
    if not isinstance(found, dict) or found.get("v") != _VERSION:
        raise ValueError("not a cursor of this version")
    index = found.get("index")
    texts = {name: found[name] for name in _TEXTS if isinstance(found.get(name), str)}
    if len(texts) < len(_TEXTS) or type(index) is not int or index < 0:
        raise ValueError("a cursor lacks what it must say")
    bytes.fromhex(texts["root"])
    return Cursor(index=index, trouble=_trouble(found.get("trouble")), **texts)


def _trouble(found: Any) -> Trouble | None:
    if not isinstance(found, dict):
        return None
    return Trouble(
        since=str(found.get("since")), what=str(found.get("what")), tries=int(found.get("tries", 0))
    )


class CursorFile:
    """The cursor `name` in `folder`, which is made when it is not there."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from streaming to the same destination. Raises `SettingsError` where one does."""
        with _local(self.path):
            make_private(self.path.parent)
            descriptor = open_made(self.path.with_suffix(".lock"))
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SettingsError(
                    f"another process is streaming to `{self.path.stem}`",
                    hint="One is enough: entries are delivered in order. `mlgov doctor` shows how far it is.",
                ) from error
            yield
        finally:
            os.close(descriptor)

    def load(self) -> Cursor | None:
        """The cursor, or None where there is none. Raises `SettingsError` for one that cannot be read."""
        try:
            with self.path.open("rb") as file:
                return parse_cursor(file.read(_MAX_SIZE))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(
                f"the cursor `{self.path}` cannot be read: {error.strerror}", hint="Fix its rights."
            ) from error
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"the cursor `{self.path}` is damaged: {error}",
                hint="It is written at one go, so something else changed it. Delete it to begin anew where `--from` "
                "says: `start` delivers everything once more.",
            ) from error

    def save(self, cursor: Cursor) -> None:
        """Durable on return. Raises `TransferError`."""
        with _local(self.path):
            make_private(self.path.parent)
            write_whole(self.path, cursor.to_bytes())


@contextlib.contextmanager
def _local(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransferError(
            f"the cursor `{path}` cannot be written: {error.strerror}",
            hint="Fix the folder's rights or the disk; nothing is marked as delivered until then.",
        ) from error
