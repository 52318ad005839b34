"""What every signing key can do, wherever it lies: see `keys` for files, `kms` for services and `pkcs11` for tokens."""

from __future__ import annotations

from typing import Protocol

from governance.signing.publickey import Algorithm, PublicKey


class Signer(Protocol):
    """Makes signatures with one key, wherever it lies.

    | member | meaning |
    | --- | --- |
    | `key_id` | hex SHA-256 of `public_pem` |
    | `public_pem` | the public half, SubjectPublicKeyInfo in PEM |
    | `algorithm` | one of `Algorithm` |
    | `sign(message)` | the signature: DER for ECDSA, 64 bytes for Ed25519. Raises `KeyFileError` |
    """

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of `public_pem`."""
        ...

    @property
    def public_pem(self) -> str:
        """The public half in PEM."""
        ...

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`."""
        ...


class KeyHolder:
    """What signers have in common that know their own public half, `public`."""

    public: PublicKey

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of `public_pem`."""
        return self.public.key_id

    @property
    def public_pem(self) -> str:
        """The public half in PEM."""
        return self.public.pem

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        return self.public.algorithm
