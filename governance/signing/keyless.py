"""Signers known by a Sigstore identity: checked offline with the extra `sigstore`.

The bundle brings its short-lived certificate, the transparency log's entry and its time; the library checks them
against the roots that it ships (or those given), without a network. Which identities count is said in the trust file.
Does not: sign this way, or renew the roots.
"""

from __future__ import annotations

import json
from pathlib import Path

from governance.signing.bundle import SigstoreMaterial
from governance.signing.envelope import Envelope
from governance.signing.report import Reason, refuse
from governance.signing.trust import Signed, TrustStore


def find_sigstore_signer(
    envelope: Envelope, material: SigstoreMaterial, trust: TrustStore, *, roots: Path | None = None
) -> Signed:
    """The trusted identity that signed. Raises `SignatureError`. `roots` is a Sigstore trust configuration."""
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle, ClientTrustConfig
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError as error:
        raise refuse(
            Reason.UNSUPPORTED, "Sigstore signatures need the extra `sigstore`, which is not installed"
        ) from error
    if not trust.identities:
        raise refuse(Reason.IDENTITY, "the trust file names no Sigstore identity")
    try:
        config = (
            ClientTrustConfig.from_json(roots.read_text("utf-8"))
            if roots
            else ClientTrustConfig.production(offline=True)
        )
        verifier = Verifier(trusted_root=config.trusted_root)
        bundle = Bundle.from_json(_normalise(material.document))
    except Exception as error:  # the library's parsers raise what theirs raise
        raise refuse(
            Reason.SIGSTORE, f"the Sigstore bundle cannot be read: {type(error).__name__}"
        ) from error
    failure = ""
    for trusted in trust.identities:
        try:
            _, payload = verifier.verify_dsse(
                bundle, Identity(identity=trusted.identity, issuer=trusted.issuer)
            )
        except Error as error:
            failure = str(error)[:200]
            continue
        if payload != envelope.payload:
            raise refuse(Reason.SIGSTORE, "the library and we read different payloads from one bundle")
        return Signed(name=trusted.name, key_id=f"{trusted.issuer}#{trusted.identity}", grant=trusted.grant)
    # The library says in words alone whether the identity or the proof was wrong; both refuse.
    reason = (
        Reason.IDENTITY if "identit" in failure.lower() or "issuer" in failure.lower() else Reason.SIGSTORE
    )
    raise refuse(reason, f"Sigstore: {failure}")


def _normalise(document: bytes) -> str:
    """Early bundles hold a list where the schema has an object; the library reads them without it."""
    parsed = json.loads(document)
    if parsed["verificationMaterial"].get("timestampVerificationData") == []:
        del parsed["verificationMaterial"]["timestampVerificationData"]
    return json.dumps(parsed)
