"""The audit log's end at the tracking server: what clients that talk to Artifactory directly write to.

| route | does |
| --- | --- |
| `POST /gov/audit/entries` | records a parcel of entries under the caller's name, and acknowledges it |
| `GET /gov/audit/entries` | waivers, and the caller's own entries, by `id`, `kind`, `subject`, `correlation`, `since` |
| `GET /gov/audit/head` | size and frontier of the tree |
| `GET /gov/audit/checkpoint` | the signed head, and the proof that it continues the one of `old` entries |
| `GET /gov/audit/nodes` | one hash of the tree, by `level` and `index` |

The login is MLflow's: with basic-auth underneath, no request without it gets here. Without a login every name is a claim,
and recorded as one. Promises: a body is bounded before it is read; an error says in JSON what to do, and nothing about
the server's files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from governance.audit.entry import EntryKind
from governance.audit.intake import Intake
from governance.audit.log import AuditLog
from governance.audit.parcel import MAX_PARCEL, ParcelError
from governance.audit.remote import CHECKPOINT, ENTRIES, HEAD, NODES, RemoteStore, row_document
from governance.audit.store import Query
from governance.errors import AuditBrokenError, AuditConflictError, AuditError, GovernanceError
from governance.model.canonical import Json
from plugin.assembly import assembly_for
from plugin.context import caller
from plugin.routes import serve

logger = logging.getLogger(__name__)

TRAIL_ROUTES = (
    ("/" + ENTRIES, "POST"),
    ("/" + ENTRIES, "GET"),
    ("/" + HEAD, "GET"),
    ("/" + CHECKPOINT, "GET"),
    ("/" + NODES, "GET"),
)
"""Path and method of each route."""
_MAX_LEVEL = 62


class _Refused(Exception):  # noqa: N818 - an answer on its way, not an error of ours
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def add_routes(flask_app: Any) -> None:
    """Put the routes in place."""
    for (path, method), view in zip(TRAIL_ROUTES, (receive, hand_out, head, checkpoint, node), strict=True):
        serve(flask_app, path, f"governance_audit_{view.__name__}", _answered(view), method=method)


def is_oversized(scope: Mapping[str, Any]) -> bool:
    """Whether a request of ours announces more than is taken, or does not say how much. The server's bridge to Flask
    reads a body whole before Flask sees its size."""
    if scope["method"] != "POST" or not str(scope["path"]).endswith("/" + ENTRIES):
        return False
    headers: Mapping[bytes, bytes] = dict(scope.get("headers") or ())
    length = headers.get(b"content-length", b"")
    return not length.isdigit() or int(length[:20]) > MAX_PARCEL


def receive() -> Json:
    """Record a parcel."""
    from flask import request

    length = request.content_length
    if length is None:
        raise _Refused(411, "a parcel says how long it is")
    if length > MAX_PARCEL:
        raise _Refused(413, f"a parcel has at most {MAX_PARCEL} bytes")
    body = request.get_data(cache=False)
    if len(body) != length:
        raise _Refused(400, "the parcel was cut short")
    return _intake().receive(body, caller())


def hand_out() -> Json:
    """Waivers, and the caller's own entries."""
    from flask import request

    wanted = request.args.get
    if any("\0" in value for value in request.args.values()):
        raise _Refused(400, "no entry has a NUL in its id, subject or time")
    entry_id, kind = wanted("id"), wanted("kind")
    if entry_id is not None:
        row = _intake().get(entry_id, caller())
        return {"entries": [] if row is None else [row_document(row)]}
    if kind is not None and kind not in EntryKind.__members__.values():
        raise _Refused(400, "no such kind of entry")
    query = Query(
        kind=None if kind is None else EntryKind(kind),
        subject=wanted("subject"),
        correlation=wanted("correlation"),
        since=wanted("since"),
    )
    return {"entries": [row_document(row) for row in _intake().find(query, caller())]}


def head() -> Json:
    """The tree as it is now."""
    found = _own_log().store.frontier()
    return {"size": found.size, "frontier": found.to_bytes().hex()}


def checkpoint() -> Json:
    """The signed head, for clients that remember the one before."""
    from flask import request

    old = request.args.get("old", 0, int)
    if old < 0:
        raise _Refused(400, "no such size of a tree")
    current, proof = _own_log().head_since(old)
    return {"checkpoint": current.to_bytes().decode(), "proof": [value.hex() for value in proof]}


def node() -> Json:
    """One hash, for proofs."""
    from flask import request

    level, index = request.args.get("level", -1, int), request.args.get("index", -1, int)
    if not (0 <= level <= _MAX_LEVEL and index >= 0 and (index + 1) << level <= 1 << _MAX_LEVEL):
        raise _Refused(400, "no such place in a tree")
    store = _own_log().store
    if (index + 1) << level > store.frontier().size:
        raise _Refused(404, "the tree has not grown that far")
    return {"hash": store.node(level, index).hex()}


def _answered(view: Callable[[], Json]) -> Callable[[], Any]:
    """The answer of a view, its refusals included."""

    def answer() -> Any:
        from flask import Response

        try:
            status, document = 200, view()
        except _Refused as refused:
            status, document = refused.status, {"error": str(refused)}
        except ParcelError as error:
            status, document = 400, {"error": str(error)}
        except AuditConflictError as error:
            status, document = 409, {"error": error.message}
        except GovernanceError as error:
            status, document = _unavailable(error)
        return Response(json.dumps(document), status=status, mimetype="application/json")

    return answer


def _unavailable(error: GovernanceError) -> tuple[int, Json]:
    """Where our own log fails, the client learns that and no more: the rest is for this server's log."""
    logger.error("an audit entry of a client was not recorded: %s", error)
    words = "the server's audit log cannot be written or read"
    if isinstance(error, AuditBrokenError):
        words = "the server's audit log does not prove itself"
    elif not isinstance(error, AuditError):
        words = "the server's settings are wrong"
    return 503, {"error": f"{words}; its own log says why"}


def _intake() -> Intake:
    assembly = assembly_for()
    log = _own_log()
    is_demanded = assembly.settings.audit_quorum_unmet == "refuse"
    objection = assembly.quorum.objection if is_demanded else lambda: None
    return Intake(log.store, now=assembly.now, pseudonyms=log.pseudonyms, objection=objection)


def _own_log() -> AuditLog:
    log = assembly_for().log
    if isinstance(log.store, RemoteStore):
        raise _Refused(503, "this server keeps no audit log of its own, but sends its entries elsewhere")
    log.require_sound()
    return log
