"""Waivers: whether one covers a match, and if not, why not.

Promises: a waiver touches only its rule, its artifact and digest, its scope and its time; it never becomes an allow.
Does not: verify who signed it; what reaches this module was accepted into the policy or the register.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from governance.model.canonical import canonical_digest
from governance.model.digest import Digest, Sha256, file_digest
from governance.model.facts import (
    CATALOGUE,
    OUT_OF_REACH,
    Collection,
    Facts,
    FactSpec,
    FactType,
    Unknown,
    find_spec,
)
from governance.model.people import is_same_person, person
from governance.model.request import Actor, Request, parse_utc, utc_text
from governance.model.verdict import RuleResult, Truth, Verdict, graces_in, waived_in
from governance.policy.compiled import MAX_MATCHED, CompiledRule
from governance.policy.condition import MEMBER, Record
from governance.policy.documents import Rule, Waivable, Waiver, WaiverRules
from governance.policy.environments import normal_environment
from governance.policy.mistakes import Mistakes, Path
from governance.policy.patterns import compile_glob
from governance.policy.wording import AT_LEAST, item_text

_PASSING = frozenset({FactType.DURATION, FactType.TIME})
"""Values that change by themselves: they are no part of what was known when a waiver was granted."""

_UNKNOWN = "unknown"


def fits_actor(pattern: str, actor: Actor) -> bool:
    """Whether a pattern of a scope names the actor: `group:` before a group, `user:` or nothing before a name."""
    if pattern.startswith("group:"):
        test = compile_glob(pattern[6:] or "*")
        return any(test(group) for group in actor.groups)
    return compile_glob(pattern.removeprefix("user:") or "*")(actor.name)


def holds_until(verdict: Verdict, waivers: Iterable[Waiver]) -> datetime | None:
    """When the first of the waivers and graces ends that a verdict rests on; None where it rests on none."""
    names = {name for _, name in waived_in(verdict.rules)}
    ends = [parse_utc(text) for text in graces_in(verdict.rules)]
    if names:  # there may be thousands of waivers, and few verdicts rest on one
        ends += ends_of(names, waivers)
    return min(ends, default=None)


def ends_of(names: Container[str], waivers: Iterable[Waiver]) -> list[datetime]:
    """When the waivers of these names end."""
    return [_end(waiver) for waiver in waivers if waiver.name in names]


def are_live(names: Iterable[str], waivers: Iterable[Waiver], at: datetime) -> bool:
    """Whether waivers that counted earlier under the same policy have not ended."""
    ends = {waiver.name: _end(waiver) for waiver in waivers}
    return all(name in ends and at < ends[name] for name in names)


def _end(waiver: Waiver) -> datetime:
    return waiver.expires if waiver.revoked_at is None else min(waiver.expires, waiver.revoked_at)


def addresses(waiver: Waiver, request: Request) -> bool:
    """Whether the waiver is about this artifact at all, whatever its bytes."""
    return waiver.ref == request.artifact.ref


def objection(
    waiver: Waiver,
    request: Request,
    *,
    findings: Callable[[], Digest],
    author: object = None,
    approvals: int = 1,
) -> str | None:
    """Why the waiver does not cover the match, or None where it does.

    `findings` is the digest of what is known now (see `known_digest`), `author` the one who is known to have made the
    artifact, `approvals` how many the set asks for.
    """
    why = _dated(waiver, request.at) or _elsewhere(waiver, request) or _unapproved(waiver, author, approvals)
    if why is not None:
        return why
    if waiver.findings is not None and waiver.findings != findings():
        return "what is found now is not what was known when it was granted"
    return None


def _unapproved(waiver: Waiver, author: object, approvals: int) -> str | None:
    if waiver.void is not None:
        return waiver.void
    if not waiver.approved_by:
        return "nobody has approved it"
    if isinstance(author, str):
        others = [name for name in waiver.approved_by if not is_same_person(name, author)]
        if len(others) < min(approvals, len(waiver.approved_by)):
            return f"one of its approvers, {author}, made the artifact"
    return None


def _elsewhere(waiver: Waiver, request: Request) -> str | None:
    if request.artifact.digest is None:
        return "the bytes have not been hashed yet"
    if waiver.digest != request.artifact.digest:
        return "it is for other bytes"
    environment = normal_environment(request.environment)
    if waiver.environments is not None and not any(
        compile_glob(one)(environment) for one in waiver.environments
    ):
        return f"it does not hold in {environment}"
    if waiver.actors is not None and not any(fits_actor(one, request.actor) for one in waiver.actors):
        return "it does not hold for this actor"
    return None


def known_digest(
    rule: CompiledRule, result: RuleResult, facts: Facts, catalogue: Mapping[str, FactSpec] = CATALOGUE
) -> Digest:
    """`findings_digest` over all items that matched: a result names only the worst of very many, and one that was added
    further down is a new finding too.
    """
    if len(result.matched) < MAX_MATCHED:
        return findings_digest(result, catalogue)
    items = rule.account.matched(facts.values, known=result.truth is Truth.TRUE)
    return findings_digest(result._replace(matched=tuple({item_text(item) for item in items})), catalogue)


def findings_digest(result: RuleResult, catalogue: Mapping[str, FactSpec] = CATALOGUE) -> Digest:
    """What was known about one rule's match: the items that matched, and the facts that do not change by themselves."""
    facts = {}
    for row in result.evidence:
        spec = find_spec(row.fact, catalogue)
        if spec is None or spec.type in _PASSING or spec.type is FactType.COLLECTION:
            continue
        # The reason why something is unknown may name a time or a host; that it is unknown is what counts.
        text = _UNKNOWN if row.value.startswith(f"{_UNKNOWN}: ") else row.value
        # Whether there may be more than is known is for `is_unheard`.
        facts[row.fact] = text[len(AT_LEAST) :].partition(" (")[0] if text.startswith(AT_LEAST) else text
    document = {
        "rule": result.rule,
        "matched": sorted(result.matched),
        "facts": [[name, value] for name, value in sorted(facts.items())],
    }
    digest: Sha256 = canonical_digest(document)
    return file_digest(digest)


UNHEARD = "it is for what was known when it was granted, and a source that may know more gave no answer"
"""Why a waiver of findings does not cover a match that is no more than these findings."""


def is_unheard(rule: CompiledRule, facts: Record) -> bool:
    """Whether the silence of a source may hide what would make the rule match besides the items known to: were these not there, it
    would match for want of the others."""
    named = facts.get(OUT_OF_REACH)
    silent = frozenset(named if isinstance(named, tuple) else ())
    parts = [facts.get(each.collection) for each in rule.account.witnesses if each.collection in silent]
    bounds = [getattr(facts.get(name), "at_least", None) for name, _ in rule.account.facts if name in silent]
    is_open = any(getattr(part, "missing", None) is not None for part in parts)
    is_open = is_open or any(bound is not None for bound in bounds)
    if not rule.match_unknown or not is_open:
        return False
    left = without_matched(rule, facts)
    return rule.test(left, left) is None


def without_matched(rule: CompiledRule, facts: Record) -> Record:
    """The facts without the items that made the rule match, and without what others are at least."""
    left = dict(facts)
    for name, _ in rule.account.facts:
        value = left.get(name)
        if isinstance(value, Unknown) and not isinstance(value.at_least, tuple):
            left[name] = replace(value, at_least=None)
    for witness in rule.account.witnesses:
        value = left.get(witness.collection)
        if isinstance(value, Collection):
            kept = tuple(item for item in value.items if witness.where(item, facts) is not witness.wanted)
            left[witness.collection] = Collection(kept, value.missing)
        elif isinstance(value, Unknown) and isinstance(value.at_least, tuple):
            texts = (
                each for each in value.at_least if witness.where({MEMBER: each}, facts) is not witness.wanted
            )
            left[witness.collection] = replace(value, at_least=tuple(texts))
    return left


def check_waiver(
    waiver: Waiver, rule: Rule | None, owner: str | None, rules: WaiverRules, mistakes: Mistakes
) -> None:
    """Note what keeps the waiver from ever counting: a rule that cannot be waived, too long a time, too few approvals."""
    at: Path = ("spec",)
    if waiver.revoked_at is not None or waiver.void is not None:
        return  # kept for the record, whatever the rules say today
    if rule is not None and rule.waivable is Waivable.NEVER:
        mistakes.add(
            (*at, "rule"),
            f"a rule that may be waived; this one is `waivable: never`: `mlgov waiver revoke {waiver.name}`",
            got=waiver.rule,
        )
    if rule is not None and not rule.effect:
        mistakes.add((*at, "rule"), "a rule that objects to something; this one allows", got=waiver.rule)
    if waiver.expires - waiver.starts > timedelta(days=rules.max_days):
        expected = f"a time at most {rules.max_days} days after `starts`"
        mistakes.add((*at, "expires"), expected, got=utc_text(waiver.expires))
    if not waiver.approved_by:
        return  # asked for, and not granted yet
    approvers, named = {person(name) for name in waiver.approved_by} - {""}, ", ".join(waiver.approved_by)
    if not rules.self_approval:
        approvers.discard(person(waiver.requested_by))
    if len(approvers) < rules.approvals:
        own = "" if rules.self_approval else " other than the one who asked"
        expected = f"at least {rules.approvals} approver(s){own}, each person counted once"
        mistakes.add((*at, "approvedBy"), expected, got=named)
    if rule is not None and rule.waivable is Waivable.OWNERS and person(owner or "") not in approvers:
        expected = f"the policy's owner ({owner or 'it names none'}) among the approvers"
        mistakes.add((*at, "approvedBy"), expected, got=named)


def _dated(waiver: Waiver, at: datetime) -> str | None:
    if waiver.revoked_at is not None and at >= waiver.revoked_at:
        return f"it was revoked on {_day(waiver.revoked_at)}"
    if at < waiver.starts:
        return f"it starts on {_day(waiver.starts)}"
    return f"it expired on {_day(waiver.expires)}" if at >= waiver.expires else None


def _day(at: datetime) -> str:
    return utc_text(at)[:19] + "Z"
