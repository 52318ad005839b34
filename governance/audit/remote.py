"""The store of a client that has none: entries go to the log of a tracking server, over HTTPS.

For laptops and CI jobs that reach Artifactory directly: they send what they record to the `governance` app of the
team's tracking server with the MLflow credentials they have anyway, so that there is one trail, and no database
password is handed out. The server puts the authenticated caller into each entry (`stamp`).

Promises, the same as of every store: `append` returns only once the server has made the entries durable, and said so
with the hash of exactly what we sent under its stamp; any other end is `AuditUnavailableError`, after which it is
unknown whether they are there. A repeat is known by its id. It waits at most `timeout` seconds, apart from whatever
the caller waits for. Does not: read other people's entries, nor anything that needs the whole log; this is done
where the log lies. Entries that do not fit one request are sent in several, so that one refused for a conflict may
follow others that were written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from governance.audit.entry import parse_entry
from governance.audit.group import GroupCommit
from governance.audit.merkle import Frontier, leaf_hash
from governance.audit.parcel import MEDIA_TYPE, ParcelError, pack, parcels
from governance.audit.quorum import unkept_words
from governance.audit.stamp import Stamp, parse_stamp
from governance.audit.store import Draft, EvidenceInfo, Query, Row, always, draft_of
from governance.errors import (
    AuditBrokenError,
    AuditConflictError,
    AuditUnavailableError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    RemoteError,
    SettingsError,
    TlsError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from governance.forking import call_after_fork
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.request import utc_text
from governance.transport import Transport
from governance.transport.connection import is_loopback

ENTRIES = "gov/audit/entries"
HEAD = "gov/audit/head"
NODES = "gov/audit/nodes"
CHECKPOINT = "gov/audit/checkpoint"

_PARCEL = 8 << 20
_MAX_ANSWER = 16 << 20
_LOGIN = (
    "MLFLOW_TRACKING_USERNAME with MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, is missing or wrong. It is not "
    "tried again, since repeated failures lock a user out."
)
_APP = "Is the server started with `--app-name governance`, in a version that keeps a log for clients?"
_SIZE = "Raise the size limit of the proxy before the tracking server: 40 MiB are enough."
_REFUSED = (
    "Usually this machine's clock is wrong: set it right, and restart this program, since what was refused goes in front of all "
    "that follows it."
)
_DOWN = "Nothing is let through until the tracking server takes entries again; its log says what is wrong."

_HINTS: tuple[tuple[type[RemoteError], str], ...] = (
    (UnauthenticatedError, _LOGIN),
    (ForbiddenError, "The user is known to the tracking server and may not write to the audit log there."),
    (NotFoundError, _APP),
    (TlsError, "Give the authority that signed the server's certificate: MLGOV_CA_BUNDLE."),
    (UnreachableError, _DOWN),
    (UnavailableError, _DOWN),
    (ProtocolError, _APP),
)

_BY_STATUS = {400: _REFUSED, 413: _SIZE}


class RemoteStore:
    """An `AuditStore` at a tracking server. `connect` makes the session to it, once per process.

    Raises `SettingsError` for plain http to another machine: anyone on the way could read the password, and say that an
    entry was written which was not. `bound` drafts wait at most, and each for `timeout` seconds, before an append is refused.
    """

    def __init__(
        self, connect: Callable[[], Transport], *, bound: int = 4_096, timeout: float = 30.0
    ) -> None:
        self._connect = connect
        self._is_closed = False
        self._objection: str | None = None
        self._stamp: Stamp | None = None
        self._begin()
        self._group = GroupCommit(self._commit, bound=bound, timeout=timeout, name="audit-remote")
        call_after_fork(self._begin)

    def _begin(self) -> None:
        """A session of its own for every process: two that share a socket read each other's answers."""
        self._transport = self._connect()
        url = urlsplit(self._transport.base_url)
        if url.scheme.lower() != "https" and not is_loopback(url.hostname or ""):
            raise SettingsError(
                f"the audit log at `{self._transport.base_url}` would be written over plain http",
                hint="Use the https address of the tracking server.",
            )

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        """See `AuditStore.append`. What several threads hand in goes in one request."""
        return self._group.submit(drafts)

    def find(self, query: Query) -> Iterator[Row]:
        """See `AuditStore.find`: waivers, and the caller's own entries."""
        wanted: dict[str, str | None] = {
            "kind": query.kind, "subject": query.subject, "correlation": query.correlation, "since": query.since,
        }  # fmt: skip
        params: Mapping[str, str | None] = {
            name: value for name, value in wanted.items() if value is not None
        }
        found = self._ask("GET", ENTRIES, params=params)
        try:
            rows = [_row(row) for row in found["entries"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AuditBrokenError(f"the audit server's answer is not one: {type(error).__name__}") from error
        return iter(rows)

    def get(self, entry_id: str) -> Row | None:
        """See `AuditStore.get`: a waiver's, or one of the caller's own."""
        found = self._ask("GET", ENTRIES, params={"id": entry_id})
        rows = [_row(row) for row in found.get("entries", ())]
        return rows[0] if rows else None

    def frontier(self) -> Frontier:
        """See `AuditStore.frontier`."""
        found = self._ask("GET", HEAD)
        try:
            return Frontier.from_bytes(found["size"], bytes.fromhex(found["frontier"]))
        except (KeyError, TypeError, ValueError) as error:
            raise AuditBrokenError("the audit server's head is not one") from error

    def node(self, level: int, index: int) -> bytes:
        """See `AuditStore.node`."""
        found = self._ask("GET", NODES, params={"level": str(level), "index": str(index)})
        try:
            return bytes.fromhex(found["hash"])
        except (KeyError, TypeError, ValueError) as error:
            raise AuditBrokenError("the audit server's hash is not one") from error

    def head_since(self, size: int) -> tuple[bytes, list[bytes]]:
        """See `KeptElsewhere.head_since`: both in one answer, so that it is about one state of the log."""
        found = self._ask("GET", CHECKPOINT, params={"old": str(size)})
        try:
            return str(found["checkpoint"]).encode(), [bytes.fromhex(value) for value in found["proof"]]
        except (KeyError, TypeError, ValueError) as error:
            raise AuditBrokenError("the audit server's head is not one") from error

    def objection(self) -> str | None:
        """See `KeptElsewhere.objection`."""
        return self._objection

    def stamp(self) -> Stamp | None:
        """See `KeptElsewhere.stamp`."""
        return self._stamp

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """Not here: raises `AuditUnavailableError`."""
        del start, stop
        _elsewhere()

    def evidence(self, sha256: Sha256) -> bytes | None:
        """Not here: raises `AuditUnavailableError`."""
        del sha256
        _elsewhere()

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        """Not here: raises `AuditUnavailableError`."""
        _elsewhere()

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        """Not here: raises `AuditUnavailableError`."""
        del digests, may
        _elsewhere()

    def close(self) -> None:
        """See `AuditStore.close`."""
        self._group.close()
        self._is_closed = True
        self._transport.close()

    def _commit(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        indexes: list[int | None] = []
        for some in parcels(drafts, _PARCEL):
            indexes += self._send(some)
        return indexes

    def _send(self, drafts: Sequence[Draft]) -> list[int | None]:
        try:
            body = pack(drafts)
        except ParcelError as error:
            raise AuditUnavailableError(f"the audit entry cannot be sent: {error}") from error
        answer = self._ask("POST", ENTRIES, body=body)
        try:
            stamp = parse_stamp(answer["stamp"])
            indexes = _acknowledged(drafts, answer["entries"], stamp)
        except (KeyError, TypeError, ValueError, AttributeError, AuditBrokenError) as error:
            raise AuditUnavailableError(
                "the audit server's acknowledgement is not about what was sent", hint=_APP
            ) from error
        self._stamp = stamp
        self._objection = unkept_words(answer["unkept"]) if "unkept" in answer else None
        return indexes

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | None] | None = None,
        body: bytes | None = None,
    ) -> Any:
        if self._is_closed:
            raise AuditUnavailableError("the audit log is closed")
        headers = {"Content-Type": MEDIA_TYPE} if body is not None else None
        failed = "the audit entry was not acknowledged" if body is not None else "the audit log was not read"
        with _translated(failed):
            return self._transport.call(
                method, path, params=params, body=body, headers=headers, idempotent=True, limit=_MAX_ANSWER
            ).json()


def row_document(row: Row) -> dict[str, Json]:
    """An entry as the server hands it out. All else about it is in its bytes."""
    return {"index": row.seq, "data": row.data.decode()}


def _row(document: Any) -> Row:
    data = document["data"].encode()
    entry = parse_entry(data, strict=True)
    at, kind = utc_text(entry.at), entry.kind.value
    return Row(document["index"], entry.id, at, kind, entry.subject, entry.correlation, leaf_hash(data), data)


def _acknowledged(drafts: Sequence[Draft], rows: Any, stamp: Stamp) -> list[int | None]:
    """The index of each entry. The answer must be about these entries, as they are under the server's stamp: so neither
    a proxy's page nor a server that recorded something else counts as an acknowledgement."""
    indexes: list[int | None] = []
    for draft, row in zip(drafts, rows, strict=True):
        stamped = draft_of(*stamp.apply(parse_entry(draft.data), draft.evidence))
        index = row["index"]
        if (row["id"], row["leaf"]) != (draft.id, stamped.leaf.hex()):
            raise AuditBrokenError("the server acknowledges another entry")
        if index is not None and not isinstance(index, int):
            raise AuditBrokenError("the server names a place that is not a number")
        indexes.append(index)
    return indexes


@contextlib.contextmanager
def _translated(failed: str) -> Iterator[None]:
    """Every failure of the way there is one of the log. What it was stays its cause."""
    try:
        yield
    except ConflictError as error:
        raise AuditConflictError("an entry id is already used for another entry") from error
    except RemoteError as error:
        hint = next((words for kind, words in _HINTS if isinstance(error, kind)), None)
        hint = _BY_STATUS.get(error.status or 0) or hint or error.hint or _DOWN
        raise AuditUnavailableError(f"{failed}: {error.message}", hint=hint) from error


def _elsewhere() -> NoReturn:
    raise AuditUnavailableError(
        "this audit log is kept by a tracking server, and is read as a whole only there",
        hint="Run this command on the server, with its settings.",
    )
