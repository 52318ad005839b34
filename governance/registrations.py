"""What became of registered models, put on record.

Promises: an entry is durable when this returns. Does not: ask MLflow's registry, or whether anybody might do what was done;
that is the gate's business, whose decision about a promotion the entry names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from governance.audit.bodies import registration_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Receipt
from governance.model.artifact import Artifact
from governance.model.request import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEvent:
    """One thing that was done to a registered model; see `registration_body` for the words of `event` and `more`."""

    event: str
    name: str
    version: str | None
    actor: Actor
    artifact: Artifact | None = None
    more: Mapping[str, str | None] = field(default_factory=dict)


def record_registration(log: AuditLog, event: RegistryEvent, *, correlation: str) -> Receipt:
    """Append the entry, about the artifact where one is known, else about the model's name. Raises
    `AuditUnavailableError`."""
    body = registration_body(
        event=event.event,
        name=event.name,
        version=event.version,
        actor=event.actor,
        artifact=event.artifact,
        more=event.more,
    )
    subject = event.artifact.ref if event.artifact is not None else f"models:/{quote(str(body['name']))}"
    return log.append(EntryKind.REGISTRATION, body, subject=subject, correlation=correlation)
