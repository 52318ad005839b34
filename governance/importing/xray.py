"""Xray's policies and watches as policies of ours.

Promises: each rule is translated whole or left out with a note that says what has no equal here; every document that
comes out loads. What is translated is never milder than what Xray does: a filter of a watch that we do not have widens
the rule, and what is not known matches, where Xray lets it pass. Both are said in a note. Does not: enforce anything;
the set that goes with it observes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from governance.errors import PolicyInvalidError
from governance.policy.load import load_files
from governance.xray.rules import XrayPolicy, XrayRule, XrayWatch

Tree = dict[str, Any]

SET_NAME = "xray-import"
_SEVERITIES = {"critical": "critical", "high": "high", "medium": "medium", "low": "low"}
_ECOSYSTEMS = {
    "pypi": "pypi",
    "npm": "npm",
    "maven": "maven",
    "go": "golang",
    "cargo": "cargo",
    "nuget": "nuget",
}
_ADVISORY = "{matched.label} ({matched.severity}, CVSS {matched.cvss})"
_SILENT_ACTIONS = {
    "fail_build": "failing builds",
    "fail_pull_request": "failing pull requests",
    "notify_deployer": "mail to the deployer",
    "notify_watch_recipients": "mail to the watch's recipients",
    "block_release_bundle_distribution": "blocking release bundles",
    "block_release_bundle_promotion": "blocking release bundles",
    "create_ticket_enabled": "opening tickets",
    "mails": "mail",
    "webhooks": "webhooks",
}


class _NoEqualError(Exception):
    """A part of a rule that has no equal here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One document, with notes on what it does not say. `tree` is None where nothing of it could be brought over."""

    name: str
    source: str
    tree: Tree | None
    notes: tuple[str, ...] = ()
    is_bound: bool = False


class _Question(NamedTuple):
    """The condition of a rule, what it says, and what unknown means."""

    when: Tree
    message: str
    unknown: str = "match"


@dataclass(slots=True)
class _Scope:
    """The repositories that active watches put under a policy."""

    repositories: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def translate(policies: Sequence[XrayPolicy], watches: Sequence[XrayWatch]) -> tuple[Imported, ...]:
    """The policies, each bound to the repositories of the watches it is assigned to."""
    names: set[str] = set()
    return tuple(
        _policy(each, _scope(each, watches), names) for each in sorted(policies, key=lambda one: one.name)
    )


def set_tree(imported: Sequence[Imported]) -> Tree:
    """A set in which they observe, and those that no active watch uses are not in force."""
    bound = [each.name for each in imported if each.is_bound and each.tree is not None]
    bindings = [{"policies": bound, "environments": ["*"], "mode": "observe"}]
    return {
        "apiVersion": "mlgov/v1",
        "kind": "PolicySet",
        "metadata": {"name": SET_NAME, "revision": 1},
        "spec": {"bindings": bindings} if bound else {},
    }


def document_text(imported: Imported) -> str:
    """The file of a document, its notes as comments in front."""
    import yaml

    head = [f"# From Xray's policy {imported.source!r}, by `mlgov policy import xray`."]
    head += [f"# NOTE: {note}" for note in imported.notes]
    body: str = yaml.safe_dump(imported.tree, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body


def _policy(policy: XrayPolicy, scope: _Scope, names: set[str]) -> Imported:
    name = _name(policy.name, names)
    notes = list(scope.notes)
    rules: list[Tree] = []
    ids: set[str] = set()
    for rule in sorted(policy.rules, key=lambda one: one.priority):
        for tree in _rule(policy, rule, ids, notes):
            problem = _problem(tree)
            if problem is None:
                rules.append(tree)
            else:
                notes.append(f"rule {rule.name!r} has no equal here: {problem}")
    if rules:
        notes.append("what is not known matches here (`onUnknown`), where Xray lets it pass")
    return Imported(
        name=name,
        source=policy.name,
        tree=_document(name, policy, scope, rules) if rules else None,
        notes=tuple(dict.fromkeys(notes)) if rules else (*notes, "nothing of it could be brought over"),
        is_bound=bool(scope.repositories),
    )


def _document(name: str, policy: XrayPolicy, scope: _Scope, rules: Sequence[Tree]) -> Tree:
    match: Tree = {"actions": ["download", "load"]}
    if scope.repositories and "*" not in scope.repositories:
        match["repositories"] = sorted(scope.repositories)
    title = " ".join((policy.description or policy.name).split())
    return {
        "apiVersion": "mlgov/v1",
        "kind": "Policy",
        "metadata": {"name": name, "title": title[:200]},
        "spec": {"match": match, "default": "allow", "rules": list(rules)},
    }


def _problem(rule: Tree) -> str | None:
    """Why a rule does not load by itself, or None."""
    import yaml

    tree = {
        "apiVersion": "mlgov/v1", "kind": "Policy", "metadata": {"name": "p"},
        "spec": {"default": "allow", "rules": [rule]},
    }  # fmt: skip
    try:
        load_files({"rule.yaml": yaml.safe_dump(tree).encode()})
    except PolicyInvalidError as error:
        return error.problems[0].partition(" ")[2]
    return None


# -- watches


def _scope(policy: XrayPolicy, watches: Sequence[XrayWatch]) -> _Scope:
    scope = _Scope()
    for watch in watches:
        if policy.name not in watch.policies:
            continue
        if not watch.active:
            scope.notes.append(f"watch {watch.name!r} is not active, so its repositories are left out")
            continue
        for resource in watch.resources:
            if resource.type == "all-repos":
                scope.repositories.add("*")
            elif resource.type == "repository" and resource.name:
                scope.repositories.add(resource.name)
            else:
                scope.notes.append(
                    f"watch {watch.name!r}: resources of type {resource.type!r} have no equal here"
                )
                continue
            for kind in sorted({str(each.get("type")) for each in resource.filters}):
                scope.notes.append(
                    f"watch {watch.name!r} narrows {resource.name or 'its repositories'} by {kind!r}, which has no "
                    "equal here: the policy holds for all of it"
                )
    if not scope.repositories:
        scope.notes.append("no active watch puts a repository under it: it is not bound, and not in force")
    return scope


# -- rules


def _rule(policy: XrayPolicy, rule: XrayRule, ids: set[str], notes: list[str]) -> Iterator[Tree]:
    try:
        question = _condition(policy.type, rule.criteria)
    except _NoEqualError as error:
        notes.append(f"rule {rule.name!r} has no equal here: {error}")
    else:
        yield _tree(rule, ids, question, notes)
    if _blocking(rule).get("unscanned"):
        yield {
            "id": _name(f"{rule.name}-unscanned", ids),
            "effect": "quarantine",
            "severity": "medium",
            "when": {"fact": "scan.complete", "is": False},
            "onUnknown": "match",
            "message": "not fully scanned yet",
        }
    for action, words in _SILENT_ACTIONS.items():
        if rule.actions.get(action):
            notes.append(f"rule {rule.name!r}: {words} has no equal here")


def _tree(rule: XrayRule, ids: set[str], question: _Question, notes: list[str]) -> Tree:
    blocks = bool(_blocking(rule).get("active"))
    severity = str(
        rule.actions.get("custom_severity") or rule.criteria.get("min_severity") or "medium"
    ).lower()
    tree: Tree = {
        "id": _name(rule.name, ids),
        "effect": "block" if blocks else "warn",
        "severity": _SEVERITIES.get(severity, "medium"),
        "when": question.when,
        "onUnknown": question.unknown,
        "message": question.message,
    }
    days = _blocking(rule).get("grace_period_days") or 0
    if blocks and isinstance(days, int) and days > 0:
        tree["grace"] = {"production": f"{days}d", "staging": f"{days}d", "development": f"{days}d"}
        notes.append(
            f"rule {rule.name!r}: the grace of {days} days counts from the day an advisory reached us, in production, "
            "staging and development"
        )
    if not blocks:
        notes.append(f"rule {rule.name!r} blocks no download in Xray, so it warns here")
    return tree


def _blocking(rule: XrayRule) -> Mapping[str, Any]:
    found = rule.actions.get("block_download")
    return found if isinstance(found, Mapping) else {}


def _condition(kind: str, criteria: Mapping[str, Any]) -> _Question:
    """What a rule asks. Raises `_NoEqualError`."""
    if kind == "license":
        return _licences(criteria)
    if kind == "operational_risk":
        return _risk(criteria)
    if kind != "security":
        raise _NoEqualError(f"policies of type {kind!r}")
    for name in ("exposures", "sast"):
        if criteria.get(name):
            raise _NoEqualError(f"criterion {name!r}")
    if criteria.get("malicious_package"):
        return _Question({"fact": "xray.malicious", "is": True}, "{artifact.ref} is reported malicious")
    if criteria.get("package_name"):
        return _Question(_package(criteria), "depends on {matched.purl}")
    return _Question({"some": "vulnerabilities", "where": _all(list(_advisory(criteria)))}, _ADVISORY)


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
        raise _NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")
    if criteria.get("fix_version_dependant"):
        yield {"fact": "fix_available", "is": True}
    if criteria.get("applicable_cves_only"):
        yield {"fact": "applicable", "is": True}


def _severity(fact: str, word: str, *, fallback: Tree) -> Tree:
    lowered = word.strip().lower()
    if lowered in {"all severities", "unknown", "information"}:
        return fallback
    if lowered not in _SEVERITIES:
        raise _NoEqualError(f"severity {word!r}")
    return {"fact": fact, "gte": _SEVERITIES[lowered]}


def _package(criteria: Mapping[str, Any]) -> Tree:
    ecosystem = _ECOSYSTEMS.get(str(criteria.get("package_type") or "").lower())
    if ecosystem is None:
        raise _NoEqualError(f"packages of type {criteria.get('package_type')!r}")
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
        raise _NoEqualError(f"version range {text!r}")
    return ",".join(parts)


def _licences(criteria: Mapping[str, Any]) -> _Question:
    message = "{matched.component} is licensed under {matched.spdx}"
    unknown = "skip" if criteria.get("allow_unknown") else "match"
    if criteria.get("banned_licenses"):
        banned = {"fact": "spdx", "matches": {"requires": list(criteria["banned_licenses"])}}
        return _Question({"some": "licences", "where": banned}, message, unknown)
    if criteria.get("allowed_licenses"):
        allowed = {"fact": "spdx", "in": list(criteria["allowed_licenses"])}
        return _Question({"some": "licences", "where": {"not": allowed}}, message, unknown)
    raise _NoEqualError(f"criteria {', '.join(sorted(criteria)) or '(none)'}")


def _risk(criteria: Mapping[str, Any]) -> _Question:
    if not criteria.get("op_risk_min_risk"):
        raise _NoEqualError("custom operational risk")
    when = _severity(
        "operational_risk",
        str(criteria["op_risk_min_risk"]),
        fallback={"fact": "operational_risk", "exists": True},
    )
    return _Question(when, "operational risk of {artifact.ref} is {operational_risk}")


def _all(parts: Sequence[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else {"all": list(parts)}


def _name(text: str, taken: set[str]) -> str:
    """A name of ours, not yet taken."""
    base = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:56] or "x"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
