"""The composition root: from settings to working parts. The only place that chooses implementations.

Promises: what is wrong with the settings is said when the part that needs them is first asked for. Does
not: decide, move or record anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Sequence
from datetime import datetime
from pathlib import Path

from governance.audit.signing_time import recorded_time
from governance.audit_wiring import AuditAssembly
from governance.collect.collector import Collector
from governance.collect.contents import ContentsCollector
from governance.collect.dependencies import DependenciesCollector, DependencyReader
from governance.collect.extensions import Context, catalogue, extensions
from governance.collect.history import AdvisoryHistory
from governance.collect.scan import ScanCollector
from governance.collect.signature import SignatureCollector
from governance.collect.storage import StorageCollector
from governance.errors import AuditUnavailableError, KeyFileError, SettingsError
from governance.forking import made_once
from governance.gate import Gate, Meter, Policies
from governance.model.digest import Sha256
from governance.policy.bundle import PAYLOAD_TYPE as POLICY_BUNDLE_TYPE
from governance.policy.bundlesource import BundleSource
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files, load_policies
from governance.policy.revisions import RevisionMemory
from governance.policy.source import PolicySource
from governance.policy_wiring import bundle_fetcher, policy_bundle, policy_files, policy_source
from governance.settings import Settings
from governance.signing.keyholder import Signer
from governance.signing.keys import load_signer
from governance.signing.trust import Role, TrustStore
from governance.signing.trustsource import TrustSource
from governance.signing.verify import Futility, futility, open_envelope
from governance.waivers.files import read_steps, steps_among
from governance.waivers.guard import WaiverGuard
from governance.waivers.memory import latest_time, memory_of, record_unseen
from governance.waivers.settling import Memory, Register, settle
from governance.waivers.steps import StepFile
from governance.xray.client import XrayClient

logger = logging.getLogger(__name__)

_SETTLED = 0.25
"""Seconds for which policy files must stay as they are before they are taken up."""


class Assembly(AuditAssembly):
    """The working parts of one process, made from one `Settings`."""

    _register: Register | None = None

    def xray(self, host: str) -> XrayClient:
        """The client of the Xray beside it."""
        return self.connections.xray(host)

    @made_once
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
            bundle_fetcher(settings, bundle, artifactory=self.artifactory),
            verify=self._verified_policy,
            load=lambda files: self._in_force(
                self._settled(load_files(files, catalogue=catalogue()), steps_among(files))
            ),
            memory=RevisionMemory(settings.home / "policy-revisions.json"),
            name=settings.policy_bundle_name,
            max_age=settings.policy_bundle_max_age,
        )

    def register(self, paths: Sequence[Path], *, revoked: Container[str] | None = None) -> Register:
        """The waivers among policy files, settled by their signatures; `revoked` as in `load_policies`. Raises
        `PolicyInvalidError`."""
        return self._settled(load_policies(paths, catalogue=catalogue(), revoked=revoked), read_steps(paths))

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

    def signing_time(self, ref: str | None, bundle: Sha256, at: datetime) -> datetime | None:
        """Trusted time of a signature file that is judged as of `at`, as the log recorded it. None where the log does not know it, or does not
        answer: the signature counts as made now then, which lets nothing through that the time would not.
        """
        if not self.has_log:
            return None
        try:
            return recorded_time(self.log, bundle, now=at, ref=ref)
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

    @made_once
    def signer(self) -> Signer | None:
        """The signing key, or None where none is configured. Raises `KeyFileError`."""
        location = self.settings.key_location
        if location is None:
            return None
        return load_signer(location, self.settings.passphrase(), environment=os.environ)

    @made_once
    def _trust_source(self) -> TrustSource:
        return TrustSource(self.settings.trust_file)

    @property
    def trust(self) -> TrustStore:
        """The keys trusted now; none where there is no trust file. Raises `KeyFileError` for a file that is not good."""
        return self._trust_source.current()

    def futility(self, *, repository: str | None) -> Futility | None:
        """Why a signature that our own key makes now for a repository (None: for a local copy) will not count by the trust file of
        this machine. None where nothing speaks against it, or where there is no key or no file that can be read."""
        try:
            signer = self.signer
            if signer is None:
                return None
            return futility(self.trust, signer.key_id, at=self.now(), repository=repository)
        except KeyFileError:
            return None  # told by whatever needs the file

    @made_once
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

    @made_once
    def advisories(self) -> AdvisoryHistory:
        """Since when the log knows each advisory."""
        return AdvisoryHistory(lambda: self.log)

    @made_once
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
            policy_source=policy_source(self.settings),
        )

    @made_once
    def meter(self) -> Meter | None:
        """What takes the gate's figures, where the settings want any. Raises `SettingsError` without the extra."""
        if not self.settings.metrics:
            return None
        from governance.metrics.meter import PrometheusMeter
        from governance.metrics.registry import has_room, own_registry

        return PrometheusMeter(own_registry(), has_room=has_room)


def build_assembly(
    settings: Settings, *, extra_hosts: frozenset[str] = frozenset(), only_reads: bool = False
) -> Assembly:
    """The parts for these settings; each is made when first asked for. With `only_reads` the log may lie where this user may
    not write, and takes no entry."""
    return Assembly(settings, extra_hosts=extra_hosts, only_reads=only_reads)
