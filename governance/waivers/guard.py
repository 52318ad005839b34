"""The policy in force with its waivers, as long as the clock can be believed.

A waiver ends by the clock, so a clock that is moved back would bring an expired one to life. Promises: where this
machine's clock stands more than five minutes (`CLOCK_SKEW`) before the newest entry of the audit log, or before a time at
which this process was asked already, no waiver counts, and the refusal says so. Does not: judge anything else by the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from governance.forking import ForkLock
from governance.model.request import utc_text
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.waivers.steps import CLOCK_SKEW

logger = logging.getLogger(__name__)


class _Policies(Protocol):
    def current(self) -> CompiledPolicy: ...


class WaiverGuard:
    """Stands in front of a source of policies. Safe to use from many threads at once."""

    def __init__(
        self, inner: _Policies, *, now: Callable[[], datetime], latest: Callable[[], datetime | None]
    ) -> None:
        """`latest` is the time of the audit log's newest entry, asked once."""
        self.inner = inner
        self._now = now
        self._ask_latest = latest
        self._latest: datetime | None = None
        self._asked = False
        self._shut: tuple[str, CompiledPolicy] | None = None
        self._lock = ForkLock()

    def current(self) -> CompiledPolicy:
        """The policy in force; with all waivers void while the clock stands back."""
        policy = self.inner.current()
        if not policy.bundle.waivers:
            return policy
        now = self._now()
        with self._lock:
            if not self._asked:
                self._latest, self._asked = self._ask_latest(), True
            if self._latest is None or now >= self._latest - CLOCK_SKEW:
                self._latest = max(self._latest or now, now)
                return policy
            return self._without(policy, self._latest)

    def _without(self, policy: CompiledPolicy, latest: datetime) -> CompiledPolicy:
        why = (
            f"the clock was moved back: it stands before {utc_text(latest)[:19]}Z, when the audit log was last "
            "written or a decision was last asked for"
        )
        if self._shut is None or self._shut[0] != policy.digest:
            logger.error("NO WAIVER COUNTS: %s", why)
            waivers = tuple(replace(waiver, void=waiver.void or why) for waiver in policy.bundle.waivers)
            self._shut = policy.digest, compile_bundle(replace(policy.bundle, waivers=waivers))
        return self._shut[1]
