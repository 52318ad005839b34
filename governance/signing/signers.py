"""Whose signatures a bundle carries: step 5 of `verify`, by key, certificate chain or Sigstore identity.

Promises: every signature is tried with every trusted key; hints and key ids only help to word a refusal. Does not: say
whether the signer may vouch (`trust`), or read what was signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from governance.signing.bundle import Bundle, CertificateMaterial, KeyMaterial, SigstoreMaterial
from governance.signing.reason import Reason, refuse, shown
from governance.signing.trust import Signed, TrustStore


def find_signers(
    bundle: Bundle, trust: TrustStore, *, at: datetime, signed_at: datetime | None
) -> list[Signed]:
    """Everybody in the trust file who made one of the bundle's signatures. Raises `SignatureError` where nobody did."""
    if isinstance(bundle.material, SigstoreMaterial):
        from governance.signing.keyless import find_sigstore_signer

        found = find_sigstore_signer(bundle.envelope, bundle.material, trust)
        return [replace(found, signed_at=signed_at)]
    times = _trusted_times(bundle, trust, at=at, signed_at=signed_at)
    if isinstance(bundle.material, CertificateMaterial):
        from governance.signing.certificate import find_certificate_signer

        return [find_certificate_signer(bundle.envelope, bundle.material, trust, times=times, at=at)]
    return _find_key_signers(bundle, bundle.material, trust, times)


def _trusted_times(
    bundle: Bundle, trust: TrustStore, *, at: datetime, signed_at: datetime | None
) -> dict[bytes, datetime]:
    """By signature, the time by which it was there: as the caller's log says or as a time stamp does, whichever is earlier. A log knows
    the file as it is, and may have taken it long after a signature in it was stamped, as when another was added."""
    stamped: dict[bytes, datetime] = {}
    if bundle.timestamps:
        from governance.signing.timestamp import stamped_times

        stamped = stamped_times(bundle, trust, at=at)
    if signed_at is None:
        return stamped
    return {
        each.value: min(signed_at, stamped.get(each.value, signed_at)) for each in bundle.envelope.signatures
    }


def _find_key_signers(
    bundle: Bundle, material: KeyMaterial, trust: TrustStore, times: Mapping[bytes, datetime]
) -> list[Signed]:
    message = bundle.envelope.message
    found = [
        Signed(name=key.name, key_id=key.key_id, grant=key.grant, signed_at=times.get(signature.value))
        for signature in bundle.envelope.signatures
        for key in trust.keys
        if key.public.has_signed(message, signature.value)
    ]
    if found:
        return found
    hints = [material.hint, *(signature.keyid for signature in bundle.envelope.signatures)]
    named = next((key for hint in hints if (key := trust.find(hint))), None)
    if named is not None:
        raise refuse(
            Reason.BAD_SIGNATURE, f"the signature names the key of `{named.name}` and was not made with it"
        )
    raise refuse(
        Reason.UNKNOWN_KEY, f"no trusted key made this signature (it names `{shown(material.hint)}`)"
    )
