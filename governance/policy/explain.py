"""Explanation data: how every rule came out, on what facts, and what matched, for every verdict.

What a verdict rests on is kept with it; the texts are made when somebody looks, so that having them always costs
nothing. `verdict_bytes` looks at everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from governance.model.canonical import Json, canonical_bytes
from governance.model.facts import Facts
from governance.model.verdict import Evidence, Finding, RuleResult, Truth, Verdict
from governance.policy.compiled import CompiledRule
from governance.policy.lazy import Lazy

Judged: TypeAlias = "tuple[CompiledRule, bool | None]"
"""A rule and how it came out."""


class EvidenceRows(Lazy[Evidence]):
    """The facts a rule rested on, and remarks such as why a waiver does not apply."""

    __slots__ = ("_facts", "_remarks", "_rule")

    def __init__(self, rule: CompiledRule, facts: Facts, remarks: tuple[Evidence, ...] = ()) -> None:
        self._made = None
        self._rule = rule
        self._facts = facts
        self._remarks = remarks

    def _make(self) -> tuple[Evidence, ...]:
        return self._rule.evidence(self._facts) + self._remarks


class RuleResults(Lazy[RuleResult]):
    """The results of all rules of the policies bound, by name. `notable` are those that are not false."""

    __slots__ = ("_facts", "_judged", "_rules", "_special")

    def __init__(
        self,
        rules: tuple[CompiledRule, ...],
        facts: Facts,
        judged: Sequence[Judged],
        special: Mapping[str, RuleResult],
    ) -> None:
        """`rules` are those of the policies bound, `judged` those of them that are not false; `special` holds the
        results that a waiver or grace changed.
        """
        self._made = None
        self._rules = rules
        self._facts = facts
        self._judged = judged
        self._special = special

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def notable(self) -> tuple[RuleResult, ...]:
        """The rules that are not false, by name."""
        ordered = sorted(self._judged, key=lambda one: one[0].name)
        return tuple(self._result(rule, truth) for rule, truth in ordered)

    def _make(self) -> tuple[RuleResult, ...]:
        truths = {rule.name: truth for rule, truth in self._judged}
        return tuple(self._result(rule, truths.get(rule.name, False)) for rule in self._rules)

    def _result(self, rule: CompiledRule, truth: bool | None) -> RuleResult:
        return self._special.get(rule.name) or rule_result(rule, self._facts, truth)


def rule_result(rule: CompiledRule, facts: Facts, truth: bool | None) -> RuleResult:
    """How a rule came out, waivers and grace aside."""
    fired = truth is True or (truth is None and rule.match_unknown)
    return RuleResult(
        rule=rule.name,
        effect=rule.effect,
        truth=_TRUTHS[truth],
        fired=fired,
        evidence=EvidenceRows(rule, facts),
        matched=rule.matched_texts(facts.values, known=truth is True) if fired and rule.witnesses else (),
    )


_TRUTHS = {True: Truth.TRUE, False: Truth.FALSE, None: Truth.UNKNOWN}


def verdict_tree(verdict: Verdict) -> dict[str, Json]:
    """The verdict as a document: the same verdict has the same bytes on any machine (`verdict_bytes`)."""
    return {
        "decision": verdict.decision.word,
        "degraded": verdict.degraded,
        "facts": verdict.facts_digest,
        "findings": [_finding_tree(finding) for finding in verdict.findings],
        "policies": {name: decision.word for name, decision in verdict.by_policy},
        "policy": verdict.policy_digest,
        "retryAfter": verdict.retry_after,
        "revision": verdict.policy_revision,
        "rules": [_result_tree(result) for result in verdict.rules],
    }


def verdict_bytes(verdict: Verdict) -> bytes:
    """The canonical bytes of `verdict_tree`."""
    return canonical_bytes(verdict_tree(verdict))


def _finding_tree(finding: Finding) -> dict[str, Json]:
    return {
        "effect": finding.effect.word,
        "evidence": [_evidence_tree(row) for row in finding.evidence],
        "message": finding.message,
        "remediation": finding.remediation,
        "rule": finding.rule,
        "severity": finding.severity.word,
        "waivable": finding.waivable,
    }


def _result_tree(result: RuleResult) -> dict[str, Json]:
    return {
        "effect": result.effect.word,
        "evidence": [_evidence_tree(row) for row in result.evidence],
        "fired": result.fired,
        "grace": result.grace,
        "matched": list(result.matched),
        "rule": result.rule,
        "truth": result.truth.value,
        "waiver": result.waiver,
    }


def _evidence_tree(row: Evidence) -> dict[str, Json]:
    return {"at": row.observed_at, "fact": row.fact, "source": row.source, "value": row.value}
