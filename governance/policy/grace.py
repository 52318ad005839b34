"""Grace: for how long a match only warns, counted from the day each finding reached us, never from its publication."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from governance.model.facts import Collection
from governance.model.request import Request, utc_text
from governance.policy.compiled import CompiledRule
from governance.policy.condition import Record
from governance.policy.environments import normal_environment
from governance.policy.literals import time_key
from governance.policy.quantifying import FIRST_SEEN

_LAST = datetime.max.replace(tzinfo=UTC)


def grace_until(rule: CompiledRule, request: Request, facts: Record) -> str | None:
    """When the grace of the first of the matching items ends; None where the match is not, or no longer, in grace.

    Every ground of the match must be in grace: with the items in grace left out, the rule must be false. An item
    whose `first_seen` is not known, or lies in the future, has no grace.
    """
    span = rule.grace.get(normal_environment(request.environment))
    if span is None:
        return None
    ends: list[datetime] = []
    remaining = dict(facts)
    for name in sorted({witness.collection for witness in rule.account.witnesses if witness.has_first_seen}):
        value = facts.get(name)
        if isinstance(value, Collection):
            grounds = [witness.where for witness in rule.account.witnesses if witness.collection == name]
            spared = {
                place: end
                for place, item in enumerate(value.items)
                if (end := _end(item, span, request.at)) is not None
                and any(where(item, facts) is not False for where in grounds)
            }
            ends.extend(spared.values())
            kept = tuple(item for place, item in enumerate(value.items) if place not in spared)
            remaining[name] = Collection(kept, value.missing)
    if not ends:
        return None
    return None if rule.test(remaining, remaining) is not False else utc_text(min(ends))


def _end(item: Record, span: int, at: datetime) -> datetime | None:
    seen = item.get(FIRST_SEEN)
    first = time_key(seen) if isinstance(seen, str) else None
    if first is None or first > at:
        return None
    try:
        end = first + timedelta(seconds=span)
    except OverflowError:  # the calendar ends before the grace does
        end = _LAST
    return end if at < end else None
