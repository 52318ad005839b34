"""What leaves the machine, put together from the settings: streams of entries, notifications, and their lag.

Promises: a destination gets what the settings say and nothing of another one's secrets; what is wrong is said before
anything is sent. Does not: run anything; the command line and the services do.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from pydantic import ValidationError

from governance.audit.log import AuditLog, Stored
from governance.audit_wiring import utc_now
from governance.errors import SettingsError
from governance.report.ocsf.event import ocsf_line
from governance.settings import Settings
from governance.stream.cursor import CursorFile
from governance.stream.destination import Destination
from governance.stream.lag import Lag, lags
from governance.stream.post import Post
from governance.stream.pump import Pump
from governance.stream.signature import read_secrets
from governance.stream.sink import Sink
from governance.stream.source import LogSource
from governance.stream.syslog import SyslogForm
from governance.stream.to_file import FileSink
from governance.stream.to_syslog import SyslogSink
from governance.stream.to_webhook import WebhookSink


def parse_destination(**fields: object) -> Destination:
    """A destination from the command line. Raises `SettingsError` with every mistake."""
    try:
        return Destination.model_validate(
            {name: value for name, value in fields.items() if value is not None}
        )
    except ValidationError as error:
        listed = [
            f"  {'.'.join(map(str, item['loc'])) or 'destination'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise SettingsError(
            "the destination cannot be used:\n" + "\n".join(listed),
            hint="`mlgov audit stream --help` has the forms.",
        ) from None


def destinations(settings: Settings, names: Sequence[str]) -> tuple[Destination, ...]:
    """The declared destinations of these names; all where none is named. Raises `SettingsError`."""
    known = {each.name: each for each in settings.streams}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        listed = f"There are: {', '.join(known)}." if known else "None is declared."
        what = f"`{unknown[0]}` is not a declared destination" if unknown else "no destination is named"
        raise SettingsError(what, hint=f"{listed} Name one with `--to`, or declare it as `[[streams]]`.")
    return tuple(known[name] for name in names) if names else tuple(known.values())


def build_pump(
    settings: Settings,
    log: AuditLog,
    destination: Destination,
    *,
    stop: threading.Event,
    patience: float = 60.0,
    now: Callable[[], datetime] = utc_now,
) -> Pump:
    """The pump of one destination."""
    return Pump(
        target=destination,
        source=LogSource(log),
        file=CursorFile(settings.cursors, destination.name),
        sink=_sink(settings, log, destination, now),
        encode=encoder(destination.form, log.origin),
        now=now,
        stop=stop,
        patience=patience,
    )


def encoder(form: str, origin: str) -> Callable[[Stored], bytes]:
    """What makes the line of an entry: its own bytes, or an OCSF event."""
    if form == "ocsf":
        return lambda stored: ocsf_line(stored, origin=origin)
    return lambda stored: stored.data


def stream_lags(settings: Settings, log: AuditLog, *, now: datetime) -> Iterator[Lag]:
    """How far each destination is behind."""
    declared = [(each.name, each.shown) for each in settings.streams]
    if not declared and not settings.cursors.is_dir():
        return iter(())
    return lags(LogSource(log), settings.cursors, declared, now=now)


def _sink(settings: Settings, log: AuditLog, destination: Destination, now: Callable[[], datetime]) -> Sink:
    if destination.kind == "file":
        return FileSink(destination.path)
    if destination.is_webhook:
        return WebhookSink(_post(settings, destination, now), origin=log.origin)
    if destination.ca is None and settings.authorities is not None:
        destination = destination.model_copy(update={"ca": settings.authorities})
    form = SyslogForm(
        host=platform.node() or "-",
        process=os.getpid(),
        facility=destination.facility,
        max_message=destination.max_message,
        structured_data_id=destination.structured_data_id,
        origin=log.origin,
    )
    return SyslogSink(destination, form)


def _post(settings: Settings, destination: Destination, now: Callable[[], datetime]) -> Post:
    assert destination.secret_file is not None  # the destination's own check
    return Post(
        destination.to,
        secrets=read_secrets(destination.secret_file),
        shown=destination.shown,
        now=now,
        verify=settings.certificates if destination.ca is None else str(destination.ca),
        certificate=destination.own_certificate,
        proxies=settings.proxies_for(destination.to),
    )
