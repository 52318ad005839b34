"""Explanation data: how every rule came out, on what facts, and what matched, for every verdict.

What a verdict rests on is kept with it; the texts are made when somebody looks, so that having them always costs
nothing. `verdict_bytes` looks at everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from governance.model.canonical import Json, canonical_bytes
from governance.model.facts import Facts
from governance.model.request import Request
from governance.model.verdict import Effect, Evidence, Finding, RuleResult, Truth, Verdict
from governance.policy.compiled import CompiledRule, Judged
from governance.policy.lazy import Lazy


class Tempered(NamedTuple):
    """A match that grace or a waiver had something to say of: the effect that is left (None: waived), the name of the waiver
    that covers it, the time until which it is in grace, and why waivers that address it do not apply."""

    effect: Effect | None
    waiver: str | None = None
    grace: str | None = None
    remarks: tuple[Evidence, ...] = ()


class Ground(NamedTuple):
    """What a verdict rests on: `rules` are all rules of the policies bound, `judged` those of them that are not false,
    `special` what grace or a waiver had to say of these."""

    request: Request
    facts: Facts
    rules: tuple[CompiledRule, ...]
    judged: Sequence[Judged]
    special: Mapping[str, Tempered]


class EvidenceRows(Lazy[Evidence]):
    """The facts a rule rested on, and remarks such as why a waiver does not apply."""

    __slots__ = ()

    def __init__(self, made_from: tuple[CompiledRule, Facts, tuple[Evidence, ...]]) -> None:
        """From a rule, the facts, and remarks."""
        self._from = made_from
        self._made = None

    def _make(self) -> tuple[Evidence, ...]:
        rule, facts, remarks = self._from
        return (*rule.account.evidence(facts), *remarks)


class RuleResults(Lazy[RuleResult]):
    """The results of all rules of the policies bound, by name. `notable` are those that are not false; `fired` and `waived` are
    what a record says of these."""

    __slots__ = ()

    _from: Ground

    def __init__(self, made_from: Ground) -> None:
        """From what the verdict rests on."""
        self._from = made_from
        self._made = None

    def __len__(self) -> int:
        return len(self._from.rules)

    @property
    def notable(self) -> tuple[RuleResult, ...]:
        """The rules that are not false, by name, in full."""
        facts, special = self._from.facts, self._from.special
        return tuple([
            rule_result(rule, facts, truth, special.get(rule.name))
            for rule, truth in sorted(self._from.judged, key=_by_name)
        ])  # fmt: skip

    @property
    def fired(self) -> list[str]:
        """The names of the rules that fired, sorted."""
        names = [rule.name for rule, truth in self._from.judged if truth or (truth is None and rule.match_unknown)]  # fmt: skip
        names.sort()
        return names

    @property
    def waived(self) -> list[tuple[str, str]]:
        """The rules that a live waiver covers, sorted, each with the waiver's name."""
        special = self._from.special
        if not special:
            return []
        return sorted(
            (rule, tempered.waiver) for rule, tempered in special.items() if tempered.waiver is not None
        )

    @property
    def graces(self) -> list[str]:
        """The times until which matches are in grace."""
        return [one.grace for one in self._from.special.values() if one.grace is not None]

    def _make(self) -> tuple[RuleResult, ...]:
        truths = {rule.name: truth for rule, truth in self._from.judged}
        facts, special = self._from.facts, self._from.special
        return tuple([
            rule_result(rule, facts, truths.get(rule.name, False), special.get(rule.name))
            for rule in self._from.rules
        ])  # fmt: skip


def _by_name(one: Judged) -> str:
    return one[0].name


def rule_result(
    rule: CompiledRule, facts: Facts, truth: bool | None, tempered: Tempered | None = None
) -> RuleResult:
    """How a rule came out, and what grace or a waiver made of it."""
    fired = truth is True or (truth is None and rule.match_unknown)
    return RuleResult(
        rule=rule.name,
        effect=rule.effect,
        truth=_TRUTHS[truth],
        fired=fired,
        evidence=EvidenceRows((rule, facts, ())),
        matched=rule.account.matched_texts(facts.values, known=truth is True) if fired else (),
        waiver=tempered.waiver if tempered is not None else None,
        grace=tempered.grace if tempered is not None else None,
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
