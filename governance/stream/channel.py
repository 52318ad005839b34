"""Where notifications go to, as it is written in the settings file: never in the rules, which lie in a team's repository
and must not be able to say who gets them, or with which secret.

Promises: a mistake is named and no value is repeated; an address that could forge a header of a mail is refused here.
Does not: connect to anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from governance.places import expanded
from governance.stream.destination import Destination, Name, check_host

_MAILBOX: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class _Channel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)

    name: Name
    per_hour: int = Field(default=20, ge=1, le=1_000)


class WebhookChannel(_Channel):
    """A signed POST for each notification."""

    kind: Literal["webhook"] = "webhook"
    to: str = Field(repr=False, max_length=4_096)
    secret_file: Path
    ca: Path | None = None

    @field_validator("secret_file", "ca", mode="after")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else expanded(path)

    @field_validator("to")
    @classmethod
    def _check_to(cls, value: str) -> str:
        found = Destination(name="webhook", to=value, secret_file=Path("/"))
        if not found.is_webhook:
            raise ValueError("a webhook is an `https://` address")
        return value

    @property
    def shown(self) -> str:
        """The address, without what may be secret in it."""
        return Destination(name="webhook", to=self.to, secret_file=self.secret_file).shown


class EmailChannel(_Channel):
    """A mail for each notification. `to` are its readers; `server` is `smtps://HOST[:PORT]`, `smtp://HOST[:PORT]` with
    STARTTLS, or on loopback without it."""

    kind: Literal["email"]
    to: tuple[str, ...] = Field(min_length=1, max_length=50)
    sender: str
    server: str
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ca: Path | None = None

    @field_validator("password_file", "ca", mode="after")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else expanded(path)

    @field_validator("to", "sender")
    @classmethod
    def _check_mailbox(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for each in (value,) if isinstance(value, str) else value:
            if not _MAILBOX.fullmatch(each):
                raise ValueError("an address such as `ops@example.org` is expected, without a name beside it")
        return value

    @field_validator("server")
    @classmethod
    def _check_server(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("a mail server is `smtps://HOST[:PORT]` or `smtp://HOST[:PORT]`") from None
        if (
            parts.scheme not in {"smtp", "smtps"}
            or not parts.hostname
            or parts.username
            or parts.path.strip("/")
        ):
            raise ValueError("a mail server is `smtps://HOST[:PORT]` or `smtp://HOST[:PORT]`")
        check_host(parts.hostname)
        return value

    @model_validator(mode="after")
    def _check_login(self) -> EmailChannel:
        given = (self.password is not None) + (self.password_file is not None)
        if given > 1 or (self.user is not None) != (given == 1):
            raise ValueError("a login is `user` with one of `password_file` and `password`")
        return self

    @property
    def shown(self) -> str:
        """The server."""
        return self.server

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        parts = urlsplit(self.server)
        return parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 587)

    @property
    def is_wrapped(self) -> bool:
        """Whether TLS begins with the connection, rather than by STARTTLS."""
        return self.server.startswith("smtps:")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where TLS may be left out."""
        return self.address[0] in _LOOPBACK


Channel = Annotated[WebhookChannel | EmailChannel, Field(discriminator="kind")]
"""Any of them."""
