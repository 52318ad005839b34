"""The composition root: from settings to working parts. The only place that chooses implementations.

Promises: what is wrong with the settings is said when the part that needs them is first asked for. Does
not: decide, move or record anything.
"""

from __future__ import annotations

import logging
import os
import platform
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import policies
from governance import __version__
from governance.artifactory.address import SCHEME, parse_uri
from governance.artifactory.client import ArtifactoryClient
from governance.audit.anchor import Anchor, publish_head, record_head
from governance.audit.checkpoint import Checkpoint
from governance.audit.log import AuditLog
from governance.audit.quorum import Quorum, require_keeper
from governance.audit.signing_time import recorded_time
from governance.audit.witness import WitnessAnchor, cosigned
from governance.auditing import (
    checkpoint_signers,
    head_memory,
    make_anchors,
    make_quorum,
    open_store,
    pseudonyms,
)
from governance.collect.collector import Collector
from governance.collect.contents import ContentsCollector
from governance.collect.dependencies import DependenciesCollector, DependencyReader
from governance.collect.extensions import Context, catalogue, extensions
from governance.collect.history import AdvisoryHistory
from governance.collect.scan import ScanCollector
from governance.collect.signature import SignatureCollector
from governance.collect.storage import StorageCollector
from governance.connections import Connections
from governance.errors import AuditUnavailableError, KeyFileError, SettingsError
from governance.gate import Gate, Meter, Policies
from governance.model.digest import Sha256
from governance.places import expanded, open_file
from governance.policy.bundle import PAYLOAD_TYPE as POLICY_BUNDLE_TYPE
from governance.policy.bundlesource import BundleSource
from governance.policy.documents import PolicyBundle
from governance.policy.load import discover, documents_among, load_files, load_policies
from governance.policy.revisions import RevisionMemory
from governance.policy.source import PolicySource
from governance.settings import Settings
from governance.signing.keys import Signer, load_signer
from governance.signing.trust import Role, TrustStore
from governance.signing.trustsource import TrustSource
from governance.signing.verify import open_envelope
from governance.transport import Credentials, Transport
from governance.waivers.files import read_steps, steps_among
from governance.waivers.guard import WaiverGuard
from governance.waivers.memory import latest_time, memory_of, record_unseen
from governance.waivers.settling import Memory, Register, settle
from governance.waivers.steps import StepFile
from governance.xray.client import XrayClient

logger = logging.getLogger(__name__)

_SETTLED = 0.25
"""Seconds for which policy files must stay as they are before they are taken up."""

MAX_POLICY_BUNDLE = 64 << 20
"""Largest policy bundle in bytes, wherever it comes from."""


def utc_now() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


class Assembly:
    """The working parts of one process, made from one `Settings`."""

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
        self._register: Register | None = None

    def artifactory(self, host: str) -> ArtifactoryClient:
        """The client of one Artifactory; see `Connections.artifactory`."""
        return self.connections.artifactory(host)

    def xray(self, host: str) -> XrayClient:
        """The client of the Xray beside it."""
        return self.connections.xray(host)

    @cached_property
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

    @cached_property
    def anchors(self) -> tuple[Anchor, ...]:
        """Where the log's heads go, as the settings say. Raises `SettingsError`."""
        return make_anchors(self.settings, artifactory=self.artifactory)

    @cached_property
    def witnesses(self) -> tuple[WitnessAnchor, ...]:
        """Those of the anchors that cosign. Raises `SettingsError` where there is none."""
        found = tuple(anchor for anchor in self.anchors if isinstance(anchor, WitnessAnchor))
        if not found:
            raise SettingsError(
                "no witness cosigns this log's heads",
                hint="Name one as URL=PUBLIC-KEY among `audit_anchors` in the settings file; `mlgov audit witness` runs one.",
            )
        return found

    @cached_property
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

    @cached_property
    def policies(self) -> Policies:
        """The policy in force: a signed bundle where the settings name one; else files that they name, or that are found
        upwards, or the shipped `baseline`. Raises `SettingsError`.
        """
        return WaiverGuard(self._policy_source(), now=self.now, latest=self._latest_entry)

    def _policy_source(self) -> Policies:
        settings = self.settings
        bundle = policy_bundle(settings)
        if bundle is None:
            paths = policy_files(settings)
            return PolicySource(
                paths,
                load=lambda: self._in_force(self.register(paths)),
                settle=_SETTLED,
                also=(settings.trust_file,),  # it says whose approvals of waivers count
            )
        if settings.policy_bundle_name is None:
            raise SettingsError(
                "a policy bundle without the name of the set that must be in it",
                hint="Set `MLGOV_POLICY_BUNDLE_NAME`, so that another team's bundle is not taken for yours.",
            )
        return BundleSource(
            bundle_fetcher(self, bundle),
            verify=self._verified_policy,
            load=lambda files: self._in_force(
                self._settled(load_files(documents_among(files), catalogue=catalogue()), steps_among(files))
            ),
            memory=RevisionMemory(settings.home / "policy-revisions.json"),
            name=settings.policy_bundle_name,
            max_age=settings.policy_bundle_max_age,
        )

    def register(self, paths: Sequence[Path]) -> Register:
        """The waivers among policy files, settled by their signatures. Raises `PolicyInvalidError`."""
        return self._settled(load_policies(paths, catalogue=catalogue()), read_steps(paths))

    def _settled(self, bundle: PolicyBundle, files: Sequence[StepFile]) -> Register:
        """Nothing is asked of trust file or log where there is no waiver."""
        trust, memory = TrustStore.empty(), Memory()
        if bundle.waivers:
            memory = self.waiver_memory()
            try:
                trust = self.trust
            except KeyFileError as error:
                # Nobody is trusted then, so no waiver counts; what the policy refuses stays refused.
                logger.error("NO WAIVER COUNTS: %s", error)  # noqa: TRY400 - expected, and said in full
        return settle(bundle, files, trust=trust, now=self.now(), memory=memory)

    def _in_force(self, register: Register) -> PolicyBundle:
        """The bundle that is judged by, after a word in the process's log about each waiver that does not count."""
        for each in register.waivers:
            if each.waiver.void is not None and each.waiver.revoked_at is None:
                logger.warning("waiver %s does not count: %s", each.waiver.name, each.waiver.void)
        self._register = register
        return register.bundle

    def waiver_memory(self) -> Memory:
        """What the log knows of waivers."""
        return memory_of(self.log) if self.has_log else Memory()

    @property
    def has_log(self) -> bool:
        """Whether there is a log to read. Reading is no reason to make one."""
        return not self.settings.has_log_file or self.settings.audit_file.exists()

    def signing_time(self, ref: str | None, bundle: Sha256) -> datetime | None:
        """Trusted time of a signature file, as the log recorded it. None where the log does not know it, or does not
        answer: the signature counts as made now then, which lets nothing through that the time would not.
        """
        if not self.has_log:
            return None
        try:
            return recorded_time(self.log, bundle, now=self.now(), ref=ref)
        except AuditUnavailableError as error:
            logger.warning("trusted time of a signature is not known: %s", error.message)
            return None

    def _latest_entry(self) -> datetime | None:
        # A server's log hands out no other people's entries; it refuses those of a clock that was set back itself.
        is_here = self.settings.audit_url is None and self.has_log
        return latest_time(self.log) if is_here else None

    def _record_waivers(self) -> None:
        if self._register is not None:
            record_unseen(self.log, self._register, now=self.now())

    def _verified_policy(self, envelope: bytes) -> bytes:
        payload, _ = open_envelope(
            envelope,
            self.trust,
            at=self.now(),
            repository=None,
            signed_at=None,
            role=Role.POLICY,
            payload_type=POLICY_BUNDLE_TYPE,
        )
        return payload

    @cached_property
    def signer(self) -> Signer | None:
        """The signing key, or None where none is configured. Raises `KeyFileError`."""
        location = self.settings.key_location
        if location is None:
            return None
        return load_signer(location, self.settings.passphrase(), environment=os.environ)

    @cached_property
    def _trust_source(self) -> TrustSource:
        return TrustSource(self.settings.trust_file)

    @property
    def trust(self) -> TrustStore:
        """The keys trusted now; none where there is no trust file. Raises `KeyFileError` for a file that is not good."""
        return self._trust_source.current()

    @cached_property
    def collectors(self) -> tuple[Collector, ...]:
        """All sources of facts: ours, and those of other packages."""
        reader = DependencyReader(self.artifactory)
        return (
            StorageCollector(self.artifactory, now=self.now),
            ContentsCollector(self.artifactory),
            DependenciesCollector(reader),
            ScanCollector(
                self.xray, dependencies=reader, now=self.now, first_seen=self.advisories.first_seen
            ),
            SignatureCollector(
                self.artifactory, trust=lambda: self.trust, now=self.now, times=self.signing_time
            ),
            *extensions().collectors(Context(artifactory=self.artifactory, now=self.now)),
        )

    @cached_property
    def advisories(self) -> AdvisoryHistory:
        """Since when the log knows each advisory."""
        return AdvisoryHistory(lambda: self.log)

    @cached_property
    def gate(self) -> Gate:
        """The gate. Raises `AuditBrokenError` where the log is not the one that was seen before."""
        self.recall_head()
        return Gate(
            policies=self.policies,
            collectors=self.collectors,
            log=self.log,
            now=self.now,
            gather_seconds=self.settings.gather_seconds,
            gather_all=self.settings.gather_all,
            reuse_seconds=self.settings.reuse_seconds,
            break_glass=self.settings.break_glass,
            on_policy=self._record_waivers,
            on_decision=self.advisories.record,
            may_act=self.require_quorum,
            meter=self.meter,
        )

    @cached_property
    def meter(self) -> Meter | None:
        """What takes the gate's figures, where the settings want any. Raises `SettingsError` without the extra."""
        if not self.settings.metrics:
            return None
        from governance.metrics.meter import PrometheusMeter
        from governance.metrics.registry import has_room, own_registry

        return PrometheusMeter(own_registry(), has_room=has_room)

    def close(self) -> None:
        """Close what was opened."""
        self.connections.close()
        if "log" in self.__dict__:
            self.log.close()


def build_assembly(
    settings: Settings, *, extra_hosts: frozenset[str] = frozenset(), only_reads: bool = False
) -> Assembly:
    """The parts for these settings; each is made when first asked for. With `only_reads` the log may lie where this user may
    not write, and takes no entry."""
    return Assembly(settings, extra_hosts=extra_hosts, only_reads=only_reads)


def policy_files(settings: Settings, *, start: Path | None = None) -> tuple[Path, ...]:
    """The policy files in force, in the order of preference that `Assembly.policies` names. Raises `SettingsError` where the
    settings name a signed bundle in their place."""
    if _is_bundle(settings.policy_path):
        raise SettingsError(
            f"`{settings.policy_path}` is a signed bundle, and this reads policy files",
            hint="Name the folder that the bundle is made of.",
        )
    if settings.policy_path is not None:
        return (settings.policy_path,)
    found = discover(start or Path.cwd())
    return (found,) if found is not None else (policies.path("baseline"),)


def policy_bundle(settings: Settings) -> str | None:
    """Where the policy comes from as a signed bundle: as the settings name one, or in place of a policy file."""
    in_place = str(settings.policy_path) if _is_bundle(settings.policy_path) else None
    return settings.policy_bundle or in_place


def _is_bundle(path: Path | None) -> bool:
    """Whether this is a tar, not a folder or a file to be read as YAML."""
    if path is None or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "replace")
    except (OSError, tarfile.HeaderError):
        return False
    return True


def bundle_fetcher(assembly: Assembly, location: str) -> Callable[[], bytes]:
    """What fetches the policy bundle from a file, an `artifactory://` location or a tracking server (`https://.../`,
    whose app serves it at `gov/policy`). Raises `SettingsError` for another form. The bundle's signature is checked by
    whoever takes it, so nothing here is trusted.
    """
    scheme = urlsplit(location).scheme
    if scheme == SCHEME:
        address = parse_uri(location)
        return lambda: assembly.artifactory(address.host).read_small(
            address.repository, address.path, limit=MAX_POLICY_BUNDLE
        )
    if scheme in {"https", "http"}:
        transport = Transport(
            base_url=location, service="MLflow", credentials=tracking_credentials(assembly.settings)
        )
        return lambda: transport.call("GET", "gov/policy", limit=MAX_POLICY_BUNDLE).body
    if scheme:
        raise SettingsError(
            f"a policy bundle cannot come from `{scheme}:`",
            hint="`MLGOV_POLICY_BUNDLE` is a file, an `artifactory://` location or the URL of a tracking server.",
        )
    return lambda: read_bundle_file(expanded(location))


def read_bundle_file(path: Path) -> bytes:
    """A policy bundle from disk. Raises `SettingsError` where it cannot be read or is too large."""
    try:
        with open_file(path, may_be_piped=True) as file:
            data = file.read(MAX_POLICY_BUNDLE + 1)
    except OSError as error:
        raise SettingsError(
            f"the policy bundle `{path}` cannot be read: {error.strerror}", hint="Mend `MLGOV_POLICY_BUNDLE`."
        ) from error
    if len(data) > MAX_POLICY_BUNDLE:
        raise SettingsError(f"the policy bundle `{path}` is larger than {MAX_POLICY_BUNDLE} bytes")
    return data


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
