"""Keys that stay in a key service: AWS, Google and Azure KMS, HashiCorp Vault (extra `kms`).

| address | signer of securesystemslib |
| --- | --- |
| `awskms:KEY-ID`, `awskms:alias/NAME`, `awskms:ARN` | `AWSSigner` |
| `gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V` | `GCPSigner` |
| `azurekms:VAULT/KEY` | `AzureSigner` |
| `hashivault:KEY` | `VaultSigner` (Ed25519, transit engine) |

Credentials are the ambient ones of each service's own client. The public key is fetched from the service when the
signer is opened. Signatures are as random as the service makes them, so bundles are not reproducible byte for byte.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.errors import KeyFileError
from governance.signing.publickey import KeyHolder, PublicKey, parse_public_key, wrap_public_key

if TYPE_CHECKING:
    from governance.signing.keys import Signer


class KmsSigner(KeyHolder):
    """One key of a service, behind the interface of `keys.Signer`. `remote` is a signer of securesystemslib."""

    def __init__(self, remote: Any, *, shown: str) -> None:
        self._remote, self._shown = remote, shown
        self.public: PublicKey = _read_public(remote.public_key)

    def __repr__(self) -> str:
        return f"KmsSigner({self._shown})"

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, checked before it is used. Raises `KeyFileError`."""
        try:
            signature = bytes.fromhex(self._remote.sign(message).signature)
        except Exception as error:  # each service's client raises its own
            raise KeyFileError(f"`{self._shown}` did not sign: {type(error).__name__}") from error
        # Services round-robin key versions; a signature by another version would be refused only at the next load.
        if not self.public.has_signed(message, signature):
            raise KeyFileError(f"`{self._shown}` signed with another key than the one it showed")
        return signature


def _read_public(key: Any) -> PublicKey:
    """The public half as securesystemslib keeps it: PEM, but for Ed25519 the 32 bytes in hex."""
    text = str(key.keyval["public"])
    if key.keytype == "ed25519":
        return wrap_public_key(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))
    return parse_public_key(text)


def load_kms_signer(location: str) -> Signer:
    """The signer at a service's address. Raises `KeyFileError`."""
    scheme, _, rest = location.partition(":")
    if not rest:
        raise KeyFileError(f"key address `{scheme}:` names no key")
    try:
        backend = getattr(import_module("securesystemslib.signer"), _SIGNERS[scheme])
        # Azure names a key by its vault and its name, the others by one name.
        uri, public = backend.import_(*(rest.split("/", 1) if scheme == "azurekms" else [rest]))
        remote = backend.from_priv_key_uri(uri, public)
    except ImportError as error:
        raise KeyFileError(
            f"`{scheme}:` needs the extra `kms`", hint="`pip install 'mlflow-governance[kms]'`."
        ) from error
    except Exception as error:  # each service's client raises its own
        missing = type(error).__name__ == "UnsupportedLibraryError"
        hint = (
            f"The service's own client is missing: {error}"
            if missing
            else "Look at the service's credentials."
        )
        raise KeyFileError(f"`{location}` cannot be opened: {type(error).__name__}", hint=hint) from error
    return KmsSigner(remote, shown=location)


_SIGNERS = {
    "awskms": "AWSSigner",
    "gcpkms": "GCPSigner",
    "azurekms": "AzureSigner",
    "hashivault": "VaultSigner",
}
