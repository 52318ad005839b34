"""Keys that stay in a key service: AWS, Google and Azure KMS, HashiCorp Vault (extra `kms`).

| address | signer of securesystemslib | keys |
| --- | --- | --- |
| `awskms:KEY-ID`, `awskms:alias/NAME`, `awskms:ARN` | `AWSSigner` | P-256, P-384 |
| `gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V` | `GCPSigner` | P-256, P-384 |
| `azurekms:VAULT/KEY` | `AzureSigner` | P-256, P-384, P-521 |
| `hashivault:KEY` | `VaultSigner` (transit engine) | Ed25519 |

Credentials are the ambient ones of each service's own client. The public key is fetched from the service when the
signer is opened. Signatures are as random as the service makes them, so bundles are not reproducible byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.errors import KeyFileError
from governance.signing.keyholder import KeyHolder, Signer
from governance.signing.publickey import PublicKey, parse_public_key, wrap_public_key


class KmsSigner(KeyHolder):
    """One key of a service, behind the interface of `Signer`.

    `open_remote` gives a signer of securesystemslib. It is asked again where the service no longer takes the login that the
    first one was made with: Vault's client keeps the token of its first day, and an agent renews it in a file.
    """

    def __init__(self, open_remote: Callable[[], Any], *, shown: str) -> None:
        self._open_remote, self._shown = open_remote, shown
        self._remote = open_remote()
        self.public: PublicKey = _read_public(self._remote.public_key)

    def __repr__(self) -> str:
        return f"KmsSigner({self._shown})"

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, checked before it is used. Raises `KeyFileError`."""
        try:
            signature = self._signed(message)
        except KeyFileError:
            raise
        except Exception as error:  # each service's client raises its own
            raise KeyFileError(f"`{self._shown}` did not sign: {_kind(error)}") from error
        # Services round-robin key versions; a signature by another version would be refused only at the next load.
        if not self.public.has_signed(message, signature):
            raise KeyFileError(
                f"`{self._shown}` gave no signature by the key that it showed, but one by another or something else"
            )
        return signature

    def _signed(self, message: bytes) -> bytes:
        try:
            return bytes.fromhex(self._remote.sign(message).signature)
        except Exception as error:
            if type(error).__name__ not in _LOGGED_OUT:
                raise
        fresh = self._open_remote()
        if _read_public(fresh.public_key) != self.public:
            raise KeyFileError(
                f"`{self._shown}` shows another key than before",
                hint="Trust the new key, and start this program anew.",
            )
        self._remote = fresh
        return bytes.fromhex(fresh.sign(message).signature)


_LOGGED_OUT = frozenset({"Forbidden", "Unauthorized"})
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")


def _kind(error: Exception) -> str:
    """The type of an error, with AWS's own code, since all of its errors are of one type. Never a text, which may hold anything."""
    response = getattr(error, "response", None)
    told = response.get("Error") if isinstance(response, dict) else None
    code = told.get("Code") if isinstance(told, dict) else None
    name = type(error).__name__
    has_code = isinstance(code, str) and _CODE.fullmatch(code) and code != name
    return f"{name} ({code})" if has_code else name


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
    signer, client, keys = _SERVICES[scheme]

    def open_remote() -> Any:
        backend = getattr(import_module("securesystemslib.signer"), signer)
        # Azure names a key by its vault and its name, the others by one name.
        uri, public = backend.import_(*(rest.split("/", 1) if scheme == "azurekms" else [rest]))
        return backend.from_priv_key_uri(uri, public)

    try:
        return KmsSigner(open_remote, shown=location)
    except ImportError as error:
        raise KeyFileError(
            f"`{scheme}:` needs the extra `kms`", hint="`pip install 'mlflow-governance[kms]'`."
        ) from error
    except Exception as error:  # each service's client raises its own
        missing = type(error).__name__ == "UnsupportedLibraryError"
        hint = (
            # By its own name: what the library calls it is not always what a package index does.
            f"The service's own client is missing: `pip install '{client}'`."
            if missing
            else f"Look at the key's name, the service's address and credentials, and the kind of key: it must be {keys}."
        )
        raise KeyFileError(f"`{location}` cannot be opened: {_kind(error)}", hint=hint) from error


_SERVICES = {
    "awskms": ("AWSSigner", "securesystemslib[awskms]", "`ECC_NIST_P256` or `ECC_NIST_P384`, for signing"),
    "gcpkms": ("GCPSigner", "securesystemslib[gcpkms]", "`EC_SIGN_P256_SHA256` or `EC_SIGN_P384_SHA384`"),
    "azurekms": ("AzureSigner", "securesystemslib[azurekms]", "EC on P-256, P-384 or P-521"),
    "hashivault": (
        "VaultSigner",
        "mlflow-governance[kms]",
        "of type `ed25519`, in the transit engine at `transit/`",
    ),
}
