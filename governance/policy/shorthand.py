"""The shorthand form of a policy, as the rules it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from governance.policy.schema import AllowShape, PolicySpecShape, RuleShape, ShorthandShape

ALLOW_ID = "allow-listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A rule that a key of the shorthand stands for. `key` is where mistakes in it belong."""

    key: tuple[str, ...]
    rule: RuleShape


def expand(spec: PolicySpecShape) -> Iterator[Expanded]:
    """The rules behind `allow`, `warn`, `quarantine` and `block`."""
    for effect, short in (("block", spec.block), ("quarantine", spec.quarantine), ("warn", spec.warn)):
        if short is not None:
            yield from _objections(effect, short)
    if spec.allow is not None and spec.allow.model_fields_set:
        yield _allowed(spec.allow)


def _allowed(short: AllowShape) -> Expanded:
    parts: list[dict[str, Any]] = []
    if short.publishers is not None:
        parts.append({"fact": "publisher", "in": short.publishers})
    if short.formats is not None:
        parts.append({"every": "files", "where": {"fact": "format", "in": short.formats}})
    if short.licences is not None:
        parts.append({"every": "licences", "where": {"fact": "spdx", "in": short.licences}})
    return Expanded(
        key=("allow",),
        rule=RuleShape(id=ALLOW_ID, effect="allow", when={"all": parts}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Criterion:
    """What the rule of one key says."""

    key: str
    when: dict[str, Any]
    severity: str
    message: str
    remediation: str | None = None


def _objections(effect: str, short: ShorthandShape) -> Iterator[Expanded]:
    for one in _criteria(short):
        yield Expanded(
            key=(effect, one.key),
            rule=RuleShape.model_validate(
                {
                    "id": f"{effect}-{one.key}",
                    "effect": effect,
                    "severity": one.severity,
                    "when": one.when,
                    "message": one.message,
                    "remediation": one.remediation,
                    "waivable": "never" if one.key == "malicious" else "approvers",
                }
            ),
        )


def _criteria(short: ShorthandShape) -> Iterator[_Criterion]:
    """Of each key that is set, in the order of the schema."""
    yield from _advisories(short)
    if short.malicious:
        yield _MALICIOUS
    if short.unsigned:
        yield _UNSIGNED
    if short.unscanned:
        yield _UNSCANNED
    yield from _listed(short)


def _advisories(short: ShorthandShape) -> Iterator[_Criterion]:
    message = "{matched.id} ({matched.severity}, CVSS {matched.cvss}) in {matched.component}"
    fix = "Use a version that holds the fix: {matched.fixed_in}."
    if short.severity is not None:
        when = {"some": "vulnerabilities", "where": {"fact": "severity", "gte": short.severity}}
        yield _Criterion(key="severity", when=when, severity=short.severity, message=message, remediation=fix)
    if short.cvss is not None:
        when = {"some": "vulnerabilities", "where": {"fact": "cvss", "gte": short.cvss}}
        yield _Criterion(key="cvss", when=when, severity="high", message=message, remediation=fix)


def _listed(short: ShorthandShape) -> Iterator[_Criterion]:
    if short.licences is not None:
        yield _Criterion(
            key="licences",
            when={"some": "licences", "where": {"fact": "spdx", "matches": {"requires": short.licences}}},
            severity="medium",
            message="{matched.component} is licensed under {matched.spdx}",
        )
    if short.packages is not None:
        parts = [{"fact": "purl", "matches": {"purl": one}} for one in short.packages]
        yield _Criterion(
            key="packages",
            when={"some": "dependencies", "where": {"any": parts}},
            severity="high",
            message="depends on {matched.purl}",
        )
    if short.publishers is not None:
        yield _Criterion(
            key="publishers",
            when={"fact": "publisher", "in": short.publishers},
            severity="high",
            message="published by {publisher}",
        )
    if short.formats is not None:
        yield _Criterion(
            key="formats",
            when={"some": "files", "where": {"fact": "format", "in": short.formats}},
            severity="high",
            message="{matched.path} is a {matched.format} file",
            remediation="Export it as safetensors or ONNX.",
        )


_MALICIOUS = _Criterion(
    key="malicious",
    when={"any": [{"fact": "xray.malicious", "is": True}, {"fact": "content.verdict", "is": "malicious"}]},
    severity="critical",
    message="{artifact.ref} is reported malicious by {evidence.sources}",
    remediation="Do not load it. Remove local copies and open an incident.",
)
_UNSIGNED = _Criterion(
    key="unsigned",
    when={"not": {"fact": "signature.valid", "is": True}},
    severity="high",
    message="no valid signature ({signature.reason})",
    remediation="Sign it with `mlgov sign`.",
)
_UNSCANNED = _Criterion(
    key="unscanned",
    when={"fact": "scan.complete", "is": False},
    severity="medium",
    message="not fully scanned",
    remediation="Wait for the scan, or ask why there is none.",
)
