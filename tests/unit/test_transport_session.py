"""What the session sends, what it tries again, and what becomes of a status that is no success."""

from __future__ import annotations

import io
import socket
import time
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
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from governance.transport import Credentials
from tests.rawserver import answer, closed_port
from tests.unit.transport_kit import TOKEN, Pauses, talking_to


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


def test_every_error_is_of_the_tree() -> None:
    assert all(issubclass(kind, GovernanceError) for _, kind in STATUSES)
