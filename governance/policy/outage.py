"""What a verdict becomes while a source of facts cannot be reached. Pure: the caller looks for the earlier verdict.

1. Nothing changes where every source answered, or where the verdict lets the request pass anyhow.
2. Nothing is overruled that is known: a rule that objects on facts, not for want of them, stands, and so does a
   default that no allow rule could have opened.
3. Else the set's rule for the environment counts: refuse, or let an earlier verdict on the same question stand up to an
   age. Either way the verdict says that it is degraded, and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from governance.model.verdict import Effect, Truth, Verdict
from governance.policy.documents import OutageRule, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A recorded verdict about the same bytes, action, actor and environment under the same policy, itself not
    degraded. `age` in seconds; `waivers` are the names of those that it rested on, `grace_until` is when the first grace ends
    that it rested on."""

    decision_id: str
    decision: Effect
    age: int
    waivers: tuple[str, ...] = ()
    grace_until: datetime | None = None


def is_degraded_refusal(verdict: Verdict, unreachable: tuple[str, ...], policies: Iterable[Policy]) -> bool:
    """Whether the verdict of these policies refuses for no other reason than that somebody gave no answer (1 and 2)."""
    refusing = {name for name, decision in verdict.by_policy if decision >= Effect.QUARANTINE}
    return bool(unreachable and refusing) and not any(
        _has_known_ground(verdict, policy) for policy in policies if policy.name in refusing
    )


def _has_known_ground(verdict: Verdict, policy: Policy) -> bool:
    """Whether a policy refuses on what is known: a rule that objects on facts, or a default that refuses, whatever else is
    unknown, since no allow rule holds or waits for a fact."""
    rules = [result for result in verdict.rules if result.rule.partition("/")[0] == policy.name]
    if any(
        result.truth is Truth.TRUE
        and result.effect >= Effect.QUARANTINE
        and result.waiver is None
        and result.grace is None
        for result in rules
    ):
        return True
    is_open = any(result.effect is Effect.ALLOW and result.truth is not Truth.FALSE for result in rules)
    return policy.default >= Effect.QUARANTINE and not is_open


def in_outage(
    verdict: Verdict, unreachable: tuple[str, ...], rule: OutageRule, earlier: Earlier | None
) -> Verdict:
    """The verdict that counts (3), for one of which `is_degraded_refusal` is true."""
    silent = f"no answer from {', '.join(unreachable)}"
    if rule.max_age is None:
        return verdict._replace(degraded=f"{silent}; refused")
    if earlier is None or earlier.decision >= Effect.QUARANTINE or not 0 <= earlier.age <= rule.max_age:
        return verdict._replace(degraded=f"{silent}; no verdict of the last {rule.max_age} s to fall back on")
    return verdict._replace(
        decision=earlier.decision,
        retry_after=None,
        degraded=f"{silent}; the verdict of decision {earlier.decision_id}, {earlier.age} s ago, stands",
    )
