"""Decisions, outcomes and signatures: what happened to artifacts."""

from __future__ import annotations

from typing import Final

from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.model.verdict import REFUSED_BY_DEFAULT
from governance.report.entries import REFUSING
from governance.report.fields import Fields
from governance.report.ocsf.ids import OTHER, Action, Class, Disposition, Severity, Status
from governance.report.ocsf.part import Part, actor_of, endpoint_of, fingerprint, policy_of, result

_ACTIVITIES: Final = {"upload": 1, "download": 2, "load": 2, "delete": 4, "promote": 6}
_SEVERITIES: Final = {
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
_MOST_ENRICHMENTS: Final = 50
_REGULAR, _FOLDER = 1, 2
_CREATE, _READ = 1, 2
_NEW = 1


def decision(stored: Stored, body: Fields) -> Part:
    """The gate's verdict, before the act."""
    verdict, artifact = body.sub("verdict"), body.sub("artifact")
    action, word = body.word("action"), verdict.word("decision")
    is_applied = verdict.text("mode") == "enforce"
    policy = policy_of(body.sub("policy"), is_applied=is_applied)
    decided, came = _decided(verdict)
    status = Status.FAILURE if decided is Action.DENIED else Status.SUCCESS
    attributes: dict[str, Json] = {
        **result(decided, came, status),
        "actor": actor_of(body.sub("actor"), stored),
        "src_endpoint": endpoint_of(stored),
        "file": _file(artifact, stored.entry.subject),
        "policy": policy,
        "authorizations": [{"decision": decided.name.lower(), "policy": policy}],
    }
    enrichments = _enrichments(verdict)
    if enrichments:
        attributes["enrichments"] = enrichments
    reasons = [finding.word("rule") for finding in verdict.subs("findings")]
    if decided is not Action.ALLOWED and not any(
        each.word("effect") in REFUSING for each in verdict.subs("findings")
    ):
        reasons.insert(0, REFUSED_BY_DEFAULT)
    if reasons:
        attributes["status_detail"] = ", ".join(reasons)
    return Part(
        class_uid=Class.FILE_HOSTING,
        activity=_ACTIVITIES.get(action, OTHER),
        name=action,
        severity=_severity(verdict, came),
        message=f"{action} of {stored.entry.subject}: {word} ({came.name.lower()})",
        attributes=attributes,
        unmapped=_own_words(body, action),
    )


def outcome(stored: Stored, body: Fields) -> Part:
    """How an act ended, with the bytes that moved."""
    action, status = body.word("action"), body.word("status")
    moved = body.sub("moved")
    if status == "done":
        how = result(Action.ALLOWED, Disposition.ALLOWED, Status.SUCCESS)
    elif status == "refused":
        how = result(Action.DENIED, Disposition.BLOCKED, Status.FAILURE)
    else:
        how = result(Action.ALLOWED, Disposition.ERROR, Status.FAILURE)
    attributes: dict[str, Json] = {
        **how,
        "actor": actor_of(body.sub("actor"), stored),
        "src_endpoint": endpoint_of(stored),
        "file": _moved(moved, stored.entry.subject),
        "end_time": int(stored.entry.at.timestamp() * 1000),
    }
    error = body.text("error")
    if error:
        attributes["status_detail"] = error
    return Part(
        class_uid=Class.FILE_HOSTING,
        activity=_ACTIVITIES.get(action, OTHER),
        name=action,
        severity=Severity.INFORMATIONAL if status == "done" else Severity.MEDIUM,
        message=f"{action} of {stored.entry.subject}: {status}, {moved.number('count') or 0} file(s)",
        attributes=attributes,
        unmapped={"action": action, "decision": body.word("decision"), "files": moved.number("count")},
    )


def signature(stored: Stored, body: Fields) -> Part:
    """A signature made or found good is a call; one that was rejected is a finding."""
    event, key_id = body.word("event"), body.text("key_id")
    message = f"signature {event} over {stored.entry.subject}"
    unmapped: dict[str, Json] = {
        "digest": body.text("digest"),
        "key_id": key_id,
        "bundle": body.text("bundle"),
        "signer": body.text("signer"),
    }
    actor = actor_of(body.sub("actor"), stored)
    if event in {"made", "verified"}:
        return Part(
            class_uid=Class.API,
            activity=_CREATE if event == "made" else _READ,
            message=message,
            attributes={
                **result(Action.ALLOWED, Disposition.ALLOWED, Status.SUCCESS),
                "actor": actor,
                "src_endpoint": endpoint_of(stored),
                "api": {"operation": "sign" if event == "made" else "verify"},
                "resources": [{"name": stored.entry.subject, "uid": body.word("digest")}],
            },
            unmapped=unmapped,
        )
    reason = body.text("reason")
    finding: dict[str, Json] = {
        "uid": stored.entry.id,
        "title": f"signature {event}" if reason is None else f"signature {event}: {reason}",
        "types": ["signature"],
    }
    return Part(
        class_uid=Class.DETECTION,
        activity=_CREATE,
        severity=Severity.HIGH,
        message=message,
        attributes={
            **result(Action.DENIED, Disposition.REJECTED),
            "status_id": _NEW,
            "finding_info": finding,
            "evidences": [{"actor": actor, "src_endpoint": endpoint_of(stored)}],
            "resources": [{"name": stored.entry.subject, "uid": body.word("digest")}],
        },
        unmapped=unmapped,
    )


def _decided(verdict: Fields) -> tuple[Action, Disposition]:
    """What the gate did about it. An objection that let the door open was only observed."""
    word = verdict.text("decision")
    if verdict.is_set("refused"):
        return Action.DENIED, Disposition.QUARANTINED if word == "quarantine" else Disposition.BLOCKED
    if verdict.is_set("would_block"):
        return Action.OBSERVED, Disposition.DETECTED
    if verdict.subs("waived"):
        return Action.ALLOWED, Disposition.APPROVED
    return Action.ALLOWED, Disposition.ALERT if word == "warn" else Disposition.ALLOWED


def _severity(verdict: Fields, came: Disposition) -> Severity:
    """As severe as the worst finding; an objection is at least medium, also where no rule allowed it."""
    worst = max(
        (_SEVERITIES.get(finding.word("severity"), Severity.INFORMATIONAL) for finding in verdict.subs("findings")),
        default=Severity.INFORMATIONAL,
    )  # fmt: skip
    is_objection = came in {Disposition.BLOCKED, Disposition.QUARANTINED, Disposition.DETECTED}
    return max(worst, Severity.MEDIUM) if is_objection else worst


def _file(artifact: Fields, subject: str) -> dict[str, Json]:
    repository, path = artifact.text("repository"), artifact.text("path")
    place = f"{repository}/{path}".rstrip("/") if repository else subject
    file: dict[str, Json] = {
        "name": artifact.text("name") or place.rpartition("/")[2] or place,
        "path": place,
        "type_id": _REGULAR if artifact.text("kind") == "file" else _FOLDER,
        "uid": subject,
    }
    size, version = artifact.number("size"), artifact.text("version")
    hashed = fingerprint(artifact.text("digest") or "")
    more: dict[str, Json] = {
        "size": size,
        "version": version,
        "hashes": None if hashed is None else [hashed],
        "parent_folder": repository,
    }
    return file | {name: value for name, value in more.items() if value is not None}


def _moved(moved: Fields, subject: str) -> dict[str, Json]:
    """The artifact as it moved: one file with its own hash, or the whole with the hash over all."""
    files = moved.subs("files")
    file: dict[str, Json] = {
        "name": subject.rpartition("/")[2] or subject,
        "path": subject,
        "type_id": _REGULAR if len(files) == 1 else _FOLDER,
        "uid": subject,
    }
    digest = moved.text("digest") or ""
    if len(files) == 1:
        digest = f"sha256:{files[0].text('sha256') or ''}"
        file["name"] = files[0].word("path")
    hashed, size = fingerprint(digest), moved.number("bytes")
    if hashed is not None:
        file["hashes"] = [hashed]
    return file if size is None else file | {"size": size}


def _enrichments(verdict: Fields) -> list[Json]:
    """The evidence of findings."""
    rows: list[Json] = []
    for finding in verdict.subs("findings"):
        for item in finding.subs("evidence"):
            data = {"rule": finding.word("rule"), "source": item.text("source"), "at": item.text("at")}
            rows.append({"name": item.word("fact"), "value": item.word("value"), "data": data})
    return rows[:_MOST_ENRICHMENTS]


def _own_words(body: Fields, action: str) -> dict[str, Json]:
    verdict = body.sub("verdict")
    return {
        "action": action,
        "environment": body.text("environment"),
        "mode": verdict.text("mode"),
        "verdict": verdict.text("decision"),
        "degraded": verdict.text("degraded"),
        "mlflow": dict(body.sub("mlflow").body),
        "policy": {
            "fired": list(verdict.texts("fired")),
            "rules": verdict.number("rules"),
            "waived": [dict(each.body) for each in verdict.subs("waived")],
        },
    }
