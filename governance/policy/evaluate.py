"""The verdict: pure and total. No clock, file or network, and no exception on odd facts.

1. Collect the policies that are bound to the request.
2. Judge every rule: true, false or unknown; unknown follows the rule's `onUnknown`.
3. A match that a live waiver covers is kept in the record and neither blocks nor allows; one whose every ground is
   still in grace only warns.
4. In a policy the highest effect wins: block > quarantine > warn > allow > default. A warn does not open a default
   that refuses.
5. Across policies the strictest wins.
6. No policy at all is block in production and warn elsewhere, and says so.

The caller must still apply the binding's mode (`CompiledPolicy.mode_for`); the verdict reads the same in every mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from governance.model.facts import Facts
from governance.model.request import Request
from governance.model.verdict import Effect, Evidence, Finding, Severity, Verdict
from governance.policy.combining import mask_of
from governance.policy.compile import CompiledPolicy
from governance.policy.compiled import CompiledRule, Judged
from governance.policy.environments import is_production, normal_environment
from governance.policy.explain import Ground, RuleResults, Tempered, rule_result
from governance.policy.findings import Findings
from governance.policy.grace import grace_until
from governance.policy.plan import Plan
from governance.policy.waiver import UNHEARD, addresses, is_unheard, known_digest, objection
from governance.policy.wording import safe_text

DEFAULT_RETRY = 60
"""Seconds after which a quarantined request may be tried again, where no policy says."""

NO_POLICY = "mlgov/no-policy"
"""Name of the finding about a request that no policy binds."""

_new = tuple.__new__  # what a named tuple's own constructor comes to, without the call in between
_NONE_SPECIAL: Mapping[str, Tempered] = MappingProxyType({})


def evaluate(policy: CompiledPolicy, request: Request, facts: Facts) -> Verdict:
    """What the policy says of the request on these facts."""
    plan = policy.plan_for(request)  # 1
    if not plan.parts:
        return _unbound(policy, request, facts)  # 6
    record = facts.record
    held, mask, touched, tests = plan.left(record)  # 2
    judged = list(held)
    for rule, test, may_soften in tests:
        truth = test(record, record)
        if truth is False:
            continue
        judged.append((rule, truth))
        if truth is True or rule.match_unknown:
            if may_soften:
                touched = (*touched, (rule, truth))
            else:
                mask |= rule.mask
    special: Mapping[str, Tempered] = _NONE_SPECIAL
    if touched:
        special, effects = _tempered(policy, touched, request, facts)  # 3
        mask |= effects
    by_policy, decision = plan.outcome(mask)  # 4, 5
    ground = _new(Ground, (request, facts, plan.rules, judged, special))
    retry = _retry_after(plan, judged, special, by_policy) if decision is Effect.QUARANTINE else None
    return _new(
        Verdict,
        (
            decision,
            policy.digest,
            facts.digest(),
            Findings(ground),
            RuleResults(ground),
            plan.names,
            by_policy,
            policy.revision,
            retry,
            None,
        ),
    )


def _tempered(
    policy: CompiledPolicy, touched: Sequence[Judged], request: Request, facts: Facts
) -> tuple[dict[str, Tempered], int]:
    """What becomes of the matches that grace or a waiver may soften, and the effects that are left of them."""
    special: dict[str, Tempered] = {}
    mask = 0
    for rule, truth in touched:
        tempered = _temper(policy, rule, request, facts, truth=truth)
        if tempered is None:
            mask |= rule.mask
            continue
        special[rule.name] = tempered
        if tempered.effect is not None:
            mask |= mask_of(rule.policy, tempered.effect)
    return special, mask


def _temper(
    policy: CompiledPolicy, rule: CompiledRule, request: Request, facts: Facts, *, truth: bool | None
) -> Tempered | None:
    """What becomes of a match that grace or a waiver may soften. None where neither has anything to say of it."""
    until = grace_until(rule, request, facts.values) if rule.grace else None
    remarks: list[Evidence] = []
    for waiver in policy.waivers.get(rule.name, ()):
        if not rule.waivable or not addresses(waiver, request):
            continue
        why_not = objection(
            waiver,
            request,
            findings=lambda: known_digest(rule, rule_result(rule, facts, truth), facts, policy.catalogue),
            author=facts.values.get("artifact.created_by"),
            approvals=policy.bundle.set.waivers.approvals if policy.bundle.set else 1,
        )
        if (
            why_not is None
            and waiver.findings is not None
            and truth is True
            and is_unheard(rule, facts.record)
        ):
            why_not = UNHEARD
        if why_not is None:
            return Tempered(effect=None, waiver=waiver.name, grace=until)
        remarks.append(Evidence(fact="waiver", value=f"{waiver.name} does not apply: {why_not}"))
    if until is None and not remarks:
        return None
    return Tempered(rule.effect if until is None else Effect.WARN, grace=until, remarks=tuple(remarks))


def _retry_after(
    plan: Plan,
    judged: Sequence[Judged],
    special: Mapping[str, Tempered],
    by_policy: Sequence[tuple[str, Effect]],
) -> int:
    """The longest wait that a quarantining rule asks for, else that a quarantining policy does."""
    rules = [
        rule.rule.retry_after
        for rule, truth in judged
        if (truth is True or rule.match_unknown)
        and (special[rule.name].effect if rule.name in special else rule.effect) is Effect.QUARANTINE
    ]
    decisions = dict(by_policy)
    policies = [
        part.policy.retry_after for part in plan.parts if decisions[part.policy.name] is Effect.QUARANTINE
    ]
    asked = [wait for wait in rules if wait is not None] or [wait for wait in policies if wait is not None]
    return max(asked, default=DEFAULT_RETRY)


def _unbound(policy: CompiledPolicy, request: Request, facts: Facts) -> Verdict:
    environment = normal_environment(request.environment)
    effect = Effect.BLOCK if is_production(environment) else Effect.WARN
    finding = Finding(
        rule=NO_POLICY,
        effect=effect,
        severity=Severity.HIGH,
        message=(
            f"no policy is bound to {request.action.value} of {request.artifact.kind.value} "
            f"`{safe_text(request.artifact.ref)}` in {safe_text(environment, 40)}"
        ),
        remediation="Bind a policy to such requests; `mlgov check` shows which are.",
        waivable=False,
    )
    return Verdict(
        decision=effect,
        findings=(finding,),
        policy_digest=policy.digest,
        policy_revision=policy.revision,
        facts_digest=facts.digest(),
    )
