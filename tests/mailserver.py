"""A real SMTP server (aiosmtpd) on loopback: STARTTLS or TLS from the start, with a login, and mails kept to look at."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class MailServer:
    """What arrived, and over what."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    was_secure: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refuses: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            return self.refuses.pop(0)
        self.raw.append(bytes(envelope.content))
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.was_secure.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 kept"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"good password", handled=False)


class _Starting(Controller):
    """With STARTTLS, where there is a context."""

    def __init__(
        self, handler: MailServer, context: ssl.SSLContext | None, *, wrapped: bool, wants_login: bool
    ) -> None:
        self._starttls = None if wrapped else context
        self._wants_login = wants_login
        super().__init__(
            handler,
            hostname="127.0.0.1",
            port=_free_port(),
            ssl_context=context if wrapped else None,
            ready_timeout=20,
        )

    def factory(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # it knows of TLS by STARTTLS alone, and takes a wrapped connection for plain
            return self._server()

    def _server(self) -> SMTP:
        return SMTP(
            self.handler, hostname="mail.example.org", tls_context=self._starttls, require_starttls=self._starttls is not None,
            authenticator=self.handler.login, auth_required=self._wants_login, auth_require_tls=self._starttls is not None,
        )  # fmt: skip


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None, *, wrapped: bool = False, wants_login: bool = False
) -> Iterator[MailServer]:
    """Run a server until the block ends."""
    server = MailServer()
    controller = _Starting(server, context, wrapped=wrapped, wants_login=wants_login)
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def _free_port() -> int:
    from tests.rawserver import closed_port

    return closed_port()
