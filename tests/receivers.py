"""Receivers that streams are tested against: real sockets on loopback, written from the RFCs and not from our senders."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.listener import listening

_HEAD = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S{1,255}) (?P<app>\S{1,48}) (?P<process>\S{1,128}) (?P<id>\S{1,32}) "
    rb"\[(?P<sd>[^ =\]\"]{1,32})(?P<data>(?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\[\"\\\]])*\")*)\] (?P<text>.*)",
    re.DOTALL,
)
_PARAMETER = re.compile(rb" ([^ =]+)=\"((?:[^\"\\\]]|\\.)*)\"")


@dataclass(frozen=True)
class SyslogMessage:
    """A message of RFC 5424, taken apart."""

    priority: int
    host: str
    message_id: str
    data: dict[str, str]
    text: bytes


def parse_message(raw: bytes) -> SyslogMessage:
    """Read a message strictly. Raises `ValueError`."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise ValueError(f"not a message of RFC 5424: {raw[:200]!r}")
    data = {
        name.decode(): re.sub(rb'\\(["\\\]])', rb"\1", value).decode()
        for name, value in _PARAMETER.findall(match["data"])
    }
    return SyslogMessage(
        priority=int(match["pri"]), host=match["host"].decode(), message_id=match["id"].decode(), data=data, text=match["text"]
    )  # fmt: skip


@dataclass
class SyslogReceiver:
    """A receiver of framed messages. `breaks_after`: closes each connection, without a word, after so many messages.
    `deaf`: accepts connections and never reads, until it is told to `die`."""

    port: int
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    breaks_after: int | None = None
    deaf: bool = False
    die: threading.Event = field(default_factory=threading.Event)

    @property
    def indexes(self) -> list[int]:
        """The entries that arrived, in order, repeats and all."""
        return [int(parse_message(each).data["index"]) for each in self.messages]


@contextmanager
def syslog_receiver(
    tls: ssl.SSLContext | None = None, *, breaks_after: int | None = None, deaf: bool = False, port: int = 0
) -> Iterator[SyslogReceiver]:
    """Run a receiver until the block ends."""
    receiver = SyslogReceiver(port=port, breaks_after=breaks_after, deaf=deaf)
    with listening(lambda connection: _receive(receiver, connection, tls), port=port) as receiver.port:
        try:
            yield receiver
        finally:
            receiver.die.set()


def _receive(receiver: SyslogReceiver, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
    receiver.connections += 1
    try:
        channel = connection if tls is None else tls.wrap_socket(connection, server_side=True)
        with channel:
            if receiver.deaf:
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                receiver.die.wait(60)
                return
            reader = channel.makefile("rb")
            count = 0
            while (raw := _frame(reader)) is not None:
                receiver.messages.append(raw)
                count += 1
                if count == receiver.breaks_after:
                    return
            if isinstance(channel, ssl.SSLSocket):
                channel.unwrap()
    except (OSError, ValueError):
        return  # the sender went away, which is what many tests are about


def _frame(reader) -> bytes | None:  # type: ignore[no-untyped-def]
    digits = b""
    while (byte := reader.read(1)) not in {b" ", b""}:
        digits += byte
    if not digits:
        return None
    if not digits.isdigit() or digits.startswith(b"0"):
        raise ValueError(f"not a length: {digits!r}")
    raw: bytes = reader.read(int(digits))
    return raw if len(raw) == int(digits) else None
