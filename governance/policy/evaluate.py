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

from collections.abc import Iterable
from dataclasses import dataclass

from governance.model.facts import Facts
from governance.model.request import Request
from governance.model.verdict import Effect, Evidence, Finding, RuleResult, Severity, Truth, Verdict
from governance.policy.compile import CompiledPolicy, Plan
from governance.policy.compiled import CompiledRule, matched_texts
from governance.policy.environments import is_production, normal_environment
from governance.policy.explain import RuleResults
from governance.policy.grace import grace_until
from governance.policy.waiver import addresses, objection
from governance.policy.wording import safe_text

DEFAULT_RETRY = 60
"""Seconds after which a quarantined request may be tried again, where no policy says."""

NO_POLICY = "mlgov/no-policy"
"""Name of the finding about a request that no policy binds."""


@dataclass(frozen=True, slots=True)
class _Fired:
    """A rule that came out true, or unknown where unknown matches."""

    rule: CompiledRule
    result: RuleResult
    finding: Finding | None
    effect: Effect | None  # None: waived


def evaluate(policy: CompiledPolicy, request: Request, facts: Facts) -> Verdict:
    """What the policy says of the request on these facts."""
    plan = policy.plan_for(request)  # 1
    if not plan.parts:
        return _unbound(policy, request, facts)  # 6
    notable: dict[int, RuleResult] = {}
    fired: list[_Fired] = []
    for number, truth in _judged(policy, plan, facts):  # 2
        rule = policy.rules[number]
        if truth is None and not rule.match_unknown:
            notable[number] = _result(rule, facts, truth)
            continue
        one = _fire(policy, rule, request, facts, known=truth is True)  # 3
        notable[number] = one.result
        fired.append(one)
    by_policy = _decide(plan, fired)  # 4
    decision = max(by_policy.values())  # 5
    findings = sorted(
        (one.finding for one in fired if one.finding is not None),
        key=lambda found: (-found.effect, found.rule),
    )
    return Verdict(
        decision=decision,
        findings=tuple(findings),
        rules=RuleResults(policy, plan, facts, notable),
        policies=plan.names,
        by_policy=tuple(by_policy.items()),
        policy_digest=policy.digest,
        policy_revision=policy.revision,
        facts_digest=facts.digest(),
        retry_after=_retry_after(plan, fired) if decision is Effect.QUARANTINE else None,
    )


def _judged(policy: CompiledPolicy, plan: Plan, facts: Facts) -> Iterable[tuple[int, bool | None]]:
    """The rules that are not false, with their truth, by number. The index leaves out only rules that are false."""
    values, rules = facts.values, policy.rules
    served: Iterable[int] = policy.index.find(values)
    if not plan.whole:
        served = [number for number in served if rules[number].policy in plan.numbers]
    judged = []
    for number in (*plan.always, *served):
        truth = rules[number].test(values, values)
        if truth is not False:
            judged.append((number, truth))
    return judged


def _fire(
    policy: CompiledPolicy, rule: CompiledRule, request: Request, facts: Facts, *, known: bool
) -> _Fired:
    values = facts.values
    items = rule.matched(values, known=known) if rule.witnesses else []
    until = grace_until(rule, request, values) if rule.grace else None
    evidence = rule.evidence(values, facts.origins)
    result = RuleResult(
        rule=rule.name,
        effect=rule.effect,
        truth=Truth.TRUE if known else Truth.UNKNOWN,
        fired=True,
        evidence=evidence,
        matched=matched_texts(items) if items else (),
        grace=until,
    )
    for waiver in policy.waivers.get(rule.name, ()):
        if not rule.waivable or not addresses(waiver, request):
            continue
        why_not = objection(waiver, request, result, policy.catalogue)
        if why_not is None:
            waived = _with_waiver(result, waiver.name)
            return _Fired(rule, waived, None, None)
        evidence = (*evidence, Evidence(fact="waiver", value=f"{waiver.name} does not apply: {why_not}"))
    effect = Effect.WARN if until is not None else rule.effect
    if effect is Effect.ALLOW:
        return _Fired(rule, result, None, effect)
    names = {**rule.names, "request.action": request.action.value, "matched.count": str(len(items)),
             "evidence.sources": ", ".join(sorted({row.source for row in evidence if row.source})) or "nobody"}  # fmt: skip
    item = items[0] if items else None
    message = rule.message.fill(names, values, item)
    if len(items) > 1:
        message += f" (and {len(items) - 1} more)"
    if not known:
        reasons = "; ".join(safe_text(reason, 120) for reason in rule.unknowns(values)[:3])
        message += f" (not known: {reasons or 'some of what the rule reads'})"
    if until is not None:
        message += f" (in grace until {until})"
    finding = Finding(
        rule=rule.name,
        effect=effect,
        severity=rule.severity,
        message=message,
        remediation=rule.remediation.fill(names, values, item) if rule.remediation else None,
        waivable=rule.waivable,
        evidence=evidence,
    )
    return _Fired(rule, result, finding, effect)


def _result(rule: CompiledRule, facts: Facts, truth: bool | None) -> RuleResult:
    """A rule that did not fire."""
    return RuleResult(
        rule=rule.name,
        effect=rule.effect,
        truth=Truth.UNKNOWN if truth is None else Truth.FALSE,
        fired=False,
        evidence=rule.evidence(facts.values, facts.origins),
    )


def _with_waiver(result: RuleResult, name: str) -> RuleResult:
    return RuleResult(
        rule=result.rule,
        effect=result.effect,
        truth=result.truth,
        fired=True,
        evidence=result.evidence,
        matched=result.matched,
        waiver=name,
        grace=result.grace,
    )


def _decide(plan: Plan, fired: list[_Fired]) -> dict[str, Effect]:
    """What each policy says."""
    effects: dict[int, list[Effect]] = {}
    for one in fired:
        if one.effect is not None:
            effects.setdefault(one.rule.policy, []).append(one.effect)
    return {
        part.policy.name: combine(part.policy.default, effects.get(part.number, ())) for part in plan.parts
    }


def combine(default: Effect, effects: Iterable[Effect]) -> Effect:
    """The effect of one policy: the highest that matched; where only warns did, they raise an `allow` by default."""
    matched = set(effects)
    highest = max(matched, default=None)
    if highest is None:
        return default
    if highest is Effect.WARN and Effect.ALLOW not in matched:
        return max(highest, default)
    return highest


def _retry_after(plan: Plan, fired: list[_Fired]) -> int:
    """The longest wait that a quarantining rule or policy asks for."""
    waits = {part.number: part.policy.retry_after for part in plan.parts}
    asked = [
        one.rule.rule.retry_after or waits[one.rule.policy]
        for one in fired
        if one.effect is Effect.QUARANTINE
    ]
    defaults = [part.policy.retry_after for part in plan.parts if part.policy.default is Effect.QUARANTINE]
    return max((wait for wait in (*asked, *defaults) if wait is not None), default=DEFAULT_RETRY)


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
