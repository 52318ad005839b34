"""What a verdict becomes while a source of facts cannot be reached. Pure: the caller looks for the earlier verdict.

1. Nothing changes where every source answered, or where the verdict lets the request pass anyhow.
2. Nothing is overruled but what the silence accounts for. A rule stands that objects on facts (that no waiver covers), or for want of facts whose source
   was not silent (a trust file that cannot be read, a scan that does not say), and so does a default that no allow rule would open.
3. Else the set's rule for the environment counts: refuse, or let an earlier verdict on the same question stand up to an
   age, if the policy would pass what was known then of the facts out of reach beside what is known now of all others. Either way
   the verdict says that it is degraded, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Collection, Facts, FactValue, Unknown
from governance.model.request import Request
from governance.model.verdict import Effect, RuleResult, Truth, Verdict
from governance.policy.compile import CompiledPolicy
from governance.policy.compiled import CompiledRule
from governance.policy.documents import OutageRule, Policy
from governance.policy.evaluate import evaluate
from governance.policy.literals import severity_key, severity_rank
from governance.policy.supposing import could_be
from governance.policy.waiver import UNHEARD, without_matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A recorded verdict about the same bytes, action, actor and environment under the same policy, itself not
    degraded. `age` in seconds; `waivers` are the names of those that it rested on, `grace_until` is when the first grace ends
    that it rested on, `until` when it may stand no longer. `now` is what the policy says
    with the facts out of reach as they were then (`effect_of_recalled`); None in a record of the time before that was asked, and
    where these facts are not at hand (`has_facts`)."""

    decision_id: str
    decision: Effect
    age: int
    waivers: tuple[str, ...] = ()
    grace_until: datetime | None = None
    until: datetime | None = None
    now: Effect | None = None
    has_facts: bool = True


WITHOUT_FACTS = (
    "cannot stand: the facts that it rested on are erased, or kept by a server that hands out none"
)
"""Of an earlier verdict."""


def outage_behind(
    verdict: Verdict, policy: CompiledPolicy, request: Request, facts: Facts
) -> tuple[str, ...]:
    """The sources that gave no answer, where the verdict refuses for no other reason (1 and 2). Else empty."""
    unreachable = facts.record.get(UNREACHABLE)
    refusing = {name for name, decision in verdict.by_policy if decision >= Effect.QUARANTINE}
    if not isinstance(unreachable, tuple) or not unreachable or not refusing:
        return ()
    waived = _but_for_silence(verdict)
    suppose = _supposing(facts, waived)
    judged: dict[str, list[Judgement]] = {name: [] for name in refusing}
    for rule, result in zip(policy.plan_for(request).rules, verdict.rules, strict=True):
        if rule.owner.name in refusing:
            judged[rule.owner.name].append((rule, result))
    owners = (each for each in policy.bundle.policies if each.name in refusing)
    if any(_has_other_ground(owner, judged[owner.name], suppose, waived) for owner in owners):
        return ()
    return unreachable


Judgement: TypeAlias = "tuple[CompiledRule, RuleResult]"
Supposing: TypeAlias = "Callable[[CompiledRule, bool], bool]"
"""Whether a rule that is unknown, or would be without what a waiver covers, could come out so, had the silent sources answered."""


def _but_for_silence(verdict: Verdict) -> frozenset[str]:
    """The rules of which all that is known to match would be waived."""
    remarks = ((each.rule, row) for each in verdict.findings for row in each.evidence if row.fact == "waiver")
    return frozenset(rule for rule, row in remarks if row.value.endswith(UNHEARD))


def _supposing(facts: Facts, waived: Container[str]) -> Supposing:
    if OUT_OF_REACH not in facts.record:
        # A record of the time before this fact. Then any unknown counted as one of the outage, and it is judged as it was then.
        return lambda _rule, _wanted: True
    named = facts.record[OUT_OF_REACH]
    out_of_reach = frozenset(named if isinstance(named, tuple) else ())

    def suppose(rule: CompiledRule, wanted: bool) -> bool:
        known = without_matched(rule, facts.record) if rule.name in waived else facts.record
        return could_be(wanted, rule, known, out_of_reach)

    return suppose


def _has_other_ground(
    policy: Policy, judged: Sequence[Judgement], suppose: Supposing, waived: Container[str]
) -> bool:
    """Whether a policy refuses whatever the silent sources would say: by a rule, or by its default, which no allow rule opens."""
    for rule, result in judged:
        is_eased = result.waiver is not None or result.grace is not None
        if not result.fired or result.effect < Effect.QUARANTINE or is_eased:
            continue
        if (result.truth is Truth.TRUE and rule.name not in waived) or not suppose(rule, False):
            return True
    is_open = any(
        result.fired or (result.truth is Truth.UNKNOWN and suppose(rule, True))
        for rule, result in judged
        if result.effect is Effect.ALLOW
    )
    return policy.default >= Effect.QUARANTINE and not is_open


def in_outage(
    verdict: Verdict, unreachable: tuple[str, ...], rule: OutageRule, earlier: Earlier | None
) -> Verdict:
    """The verdict that counts (3), for one behind which is an outage (`outage_behind`)."""
    silent = f"no answer from {', '.join(unreachable)}"
    if rule.max_age is None:
        return verdict._replace(degraded=f"{silent}; refused")
    if earlier is None or not 0 <= earlier.age <= rule.max_age:
        return verdict._replace(degraded=f"{silent}; no verdict of the last {rule.max_age} s to fall back on")
    known = f"{silent}; the verdict of decision {earlier.decision_id}, {earlier.age} s ago,"
    if earlier.decision >= Effect.QUARANTINE:
        return verdict._replace(degraded=f"{known} refused")
    if not earlier.has_facts:
        return verdict._replace(degraded=f"{known} {WITHOUT_FACTS}")
    decision = max(earlier.decision, earlier.now or earlier.decision)
    if decision >= Effect.QUARANTINE:
        return verdict._replace(degraded=f"{known} rested on what is not so any more")
    return verdict._replace(decision=decision, retry_after=None, degraded=f"{known} stands")


def effect_of_recalled(policy: CompiledPolicy, request: Request, facts: Facts, then: Facts) -> Effect:
    """What the policy says of the request where each fact out of reach is as it was `then`, and every other as it is now. The earlier
    verdict may never have looked at what it would have to stand for: nobody asked for the scan of a model without the alias."""
    out_of_reach = facts.record.get(OUT_OF_REACH)
    names = frozenset(out_of_reach if isinstance(out_of_reach, tuple) else ())
    values = dict(facts.record)
    for name, known in then.record.items():
        if name in names or (name.startswith("property.") and "property.*" in names):
            values[name] = _with_news(known, facts.record.get(name))
    return evaluate(policy, request, Facts(values, facts.origins)).decision


def _with_news(then: FactValue, now: FactValue) -> FactValue:
    """What was known of a fact, and what is now of a part of it: news of one source is not lost for the silence of another."""
    if isinstance(now, Unknown) and now.at_least is not None:
        return _with_bound(then, now)
    if not isinstance(now, Collection):
        return then
    if isinstance(then, Collection):
        return Collection((*then.items, *now.items), then.missing)
    return now if isinstance(then, Unknown) else then


def _with_bound(then: FactValue, now: Unknown) -> FactValue:
    """The same of a fact that is known now to be at least something. It stays unknown where it was, or was something of another sort."""
    known, least = then.at_least if isinstance(then, Unknown) else then, now.at_least
    both: str | float | tuple[str, ...]
    if isinstance(known, tuple) and isinstance(least, tuple):
        both = tuple(dict.fromkeys((*known, *least)))
    elif isinstance(known, str) and isinstance(least, str):
        ranks = severity_key(known), severity_key(least)
        if None in ranks:
            return now
        both = max(known, least, key=severity_rank)
    elif isinstance(known, int | float) and isinstance(least, int | float):
        both = max(known, least)
    else:
        return now
    return replace(now, at_least=both) if isinstance(then, Unknown) else both
