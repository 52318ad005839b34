"""Notifications, put together from the settings and the rules: a pump for each channel that some rule names.

Promises: a rule that names a channel which is not declared is an error, and so is a file without any rule that counts;
nothing is sent before all of it was read. Does not: run anything.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from governance.errors import SettingsError
from governance.notify.carriers import EmailCarrier, WebhookCarrier
from governance.notify.channel import Carrier, NoticeSink
from governance.notify.memory import Memory, load_memory
from governance.notify.notice import LiveWaiver, Notice
from governance.notify.rules import NewBlock, RulesInvalidError, VerdictChanged, WaiverExpiring, load_rules
from governance.notify.watch import Watcher
from governance.settings import Settings
from governance.stream.channel import EmailChannel, WebhookChannel
from governance.stream.cursor import CursorFile
from governance.stream.destination import Start
from governance.stream.post import Post
from governance.stream.pump import Pump
from governance.stream.signature import read_secrets
from governance.stream.source import LogSource
from governance.wiring import Assembly

logger = logging.getLogger(__name__)

_PREFIX = "notify-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTarget:
    """A channel as its pump knows it. Without a cursor it begins with what comes: nobody wants old news all at once."""

    name: str
    shown: str
    digest: str
    start: Start = "now"


def target_of(channel: WebhookChannel | EmailChannel) -> ChannelTarget:
    """The target of a channel. Its readers may change without the channel being another one."""
    address = channel.to if isinstance(channel, WebhookChannel) else channel.server
    digest = hashlib.sha256(f"{channel.kind}\0{address}".encode()).hexdigest()
    return ChannelTarget(name=_PREFIX + channel.name, shown=f"{channel.kind} {channel.shown}", digest=digest)


def build_notifiers(
    assembly: Assembly,
    rules_file: Path,
    names: Sequence[str],
    *,
    stop: threading.Event,
    patience: float = 60.0,
) -> dict[ChannelTarget, Pump]:
    """The pumps of these channels, or of all that rules name. Raises `SettingsError`, `RulesInvalidError`."""
    rules = load_rules(rules_file)
    channels = {each.name: each for each in assembly.settings.channels}
    unknown = sorted({name for rule in rules for name in rule.channels if name not in channels})
    if unknown:
        listed = f"There are: {', '.join(channels)}." if channels else "None is declared."
        raise RulesInvalidError(
            [f"{rules_file}: expected channels of the settings file, got `{unknown[0]}`. {listed}"]
        )
    used = [name for name in channels if any(name in rule.channels for rule in rules)]
    wrong = [name for name in names if name not in used]
    if wrong:
        raise SettingsError(f"no rule names a channel `{wrong[0]}`", hint=f"Rules name: {', '.join(used)}.")
    return {
        target_of(channels[name]): _pump(
            assembly, channels[name], [rule for rule in rules if name in rule.channels], stop, patience
        )
        for name in names or used
    }


def build_carrier(
    settings: Settings, channel: WebhookChannel | EmailChannel, now: Callable[[], datetime]
) -> Carrier:
    """What carries notices to a channel."""
    own = None if channel.ca is None else str(channel.ca)
    if isinstance(channel, EmailChannel):
        return EmailCarrier(channel, ca=own or (str(settings.authorities) if settings.authorities else None))
    return WebhookCarrier(
        Post(
            channel.to,
            secrets=read_secrets(channel.secret_file),
            shown=channel.shown,
            now=now,
            verify=own or settings.certificates,
            proxies=settings.proxies_for(channel.to),
        )
    )


def trial_notice(now: datetime) -> Notice:
    """What is sent to see whether a channel works."""
    return Notice(
        kind="trial",
        key=f"trial-{now.timestamp():.0f}",
        title="a trial notice: this channel works",
        rows=(("sent by", "mlgov audit notify --trial"),),
        at=now,
    )


def _pump(
    assembly: Assembly,
    channel: WebhookChannel | EmailChannel,
    rules: Sequence[NewBlock | VerdictChanged | WaiverExpiring],
    stop: threading.Event,
    patience: float,
) -> Pump:
    settings, target = assembly.settings, target_of(channel)

    def recall() -> Memory:
        return load_memory(settings.cursors / f"{target.name}.told", per_hour=channel.per_hour)

    recall()  # one that is damaged is said before anything is sent
    sink = NoticeSink(
        watcher=Watcher(rules, assembly.log, lambda: live_waivers(assembly)),
        memory=recall,
        carrier=build_carrier(settings, channel, assembly.now),
        now=assembly.now,
    )
    return Pump(
        target=target,
        source=LogSource(assembly.log),
        file=CursorFile(settings.cursors, target.name),
        sink=sink,
        encode=lambda _: b"",
        now=assembly.now,
        stop=stop,
        idle=sink.tick,
        patience=patience,
    )


def live_waivers(assembly: Assembly) -> Iterator[LiveWaiver]:
    """The waivers that count now."""
    now = assembly.now()
    for waiver in assembly.policies.current().bundle.waivers:
        if waiver.void is None and waiver.revoked_at is None and waiver.starts <= now < waiver.expires:
            yield LiveWaiver(
                name=waiver.name,
                rule=waiver.rule,
                ref=waiver.ref,
                reason=waiver.reason,
                expires=waiver.expires,
            )
