"""Entries on their way to a log elsewhere: one request's body, byte for byte.

The first line is canonical JSON, `{"entries": [{"evidence": [[sha256, size], ...], "size": n}, ...], "v": 1}`; then come, in
that order and with nothing between, each entry's bytes followed by its documents. Evidence is of any form, so it
travels as it is.

Promises: `unpack` gives entries that are well formed, in canonical form, of a kind that a client may write, and
documents that are what their digests say; everything is bounded. Does not: believe who the entries say they are from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from governance.audit.entry import MAX_ENTRY, Entry, EntryKind, evidence_digest, parse_entry
from governance.audit.store import Draft
from governance.errors import AuditBrokenError
from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.digest import Sha256

MEDIA_TYPE = "application/vnd.mlgov.audit-entries"
MAX_PARCEL = 40 << 20
"""Largest body in bytes: one document of the largest size that is kept, and the entries around it."""
MAX_ENTRIES = 1_200
MAX_DOCUMENTS = 64

CLIENT_KINDS = frozenset(EntryKind) - {
    EntryKind.CHECKPOINT,
    EntryKind.EXPORT,
    EntryKind.ERASURE,
    EntryKind.HOLD,
    EntryKind.REGISTRATION,
}
"""What a client may write. The others act upon the log itself: whoever could send a `hold` could lift a legal hold. What became
of a registered model is the word of the server that keeps the registry, and of nobody else."""

_VERSION = 1
_MAX_HEADER = 1 << 20
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,300}")

Item = tuple[Entry, tuple[tuple[Sha256, bytes], ...]]


class ParcelError(ValueError):
    """A body that is not a parcel, or holds what no client may write. The message says which entry, and why."""


def pack(drafts: Sequence[Draft]) -> bytes:
    """The body for these drafts. Raises `ParcelError` where it would be larger than any server takes."""
    rows: list[Json] = []
    pieces: list[bytes] = []
    for draft in drafts:
        documents: list[Json] = [[sha256, len(document)] for sha256, document in draft.evidence]
        rows.append({"size": len(draft.data), "evidence": documents})
        pieces += [draft.data, *(document for _, document in draft.evidence)]
    header = canonical_bytes({"v": _VERSION, "entries": rows})
    size = len(header) + 1 + sum(map(len, pieces))
    if size > MAX_PARCEL:
        raise ParcelError(f"{size} bytes of entries and evidence in one piece: at most {MAX_PARCEL} are sent")
    return b"\n".join([header, b"".join(pieces)])


def parcels(drafts: Sequence[Draft], size: int) -> list[list[Draft]]:
    """The drafts cut into neighbours of about `size` bytes each."""
    cut: list[list[Draft]] = []
    room = 0
    for draft in drafts:
        weight = len(draft.data) + sum(len(document) for _, document in draft.evidence)
        if not cut or weight > room or len(cut[-1]) == MAX_ENTRIES:
            cut.append([])
            room = size
        cut[-1].append(draft)
        room -= weight
    return cut


def unpack(body: bytes) -> list[Item]:
    """The entries of a body, with their documents. Raises `ParcelError`."""
    if len(body) > MAX_PARCEL:
        raise ParcelError(f"more than {MAX_PARCEL} bytes")
    header, at = _header(body)
    items: list[Item] = []
    for number, row in enumerate(header):
        try:
            data = _piece(body, at, row["size"], MAX_ENTRY)
            at += len(data)
            entry = checked_entry(data)
            documents = []
            if len(row["evidence"]) > MAX_DOCUMENTS:
                raise ParcelError("more documents than an entry can name")
            for sha256, size in row["evidence"]:
                document = _piece(body, at, size, MAX_PARCEL)
                at += len(document)
                if evidence_digest(document) != sha256:
                    raise ParcelError("a document that is not what its digest says")
                documents.append((Sha256(sha256), document))
        except (KeyError, TypeError, ValueError) as error:
            raise ParcelError(f"entry {number} of the parcel: {error}") from error
        items.append((entry, tuple(documents)))
    if at != len(body):
        raise ParcelError("bytes that belong to no entry")
    return items


def checked_entry(data: bytes) -> Entry:
    """An entry of a client's, whose bytes are exactly those that this program would write. Raises `ParcelError`."""
    try:
        entry = parse_entry(data, strict=True)
        is_same = entry.to_bytes() == data
    except (AuditBrokenError, ValueError, TypeError, AttributeError) as error:
        raise ParcelError(f"not an entry: {error}") from error
    if not is_same:
        raise ParcelError("an entry with members that do not belong to it")
    if entry.kind not in CLIENT_KINDS:
        raise ParcelError(f"an entry of kind `{entry.kind}`, which only the log's keeper may write")
    writer = entry.writer
    if not (_is_text(entry.id, _UUID) and _is_text(writer.boot, _UUID)):
        raise ParcelError("an entry whose id or boot is not a UUID of version 7")
    if not _is_text(writer.instance, _NAME):
        raise ParcelError("an entry whose writer has no proper name")
    if writer.n < 1:
        raise ParcelError("an entry without its writer's number")
    return entry


def _is_text(value: object, form: re.Pattern[str]) -> bool:
    # Whatever the type of `Entry` says, these came from JSON.
    return isinstance(value, str) and form.fullmatch(value) is not None


def _header(body: bytes) -> tuple[list[Any], int]:
    end = body.find(b"\n", 0, _MAX_HEADER)
    if end < 0:
        raise ParcelError("no header line")
    try:
        document: Any = parse_canonical(body[:end])
        rows = document["entries"]
    except (CanonicalError, KeyError, TypeError) as error:
        raise ParcelError(f"not a header: {error}") from error
    if document.get("v") != _VERSION:
        raise ParcelError(f"a parcel of another version than {_VERSION}")
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ENTRIES:
        raise ParcelError(f"a parcel has 1 to {MAX_ENTRIES} entries")
    return rows, end + 1


def _piece(body: bytes, at: int, size: object, most: int) -> bytes:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise ParcelError(f"a size that is not between 0 and {most}")
    if at + size > len(body):
        raise ParcelError("the body ends before it")
    return body[at : at + size]
