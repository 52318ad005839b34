"""The text form of a selection, taken apart and put together: words, values, quotes, and times.

Promises: `split` and `join` are each other's inverse on words and values of any text; what cannot be read is refused with its
position and, where something is near, what was probably meant. Does not: know which words there are.

    text = item *( blanks item )        item = word ":" value *( "," value )
    value = 1*( any character but blanks, `"` and `,` ) | a JSON string in `"`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from governance.errors import ConfigurationError
from governance.policy.mistakes import nearest

MOST_CHARACTERS = 16_384
_WORD = re.compile(r"([A-Za-z_-]+):")
_BARE = re.compile(r"[^\s\",]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._/@:+=*~-]+")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_SUCH_TIMES = (
    "Such as `2026-03-01`, `2026-03-01T12:00Z` or `2026-03-01T12:00:30+01:00`; without a zone it is UTC."
)


class SelectionError(ConfigurationError):
    """A selection that cannot be read. `position` is the column of the mistake, from 1, where it came from a text."""

    def __init__(self, message: str, *, hint: str | None = None, position: int | None = None) -> None:
        where = "" if position is None else f" (at position {position})"
        super().__init__(f"{message}{where}", hint=hint)
        self.position = position


@dataclass(frozen=True, slots=True)
class Part:
    """One word with one value, and the column where each begins."""

    word: str
    value: str
    word_at: int
    value_at: int


def split(text: str) -> tuple[Part, ...]:
    """The words and values of a text, in order. Raises `SelectionError`."""
    if len(text) > MOST_CHARACTERS:
        raise SelectionError(f"a selection of {len(text)} characters; at most {MOST_CHARACTERS} are read")
    parts: list[Part] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _WORD.match(text, place)
        if found is None:
            raise SelectionError(
                f"expected `word:value`, got `{_shown(text, place)}`",
                hint="Such as `kind:decision decision:block environment:production`; a value with blanks stands in quotes.",
                position=place + 1,
            )
        word, word_at, place = found[1], place + 1, found.end()
        while True:
            value, after = _value(text, place, word)
            parts.append(Part(word, value, word_at, place + 1))
            place = after
            if text[place : place + 1] != ",":
                break
            place += 1
        if place < len(text) and not text[place].isspace():
            raise SelectionError(
                f"expected a blank after the value of `{word}`, got `{_shown(text, place)}`",
                position=place + 1,
            )
    return tuple(parts)


def _value(text: str, place: int, word: str) -> tuple[str, int]:
    if text[place : place + 1] == '"':
        found = _QUOTED.match(text, place)
        if found is None:
            raise SelectionError(f"the quoted value of `{word}` has no end", position=place + 1)
        try:
            value = json.loads(found[0], strict=False)
        except ValueError:
            raise SelectionError(
                f"the quoted value of `{word}` is not a JSON string",
                hint=r'Inside quotes, `"` is written `\"` and `\` is written `\\`.',
                position=place + 1,
            ) from None
        return str(value), found.end()
    found = _BARE.match(text, place)
    if found is None:
        raise SelectionError(
            f"`{word}:` lacks its value", hint='An empty value is written `""`.', position=place + 1
        )
    return found[0], found.end()


def join(rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The text of words with their values."""
    return " ".join(f"{word}:{','.join(map(quoted, values))}" for word, values in rows)


def quoted(value: str) -> str:
    """A value as it is written: bare where it is made of harmless characters, else as a JSON string that prints."""
    if _PLAIN.fullmatch(value):
        return value
    written = json.dumps(value, ensure_ascii=False)
    return "".join(
        char if (char.isprintable() and not char.isspace()) or char == " " else json.dumps(char)[1:-1]
        for char in written
    )


def no_such(what: str, got: str, among: Iterable[str], *, position: int | None = None) -> SelectionError:
    """The refusal of a word that is none of `among`, which are each `what`, such as "a mode"."""
    known = list(among)
    close = nearest(got, known)
    meant = f", did you mean `{close}`?" if close is not None else ""
    return SelectionError(
        f"`{got[:80]}` is not {what}{meant}", hint=f"There are: {', '.join(known)}.", position=position
    )


def parse_moment(text: str) -> datetime:
    """A time in UTC from RFC 3339, or from a shorter form of it: a date is its first moment, and without a zone it is UTC.

    Raises `SelectionError`; a leap second too, since entries are stamped by clocks that do not have it.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise SelectionError(
            f"`{text[:80]}` is not a time",
            hint=_SUCH_TIMES,
        )
    date, hour, minute, second, fraction, zone = found.groups()
    if second == "60":
        raise SelectionError(
            f"`{text[:80]}` is a leap second, and no entry can bear that time",
            hint="The writers' clocks repeat or stretch second 59 instead: ask for `:59`, or for the minute after it.",
        )
    try:
        day = datetime.fromisoformat(date)
        at = day.replace(
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            microsecond=int((fraction or "0")[:6].ljust(6, "0")),
            tzinfo=_zone(zone),
        )
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SelectionError(f"`{text[:80]}` is not a time: {error}", hint=_SUCH_TIMES) from None


def moment_text(at: datetime) -> str:
    """A time as `parse_moment` reads it, as short as it can be without losing anything."""
    text = at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return text.removesuffix(".000000") + "Z"


def _zone(text: str | None) -> timezone:
    if text is None or text in {"Z", "z"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"there is no zone `{text}`")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _shown(text: str, place: int) -> str:
    return text[place : place + 24].split(maxsplit=1)[0] if text[place:].strip() else ""
