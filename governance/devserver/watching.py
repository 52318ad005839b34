"""Xray's own policies: watches on repositories, policies with rules, ignore rules, and the violations that follow.

Promises that violations follow from scans as they are now: nothing is stored, so a changed policy, file or ignore rule
shows at the next question. License and operational-risk rules are kept but match nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from governance.devserver.documents import Documents
from governance.devserver.items import Item
from governance.devserver.problems import Problem
from governance.devserver.scans import Scan
from governance.devserver.security import ant_match

RANK = {"unknown": 0, "information": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}

Issue = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One rule that matched one issue of one file."""

    watch: str
    policy: str
    rule: Mapping[str, Any]
    item: Item
    issue: Issue
    created: datetime

    @property
    def blocks(self) -> bool:
        """Whether the rule forbids downloads."""
        return bool(_blocking(self.rule).get("active"))

    @property
    def id(self) -> str:
        """Stable for the same watch, issue and file."""
        seed = "\0".join(
            (self.watch, self.issue["issue_id"], self.item.label, str(self.issue.get("component")))
        )
        return str(uuid.UUID(hashlib.sha256(seed.encode()).hexdigest()[:32]))


class Watching:
    """Policies, watches and ignore rules. The caller serialises access."""

    def __init__(self, documents: Documents, now: Callable[[], datetime]) -> None:
        self._documents = documents
        self._now = now
        self.policies: dict[str, dict[str, Any]] = dict(documents.load("policy"))
        self.watches: dict[str, dict[str, Any]] = dict(documents.load("watch"))
        self.ignored: dict[str, dict[str, Any]] = dict(documents.load("ignore-rule"))

    def save(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Create or replace a `policy`, `watch` or `ignore-rule`."""
        self._table(kind)[name] = body
        self._documents.put(kind, name, body)

    def remove(self, kind: str, name: str) -> None:
        """Remove one. A policy that a watch uses stays."""
        if kind == "policy" and (used := [watch for watch in self.watches if name in self.assigned(watch)]):
            raise Problem(409, f"Policy {name} is assigned to watches: {', '.join(used)}")
        self._table(kind).pop(name, None)
        self._documents.remove(kind, name)

    def _table(self, kind: str) -> dict[str, dict[str, Any]]:
        return {"policy": self.policies, "watch": self.watches, "ignore-rule": self.ignored}[kind]

    def assigned(self, watch: str) -> list[str]:
        """Names of a watch's policies."""
        return [each["name"] for each in self.watches[watch].get("assigned_policies") or []]

    # -- judging

    def blocks_unscanned(self, item: Item) -> bool:
        """Whether a rule forbids the download of a file that was not scanned."""
        return any(_blocking(rule).get("unscanned") for _, _, rule in self._rules(item))

    def may_block(self, item: Item) -> bool:
        """Whether any rule could block the file; asked before a scan is paid for."""
        return any(_blocking(rule).get("active") for _, _, rule in self._rules(item))

    def is_watched(self, item: Item) -> bool:
        """Whether any rule of an active watch applies to the file."""
        return next(self._rules(item), None) is not None

    def violations(
        self, item: Item, scan: Scan, issues: Sequence[Issue], *, ignored: bool = False
    ) -> Iterator[Violation]:
        """Violations of one file. `ignored` gives those that an ignore rule covers instead."""
        for watch, policy, rule in self._rules(item):
            for issue in issues:
                if not _meets(rule.get("criteria") or {}, issue):
                    continue
                found = Violation(
                    watch=watch,
                    policy=policy["name"],
                    rule=rule,
                    item=item,
                    issue=issue,
                    created=scan.at,
                )
                if (self.ignore_rule(found) is not None) is ignored:
                    yield found

    def _rules(self, item: Item) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        for name, watch in self.watches.items():
            if not watch.get("general_data", {}).get("active", True) or not _watches(watch, item):
                continue
            for policy_name in self.assigned(name):
                policy = self.policies.get(policy_name)
                if policy is not None and policy.get("type", "security") == "security":
                    for rule in policy.get("rules") or []:
                        yield name, policy, rule

    def ignore_rule(self, violation: Violation) -> dict[str, Any] | None:
        """The rule in force that covers a violation."""
        now = self._now()
        rules = (rule for rule in self.ignored.values() if _in_force(rule, now))
        return next((rule for rule in rules if _covers(rule, violation)), None)


def _blocking(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return (rule.get("actions") or {}).get("block_download") or {}


def _watches(watch: Mapping[str, Any], item: Item) -> bool:
    for resource in (watch.get("project_resources") or {}).get("resources") or []:
        named = resource.get("type") == "repository" and resource.get("name") == item.repo
        if (named or resource.get("type") == "all-repos") and _passes(resource.get("filters") or [], item):
            return True
    return False


def _passes(filters: list[dict[str, Any]], item: Item) -> bool:
    """Filters narrow a resource. Only ant patterns are understood; an unknown kind narrows nothing."""
    for each in filters:
        value = each.get("value")
        if each.get("type") in ("ant-patterns", "path-ant-patterns") and isinstance(value, dict):
            includes, excludes = value.get("IncludePatterns") or ["**"], value.get("ExcludePatterns") or []
            if not any(ant_match(pattern, item.path) for pattern in includes):
                return False
            if any(ant_match(pattern, item.path) for pattern in excludes):
                return False
    return True


def _meets(criteria: Mapping[str, Any], issue: Issue) -> bool:
    """Whether an issue meets a rule. All that a rule names must hold; a rule that names nothing holds never."""
    checks: list[bool] = []
    score, severity = issue["score"], RANK.get(str(issue["severity"]).lower(), 0)
    if criteria.get("min_severity"):
        wanted = str(criteria["min_severity"]).lower()
        checks.append(severity >= (0 if wanted == "all severities" else RANK.get(wanted, 0)))
    if isinstance(criteria.get("cvss_range"), dict):
        span = criteria["cvss_range"]
        checks.append(score is not None and float(span.get("from", 0)) <= score <= float(span.get("to", 10)))
    if criteria.get("vulnerability_ids"):
        checks.append(
            bool({issue["issue_id"], *issue["cve_ids"]}.intersection(criteria["vulnerability_ids"]))
        )
    if criteria.get("malicious_package"):
        checks.append(issue["malicious"])
    if criteria.get("package_name"):
        checks.append(_names_package(criteria, issue))
    if criteria.get("fix_version_dependant"):
        checks.append(bool(issue["fixed"]))
    return bool(checks) and all(checks)


def _names_package(criteria: Mapping[str, Any], issue: Issue) -> bool:
    if str(issue["package"]).lower() != str(criteria["package_name"]).lower():
        return False
    versions = criteria.get("package_versions") or []
    try:
        return not versions or any(issue["version"] in SpecifierSet(f"=={v.strip('[]')}") for v in versions)
    except InvalidSpecifier:
        return False


def _in_force(rule: Mapping[str, Any], now: datetime) -> bool:
    expires = rule.get("expires_at")
    return not expires or datetime.fromisoformat(expires) > now


def _covers(rule: Mapping[str, Any], violation: Violation) -> bool:
    """Every filter of the rule must hold, and there must be one."""
    filters, issue = rule.get("ignore_filters") or {}, violation.issue
    known: dict[str, set[str]] = {
        "cves": set(issue["cve_ids"]),
        "vulnerabilities": {issue["issue_id"]},
        "watches": {violation.watch},
        "policies": {violation.policy},
    }
    checks = []
    for name, wanted in filters.items():
        if not wanted:
            continue
        if name in known:
            checks.append("any" in wanted or bool(known[name].intersection(wanted)))
        elif name == "components":
            checks.append(any(_is_component(each, issue) for each in wanted))
        elif name == "artifacts":
            checks.append(any(_is_artifact(each, violation.item) for each in wanted))
        else:
            checks.append(False)
    return bool(checks) and all(checks)


def _is_component(wanted: Mapping[str, str], issue: Issue) -> bool:
    name = str(wanted.get("name", "")).partition("://")[2] or wanted.get("name")
    return name == issue["package"] and wanted.get("version") in (None, "", issue["version"])


def _is_artifact(wanted: Mapping[str, str], item: Item) -> bool:
    path = str(wanted.get("path", "")).removeprefix("default/").strip("/")
    return wanted.get("name") == item.name and path in (
        "",
        item.repo,
        f"{item.repo}/{item.path}",
        f"{item.repo}/{item.parent}",
    )
