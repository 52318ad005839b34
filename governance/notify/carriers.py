"""The two ways to carry a notice: a signed POST, and a mail.

Promises: a mail's headers hold one line each, whatever a model is called; passwords and mails go out under TLS whose
certificate was checked, but to a server on this machine; every wait is bounded, and all of them together. Does not: try again, which the pump does.
"""

from __future__ import annotations

import io
import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from governance.errors import RemoteError, SettingsError, TlsError, UnauthenticatedError, UnreachableError
from governance.model.canonical import canonical_bytes
from governance.notify.notice import Notice, bare, plain
from governance.places import open_file
from governance.stream.channel import EmailChannel
from governance.stream.post import Post
from governance.transport.clocked import ClockedReader

logger = logging.getLogger(__name__)

_TIMEOUT = 30.0
_MAX_PASSWORD = 4_096
_WAITS = 4  # as long as so many waits may all that is said about one mail take together
_MOST_SAID = 256 << 10
_FOR_GOOD = 500


class WebhookCarrier:
    """A JSON document for each notice: `type`, `timestamp`, `data`. Its `webhook-id` is the notice's key."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def send(self, notice: Notice) -> None:
        """See `Carrier.send`."""
        self._post.send(
            canonical_bytes(notice.to_json()),
            message_id=f"notice_{notice.key}",
            content_type="application/json",
        )

    def close(self) -> None:
        """See `Carrier.close`."""
        self._post.close()


class EmailCarrier:
    """A mail for each notice, over a connection of its own. `timeout` bounds each wait, in seconds."""

    def __init__(
        self, channel: EmailChannel, *, ca: str | None, timeout: float = _TIMEOUT,
        context: Callable[[str | None], ssl.SSLContext] = lambda ca: ssl.create_default_context(cafile=ca),
    ) -> None:  # fmt: skip
        self._channel = channel
        self._timeout = timeout
        self._password = _password(channel)
        try:
            self._context = context(ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"the certificate authorities of channel `{channel.name}` cannot be used",
                hint="`ca` is a PEM file.",
            ) from error
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    def send(self, notice: Notice) -> None:
        """See `Carrier.send`."""
        try:
            with self._connected() as server:
                self._secure(server)
                if self._channel.user is not None and self._password is not None:
                    server.login(_Utf8(self._channel.user), _Utf8(self._password))
                refused = self._sent(server, notice)
        except ssl.SSLError as error:
            raise self._error(
                TlsError, "its certificate is not accepted, or no TLS could be agreed on"
            ) from error
        except smtplib.SMTPAuthenticationError as error:
            raise self._error(UnauthenticatedError, f"the login was refused ({error.smtp_code})") from None
        except smtplib.SMTPNotSupportedError:
            raise self._error(UnauthenticatedError, "it offers no login that we know") from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = ", ".join(sorted({str(code) for code, _ in error.recipients.values()}))
            raise self._error(RemoteError, f"it refused every recipient ({codes})") from None
        except smtplib.SMTPResponseException as error:
            raise self._error(RemoteError, f"it refused the mail ({error.smtp_code})") from None
        except (smtplib.SMTPException, OSError) as error:
            raise self._error(
                UnreachableError, f"no connection, or no answer in time ({type(error).__name__})"
            ) from None

        if refused:
            logger.warning(
                "channel `%s`: %d of its readers were refused by the server", self._channel.name, len(refused)
            )

    def close(self) -> None:
        """See `Carrier.close`."""

    def _sent(self, server: smtplib.SMTP, notice: Notice) -> Mapping[str, object]:
        """Hand over the mail. Where the server refuses what it says, and for good, the news goes out without these words."""
        try:
            return server.send_message(mail_of(notice, self._channel))
        except smtplib.SMTPDataError as error:
            if error.smtp_code < _FOR_GOOD:
                raise
            logger.warning(
                "channel `%s`: the server refused what the mail says (%d); it gets the news without it",
                self._channel.name, error.smtp_code,
            )  # fmt: skip
            plainer = bare(
                notice, f"whose mail was refused ({error.smtp_code}): look it up with `mlgov audit show`"
            )
            return server.send_message(mail_of(plainer, self._channel))

    def _connected(self) -> smtplib.SMTP:
        host, port = self._channel.address
        if self._channel.is_wrapped:
            return _WrappedServer(host, port, timeout=self._timeout, context=self._context)
        return _Server(host, port, timeout=self._timeout)

    def _secure(self, server: smtplib.SMTP) -> None:
        """TLS before anything is said, or, on this machine alone, none where none is offered."""
        server.ehlo()
        if self._channel.is_wrapped:
            return
        if server.has_extn("starttls"):
            server.starttls(context=self._context)
            server.ehlo()
        elif not self._channel.is_local:
            raise self._error(TlsError, "it offers no TLS, and mails are not sent without")

    def _error(self, kind: type[RemoteError], what: str) -> RemoteError:
        hint = "Look at the channel's `server`, `ca` and login; the notice is sent again."
        return kind(what, service="mail", method="SEND", path=self._channel.server, hint=hint)


class _Server(smtplib.SMTP):
    """A session with bounds, on the whole of it in time and on what the server says in bytes: a reply may have any number of
    lines, and a line any number of waits."""

    def __init__(self, host: str, port: int, *, timeout: float, **more: Any) -> None:
        self._end = time.monotonic() + _WAITS * timeout
        super().__init__(host, port, timeout=timeout, **more)

    def getreply(self) -> tuple[int, bytes]:
        """The next reply."""
        if self.file is None and self.sock is not None:
            clocked = ClockedReader(self.sock.makefile("rb"), self.sock, end=self._end, most=_MOST_SAID)
            self.file = io.BufferedReader(clocked)
        return super().getreply()

    def auth(self, mechanism: str, authobject: Any, *, initial_response_ok: bool = True) -> tuple[int, bytes]:
        """Log in, with names and passwords in UTF-8 (RFC 4616)."""

        def said(challenge: Any = None) -> Any:
            answer = authobject() if challenge is None else authobject(challenge)
            return None if answer is None else _Utf8(answer)

        return super().auth(mechanism, said, initial_response_ok=initial_response_ok)


class _WrappedServer(_Server, smtplib.SMTP_SSL):
    """The same with TLS from the start."""


class _Utf8(str):
    """Text that is sent as UTF-8 where the library says ASCII, and would fail, with the password in its error."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """As UTF-8, whatever is asked for."""
        del encoding
        return super().encode("utf-8", errors)


def mail_of(notice: Notice, channel: EmailChannel) -> EmailMessage:
    """The mail that a notice becomes."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=78))
    # What is spelt as an encoded word (RFC 2047) would be decoded, line breaks and all, when the header is folded.
    message["Subject"] = f"[mlgov] {plain(notice.title, 150).replace('=?', '= ?')}"
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    message["Date"] = format_datetime(notice.at)
    message["Message-ID"] = f"<{notice.key}@{channel.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Mlgov-Kind"] = notice.kind
    message.set_content(notice.text())
    return message


def _password(channel: EmailChannel) -> str | None:
    if channel.password is not None:
        return channel.password.get_secret_value()
    if channel.password_file is None:
        return None
    try:
        with open_file(channel.password_file, may_be_piped=True) as file:
            return file.read(_MAX_PASSWORD).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the password file of channel `{channel.name}` cannot be read", hint="Fix `password_file`."
        ) from error
