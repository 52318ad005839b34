"""Verdicts: what the policy says, with everything it rests on. Values only; no act follows from making one."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from governance.model.canonical import Json
from governance.model.digest import Sha256


class Effect(enum.IntEnum):
    """What a rule asks for, ordered by strictness: the highest wins."""

    ALLOW = 0
    WARN = 1
    QUARANTINE = 2
    BLOCK = 3

    @property
    def word(self) -> str:
        """The lower-case word used in policy files and records."""
        return _EFFECT_WORDS[self]


_EFFECT_WORDS = tuple(each.name.lower() for each in Effect)


class Severity(enum.IntEnum):
    """How bad a finding is. `UNKNOWN` ranks above `NONE` and below `LOW`: it is not a claim of harmlessness."""

    NONE = 0
    UNKNOWN = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        """The lower-case word used in policy files and records."""
        return _SEVERITY_WORDS[self]


_SEVERITY_WORDS = tuple(each.name.lower() for each in Severity)


class Mode(enum.StrEnum):
    """What the gate does with a verdict. The verdict itself reads the same in every mode."""

    OBSERVE = "observe"
    WARN = "warn"
    ENFORCE = "enforce"


class Truth(enum.StrEnum):
    """Kleene's three values."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class Evidence(NamedTuple):
    """One fact a rule rested on: its name, its value as text, where it came from and when (RFC 3339, UTC). A tuple, since
    every objection has some, and judging many decisions again makes millions."""

    fact: str
    value: str
    source: str | None = None
    observed_at: str | None = None


class RuleResult(NamedTuple):
    """How one rule came out. `effect` is the rule's own; `matched` lists the items that satisfied a quantifier, each as
    a short text. `waiver` is the name of the live waiver that covers the match, if any. `grace` is the time (RFC 3339)
    until which the match only warns, if it does. A tuple for the reason that `Evidence` is one."""

    rule: str
    effect: Effect
    truth: Truth
    fired: bool
    evidence: Sequence[Evidence] = ()
    matched: tuple[str, ...] = ()
    waiver: str | None = None
    grace: str | None = None


class Finding(NamedTuple):
    """One rule's objection. `rule` is `policy/rule`. A tuple for the reason that `Evidence` is one."""

    rule: str
    effect: Effect
    severity: Severity
    message: str
    remediation: str | None = None
    waivable: bool = True
    evidence: Sequence[Evidence] = ()


class Verdict(NamedTuple):
    """The policy's answer. `decision` is as computed, whatever the mode. `policy_digest` and `facts_digest` are
    SHA-256 over the canonical form of what was judged by and on. `findings` are the fired, unwaived rules of effect
    warn or stricter, strictest first, then by rule name; `rules` are all rules of the policies bound, by name.
    `by_policy` is what each policy says by itself. `retry_after` is in seconds and stands with a quarantine.

    A tuple, since one is made for every decision, and a frozen dataclass takes five times as long to make.
    """

    decision: Effect
    policy_digest: Sha256
    facts_digest: Sha256
    findings: Sequence[Finding] = ()
    rules: Sequence[RuleResult] = ()
    policies: tuple[str, ...] = ()
    by_policy: tuple[tuple[str, Effect], ...] = ()
    policy_revision: int | None = None
    retry_after: int | None = None
    degraded: str | None = None


def fired_in(rules: Sequence[RuleResult]) -> Sequence[str]:
    """The names of the rules that fired, in the order of the results. Results that are made when somebody looks have them at
    hand as `fired`, and nobody has to look."""
    known: Sequence[str] | None = getattr(rules, "fired", None)
    return [result.rule for result in rules if result.fired] if known is None else known


def waived_in(rules: Sequence[RuleResult]) -> Sequence[tuple[str, str]]:
    """The rules that a live waiver covers, each with the waiver's name, in the order of the results (at hand: `waived`)."""
    known: Sequence[tuple[str, str]] | None = getattr(rules, "waived", None)
    if known is None:
        return [(result.rule, result.waiver) for result in rules if result.waiver is not None]
    return known


def graces_in(rules: Sequence[RuleResult]) -> Sequence[str]:
    """The times until which matches are in grace (at hand: `graces`)."""
    known: Sequence[str] | None = getattr(rules, "graces", None)
    return [result.grace for result in rules if result.grace is not None] if known is None else known


_LASTING = "trying again does not help: what is not known stays so until the artifact is changed"

DEGRADED = "degraded"
"""Among the `extra` of a refusal: which sources gave no answer, where it refuses for nothing else, and what was done."""

REFUSED_BY_DEFAULT = "no rule allows it, and the policy's default is to refuse"
"""The grounds of a refusal to which no rule objected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Everything a refused caller is told: the same content in the exception, in `application/problem+json` and in
    the record. `actor_hint` is the command that asks for a waiver, where one may be asked for. A quarantine without
    `retry_after` rests on what waiting does not change."""

    decision_id: str
    decision: Effect
    action: str
    artifact_kind: str
    artifact_ref: str
    artifact_digest: str | None
    environment: str
    policies: tuple[str, ...]
    policy_digest: str
    policy_revision: int | None
    findings: tuple[Finding, ...]
    retry_after: int | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_retryable(self) -> bool:
        """True for a quarantine: the same request may succeed later."""
        return self.decision is Effect.QUARANTINE

    @property
    def objections(self) -> tuple[Finding, ...]:
        """The findings that refuse, without those that warn. None where the policy's default refuses."""
        return tuple(finding for finding in self.findings if finding.effect >= Effect.QUARANTINE)

    @property
    def is_waivable(self) -> bool:
        """True where every objection may be waived, and there is a digest to tie a waiver to, so that asking is of use. An
        upload has none yet, and a default cannot be waived."""
        tied = self.artifact_digest is not None
        return tied and bool(self.objections) and all(finding.waivable for finding in self.objections)

    @property
    def waiver_command(self) -> str | None:
        """The command that asks for a waiver, or None where none may be asked for."""
        return f"mlgov waiver request --decision {self.decision_id}" if self.is_waivable else None

    def text(self) -> str:
        """The message of the exception: one line of what, a line per objection, then what to do."""
        word = "blocked" if self.decision is Effect.BLOCK else "quarantined"
        revision = f" revision {self.policy_revision}" if self.policy_revision is not None else ""
        named = (
            f"{', '.join(self.policies)}{revision}" if self.policies else "none is bound to such a request"
        )
        lines = [
            f"{self.action} of {self.artifact_kind} `{self.artifact_ref}` is {word} by policy ({named})",
        ]
        for finding in self.findings:
            lines.append(f"  [{finding.severity.word}] {finding.rule}: {finding.message}")
            if finding.remediation:
                lines.append(f"      what to do: {finding.remediation}")
            lines += [f"      waiver {row.value}" for row in finding.evidence if row.fact == "waiver"]
        if not self.objections:
            lines.append(f"  {REFUSED_BY_DEFAULT}")
        if self.extra.get(DEGRADED):
            lines.append(f"  in an outage: {self.extra[DEGRADED]}")
        if self.retry_after is not None:
            lines.append(f"  not final: try again in {self.retry_after} s")
        elif self.is_retryable:
            lines.append(f"  {_LASTING}")
        if self.extra.get("break_glass"):
            lines.append(f"  break-glass does not help: {self.extra['break_glass']}")
        if self.waiver_command:
            lines.append(f"  ask for a waiver: {self.waiver_command}")
        lines.append(f"  decision {self.decision_id}; environment {self.environment}")
        return "\n".join(lines)

    def next_step(self) -> str:
        """The one thing to do first."""
        if self.retry_after is not None:
            return f"try again in {self.retry_after} s"
        if self.is_retryable:
            return _LASTING
        if self.extra.get(DEGRADED):
            return (
                f"see to it that the source answers again (`mlgov doctor` tries each): {self.extra[DEGRADED]}"
            )
        first = next((finding.remediation for finding in self.objections if finding.remediation), None)
        return first or (self.waiver_command or "use another artifact")
