"""Where a redirect may lead, and where the token goes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from governance.errors import ProtocolError
from tests.rawserver import answer, make_certificate, raw_server
from tests.unit.transport_kit import TOKEN, talking_to, transport


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
