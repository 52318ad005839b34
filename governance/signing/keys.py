"""Signing keys: made, kept encrypted, and opened by their address.

Promises: a key file is readable by its owner alone (or root's, and handed to this user's group) and encrypted, or it is not used; a passphrase never appears in a
message, a log or a `repr`. ECDSA signatures are deterministic (RFC 6979), so that signing the same twice gives the
same bytes. Does not: say whom anybody trusts (see `trust`), or read the environment by itself.

| address | key |
| --- | --- |
| a path, `file:PATH` | encrypted PKCS#8 in PEM, mode 0600 (0440 from root) |
| `env:NAME` | the same text in an environment variable |
| `awskms:`, `gcpkms:`, `azurekms:`, `hashivault:` | a key that stays in its service (extra `kms`) |
| `pkcs11:` | a key that stays in its token (extra `pkcs11`) |
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from governance.errors import KeyFileError
from governance.places import is_readable_by_others, make_private, open_file, write_new
from governance.signing.keyholder import KeyHolder, Signer
from governance.signing.publickey import CURVES, DIGESTS, Algorithm, PublicKey, wrap_public_key

_MAX_KEY_FILE = 64 << 10
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_SCHEME = re.compile(r"[a-z][a-z0-9]{1,15}(?=:)")


class LocalSigner(KeyHolder):
    """A key in this process's memory. Safe to use from many threads."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
        self._private = private
        self.public: PublicKey = wrap_public_key(private.public_key())

    def __repr__(self) -> str:
        return f"LocalSigner({self.key_id})"

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`; the same for the same message."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        return self._private.sign(message, ec.ECDSA(DIGESTS[self.algorithm], deterministic_signing=True))


def generate_key(path: Path, passphrase: bytes | str, *, algorithm: Algorithm = Algorithm.P256) -> PublicKey:
    """Make a key and keep it encrypted at `path`, which must not exist. Returns its public half.

    Raises `KeyFileError` where the file exists or cannot be written, or the passphrase is empty.
    """
    # Not above: most processes sign and never make a key.
    from governance.signing.pkcs8 import encrypt_private_key

    secret = _to_bytes(passphrase)
    if not secret:
        raise KeyFileError("a signing key is not made without a passphrase", hint=_UNLOCK_HINT)
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm is Algorithm.ED25519:
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = ec.generate_private_key(CURVES[algorithm])
    plain = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_new(path, encrypt_private_key(plain, secret))
    return wrap_public_key(private.public_key())


def load_signer(
    location: str | Path,
    passphrase: bytes | str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Signer:
    """The signer at an address of the table above. Raises `KeyFileError`, each refusal with its own text.

    `environment` is what `env:` may look into, and nothing where it is None.
    """
    text = str(location)
    match = _SCHEME.match(text)
    # A Windows drive letter has one letter, a scheme at least two.
    scheme, rest = (match[0], text[match.end() + 1 :]) if match else ("file", text)
    if scheme == "file":
        return _open_private_key(_read_key_file(Path(rest.removeprefix("//"))), passphrase, rest)
    if scheme == "env":
        found = (environment or {}).get(rest)
        if not found:
            raise KeyFileError(f"the environment variable `{rest}` holds no key")
        return _open_private_key(found.encode("utf-8"), passphrase, text)
    loader = _LOADERS.get(scheme)
    if loader is None:
        known = ", ".join(("file", "env", *_LOADERS))
        raise KeyFileError(f"key address `{scheme}:` is not one of {known}")
    return loader(text, passphrase)


def _load_kms(location: str, passphrase: bytes | str | None) -> Signer:
    from governance.signing.kms import load_kms_signer

    del passphrase  # a service asks for its own credentials
    return load_kms_signer(location)


def _load_pkcs11(location: str, passphrase: bytes | str | None) -> Signer:
    from governance.signing.pkcs11 import load_pkcs11_signer

    return load_pkcs11_signer(location, passphrase)


_LOADERS: dict[str, Callable[[str, bytes | str | None], Signer]] = {
    "awskms": _load_kms,
    "gcpkms": _load_kms,
    "azurekms": _load_kms,
    "hashivault": _load_kms,
    "pkcs11": _load_pkcs11,
}

_UNLOCK_HINT = (
    "Set `MLGOV_KEY_PASSPHRASE_FILE` (or `MLGOV_KEY_PASSPHRASE`, or `MLGOV_KEY_PASSPHRASE_KEYRING`)."
)


def _open_private_key(pem: bytes, passphrase: bytes | str | None, shown: str) -> LocalSigner:
    if _ENCRYPTED not in pem:
        if b"PRIVATE KEY-----" not in pem:
            raise KeyFileError(f"`{shown}` holds no private key in PEM")
        raise KeyFileError(
            f"the private key in `{shown}` is not encrypted, so it is not used",
            hint="Encrypt it: `openssl pkcs8 -topk8 -scrypt -in OLD -out NEW`, then remove the old file.",
        )
    if not passphrase:
        raise KeyFileError(f"the key in `{shown}` is encrypted and no passphrase is given", hint=_UNLOCK_HINT)
    try:
        private = serialization.load_pem_private_key(pem, _to_bytes(passphrase))
    except UnsupportedAlgorithm as error:
        raise KeyFileError(f"the key in `{shown}` is of a kind that is not known here") from error
    except (ValueError, TypeError) as error:
        raise KeyFileError(
            f"the passphrase for `{shown}` is wrong, or the file is damaged", hint=_UNLOCK_HINT
        ) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise KeyFileError(f"the key in `{shown}` is neither ECDSA nor Ed25519")
    return LocalSigner(private)


def _read_key_file(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            state = os.fstat(file.fileno())
            if is_readable_by_others(state):
                raise KeyFileError(
                    f"the key file `{path}` is open to other users (mode {stat.S_IMODE(state.st_mode):04o})",
                    hint=f"`chmod 600 {path}`. If others may have read it, make a new key and revoke this one.",
                )
            data = file.read(_MAX_KEY_FILE + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no key file `{path}`", hint="`mlgov keys init` makes one.") from error
    except OSError as error:
        raise KeyFileError(
            f"the key file `{path}` cannot be read: {error.strerror}",
            hint="Fix its rights, or name the right file in `MLGOV_KEY`.",
        ) from error
    if len(data) > _MAX_KEY_FILE:
        raise KeyFileError(f"`{path}` is too large for a key file")
    return data


def _write_new(path: Path, data: bytes) -> None:
    try:
        make_private(path.parent)
        write_new(path, data)
    except OSError as error:
        if path.exists():
            raise KeyFileError(
                f"`{path}` exists; a key is never written over",
                hint="`mlgov keys rotate` makes the next one.",
            ) from error
        raise KeyFileError(f"the key file `{path}` cannot be written: {error.strerror}") from error


def _to_bytes(passphrase: bytes | str) -> bytes:
    return passphrase.encode("utf-8") if isinstance(passphrase, str) else passphrase
