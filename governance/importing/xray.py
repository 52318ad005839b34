"""Xray's policies and watches as policies of ours.

Promises: each rule is translated whole or left out with a note that says what has no equal here; every document that
comes out loads. What is translated is no milder than what Xray does: a filter of a watch that we do not have widens
the rule, and what is not known matches, where Xray lets it pass. Both are said in a note; so is what Xray sees and we do not, files
asked for by another repository's key and packages inside a file. Does not: enforce anything; the set that goes with it observes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.errors import PolicyInvalidError
from governance.importing.criteria import SEVERITIES, NoEqualError, Question, Tree, condition
from governance.policy.load import load_files
from governance.xray.rules import XrayPolicy, XrayRule, XrayWatch

SET_NAME = "xray-import"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One document, with notes on what it does not say. `tree` is None where nothing of it could be brought over."""

    name: str
    source: str
    tree: Tree | None
    notes: tuple[str, ...] = ()
    is_bound: bool = False


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
    if scope.repositories and "*" not in scope.repositories:
        scope.notes.append(
            "its repositories are meant by these keys alone, where Xray stops the files whatever key they are asked for by: add "
            "the keys of virtual repositories and of caches (`KEY-cache`) that show them"
        )
    if not scope.repositories:
        scope.notes.append("no active watch puts a repository under it: it is not bound, and not in force")
    return scope


# -- rules


def _rule(policy: XrayPolicy, rule: XrayRule, ids: set[str], notes: list[str]) -> Iterator[Tree]:
    try:
        question = condition(policy.type, rule.criteria)
    except NoEqualError as error:
        notes.append(f"rule {rule.name!r} has no equal here: {error}")
    else:
        notes += [f"rule {rule.name!r}: {note}" for note in question.notes]
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


def _tree(rule: XrayRule, ids: set[str], question: Question, notes: list[str]) -> Tree:
    blocks = bool(_blocking(rule).get("active"))
    severity = str(
        rule.actions.get("custom_severity") or rule.criteria.get("min_severity") or "medium"
    ).lower()
    tree: Tree = {
        "id": _name(rule.name, ids),
        "effect": "block" if blocks else "warn",
        "severity": SEVERITIES.get(severity, "medium"),
        "when": question.when,
        "onUnknown": question.unknown,
        "message": question.message,
    }
    days = _blocking(rule).get("grace_period_days") or 0
    if blocks and isinstance(days, int) and days > 0:
        has_day = question.when.get("some") == "vulnerabilities"
        if has_day:
            tree["grace"] = {"production": f"{days}d", "staging": f"{days}d", "development": f"{days}d"}
        notes.append(
            f"rule {rule.name!r}: the grace of {days} days counts from the day an advisory reached us, in production, "
            "staging and development"
            if has_day
            else f"rule {rule.name!r}: a grace period has no equal here but for advisories, so it has none"
        )
    if not blocks:
        notes.append(f"rule {rule.name!r} blocks no download in Xray, so it warns here")
    return tree


def _blocking(rule: XrayRule) -> Mapping[str, Any]:
    found = rule.actions.get("block_download")
    return found if isinstance(found, Mapping) else {"active": bool(found)}


def _name(text: str, taken: set[str]) -> str:
    """A name of ours, not yet taken."""
    base = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:56] or "x"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
