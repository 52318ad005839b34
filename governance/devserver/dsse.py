"""Signed statements as the evidence service reads them: a DSSE envelope around an in-toto statement.

Promises that a signature is checked against exactly the key of its alias. Written from the two specifications and for
this server alone, so that a mistake of the client does not agree with itself here. Does not keep anything.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from governance.devserver.problems import Problem

_TYPE = "application/vnd.in-toto+json"
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An envelope that can be filed."""

    message: bytes
    signature: bytes
    keyid: str
    predicate_type: str
    predicate: Any
    sha256: str


def read_evidence(document: Mapping[str, Any]) -> Evidence:
    """The envelope of a body, which is one itself or a Sigstore bundle around it. Refuses with 400 what is none."""
    envelope = document.get("dsseEnvelope") if "mediaType" in document else document
    if not isinstance(envelope, dict) or envelope.get("payloadType") != _TYPE:
        raise Problem(400, f"The body is no DSSE envelope with payload type {_TYPE}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise Problem(400, "An evidence has exactly one signature")
    payload = _decoded(envelope.get("payload"), "payload")
    statement = _statement(payload)
    kind = _TYPE.encode()
    return Evidence(
        message=b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload),
        signature=_decoded(signatures[0].get("sig"), "signature"),
        keyid=str(signatures[0].get("keyid") or ""),
        predicate_type=str(statement["predicateType"]),
        predicate=statement.get("predicate"),
        sha256=_subject(statement),
    )


def read_public_key(text: object) -> Any:
    """A trusted key. Refuses with 400 what is none of ECDSA, Ed25519 and RSA in PEM."""
    try:
        key = load_pem_public_key(str(text).encode())
    except ValueError as error:
        raise Problem(400, "The key is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise Problem(400, "The key is of a type that is not supported")
    return key


def is_signed_by(evidence: Evidence, key: Any) -> bool:
    """Whether a key made the signature."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(evidence.signature, evidence.message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(evidence.signature, evidence.message, ec.ECDSA(_HASHES[key.curve.name]()))
        else:
            key.verify(evidence.signature, evidence.message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, KeyError):
        return False
    return True


_HASHES: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


def _decoded(text: object, what: str) -> bytes:
    try:
        return base64.b64decode(str(text).replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, f"The {what} is not base64") from error


def _statement(payload: bytes) -> dict[str, Any]:
    try:
        statement = json.loads(payload)
    except ValueError as error:
        raise Problem(400, "The payload is not JSON") from error
    if not isinstance(statement, dict) or statement.get("_type") not in _STATEMENTS:
        raise Problem(400, "The payload is no in-toto statement")
    if not isinstance(statement.get("predicateType"), str) or not statement["predicateType"]:
        raise Problem(400, "The statement has no predicateType")
    return statement


def _subject(statement: Mapping[str, Any]) -> str:
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise Problem(400, "The statement must have exactly one subject")
    digest = subjects[0].get("digest") if isinstance(subjects[0], dict) else None
    sha256 = digest.get("sha256") if isinstance(digest, dict) else None
    if not isinstance(sha256, str):
        raise Problem(400, "The subject has no sha256")
    return sha256
