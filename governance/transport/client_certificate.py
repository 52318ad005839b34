"""Our own certificate, for servers that ask who connects (mutual TLS).

Promises: files that cannot be used are found out when they are named, not at the first connection; nobody is asked for a passphrase, which
OpenSSL would do on a terminal, without end. Does not: say to whom it is shown; who connects does.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from governance.errors import SettingsError

_HINT = "Both are PEM files: the certificate with those that lead to its authority, and its key without a passphrase, which only its owner can read."


class ClientCertificate(NamedTuple):
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have connections of `context` show it. Raises `SettingsError`."""
        try:
            context.load_cert_chain(self.certificate, self.key, password=_refuse_passphrase)
        except _PassphraseWantedError:
            raise SettingsError(f"the key `{self.key}` has a passphrase", hint=_HINT) from None
        except ssl.SSLError as error:
            why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else error.reason
            raise SettingsError(
                f"certificate `{self.certificate}` and key `{self.key}` cannot be used: {why or 'not PEM'}",
                hint=_HINT,
            ) from None
        except OSError as error:
            raise SettingsError(
                f"certificate `{self.certificate}` and key `{self.key}` cannot be read: {error.strerror}",
                hint=_HINT,
            ) from None

    def check(self) -> None:
        """Raise `SettingsError` where the files cannot be used."""
        self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


class _PassphraseWantedError(Exception):
    """OpenSSL asks for a passphrase."""


def _refuse_passphrase() -> bytes:
    raise _PassphraseWantedError
