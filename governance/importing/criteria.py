"""The criteria of Xray's rules as conditions of ours.

Promises: a criterion is translated whole, or `NoEqualError` says which has no equal here. Does not: look at what a rule does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Tree = dict[str, Any]

SEVERITIES = {"critical": "critical", "high": "high", "medium": "medium", "low": "low"}
_ADVISORY = "{matched.label} ({matched.severity}, CVSS {matched.cvss})"
_ECOSYSTEMS = {
    "pypi": "pypi",
    "npm": "npm",
    "maven": "maven",
    "go": "golang",
    "cargo": "cargo",
    "nuget": "nuget",
}


class NoEqualError(Exception):
    """A part of a rule that has no equal here."""


class Question(NamedTuple):
    """The condition of a rule, what it says, and what unknown means."""

    when: Tree
    message: str
    unknown: str = "match"


def condition(kind: str, criteria: Mapping[str, Any]) -> Question:
    """What a rule asks. Raises `NoEqualError`."""
    if kind == "license":
        return _licences(criteria)
    if kind == "operational_risk":
        return _risk(criteria)
    if kind != "security":
        raise NoEqualError(f"policies of type {kind!r}")
    for name in ("exposures", "sast"):
        if criteria.get(name):
            raise NoEqualError(f"criterion {name!r}")
    if criteria.get("malicious_package"):
        return Question({"fact": "xray.malicious", "is": True}, "{artifact.ref} is reported malicious")
    if criteria.get("package_name"):
        return Question(_package(criteria), "depends on {matched.purl}")
    return Question({"some": "vulnerabilities", "where": _all(list(_advisory(criteria)))}, _ADVISORY)


def _advisory(criteria: Mapping[str, Any]) -> Iterator[Tree]:
    """What must hold of one advisory."""
    found = False
    severity, span = criteria.get("min_severity"), criteria.get("cvss_range")
    if severity:
        found = True
        yield _severity("severity", str(severity), fallback={"fact": "id", "exists": True})
    if isinstance(span, Mapping):
        found = True
        yield {"fact": "cvss", "gte": float(span.get("from") or 0), "lte": float(span.get("to") or 10)}
    listed = criteria.get("vulnerability_ids")
    if listed:
        found = True
        yield {"any": [{"fact": "id", "in": list(listed)}, {"fact": "cve", "in": list(listed)}]}
    if not found:
        raise NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")
    if criteria.get("fix_version_dependant"):
        yield {"fact": "fix_available", "is": True}
    if criteria.get("applicable_cves_only"):
        yield {"fact": "applicable", "is": True}


def _severity(fact: str, word: str, *, fallback: Tree) -> Tree:
    lowered = word.strip().lower()
    if lowered in {"all severities", "unknown", "information"}:
        return fallback
    if lowered not in SEVERITIES:
        raise NoEqualError(f"severity {word!r}")
    return {"fact": fact, "gte": SEVERITIES[lowered]}


def _package(criteria: Mapping[str, Any]) -> Tree:
    ecosystem = _ECOSYSTEMS.get(str(criteria.get("package_type") or "").lower())
    if ecosystem is None:
        raise NoEqualError(f"packages of type {criteria.get('package_type')!r}")
    fits: Tree = {"fact": "purl", "matches": {"purl": f"pkg:{ecosystem}/{criteria['package_name']}"}}
    ranges = [_range(str(each)) for each in criteria.get("package_versions") or []]
    if not ranges:
        return {"some": "dependencies", "where": fits}
    versions: list[Tree] = [{"fact": "version", "matches": {"versions": each}} for each in ranges]
    return {
        "some": "dependencies",
        "where": _all([fits, versions[0] if len(versions) == 1 else {"any": versions}]),
    }


_RANGE = re.compile(r"([\[(])([^,\])]*)(?:,([^,\])]*))?([\])])")


def _range(text: str) -> str:
    """Maven's interval notation, which Xray uses for all, as a PEP 440 specifier."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return f"=={text.strip()}"
    low, high = match[2].strip(), match[3]
    if high is None:
        return f"=={low}"
    parts = [f"{'>=' if match[1] == '[' else '>'}{low}"] if low else []
    parts += [f"{'<=' if match[4] == ']' else '<'}{high.strip()}"] if high.strip() else []
    if not parts:
        raise NoEqualError(f"version range {text!r}")
    return ",".join(parts)


def _licences(criteria: Mapping[str, Any]) -> Question:
    message = "{matched.component} is licensed under {matched.spdx}"
    unknown = "skip" if criteria.get("allow_unknown") else "match"
    if criteria.get("banned_licenses"):
        banned = {"fact": "spdx", "matches": {"requires": list(criteria["banned_licenses"])}}
        return Question({"some": "licences", "where": banned}, message, unknown)
    if criteria.get("allowed_licenses"):
        allowed = {"fact": "spdx", "in": list(criteria["allowed_licenses"])}
        return Question({"some": "licences", "where": {"not": allowed}}, message, unknown)
    raise NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")


def _risk(criteria: Mapping[str, Any]) -> Question:
    if not criteria.get("op_risk_min_risk"):
        raise NoEqualError("custom operational risk")
    when = _severity(
        "operational_risk",
        str(criteria["op_risk_min_risk"]),
        fallback={"fact": "operational_risk", "exists": True},
    )
    return Question(when, "operational risk of {artifact.ref} is {operational_risk}")


def _all(parts: Sequence[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else {"all": list(parts)}
