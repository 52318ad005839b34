"""Signers known by a Sigstore identity: checked offline with the extra `sigstore`.

The steps, which are step 5 of `verify` for this kind of material:

1. The bundle's short-lived certificate, the transparency log's entry and the times in it hold together, under the
   roots that the library ships (or those given). No network is asked.
2. The library read the same payload from the bundle as we did.
3. The identity in the certificate, with its issuer, is one of the trust file's.

Does not: sign this way, or renew the roots.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance.places import read_bounded
from governance.signing.bundle import SigstoreMaterial
from governance.signing.envelope import Envelope
from governance.signing.reason import Reason, refuse
from governance.signing.trust import Signed, TrustStore


def find_sigstore_signer(
    envelope: Envelope, material: SigstoreMaterial, trust: TrustStore, *, roots: Path | None = None
) -> Signed:
    """The trusted identity that signed. Raises `SignatureError`. `roots` is a Sigstore trust configuration."""
    if not trust.identities:
        raise refuse(Reason.IDENTITY, "the trust file names no Sigstore identity")
    try:
        from sigstore.errors import Error
        from sigstore.verify.policy import Identity
    except ImportError as error:
        raise refuse(
            Reason.UNSUPPORTED, "Sigstore signatures need the extra `sigstore`, which is not installed"
        ) from error
    certificate, payload = _verify_proofs(material, roots)  # 1
    if payload != envelope.payload:  # 2
        raise refuse(Reason.SIGSTORE, "the library and we read different payloads from one bundle")
    for trusted in trust.identities:  # 3
        try:
            Identity(identity=trusted.identity, issuer=trusted.issuer).verify(certificate)
        except Error:
            continue
        return Signed(name=trusted.name, key_id=f"{trusted.issuer}#{trusted.identity}", grant=trusted.grant)
    raise refuse(Reason.IDENTITY, "the signature holds, and its identity is none of the trust file's")


class _Remember:
    """Sigstore's policy that asks nothing and keeps the certificate: identities are compared afterwards."""

    certificate: Any = None

    def verify(self, cert: Any) -> None:
        """Keep the certificate whose proofs were found good."""
        self.certificate = cert


def _verify_proofs(material: SigstoreMaterial, roots: Path | None) -> tuple[Any, bytes]:
    from sigstore.models import Bundle, ClientTrustConfig
    from sigstore.verify import Verifier

    seen = _Remember()
    try:
        config = (
            ClientTrustConfig.from_json(read_bounded(roots).decode())
            if roots
            else ClientTrustConfig.production(offline=True)
        )
        bundle = Bundle.from_json(_normalise(material.document))
        _, payload = Verifier(trusted_root=config.trusted_root).verify_dsse(bundle, seen)
    except Exception as error:  # the library raises its own errors, and its parsers theirs
        raise refuse(Reason.SIGSTORE, f"Sigstore: {type(error).__name__}: {str(error)[:200]}") from error
    return seen.certificate, payload


def _normalise(document: bytes) -> str:
    """Early bundles hold a list where the schema has an object; the library reads them without it."""
    parsed = json.loads(document)
    if parsed["verificationMaterial"].get("timestampVerificationData") == []:
        del parsed["verificationMaterial"]["timestampVerificationData"]
    return json.dumps(parsed)
