"""Whether a trusted key signed exactly the files that are stored.

The bundle is read from where it lies beside the files; the verification compares it with the digests that the server
lists. The bytes themselves are compared with the same digests when they move, so the two together bind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

from governance.artifactory.client import ArtifactoryClient
from governance.audit.signing_time import Times, verify_in_time
from governance.collect.dependencies import NOT_STORED
from governance.errors import DigestMismatchError, NotFoundError
from governance.model.artifact import FILE_SIGNATURE_SUFFIX, FOLDER_SIGNATURE, Artifact, Kind
from governance.model.facts import FactValue, Unknown
from governance.model.request import Action, Request
from governance.signing.manifest import Manifest
from governance.signing.report import SignatureReport
from governance.signing.trust import TrustStore
from governance.signing.verify import verify_bundle

_LIMIT: Final = 16 << 20


class SignatureCollector:
    """`signature.*` and `manifest.*`."""

    name = "signature"
    on_demand = False
    supplies = frozenset(
        {
            "signature.valid",
            "signature.present",
            "signature.signer",
            "signature.key_id",
            "signature.reason",
            "signature.subject",
            "signature.bundle",
            "signature.age",
            "manifest.unsigned_files",
            "manifest.missing_files",
            "manifest.changed_files",
        }
    )

    def __init__(
        self,
        clients: Callable[[str], ArtifactoryClient],
        *,
        trust: Callable[[], TrustStore],
        now: Callable[[], datetime],
        times: Times = lambda _ref, _bundle, _at: None,
    ) -> None:
        """`times` is trusted time from the audit log, where there is one."""
        self._clients = clients
        self._trust = trust
        self._now = now
        self._times = times

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The result of verifying the stored signature. An artifact still to be uploaded is signed afterwards."""
        if request.action is Action.UPLOAD:
            return dict.fromkeys(self.supplies, Unknown(NOT_STORED))
        artifact = request.artifact
        bundle = self._bundle(artifact)
        if bundle is None:
            return _facts(SignatureReport.absent(), at=self._now()) | {"signature.present": False}
        if artifact.digest is None:
            unknown = Unknown(
                "the digest of a file is not known, so nothing can be compared with the signature"
            )
            return dict.fromkeys(self.supplies, unknown) | {"signature.present": True}
        at, trust, actual = self._now(), self._trust(), Manifest.of(artifact.files)

        def verify(signed_at: datetime | None) -> SignatureReport:
            return verify_bundle(
                bundle, actual, trust, at=at, repository=artifact.repository, signed_at=signed_at
            )

        report = verify_in_time(verify, bundle, times=self._times, ref=artifact.ref, at=at)
        return _facts(report, at=at) | {"signature.present": True}

    def _bundle(self, artifact: Artifact) -> bytes | None:
        """The signature file, or None where there is none. Raises `DigestMismatchError` where it is not the listed one."""
        place = f"{artifact.path}/{_name(artifact)}".lstrip("/")
        try:
            data = self._clients(artifact.host).read_small(artifact.repository, place, limit=_LIMIT)
        except NotFoundError:
            return None
        listed = artifact.signature.sha256 if artifact.signature is not None else None
        actual = sha256(data).hexdigest()
        if listed is not None and listed != actual:
            raise DigestMismatchError(place, expected=listed, actual=actual)
        return data


def _name(artifact: Artifact) -> str:
    if artifact.kind is Kind.FILE and artifact.files:
        return f"{artifact.files[0].path}{FILE_SIGNATURE_SUFFIX}"
    return FOLDER_SIGNATURE


def _facts(report: SignatureReport, *, at: datetime) -> dict[str, FactValue]:
    not_compared = Unknown(f"the files were not compared: {report.detail or report.reason}")
    age: FactValue = Unknown("the signature carries no trusted time")
    if report.signed_at is not None:
        age = max(0, int((at - report.signed_at).total_seconds()))
    return {
        "signature.valid": report.valid,
        "signature.signer": report.signer,
        "signature.key_id": report.key_id,
        "signature.reason": report.reason.value if report.reason is not None else None,
        "signature.subject": report.name,
        "signature.bundle": report.bundle_sha256,
        "signature.age": age,
        "manifest.unsigned_files": report.unsigned if report.compared else not_compared,
        "manifest.missing_files": report.missing if report.compared else not_compared,
        "manifest.changed_files": report.changed if report.compared else not_compared,
    }
