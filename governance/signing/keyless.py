"""Signers known by a Sigstore identity: checked offline with the extra `sigstore`.

The steps, which are step 5 of `verify` for this kind of material:

1. The bundle's short-lived certificate, the transparency log's entry and the times in it hold together, under the
   roots that the library ships. No network is asked, and no cache: the library's own one lies in the user's home, where
   it believes without a look what stands there, and keeps the roots of its first day over every later release's.
2. The library read the same payload from the bundle as we did.
3. The identity in the certificate, with its issuer, is one of the trust file's.

Does not: sign this way, or renew the roots.
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any
from urllib.parse import quote

from governance.signing.bundle import SigstoreMaterial
from governance.signing.envelope import Envelope
from governance.signing.reason import Reason, refuse
from governance.signing.trust import Signed, TrustStore

_PRODUCTION = "https://tuf-repo-cdn.sigstore.dev"
"""Under whose name the library ships the roots of Sigstore's public instance."""


def find_sigstore_signer(envelope: Envelope, material: SigstoreMaterial, trust: TrustStore) -> Signed:
    """The trusted identity that signed. Raises `SignatureError`."""
    if not trust.identities:
        raise refuse(Reason.IDENTITY, "the trust file names no Sigstore identity")
    try:
        from sigstore.errors import Error
        from sigstore.verify.policy import Identity
    except ImportError as error:
        raise refuse(
            Reason.UNSUPPORTED, "Sigstore signatures need the extra `sigstore`, which is not installed"
        ) from error
    certificate, payload = _verify_proofs(material)  # 1
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


def _verify_proofs(material: SigstoreMaterial) -> tuple[Any, bytes]:
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier

    seen = _Remember()
    try:
        with as_file(files("sigstore._store") / quote(_PRODUCTION, safe="") / "trusted_root.json") as shipped:
            root = TrustedRoot.from_file(str(shipped))
        bundle = Bundle.from_json(_normalise(material.document))
        _, payload = Verifier(trusted_root=root).verify_dsse(bundle, seen)
    except Exception as error:  # the library raises its own errors, and its parsers theirs
        raise refuse(Reason.SIGSTORE, f"Sigstore: {type(error).__name__}: {str(error)[:200]}") from error
    return seen.certificate, payload


def _normalise(document: bytes) -> str:
    """Early bundles hold a list where the schema has an object; the library reads them without it."""
    parsed = json.loads(document)
    if parsed["verificationMaterial"].get("timestampVerificationData") == []:
        del parsed["verificationMaterial"]["timestampVerificationData"]
    return json.dumps(parsed)
