"""A server that says exactly the bytes it is told to, for what no honest server does. Loopback only."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.listener import listening


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Script = bytes | Callable[[socket.socket], None]


@dataclass
class RawServer:
    """Answers one script entry per request, the last one for ever. An entry of no bytes closes the connection."""

    port: int
    scheme: str = "http"
    script: list[Script] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


def answer(
    status: int = 200,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    announced: int | None = None,
) -> bytes:
    """The bytes of an answer. `announced` is a Content-Length that need not be true; -1 leaves it out."""
    length = len(body) if announced is None else announced
    lines = [f"HTTP/1.1 {status} Scripted"]
    if length >= 0:
        lines.append(f"Content-Length: {length}")
    if announced is not None:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextmanager
def raw_server(*script: Script, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a server with this script until the block ends."""
    server = RawServer(port=0, scheme="https" if tls else "http", script=list(script))
    with listening(lambda connection: _talk(server, connection, tls)) as server.port:
        yield server


def _talk(server: RawServer, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
    try:
        with connection if tls is None else tls.wrap_socket(connection, server_side=True) as channel:
            channel.settimeout(20)
            reader = channel.makefile("rb")
            while (seen := _read(reader)) is not None:
                server.seen.append(seen)
                entry = server.script.pop(0) if len(server.script) > 1 else server.script[0]
                if callable(entry):
                    entry(channel)
                    return
                if not entry:
                    return
                channel.sendall(entry)
                if b"Connection: close" in entry:
                    return
    except (OSError, ValueError):
        return  # the client went away, which is what many tests are about


def _read(reader) -> Seen | None:  # type: ignore[no-untyped-def]
    first = reader.readline(65_536).decode("latin-1")
    if not first.strip():
        return None
    method, target, _ = first.split(" ", 2)
    headers = {}
    while line := reader.readline(65_536).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Seen(method=method, target=target, headers=headers, body=body)


def make_certificate(
    folder: Path, *, host: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)
) -> tuple[ssl.SSLContext, Path]:
    """A server context with a self-signed certificate for these days from now, and the file of that certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "scripted")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return context, pem


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
