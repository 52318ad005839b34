"""What became of registered model versions: calls of MLflow's registry, as API Activity."""

from __future__ import annotations

from typing import Final

from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.report.fields import Fields
from governance.report.ocsf.ids import OTHER, Action, Class, Disposition, Status
from governance.report.ocsf.part import Part, actor_of, endpoint_of, result
from governance.report.registered import registration_words

_CREATE, _UPDATE, _DELETE = 1, 3, 4
_ACTIVITIES: Final = {
    "created": _CREATE,
    "deleted": _DELETE,
    "removed": _DELETE,
    "alias-set": _UPDATE,
    "alias-removed": _UPDATE,
    "stage-set": _UPDATE,
    "renamed": _UPDATE,
}


def registration(stored: Stored, body: Fields) -> Part:
    """A model version, alias or stage was made, set or removed."""
    event, name, version = body.word("event"), body.word("name"), body.text("version")
    artifact = body.sub("artifact")
    resource: dict[str, Json] = {
        "name": f"{name}/{version}" if version else name,
        "type": "registered model",
        "uid": artifact.text("digest") or stored.entry.subject,
    }
    return Part(
        class_uid=Class.API,
        activity=_ACTIVITIES.get(event, OTHER),
        name=event,
        message=f"registry: {registration_words(body)}",
        attributes={
            **result(Action.ALLOWED, Disposition.LOGGED, Status.SUCCESS),
            "actor": actor_of(body.sub("actor"), stored),
            "src_endpoint": endpoint_of(stored),
            "api": {"operation": event},
            "resources": [resource],
        },
        unmapped={
            "event": event,
            "digest": artifact.text("digest"),
            **{
                each: body.text(each)
                for each in ("alias", "stage", "source", "run_id", "model_id", "decision", "before")
            },
        },
    )
