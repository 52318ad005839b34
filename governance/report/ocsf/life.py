"""The audit log's own life: starts, checkpoints, exports, recoveries, erasures, holds, and what is not known here."""

from __future__ import annotations

from typing import Final

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.report.fields import Fields
from governance.report.ocsf.ids import OTHER, Action, Class, Disposition, Severity, Status
from governance.report.ocsf.part import Part, actor_of, endpoint_of, named, result

_APPLICATION_LOG = 2
_MOST_NAMED: Final = 20
_ACTIVITIES: Final = {EntryKind.START: 6, EntryKind.EXPORT: 3, EntryKind.ERASURE: 2}
_SEVERITIES: Final = {EntryKind.RECOVERY: Severity.LOW, EntryKind.ERASURE: Severity.MEDIUM}


def life(stored: Stored, body: Fields) -> Part:
    """Any entry that is about the log itself."""
    entry = stored.entry
    attributes: dict[str, Json] = {
        **result(Action.ALLOWED, Disposition.LOGGED, Status.SUCCESS),
        "actor": actor_of(named(body.text("by")), stored),
        "src_endpoint": endpoint_of(stored),
        "log_type_id": _APPLICATION_LOG,
    }
    reason = body.text("reason")
    if reason:
        attributes["status_detail"] = reason
    size = body.number("size")
    return Part(
        class_uid=Class.EVENT_LOG,
        activity=_ACTIVITIES.get(entry.kind, OTHER),
        name=_name(entry.kind, body),
        severity=_SEVERITIES.get(entry.kind, Severity.INFORMATIONAL),
        message=f"audit log: {_name(entry.kind, body)}{_about(stored, body)}"
        + ("" if size is None else f" at {size} entries"),
        attributes=attributes,
        unmapped={"size": size, "root": body.text("root")},
    )


def _name(kind: EntryKind, body: Fields) -> str:
    if kind is EntryKind.HOLD:
        return "hold set" if body.is_set("held") else "hold lifted"
    return kind.value


def _about(stored: Stored, body: Fields) -> str:
    """What it is about, where that is not the whole log: the artifact that is kept, or what was heard of for the first time."""
    if stored.entry.kind is EntryKind.HOLD:
        return f" on {stored.entry.subject}"
    named = body.texts("advisories")
    more = len(named) - _MOST_NAMED
    return "".join(
        [f" {', '.join(named[:_MOST_NAMED])}" if named else "", f" and {more} more" if more > 0 else ""]
    )
