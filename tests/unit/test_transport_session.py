"""What the session sends, what it takes, what it tries again, and where the token goes."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from governance.errors import (
    ConflictError,
    ForbiddenError,
    GovernanceError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    RemoteError,
    SettingsError,
    TlsError,
    TransferError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from governance.transport import Credentials, Transport
from tests.rawserver import RawServer, Script, answer, closed_port, make_certificate, raw_server

TOKEN = "token-that-must-stay-home"


class Pauses:
    """Stands in for `sleep` and remembers how long it was to be."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def transport(server: RawServer | str, **more: Any) -> Transport:
    url = server if isinstance(server, str) else f"{server.url}/artifactory"
    settings: dict[str, Any] = {"credentials": Credentials(token=TOKEN), "sleep": Pauses(), **more}
    return Transport(base_url=url, service="Artifactory", **settings)


@contextmanager
def talking_to(*script: Script, **more: Any) -> Iterator[tuple[Transport, RawServer]]:
    with raw_server(*script) as server:
        session = transport(server, **more)
        yield session, server
        session.close()


def test_a_call_sends_the_token_and_parses_json() -> None:
    with talking_to(answer(body=b'{"a": 1}')) as (session, server):
        assert session.json("GET", "api/x", params={"list": None, "to": "/a b;c"}) == {"a": 1}
    seen = server.seen[0]
    assert seen.target == "/artifactory/api/x?list&to=%2Fa%20b%3Bc"
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["accept-encoding"] == "identity"


def test_user_and_password_go_as_basic() -> None:
    credentials = Credentials(user="ann", password="pässword")
    with talking_to(answer(), credentials=credentials) as (session, server):
        session.call("GET", "x")
    assert server.seen[0].headers["authorization"] == "Basic YW5uOnDDpHNzd29yZA=="


def test_nothing_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with talking_to(answer()) as (session, server):
        session.call("GET", "x")
    assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_cookies_of_one_answer_are_not_sent_with_the_next() -> None:
    with talking_to(answer(headers={"Set-Cookie": "a=b; Path=/"})) as (session, server):
        session.call("GET", "x")
        session.call("GET", "x")
    assert "cookie" not in server.seen[1].headers


def test_connections_are_used_again() -> None:
    peers: set[Any] = set()
    with talking_to(answer(body=b"ok")) as (session, server):
        for _ in range(3):
            session.call("GET", "x")
        with session.stream("GET", "x") as response:
            assert b"".join(response.iter_chunks(1)) == b"ok"
        session.send("x", io.BytesIO(b"abc"), size=3, ok=(200,))
        peers = {seen.headers["host"] for seen in server.seen}
    assert len(peers) == 1
    assert len(server.seen) == 5


STATUSES: list[tuple[int, type[RemoteError]]] = [
    (400, RemoteError),
    (401, UnauthenticatedError),
    (403, ForbiddenError),
    (404, NotFoundError),
    (405, RemoteError),
    (409, ConflictError),
    (413, RemoteError),
    (418, RemoteError),
    (429, RateLimitedError),
    (500, UnavailableError),
    (502, UnavailableError),
    (503, UnavailableError),
    (504, UnavailableError),
    (507, UnavailableError),
    (204, ProtocolError),
    (304, ProtocolError),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_each_status_has_its_error_with_a_hint(status: int, kind: type[RemoteError]) -> None:
    body = b'{"errors":[{"status":1,"message":"the words of the server"}]}' if status >= 400 else b""
    with talking_to(answer(status, body), retries=0) as (session, _), pytest.raises(kind) as caught:
        session.call("GET", "api/x")
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.hint
    assert (caught.value.service, caught.value.method, caught.value.path) == (
        "Artifactory",
        "GET",
        "/artifactory/api/x",
    )
    if status >= 400:
        assert "the words of the server" in str(caught.value)


MESSAGES = [
    (b'{"errors":[{"message":"first"},{"message":"second"}]}', "first"),
    (b'{"error":"xray says"}', "xray says"),
    (b"Failed to parse query", "Failed to parse query"),
    (b"<html><body>502 Bad Gateway</body></html>", "not permitted (GET"),
    (b'["unexpected"]', "not permitted (GET"),
    (b"line one\r\nX-Evil: two\x1b[31m", "line one X-Evil: two [31m"),
]


@pytest.mark.parametrize(("body", "words"), MESSAGES)
def test_the_servers_words_are_shown_on_one_line(body: bytes, words: str) -> None:
    with talking_to(answer(403, body)) as (session, _), pytest.raises(ForbiddenError) as caught:
        session.call("GET", "x")
    assert words in caught.value.message
    assert caught.value.message.isprintable()


HINTS = [
    (409, b"actual='da39a3ee5e6b4b0d3255bfef95601890afd80709'", "empty body"),
    (403, b"blocked due to recurrent login failures, please try again in 9 seconds", "locked out"),
    (401, b"Token failed verification: expired", "ARTIFACTORY_AUTH_TOKEN"),
]


@pytest.mark.parametrize(("status", "body", "words"), HINTS)
def test_known_troubles_have_their_own_hint(status: int, body: bytes, words: str) -> None:
    with talking_to(answer(status, body)) as (session, _), pytest.raises(RemoteError) as caught:
        session.call("GET", "x")
    assert words in (caught.value.hint or "")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_trouble_is_tried_again(status: int) -> None:
    pauses = Pauses()
    with talking_to(answer(status), answer(status), answer(body=b"{}"), sleep=pauses) as (session, server):
        assert session.json("GET", "x") == {}
    assert len(server.seen) == 3
    assert len(pauses.seconds) == 2
    assert 0.25 <= pauses.seconds[0] <= 0.5 <= pauses.seconds[1] <= 1.0


@pytest.mark.parametrize(("asked", "paused"), [("2", 2.0), ("86400", 30.0), ("0", 0.0)])
def test_retry_after_is_honoured_up_to_a_cap(asked: str, paused: float) -> None:
    pauses = Pauses()
    busy = answer(429, headers={"Retry-After": asked})
    with talking_to(busy, answer(), sleep=pauses) as (session, _):
        session.call("GET", "x")
    assert pauses.seconds == [paused]


def test_who_sent_no_token_is_not_told_that_it_is_good() -> None:
    no = answer(403, b"This resource is available to authenticated users only.")
    for sent, words in ((Credentials(token=TOKEN), "The token is good"), (None, "No token was sent")):
        with talking_to(no, credentials=sent) as (session, _), pytest.raises(ForbiddenError) as caught:
            session.call("GET", "/x")
        assert words in (caught.value.hint or "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_what_will_not_pass_is_tried_once(status: int) -> None:
    with talking_to(answer(status)) as (session, server), pytest.raises(RemoteError):
        session.call("GET", "x")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("method", "idempotent", "times"),
    [("POST", None, 1), ("PATCH", None, 1), ("POST", True, 4), ("PUT", None, 4), ("PUT", False, 1)],
)
def test_only_harmless_repeats_are_sent(method: str, idempotent: bool | None, times: int) -> None:
    with talking_to(answer(503)) as (session, server), pytest.raises(UnavailableError):
        session.call(method, "x", body={"a": 1}, idempotent=idempotent)
    assert len(server.seen) == times
    with talking_to(b"") as (session, server), pytest.raises(UnreachableError):
        session.call(method, "x", body={"a": 1}, idempotent=idempotent)
    assert len(server.seen) == times


def test_silence_is_tried_once_more_and_no_oftener() -> None:
    def silent(_: socket.socket) -> None:
        time.sleep(0.6)

    with talking_to(silent, read_timeout=0.2) as (session, server), pytest.raises(UnreachableError) as caught:
        session.call("GET", "x")
    assert "in time" in str(caught.value)
    assert len(server.seen) == 2


def test_nobody_listening_is_unreachable() -> None:
    session = transport(f"http://127.0.0.1:{closed_port()}/artifactory")
    with pytest.raises(UnreachableError, match="no connection"):
        session.call("POST", "x")


def test_a_server_that_speaks_something_else() -> None:
    with (
        talking_to(b"SSH-2.0-OpenSSH_9.6\r\nConnection: close\r\n", retries=0) as (session, _),
        pytest.raises(ProtocolError, match="not HTTP"),
    ):
        session.call("GET", "x")


def test_a_self_signed_certificate_is_refused_and_can_be_trusted(tmp_path: Path) -> None:
    context, certificate = make_certificate(tmp_path)
    with raw_server(answer(body=b"{}"), tls=context) as server:
        with pytest.raises(TlsError) as caught:
            transport(server).call("GET", "x")
        assert "certificate" in (caught.value.hint or "")
        assert server.seen == []
        trusting = transport(server, verify=str(certificate))
        assert trusting.json("GET", "x") == {}
        trusting.close()


@pytest.mark.parametrize(("begins", "ends"), [(-30, -10), (10, 30)])
def test_a_certificate_out_of_its_time_is_renewed_and_not_trusted(
    tmp_path: Path, begins: int, ends: int
) -> None:
    context, certificate = make_certificate(tmp_path, days=(begins, ends))
    with raw_server(answer(body=b"{}"), tls=context) as server, pytest.raises(TlsError) as caught:
        transport(server, verify=str(certificate)).call("GET", "x")
    assert ("renew its certificate" in (caught.value.hint or ""), server.seen) == (True, [])


def test_a_certificate_for_another_host_is_no_matter_of_authorities(tmp_path: Path) -> None:
    context, certificate = make_certificate(tmp_path, host="127.0.0.9")
    with raw_server(answer(body=b"{}"), tls=context) as server, pytest.raises(TlsError) as caught:
        transport(server, verify=str(certificate)).call("GET", "x")
    assert "another host" in (caught.value.hint or "")


def test_authorities_that_are_not_there_are_a_mistake_in_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not there"):
        transport("https://h/artifactory", verify=str(tmp_path / "missing.pem"))


def test_tls_against_a_plain_port_says_so() -> None:
    with raw_server(answer()) as server, pytest.raises(TlsError) as caught:
        transport(f"https://127.0.0.1:{server.port}/artifactory").call("GET", "x")
    assert "plain HTTP" in (caught.value.hint or "")


CUT = [
    answer(body=b"[1, 2", announced=100),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n[1, 2\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n50\r\n[1, 2",
]


@pytest.mark.parametrize("cut", CUT)
def test_a_body_that_is_cut_short_is_never_a_shorter_body(cut: bytes) -> None:
    with talking_to(cut) as (session, _):
        with pytest.raises(ProtocolError):
            session.call("GET", "x")
        with session.stream("GET", "x") as response, pytest.raises(ProtocolError):
            list(response.iter_chunks(2))


def test_a_chunked_body_arrives_whole() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n1\r\n]\r\n0\r\n\r\n"
    with talking_to(chunked) as (session, _):
        assert session.json("GET", "x") == [1, 2]
        with session.stream("GET", "x") as response:
            assert b"".join(response.iter_chunks(3)) == b"[1, 2]"


@pytest.mark.parametrize(
    "large",
    [answer(body=b"x" * 2000), answer(body=b"x" * 2000, announced=-1), answer(announced=10**15)],
)
def test_an_answer_over_the_limit_is_refused(large: bytes) -> None:
    with talking_to(large, max_body=1000) as (session, _):
        with pytest.raises(ProtocolError, match="1000"):
            session.call("GET", "x")
        with session.stream("GET", "x") as response, pytest.raises(ProtocolError, match="1000"):
            response.read_all(1000)


def test_a_length_of_thousands_of_digits_is_none() -> None:
    """Python refuses to read one; the body counts."""
    digits = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n[1]"
    with talking_to(digits, max_body=1000) as (session, _):
        assert session.json("GET", "x") == [1]
        with session.stream("GET", "x") as response:
            assert response.length is None


def test_a_compressed_body_is_refused() -> None:
    with (
        talking_to(answer(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})) as (session, _),
        pytest.raises(ProtocolError, match="compressed"),
    ):
        session.call("GET", "x")


@pytest.mark.parametrize(
    ("first", "drop"), [(b"", b"x"), (b"HTTP/1.1 200 OK\r\n", b"X"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")]
)
def test_a_head_that_drips_is_given_up(first: bytes, drop: bytes) -> None:
    """No wait for its next bytes is long, and it would never be whole."""

    def drip(channel: socket.socket) -> None:
        channel.sendall(first)
        while True:
            channel.sendall(drop)
            time.sleep(0.02)

    with (
        talking_to(drip, read_timeout=0.3, retries=0) as (session, _),
        pytest.raises(UnreachableError) as caught,
    ):
        session.call("GET", "api/x")
    assert "in time" in str(caught.value)


def test_the_body_has_its_own_time(tmp_path: Path) -> None:
    """A head that came late leaves the body as long a wait as any."""
    context, pem = make_certificate(tmp_path)

    def late(channel: socket.socket) -> None:
        time.sleep(0.5)
        channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.7)
        channel.sendall(b"{}")

    with raw_server(late, tls=context) as server:
        session = transport(server, read_timeout=1.0, verify=str(pem))
        assert session.json("GET", "api/x") == {}
        session.close()


def test_an_answer_that_drips_is_given_up() -> None:
    def drip(channel: socket.socket) -> None:
        channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            channel.sendall(b"x")
            time.sleep(0.02)

    with (
        talking_to(drip, answer_timeout=0.2) as (session, _),
        pytest.raises(UnreachableError, match="complete"),
    ):
        session.call("GET", "x")


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (_CHUNKED + b"5;", b"x"),
        (_CHUNKED + b"0\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"x"),
    ],
    ids=["chunk size", "trailer", "body"],
)
def test_a_body_without_end_is_given_up_wherever_it_drags_on(begin: bytes, piece: bytes) -> None:
    """Each byte comes well within the socket's own time, and none of them is of any use."""
    stop = threading.Event()

    def endless(channel: socket.socket) -> None:
        channel.sendall(begin)
        while not stop.wait(0.005):
            channel.sendall(piece)

    with talking_to(endless, answer_timeout=0.2, retries=0) as (session, _):
        with (
            pytest.raises(UnreachableError, match="not complete in time"),
            session.stream("GET", "x") as response,
        ):
            list(response.iter_chunks(1 << 16))
        stop.set()


def test_what_came_of_a_body_buys_the_rest_of_it_time() -> None:
    """A large file over a slow line takes longer than any single answer may."""

    def slowly(channel: socket.socket) -> None:
        channel.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(10):
            channel.sendall(b"x" * 1000)
            time.sleep(0.05)

    with talking_to(slowly, answer_timeout=0.2) as (session, _), session.stream("GET", "x") as response:
        assert sum(map(len, response.iter_chunks(500))) == 10_000


@pytest.mark.parametrize("body", [b"not json", b"", b'{"a": NaN}', b"[" * 100_000])
def test_anything_but_json_is_an_error(body: bytes) -> None:
    with talking_to(answer(body=body)) as (session, _), pytest.raises(ProtocolError, match="JSON"):
        session.json("GET", "x")


def test_an_upload_is_streamed_and_sent_again_from_its_start() -> None:
    body = io.BytesIO(b"skip" + b"x" * 700_000)
    body.seek(4)
    with talking_to(answer(503), answer(201)) as (session, server):
        session.send("r/f", body, size=700_000, headers={"X-Checksum-Sha256": "ab"})
    assert [seen.body for seen in server.seen] == [b"x" * 700_000] * 2
    assert server.seen[1].headers["content-length"] == "700000"
    assert "transfer-encoding" not in server.seen[1].headers


def test_an_upload_that_cannot_be_rewound_is_sent_once() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with talking_to(answer(503)) as (session, server), pytest.raises(UnavailableError):
        session.send("r/f", Pipe(b"abc"), size=3)
    assert len(server.seen) == 1


def test_an_empty_file_is_sent_with_a_length() -> None:
    with talking_to(answer(201)) as (session, server):
        session.send("r/f", io.BytesIO(b""), size=0)
    assert server.seen[0].headers["content-length"] == "0"


def test_a_file_that_grows_is_sent_as_long_as_it_was() -> None:
    with talking_to(answer(201)) as (session, server):
        session.send("r/f", io.BytesIO(b"abcdef"), size=3)
    assert server.seen[0].body == b"abc"


def test_a_file_that_shrinks_is_a_local_error() -> None:
    with talking_to(answer(201)) as (session, _), pytest.raises(TransferError, match="2 bytes early"):
        session.send("r/f", io.BytesIO(b"a"), size=3)


def test_a_disk_that_fails_is_a_local_error() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with talking_to(answer(201)) as (session, server), pytest.raises(TransferError, match="Input/output"):
        session.send("r/f", Failing(b"abc"), size=3)
    assert all(seen.body != b"abc" for seen in server.seen)


def to(url: str, status: int = 302) -> bytes:
    return answer(status, headers={"Location": url})


def test_a_redirect_within_the_origin_keeps_the_token() -> None:
    with talking_to(to("/artifactory/elsewhere"), answer(body=b"{}")) as (session, server):
        assert session.json("GET", "x") == {}
    assert server.seen[1].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_redirect_to_another_origin_leaves_the_token_behind(tmp_path: Path) -> None:
    context, certificate = make_certificate(tmp_path)
    with raw_server(answer(body=b"{}"), tls=context) as other, raw_server(tls=context) as home:
        home.script[:] = [to(f"{other.url}/signed?key=k")]
        session = transport(home, verify=str(certificate))
        assert session.json("GET", "x") == {}
        session.close()
    assert "authorization" in home.seen[0].headers
    assert other.seen[0].target == "/signed?key=k"
    assert "authorization" not in other.seen[0].headers


def test_the_body_of_a_redirect_is_not_read() -> None:
    endless = b"HTTP/1.1 302 Found\r\nLocation: /artifactory/y\r\nContent-Length: 999999999999\r\n\r\nx"
    with talking_to(endless, answer(body=b"{}")) as (session, _):
        assert session.json("GET", "x") == {}


def test_a_redirect_never_leaves_tls(tmp_path: Path) -> None:
    context, certificate = make_certificate(tmp_path)
    with raw_server(answer()) as plain, raw_server(to(f"{plain.url}/x"), tls=context) as home:
        session = transport(home, verify=str(certificate))
        with pytest.raises(ProtocolError, match="without TLS"):
            session.call("GET", "x")
        session.close()
    assert plain.seen == []


REFUSED = [
    ("GET", "http://192.0.2.1/x", "without TLS"),
    ("GET", "ftp://192.0.2.1/x", "without TLS"),
    ("GET", "https://127.0.0.1/x", "from http to https"),
    ("GET", "https://user:pw@192.0.2.1/x", "user name"),
    ("GET", "https://[broken/x", "no address"),
    ("GET", "/artifactory/x/", "folder"),
    ("GET", "x", "more than 5"),
    ("PUT", "/artifactory/y", "redirects a write"),
    ("POST", "/artifactory/y", "redirects a write"),
    ("DELETE", "/artifactory/y", "redirects a write"),
]


@pytest.mark.parametrize(("method", "location", "words"), REFUSED)
def test_other_redirects_are_refused(method: str, location: str, words: str) -> None:
    with talking_to(to(location)) as (session, _), pytest.raises(ProtocolError, match=words) as caught:
        session.call(method, "x")
    assert "pw" not in str(caught.value)


def test_a_redirected_upload_is_refused_with_a_hint() -> None:
    there = to("https://elsewhere.example/x", 307)
    with talking_to(there) as (session, server), pytest.raises(ProtocolError) as caught:
        session.send("x", io.BytesIO(b"abc"), size=3)
    assert "address in the settings" in (caught.value.hint or "")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "url",
    ["https://user:pw@host/artifactory", "ftp://host", "host/artifactory", "https://", "https://host/?a=pw"],
)
def test_an_address_that_is_none_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        transport(url)
    assert "pw" not in str(caught.value)


def test_pieces_of_a_stream_are_no_larger_than_asked_for() -> None:
    with talking_to(answer(body=b"x" * 1000)) as (session, _), session.stream("GET", "x") as response:
        sizes = [len(chunk) for chunk in response.iter_chunks(300)]
    assert max(sizes) <= 300
    assert sum(sizes) == 1000


def test_a_stream_left_early_does_not_spoil_the_next_call() -> None:
    with talking_to(answer(body=b"x" * 100_000), answer(body=b"{}")) as (session, _):
        with session.stream("GET", "x") as response:
            next(response.iter_chunks(10))
        assert session.json("GET", "x") == {}


def test_every_error_is_of_the_tree() -> None:
    assert all(issubclass(kind, GovernanceError) for _, kind in STATUSES)
