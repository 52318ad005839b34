"""Credentials, and what a token says about itself.

Promises: no secret is part of a `repr`, a pickle of an error or a message. Does not: verify a token; only its server
can, and what is read here serves messages (whose token, until when), never a decision.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from governance.errors import SettingsError

_MAX_SECRET = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A token, or a user with password. Where there is a token, it is what is sent."""

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # An HTTP library that meets a line break in a header shows the header in its error: caught before it can.
        if self.token is not None and not _is_token(self.token):
            raise SettingsError(
                "the access token holds a space, a line break or another character that no token has",
                hint="Set ARTIFACTORY_AUTH_TOKEN again, without quotes or line breaks.",
            )

    def header(self) -> str | None:
        """The value of the Authorization header, or None for an anonymous caller."""
        if self.token:
            return f"Bearer {self.token}"
        if self.user and self.password:
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        return None

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be shown, longest first."""
        header = self.header()
        texts = {self.token, self.password, header.partition(" ")[2] if header else None}
        return tuple(sorted((text for text in texts if text), key=len, reverse=True))

    def claims(self) -> Mapping[str, object]:
        """What a JWT says about itself, unverified; empty for another sort of token."""
        parts = (self.token or "").split(".")
        if len(parts) != 3:
            return {}
        try:
            payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
            claims = orjson.loads(payload)
        except (binascii.Error, ValueError):
            return {}
        return claims if isinstance(claims, dict) else {}


def _is_token(text: str) -> bool:
    return 0 < len(text) <= _MAX_SECRET and text.isascii() and text.isprintable() and " " not in text
