"""What a channel was told already, and how much lately, on disk.

Promises: the same news is not told twice while it is quiet, also after a crash between telling and remembering the log's
place; at most so many notices an hour; what was held back is counted and told of in one notice, never dropped without a
word. Bounded: the oldest keys go first. A damaged memory is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from governance.errors import SettingsError, TransferError
from governance.model.request import parse_utc, utc_text
from governance.notify.notice import Notice
from governance.places import make_private, write_whole

_VERSION: Final = 1
_MOST_KEYS: Final = 20_000
_MOST_TITLES: Final = 20
_MAX_SIZE: Final = 8 << 20
_HOUR: Final = timedelta(hours=1)


@dataclass(slots=True)
class Memory:
    """`told` is until when each key is quiet (empty: for ever), `sent` when notices went out, `held` what did not."""

    path: Path
    per_hour: int
    told: dict[str, str] = field(default_factory=dict)
    sent: list[datetime] = field(default_factory=list)
    held: int = 0
    titles: list[str] = field(default_factory=list)

    def is_news(self, notice: Notice, now: datetime) -> bool:
        """Whether it was not told, or long enough ago."""
        until = self.told.get(notice.key)
        return until is None or (until != "" and until <= utc_text(now))

    def has_room(self, now: datetime) -> bool:
        """Whether one more notice may go out in this hour. What a clock that went wrong sent in a year to come does not count."""
        self.sent = [at for at in self.sent if abs(now - at) < _HOUR]
        return len(self.sent) < self.per_hour

    def remember(self, notice: Notice, now: datetime) -> None:
        """It was told, or counted among those held back."""
        quiet = "" if notice.quiet is None else utc_text(now + timedelta(seconds=notice.quiet))
        self.told.pop(notice.key, None)
        self.told[notice.key] = quiet
        while len(self.told) > _MOST_KEYS:
            del self.told[next(iter(self.told))]

    def hold_back(self, notice: Notice) -> None:
        """Count it."""
        self.held += 1
        if len(self.titles) < _MOST_TITLES:
            self.titles.append(notice.title)

    def save(self) -> None:
        """Durable on return. Raises `TransferError`."""
        document = {
            "v": _VERSION, "told": self.told, "sent": [utc_text(at) for at in self.sent], "held": self.held,
            "titles": self.titles,
        }  # fmt: skip
        try:
            make_private(self.path.parent)
            write_whole(self.path, orjson.dumps(document))
        except OSError as error:
            raise TransferError(f"`{self.path}` cannot be written: {error.strerror}") from error


def load_memory(path: Path, *, per_hour: int) -> Memory:
    """The memory kept at `path`, or an empty one. Raises `SettingsError` for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return _parsed(orjson.loads(file.read(_MAX_SIZE)), path, per_hour)
    except FileNotFoundError:
        return Memory(path=path, per_hour=per_hour)
    except OSError as error:
        raise SettingsError(f"`{path}` cannot be read: {error.strerror}", hint="Fix its rights.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"`{path}`, which says what was told already, is damaged",
            hint="Delete it: at worst some notices are sent once more.",
        ) from error


def _parsed(document: Any, path: Path, per_hour: int) -> Memory:
    if document["v"] != _VERSION:
        raise ValueError("another version")
    return Memory(
        path=path,
        per_hour=per_hour,
        told={str(key): str(until) for key, until in document["told"].items()},
        sent=[parse_utc(at) for at in document["sent"]],
        held=int(document["held"]),
        titles=[str(title) for title in document["titles"]],
    )
