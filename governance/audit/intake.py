"""The server's end of a log that clients write to over the network.

1. The body is read: bounded, well formed, of kinds that a client may write (`parcel`).
2. Its time is near ours, so that nobody writes into the past or the future.
3. Each entry gets the caller's stamp (`stamp`), whatever it claimed.
4. It brings the document that it rests on: a log that names what it never had would not verify any more, for good.
5. The store makes all of them durable, or none.
6. Only then is it acknowledged, with the leaf hash of each entry as it was recorded, and with the word that no act is
   permitted where too few places have kept the log's head of late. The entries are recorded all the same.

A repeat gives the same bytes and hence the same answer, so a client whose acknowledgement was lost sends again.
Promises: who is not logged in reads nothing but the steps of waivers and when advisories were first seen, and who is reads those
and what is his own. The caller must still say who is calling, and whether a login vouches for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from governance.audit.bodies import rests_on
from governance.audit.entry import Entry, EntryKind, parse_entry
from governance.audit.parcel import ParcelError, unpack
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.quorum import unkept_document
from governance.audit.stamp import is_by, stamp_of
from governance.audit.store import AuditStore, Draft, Query, Row, draft_of
from governance.errors import AuditQuorumError, AuditUnavailableError
from governance.model.canonical import Json
from governance.model.request import Actor, utc_text

MAX_FOUND = 1_000
"""Most entries handed out at once."""
_MAX_FOUND_BYTES = 12 << 20
_MAX_LOOKED_AT = 100_000
BEHIND = timedelta(days=7)
"""How far behind the time of an entry may lie: what waits where no network is."""
_AHEAD = timedelta(minutes=5)


class Intake:
    """Takes entries for `store`. Safe to share between threads."""

    def __init__(
        self,
        store: AuditStore,
        *,
        now: Callable[[], datetime],
        pseudonyms: Pseudonyms | None = None,
        objection: Callable[[], AuditQuorumError | None] = lambda: None,
    ) -> None:
        self._store = store
        self._now = now
        self._pseudonyms = pseudonyms
        self._objection = objection

    def receive(self, body: bytes, caller: Actor) -> dict[str, Json]:
        """Make a body's entries durable under the caller's name. Returns the acknowledgement.

        Raises `ParcelError` for a body that no client of ours sends, and what `AuditStore.append` raises.
        """
        stamp = stamp_of(caller, self._pseudonyms)
        drafts: list[Draft] = []
        for entry, documents in unpack(body):
            self._check_time(entry)
            try:
                stamped, kept = stamp.apply(entry, documents)
            except ValueError as error:
                raise ParcelError(f"facts that cannot be read: {error}") from error
            named = rests_on(stamped.kind, stamped.body)
            if named is not None and all(named != digest for digest, _ in kept):
                raise ParcelError(f"an entry of kind `{stamped.kind}` without the document that it rests on")
            drafts.append(draft_of(stamped, kept))
        indexes = self._store.append(drafts)
        entries: list[Json] = [
            {"id": draft.id, "index": index, "leaf": draft.leaf.hex()}
            for draft, index in zip(drafts, indexes, strict=True)
        ]
        answer: dict[str, Json] = {"entries": entries, "stamp": stamp.to_json()}
        objection = self._objection()
        # Which places these are is for whoever keeps this server.
        return answer if objection is None else answer | {"unkept": unkept_document(objection)}

    def get(self, entry_id: str, caller: Actor) -> Row | None:
        """An entry that the caller may read."""
        row = self._store.get(entry_id)
        return row if row is not None and self._may_read(row, caller) else None

    def find(self, query: Query, caller: Actor) -> Iterator[Row]:
        """The entries that match and that the caller may read. Raises `AuditUnavailableError` where these are more than
        are handed out, or too many had to be looked at: an answer that lacks some would be taken for the whole."""
        count = size = 0
        for looked_at, row in enumerate(self._store.find(query)):
            if looked_at >= _MAX_LOOKED_AT or count > MAX_FOUND or size > _MAX_FOUND_BYTES:
                raise AuditUnavailableError(
                    "more entries match than the server hands out",
                    hint="Ask for one artifact, or for a shorter time.",
                )
            if self._may_read(row, caller):
                count += 1
                size += len(row.data)
                yield row

    def _may_read(self, row: Row, caller: Actor) -> bool:
        if row.kind in {EntryKind.WAIVER, EntryKind.ADVISORY}:
            return True
        return is_by(parse_entry(row.data), stamp_of(caller, self._pseudonyms))

    def _check_time(self, entry: Entry) -> None:
        now = self._now()
        if not now - BEHIND <= entry.at <= now + _AHEAD:
            raise ParcelError(
                f"the entry's time, {utc_text(entry.at)}, is too far from the server's, {utc_text(now)}"
            )
