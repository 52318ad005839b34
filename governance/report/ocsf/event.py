"""From one entry of the log to one OCSF event.

Promises: a pure function, total over every kind of entry, also of bodies that an older or newer program wrote; the
event holds the entry's bytes as `raw_data` with their SHA-256, so that whoever receives it can recompute the leaf of
our tree (`SHA-256(0x00 || raw_data)`) and ask for a proof. Does not: leave anything out, or say more than the entry
does. OCSF has no class for loading, promoting or signing a model: a load is a download, a promotion a copy, a signature
or registering one a call of an API, and `unmapped.kind` and `unmapped.action` keep our own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from governance import __version__
from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.audit.merkle import leaf_hash
from governance.model.canonical import Json, canonical_bytes
from governance.model.request import utc_text
from governance.report.fields import Fields
from governance.report.ocsf.acts import decision, outcome, signature
from governance.report.ocsf.changes import key, policy, waiver
from governance.report.ocsf.ids import NEXT_VERSION, OTHER, SHA_256, VERSION, Class
from governance.report.ocsf.life import life
from governance.report.ocsf.part import Part
from governance.report.ocsf.registry import registration

_PARTS: Final[Mapping[EntryKind, Callable[[Stored, Fields], Part]]] = MappingProxyType(
    {
        EntryKind.DECISION: decision,
        EntryKind.OUTCOME: outcome,
        EntryKind.SIGNATURE: signature,
        EntryKind.POLICY: policy,
        EntryKind.KEY: key,
        EntryKind.WAIVER: waiver,
        EntryKind.REGISTRATION: registration,
    }
)
"""What says something about artifacts and people. Every other kind is about the log itself."""


def ocsf_event(stored: Stored, *, origin: str, version: str = VERSION) -> dict[str, Json]:
    """The event of an entry of the log `origin`. Raises `ValueError` for a version that is not one of `VERSIONS`."""
    if version not in {VERSION, NEXT_VERSION}:
        raise ValueError(f"no events of OCSF {version} can be made")
    entry = stored.entry
    part = _PARTS.get(entry.kind, life)(stored, Fields(entry.body))
    event: dict[str, Json] = {
        "activity_id": part.activity,
        "category_uid": part.class_uid // 1000,
        "class_uid": int(part.class_uid),
        "type_uid": part.class_uid * 100 + part.activity,
        "time": int(entry.at.timestamp() * 1000),
        "time_dt": utc_text(entry.at),
        "severity_id": int(part.severity),
        "message": part.message,
        "metadata": _metadata(stored, origin, version),
        "raw_data": stored.data.decode("utf-8", "replace"),
        "raw_data_hash": _sha256(sha256(stored.data).hexdigest()),
        "raw_data_size": len(stored.data),
        "unmapped": {
            "kind": entry.kind.value,
            "leaf": leaf_hash(stored.data).hex(),
            "subject": entry.subject,
            "writer": {"instance": entry.writer.instance, "boot": entry.writer.boot, "n": entry.writer.n},
            **part.unmapped,
        },
        **part.attributes,
    }
    if part.activity == OTHER:
        event["activity_name"] = part.name
    if part.class_uid is Class.EVENT_LOG:
        event["log_name"] = origin
    return event if version == VERSION else _attested(event, stored, origin)


def ocsf_line(stored: Stored, *, origin: str, version: str = VERSION) -> bytes:
    """The event as canonical JSON, without an end of line."""
    return canonical_bytes(ocsf_event(stored, origin=origin, version=version))


def _metadata(stored: Stored, origin: str, version: str) -> dict[str, Json]:
    entry = stored.entry
    profiles: list[Json] = ["datetime", "security_control"]
    metadata: dict[str, Json] = {
        "version": version,
        "profiles": profiles if version == VERSION else [*profiles, "record_integrity"],
        "product": {"name": "mlflow-governance", "vendor_name": "mlflow-governance", "version": __version__},
        "uid": entry.id,
        "correlation_uid": entry.correlation,
        "event_code": entry.kind.value,
        "log_name": origin,
        "original_time": utc_text(entry.at),
    }
    return metadata if stored.index is None else metadata | {"sequence": stored.index}


def _attested(event: dict[str, Json], stored: Stored, origin: str) -> dict[str, Json]:
    """The event with the fingerprint of its own canonical form (RFC 8785), as the profile `record_integrity` has it in
    the schema's development. What links entries is the tree: `metadata.sequence` is the leaf's index, and a proof says
    more than a reference to the previous event."""
    attestation: dict[str, Json] = {
        "uid": stored.entry.id,
        "chain_uid": origin,
        "authority_uid": stored.entry.writer.instance,
    }
    digest = sha256(canonical_bytes(event | {"attestation": attestation})).hexdigest()
    return event | {"attestation": {**attestation, "fingerprint": _sha256(digest)}}


def _sha256(value: str) -> dict[str, Json]:
    return {"algorithm_id": SHA_256, "algorithm": "SHA-256", "value": value}
