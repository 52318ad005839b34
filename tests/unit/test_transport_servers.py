"""Which server the session talks to: addresses, nobody there, other protocols, and whose certificate is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.errors import ProtocolError, SettingsError, TlsError, UnreachableError
from tests.rawserver import answer, closed_port, make_certificate, raw_server
from tests.unit.transport_kit import talking_to, transport


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


@pytest.mark.parametrize(
    "url",
    ["https://user:pw@host/artifactory", "ftp://host", "host/artifactory", "https://", "https://host/?a=pw"],
)
def test_an_address_that_is_none_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        transport(url)
    assert "pw" not in str(caught.value)
