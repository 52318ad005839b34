"""Public keys: which ones we take, their name, and whether a signature is theirs.

The key id is the hex SHA-256 of the key's PEM text (SubjectPublicKeyInfo, with its final newline), which is the `hint`
of OpenSSF Model Signing. It is always computed from the key, never read from a file. Does not: say whether a key is
trusted.
"""

from __future__ import annotations

import base64
import enum
import hashlib
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from governance.errors import KeyFileError

_Key: TypeAlias = "ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey"


class Algorithm(enum.StrEnum):
    """Signature algorithms, by the names of Sigstore's registry. Ed25519 is ours alone: OMS v1.0 does not have it."""

    P256 = "ecdsa-p256-sha256"
    P384 = "ecdsa-p384-sha384"
    P521 = "ecdsa-p521-sha512"
    ED25519 = "ed25519"


CURVES: dict[Algorithm, ec.EllipticCurve] = {
    Algorithm.P256: ec.SECP256R1(),
    Algorithm.P384: ec.SECP384R1(),
    Algorithm.P521: ec.SECP521R1(),
}
DIGESTS: dict[Algorithm, hashes.HashAlgorithm] = {
    Algorithm.P256: hashes.SHA256(),
    Algorithm.P384: hashes.SHA384(),
    Algorithm.P521: hashes.SHA512(),
}
_BY_CURVE = {curve.name: algorithm for algorithm, curve in CURVES.items()}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of one of the four algorithms. Equal keys have equal `pem`, however they were written."""

    algorithm: Algorithm
    pem: str
    _key: _Key = field(repr=False, compare=False)

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of `pem`."""
        return hashlib.sha256(self.pem.encode("ascii")).hexdigest()

    @property
    def hints(self) -> frozenset[str]:
        """Everything by which signature files refer to this key: OMS's hint, and base64 of SHA-256 of the DER form
        (cosign). For messages only.
        """
        der = self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return frozenset({self.key_id, base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")})

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` was made with this key's private half."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, ec.ECDSA(DIGESTS[self.algorithm]))
        except InvalidSignature:
            return False
        return True


def wrap_public_key(key: object) -> PublicKey:
    """A key of `cryptography` as ours. Raises `KeyFileError` for RSA, other curves and anything else."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        algorithm = Algorithm.ED25519
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _BY_CURVE:
        algorithm = _BY_CURVE[key.curve.name]
    else:
        raise KeyFileError(
            "the key is not ECDSA P-256, P-384 or P-521, nor Ed25519",
            hint="`mlgov keys init` makes a P-256 key, which every verifier knows.",
        )
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(algorithm, pem.decode("ascii"), key)


def parse_public_key(pem: bytes | str) -> PublicKey:
    """Read a public key in PEM. Raises `KeyFileError`."""
    data = pem.encode("utf-8") if isinstance(pem, str) else pem
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            "this is not a public key in PEM", hint="`mlgov keys export` prints one."
        ) from error
    return wrap_public_key(key)
