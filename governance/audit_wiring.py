"""The audit log in working order, from settings: who only reads, verifies or sends its heads needs no more.

Promises: what is wrong with the settings is said when the part that needs them is first asked for. Does not: decide or move
anything; `governance.wiring` puts the gate on top.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from governance import __version__
from governance.audit.anchor import Anchor, publish_head, record_head
from governance.audit.checkpoint import Checkpoint
from governance.audit.log import AuditLog
from governance.audit.quorum import Quorum, require_keeper
from governance.audit.witness import WitnessAnchor, cosigned
from governance.auditing import (
    checkpoint_signers,
    head_memory,
    make_anchors,
    make_quorum,
    open_store,
    pseudonyms,
)
from governance.connections import Connections
from governance.errors import SettingsError
from governance.forking import made_once
from governance.settings import Settings
from governance.transport import Credentials, Transport

if TYPE_CHECKING:
    from governance.artifactory.client import ArtifactoryClient


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


class AuditAssembly:
    """The log of one process and what belongs to it, made from one `Settings`."""

    def __init__(
        self,
        settings: Settings,
        *,
        extra_hosts: frozenset[str] = frozenset(),
        now: Callable[[], datetime] = utc_now,
        only_reads: bool = False,
    ) -> None:
        self.settings = settings
        self._only_reads = only_reads
        self.now = now
        self.connections = Connections(settings, extra_hosts=extra_hosts)

    def artifactory(self, host: str) -> ArtifactoryClient:
        """The client of one Artifactory; see `Connections.artifactory`."""
        return self.connections.artifactory(host)

    @made_once
    def log(self) -> AuditLog:
        """The audit log. Raises `AuditUnavailableError` when it cannot be opened, `SettingsError` where the settings name
        no log, or more than one."""
        settings = self.settings
        return AuditLog(
            open_store(settings, connect=self._audit_transport, only_reads=self._only_reads),
            now=self.now,
            instance=platform.node() or "unnamed",
            origin=settings.audit_origin,
            software=f"mlflow-governance {__version__}",
            signers=checkpoint_signers(settings),
            pseudonyms=pseudonyms(settings),
        )

    @made_once
    def anchors(self) -> tuple[Anchor, ...]:
        """Where the log's heads go, as the settings say. Raises `SettingsError`."""
        return make_anchors(self.settings, artifactory=self.artifactory)

    @made_once
    def witnesses(self) -> tuple[WitnessAnchor, ...]:
        """Those of the anchors that cosign. Raises `SettingsError` where there is none."""
        found = tuple(anchor for anchor in self.anchors if isinstance(anchor, WitnessAnchor))
        if not found:
            raise SettingsError(
                "no witness cosigns this log's heads",
                hint="Name one as URL=PUBLIC-KEY among `audit_anchors` in the settings file; `mlgov audit witness` runs one.",
            )
        return found

    @made_once
    def quorum(self) -> Quorum:
        """How many of the anchors must have kept a head, and how lately. Raises `SettingsError`."""
        return make_quorum(self.settings, self.anchors, self.log, now=self.now)

    def require_quorum(self) -> None:
        """Raise `AuditQuorumError` where the settings here, or of the server that keeps the log, have acts refused because too
        few places have kept its head of late."""
        if self.settings.audit_url is not None:
            require_keeper(self.log)
        elif self.settings.audit_quorum_unmet == "refuse":
            self.quorum.require()

    def cosigner(self) -> Callable[[Checkpoint], Checkpoint]:
        """`cosigned` by the witnesses of the settings. Raises `SettingsError` where there is none."""
        witnesses = self.witnesses
        return lambda head: cosigned(self.log, head, witnesses)

    def recall_head(self) -> Checkpoint:
        """Demand that the log continues the head that this client saw last, and remember the new one. Costs a proof of
        consistency and never a walk. Raises `AuditBrokenError`."""
        return head_memory(self.settings).check(self.log)

    def compare_head(self) -> None:
        """The same demand of those who only read: nothing is remembered, and nothing written. Raises `AuditBrokenError`."""
        head_memory(self.settings).compare(self.log)

    def send_head(self) -> Checkpoint:
        """Send the log's head out to the anchors of the settings, as many of which must keep it as these say; without any,
        only record it. Raises `AuditUnavailableError` and `AuditBrokenError`."""
        self.recall_head()
        if not self.anchors:
            record_head(self.log)
            return self.recall_head()
        wanted = self.settings.audit_quorum or len(self.anchors)
        return publish_head(self.log, self.anchors, quorum=wanted, is_routine=True)

    def _audit_transport(self) -> Transport:
        """The session to a tracking server's log. Its waits together stay below the store's own time-out."""
        url = self.settings.audit_url or ""
        return Transport(
            base_url=url,
            service="MLflow",
            credentials=tracking_credentials(self.settings),
            connect_timeout=5,
            read_timeout=10,
            answer_timeout=10,
            retries=2,
            pool_size=4,
            verify=self.settings.certificates,
            proxies=self.settings.proxies_for(url),
        )

    @property
    def has_log(self) -> bool:
        """Whether there is a log to read. Reading is no reason to make one."""
        return not self.settings.has_log_file or self.settings.audit_file.exists()

    def close(self) -> None:
        """Close what was opened."""
        self.connections.close()
        if "log" in self.__dict__:
            self.log.close()


def tracking_credentials(settings: Settings) -> Credentials | None:
    """MLflow's login, which tracking servers get and nobody else. None where there is none."""
    if settings.tracking_token is not None:
        return Credentials(token=settings.tracking_token.get_secret_value())
    if settings.tracking_username is None or settings.tracking_password is None:
        return None
    return Credentials(
        token=None,
        user=settings.tracking_username,
        password=settings.tracking_password.get_secret_value(),
    )
