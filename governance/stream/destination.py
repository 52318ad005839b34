"""Where entries go to, as it is written in the settings file or on the command line.

Promises: what is accepted here can be tried; a mistake is named and no value is repeated, since the address of a webhook
is often a secret itself. Does not: connect to anything.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from governance.places import expanded

if TYPE_CHECKING:
    from governance.transport import ClientCertificate

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS: Final = {"syslog+tls": 6514, "syslog+tcp": 601, "syslog+udp": 514}
_SYSLOG: Final = frozenset(_PORTS)
_MAX_DATAGRAM: Final = 65_000
_WEB: Final = frozenset({"https", "http"})
_FORMS: Final = (
    "`file:PATH`, `syslog+tls://HOST[:PORT]`, `syslog+tcp://...`, `syslog+udp://...` or `https://...`"
)

Start = Literal["start", "now"] | Annotated[int, Field(ge=0)]
"""Where to begin without a cursor: at the first entry, at the next one, or at one by its number in the log."""


class Destination(BaseModel):
    """One destination. `certificate` and `certificate_key` are our own, for receivers that ask for one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)

    name: Name
    to: str = Field(repr=False, max_length=4_096)
    form: Literal["jsonl", "ocsf"] = Field(default="jsonl", alias="as")
    start: Start = Field(default="start", alias="from")
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    secret_file: Path | None = None
    facility: int = Field(default=13, ge=0, le=23)
    max_message: int = Field(default=8_192, ge=2_048, le=1 << 20)
    structured_data_id: Annotated[str, StringConstraints(pattern=r"^[!#-<>-\\^-~]{1,20}@[0-9]{1,11}$")] = (
        "mlgov@32473"
    )

    @field_validator("start", "facility", "max_message", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return refuse_boolean(value)

    @field_validator("to")
    @classmethod
    def _check_to(cls, value: str) -> str:
        if re.search(r"[\x00-\x20\x7f]", value):
            raise ValueError("an address without spaces and control characters is expected")
        parts = _parts(value)
        if parts.scheme == "file":
            if not value.removeprefix("file:").removeprefix("//").startswith(("/", "~/")):
                raise ValueError("`file:` takes an absolute path")
        elif parts.scheme in _SYSLOG:
            if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
                raise ValueError("a syslog receiver is `SCHEME://HOST[:PORT]` and no more")
        elif parts.scheme not in _WEB or not parts.hostname or parts.username or parts.fragment:
            raise ValueError(f"a destination is {_FORMS}, without user name and password")
        elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("a webhook is spoken to over https; http is for this machine alone")
        if parts.hostname:
            check_host(parts.hostname)
        return value

    @field_validator("ca", "certificate", "certificate_key", "secret_file", mode="after")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else expanded(path)

    @model_validator(mode="after")
    def _check_whole(self) -> Destination:
        if self.kind == "file":
            _ = self.path  # raises `ValueError` for what is none
        if self.is_webhook and self.secret_file is None:
            raise ValueError("a webhook needs `secret_file`, with the secret that its body is signed with")
        if self.kind == "syslog+udp" and self.max_message > _MAX_DATAGRAM:
            raise ValueError(f"`max_message` is at most {_MAX_DATAGRAM} over UDP")
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("`certificate` and `certificate_key` are given together")
        return self

    @property
    def own_certificate(self) -> ClientCertificate | None:
        """What it is shown where it asks who connects."""
        if self.certificate is None or self.certificate_key is None:
            return None
        from governance.transport import ClientCertificate

        return ClientCertificate(self.certificate, self.certificate_key)

    @property
    def kind(self) -> str:
        """`file`, `syslog+tls`, `syslog+tcp`, `syslog+udp`, `https` or `http`."""
        return _parts(self.to).scheme

    @property
    def is_webhook(self) -> bool:
        """Whether it takes signed requests."""
        return self.kind in _WEB

    @property
    def path(self) -> Path:
        """Of a file."""
        return expanded(self.to.removeprefix("file:").removeprefix("//"))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of a syslog receiver."""
        parts = _parts(self.to)
        return parts.hostname or "", parts.port or _PORTS[parts.scheme]

    @property
    def shown(self) -> str:
        """The address, fit to be printed: of a webhook no path, which may hold what lets one post there."""
        if not self.is_webhook:
            return self.to
        parts = _parts(self.to)
        return f"{parts.scheme}://{parts.netloc}" + ("/…" if parts.path.strip("/") or parts.query else "")

    @property
    def digest(self) -> str:
        """Tells destinations apart without saying where they are."""
        return hashlib.sha256(self.to.encode()).hexdigest()


def refuse_boolean(value: object) -> object:
    """What was given for a number, unless it is a yes or no, which Python takes for 1 or 0. Raises `ValueError`."""
    if isinstance(value, bool):
        raise ValueError("a number is expected, and this is a yes or no")  # noqa: TRY004 - pydantic names the place of a `ValueError` alone
    return value


def check_host(host: str) -> None:
    """Raise `ValueError` for a name that no host can have, which the libraries below fail at in ways of their own."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("a host's name has parts of 1 to 63 characters, with single dots between") from None


def name_of(to: str) -> str:
    """A name for a destination that was given on the command line, the same each time."""
    try:
        parts = urlsplit(to)
        said = f"{parts.scheme}-{parts.hostname or ''}"
    except ValueError:  # such as half an IPv6 address, which `Destination` then refuses in words
        said = ""
    words = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")
    return f"{words[:30].strip('-') or 'stream'}-{hashlib.sha256(to.encode()).hexdigest()[:8]}"


def _parts(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(f"a destination is {_FORMS}") from None
    return parts
