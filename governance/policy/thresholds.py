"""The value one step beside a threshold, within the range that its fact can have.

A step is the smallest change that people write: one for whole numbers, a tenth for scores (or the last decimal that was
written), the largest unit of a duration that comes out even, one word of the ladder of severities, a day for times.
Versions have no next one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from governance.model.facts import FactSpec, FactType
from governance.model.request import parse_utc, utc_text
from governance.model.verdict import Severity
from governance.policy.literals import Literal

_LADDER = tuple(one.word for one in Severity if one is not Severity.UNKNOWN)
_UNITS = (86_400, 3600, 60, 1)
_HIGHEST = {"epss": 1.0}
"""Scores end at 10, as CVSS does; EPSS is a probability."""

_DAY = timedelta(days=1)


def beside(spec: FactSpec, operand: Any, *, upwards: bool) -> Literal | None:
    """The operand a step up or down, or None where there is none within the range."""
    sign = 1 if upwards else -1
    if spec.type is FactType.SEVERITY:
        return _beside_severity(operand, sign)
    if spec.type is FactType.TIME:
        return _beside_time(operand, sign)
    if spec.type is FactType.SCORE:
        decimals = max(1, len(repr(float(operand)).partition(".")[2]))
        stepped = round(operand + sign * 10**-decimals, decimals)
        return stepped if 0 <= stepped <= _HIGHEST.get(spec.name, 10.0) else None
    if spec.type in {FactType.INTEGER, FactType.DURATION}:
        step = duration_step(operand) if spec.type is FactType.DURATION else 1
        return operand + sign * step if operand + sign * step >= 0 else None
    return None


def duration_step(seconds: int) -> int:
    """The largest of day, hour, minute and second that a duration is a multiple of."""
    return next(unit for unit in _UNITS if seconds % unit == 0)


def _beside_severity(word: str, sign: int) -> str | None:
    if word not in _LADDER:  # `unknown` is between two steps
        return None
    place = _LADDER.index(word) + sign
    return _LADDER[place] if 0 <= place < len(_LADDER) else None


def _beside_time(text: str, sign: int) -> str | None:
    try:
        return utc_text(parse_utc(text) + sign * _DAY)
    except (OverflowError, ValueError):
        return None
