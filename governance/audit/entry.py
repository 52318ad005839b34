"""Entries of the audit log: their closed kinds and their one byte form.

Promises: one entry has one byte string (canonical JSON, at most 65,535 bytes). Does not: read a clock or a file, or make the
bodies (`governance.audit.bodies`). Documents without a bound (facts, lists of moved files, policies) are kept beside
the log as evidence, and the body names their SHA-256.

The bytes are `{"at", "body", "correlation", "id", "kind", "subject", "v", "writer"}` with sorted keys; see
`docs/audit.md`.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from governance.errors import AuditBrokenError, NewerLogError
from governance.model.canonical import Json, canonical_bytes, parse_canonical
from governance.model.digest import Sha256
from governance.model.request import parse_utc, utc_text

MAX_ENTRY = 65_535
"""Largest entry in bytes, as in C2SP's tlog-tiles, whose bundles carry lengths of 16 bits."""

VERSION = 1
"""The version of entries that is written and read."""

_MAX_SUBJECT = 4_400
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class EntryKind(enum.StrEnum):
    """What an entry records. Closed: an event that fits none of these needs a new member, a required form and docs."""

    START = "start"  # a writer began; names its log and software
    DECISION = "decision"  # the gate's verdict, before the act
    OUTCOME = "outcome"  # how the act ended
    SIGNATURE = "signature"  # a signature made, or found good or bad
    POLICY = "policy"  # the policy in force changed
    KEY = "key"  # a key was made, trusted or revoked
    WAIVER = "waiver"  # asked for, granted, revoked
    ADVISORY = "advisory"  # advisories came to the log for the first time
    REGISTRATION = (
        "registration"  # a model version, alias or stage of MLflow's registry was made, set or removed
    )
    CHECKPOINT = "checkpoint"  # a signed tree head left the machine (also the heartbeat of quiet times)
    EXPORT = "export"  # the log was handed out
    RECOVERY = "recovery"  # entries whose append was not acknowledged were written after all
    ERASURE = "erasure"  # evidence bodies were erased; their digests stand
    HOLD = "hold"  # a legal hold was set or lifted


KINDS: Mapping[str, EntryKind] = {kind.value: kind for kind in EntryKind}
"""Each kind by its word."""


_REQUIRED: Mapping[EntryKind, frozenset[str]] = {
    EntryKind.START: frozenset({"origin", "version"}),
    EntryKind.DECISION: frozenset(
        {"action", "artifact", "actor", "environment", "verdict", "policy", "facts"}
    ),
    EntryKind.OUTCOME: frozenset({"decision", "action", "status", "moved"}),
    EntryKind.SIGNATURE: frozenset({"event", "digest", "key_id", "bundle"}),
    EntryKind.POLICY: frozenset({"digest", "revision", "names"}),
    EntryKind.KEY: frozenset({"event", "key_id"}),
    EntryKind.WAIVER: frozenset({"event", "waiver"}),
    EntryKind.ADVISORY: frozenset({"advisories"}),
    EntryKind.REGISTRATION: frozenset({"event", "name", "version", "actor"}),
    EntryKind.CHECKPOINT: frozenset({"size", "root"}),
    EntryKind.EXPORT: frozenset({"size", "root"}),
    EntryKind.RECOVERY: frozenset({"ids"}),
    EntryKind.ERASURE: frozenset({"digests", "reason"}),
    EntryKind.HOLD: frozenset({"held", "reason"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who wrote: the instance, one run of its process, and the entry's number in that run, counted from 1 without
    holes, so that an entry lost between writer and log shows."""

    instance: str
    boot: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record. `id` is a UUIDv7 and the key of idempotence, `at` the writer's clock in UTC, `subject` the `ref` of
    the whole artifact (or what else the entry is about), `correlation` joins the entries of one sequence."""

    id: str
    at: datetime
    kind: EntryKind
    writer: Writer
    correlation: str
    subject: str
    body: Mapping[str, Json]

    def to_bytes(self) -> bytes:
        """The one byte form. Raises `ValueError` for a body that lacks what its kind requires, or is too large."""
        missing = _REQUIRED[self.kind] - self.body.keys()
        if missing:
            raise ValueError(f"the body of a {self.kind} entry lacks {', '.join(sorted(missing))}")
        for name, value in (("subject", self.subject), ("correlation", self.correlation)):
            if not value or len(value.encode("utf-8", "replace")) > _MAX_SUBJECT or _CONTROL.search(value):
                raise ValueError(f"an entry's {name} has 1 to {_MAX_SUBJECT} bytes and no control characters")
        data = canonical_bytes({
            "at": utc_text(self.at),
            "body": self.body,
            "correlation": self.correlation,
            "id": self.id,
            "kind": self.kind.value,
            "subject": self.subject,
            "v": VERSION,
            "writer": {"boot": self.writer.boot, "instance": self.writer.instance, "n": self.writer.n},
        })  # fmt: skip
        if len(data) > MAX_ENTRY:
            raise ValueError(
                f"an entry of {len(data)} bytes: at most {MAX_ENTRY} are allowed, keep the rest as evidence"
            )
        return data


def numbered(data: bytes, number: int) -> bytes:
    """The bytes of an entry numbered 0, with another number in its place. The number stands at the very end, so a writer
    can make an entry first and count it once it is known to be well formed."""
    front = data.removesuffix(b'"n":0}}')
    if len(front) == len(data):
        raise ValueError("not the bytes of an entry numbered 0")
    return b'%b"n":%d}}' % (front, number)


def parse_entry(data: bytes, *, strict: bool = False) -> Entry:
    """Read what `Entry.to_bytes` wrote. Raises `AuditBrokenError` saying what is wrong.

    `strict` also demands the canonical form, for bytes that did not come from a store of ours.
    """
    try:
        document: Any = parse_canonical(data) if strict else orjson.loads(data)
    except ValueError as error:
        raise AuditBrokenError(f"not an entry: {type(error).__name__}: {error}") from error
    return entry_of(document)


def entry_of(document: Any) -> Entry:
    """The entry of a document, as `parse_entry` makes it. Raises `AuditBrokenError`."""
    try:
        if document["v"] != VERSION:
            raise _newer(f"version {document['v']}")
        kind = document["kind"]
        if kind not in KINDS:
            raise _newer(f"kind `{str(kind)[:40]}`")
        writer = document["writer"]
        return Entry(
            id=document["id"],
            at=parse_utc(document["at"]),
            kind=KINDS[kind],
            writer=Writer(instance=writer["instance"], boot=writer["boot"], n=int(writer["n"])),
            correlation=document["correlation"],
            subject=document["subject"],
            body=document["body"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AuditBrokenError(f"not an entry: {type(error).__name__}: {error}") from error


def _newer(what: str) -> NewerLogError:
    return NewerLogError(
        f"an entry of {what}, which this program does not know: a newer one may have written it"
    )


def evidence_digest(document: bytes) -> Sha256:
    """The name under which a piece of evidence is kept."""
    return Sha256(hashlib.sha256(document).hexdigest())
