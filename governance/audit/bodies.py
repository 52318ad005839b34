"""The bodies of entries: what is recorded of each kind of event.

Promises: texts that came from outside are cut to a length and made valid Unicode, so that no name from a server can keep
an act off the record; a body fits into an entry. Does not: number, date or store an entry (`governance.audit.entry`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from governance.audit.entry import EntryKind, evidence_digest
from governance.errors import AuditBrokenError
from governance.model.artifact import Artifact, FileEntry, parse_relative_path
from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.digest import Sha256, parse_sha256, tree_digest
from governance.model.request import Actor, MlflowContext, Request
from governance.model.verdict import (
    Effect,
    Finding,
    Mode,
    RuleResult,
    Verdict,
    fired_in,
    graces_in,
    waived_in,
)

MAX_ADVISORY = 100
"""Longest id of an advisory."""

GRACE_UNTIL = "grace_until"
"""Key of a verdict's time from which it would be another. There only where a match is in grace."""

RESTS_ON: Mapping[str, tuple[str, ...]] = {
    EntryKind.DECISION: ("facts",),
    EntryKind.OUTCOME: ("moved", "manifest"),
    EntryKind.POLICY: ("digest",),
}
"""Where a body names what its entry rests on: the keys on the way to it."""

_MAX_BODY = 56_000  # leaves room for the longest subject beside it
_MAX_NAME = 300
_MAX_TEXT = 1_000
_FEWER = (50, 20, 8, 3, 1, 0)


class OutcomeStatus(enum.StrEnum):
    """How an act ended."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    INCOMPLETE = "incomplete"


def decision_body(*, request: Request, verdict: Verdict, mode: Mode, refused: bool) -> dict[str, Json]:
    """What the gate decided. `refused` says whether the door was shut; a verdict of quarantine or block with the door
    left open is marked `would_block`. Findings are dropped from the end only where they would not fit, and counted."""
    body: dict[str, Json] = {
        "action": request.action.value,
        "artifact": artifact_body(request.artifact),
        "actor": _actor(request.actor),
        "environment": text(request.environment),
        "facts": verdict.facts_digest,
        "mlflow": _mlflow(request.mlflow),
        "policy": policy_body(
            digest=verdict.policy_digest, revision=verdict.policy_revision, names=verdict.policies
        ),
    }
    if request.selection is not None:
        body["selection"] = len(request.selection)
    return _fitting(lambda most: body | {"verdict": _verdict(verdict, mode, refused=refused, most=most)})


def verdict_body(*, verdict: Verdict, mode: Mode, refused: bool) -> dict[str, Json]:
    """The part `verdict` of `decision_body`, where nothing has to be left out for want of room."""
    return _verdict(verdict, mode, refused=refused, most=_FEWER[0])


def outcome_body(
    *,
    decision: str,
    action: str,
    status: OutcomeStatus,
    moved: Sequence[FileEntry] = (),
    error: BaseException | None = None,
    signature: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """How the act of `decision` ended, and which bytes were moved.

    One file is named here; of more, `moved_documents(moved)` is the evidence to append along with this body. Of an
    error, only its type is kept, since messages of third parties may hold what does not belong in a log.
    """
    body: dict[str, Json] = {
        "decision": decision,
        "action": action,
        "status": status.value,
        "moved": _moved(moved),
        "error": None if error is None else text(type(error).__name__),
    }
    return body if signature is None else body | {"signature": dict(signature)}


def moved_documents(moved: Sequence[FileEntry]) -> tuple[bytes, ...]:
    """The evidence that goes with `outcome_body`: the list of moved files, where there is more than one."""
    if len(moved) < 2:
        return ()
    rows: list[Json] = [_file(entry) for entry in sorted(moved, key=lambda entry: entry.path)]
    return (canonical_bytes(rows),)


def moved_files(body: Mapping[str, Json], evidence: Callable[[Sha256], bytes]) -> tuple[FileEntry, ...]:
    """The files that an outcome names, read back from body or evidence. Raises `AuditBrokenError`."""
    try:
        moved: Json = body["moved"]
        if not isinstance(moved, Mapping):
            raise AuditBrokenError("an outcome whose `moved` is not an object")
        rows = moved.get("files")
        if rows is None:
            rows = parse_canonical(evidence(parse_sha256(str(moved["manifest"]))))
        return tuple(_parse_file(row) for row in rows)  # type: ignore[union-attr]  # TypeError is caught below
    except (KeyError, TypeError, ValueError) as error:
        raise AuditBrokenError(f"an outcome whose moved files cannot be read: {error}") from error


def rests_on(kind: str, body: Mapping[str, Json]) -> str | None:
    """The document without which an entry cannot be understood, by its digest, which is evidence of the log: the facts of a decision,
    the list of several files of an outcome, and the policy of an entry that states one. None where it names none."""
    value: Json = body
    for name in RESTS_ON.get(kind, ()):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def signature_body(
    *,
    event: str,
    digest: str,
    key_id: str | None,
    bundle: Sha256 | None,
    signer: str | None = None,
    reason: str | None = None,
    decision: str | None = None,
    files: int | None = None,
) -> dict[str, Json]:
    """A signature `made`, `verified` or `rejected` over `digest`. `bundle` is the SHA-256 of the bundle's bytes, which
    may be kept as evidence."""
    body: dict[str, Json] = {"event": event, "digest": digest, "key_id": key_id, "bundle": bundle}
    more: dict[str, Json] = {
        "signer": _text_or_none(signer), "reason": _text_or_none(reason), "decision": decision, "files": files,
    }  # fmt: skip
    return body | {key: value for key, value in more.items() if value is not None}


def policy_body(*, digest: str, revision: int | None, names: Iterable[str]) -> dict[str, Json]:
    """The policy in force. Its canonical document belongs to the evidence under `digest`."""
    return {"digest": digest, "names": [text(name, 100) for name in names][:20], "revision": revision}


def key_body(
    *, event: str, key_id: str, name: str | None = None, reason: str | None = None
) -> dict[str, Json]:
    """A key `made`, `trusted` or `revoked`."""
    body: dict[str, Json] = {"event": event, "key_id": key_id}
    more = {"name": _text_or_none(name), "reason": _text_or_none(reason)}
    return body | {key: value for key, value in more.items() if value is not None}


def waiver_body(
    *,
    event: str,
    waiver: str,
    envelope: str | None = None,
    more: Mapping[str, str | bool | None] = MappingProxyType({}),
) -> dict[str, Json]:
    """A step of a waiver, a use of break-glass (`waiver` is then the decision's id), or a foreign rule that was copied.
    `envelope` is the SHA-256 of the evidence it rests on.
    """
    body: dict[str, Json] = {"event": event, "waiver": text(waiver, _MAX_NAME)}
    rows: dict[str, Json] = {
        name: text(value) if isinstance(value, str) else value for name, value in more.items()
    }
    return body | {
        name: value for name, value in (rows | {"envelope": envelope}).items() if value is not None
    }


def advisory_body(advisories: Sequence[str]) -> dict[str, Json]:
    """Advisories, by the scanner's ids, that the log had not met before. At most 100, so that they fit."""
    return {"advisories": [text(advisory, MAX_ADVISORY) for advisory in advisories]}


def registration_body(
    *,
    event: str,
    name: str,
    version: str | None,
    actor: Actor,
    artifact: Artifact | None = None,
    more: Mapping[str, str | None] = MappingProxyType({}),
) -> dict[str, Json]:
    """What became of a registered model: a version `created` or `deleted`, an alias `alias-set` or `alias-removed`, a stage
    `stage-set`, a model `renamed` or `removed`.

    `version` is None where all of them are meant. `artifact` is what the version's files are, where that is known; `more`
    may hold `source`, `run_id`, `model_id`, `alias`, `stage`, `before` (the former name or version), `decision`.
    """
    body: dict[str, Json] = {
        "event": event,
        "name": text(name, _MAX_NAME),
        "version": _text_or_none(version),
        "actor": _actor(actor),
        "artifact": None if artifact is None else artifact_body(artifact),
    }
    rows: dict[str, Json] = {key: text(value) for key, value in more.items() if value is not None}
    return rows | {key: value for key, value in body.items() if value is not None or key == "version"}


def artifact_body(artifact: Artifact) -> dict[str, Json]:
    """The artifact a record is about, with the number of its files in place of their list."""
    return {
        "host": text(artifact.host, _MAX_NAME),
        "repository": artifact.repository,
        "path": text(artifact.path, 4_096),
        "kind": artifact.kind.value,
        "name": text(artifact.name, _MAX_NAME),
        "version": _text_or_none(artifact.version),
        "digest": artifact.digest,
        "size": artifact.size,
        "files": len(artifact.files),
    }


def text(value: str, most: int = _MAX_TEXT) -> str:
    """Outside text made fit for the record: at most `most` characters, and no lone surrogates."""
    cut = value if len(value) <= most else value[: most - 1] + "…"
    return cut if cut.isascii() else cut.encode("utf-8", "backslashreplace").decode()


def _name(value: str) -> str:
    """A name, most of which are short and plain as they are."""
    return value if len(value) <= _MAX_NAME and value.isascii() else text(value, _MAX_NAME)


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else text(value, _MAX_NAME)


def _fitting(build: Callable[[int], dict[str, Json]]) -> dict[str, Json]:
    """The first of ever shorter bodies that fits."""
    for most in _FEWER:
        body = build(most)
        if len(canonical_bytes(body)) <= _MAX_BODY:
            return body
    raise ValueError("a body that is too large without any finding")


def _actor(actor: Actor) -> dict[str, Json]:
    return {
        "name": text(actor.name, _MAX_NAME),
        "kind": actor.kind.value,
        "groups": [text(group, 100) for group in actor.groups[:30]],
        "authentication": _text_or_none(actor.authentication),
    }


def _mlflow(context: MlflowContext) -> dict[str, Json]:
    names = ("run_id", "experiment_id", "model_id", "model_name", "model_version", "alias", "source_commit")
    known = {name: getattr(context, name) for name in names}
    body: dict[str, Json] = {
        name: text(value, _MAX_NAME) for name, value in known.items() if value is not None
    }
    if context.flavors:
        body["flavors"] = [text(flavor, 100) for flavor in context.flavors[:20]]
    return body


def _verdict(verdict: Verdict, mode: Mode, *, refused: bool, most: int) -> dict[str, Json]:
    """With its keys in the order of the bytes, here and below, so that they need not be sorted to be compared."""
    rules, findings = verdict.rules, verdict.findings
    return {
        "decision": verdict.decision.word,
        "degraded": _text_or_none(verdict.degraded),
        "findings": [_finding(finding, most) for finding in findings[:most]],
        "findings_omitted": max(0, len(findings) - most),
        "fired": [_name(rule) for rule in fired_in(rules)[: most * 2]],
        **_grace(rules),
        "mode": mode.value,
        "refused": refused,
        "retry_after": verdict.retry_after,
        "rules": len(rules),
        "waived": [
            {"rule": _name(rule), "waiver": _name(waiver)} for rule, waiver in waived_in(rules)[: most * 2]
        ],
        "would_block": verdict.decision >= Effect.QUARANTINE and not refused,
    }


def _grace(rules: Sequence[RuleResult]) -> dict[str, Json]:
    graces = graces_in(rules)
    return {GRACE_UNTIL: min(graces)} if graces else {}


def _finding(finding: Finding, most: int) -> dict[str, Json]:
    rule, effect, severity, message, remediation, waivable, evidence = finding
    return {
        "effect": effect.word,
        "evidence": [
            {
                "at": observed_at,
                "fact": _name(fact),
                "source": None if source is None else _name(source),
                "value": _name(value),
            }
            for fact, value, source, observed_at in evidence[: min(10, most)]
        ],
        "message": text(message),
        "remediation": None if remediation is None else text(remediation),
        "rule": _name(rule),
        "severity": severity.word,
        "waivable": waivable,
    }


def _moved(moved: Sequence[FileEntry]) -> dict[str, Json]:
    body: dict[str, Json] = {
        "count": len(moved),
        "bytes": sum(entry.size or 0 for entry in moved),
    }
    if len(moved) == 1:
        return body | {"files": [_file(moved[0])]}
    if not moved:
        return body | {"files": []}
    hashed = [(str(entry.path), entry.sha256) for entry in moved if entry.sha256 is not None]
    whole = tree_digest(hashed) if len(hashed) == len(moved) else None
    return body | {"digest": whole, "manifest": evidence_digest(moved_documents(moved)[0])}


def _file(entry: FileEntry) -> dict[str, Json]:
    return {"path": entry.path, "sha256": entry.sha256, "size": entry.size}


def _parse_file(row: Json) -> FileEntry:
    if not isinstance(row, Mapping):
        raise CanonicalError("a moved file that is not an object")
    sha256, size = row["sha256"], row["size"]
    return FileEntry(
        path=parse_relative_path(str(row["path"])),
        sha256=None if sha256 is None else parse_sha256(str(sha256)),
        size=None if size is None else int(str(size)),
    )
