"""Explanation data: how every rule came out, for every verdict.

What fired or is unknown is worked out with the verdict. The rules that are false are only numbers until somebody asks:
`RuleResults` keeps the facts and makes their results on demand, so that having them always costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from governance.model.canonical import Json, canonical_bytes
from governance.model.facts import Facts
from governance.model.verdict import Evidence, Finding, RuleResult, Truth, Verdict
from governance.policy.compile import CompiledPolicy, Plan


class RuleResults(Sequence[RuleResult]):
    """The results of all rules of the policies bound, by name. Equal to a tuple of the same results."""

    __slots__ = ("_facts", "_notable", "_order", "_plan", "_policy")

    def __init__(
        self, policy: CompiledPolicy, plan: Plan, facts: Facts, notable: Mapping[int, RuleResult]
    ) -> None:
        self._policy = policy
        self._plan = plan
        self._facts = facts
        self._notable = notable
        self._order: tuple[int, ...] | None = None

    @property
    def notable(self) -> tuple[RuleResult, ...]:
        """The rules that are not false, by name."""
        return tuple(sorted(self._notable.values(), key=lambda result: result.rule))

    def __len__(self) -> int:
        return sum(len(part.rules) for part in self._plan.parts)

    @overload
    def __getitem__(self, place: int) -> RuleResult: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[RuleResult, ...]: ...
    def __getitem__(self, place: int | slice) -> RuleResult | tuple[RuleResult, ...]:
        if isinstance(place, slice):
            return tuple(self._result(number) for number in self._numbers()[place])
        return self._result(self._numbers()[place])

    def __iter__(self) -> Iterator[RuleResult]:
        return map(self._result, self._numbers())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the plain tuple: compiled rules hold closures."""
        return tuple, (tuple(self),)

    def _numbers(self) -> tuple[int, ...]:
        if self._order is None:
            rules = self._policy.rules
            numbers = [number for part in self._plan.parts for number in part.rules]
            self._order = tuple(sorted(numbers, key=lambda number: rules[number].name))
        return self._order

    def _result(self, number: int) -> RuleResult:
        known = self._notable.get(number)
        if known is not None:
            return known
        rule = self._policy.rules[number]
        return RuleResult(
            rule=rule.name,
            effect=rule.effect,
            truth=Truth.FALSE,
            fired=False,
            evidence=rule.evidence(self._facts.values, self._facts.origins),
        )


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
