"""Signers known by a certificate chain, checked without a network.

The steps, which are step 5 of `verify` for this kind of material:

1. The certificates are DER that can be read, leaf first; the leaf's key is one we take.
2. One of the envelope's signatures was made with the leaf's key.
3. The leaf may sign code: extended key usage `codeSigning`, key usage `digitalSignature`, and it is no authority.
4. The leaf was valid at trusted time (`times`, by signature), or is valid now. (`model_signing` 1.1.1 checks it at its own `notBefore`, which
   every certificate passes for ever.)
5. A path leads from the leaf to an authority in the trust file, each link valid at that time.

Does not: ask for revocation lists or OCSP. An authority or its leaves are withdrawn in the trust file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from governance.errors import KeyFileError
from governance.signing.bundle import CertificateMaterial
from governance.signing.envelope import Envelope
from governance.signing.publickey import PublicKey, wrap_public_key
from governance.signing.reason import Reason, refuse
from governance.signing.trust import Role, Signed, TrustedAuthority, TrustStore


def find_certificate_signer(
    envelope: Envelope,
    material: CertificateMaterial,
    trust: TrustStore,
    *,
    times: Mapping[bytes, datetime],
    at: datetime,
) -> Signed:
    """Whoever the leaf certificate names, under the grant of the authority that leads to it. Raises `SignatureError`."""
    leaf, *others = _read_all(material.certificates)  # 1
    public = _leaf_key(leaf)
    own = [each.value for each in envelope.signatures if public.has_signed(envelope.message, each.value)]  # 2
    if not own:
        raise refuse(Reason.BAD_SIGNATURE, "the signature was not made with the certificate's key")
    signed_at = times.get(own[0])
    time = signed_at or at
    _check_usage(leaf)  # 3
    if not leaf.not_valid_before_utc <= time <= leaf.not_valid_after_utc:  # 4
        raise refuse(
            Reason.CERTIFICATE_TIME,
            f"the certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}",
        )
    authority = _find_authority(leaf, others, trust, time)  # 5
    digest = leaf.fingerprint(hashes.SHA256()).hex()
    return Signed(
        name=f"{_subject(leaf)} ({authority.name})", key_id=digest, grant=authority.grant, signed_at=signed_at
    )


def read_certificate(pem: str) -> x509.Certificate:
    """A certificate in PEM. Raises `KeyFileError`."""
    try:
        return x509.load_pem_x509_certificate(pem.encode("utf-8"))
    except ValueError as error:
        raise KeyFileError("this is not a certificate in PEM") from error


def _read_all(listed: Sequence[bytes]) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(der) for der in listed]
    except ValueError as error:
        raise refuse(Reason.CERTIFICATE, "a certificate in the bundle cannot be read") from error


def _leaf_key(leaf: x509.Certificate) -> PublicKey:
    try:
        return wrap_public_key(leaf.public_key())
    except (KeyFileError, ValueError) as error:
        raise refuse(Reason.CERTIFICATE, "the certificate's key is neither ECDSA nor Ed25519") from error


def _check_usage(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
        key_usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise refuse(
            Reason.CERTIFICATE_USAGE, "the certificate does not say that it may sign code"
        ) from error
    except ValueError as error:
        raise refuse(Reason.CERTIFICATE, "the certificate's extensions cannot be read") from error
    if not isinstance(usage, x509.ExtendedKeyUsage) or ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise refuse(Reason.CERTIFICATE_USAGE, "the certificate may not sign code")
    if not key_usage.digital_signature:
        raise refuse(Reason.CERTIFICATE_USAGE, "the certificate's key may not make signatures")
    if _is_authority(leaf):
        raise refuse(
            Reason.CERTIFICATE_USAGE, "the certificate is an authority's and may not sign anything else"
        )


def _is_authority(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _find_authority(
    leaf: x509.Certificate, others: list[x509.Certificate], trust: TrustStore, at: datetime
) -> TrustedAuthority:
    # Usage of the leaf is checked above; of an authority, that it is one (path lengths are the library's business).
    authority_policy = ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None
    )
    failure = "the trust file names no certificate authority"
    for authority in trust.authorities:
        if authority.grant.roles <= {Role.TIMESTAMP}:
            continue
        verifier = (
            PolicyBuilder()
            .store(Store([read_certificate(authority.certificate)]))
            .time(at)
            .extension_policies(ee_policy=ExtensionPolicy.permit_all(), ca_policy=authority_policy)
            .build_client_verifier()
        )
        try:
            verifier.verify(leaf, others)
        except VerificationError as error:
            failure = f"no path leads to a trusted authority: {_explained(str(error))}"
        else:
            return authority
    raise refuse(Reason.CERTIFICATE_CHAIN, failure)


_WANTED = {
    "2.5.29.15": "an authority's certificate needs `keyUsage` with `keyCertSign`",
    "2.5.29.19": "an authority's certificate needs `basicConstraints` with `CA:TRUE`, marked critical",
}
"""By the extension that the library names, what makers of small authorities leave out: `openssl req -x509` makes no key usage."""


def _explained(text: str) -> str:
    wanted = next((words for oid, words in _WANTED.items() if f"invalid extension: {oid}" in text), None)
    return text[:200] if wanted is None else f"{wanted} ({text[:160]})"


def _subject(leaf: x509.Certificate) -> str:
    names = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else leaf.subject.rfc4514_string()
