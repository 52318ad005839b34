"""OCSF events: every kind of entry is a valid event of the published schema, and the leaf of our tree can be had from it.

Validated against OCSF 1.8.0 as compiled by the project itself and shipped, unchanged, in `ocsf-json-schema`: required
attributes, types, enumerations, constraints, and nothing that the schema does not name. OCSF 1.9 is not released; what is
written for it is only held against the attributes that its sources name (ocsf/ocsf-schema@06ecf1fe).
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from governance.audit.bodies import key_body, signature_body, waiver_body
from governance.audit.entry import _REQUIRED, Entry, EntryKind, Writer
from governance.audit.log import Stored
from governance.audit.merkle import leaf_hash
from governance.model.canonical import Json, canonical_bytes
from governance.model.verdict import Effect, Mode
from governance.report.format import FORMATS
from governance.report.making import Asked, make_report
from governance.report.ocsf.event import ocsf_event, ocsf_line
from governance.report.ocsf.ids import NEXT_VERSION, VERSION
from tests.audit_tools import ORIGIN, START, Clock, make_log, sha
from tests.report_tools import HOSTILE, decide, refuse_by_default

PROFILES = ["datetime", "security_control"]


@functools.cache
def published() -> Any:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))


@functools.cache
def validator(class_uid: int) -> Draft202012Validator:
    name = published().lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(published().get_class_schema(class_name=name, profiles=PROFILES))


def check(event: dict[str, Json]) -> None:
    """Demand that the published schema takes the event."""
    found = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in validator(int(str(event["class_uid"]))).iter_errors(json.loads(json.dumps(event)))
    ]
    assert not found
    assert event["type_uid"] == int(str(event["class_uid"])) * 100 + int(str(event["activity_id"]))


def stored(kind: EntryKind, body: dict[str, Json], *, subject: str = "models/wine") -> Stored:
    entry = Entry(
        id="01a20581-bea4-7915-bee6-e6b6c4a33c2a", at=START, kind=kind, correlation="c-1", subject=subject, body=body,
        writer=Writer(instance="host-1", boot="boot-1", n=3),
    )  # fmt: skip
    return Stored(index=7, entry=entry, data=canonical_bytes({"kind": kind.value, "body": body}))


REGISTERED: dict[str, Json] = {
    "name": "wine", "version": "3", "actor": {"name": "alice", "kind": "human", "groups": [], "authentication": "basic-auth"},
    "artifact": {"digest": "dirhash1:" + sha(2)}, "model_id": "m-1",
}  # fmt: skip


EVENTS: list[tuple[str, EntryKind, dict[str, Json], int, int]] = [
    ("start", EntryKind.START, {"origin": ORIGIN, "version": "1"}, 1008, 6),
    ("policy", EntryKind.POLICY, {"digest": sha(1), "revision": 4, "names": ["a", "b"]}, 3004, 3),
    ("key made", EntryKind.KEY, key_body(event="made", key_id="k", name="team"), 3004, 1),
    ("key trusted", EntryKind.KEY, key_body(event="trusted", key_id="k"), 3004, 8),
    ("key revoked", EntryKind.KEY, key_body(event="revoked", key_id="k", reason="lost"), 3004, 9),
    ("waiver requested", EntryKind.WAIVER, waiver_body(event="requested", waiver="w", more={"by": "alice"}), 3004, 1),
    ("waiver approved", EntryKind.WAIVER, waiver_body(event="approved", waiver="w", more={"by": "bob"}), 3004, 10),
    ("waiver revoked", EntryKind.WAIVER, waiver_body(event="revoked", waiver="w"), 3004, 11),
    ("break-glass", EntryKind.WAIVER,
     waiver_body(event="break-glass", waiver="d-1", more={"by": "eve", "opened": True, "reason": "outage"}), 3004, 99),
    ("signed", EntryKind.SIGNATURE,
     signature_body(event="made", digest="dirhash1:" + sha(2), key_id="k", bundle=sha(3)), 6003, 1),
    ("verified", EntryKind.SIGNATURE,
     signature_body(event="verified", digest="dirhash1:" + sha(2), key_id="k", bundle=sha(3)), 6003, 2),
    ("rejected", EntryKind.SIGNATURE,
     signature_body(event="rejected", digest="sha256:" + sha(2), key_id=None, bundle=None, reason="untrusted"), 2004, 1),
    ("registered", EntryKind.REGISTRATION, {**REGISTERED, "event": "created"}, 6003, 1),
    ("promoted", EntryKind.REGISTRATION, {**REGISTERED, "event": "alias-set", "alias": "champion"}, 6003, 3),
    ("unregistered", EntryKind.REGISTRATION, {**REGISTERED, "event": "deleted"}, 6003, 4),
    ("checkpoint", EntryKind.CHECKPOINT, {"size": 5, "root": sha(4)}, 1008, 99),
    ("export", EntryKind.EXPORT, {"size": 5, "root": sha(4)}, 1008, 3),
    ("recovery", EntryKind.RECOVERY, {"ids": ["a"]}, 1008, 99),
    ("erasure", EntryKind.ERASURE, {"digests": [sha(1)], "reason": "asked for"}, 1008, 2),
    ("hold", EntryKind.HOLD, {"held": True, "reason": "case 7"}, 1008, 99),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "class_uid", "activity"), [row[1:] for row in EVENTS], ids=[row[0] for row in EVENTS])  # fmt: skip
def test_each_kind_is_a_valid_event(
    kind: EntryKind, body: dict[str, Json], class_uid: int, activity: int
) -> None:
    event = ocsf_event(stored(kind, body), origin=ORIGIN)
    check(event)
    assert (event["class_uid"], event["activity_id"]) == (class_uid, activity)


@pytest.mark.parametrize(("kind", "body", "message"), [
    (EntryKind.HOLD, {"held": True, "reason": "case 7"}, "audit log: hold set on models/m"),
    (EntryKind.ADVISORY, {"advisories": ["CVE-1", "CVE-2"]}, "audit log: advisory CVE-1, CVE-2"),
])  # fmt: skip
def test_the_log_is_not_called_by_what_an_entry_is_about(
    kind: EntryKind, body: dict[str, Json], message: str
) -> None:
    event = ocsf_event(stored(kind, body, subject="models/m"), origin=ORIGIN)
    assert (event["log_name"], event["message"]) == (ORIGIN, message)


def test_no_kind_is_forgotten() -> None:
    shown = {row[1] for row in EVENTS} | {EntryKind.DECISION, EntryKind.OUTCOME}
    for kind in set(EntryKind) - shown:  # a kind of a later day is an event of the log until it has its own
        check(ocsf_event(stored(kind, dict.fromkeys(_REQUIRED[kind], "x")), origin=ORIGIN))


def test_a_refusal_by_default_says_so() -> None:
    log = make_log()
    refuse_by_default(log)
    found = next(log.find(kind=EntryKind.DECISION))
    event = ocsf_event(found, origin=ORIGIN)
    check(event)
    assert event["status_detail"] == "no rule allows it, and the policy's default is to refuse, p/unsigned"


DECISIONS = [
    ({"decision": Effect.ALLOW}, 1, 1, 1),
    ({"decision": Effect.WARN}, 1, 19, 1),
    ({"decision": Effect.BLOCK}, 2, 2, 2),
    ({"decision": Effect.QUARANTINE}, 2, 3, 2),
    ({"decision": Effect.BLOCK, "mode": Mode.OBSERVE}, 3, 15, 1),
    ({"decision": Effect.ALLOW, "waiver": "w-1"}, 1, 8, 1),
]


@pytest.mark.parametrize(("made", "action", "disposition", "status"), DECISIONS)
def test_what_the_gate_did(made: dict[str, Any], action: int, disposition: int, status: int) -> None:
    log = make_log()
    decide(log, **made)
    found, *after = [each for each in log.find() if each.entry.kind is not EntryKind.START]
    event = ocsf_event(found, origin=ORIGIN)
    for each in (found, *after):
        check(ocsf_event(each, origin=ORIGIN))
    assert (event["type_uid"], event["action_id"], event["disposition_id"], event["status_id"]) == (
        600602, action, disposition, status
    )  # fmt: skip
    assert event["file"]["path"] == "models/wine"  # type: ignore[index,call-overload]
    assert event["file"]["hashes"][0]["algorithm"] == "dirHash1"  # type: ignore[index,call-overload]
    assert event["actor"] == {"user": {"name": "zoe", "type_id": 0}}


def test_the_leaf_can_be_had_from_an_event_and_proven() -> None:
    log = make_log()
    decide(log, decision=Effect.BLOCK, message=HOSTILE, name="wine")
    for row in log.find():
        event = json.loads(ocsf_line(row, origin=log.origin))
        raw = event["raw_data"].encode()
        assert hashlib.sha256(raw).hexdigest() == event["raw_data_hash"]["value"]
        leaf = hashlib.sha256(b"\0" + raw).digest()
        assert leaf.hex() == event["unmapped"]["leaf"]
        assert leaf == log.store.node(0, event["metadata"]["sequence"])
        assert log.prove(event["metadata"]["sequence"]).index == row.index


_VALUES = st.sampled_from(
    [None, True, 0, -1, 2**40, "", "x", "sha256:", "dirhash1:ab", "block", "high", "\x1b\u202e\0"]
)
_NAMES = st.sampled_from([
    "action", "artifact", "actor", "verdict", "policy", "decision", "status", "moved", "files", "digest", "path", "name",
    "findings", "evidence", "event", "waiver", "key_id", "size", "kind", "refused", "severity", "sha256", "names", "by",
    "reason", "revision", "groups", "authentication", "origin", "held", "mlflow", "fact", "value", "rule",
])  # fmt: skip
_BODIES = st.dictionaries(
    _NAMES,
    st.recursive(
        _VALUES,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=6,
)


@given(st.sampled_from(EntryKind), _BODIES)
def test_a_body_of_any_shape_is_a_valid_event(kind: EntryKind, body: dict[str, Json]) -> None:
    check(ocsf_event(stored(kind, body), origin=ORIGIN))


def test_the_profile_of_the_next_version_is_written_only_where_asked_for() -> None:
    row = stored(EntryKind.EXPORT, {"size": 5, "root": sha(4)})
    assert "attestation" not in ocsf_event(row, origin=ORIGIN)
    event = ocsf_event(row, origin=ORIGIN, version=NEXT_VERSION)
    attestation: Any = event["attestation"]
    assert set(attestation) == {"uid", "chain_uid", "authority_uid", "fingerprint"}
    fingerprint = attestation.pop("fingerprint")
    assert hashlib.sha256(canonical_bytes(event)).hexdigest() == fingerprint["value"]
    with pytest.raises(ValueError, match=r"2\.0"):
        ocsf_event(row, origin=ORIGIN, version="2.0.0")


def test_the_report_format_is_a_line_an_entry() -> None:
    log = make_log()
    decide(log, decision=Effect.BLOCK, message=HOSTILE)
    decide(log, decision=Effect.ALLOW)
    out = io.BytesIO()
    with make_report(log, Asked(), now=Clock()()) as report:
        FORMATS["ocsf"]().write(report, out)
    lines = out.getvalue().splitlines()
    assert len(lines) == log.store.frontier().size
    assert [json.loads(line)["metadata"]["sequence"] for line in lines] == list(range(len(lines)))
    assert [leaf_hash(json.loads(line)["raw_data"].encode()) for line in lines] == [
        row.leaf for row in log.store.rows(0, len(lines))
    ]
