"""Passphrases in the operating system's keyring (extra `keyring`): macOS Keychain, Secret Service, KWallet, and others.

Promises: an entry that is not there, or a keyring that is locked or missing, is an error that says what to do; no
passphrase is ever part of one. Does not: choose a keyring, which is the library's business (`PYTHON_KEYRING_BACKEND`).

An entry is written `SERVICE/NAME`, as in `mlgov/signing`.
"""

from __future__ import annotations

import secrets
from typing import Any

from governance.errors import KeyFileError

_MOST = 1024


def read_passphrase(entry: str) -> bytes | None:
    """The passphrase under an entry, or None where there is none. Raises `KeyFileError`."""
    library, service, name = _opened(entry)
    try:
        found = library.get_password(service, name)
    except Exception as error:  # noqa: BLE001 - each backend raises what it likes
        raise _unusable(entry, error) from None
    return found.encode("utf-8") if found else None


def make_passphrase(entry: str) -> bytes:
    """A fresh random passphrase, kept under an entry from now on. Raises `KeyFileError` where there is one already."""
    if read_passphrase(entry) is not None:
        raise KeyFileError(f"there is a passphrase under `{entry}` in the keyring already")
    library, service, name = _opened(entry)
    made = secrets.token_urlsafe(32)
    try:
        library.set_password(service, name, made)
    except Exception as error:  # noqa: BLE001 - as above
        raise _unusable(entry, error) from None
    if read_passphrase(entry) != made.encode("ascii"):
        # A keyring that forgets (`keyring --disable` makes such a one) would leave a key that nobody can open.
        raise KeyFileError(f"the keyring did not keep what was stored under `{entry}`", hint=_HINT)
    return made.encode("ascii")


_HINT = "Unlock it, or give the passphrase in a file: `MLGOV_KEY_PASSPHRASE_FILE`. `keyring diagnose` shows what is used."


def _opened(entry: str) -> tuple[Any, str, str]:
    service, found, name = entry.rpartition("/")
    if not found or not service or not name or len(entry) > _MOST:
        raise KeyFileError(
            "`MLGOV_KEY_PASSPHRASE_KEYRING` is not of the form `SERVICE/NAME`",
            hint="For one `mlgov/signing`.",
        )
    try:
        import keyring
    except ImportError as error:
        raise KeyFileError(
            "passphrases in the keyring need the extra `keyring`",
            hint="`pip install 'mlflow-governance[keyring]'`.",
        ) from error
    return keyring, service, name


def _unusable(entry: str, error: Exception) -> KeyFileError:
    # The kind of error and not its text, which is the backend's and may quote what it was given.
    return KeyFileError(f"the keyring cannot be used for `{entry}`: {type(error).__name__}", hint=_HINT)
