"""Decisions, and the permits that rest on them.

Promises: a permit is made by `Gate.admit` alone, after its decision is on record; it takes note of every file that moved, and
refuses bytes other than those judged. Does not: decide, record, or move anything.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from governance.audit.bodies import signature_body
from governance.errors import (
    BlockedError,
    DigestMismatchError,
    QuarantinedError,
    RefusedError,
    VerificationError,
)
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.canonical import Json
from governance.model.digest import Digest, Sha256
from governance.model.facts import Collection, Facts, Unknown
from governance.model.request import Action, Request
from governance.model.verdict import DEGRADED, Effect, Mode, Refusal, Verdict
from governance.policy.breakglass import Glass
from governance.policy.compile import CompiledPolicy

SEAL: Final = object()
"""What `Gate.admit` makes permits with. Nothing else uses it."""
_MOVING = frozenset({Action.DOWNLOAD, Action.LOAD, Action.UPLOAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict about a request, with the mode in which it is applied. `until` is when an earlier verdict that stands in its place may
    stand no longer."""

    id: str
    request: Request
    facts: Facts
    policy: CompiledPolicy
    verdict: Verdict
    mode: Mode
    glass: Glass | None = None
    until: datetime | None = None

    @property
    def is_objection(self) -> bool:
        """True where the policy says no, whatever is then done about it."""
        return self.verdict.decision >= Effect.QUARANTINE

    @property
    def is_refused(self) -> bool:
        """True where the door stays shut."""
        broken = self.glass is not None and self.glass.opens
        return self.is_objection and self.mode is Mode.ENFORCE and not broken

    def refusal(self) -> Refusal:
        """What the refused caller is told."""
        request, verdict = self.request, self.verdict
        return Refusal(
            decision_id=self.id,
            decision=verdict.decision,
            action=request.action.value,
            artifact_kind=request.artifact.kind.value,
            artifact_ref=request.artifact.ref,
            artifact_digest=request.artifact.digest,
            environment=request.environment,
            policies=verdict.policies,
            policy_digest=verdict.policy_digest,
            policy_revision=verdict.policy_revision,
            findings=tuple(finding for finding in verdict.findings if finding.effect >= Effect.QUARANTINE),
            retry_after=None if self._is_lasting() else verdict.retry_after,
            extra=self._extra(),
        )

    def _extra(self) -> dict[str, Json]:
        glass = self.glass.objection if self.glass else None
        told = {"break_glass": glass, DEGRADED: self.verdict.degraded if self.is_objection else None}
        return {name: text for name, text in told.items() if text}

    def _is_lasting(self) -> bool:
        """Whether an objection rests on what nobody can establish however often they are asked."""
        named = {
            row.fact
            for one in self.verdict.findings
            if one.effect >= Effect.QUARANTINE
            for row in one.evidence
        }
        values = (self.facts.values.get(name) for name in named)
        return any(isinstance(value, Unknown) and value.is_lasting for value in values)

    def error(self) -> RefusedError:
        """The refusal as the exception to raise."""
        refusal = self.refusal()
        return QuarantinedError(refusal) if refusal.is_retryable else BlockedError(refusal)


class Permit:
    """Leave to act once, resting on a recorded decision. Made by `Gate.admit` alone; safe to share between threads."""

    __slots__ = ("_judged", "_lock", "_moved", "_signed", "decision")

    def __init__(self, seal: object, decision: Decision) -> None:
        if seal is not SEAL:
            raise TypeError("a Permit comes from Gate.admit")
        artifact = decision.request.artifact
        self.decision = decision
        self._judged = {str(entry.path): entry.sha256 for entry in artifact.files}
        for path, sha256 in _looked_into(decision.facts).items():
            # The bytes of an upload are not listed anywhere; those that were looked into are the ones that may pass.
            if path in self._judged and self._judged[path] is None:
                self._judged[path] = sha256
        if artifact.signature is not None:
            self._judged[str(artifact.signature.path)] = artifact.signature.sha256
        self._moved: dict[str, Sha256] = {}
        self._signed: Mapping[str, Json] | None = None
        self._lock = threading.Lock()

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.decision.request

    def moved(self, path: str, sha256: Sha256) -> None:
        """Report a file that was read or written, with the digest of the bytes as they passed.

        Raises `DigestMismatchError` for other bytes than those judged, or for a file that was not part of the
        artifact when it was judged; and `VerificationError` for a file that is fetched and was judged without a digest.
        Release nothing before this returns.
        """
        if path not in self._judged:
            raise DigestMismatchError(path, expected="no such file in what was judged", actual=sha256)
        expected = self._judged[path]
        if expected is None and self.request.action is not Action.UPLOAD:
            raise VerificationError(
                f"Artifactory names no SHA-256 for `{path}`, so nothing says that these are the bytes that were judged",
                hint="Have Artifactory compute it (`POST /api/checksum/sha256`), or store the file again.",
            )
        if expected is not None and expected != sha256:
            raise DigestMismatchError(path, expected=expected, actual=sha256)
        with self._lock:
            self._moved[path] = sha256

    def expected(self, path: str) -> Sha256 | None:
        """The digest that a file was judged with. None where none is known, and for a file that was not judged."""
        return self._judged.get(path)

    def signed(self, *, digest: Digest, key_id: str, bundle: Sha256) -> None:
        """Report the signature bundle (by its SHA-256) that was made over `digest`."""
        self._signed = signature_body(event="made", digest=digest, key_id=key_id, bundle=bundle)

    def missing(self) -> tuple[str, ...]:
        """Files the permit was for that nobody reported as moved. The signature bundle may be left behind."""
        request = self.request
        if request.action not in _MOVING:
            return ()
        wanted = request.selection
        if wanted is None:
            wanted = tuple(str(entry.path) for entry in request.artifact.files)
        with self._lock:
            return tuple(path for path in wanted if path not in self._moved)

    def require_complete(self) -> None:
        """Raise `VerificationError` where a file the permit was for was not moved."""
        missing = self.missing()
        if missing:
            raise VerificationError(
                f"{len(missing)} file(s) of `{self.request.artifact.ref}` were not moved, the first is `{missing[0]}`",
                hint="Nothing was released. Try again; if it stays, this is a mistake in the program.",
            )

    def account(self) -> tuple[FileEntry, ...]:
        """What was moved so far, sorted by path."""
        sizes = {str(entry.path): entry.size for entry in self.request.artifact.files}
        with self._lock:
            moved = sorted(self._moved.items())
        return tuple(
            FileEntry(path=parse_relative_path(path), sha256=sha256, size=sizes.get(path))
            for path, sha256 in moved
        )

    @property
    def signature(self) -> Mapping[str, Json] | None:
        """The signature that was reported, for the record."""
        return self._signed


def _looked_into(facts: Facts) -> dict[str, Sha256]:
    """The digests of the files that a collector read whole, by path."""
    files = facts.get("files")
    rows = files.items if isinstance(files, Collection) else ()
    return {
        path: Sha256(sha256)
        for row in rows
        if isinstance(path := row.get("path"), str) and isinstance(sha256 := row.get("sha256"), str)
    }
