"""How effects combine: within a policy the highest wins, then the default; across policies the strictest.

While rules are judged, their effects are collected as bits of one number, so that what they come to can be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

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


_WIDTH = len(Effect)
_ALL = (1 << _WIDTH) - 1


def mask_of(policy: int, effect: Effect) -> int:
    """The bit that stands for an effect of the policy of that number. Masks of a verdict's rules are joined by `|`."""
    return 1 << (policy * _WIDTH + effect)


def effects_in(mask: int, policy: int) -> tuple[Effect, ...]:
    """The effects of a policy in a mask."""
    bits = mask >> (policy * _WIDTH) & _ALL
    return tuple(effect for effect in Effect if bits & 1 << effect)
