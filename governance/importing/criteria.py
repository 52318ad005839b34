"""The criteria of Xray's rules as conditions of ours.

Promises: a criterion is translated whole, or `NoEqualError` says which has no equal here; one that only narrows a rule, and an
entry of a list that has no equal, are left out with a note. Does not: look at what a rule does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from governance.policy.licences import parse_licence

Tree = dict[str, Any]

SEVERITIES = {"critical": "critical", "high": "high", "medium": "medium", "low": "low"}
_ADVISORY = "{matched.label} ({matched.severity}, CVSS {matched.cvss})"
_DECLARED = (
    "packages that the model declares are meant, and not those inside a file that it brings, such as a wheel"
)
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
    """The condition of a rule, what it says, what unknown means, and what was left out."""

    when: Tree
    message: str
    unknown: str = "match"
    notes: tuple[str, ...] = ()


def condition(kind: str, criteria: Mapping[str, Any]) -> Question:
    """What a rule asks. Raises `NoEqualError`."""
    question = _question(kind, criteria)
    strange = sorted(name for name, value in criteria.items() if value and name not in _KNOWN[kind])
    notes = (f"criterion {name!r} has no equal here: the rule holds without it" for name in strange)
    return question._replace(notes=(*question.notes, *notes))


_KNOWN = {
    "license": frozenset({"banned_licenses", "allowed_licenses", "allow_unknown"}),
    "operational_risk": frozenset({"op_risk_min_risk"}),
    "security": frozenset({
        "min_severity", "cvss_range", "vulnerability_ids", "fix_version_dependant", "applicable_cves_only",
        "malicious_package", "package_name", "package_type", "package_versions",
    }),
}  # fmt: skip


def _question(kind: str, criteria: Mapping[str, Any]) -> Question:
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
        return Question(_package(criteria), "depends on {matched.purl}", notes=(_DECLARED,))
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
        yield {"fact": "cvss", "gte": _score(span.get("from") or 0), "lte": _score(span.get("to") or 10)}
    if criteria.get("vulnerability_ids"):
        found = True
        listed = _list(criteria, "vulnerability_ids")
        yield {
            "any": [{"fact": "id", "in": listed}, {"fact": "cve", "in": [*listed]}]
        }  # no two names for one list: YAML would say so
    if not found:
        raise NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")
    if criteria.get("fix_version_dependant"):
        yield {"fact": "fix_available", "is": True}
    if criteria.get("applicable_cves_only"):
        yield {"fact": "applicable", "is": True}


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise NoEqualError(f"CVSS score {value!r}") from None


def _list(criteria: Mapping[str, Any], name: str) -> list[Any]:
    """A criterion that is a list. The letters of a text are none: a rule about them matches nothing, without a word."""
    found = criteria.get(name) or []
    if not isinstance(found, list):
        raise NoEqualError(f"criterion {name!r} that is not a list")
    return found


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
    name = str(criteria["package_name"])
    if ecosystem == "maven":
        name = name.replace(":", "/")  # Xray writes `group:artifact`
    fits: Tree = {"fact": "purl", "matches": {"purl": f"pkg:{ecosystem}/{name}"}}
    ranges = [_range(ecosystem, str(each)) for each in _list(criteria, "package_versions")]
    if not ranges or None in ranges:
        return {"some": "dependencies", "where": fits}
    versions: list[Tree] = [{"fact": "version", "matches": {"versions": each}} for each in ranges]
    return {
        "some": "dependencies",
        "where": _all([fits, versions[0] if len(versions) == 1 else {"any": versions}]),
    }


_RANGE = re.compile(r"([\[(])([^,\])]*)(?:,([^,\])]*))?([\])])")


def _range(ecosystem: str, text: str) -> str | None:
    """Maven's interval notation, which Xray uses for all, as a VERS; None for all versions."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return f"vers:{ecosystem}/{_version(text)}"
    low, high = match[2].strip(), match[3]
    if high is None:
        return f"vers:{ecosystem}/{_version(low)}"
    parts = [f"{'>=' if match[1] == '[' else '>'}{_version(low)}"] if low else []
    parts += [f"{'<=' if match[4] == ']' else '<'}{_version(high)}"] if high.strip() else []
    return f"vers:{ecosystem}/{'|'.join(parts)}" if parts else None


def _version(text: str) -> str:
    return quote(text.strip(), safe="")


def _licences(criteria: Mapping[str, Any]) -> Question:
    message = "{matched.component} is licensed under {matched.spdx}"
    unknown = "skip" if criteria.get("allow_unknown") else "match"
    notes = (
        ["a licence that SPDX does not name is an unknown one, which the rule lets pass"]
        if unknown == "skip"
        else []
    )
    if criteria.get("banned_licenses"):
        named = _named(_list(criteria, "banned_licenses"), notes)
        banned = {"fact": "spdx", "matches": {"requires": named}}
        return Question({"some": "licences", "where": banned}, message, unknown, tuple(notes))
    if criteria.get("allowed_licenses"):
        allowed = {"fact": "spdx", "in": _named(_list(criteria, "allowed_licenses"), notes)}
        return Question({"some": "licences", "where": {"not": allowed}}, message, unknown, tuple(notes))
    raise NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")


def _named(licences: Any, notes: list[str]) -> list[str]:
    """Those that SPDX names. The others are noted; a component that carries one has an unknown licence here."""
    named = [str(each) for each in licences if parse_licence(str(each)) is not None]
    strange = [str(each) for each in licences if str(each) not in named]
    if not named:
        raise NoEqualError(f"licences that SPDX does not name: {', '.join(map(repr, strange))[:200]}")
    notes += [f"licence {each[:80]!r} is none of SPDX, and is left out of the list" for each in strange]
    return named


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
