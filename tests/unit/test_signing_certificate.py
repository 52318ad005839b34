"""Certificate chains and time stamps, made on the spot: what leads to a trusted authority and what does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from governance.errors import KeyFileError, SignatureError
from governance.signing import timestamp
from governance.signing.bundle import CertificateMaterial, write_bundle
from governance.signing.envelope import Envelope, EnvelopeSignature
from governance.signing.keys import LocalSigner
from governance.signing.reason import Reason
from governance.signing.report import SignatureReport
from governance.signing.sign import sign_manifest
from governance.signing.trust import Grant, Revocation, Role, TrustedAuthority, TrustStore
from governance.signing.verify import verify_bundle
from tests.unit.signing_kit import NOW, closed, manifest_of, opened, signer, trusted

DAY = timedelta(days=1)
CODE = (ExtendedKeyUsageOID.CODE_SIGNING,)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def issue(
    name: str,
    by: Issued | None = None,
    *,
    is_authority: bool = False,
    path_length: int | None = None,
    usage: Sequence[x509.ObjectIdentifier] | None = CODE,
    digital_signature: bool = True,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    curve: ec.EllipticCurve | None = None,
    says_usage: bool = True,
) -> Issued:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if says_usage:
        key_usage = x509.KeyUsage(
            digital_signature and not is_authority,
            False, False, False, False, is_authority, is_authority, False, False,
        )  # fmt: skip
        builder = builder.add_extension(key_usage, critical=True)
    if usage and not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=True)
    if by:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


ROOT = issue("root", is_authority=True, start=NOW - 900 * DAY, end=NOW + 900 * DAY)
MIDDLE = issue("middle", ROOT, is_authority=True, path_length=0, start=NOW - 900 * DAY, end=NOW + 900 * DAY)


def store(authority: Issued = ROOT, **grant: object) -> TrustStore:
    row = TrustedAuthority(
        name="the root",
        certificate=authority.pem,
        grant=Grant(roles=frozenset({Role.ARTIFACT}), **grant),  # type: ignore[arg-type]
    )
    return TrustStore(authorities=(row,))


def signed_by(leaf: Issued, *others: Issued) -> bytes:
    chain = [leaf.der, *(each.der for each in others)]
    return sign_manifest(manifest_of(), name="m", signer=LocalSigner(leaf.key), certificates=chain)


def check(
    bundle: bytes, trust: TrustStore | None = None, signed_at: datetime | None = None
) -> SignatureReport:
    return verify_bundle(bundle, manifest_of(), trust or store(), at=NOW, signed_at=signed_at)


def test_an_authority_that_does_not_say_what_its_key_is_for_is_told_what_it_lacks() -> None:
    """As `openssl req -x509` makes it. The library names the extension by its number alone."""
    root = issue("plain", is_authority=True, says_usage=False)
    report = check(signed_by(issue("leaf", root)), store(root))
    assert report.reason is Reason.CERTIFICATE_CHAIN
    assert "needs `keyUsage` with `keyCertSign`" in (report.detail or "")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_chain_that_leads_to_a_trusted_authority_is_good(curve: ec.EllipticCurve) -> None:
    leaf = issue("ann", MIDDLE, curve=curve)
    report = check(signed_by(leaf, MIDDLE))
    assert report.valid, report.detail
    assert report.signer == "ann (the root)"
    assert report.key_id == leaf.certificate.fingerprint(hashes.SHA256()).hex()


LEAVES: dict[str, tuple[Issued, Reason]] = {
    "expired": (issue("x", MIDDLE, start=NOW - 3 * DAY, end=NOW - 2 * DAY), Reason.CERTIFICATE_TIME),
    "not yet valid": (issue("x", MIDDLE, start=NOW + DAY, end=NOW + 2 * DAY), Reason.CERTIFICATE_TIME),
    "no extended usage": (issue("x", MIDDLE, usage=None), Reason.CERTIFICATE_USAGE),
    "another extended usage": (
        issue("x", MIDDLE, usage=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        Reason.CERTIFICATE_USAGE,
    ),
    "may not make signatures": (issue("x", MIDDLE, digital_signature=False), Reason.CERTIFICATE_USAGE),
    "an authority": (issue("x", MIDDLE, is_authority=True), Reason.CERTIFICATE_USAGE),
    "self-signed": (issue("x"), Reason.CERTIFICATE_CHAIN),
    "of a stranger": (issue("x", issue("root", is_authority=True)), Reason.CERTIFICATE_CHAIN),
}


@pytest.mark.parametrize("case", LEAVES)
def test_a_bad_leaf_is_refused_for_its_own_reason(case: str) -> None:
    leaf, reason = LEAVES[case]
    assert check(signed_by(leaf, MIDDLE)).reason is reason


def test_chains_that_are_broken_or_too_long_are_refused() -> None:
    leaf = issue("x", MIDDLE)
    assert check(signed_by(leaf)).reason is Reason.CERTIFICATE_CHAIN
    below = issue("below", MIDDLE, is_authority=True)
    assert check(signed_by(issue("x", below), below, MIDDLE)).reason is Reason.CERTIFICATE_CHAIN
    assert check(signed_by(issue("y", leaf), leaf, MIDDLE)).reason is Reason.CERTIFICATE_CHAIN
    old = issue("old", ROOT, is_authority=True, start=NOW - 9 * DAY, end=NOW - 8 * DAY)
    assert check(signed_by(issue("x", old), old)).reason is Reason.CERTIFICATE_CHAIN


def test_the_certificate_must_be_the_signers() -> None:
    leaf = issue("x", MIDDLE)
    bundle = sign_manifest(manifest_of(), name="m", signer=signer(), certificates=[leaf.der, MIDDLE.der])
    assert check(bundle).reason is Reason.BAD_SIGNATURE


def test_what_is_no_certificate_and_keys_we_do_not_take_are_refused() -> None:
    envelope = Envelope(
        payload=b"x",
        payload_type="application/vnd.in-toto+json",
        signatures=(EnvelopeSignature(value=b"s"),),
    )
    for der in (b"\x30\x00", issue("k1", MIDDLE, curve=ec.SECP256K1()).der):
        bundle = write_bundle(envelope, CertificateMaterial(certificates=(der,)))
        assert check(bundle).reason is Reason.CERTIFICATE
    document = opened(bundle)
    for rows in ([], [1], [{"rawBytes": "!"}], [{"rawBytes": "QQ=="}] * 17):
        document["verificationMaterial"]["x509CertificateChain"]["certificates"] = rows
        assert check(closed(document)).reason in {Reason.MATERIAL, Reason.BASE64}


def test_an_authority_is_believed_within_its_grant_only() -> None:
    bundle = signed_by(issue("x", MIDDLE), MIDDLE)
    assert check(bundle, store(repositories=("dev-*",))).reason is Reason.SCOPE
    revoked = store(revoked_at=NOW - DAY, revocation=Revocation.COMPROMISED)
    assert check(bundle, revoked).reason is Reason.COMPROMISED
    assert check(bundle, TrustStore(keys=(trusted(),))).reason is Reason.CERTIFICATE_CHAIN


def test_a_certificate_counts_at_trusted_time() -> None:
    leaf = issue("x", MIDDLE, start=NOW - 30 * DAY, end=NOW - 20 * DAY)
    bundle = signed_by(leaf, MIDDLE)
    assert check(bundle).reason is Reason.CERTIFICATE_TIME
    assert check(bundle, signed_at=NOW - 25 * DAY).valid
    assert check(bundle, signed_at=NOW - 5 * DAY).reason is Reason.CERTIFICATE_TIME


# Time stamps ----------------------------------------------------------------------------------------------------------

CONFIG = """
[tsa]
default_tsa = own
[own]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
accuracy = secs:1
"""


def stamp(folder: Path, request: bytes, authority: Issued) -> bytes:
    """A reply by `openssl ts`, an authority that knows nothing of us. Its clock is this machine's."""
    (folder / "ts.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01")
    (folder / "request").write_bytes(request)
    (folder / "tsa.pem").write_text(authority.pem)
    (folder / "tsa.key").write_bytes(
        authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    command = "openssl ts -reply -config ts.cnf -queryfile request -signer tsa.pem -inkey tsa.key -out reply"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return (folder / "reply").read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_a_time_stamp_is_trusted_time(tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    today = datetime.now(NOW.tzinfo)
    root = issue("tsa root", is_authority=True, start=today - DAY, end=today + DAY)
    tsa = issue("tsa", root, usage=(ExtendedKeyUsageOID.TIME_STAMPING,), start=today - DAY, end=today + DAY)
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())
    stamped = timestamp.attach_timestamp(bundle, stamp(tmp_path, timestamp.timestamp_request(bundle), tsa))
    retired = trusted(revoked_at=today + DAY, revocation=Revocation.SUPERSEDED)
    row = TrustedAuthority(name="tsa", certificate=root.pem, grant=Grant(roles=frozenset({Role.TIMESTAMP})))
    trust, later = TrustStore(keys=(retired,), authorities=(row,)), today + 2 * DAY
    report = verify_bundle(stamped, manifest_of(), trust, at=later)
    assert report.valid, report.detail
    assert report.signed_at is not None
    assert abs(report.signed_at - today) < timedelta(minutes=5)
    # No stamp, no trusted authority, or a stamp over another signature: no trusted time.
    other = sign_manifest(manifest_of({"other": b""}), name="m", signer=signer())
    moved = opened(other)
    moved["verificationMaterial"] = opened(stamped)["verificationMaterial"]
    for bad, store_ in (
        (bundle, trust),
        (stamped, TrustStore(keys=(retired,))),
        (closed(moved), trust),
    ):
        assert verify_bundle(bad, manifest_of(), store_, at=later).reason is Reason.SUPERSEDED
    # A log that took the file later takes nothing away, and one that took it earlier says more.
    for days, seen in ((1.5, report.signed_at), (-0.5, today - DAY / 2)):
        logged = verify_bundle(stamped, manifest_of(), trust, at=later, signed_at=today + days * DAY)
        assert (logged.valid, logged.signed_at) == (True, seen)
    # An authority counts for the time during which it is trusted, by the time in its stamp.
    for window, counts in (
        ({"not_after": today + DAY}, True),
        ({"revoked_at": today + DAY, "revocation": Revocation.SUPERSEDED}, True),
        ({"not_before": today + DAY}, False),
        ({"revoked_at": today - DAY, "revocation": Revocation.SUPERSEDED}, False),
        ({"revoked_at": today + DAY, "revocation": Revocation.COMPROMISED}, False),
    ):
        limited = replace(row, grant=replace(row.grant, **window))
        store_ = TrustStore(keys=(retired,), authorities=(limited,))
        assert verify_bundle(stamped, manifest_of(), store_, at=later).valid is counts, window
    # What would count as none is not put beside the signature.
    refusal = bytes.fromhex("30053003020102")
    for reply, words in (
        (stamp(tmp_path, timestamp.timestamp_request(other), tsa), "over something else"),
        (refusal, "gave no time stamp"),
    ):
        with pytest.raises(SignatureError, match=words):
            timestamp.attach_timestamp(bundle, reply)


def test_what_is_no_time_stamp_is_refused_or_counts_as_none() -> None:
    pytest.importorskip("rfc3161_client")
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())
    with pytest.raises(SignatureError, match="not a time stamp"):
        timestamp.attach_timestamp(bundle, b"x")
    document = opened(bundle)
    authority = TrustedAuthority(
        name="tsa", certificate=ROOT.pem, grant=Grant(roles=frozenset({Role.TIMESTAMP}))
    )
    trust = TrustStore(keys=(trusted(),), authorities=(authority,))
    for rows, reason in (
        ([{"signedTimestamp": "QQ=="}], None),
        ([{"signedTimestamp": "!"}], Reason.BASE64),
        ([1], Reason.MATERIAL),
        ([{}], Reason.MATERIAL),
        ([{"signedTimestamp": "QQ=="}] * 5, Reason.MATERIAL),
    ):
        document["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": rows}
        report = verify_bundle(closed(document), manifest_of(), trust, at=NOW)
        assert (report.reason, report.signed_at) == (reason, None)


def test_a_certificate_in_a_trust_file_must_be_one() -> None:
    bad = TrustStore(
        authorities=(
            TrustedAuthority(name="x", certificate="x", grant=Grant(roles=frozenset({Role.ARTIFACT}))),
        )
    )
    with pytest.raises(KeyFileError, match="not a certificate"):
        check(signed_by(issue("x", MIDDLE), MIDDLE), bad)
