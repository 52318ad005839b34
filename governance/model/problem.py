"""Refusals as `application/problem+json` (RFC 9457), and back.

Promises: `refusal_of(problem_of(refusal))` equals the refusal, so that a client in another process can raise what the
deciding side raised. Does not: know HTTP frameworks, MLflow or exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from governance.model.canonical import Json
from governance.model.verdict import Effect, Evidence, Finding, Refusal, Severity

_STATUS = 403
"""Also for a quarantine: 503 would fit its meaning, but clients repeat a 503 for minutes without a word."""


def problem_of(refusal: Refusal) -> dict[str, Json]:
    """The members of RFC 9457, section 3.1, and everything else that the refusal holds."""
    word = refusal.decision.word
    return {
        "type": f"urn:mlgov:refusal:{word}",
        "title": f"{refusal.action} refused by policy: {word}",
        "status": _STATUS,
        "detail": refusal.text(),
        "instance": f"urn:uuid:{refusal.decision_id}",
        "decision_id": refusal.decision_id,
        "decision": word,
        "action": refusal.action,
        "artifact": {
            "kind": refusal.artifact_kind,
            "ref": refusal.artifact_ref,
            "digest": refusal.artifact_digest,
        },
        "environment": refusal.environment,
        "policies": list(refusal.policies),
        "policy_digest": refusal.policy_digest,
        "policy_revision": refusal.policy_revision,
        "findings": [_finding(finding) for finding in refusal.findings],
        "retryable": refusal.is_retryable,
        "retry_after": refusal.retry_after,
        "waivable": refusal.is_waivable,
        "waiver_command": refusal.waiver_command,
        "extra": dict(refusal.extra),
    }


def refusal_of(problem: Mapping[str, Json]) -> Refusal:
    """Read what `problem_of` wrote; members that are derived from others are ignored. Raises `ValueError`."""
    try:
        artifact, findings, extra = problem["artifact"], problem["findings"], problem.get("extra") or {}
        if not isinstance(artifact, Mapping) or not isinstance(extra, Mapping):
            raise ValueError("`artifact` or `extra` is not an object")  # noqa: TRY004 - malformed data, not a caller's type
        return Refusal(
            decision_id=str(problem["decision_id"]),
            decision=Effect[str(problem["decision"]).upper()],
            action=str(problem["action"]),
            artifact_kind=str(artifact["kind"]),
            artifact_ref=str(artifact["ref"]),
            artifact_digest=_optional(artifact.get("digest")),
            environment=str(problem["environment"]),
            policies=tuple(str(name) for name in _rows(problem["policies"])),
            policy_digest=str(problem["policy_digest"]),
            policy_revision=_whole(problem.get("policy_revision")),
            findings=tuple(_parse_finding(row) for row in _rows(findings)),
            retry_after=_whole(problem.get("retry_after")),
            extra=dict(extra),
        )
    except KeyError as error:
        raise ValueError(f"not a refusal: {error} is missing or unknown") from error


def _finding(finding: Finding) -> dict[str, Json]:
    return {
        "rule": finding.rule,
        "effect": finding.effect.word,
        "severity": finding.severity.word,
        "message": finding.message,
        "remediation": finding.remediation,
        "waivable": finding.waivable,
        "evidence": [
            {"fact": item.fact, "value": item.value, "source": item.source, "observed_at": item.observed_at}
            for item in finding.evidence
        ],
    }


def _parse_finding(row: Json) -> Finding:
    if not isinstance(row, Mapping):
        raise ValueError("a finding that is not an object")  # noqa: TRY004 - malformed data, not a caller's type
    return Finding(
        rule=str(row["rule"]),
        effect=Effect[str(row["effect"]).upper()],
        severity=Severity[str(row["severity"]).upper()],
        message=str(row["message"]),
        remediation=_optional(row.get("remediation")),
        waivable=row.get("waivable") is True,
        evidence=tuple(_parse_evidence(item) for item in _rows(row.get("evidence") or [])),
    )


def _parse_evidence(row: Json) -> Evidence:
    if not isinstance(row, Mapping):
        raise ValueError("evidence that is not an object")  # noqa: TRY004 - malformed data, not a caller's type
    return Evidence(
        fact=str(row["fact"]),
        value=str(row["value"]),
        source=_optional(row.get("source")),
        observed_at=_optional(row.get("observed_at")),
    )


def _rows(value: Json) -> Sequence[Json]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("a list was expected")  # noqa: TRY004 - malformed data, not a caller's type
    return value


def _optional(value: Json) -> str | None:
    return None if value is None else str(value)


def _whole(value: Json) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number was expected")  # noqa: TRY004 - malformed data, not a caller's type
    return value
