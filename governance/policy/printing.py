"""From values back to the trees that the loader reads: the inverse of `reading`, and the canonical form of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.model.facts import CATALOGUE, FactSpec, FactType
from governance.model.request import utc_text
from governance.policy.condition import Scope
from governance.policy.documents import (
    Match,
    OutageRule,
    Policy,
    PolicyBundle,
    PolicySet,
    Rule,
    Waivable,
    Waiver,
)
from governance.policy.literals import duration_text
from governance.policy.parsing import condition_tree
from governance.policy.schema import API_VERSION

Tree = dict[str, Any]


def bundle_tree(bundle: PolicyBundle) -> Tree:
    """Everything that a verdict depends on, as one tree: documents sorted by kind and name, and facts from outside."""
    documents = [
        _canonical(policy_tree(policy, bundle.catalogue))
        for policy in sorted(bundle.policies, key=lambda one: one.name)
    ]
    if bundle.set is not None:
        documents.append(_without_floats(set_tree(bundle.set)))
    documents.extend(waiver_tree(waiver) for waiver in sorted(bundle.waivers, key=lambda one: one.name))
    outside = [_spec_tree(spec) for name, spec in sorted(bundle.catalogue.items()) if name not in CATALOGUE]
    return {"apiVersion": API_VERSION, "documents": documents, "facts": outside}


def policy_tree(policy: Policy, catalogue: Mapping[str, FactSpec] = CATALOGUE) -> Tree:
    """A policy as it could be written, its shorthand written out."""
    spec = _kept(
        {
            "match": _match_tree(policy.match) or None,
            "default": policy.default.word,
            "retryAfter": _duration(policy.retry_after),
            "rules": [_rule_tree(rule, Scope(catalogue)) for rule in policy.rules],
        }
    )
    metadata = _kept(
        {
            "name": policy.name,
            "title": policy.title,
            "owner": policy.owner,
            "controls": list(policy.controls) or None,
        }
    )
    return {"apiVersion": API_VERSION, "kind": "Policy", "metadata": metadata, "spec": spec}


def set_tree(policies: PolicySet) -> Tree:
    """A set as it could be written."""
    rules = policies.waivers
    spec = _kept({
        "extends": policies.extends,
        "layers": None if policies.layers is None else [
            _kept({"name": one.name, "extends": one.extends, "policies": list(one.policies)})
            for one in policies.layers
        ],
        "bindings": None if policies.bindings is None else [
            {"policies": list(one.policies), "environments": list(one.environments), "mode": one.mode.value}
            for one in policies.bindings
        ],
        "outage": {name: _outage_tree(rule) for name, rule in policies.outage},
        "waivers": {"maxDays": rules.max_days, "approvals": rules.approvals, "selfApproval": rules.self_approval},
        "breakGlass": None if policies.break_glass is None else {"environments": sorted(policies.break_glass)},
        "lists": {name: list(values) for name, values in policies.lists},
    })  # fmt: skip
    metadata = _kept(
        {
            "name": policies.name,
            "revision": policies.revision,
            "title": policies.title,
            "owner": policies.owner,
        }
    )
    return {"apiVersion": API_VERSION, "kind": "PolicySet", "metadata": metadata, "spec": spec}


def waiver_tree(waiver: Waiver) -> Tree:
    """A waiver as it could be written."""
    revoked = None
    if waiver.revoked_at is not None:
        revoked = _kept(
            {
                "at": utc_text(waiver.revoked_at),
                "by": waiver.revoked_by,
                "reason": waiver.revoked_reason,
            }
        )
    scope = _kept({"environments": _list(waiver.environments), "actors": _list(waiver.actors)})
    spec = _kept(
        {
            "rule": waiver.rule,
            "artifact": {"ref": waiver.ref, "digest": waiver.digest},
            "scope": scope or None,
            "findings": waiver.findings,
            "reason": waiver.reason,
            "ticket": waiver.ticket,
            "requestedBy": waiver.requested_by,
            "author": waiver.author,
            "approvedBy": list(waiver.approved_by),
            "starts": utc_text(waiver.starts),
            "expires": utc_text(waiver.expires),
            "revoked": revoked,
            "void": waiver.void,
        }
    )
    return {"apiVersion": API_VERSION, "kind": "Waiver", "metadata": {"name": waiver.name}, "spec": spec}


def _rule_tree(rule: Rule, scope: Scope) -> Tree:
    return _kept(
        {
            "id": rule.id,
            "title": rule.title,
            "effect": rule.effect.word,
            "severity": rule.severity.word,
            "waivable": None if rule.waivable is Waivable.APPROVERS else rule.waivable.value,
            "when": None if rule.when is None else condition_tree(rule.when, scope),
            "condition": rule.expression,
            "onUnknown": "match" if rule.match_unknown else "skip",
            "grace": {name: duration_text(seconds) for name, seconds in rule.grace} or None,
            "retryAfter": _duration(rule.retry_after),
            "message": rule.message,
            "remediation": rule.remediation,
        }
    )


def _match_tree(match: Match) -> Tree:
    return _kept(
        {
            "actions": None if match.actions is None else sorted(match.actions),
            "repositories": _list(match.repositories),
            "kinds": None if match.kinds is None else sorted(match.kinds),
            "environments": _list(match.environments),
            "actors": _list(match.actors),
        }
    )


def _outage_tree(rule: OutageRule) -> Tree:
    if rule.max_age is None:
        return {"action": "block"}
    return {"action": "last-verdict", "maxAge": duration_text(rule.max_age)}


def _spec_tree(spec: FactSpec) -> Tree:
    return _kept(
        {
            "name": spec.name,
            "type": spec.type.value,
            "source": spec.source,
            "meaning": spec.meaning,
            "unit": spec.unit,
            "ecosystem": spec.ecosystem,
            "form": spec.form,
            "bounds": None if spec.bounds is None else [repr(float(one)) for one in spec.bounds],
            "values": list(spec.values) or None,
            "fields": [_spec_tree(one) for one in spec.fields] or None,
        }
    )


def spec_from_tree(tree: Mapping[str, Any]) -> FactSpec:
    """Read what `_spec_tree` wrote."""
    return FactSpec(
        name=tree["name"],
        type=FactType(tree["type"]),
        source=tree["source"],
        meaning=tree["meaning"],
        unit=tree.get("unit"),
        ecosystem=tree.get("ecosystem"),
        form=tree.get("form"),
        bounds=None if "bounds" not in tree else (float(tree["bounds"][0]), float(tree["bounds"][1])),
        values=tuple(tree.get("values", ())),
        fields=tuple(spec_from_tree(one) for one in tree.get("fields", ())),
    )


def with_floats(tree: Any) -> Any:
    """The tree of a canonical document, its decimals turned back into numbers."""
    if isinstance(tree, Mapping):
        if tree.keys() == {"decimal"}:
            return float(str(tree["decimal"]))
        return {key: with_floats(value) for key, value in tree.items()}
    return [with_floats(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _canonical(policy: Tree) -> Tree:
    """The tree of a policy without floats, which stand in conditions alone."""
    for rule in policy["spec"]["rules"]:
        if "when" in rule:
            rule["when"] = _without_floats(rule["when"])
    return policy


def _without_floats(tree: Any) -> Any:
    """Canonical JSON has no floats: see `governance.model.canonical`. Most values are texts, and are not looked at twice."""
    if isinstance(tree, dict):
        return {
            key: value if value.__class__ is str else _without_floats(value) for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_without_floats(value) for value in tree]
    return {"decimal": repr(tree)} if isinstance(tree, float) else tree


def _kept(tree: Tree) -> Tree:
    return {key: value for key, value in tree.items() if value is not None}


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _duration(seconds: int | None) -> str | None:
    return None if seconds is None else duration_text(seconds)
