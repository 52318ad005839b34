"""What is done when a source of facts cannot be reached: refuse, or fall back to the last verdict, recorded as degraded.

Promises: pure; only a refusal that rests on nothing but unknown facts is ever softened; a degraded verdict is never
itself a ground to fall back on, so that an outage cannot feed on itself. Does not: remember verdicts; the caller hands
in the last one.

1. A verdict that does not refuse stands.
2. A refusal with a ground that is known stands: an objecting rule that is true, or a default that refuses although
   every allow rule of its policy is known.
3. A rule of `block` (or none) lets the refusal stand.
4. Else the last verdict stands in if it let the same bytes pass, for the same action, under the same policy, was not
   degraded itself, and is not older than `maxAge`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from governance.model.digest import Digest, Sha256
from governance.model.facts import Collection, Facts, Unknown
from governance.model.request import Action, Request, utc_text
from governance.model.verdict import Effect, Truth, Verdict
from governance.policy.documents import OutageRule
from governance.policy.wording import age_text, safe_text

_MAX_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LastVerdict:
    """What was decided about some bytes before, as the record has it."""

    decision: Effect
    at: datetime
    action: Action
    artifact_digest: Digest | None
    policy_digest: Sha256
    is_degraded: bool


def settle_outage(
    rule: OutageRule, verdict: Verdict, request: Request, facts: Facts, last: LastVerdict | None
) -> Verdict:
    """The verdict to act on: the one given, or the last one marked as degraded. See the list above."""
    if verdict.decision < Effect.QUARANTINE or not rests_on_unknowns(verdict):  # 1, 2
        return verdict
    if (
        rule.max_age is None or last is None or not _may_stand_in(last, verdict, request, rule.max_age)
    ):  # 3, 4
        return verdict
    age = int((request.at - last.at).total_seconds())
    return replace(
        verdict,
        decision=last.decision,
        retry_after=None,
        degraded=(
            f"the verdict of {utc_text(last.at)} ({age_text(age)} old) stands in for a refusal, "
            f"since these facts are not known: {unknown_facts(facts)}"
        ),
    )


def rests_on_unknowns(verdict: Verdict) -> bool:
    """Whether nothing that is known speaks for the refusal, so that it comes from an outage alone."""
    refusing = {name for name, decision in verdict.by_policy if decision >= Effect.QUARANTINE}
    for policy in refusing:
        rules = [row for row in verdict.rules if row.rule.partition("/")[0] == policy]
        objecting = [
            row
            for row in rules
            if row.fired and row.waiver is None and row.grace is None and row.effect >= Effect.QUARANTINE
        ]
        if any(row.truth is Truth.TRUE for row in objecting):
            return False
        might_allow = any(row.effect is Effect.ALLOW and row.truth is Truth.UNKNOWN for row in rules)
        if not objecting and not might_allow:
            return False
    return bool(refusing)


def unknown_facts(facts: Facts) -> str:
    """The names of the facts that are not known, the first few of them."""
    names = sorted(
        name
        for name, value in facts.values.items()
        if isinstance(value, Unknown) or (isinstance(value, Collection) and not value.is_complete)
    )
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return safe_text(", ".join(names[:_MAX_NAMED])) + more if names else "some that nobody supplies"


def _may_stand_in(last: LastVerdict, verdict: Verdict, request: Request, max_age: int) -> bool:
    age = request.at - last.at
    return (
        last.decision <= Effect.WARN
        and not last.is_degraded
        and last.action is request.action
        and last.artifact_digest is not None
        and last.artifact_digest == request.artifact.digest
        and last.policy_digest == verdict.policy_digest
        and timedelta(0) <= age <= timedelta(seconds=max_age)
    )
