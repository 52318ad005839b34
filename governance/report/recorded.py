"""A recorded decision made whole again: the request, the facts and the policy document it rested on.

Promises: facts and policy come from the evidence kept under the digests that the entry names, and a body that was changed,
erased or never kept is an error with its own words. Does not: judge; see `governance.report.replay` and `backtest`.

The facts state the request in full (the entry cuts long names, and may bear pseudonyms), so the request is read from them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from governance.audit.entry import Entry, EntryKind
from governance.errors import AuditBrokenError, PolicyInvalidError, UnsafePathError
from governance.model.artifact import Kind, artifact_on_record
from governance.model.canonical import Json
from governance.model.digest import Digest, Sha256, parse_sha256
from governance.model.facts import Facts, facts_on_record
from governance.model.request import Action, Actor, ActorKind, Request, parse_utc
from governance.policy.compile import CompiledPolicy, from_document

_DIGEST = re.compile(r"(sha256|dirhash1):[0-9a-f]{64}")


class NotReplayableError(AuditBrokenError):
    """What a recorded decision rested on is not there any more, or was never kept."""


class EvidenceLog(Protocol):
    """The part of `AuditLog` that gives evidence back."""

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document, checked against its digest. None where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One decision as it was made."""

    entry: Entry
    request: Request
    facts: Facts
    verdict: Mapping[str, Json]
    policy_digest: Sha256

    @property
    def decision(self) -> str:
        """The verdict's word."""
        return str(self.verdict["decision"])


class PolicyCache:
    """Compiled policies by digest, made from their recorded documents when first needed. Holds at most `most`."""

    def __init__(self, log: EvidenceLog, *, most: int = 32) -> None:
        self._log = log
        self._most = most
        self._known: OrderedDict[Sha256, CompiledPolicy] = OrderedDict()

    def get(self, digest: Sha256) -> CompiledPolicy:
        """The policy behind a recorded digest. Raises `NotReplayableError`, also where this program no longer takes it, and
        `AuditBrokenError`."""
        policy = self._known.get(digest)
        if policy is None:
            document = _document(self._log, digest, "policy")
            try:
                policy = self._known[digest] = from_document(document)
            except PolicyInvalidError as error:
                raise NotReplayableError(
                    f"the recorded policy {digest} is no longer taken by this program: {error.problems[0]}",
                    hint="Replay it with the version of the program that recorded it.",
                ) from error
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return policy


def read_decision(log: EvidenceLog, entry: Entry) -> Recorded:
    """The decision of an entry, with its facts. Raises `NotReplayableError`, or `AuditBrokenError` where what is there does
    not fit together."""
    if entry.kind is not EntryKind.DECISION:
        raise NotReplayableError(f"entry {entry.id} records `{entry.kind.value}`, not a decision")
    try:
        body = entry.body
        policy, verdict, artifact = body["policy"], body["verdict"], body["artifact"]
        if not (
            isinstance(policy, Mapping) and isinstance(verdict, Mapping) and isinstance(artifact, Mapping)
        ):
            raise TypeError("not objects")  # noqa: TRY301 - told below, with all that is malformed
        policy_digest, digest = parse_sha256(str(policy["digest"])), parse_sha256(str(body["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AuditBrokenError(f"decision {entry.id} lacks what a decision has: {error}") from error
    document = _document(log, digest, "facts")
    try:
        tree = orjson.loads(document)
        if not isinstance(tree, dict):
            raise TypeError("not an object")  # noqa: TRY301 - told below, with all that is malformed
        facts = facts_on_record(tree, digest)
        request = _request(entry, facts, str(artifact["host"]))
    except (KeyError, TypeError, ValueError, UnsafePathError) as error:
        raise AuditBrokenError(f"the facts of decision {entry.id} cannot be read: {error}") from error
    return Recorded(entry=entry, request=request, facts=facts, verdict=verdict, policy_digest=policy_digest)


def _request(entry: Entry, facts: Facts, host: str) -> Request:
    values = facts.record
    groups, name = values["actor.groups"], values["actor.name"]
    digest, version = values["artifact.digest"], values["artifact.version"]
    return Request(
        action=Action(str(entry.body["action"])),
        artifact=artifact_on_record(
            kind=Kind(str(values["artifact.kind"])),
            host=host,
            ref=str(values["artifact.ref"]),
            repository=str(values["artifact.repository"]),
            path=str(values["artifact.path"]),
            name=str(values["artifact.name"]),
            version=version if isinstance(version, str) else None,
            digest=Digest(digest) if isinstance(digest, str) and _DIGEST.fullmatch(digest) else None,
        ),
        actor=Actor(
            name=str(name),
            kind=ActorKind(str(values["actor.kind"])),
            groups=groups if isinstance(groups, tuple) else (),
            authentication="recorded" if values["actor.authenticated"] is True else None,
        ),
        environment=str(values["environment"]),
        at=parse_utc(facts.origins["environment"].observed_at),
        correlation=entry.correlation,
    )


def _document(log: EvidenceLog, digest: Sha256, what: str) -> bytes:
    document = log.evidence(digest)
    if document is None:
        raise NotReplayableError(
            f"the {what} {digest} is not in the evidence",
            hint="It was erased after its time, or the log was copied without evidence. The entry itself still stands.",
        )
    return document
