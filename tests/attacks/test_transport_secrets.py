"""No error, log line, `repr` or pickle ever shows a credential, a query string or user information."""

from __future__ import annotations

import io
import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.artifactory.client import ArtifactoryClient
from governance.errors import GovernanceError, SettingsError
from governance.transport import Credentials, Transport
from governance.transport.failures import clean, server_message
from governance.xray.client import XrayClient
from tests.rawserver import Script, answer, closed_port, make_certificate, raw_server

TOKEN = "s3cr3t-t0ken.with-dots_and-dashes"
PASSWORD = "hunter2hunter2"
SIGNED = "X-Amz-Signature=deadbeefcafe"
SECRETS = (TOKEN, PASSWORD, "aHVudGVyMmh1bnRlcjI", "deadbeefcafe", "YW5uOmh1bnRlcjJodW50ZXIy")


def everything_about(error: BaseException) -> str:
    """All that a log, a debugger or a crash report is likely to show."""
    texts = ["".join(traceback.format_exception(error)), repr(error), str(error)]
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        texts += [repr(link), str(link), repr(getattr(link, "__dict__", {})), repr(link.args)]
        link = link.__cause__
    texts.append(repr(pickle.dumps(error)))
    return "\n".join(texts)


def assert_silent(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


@contextmanager
def silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Everything logged inside the block, at any level and by any library, is free of secrets."""
    with caplog.at_level(logging.DEBUG):
        yield
    assert_silent(caplog.text)
    assert_silent("\n".join(repr(record.__dict__) for record in caplog.records))


EVERYTHING = Credentials(token=TOKEN, user="ann", password=PASSWORD)


def close_at_once(channel: socket.socket) -> None:
    channel.close()


ECHO = f"token {TOKEN} of {PASSWORD} at https://ann:{PASSWORD}@host/x?{SIGNED} Authorization: Bearer {TOKEN}"
MISBEHAVIOUR: list[Script] = [
    answer(401, f'{{"errors":[{{"message":"{ECHO}"}}]}}'.encode()),
    answer(403, ECHO.encode()),
    answer(500, f'{{"error":"{ECHO}"}}'.encode()),
    answer(200, ECHO.encode()),
    answer(200, b'{"files": 5, "' + ECHO.encode() + b'": 1}'),
    answer(200, b"[1", announced=50),
    answer(302, headers={"Location": f"http://127.0.0.1:9/x?{SIGNED}"}),
    answer(302, headers={"Location": f"https://127.0.0.9:9/x?{SIGNED}"}),
    answer(302, headers={"Location": f"/artifactory/y?{SIGNED}"}),
    answer(302, headers={"Location": f"https://ann:{PASSWORD}@127.0.0.1/x"}),
    b"garbage " + ECHO.encode() + b"\r\nConnection: close\r\n\r\n",
    b"",
    close_at_once,
]
ACTS: list[Callable[[Transport], object]] = [
    lambda session: ArtifactoryClient(session).tree("r", "m"),
    lambda session: ArtifactoryClient(session).upload("r", "m", io.BytesIO(b"abc"), size=3),
    lambda session: ArtifactoryClient(session).read_small("r", "m", limit=10),
    lambda session: ArtifactoryClient(session).aql(f"items.find({TOKEN!r})"),
    lambda session: list(XrayClient(session).summary(["r/m"])),
    lambda session: session.json("GET", "x", params={"access_token": TOKEN}),
]


@pytest.mark.parametrize("script", MISBEHAVIOUR)
def test_no_failure_shows_a_secret(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    with silent(caplog), raw_server(script) as server:
        session = Transport(
            base_url=server.url,
            service="Artifactory",
            credentials=EVERYTHING,
            connect_timeout=1,
            retries=1,
            sleep=lambda _: None,
        )
        for act in ACTS:
            error = failure_of(act, session)
            assert_silent(everything_about(error))
            assert "?" not in str(error)
        assert_silent(repr(session) + repr(EVERYTHING) + repr(ArtifactoryClient(session)))
        session.close()


def failure_of(act: Callable[[Transport], object], session: Transport) -> BaseException:
    try:
        act(session)
    except GovernanceError as error:
        return error
    return Exception("it went well")


def test_a_password_is_silent_in_its_encoded_form_too(caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials(user="ann", password=PASSWORD)
    header = credentials.header() or ""
    with silent(caplog), raw_server(answer(403, f"you sent {header} of {PASSWORD}".encode())) as server:
        session = Transport(base_url=server.url, service="A", credentials=credentials)
        error = failure_of(lambda each: each.call("GET", "x"), session)
        session.close()
    assert_silent(everything_about(error))
    assert header.partition(" ")[2] not in everything_about(error)


def test_no_failed_connection_shows_a_secret(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    context, _ = make_certificate(tmp_path)
    with silent(caplog), raw_server(answer(), tls=context) as server:
        for url in (f"http://127.0.0.1:{closed_port()}", "http://name.invalid", server.url):
            session = Transport(base_url=url, service="A", credentials=EVERYTHING, retries=0)
            with pytest.raises(GovernanceError) as caught:
                session.json("GET", "x", params={"access_token": TOKEN})
            assert_silent(everything_about(caught.value))
            session.close()


@pytest.mark.parametrize("tail", ["\n", "\r\nX-Evil: 1", " ", "\t", "ü", "\x00", "\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(tail: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Credentials(token=TOKEN + tail)
    assert_silent(everything_about(caught.value))


@given(
    st.text(alphabet="abcdefgh0123456789-_.", min_size=12, max_size=40),
    st.text(max_size=200),
    st.integers(min_value=0, max_value=200),
)
def test_a_secret_is_cut_out_of_whatever_the_server_writes(secret: str, text: str, at: int) -> None:
    said = text[:at] + secret + text[at:]
    shown = server_message(said.encode("utf-8", "replace"), (secret,))
    assert secret not in shown
    assert not any(ord(sign) < 32 or ord(sign) == 127 for sign in shown)
    assert len(shown) <= 300


@given(
    st.text(max_size=50),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
)
def test_no_query_of_an_address_survives(before: str, query: str) -> None:
    assert f"?{query}" not in clean(f"{before} https://host/path?{query}")


def test_a_jwt_is_cut_out_although_nobody_said_that_it_is_one() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    assert clean(f"bad token {token}!") == "bad token ***!"
