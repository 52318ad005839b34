"""Entries read for a look at what they say: as little is made of each as can be, and no check is left out.

Promises: what is handed out agrees with its leaf hash, is filed under what it says, and is an entry of this version; anything else
is an `AuditBrokenError`, with the words of `governance.audit.log.checked`. Does not: make an `Entry`; `stored` does.
"""

from __future__ import annotations

import functools
import itertools
import secrets
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from governance.audit.entry import KINDS, VERSION, EntryKind
from governance.audit.log import Stored, checked
from governance.audit.merkle import leaf_hash
from governance.audit.store import Row
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.request import parse_utc

_ROOM = 8 << 20
"""Bytes of bodies that are remembered."""
_PATIENCE = 2_048
"""Of so many more bodies than came again, none is looked for any more."""


class Seen(NamedTuple):
    """One entry. Of its writer only the instance is kept; `at` is as it stands."""

    seq: int | None
    id: str
    at: str
    kind: EntryKind
    subject: str
    correlation: str
    body: Mapping[str, Json]
    instance: str
    row: Row
    like: int | None = None
    """The same for entries whose bodies say the same but for the digest of their facts, where `Bodies` knows."""

    def stored(self) -> Stored:
        """The entry with all that is in it."""
        return checked(self.row)


_PARTS = itemgetter("id", "at", "kind", "subject", "correlation", "body", "v", "writer")
_MAKE: Callable[[tuple[Any, ...]], Seen] = functools.partial(
    tuple.__new__, Seen
)  # `Seen`, without its arguments' names


def seen(row: Row, bodies: Bodies | None = None) -> Seen:
    """The entry of a row. Raises `AuditBrokenError`. `bodies` saves work where many entries say nearly the same."""
    seq, row_id, _, row_kind, row_subject, _, leaf, data = row
    try:
        document, like = (orjson.loads(data), None) if bodies is None else bodies.parse(data)
        own_id, at, kind, subject, correlation, body, version, writer = _PARTS(document)
        made = _MAKE(
            (seq, own_id, at, KINDS[kind], subject, correlation, body, writer["instance"], row, like)
        )
        _ = parse_utc(at), writer["boot"], int(writer["n"])  # which an entry must have
        is_known = version == VERSION
    except (KeyError, TypeError, ValueError):
        is_known = False
    if not is_known:
        checked(row)  # the one reader that tells what cannot be read
        raise AuditBrokenError("an entry of a form that this program does not know", index=seq)
    if leaf_hash(data) != leaf or own_id != row_id or kind != row_kind or subject != row_subject:
        raise AuditBrokenError("the entry was changed after it was recorded", index=seq)
    return made


def seen_at(number: int, row: Row | None, bodies: Bodies | None = None) -> Seen:
    """The entry of a row that should be this one. Raises `AuditBrokenError`, also where it is missing."""
    if row is None or row.seq != number:
        raise AuditBrokenError("the entry is missing from the log", index=number)
    return seen(row, bodies)


class Bodies:
    """Bodies of decisions that were parsed before. One model is asked for thousands of times, mostly by the same few actors
    and with the same verdict: then nothing but the digest of the facts, and what stands around the body, is new.

    What comes out is what `orjson.loads` makes of the whole. The body is cut out of the entry, and the digest out of the body;
    in either place a mark is put that nobody outside can know. Where the rest parses, and the mark is found again as the value
    of `body` or `facts`, it was a whole value that was cut out there: so the parts parsed one by one are the whole parsed.
    """

    def __init__(self) -> None:
        self._mark = secrets.token_hex(16)
        self._frame = b'"%b"' % self._mark.encode()
        self._known: dict[bytes, tuple[dict[str, Any], int]] = {}
        self._room = _ROOM
        self._numbers = itertools.count()
        self._worth = _PATIENCE

    def parse(self, data: bytes) -> tuple[Any, int | None]:
        """The document that an entry's bytes hold, and `Seen.like`. Raises `ValueError` as `orjson.loads` does."""
        start, stop = data.find(b',"body":{') + 8, data.rfind(b',"correlation":"')
        place = data.find(b',"facts":"', start, stop) + 10
        digest = data[place : place + 64]
        if start < 8 or place < start + 10 or not digest.isalnum() or self._worth < 0:
            return orjson.loads(data), None
        try:
            document = orjson.loads(data[:start] + self._frame + data[stop:])
            front, back = data[start:place], data[place + 64 : stop]
            body, number = self._known.get(front + back) or self._parsed(front, back)
            if document["body"] == self._mark:
                self._worth += 1
                document["body"] = {**body, "facts": digest.decode()}
                return document, number
        except (KeyError, TypeError, ValueError):
            pass
        return orjson.loads(data), None

    def _parsed(self, front: bytes, back: bytes) -> tuple[dict[str, Any], int]:
        body: dict[str, Any]
        # One value alone, as deep as it lies in the entry: in a list no names can follow it.
        (body,) = orjson.loads(b"[%b%b%b]" % (front, self._mark.encode(), back))
        if body["facts"] != self._mark:
            raise ValueError("the digest was cut out of something else")
        self._worth -= 4
        self._room -= len(front) + len(back)
        if self._room < 0:
            self._known.clear()
            self._room = _ROOM
        known = self._known[front + back] = body, next(self._numbers)
        return known
