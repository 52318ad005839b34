"""Signed trust files: who may change whom we believe (after TUF 1.0.33, section 5.3).

The steps for a new version, each with its own refusal:

1. It is a DSSE envelope with a trust document.
2. A threshold of distinct root keys that the document itself names signed it.
3. A threshold of distinct root keys of the version before signed it too.
4. Its version is the next one: a lower one is a rollback, a higher one skips a change of roots that nobody showed us.

Expiry is checked where a signature is verified (`verify`, step 4), against the time of that question: a version that
has expired is a link in the chain all the same, and only the last one must be in force.

What the caller must still do: remember the version that was accepted (see `keyring`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from governance.errors import KeyFileError, SignatureError
from governance.signing.envelope import Envelope, EnvelopeSignature, pae, parse_envelope
from governance.signing.keyholder import Signer
from governance.signing.strict import parse_object
from governance.signing.trustfile import MAX_TRUST_FILE, Roots, TrustDocument, parse_trust, render_trust

PAYLOAD_TYPE = "application/vnd.mlgov.trust.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTrust:
    """A trust document that its own roots signed, and the digest of exactly those signed bytes."""

    document: TrustDocument
    roots: Roots
    envelope: Envelope
    sha256: str

    @property
    def version(self) -> int:
        """The document's version."""
        return self.document.store.version


def sign_trust(document: TrustDocument, signers: Sequence[Signer]) -> bytes:
    """The signed trust file. Raises `KeyFileError` where the signers do not reach the document's own threshold."""
    payload = render_trust(document)
    message = pae(PAYLOAD_TYPE, payload)
    signatures = tuple(EnvelopeSignature(value=each.sign(message), keyid=each.key_id) for each in signers)
    envelope = Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures=signatures)
    data = json.dumps(envelope.to_json(), separators=(",", ":")).encode("ascii")
    open_signed_trust(data)
    return data


def add_signature(data: bytes, signer: Signer) -> tuple[bytes, int, int]:
    """A trust document, signed by others already or not, with one root key's signature more; how many of its own roots
    signed it now, and how many it needs. Raises `KeyFileError` for a document that names no roots. Any key may sign: those
    of the version before must, and are no roots of the new one where they are replaced.
    """
    envelope = _unfinished(data)
    document = parse_trust(envelope.payload)
    if document.roots is None:
        raise KeyFileError("the trust document says that nobody signed it", hint="Name its `roots` instead.")
    mine = EnvelopeSignature(value=signer.sign(envelope.message), keyid=signer.key_id)
    others = tuple(each for each in envelope.signatures if each.keyid != signer.key_id)
    signed = replace(envelope, signatures=(*others, mine))
    written = json.dumps(signed.to_json(), separators=(",", ":")).encode("ascii")
    return written, len(_signers(signed, document.roots)), document.roots.threshold


def _unfinished(data: bytes) -> Envelope:
    """The envelope of a document that is being signed; a bare document is put into one in its canonical form."""
    if len(data) > 2 * MAX_TRUST_FILE:
        raise KeyFileError(f"the trust file has {len(data)} bytes")
    try:
        tree = parse_object(data, what="the trust file")
        if "payloadType" in tree:
            return parse_envelope(tree, payload_type=PAYLOAD_TYPE)
    except SignatureError as error:
        raise KeyFileError(f"the trust file is not right: {error.message}") from error
    payload = render_trust(parse_trust(data))
    return Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures=())


def open_signed_trust(data: bytes) -> SignedTrust:
    """Steps 1 and 2. Raises `KeyFileError`."""
    if len(data) > 2 * MAX_TRUST_FILE:
        raise KeyFileError(f"the trust file has {len(data)} bytes")
    try:
        envelope = parse_envelope(parse_object(data, what="the trust file"), payload_type=PAYLOAD_TYPE)  # 1
    except SignatureError as error:
        raise KeyFileError(f"the signed trust file is not right: {error.message}") from error
    document = parse_trust(envelope.payload)
    if document.roots is None:
        raise KeyFileError("the signed trust file says that nobody signed it")
    _check_threshold(envelope, document.roots, whose="its own")  # 2
    return SignedTrust(
        document=replace(document, store=replace(document.store, is_signed=True)),
        roots=document.roots,
        envelope=envelope,
        sha256=hashlib.sha256(envelope.payload).hexdigest(),
    )


def accept_next(roots: Roots, version: int, data: bytes) -> SignedTrust:
    """Steps 1 to 4: the version after `version`, whose roots are `roots`. Raises `KeyFileError`."""
    found = open_signed_trust(data)  # 1, 2
    _check_threshold(found.envelope, roots, whose="the current version's")  # 3
    if found.version <= version:  # 4
        raise KeyFileError(
            f"trust file version {found.version} is offered where version {version} was seen before",
            hint="Somebody may be rolling back a revocation. Ask for the current version by another way.",
        )
    if found.version != version + 1:
        raise KeyFileError(
            f"trust file version {found.version} does not follow version {version}",
            hint="Install the versions between them one by one, so that each change of root keys is shown.",
        )
    return found


def _check_threshold(envelope: Envelope, roots: Roots, *, whose: str) -> None:
    signed = _signers(envelope, roots)
    if len(signed) < roots.threshold:
        raise KeyFileError(
            f"the trust file is signed by {len(signed)} of {whose} root keys, and {roots.threshold} are needed"
        )


def _signers(envelope: Envelope, roots: Roots) -> frozenset[str]:
    message = envelope.message
    # By key and not by signature: one key that signs twice is one key (GHSA-r7vq-6425-j94w was this mistake).
    return frozenset(
        key.key_id
        for key in roots.keys
        if any(key.has_signed(message, signature.value) for signature in envelope.signatures)
    )
