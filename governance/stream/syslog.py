r"""Entries as messages of RFC 5424, framed by RFC 6587 (octet counting) for streams.

Promises: a pure function; a message holds printable ASCII and spaces alone, so that neither a control character, an end
of line nor an odd encoding in a name can end a frame, forge a field or move a terminal; no message is longer than the
limit. JSON says the same with `\uXXXX` in place of a character, so nothing is lost: parsed and written canonically
(RFC 8785), a line is the entry's bytes again. Does not: send anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.audit.merkle import leaf_hash
from governance.model.canonical import Json
from governance.model.request import utc_text
from governance.stream.sink import Message, summary_line

_NOT_ASCII: Final = re.compile(r"[^\x20-\x7e]")
_NOT_NAME: Final = re.compile(r"[^\x21-\x7e]")
_SD_SPECIAL: Final = re.compile(r'(["\\\]])')
_ERROR, _WARNING, _NOTICE, _INFORMATIONAL = 3, 4, 5, 6
_NOTABLE: Final = frozenset({
    EntryKind.POLICY, EntryKind.KEY, EntryKind.WAIVER, EntryKind.RECOVERY, EntryKind.ERASURE, EntryKind.HOLD,
})  # fmt: skip
_MAX_VALUE: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogForm:
    """How messages are written. `host` is this machine's name, `process` its number."""

    host: str
    process: int
    facility: int = 13
    max_message: int = 8_192
    structured_data_id: str = "mlgov@32473"
    origin: str = ""

    def message(self, message: Message) -> bytes:
        """One message, without a frame. An entry that does not fit is told of by id and hash."""
        head = self._head(message.stored)
        text = ascii_json(message.line)
        if len(head) + len(text) > self.max_message:
            text = ascii_json(summary_line(message.stored, len(message.line)))
        return (head + text)[: self.max_message].encode("ascii")

    def _head(self, stored: Stored) -> str:
        entry = stored.entry
        priority = self.facility * 8 + severity(stored)
        fields = (
            f"<{priority}>1", utc_text(entry.at), _name(self.host, 255), "mlgov", str(self.process), _name(entry.kind.value, 32)
        )  # fmt: skip
        values: dict[str, str] = {
            "index": str(stored.index),
            "id": entry.id,
            "leaf": leaf_hash(stored.data).hex(),
            "origin": self.origin,
        }
        data = " ".join(f'{name}="{sd_value(value)}"' for name, value in values.items())
        return f"{' '.join(fields)} [{self.structured_data_id} {data}] "


def framed(message: bytes) -> bytes:
    """With its length before it (RFC 6587, section 3.4.1; RFC 5425, section 4.3)."""
    return b"%d %b" % (len(message), message)


def severity(stored: Stored) -> int:
    """Syslog's number: what was refused is a warning, what failed an error, what changes the rules a notice."""
    body, kind = stored.entry.body, stored.entry.kind
    if kind is EntryKind.DECISION:
        verdict = body.get("verdict")
        return _WARNING if _is_set(verdict, "refused") or _is_set(verdict, "would_block") else _INFORMATIONAL
    if kind is EntryKind.OUTCOME:
        return _ERROR if body.get("status") in {"failed", "incomplete"} else _INFORMATIONAL
    if kind is EntryKind.SIGNATURE:
        return _INFORMATIONAL if body.get("event") in {"made", "verified"} else _WARNING
    return _NOTICE if kind in _NOTABLE else _INFORMATIONAL


def ascii_json(line: bytes) -> str:
    """The same JSON in printable ASCII. Outside of strings JSON has no other characters."""
    text = line.decode("utf-8", "replace")
    return text if text.isascii() and text.isprintable() else _NOT_ASCII.sub(_escaped, text)


def sd_value(value: str) -> str:
    """A parameter's value (RFC 5424, section 6.3.3): three characters are escaped; what is not printable is replaced."""
    return _SD_SPECIAL.sub(r"\\\1", _NOT_ASCII.sub("?", value[:_MAX_VALUE]))


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "replace")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _name(value: str, most: int) -> str:
    return _NOT_NAME.sub("-", value)[:most] or "-"


def _is_set(value: Json, name: str) -> bool:
    return isinstance(value, dict) and value.get(name) is True
