"""How effects combine: within a policy the highest wins, then the default; across policies the strictest.

The effects that matched in a policy are kept as bits, and what they come to under each default is worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from governance.model.verdict import Effect


def combine(default: Effect, effects: Iterable[Effect]) -> Effect:
    """The effect of one policy: block > quarantine > warn > allow > default. A warn does not open a default that
    refuses: without an allow beside it, it only raises an `allow` by default.
    """
    matched = set(effects)
    if not matched:
        return default
    highest = max(matched)
    return max(highest, default) if highest is Effect.WARN and Effect.ALLOW not in matched else highest


BITS: Mapping[Effect, int] = {effect: 1 << effect for effect in Effect}
"""One bit for each effect."""

COMBINED: Mapping[Effect, tuple[Effect, ...]] = {
    default: tuple(
        combine(default, [effect for effect in Effect if bits & BITS[effect]])
        for bits in range(1 << len(Effect))
    )
    for default in Effect
}
"""By default effect and bits: what `combine` gives."""
