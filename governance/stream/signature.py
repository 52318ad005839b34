"""How a webhook's body is signed, so that the receiver knows who sent it, when, and that it is whole.

By the specification Standard Webhooks, for which there are libraries in many languages: the headers `webhook-id`,
`webhook-timestamp` (seconds) and `webhook-signature`, which is `v1,` and the base64 of HMAC-SHA256 over
`id.timestamp.body`; of several secrets, as while one is exchanged for the next, several signatures with a space between.

Promises: a secret is never part of an error or a `repr`. Does not: send anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from governance.errors import SettingsError
from governance.places import is_readable_by_others, open_file

_PREFIX: Final = "whsec_"
_SHORTEST, _LONGEST, _MOST = 24, 64, 4
_MAX_FILE: Final = 4_096
_MAKE: Final = "`(umask 077; echo whsec_$(openssl rand -base64 32) > FILE)` makes one."


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys that a body is signed with, the newest first."""

    keys: tuple[bytes, ...] = field(repr=False)

    def headers(self, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """What is sent along with the body."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        signatures = (
            base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in self.keys
        )
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }


def read_secrets(path: Path) -> Secrets:
    """The secrets of a file, one a line. Raises `SettingsError`."""
    try:
        if is_readable_by_others(path.stat()):
            raise SettingsError(
                f"the secret file `{path}` may be read by others", hint=f"`chmod go-rwx {path}`"
            )
        with open_file(path, may_be_piped=True) as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise SettingsError(
            f"the secret file `{path}` cannot be read: {error.strerror}", hint=_MAKE
        ) from error
    return Secrets(tuple(_parsed(data[:_MAX_FILE].split(), path)))


def _parsed(lines: Sequence[bytes], path: Path) -> list[bytes]:
    keys = []
    for line in lines:
        try:
            key = base64.b64decode(line.removeprefix(_PREFIX.encode()), validate=True)
        except binascii.Error:
            key = b""
        if not line.startswith(_PREFIX.encode()) or not _SHORTEST <= len(key) <= _LONGEST:
            raise SettingsError(
                f"the secret file `{path}` holds something else than `whsec_` and base64 of {_SHORTEST} to {_LONGEST} bytes",
                hint=_MAKE,
            )
        keys.append(key)
    if not 0 < len(keys) <= _MOST:
        raise SettingsError(f"the secret file `{path}` holds {len(keys)} secrets (1 to {_MOST})", hint=_MAKE)
    return keys
