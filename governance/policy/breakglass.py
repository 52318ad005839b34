"""Break-glass: whether a refusal may be overridden in an emergency.

Promises: only where the policy set says so, and never a rule that is `waivable: never`. Does not: record it; the gate
writes down every decision that was made under a justification, also one that needed none.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.model.verdict import Effect, Verdict
from governance.policy.compile import CompiledPolicy
from governance.policy.environments import normal_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """A justification that was given beforehand, and what it came to for one decision. `needed` says that the verdict
    would have refused, `objection` why it still does.
    """

    justification: str
    needed: bool
    objection: str | None = None

    @property
    def opens(self) -> bool:
        """Whether the act is let through on this justification alone."""
        return self.needed and self.objection is None


def break_glass_objection(policy: CompiledPolicy, verdict: Verdict, environment: str) -> str | None:
    """Why the refusal stands all the same, or None where it may be overridden."""
    allowed = policy.bundle.set.break_glass if policy.bundle.set is not None else None
    if allowed is None or normal_environment(environment) not in allowed:
        return f"the policy set allows no break-glass in {normal_environment(environment)}"
    fixed = [one.rule for one in verdict.findings if one.effect >= Effect.QUARANTINE and not one.waivable]
    return f"{', '.join(fixed)} can never be waived" if fixed else None
