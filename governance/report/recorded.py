"""A recorded decision made whole again: the request, the facts and the policy document it rested on.

Promises: facts and policy come from the evidence kept under the digests that the entry names, and a body that was changed,
erased or never kept is an error with its own words. Does not: judge; see `governance.report.replay` and `backtest`.

The facts state the request in full (the entry cuts long names, and may bear pseudonyms), so the request is read from them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeGuard

import orjson

from governance.audit.entry import EntryKind
from governance.errors import AuditBrokenError, PolicyInvalidError, UnsafePathError
from governance.model.artifact import Artifact, Kind, artifact_on_record
from governance.model.canonical import Json
from governance.model.digest import Digest, Sha256, parse_sha256
from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Facts
from governance.model.recorded_facts import Keys, facts_on_record, keys_of
from governance.model.request import Action, Actor, ActorKind, Request, parse_utc
from governance.policy.compile import CompiledPolicy, from_document
from governance.report.words import Said

_MOST_REMEMBERED = 4_096
_ACTIONS = {each.value: each for each in Action}
_KINDS = {each.value: each for each in Kind}
_ACTOR_KINDS = {each.value: each for each in ActorKind}
_OF_REQUEST = frozenset({
    "actor.authenticated", "actor.groups", "actor.kind", "actor.name", "artifact.digest", "artifact.kind", "artifact.name",
    "artifact.path", "artifact.ref", "artifact.repository", "artifact.version", "environment",
})  # fmt: skip
_DIGEST = re.compile(r"(sha256|dirhash1):[0-9a-f]{64}")


class NotReplayableError(AuditBrokenError):
    """What a recorded decision rested on is not there any more, or was never kept."""


class EvidenceLog(Protocol):
    """The part of `AuditLog` that gives evidence back."""

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document, checked against its digest. None where there is none."""
        ...


class Decision(Said, Protocol):
    """The part of an `Entry` that a decision is read from."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One decision as it was made."""

    entry: Decision
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
        self._known: OrderedDict[Sha256, tuple[CompiledPolicy, Keys]] = OrderedDict()

    def get(self, digest: Sha256) -> CompiledPolicy:
        """The policy behind a recorded digest. Raises `NotReplayableError`, also where this program no longer takes it, and
        `AuditBrokenError`."""
        return self._get(digest)[0]

    def facts_for(self, digest: Sha256) -> Keys:
        """The facts to be read of a record, for that policy. Raises as `get` does."""
        return self._get(digest)[1]

    def _get(self, digest: Sha256) -> tuple[CompiledPolicy, Keys]:
        known = self._known.get(digest)
        if known is None:
            document = _document(self._log, digest, "policy")
            try:
                policy = from_document(document)
            except PolicyInvalidError as error:
                raise NotReplayableError(
                    f"the recorded policy {digest} is no longer taken by this program: {error.problems[0]}",
                    hint="Replay it with the version of the program that recorded it.",
                ) from error
            known = self._known[digest] = policy, judged_facts(policy)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return known


def judged_facts(policy: CompiledPolicy) -> Keys:
    """The facts of a record that judging it again by this policy can look at, and those that state the request."""
    return keys_of(policy.reads | _OF_REQUEST | {UNREACHABLE, OUT_OF_REACH})


def read_decision(
    log: EvidenceLog, entry: Decision, facts_for: Callable[[Sha256], Keys] | None = None
) -> Recorded:
    """The decision of an entry, with its facts: all of them, or those of `judged_facts` that `facts_for` gives for the
    recorded policy. Raises `NotReplayableError`, or `AuditBrokenError` where what is there does not fit together."""
    if entry.kind is not EntryKind.DECISION:
        raise NotReplayableError(f"entry {entry.id} records `{entry.kind.value}`, not a decision")
    try:
        body = entry.body
        policy, verdict, artifact = body["policy"], body["verdict"], body["artifact"]
        if not (_is_object(policy) and _is_object(verdict) and _is_object(artifact)):
            raise TypeError("not objects")  # noqa: TRY301 - told below, with all that is malformed
        policy_digest, digest = parse_sha256(str(policy["digest"])), parse_sha256(str(body["facts"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AuditBrokenError(f"decision {entry.id} lacks what a decision has: {error}") from error
    only = None if facts_for is None else facts_for(policy_digest)
    document = _document(log, digest, "facts")
    try:
        tree = orjson.loads(document)
        if not isinstance(tree, dict):
            raise TypeError("not an object")  # noqa: TRY301 - told below, with all that is malformed
        facts = facts_on_record(tree, digest, only)
        request = _request(entry, facts, str(artifact["host"]))
    except (KeyError, TypeError, ValueError, UnsafePathError) as error:
        raise AuditBrokenError(f"the facts of decision {entry.id} cannot be read: {error}") from error
    return Recorded(entry=entry, request=request, facts=facts, verdict=verdict, policy_digest=policy_digest)


def _is_object(value: Json) -> TypeGuard[Mapping[str, Json]]:
    return value.__class__ is dict or isinstance(value, Mapping)


def _request(entry: Decision, facts: Facts, host: str) -> Request:
    values = facts.record
    groups = values["actor.groups"]
    digest, version = values["artifact.digest"], values["artifact.version"]
    return Request(
        action=_ACTIONS[str(entry.body["action"])],
        artifact=_artifact(
            _KINDS[str(values["artifact.kind"])],
            host,
            str(values["artifact.ref"]),
            str(values["artifact.repository"]),
            str(values["artifact.path"]),
            str(values["artifact.name"]),
            version if isinstance(version, str) else None,
            digest if isinstance(digest, str) else None,
        ),
        actor=_actor(
            str(values["actor.name"]),
            _ACTOR_KINDS[str(values["actor.kind"])],
            groups if isinstance(groups, tuple) else (),
            "recorded" if values["actor.authenticated"] is True else None,
        ),
        environment=str(values["environment"]),
        at=parse_utc(facts.origins["environment"].observed_at),
        correlation=entry.correlation,
    )


@lru_cache(maxsize=_MOST_REMEMBERED)
def _artifact(  # noqa: PLR0917 - by position, which is quicker to look up
    kind: Kind,
    host: str,
    ref: str,
    repository: str,
    path: str,
    name: str,
    version: str | None,
    digest: str | None,
) -> Artifact:
    """Remembered, since most models are loaded again and again."""
    return artifact_on_record(
        kind=kind,
        host=host,
        ref=ref,
        repository=repository,
        path=path,
        name=name,
        version=version,
        digest=Digest(digest) if digest is not None and _DIGEST.fullmatch(digest) else None,
    )


@lru_cache(maxsize=_MOST_REMEMBERED)
def _actor(name: str, kind: ActorKind, groups: tuple[str, ...], authentication: str | None) -> Actor:
    return Actor(name=name, kind=kind, groups=groups, authentication=authentication)


def _document(log: EvidenceLog, digest: Sha256, what: str) -> bytes:
    document = log.evidence(digest)
    if document is None:
        raise NotReplayableError(
            f"the {what} {digest} is not in the evidence",
            hint="It was erased after its time, or the log was copied without evidence. The entry itself still stands.",
        )
    return document
