"""Streams over the wire: TLS syslog and signed webhooks against receivers that are honest, hostile, or never answer."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from governance.audit_wiring import utc_now
from governance.errors import (
    GovernanceError,
    ProtocolError,
    RemoteError,
    SettingsError,
    TlsError,
    UnreachableError,
)
from governance.stream.destination import Destination
from governance.stream.post import Post
from governance.stream.signature import Secrets, read_secrets
from governance.stream.sink import BatchTooLargeError, Message
from governance.stream.syslog import SyslogForm
from governance.stream.to_syslog import SyslogSink
from governance.stream.to_webhook import WebhookSink
from tests.audit_tools import ORIGIN, fill, make_log
from tests.listener import listening
from tests.rawserver import RawServer, answer, closed_port, make_certificate, raw_server
from tests.receivers import parse_message, syslog_receiver

FORM = SyslogForm(host="host-1", process=7, origin=ORIGIN)
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OLD = "whsec_" + base64.b64encode(KEY[::-1]).decode()


@pytest.fixture
def lines() -> list[Message]:
    log = make_log()
    fill(log, 19)
    return [Message(stored=stored, line=stored.data) for stored in log.find()]


def syslog(port: int, *, scheme: str = "syslog+tls", host: str = "127.0.0.1", timeout: float = 5, **more: Any) -> SyslogSink:  # fmt: skip
    return SyslogSink(Destination(name="siem", to=f"{scheme}://{host}:{port}", **more), FORM, timeout=timeout)


def test_entries_arrive_over_tls(lines: list[Message], tmp_path: Path) -> None:
    tls, authority = make_certificate(tmp_path)
    with syslog_receiver(tls) as receiver:
        sink = syslog(receiver.port, ca=authority)
        sink.send(lines[:12])
        sink.send(lines[12:])
        sink.close(gracefully=True)
        assert receiver.indexes == list(range(20))
        assert receiver.connections == 1
    first = parse_message(receiver.messages[0])
    assert first.text == lines[0].line
    assert first.data["leaf"] == hashlib.sha256(b"\0" + lines[0].line).hexdigest()


def test_a_certificate_that_nobody_vouches_for_is_refused(lines: list[Message], tmp_path: Path) -> None:
    tls, authority = make_certificate(tmp_path)
    with syslog_receiver(tls) as receiver:
        with pytest.raises(TlsError, match="certificate is not accepted") as caught:
            syslog(receiver.port).send(lines)
        assert "--ca" in str(caught.value.hint)
        with pytest.raises(TlsError):  # made out to 127.0.0.1, and not to this name
            syslog(receiver.port, host="localhost", ca=authority).send(lines)
        assert receiver.messages == []


def test_a_receiver_that_takes_its_time_to_refuse_our_certificate_has_taken_nothing(
    lines: list[Message], tmp_path: Path
) -> None:
    """TLS 1.3 calls the connection made before the receiver has looked at our certificate, and its machine takes our bytes."""
    tls, authority = make_certificate(tmp_path)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority)

    def refuse(connection: socket.socket) -> None:
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = tls.wrap_bio(coming, going, server_side=True)
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    session.do_handshake()
                except ssl.SSLWantReadError:
                    connection.sendall(going.read())
                    coming.write(connection.recv(65_536))
                    time.sleep(0.2)
                except ssl.SSLError:
                    connection.sendall(going.read())
                    connection.recv(1 << 20)
                    return

    with listening(refuse) as port:
        sink = syslog(port, ca=authority)
        for _ in range(2):
            with pytest.raises(TlsError, match="CERTIFICATE_REQUIRED"):
                sink.send(lines)


def test_tls_is_not_spoken_with_a_plain_receiver(lines: list[Message], tmp_path: Path) -> None:
    _, authority = make_certificate(tmp_path)
    with syslog_receiver() as receiver, pytest.raises((TlsError, UnreachableError)):
        syslog(receiver.port, ca=authority, timeout=1).send(lines)


@pytest.mark.parametrize("with_tls", [True, False])
def test_a_receiver_that_never_reads_does_not_hold_us_up(tmp_path: Path, with_tls: bool) -> None:
    tls, authority = make_certificate(tmp_path)
    log = make_log()
    fill(log, 1)
    (message, *_) = [Message(stored=each, line=b'"' + b"x" * 900_000 + b'"') for each in log.find()]
    with syslog_receiver(tls if with_tls else None, deaf=True) as receiver:
        more: dict[str, Any] = {"ca": authority} if with_tls else {}
        sink = syslog(
            receiver.port,
            scheme="syslog+tls" if with_tls else "syslog+tcp",
            timeout=0.7,
            max_message=1 << 20,
            **more,
        )
        sink._form = SyslogForm(host="h", process=1, max_message=1 << 20)
        with pytest.raises(UnreachableError):
            sink.send([message] * 30)


def test_what_a_receiver_may_not_have_read_goes_out_again(lines: list[Message]) -> None:
    with syslog_receiver(breaks_after=7) as receiver:
        sink = syslog(receiver.port, scheme="syslog+tcp")
        sink.send(lines[:10])
        wait_until_closed(sink)
        receiver.breaks_after = None
        sink.send(lines[10:13])
        sink.close(gracefully=False)
        wait(lambda: len(receiver.messages) >= 20)
    assert receiver.indexes == [*range(7), *range(13)]


def test_a_plain_receiver_says_that_it_read_everything(lines: list[Message]) -> None:
    with syslog_receiver() as receiver:
        sink = syslog(receiver.port, scheme="syslog+tcp")
        sink.send(lines)
        sink.close(gracefully=True)
        assert receiver.indexes == list(range(20))


@pytest.mark.parametrize("with_tls", [True, False])
def test_a_receiver_that_dies_with_bytes_unread_has_not_read_everything(
    lines: list[Message], tmp_path: Path, with_tls: bool
) -> None:
    tls, authority = make_certificate(tmp_path)
    with syslog_receiver(tls if with_tls else None, deaf=True) as receiver:
        more: dict[str, Any] = {"ca": authority} if with_tls else {}
        sink = syslog(receiver.port, scheme="syslog+tls" if with_tls else "syslog+tcp", **more)
        sink.send(lines)  # its machine took them
        receiver.die.set()
        with pytest.raises(UnreachableError):
            sink.close(gracefully=True)


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"x"])
def test_a_receiver_that_talks_and_never_closes_does_not_hold_us_up(
    lines: list[Message], piece: bytes
) -> None:
    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(piece)
                time.sleep(0.01)

    with listening(talk) as port:
        sink = syslog(port, scheme="syslog+tcp", timeout=0.5)
        sink.send(lines[:5])
        sink.send(lines[5:])
        with pytest.raises(UnreachableError):
            sink.close(gracefully=True)


def test_nobody_listens(lines: list[Message]) -> None:
    with pytest.raises(UnreachableError, match="refused"):
        syslog(closed_port(), scheme="syslog+tcp").send(lines)


def test_datagrams(lines: list[Message]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        sink = syslog(receiver.getsockname()[1], scheme="syslog+udp")
        sink.send(lines[:3])
        sink.close(gracefully=True)
        assert [parse_message(receiver.recv(65_536)).data["index"] for _ in range(3)] == ["0", "1", "2"]


def test_tls_files_that_are_no_tls_files(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="cannot be used"):
        syslog(1, ca=tmp_path / "x.pem")
    with pytest.raises(SettingsError, match="no file"):
        syslog(1, ca=tmp_path / "none.pem")


# --- webhooks --------------------------------------------------------------------------------------------------------


def webhook(url: str, *, timeout: float = 5, secrets: Secrets | None = None) -> WebhookSink:
    post = Post(
        url, secrets=secrets or Secrets((KEY,)), shown="https://hooks/…", now=utc_now, timeout=timeout
    )
    return WebhookSink(post, origin=ORIGIN)


@pytest.fixture
def receiver() -> Iterator[RawServer]:
    with raw_server(answer(204)) as server:
        yield server


def test_a_library_of_others_accepts_the_signature(lines: list[Message], receiver: RawServer) -> None:
    sink = webhook(f"{receiver.url}/hook/T0?key=v")
    sink.send(lines)
    (seen,) = receiver.seen
    assert (seen.method, seen.target) == ("POST", "/hook/T0?key=v")
    assert seen.body == b"".join(each.line + b"\n" for each in lines)
    Webhook(SECRET).verify(seen.body, dict(seen.headers), json_parse=False)
    for body, secret in ((seen.body + b" ", SECRET), (seen.body, OLD)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, dict(seen.headers), json_parse=False)
    sink.send(lines)  # a repeat is known by its id
    assert receiver.seen[1].headers["webhook-id"] == seen.headers["webhook-id"]
    assert "authorization" not in seen.headers


def test_while_secrets_are_exchanged_both_are_accepted(
    lines: list[Message], receiver: RawServer, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{SECRET}\n{OLD}\n")
    secrets = read_secrets(file)
    webhook(receiver.url, secrets=secrets).send(lines)
    (seen,) = receiver.seen
    for secret in (SECRET, OLD):
        Webhook(secret).verify(seen.body, dict(seen.headers), json_parse=False)
    assert SECRET not in repr(secrets)


@pytest.mark.parametrize("text", ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", f"{SECRET}\n" * 5])
def test_a_secret_file_without_a_good_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_secrets(file)
    assert "openssl rand" in str(caught.value.hint)
    assert len(text) < 7 or text not in str(caught.value)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="read by others"):
        read_secrets(file)


def test_a_redirect_is_not_followed(lines: list[Message], receiver: RawServer) -> None:
    with raw_server(answer(307, headers={"Location": f"{receiver.url}/x"})) as first:
        with pytest.raises(ProtocolError, match="redirects"):
            webhook(first.url).send(lines)
        assert (len(first.seen), len(receiver.seen)) == (1, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503])
def test_what_is_not_taken_is_an_error_that_tells_no_path(lines: list[Message], status: int) -> None:
    with raw_server(answer(status, b"token T0SECRET is wrong")) as server:
        with pytest.raises(RemoteError) as caught:
            webhook(f"{server.url}/services/T0SECRET?k=T0SECRET").send(lines)
        assert caught.value.status == status
        assert "T0SECRET" not in told(caught.value)
        assert len(server.seen) == 1


def test_a_receiver_that_takes_it_and_goes_on_answering_is_not_told_to_have_refused(
    lines: list[Message],
) -> None:
    with raw_server(answer(200, b"x" * 200_000)) as server, pytest.raises(RemoteError) as caught:
        webhook(server.url).send(lines)
    assert "its answer is too long or does not end" in caught.value.message


NOON = "Fri, 06 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(("headers", "asked"), [
    ({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "soon"}, None), ({"Retry-After": "-3"}, None),
    ({"Retry-After": "Fri, 06 Nov 2026 12:02:00 GMT", "Date": NOON}, 120.0), ({"Retry-After": NOON}, None),
    ({"Retry-After": "Fri, 06 Nov 2026 11:00:00 GMT", "Date": NOON}, 0.0),
    ({"Retry-After": "Fri, 06 Nov 2026 12:02:00 -0000", "Date": NOON}, None),
    ({"Retry-After": "Fri, 06 Nov 99999 12:02:00 GMT", "Date": NOON}, None),
])  # fmt: skip
def test_how_long_a_webhook_asks_to_be_left_alone(
    lines: list[Message], headers: dict[str, str], asked: float | None
) -> None:
    with raw_server(answer(429, headers=headers)) as server, pytest.raises(RemoteError) as caught:
        webhook(server.url).send(lines)
    assert caught.value.retry_after == asked


def test_a_webhook_that_never_answers(lines: list[Message]) -> None:
    def silent(channel: socket.socket) -> None:
        time.sleep(3)

    with raw_server(silent) as server, pytest.raises(UnreachableError):
        webhook(server.url, timeout=0.5).send(lines)


def test_the_address_is_asked_as_it_was_written(lines: list[Message]) -> None:
    with raw_server(answer(204)) as server:
        webhook(f"{server.url}/a%2Fb?to=1&to=2&bare&sig=a%2Bb+c").send(lines)
    assert server.seen[0].target == "/a%2Fb?to=1&to=2&bare&sig=a%2Bb%20c"


def test_headers_that_cannot_be_read_do_not_put_the_address_into_the_log(
    lines: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    with raw_server(b"HTTP/1.1 204 No Content\r\nT0SECRET, and no colon\r\n\r\n") as server:
        webhook(f"{server.url}/services/T0SECRET?k=T0SECRET").send(lines)
    assert "could not be read in full" in caplog.text
    assert "T0SECRET" not in caplog.text


def test_a_batch_that_is_too_large_is_cut(lines: list[Message]) -> None:
    with raw_server(answer(413), answer(413), answer(204)) as server:
        with pytest.raises(BatchTooLargeError):
            webhook(server.url).send(lines)
        webhook(server.url).send(lines[:1])
        told = json.loads(server.seen[-1].body)
    assert told["id"] == lines[0].stored.entry.id
    assert told["omitted_bytes"] == len(lines[0].line)


def test_https_with_an_authority_of_ones_own(lines: list[Message], tmp_path: Path) -> None:
    tls, authority = make_certificate(tmp_path)
    with raw_server(answer(200), tls=tls) as server:
        post = Post(
            server.url, secrets=Secrets((KEY,)), shown="https://hooks/…", now=utc_now, verify=str(authority)
        )
        WebhookSink(post, origin=ORIGIN).send(lines)
        assert len(server.seen) == 1
        with pytest.raises(TlsError, match="certificate"):
            webhook(server.url).send(lines)


def told(error: GovernanceError) -> str:
    """Everything that an error shows, with what led to it."""
    chain: BaseException | None = error
    words = [str(error.hint)]
    while chain is not None:
        words.append(f"{type(chain).__name__}: {chain}")
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "\n".join(words)


def wait_until_closed(sink: SyslogSink) -> None:
    from governance.stream.to_syslog import _is_closed

    wait(lambda: sink._socket is None or _is_closed(sink._socket))


def wait(what: Any) -> None:
    for _ in range(1_000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")
