"""The shorthand form of a policy, as the rules it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from governance.policy.schema import AllowShape, PolicySpecShape, RuleShape, ShorthandShape

ALLOW_ID = "allow-listed"

_MALICIOUS = {"any": [{"fact": "xray.malicious", "is": True}, {"fact": "content.verdict", "is": "malicious"}]}
_UNSIGNED = {"not": {"fact": "signature.valid", "is": True}}
_UNSCANNED = {"fact": "scan.complete", "is": False}


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


def _objections(effect: str, short: ShorthandShape) -> Iterator[Expanded]:
    for key, when, severity, message, remediation in _criteria(short):
        yield Expanded(
            key=(effect, key),
            rule=RuleShape.model_validate(
                {
                    "id": f"{effect}-{key}",
                    "effect": effect,
                    "severity": severity,
                    "when": when,
                    "message": message,
                    "remediation": remediation,
                    "waivable": "never" if key == "malicious" else "approvers",
                }
            ),
        )


def _criteria(short: ShorthandShape) -> Iterator[tuple[str, dict[str, Any], str, str, str | None]]:
    """Key, condition, severity, message and remediation of each key that is set."""
    advisory = "{matched.id} ({matched.severity}, CVSS {matched.cvss}) in {matched.component}"
    fix = "Use a version that holds the fix: {matched.fixed_in}."
    if short.severity is not None:
        when = {"some": "vulnerabilities", "where": {"fact": "severity", "gte": short.severity}}
        yield "severity", when, short.severity, advisory, fix
    if short.cvss is not None:
        yield (
            "cvss",
            {"some": "vulnerabilities", "where": {"fact": "cvss", "gte": short.cvss}},
            "high",
            advisory,
            fix,
        )
    if short.malicious:
        what_to_do = "Do not load it. Remove local copies and open an incident."
        yield (
            "malicious",
            _MALICIOUS,
            "critical",
            "{artifact.ref} is reported malicious by {evidence.sources}",
            what_to_do,
        )
    if short.unsigned:
        yield (
            "unsigned",
            _UNSIGNED,
            "high",
            "no valid signature ({signature.reason})",
            "Sign it with `mlgov sign`.",
        )
    if short.unscanned:
        yield (
            "unscanned",
            _UNSCANNED,
            "medium",
            "not fully scanned",
            "Wait for the scan, or ask why there is none.",
        )
    if short.licences is not None:
        when = {"some": "licences", "where": {"fact": "spdx", "matches": {"requires": short.licences}}}
        yield "licences", when, "medium", "{matched.component} is licensed under {matched.spdx}", None
    if short.packages is not None:
        parts = [{"fact": "purl", "matches": {"purl": one}} for one in short.packages]
        yield (
            "packages",
            {"some": "dependencies", "where": {"any": parts}},
            "high",
            "depends on {matched.purl}",
            None,
        )
    if short.publishers is not None:
        yield (
            "publishers",
            {"fact": "publisher", "in": short.publishers},
            "high",
            "published by {publisher}",
            None,
        )
    if short.formats is not None:
        when = {"some": "files", "where": {"fact": "format", "in": short.formats}}
        yield (
            "formats",
            when,
            "high",
            "{matched.path} is a {matched.format} file",
            "Export it as safetensors or ONNX.",
        )
