"""What the kinds of entries differ in, and the objects that several of them need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.report.fields import Fields
from governance.report.ocsf.ids import OTHER, SHA_256, Action, Class, Disposition, Severity, Status

_USER_TYPES = {"human": 1, "service": 4, "ci": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Class, activity and attributes of one event. `name` is the activity's own word where OCSF has none for it."""

    class_uid: Class
    activity: int
    message: str
    name: str = ""
    severity: Severity = Severity.INFORMATIONAL
    attributes: Mapping[str, Json] = field(default_factory=dict)
    unmapped: Mapping[str, Json] = field(default_factory=dict)


def result(action: Action, disposition: Disposition, status: Status | None = None) -> dict[str, Json]:
    """How it went, for the profile `security_control`."""
    attributes: dict[str, Json] = {"action_id": int(action), "disposition_id": int(disposition)}
    return attributes if status is None else attributes | {"status_id": int(status)}


def actor_of(actor: Fields, stored: Stored) -> dict[str, Json]:
    """Who acted; where an entry names nobody, the program that wrote it."""
    name = actor.text("name")
    if not name:
        return {"app_name": "mlflow-governance", "app_uid": stored.entry.writer.instance}
    user: dict[str, Json] = {"name": name, "type_id": _USER_TYPES.get(actor.word("kind"), 0)}
    groups: list[Json] = [{"name": group} for group in actor.texts("groups") if group]
    if groups:
        user["groups"] = groups
    authentication = actor.text("authentication")
    return {"user": user, "idp": {"name": authentication}} if authentication else {"user": user}


def named(name: str | None) -> Fields:
    """An actor of whom only the name is on record."""
    return Fields({"name": name} if name else {})


def endpoint_of(stored: Stored) -> dict[str, Json]:
    """Where it came from: the writer, which is a host, or `user/host` where it came over a tracking server."""
    return {"name": stored.entry.writer.instance, "instance_uid": stored.entry.writer.boot}


def fingerprint(digest: str) -> dict[str, Json] | None:
    """A digest of ours. A folder's is no hash of bytes, and OCSF has no number for it."""
    algorithm, colon, value = digest.partition(":")
    if not colon or not value:
        return None
    if algorithm == "sha256":
        return {"algorithm_id": SHA_256, "algorithm": "SHA-256", "value": value}
    return {
        "algorithm_id": OTHER,
        "algorithm": "dirHash1" if algorithm == "dirhash1" else algorithm,
        "value": value,
    }


def policy_of(policy: Fields, *, is_applied: bool | None = None) -> dict[str, Json]:
    """The policy in force, by its digest."""
    names = ", ".join(policy.texts("names"))
    found: dict[str, Json] = {"uid": policy.word("digest"), "name": names or "none"}
    revision = policy.number("revision")
    if revision is not None:
        found["version"] = str(revision)
    return found if is_applied is None else found | {"is_applied": is_applied}
