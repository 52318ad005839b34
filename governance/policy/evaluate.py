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

from collections.abc import Sequence
from dataclasses import replace

from governance.model.facts import Facts
from governance.model.request import Request
from governance.model.verdict import Effect, Evidence, Finding, RuleResult, Severity, Verdict
from governance.policy.combining import BITS, COMBINED
from governance.policy.compile import CompiledPolicy, Plan
from governance.policy.compiled import CompiledRule
from governance.policy.environments import is_production, normal_environment
from governance.policy.explain import Judged, RuleResults, rule_result
from governance.policy.findings import Findings, Objection
from governance.policy.grace import grace_until
from governance.policy.waiver import addresses, objection
from governance.policy.wording import safe_text

DEFAULT_RETRY = 60
"""Seconds after which a quarantined request may be tried again, where no policy says."""

NO_POLICY = "mlgov/no-policy"
"""Name of the finding about a request that no policy binds."""

_ALLOW, _QUARANTINE = Effect.ALLOW, Effect.QUARANTINE


def evaluate(policy: CompiledPolicy, request: Request, facts: Facts) -> Verdict:
    """What the policy says of the request on these facts."""
    plan = policy.plan_for(request)  # 1
    if not plan.parts:
        return _unbound(policy, request, facts)  # 6
    judged = _judge(policy, plan, facts)  # 2
    objections: list[Objection] = []
    special: dict[str, RuleResult] = {}
    effects: dict[int, int] = {}
    for rule, truth in judged:
        if truth is None and not rule.match_unknown:
            continue
        effect = rule.effect
        if rule.grace or rule.name in policy.waivers:
            objection = _temper(policy, rule, request, facts, truth=truth, special=special)  # 3
            if objection is None:
                continue
            effect = objection.effect
            objections.append(objection)
        elif effect is not _ALLOW:
            objections.append(Objection(rule, effect, truth is True))
        effects[rule.policy] = effects.get(rule.policy, 0) | BITS[effect]
    by_policy = tuple(
        [
            (part.policy.name, COMBINED[part.policy.default][effects.get(part.number, 0)])
            for part in plan.parts
        ]
    )  # 4
    decision = max([one for _, one in by_policy])  # 5
    return Verdict(
        decision=decision,
        findings=Findings(request, facts, objections) if objections else (),
        rules=RuleResults(plan.rules, facts, judged, special),
        policies=plan.names,
        by_policy=by_policy,
        policy_digest=policy.digest,
        policy_revision=policy.revision,
        facts_digest=facts.digest(),
        retry_after=_retry_after(plan, objections, by_policy) if decision is _QUARANTINE else None,
    )  # fmt: skip


def _judge(policy: CompiledPolicy, plan: Plan, facts: Facts) -> Sequence[Judged]:
    """The rules that are not false, with their truth. The index leaves out only rules that are false."""
    values, rules, whole, numbers = facts.record, policy.rules, plan.whole, plan.numbers
    judged: list[Judged] = [
        (rule, truth) for rule in plan.always if (truth := rule.test(values, values)) is not False
    ]
    for place, sure in policy.index.find(values).items():
        rule = rules[place]
        if whole or rule.policy in numbers:
            test = rule.rest if sure else rule.test
            truth = True if test is None else test(values, values)
            if truth is not False:
                judged.append((rule, truth))
    return judged


def _temper(
    policy: CompiledPolicy,
    rule: CompiledRule,
    request: Request,
    facts: Facts,
    *,
    truth: bool | None,
    special: dict[str, RuleResult],
) -> Objection | None:
    """The objection of a rule that has grace or waivers; None where a waiver covers it. Its result is put into
    `special`.
    """
    until = grace_until(rule, request, facts.values) if rule.grace else None
    result = replace(rule_result(rule, facts, truth), grace=until)
    remarks: list[Evidence] = []
    for waiver in policy.waivers.get(rule.name, ()):
        if not rule.waivable or not addresses(waiver, request):
            continue
        why_not = objection(waiver, request, result, policy.catalogue)
        if why_not is None:
            special[rule.name] = replace(result, waiver=waiver.name)
            return None
        remarks.append(Evidence(fact="waiver", value=f"{waiver.name} does not apply: {why_not}"))
    special[rule.name] = result
    effect = Effect.WARN if until is not None else rule.effect
    return Objection(rule, effect, truth is True, tuple(remarks), until)


def _retry_after(plan: Plan, objections: Sequence[Objection], by_policy: Sequence[tuple[str, Effect]]) -> int:
    """The longest wait that a quarantining rule asks for, else that a quarantining policy does."""
    rules = [one.rule.rule.retry_after for one in objections if one.effect is _QUARANTINE]
    decisions = dict(by_policy)
    policies = [part.policy.retry_after for part in plan.parts if decisions[part.policy.name] is _QUARANTINE]
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
