"""What the tests of notifications share: a channel over a log, and whom it tells."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.log import AuditLog
from governance.errors import GovernanceError
from governance.notify.channel import NoticeSink
from governance.notify.memory import load_memory
from governance.notify.notice import LiveWaiver, Notice
from governance.notify.rules import parse_rules
from governance.notify.watch import Watcher
from governance.notifying import ChannelTarget
from governance.stream.channel import EmailChannel
from governance.stream.cursor import CursorFile
from governance.stream.pump import Pump
from governance.stream.source import LogSource
from tests.audit_tools import START, make_log

RULES = b"""
apiVersion: mlgov/v1
kind: Notifications
rules:
  - {name: blocks, on: new-block, channels: [ops], quiet: 12h}
  - {name: changes, on: verdict-changed, channels: [ops], inUse: 30d}
  - {name: waivers, on: waiver-expiring, channels: [ops], before: [14d, 3d]}
"""


class Readers:
    """A carrier that keeps what it is given, and fails as often as it was told to."""

    def __init__(self, *failures: GovernanceError) -> None:
        self.failures = list(failures)
        self.got: list[Notice] = []

    def send(self, notice: Notice) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(notice)

    def close(self) -> None:
        pass

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.got]


class Desk:
    """A channel over a log: `look` runs its pump once, as `mlgov audit notify --once` does."""

    def __init__(self, folder: Path, log: AuditLog, *, rules: bytes = RULES, per_hour: int = 20) -> None:
        self.folder, self.log, self.readers = folder, log, Readers()
        self.rules, self.per_hour = parse_rules(rules, "rules.yaml"), per_hour
        self.now = START + timedelta(hours=1)
        self.waivers: list[LiveWaiver] = []
        self.look()  # begins with what comes

    def look(self) -> list[Notice]:
        before = len(self.readers.got)
        self.pump().run(follow=False)
        return self.readers.got[before:]

    def pump(self) -> Pump:
        sink = NoticeSink(
            watcher=Watcher(self.rules, self.log, lambda: self.waivers),
            memory=lambda: load_memory(self.folder / "notify-ops.told", per_hour=self.per_hour),
            carrier=self.readers,
            now=lambda: self.now,
        )
        return Pump(
            target=ChannelTarget(name="notify-ops", shown="ops", digest="0" * 64), source=LogSource(self.log), sink=sink,
            file=CursorFile(self.folder, "notify-ops"), encode=lambda _: b"", now=lambda: self.now, stop=threading.Event(),
            idle=sink.tick, spread=lambda: -1.0,
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A channel over a new log."""
    return Desk(tmp_path, make_log())


NOTICE = Notice(
    kind="new-block", key="k" * 40, title="models/wine is blocked", rows=(("rule", "bösé"),), at=START
)


def channel(port: int, **more: Any) -> EmailChannel:
    """The settings of a mail server on this machine; `more` replaces some."""
    fields = {"name": "mail", "kind": "email", "to": ("ops@example.org", "sec@example.org"),
              "sender": "mlgov@example.org", "server": f"smtp://127.0.0.1:{port}"} | more  # fmt: skip
    return EmailChannel.model_validate(fields)
