"""What is tried again, and after how long.

Promises: at most `limit` further tries, each after a bounded pause; a 401 is never tried again (repeated failures lock
the user out); what may have had an effect is tried again only where a second time does no harm. Does not: sleep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import urllib3.exceptions as pool

_STATUSES: Final = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE: Final = 30.0
_FIRST_PAUSE: Final = 0.5
_LIMIT_AFTER_SILENCE: Final = (
    1  # a stale connection hangs until the time-out; a second silence is the server's
)

_UNSENT: Final = (pool.NewConnectionError, pool.ConnectTimeoutError)
"""No connection was made, so that the server cannot have seen the request."""

_BROKEN: Final = (*_UNSENT, pool.ProtocolError, pool.TimeoutError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """The rule. `spread` gives a number between 0 and 1, so that many clients do not return at the same moment."""

    limit: int
    spread: Callable[[], float] = random.random

    def after_status(
        self, status: int, headers: Mapping[str, str], *, tried: int, idempotent: bool
    ) -> float | None:
        """Seconds to wait before the next try, or None to stay with this answer. `tried` counts from 1."""
        if status not in _STATUSES or not idempotent or tried > self.limit:
            return None
        asked = asked_pause(headers)
        return self._pause(tried) if asked is None else min(asked, _LONGEST_PAUSE)

    def after_failure(self, error: Exception, *, tried: int, idempotent: bool) -> float | None:
        """As `after_status`, for a try without an answer."""
        if isinstance(error, pool.SSLError | pool.ProxyError) or not isinstance(error, _BROKEN):
            return None
        if not idempotent and not isinstance(error, _UNSENT):
            return None
        limit = self.limit
        if isinstance(error, pool.TimeoutError):
            limit = min(limit, _LIMIT_AFTER_SILENCE)
        return self._pause(tried) if tried <= limit else None

    def _pause(self, tried: int) -> float:
        longest: float = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE)
        return longest * (0.5 + self.spread() / 2)


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`, without a bound, or None where it is absent or says nothing. A date is reckoned from the
    answer's own `Date`, so that no two clocks need to agree."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        apart = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError, IndexError):  # no date, or one of them without its zone
        return None
    return max(0.0, apart.total_seconds())
