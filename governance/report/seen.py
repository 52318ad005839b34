"""Entries read for a look at what they say: as little is made of each as can be, and no check is left out.

Promises: what is handed out agrees with its leaf hash, is filed under what it says, and is an entry of this version; anything else
is an `AuditBrokenError`, with the words of `governance.audit.log.checked`. Does not: make an `Entry`; `stored` does.
"""

from __future__ import annotations

import functools
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

    def stored(self) -> Stored:
        """The entry with all that is in it."""
        return checked(self.row)


_PARTS = itemgetter("id", "at", "kind", "subject", "correlation", "body", "v", "writer")
_MAKE: Callable[[tuple[Any, ...]], Seen] = functools.partial(
    tuple.__new__, Seen
)  # `Seen`, without its arguments' names


def seen(row: Row) -> Seen:
    """The entry of a row. Raises `AuditBrokenError`."""
    seq, row_id, _, row_kind, row_subject, _, leaf, data = row
    try:
        own_id, at, kind, subject, correlation, body, version, writer = _PARTS(orjson.loads(data))
        made = _MAKE((seq, own_id, at, KINDS[kind], subject, correlation, body, writer["instance"], row))
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


def seen_at(number: int, row: Row | None) -> Seen:
    """The entry of a row that should be this one. Raises `AuditBrokenError`, also where it is missing."""
    if row is None or row.seq != number:
        raise AuditBrokenError("the entry is missing from the log", index=number)
    return seen(row)
