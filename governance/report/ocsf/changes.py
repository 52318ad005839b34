"""Policies, keys and waivers: what changes how artifacts are judged. All are entities that somebody manages."""

from __future__ import annotations

from typing import Final

from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.report.fields import Fields
from governance.report.ocsf.ids import OTHER, Action, Class, Disposition, Severity, Status
from governance.report.ocsf.part import Part, actor_of, endpoint_of, named, policy_of, result

_POLICY = 5
_CREATE, _READ, _UPDATE, _ENABLE, _DISABLE, _ACTIVATE, _DEACTIVATE = 1, 2, 3, 8, 9, 10, 11
_KEYS: Final = {"made": _CREATE, "trusted": _ENABLE, "revoked": _DISABLE, "superseded": _DISABLE}
_WAIVERS: Final = {
    "requested": _CREATE,
    "granted": _ACTIVATE,
    "approved": _ACTIVATE,
    "revoked": _DEACTIVATE,
    "reviewed": _READ,
}
_GLASS: Final = "break-glass"


def policy(stored: Stored, body: Fields) -> Part:
    """The policy in force changed."""
    found = policy_of(body)
    return Part(
        class_uid=Class.ENTITY,
        activity=_UPDATE,
        message=f"policy in force: {found['name']}",
        attributes={
            **_done(stored, body),
            "entity": {"type_id": _POLICY, "name": found["name"], "uid": found["uid"], "policy": found},
        },
    )


def key(stored: Stored, body: Fields) -> Part:
    """A key was made, trusted or revoked."""
    event, key_id = body.word("event"), body.word("key_id")
    entity: dict[str, Json] = {
        "type_id": OTHER,
        "type": "Signing key",
        "uid": key_id,
        "name": body.text("name") or key_id,
    }
    return Part(
        class_uid=Class.ENTITY,
        activity=_KEYS.get(event, OTHER),
        name=event,
        severity=Severity.MEDIUM if event == "revoked" else Severity.INFORMATIONAL,
        message=f"key {key_id[:16]} {event}",
        attributes={**_done(stored, body), "entity": entity},
        unmapped={"event": event, "reason": body.text("reason")},
    )


def waiver(stored: Stored, body: Fields) -> Part:
    """A step of a waiver, or a use of break-glass."""
    event, name = body.word("event"), body.word("waiver")
    attributes: dict[str, Json] = {
        **_done(stored, body),
        "entity": {"type_id": OTHER, "type": "Waiver", "uid": name, "name": name},
    }
    activity = _WAIVERS.get(event, OTHER)
    if activity == _ACTIVATE or (event == _GLASS and body.is_set("opened")):
        attributes |= result(Action.ALLOWED, Disposition.APPROVED)
    reason = body.text("reason")
    if reason:
        attributes["comment"] = reason
    return Part(
        class_uid=Class.ENTITY,
        activity=activity,
        name=event,
        severity=Severity.HIGH if event == _GLASS else Severity.INFORMATIONAL,
        message=f"waiver {name} {event}: {stored.entry.subject}",
        attributes=attributes,
        unmapped={
            "event": event,
            **{each: body.text(each) for each in ("rule", "digest", "expires", "ticket", "envelope")},
        },
    )


def _done(stored: Stored, body: Fields) -> dict[str, Json]:
    actor = body.sub("actor")
    who = actor if actor.text("name") else named(body.text("by"))
    return {
        **result(Action.ALLOWED, Disposition.LOGGED, Status.SUCCESS),
        "actor": actor_of(who, stored),
        "src_endpoint": endpoint_of(stored),
    }
