"""Bodies of answers: whole or an error, never longer than the limit, and never longer in coming than they may."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from governance.errors import ProtocolError, UnreachableError
from tests.rawserver import answer, make_certificate, raw_server
from tests.unit.transport_kit import talking_to, transport

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
