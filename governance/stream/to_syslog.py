"""A syslog receiver over TLS (RFC 5425), TCP or UDP.

Promises: certificates are checked, and nothing older than TLS 1.2 is spoken; every wait is bounded; a message that the
receiver's machine did not take is sent again. Does not: know what the receiver made of it, since syslog has no
acknowledgement:

1. over TLS and TCP, `send` waits until the receiver's machine has taken every byte (Linux tells), and a batch sent on a
   connection that then broke is sent again on the next one;
   a receiver that refuses our certificate, or the lack of one, says so after TLS 1.3 calls the connection made: it is given
   a moment to, and where it said so later nothing more counts as delivered until somebody looked;
2. `close` says that nothing more comes, and waits until the receiver closes too, which it does once it has read everything;
3. over UDP nothing of this is so: what is lost is lost. It is there for receivers that know nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from governance.errors import RemoteError, SettingsError, TlsError, UnreachableError
from governance.stream.destination import Destination
from governance.stream.sink import Message
from governance.stream.syslog import SyslogForm, framed

_CONNECT: Final = 10.0
_SEND: Final = 30.0
_OUTQ: Final = 0x5411  # SIOCOUTQ: bytes that the other side's machine has not acknowledged
_LOOK: Final = 0.005
_FIRST_WORD: Final = 1.0
_MOST_SAID: Final = 64 << 10  # a receiver has nothing to say, and one that talks for ever is none


class SyslogSink:
    """One connection, made when it is needed. `timeout` bounds each wait, in seconds."""

    def __init__(
        self, destination: Destination, form: SyslogForm, *, timeout: float = _SEND, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._destination = destination
        self._form = form
        self._timeout = timeout
        self._clock = clock
        self._tls = _context(destination) if destination.kind == "syslog+tls" else None
        self._socket: socket.socket | None = None
        self._last: bytes = b""

    def send(self, messages: Sequence[Message]) -> None:
        """See `Sink.send`."""
        if self._destination.kind == "syslog+udp":
            self._send_datagrams(messages)
            return
        data = b"".join(framed(self._form.message(message)) for message in messages)
        with self._translated():
            if self._socket is not None and _is_closed(self._socket):
                self._drop()
            if self._socket is None:
                self._socket = self._connected()
                # The receiver may have died with the last batch unread; a repeat does no harm.
                self._pass(self._socket, self._last)
            self._pass(self._socket, data)
            self._last = data

    def close(self, *, gracefully: bool) -> None:
        """See `Sink.close`."""
        channel, self._socket = self._socket, None
        if channel is None:
            return
        deadline = self._clock() + self._timeout
        try:
            if gracefully and self._destination.kind != "syslog+udp":
                with self._translated():
                    channel.settimeout(self._timeout)
                    _finish(channel, lambda: self._clock() > deadline)
        finally:
            channel.close()

    def _send_datagrams(self, messages: Sequence[Message]) -> None:
        with self._translated():
            if self._socket is None:
                self._socket = _udp(*self._destination.address)
            for message in messages:
                self._socket.send(self._form.message(message))

    def _connected(self) -> socket.socket:
        host, port = self._destination.address
        channel = socket.create_connection((host, port), timeout=min(_CONNECT, self._timeout))
        try:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                channel = secured = self._tls.wrap_socket(channel, server_hostname=host)
                _heed_refusal(secured, min(_FIRST_WORD, self._timeout))
        except BaseException:
            channel.close()
            raise
        return channel

    def _pass(self, channel: socket.socket, data: bytes) -> None:
        """Send, and wait until the receiver's machine has it all."""
        channel.settimeout(self._timeout)
        channel.sendall(data)
        deadline = self._clock() + self._timeout
        while _unacknowledged(channel):
            if self._clock() > deadline:
                raise TimeoutError("the receiver takes no more")
            time.sleep(_LOOK)

    def _drop(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._drop()
            raise self._error(error) from None

    def _error(self, error: OSError) -> RemoteError:
        kind: type[RemoteError] = UnreachableError
        what = error.strerror or type(error).__name__
        hint = "Check host, port and network, and that the receiver runs; the entries wait in the log."
        if isinstance(error, ssl.SSLCertVerificationError):
            kind, what = TlsError, f"its certificate is not accepted: {error.verify_message}"
            hint = "Name the authority that signed it with `--ca FILE`; the name in it must be the host's."
        elif isinstance(error, ssl.SSLError):
            kind, what = TlsError, f"no TLS could be agreed on ({error.reason or 'closed'})"
            hint = "Check that the port is the one for TLS, and whether the receiver asks for a certificate of ours."
        elif isinstance(error, TimeoutError):
            what = "no answer in time, or it takes no more"
        return kind(what, service="syslog", method="SEND", path=self._destination.shown, hint=hint)


def _context(destination: Destination) -> ssl.SSLContext:
    """As strict as the platform's defaults, with the destination's own authority in place of the usual ones."""
    if destination.ca is not None and not destination.ca.is_file():
        raise SettingsError(f"there is no file `{destination.ca}`", hint="Fix the destination's TLS files.")
    try:
        context = ssl.create_default_context(cafile=None if destination.ca is None else str(destination.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"the TLS files of `{destination.name}` cannot be used: {getattr(error, 'reason', None) or error.strerror}",
            hint="They are PEM files.",
        ) from None
    if (own := destination.own_certificate) is not None:
        own.load_into(context)
    return context


def _udp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    channel = socket.socket(family, kind, protocol)
    channel.settimeout(_SEND)
    channel.connect(address)
    return channel


def _unacknowledged(channel: socket.socket) -> int:
    """Bytes that are not yet at the other machine. Other systems than Linux do not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    (count,) = struct.unpack("i", fcntl.ioctl(channel.fileno(), _OUTQ, b"\0" * 4))
    return int(count)


def _heed_refusal(channel: ssl.SSLSocket, seconds: float) -> None:
    """Wait for the receiver's first word, which most send at once and none has to. Raises `OSError` for a refusal."""
    if channel.version() == "TLSv1.3":
        with selectors.DefaultSelector() as waiting:  # whatever number the descriptor has
            waiting.register(channel, selectors.EVENT_READ)
            waiting.select(seconds)
        if _is_closed(channel):
            raise ConnectionResetError("the receiver hung up after the handshake")


def _is_closed(channel: socket.socket) -> bool:
    """Whether the receiver has hung up. Receivers say nothing else, but for what TLS says of itself: raises `ssl.SSLError` where
    that is a refusal."""
    channel.settimeout(0)
    said = 0
    try:
        while said <= _MOST_SAID:
            piece = channel.recv(4_096)
            if piece == b"":
                return True
            said += len(piece)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except ssl.SSLEOFError:
        return True
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            raise
        return True
    except OSError:
        return True
    return True


def _finish(channel: socket.socket, is_late: Callable[[], bool]) -> None:
    """Say that nothing more comes, and read until the receiver says the same. Under TLS the end of the plain connection
    would do too, but only the TLS end is the receiver's word."""
    if isinstance(channel, ssl.SSLSocket):
        # Many receivers close without TLS's own farewell, which is no reset: with bytes unread it would be one.
        with contextlib.suppress(ssl.SSLEOFError):
            channel.unwrap()
        return
    channel.shutdown(socket.SHUT_WR)
    said = 0
    while piece := channel.recv(4_096):
        said += len(piece)
        if said > _MOST_SAID or is_late():
            raise TimeoutError("it does not close")
