"""The gate's figures as Prometheus counters and histograms.

Promises: however many rules, environments and policies there are or come to be, a process has a bounded number of series:
the first words of each label keep their names and every later one counts as `other`, so that sums stay right. No label is
a model, a user or a digest. Does not: decide, or keep anything for longer than the process runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from governance.model.facts import UNREACHABLE
from governance.model.verdict import waived_in

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from governance.permit import Decision

logger = logging.getLogger(__name__)

MOST_RULES: Final = 200
MOST_ENVIRONMENTS: Final = 10
_OTHER: Final = "other"
_MAX_WORD: Final = 120
_SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_QUICK: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class Words:
    """The words of one label: at most `most` of them and `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def of(self, text: str) -> str:
        """The word that stands for `text`."""
        word = "".join(char if char.isprintable() else "?" for char in text[:_MAX_WORD])
        with self._lock:
            if word in self._known:
                return word
            if len(self._known) >= self._most:
                return _OTHER
            self._known.add(word)
            return word


class PrometheusMeter:
    """A `Meter`. Safe to use from many threads. Where `has_room` says no, nothing is counted, since a figure may need a page of a
    full disk."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._clock = clock
        self._has_room = has_room
        self._registry = registry
        self._rules, self._environments = Words(MOST_RULES), Words(MOST_ENVIRONMENTS)
        self._degraded_since: float | None = None
        self._lock = threading.Lock()
        self._is_made = False
        self._told = False
        self._can_count()

    def _can_count(self) -> bool:
        """Whether figures may be written. Makes them first, once there is room."""
        if not self._has_room():
            if not self._told:
                logger.warning("figures are left out: the disk under `MLGOV_METRICS_PATH` is full")
            self._told = True
            return False
        with self._lock:
            if not self._is_made:
                self._make(self._registry)
                self._is_made = True
        self._told = False
        return True

    def _make(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "mlgov_decisions", "Decisions on record.", ("action", "verdict", "mode", "refused", "environment"), registry=registry
        )  # fmt: skip
        self._findings = Counter(
            "mlgov_findings", "Rules that objected, or were waived.", ("rule", "effect"), registry=registry
        )
        self._steps = {
            "gather": Histogram(
                "mlgov_gather_seconds", "Time to gather all facts.", registry=registry, buckets=_SLOW
            ),
            "evaluate": Histogram(
                "mlgov_evaluate_seconds", "Time to judge them.", registry=registry, buckets=_QUICK
            ),
            "record": Histogram(
                "mlgov_record_seconds",
                "Time until the decision was durable.",
                registry=registry,
                buckets=_SLOW,
            ),
        }
        self._degraded_seconds = Counter(
            "mlgov_degraded_seconds",
            "Time from a decision for which a source of facts was out of reach to the next one; of all workers together.",
            registry=registry,
        )
        self._degraded = Gauge(
            "mlgov_degraded",
            "1 while a source of facts was out of reach for the last decision of some worker.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._degraded.set(0)

    def took(self, step: str, seconds: float) -> None:
        """See `Meter.took`."""
        if self._can_count():
            self._steps[step].observe(seconds)

    def decided(self, decision: Decision) -> None:
        """See `Meter.decided`."""
        if not self._can_count():
            return
        verdict, request = decision.verdict, decision.request
        self._decisions.labels(
            request.action.value,
            verdict.decision.word,
            decision.mode.value,
            str(decision.is_refused).lower(),
            self._environments.of(request.environment),
        ).inc()
        for finding in verdict.findings:
            self._findings.labels(self._rules.of(finding.rule), finding.effect.word).inc()
        for rule, _ in waived_in(verdict.rules):
            self._findings.labels(self._rules.of(rule), "waived").inc()
        self._note_outage(bool(decision.facts.get(UNREACHABLE)) or verdict.degraded is not None)

    def _note_outage(self, is_degraded: bool) -> None:
        with self._lock:
            now = self._clock()
            if self._degraded_since is not None:
                self._degraded_seconds.inc(max(0.0, now - self._degraded_since))
            self._degraded_since = now if is_degraded else None
            self._degraded.set(int(is_degraded))
