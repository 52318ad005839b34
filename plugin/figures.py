"""`GET /gov/metrics`: figures of the gate, the log and its streams, for Prometheus, where `MLGOV_METRICS` is set.

Where the server asks for a login, so does this: every user who is logged in may read it, as it names rules and destinations
and neither models nor people. Whichever worker is asked answers for all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from governance.errors import GovernanceError
from governance.metrics.registry import exposition, prepare
from governance.outbound import stream_lags
from governance.settings import Settings
from plugin.assembly import assembly_for
from plugin.routes import serve

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

logger = logging.getLogger(__name__)

METRICS: Final = "/gov/metrics"


def add_metrics(flask_app: Any, settings: Settings) -> None:
    """Put the route in place, where the settings want it. Raises `SettingsError`."""
    if settings.metrics:
        prepare(settings.metrics_path or settings.home / "metrics")
        serve(flask_app, METRICS, "governance_metrics", metrics)


def metrics() -> Any:
    """The figures as text."""
    from flask import Response

    text, content_type = exposition([_LogFigures()])
    return Response(text, content_type=content_type)


class _LogFigures:
    """What is read off the log and the cursors when somebody asks. Where the log lies elsewhere there is nothing."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        assembly = assembly_for()
        if assembly.settings.audit_url is not None or not assembly.has_log:
            return
        size = GaugeMetricFamily("mlgov_log_entries", "Entries in the audit log's tree.")
        entries = GaugeMetricFamily(
            "mlgov_stream_lag_entries", "Entries that wait to be delivered.", labels=("destination",)
        )
        seconds = GaugeMetricFamily(
            "mlgov_stream_lag_seconds", "Age of the oldest of them.", labels=("destination",)
        )
        trouble = GaugeMetricFamily(
            "mlgov_stream_in_trouble",
            "1 where the last try failed, or none can be made.",
            labels=("destination",),
        )
        try:
            size.add_metric((), assembly.log.store.frontier().size)
            for lag in stream_lags(assembly.settings, assembly.log, now=assembly.now()):
                entries.add_metric((lag.name,), lag.entries)
                seconds.add_metric((lag.name,), lag.seconds)
                trouble.add_metric((lag.name,), int(lag.trouble is not None or lag.problem is not None))
        except GovernanceError as error:
            logger.error("the log's figures cannot be read: %s", error)  # noqa: TRY400 - expected, and said in full
            return
        yield from (size, entries, seconds, trouble)
