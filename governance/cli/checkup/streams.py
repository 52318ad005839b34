"""Streams and notifications: how far each destination is behind the log."""

from __future__ import annotations

from collections.abc import Iterator

from governance.cli.checkup.check import Check, fail, in_one_line, ok, skip, warn
from governance.cli.exits import exit_code
from governance.cli.output import Line
from governance.stream.lag import Lag
from governance.wiring import Assembly

_LATE = 300
_TOO_LATE = 3_600


def stream_checks(assembly: Assembly) -> tuple[Check, ...]:
    """All checks of this module."""
    return (Check(subject="streams", look=lambda: _streams(assembly)),)


def _streams(assembly: Assembly) -> Iterator[Line]:
    from governance.outbound import stream_lags

    settings = assembly.settings
    if settings.audit_url is not None:
        if settings.streams:
            yield skip("streams", "the log lies at the tracking server, and is streamed from there")
        return
    if assembly.has_log:
        yield from (_line(lag) for lag in stream_lags(settings, assembly.log, now=assembly.now()))


def _line(lag: Lag) -> Line:
    subject = f"stream {lag.name}"
    if lag.problem is not None:
        return fail(
            subject, in_one_line(lag.problem), lag.problem.hint or f"exit code {exit_code(lag.problem)}"
        )
    if not lag.is_started:
        return warn(
            subject,
            f"declared and never run; {lag.entries} entries wait",
            f"Run `mlgov audit stream {lag.name}`.",
        )
    behind = f"{lag.entries} entries behind, {lag.seconds:.0f} s" if lag.entries else "up to date"
    seen = f"{lag.shown}: {behind}" + ("" if lag.trouble is None else f"; {lag.trouble}")
    verb = (
        f"notify {lag.name.removeprefix('notify-')}"
        if lag.name.startswith("notify-")
        else f"stream {lag.name}"
    )
    remedy = f"See that `mlgov audit {verb}` runs, and what its receiver does."
    if lag.entries and lag.seconds > _TOO_LATE:
        return fail(subject, seen, remedy)
    if lag.trouble is not None or (lag.entries and lag.seconds > _LATE):
        return warn(subject, seen, remedy)
    return ok(subject, seen)
