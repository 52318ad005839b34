"""A certificate of ours, for servers that ask who connects: shown to whom it is meant for, and never asked a passphrase for."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from governance.errors import SettingsError, TlsError
from governance.outbound import build_pump
from governance.settings import Settings
from governance.stream.destination import Destination
from governance.transport import ClientCertificate, Transport
from tests.audit_tools import fill, make_log
from tests.rawserver import RawServer, answer, make_certificate, raw_server

Asking = tuple[ssl.SSLContext, ClientCertificate]


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """A server's context that takes one certificate and no other connection, and that certificate, which is also its own."""
    tls, authority = make_certificate(tmp_path)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority)
    return tls, ClientCertificate(authority, tmp_path / "key.pem")


def connect(server: RawServer, own: ClientCertificate, *, is_shown: bool = True) -> Transport:
    return Transport(
        base_url=server.url,
        service="Artifactory",
        credentials=None,
        retries=0,
        verify=str(own.certificate),
        certificate=own if is_shown else None,
    )


def test_a_server_that_asks_who_connects_is_shown_our_certificate(asking: Asking) -> None:
    tls, own = asking
    with raw_server(answer(200, b"yes"), tls=tls) as server:
        assert connect(server, own).call("GET", "/x").body == b"yes"


def test_who_has_none_is_told_that_one_is_asked_for(asking: Asking) -> None:
    """It said to give the authority of the server's certificate, with which nothing was wrong."""
    tls, own = asking
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions may lose the refusal on its way
    with (
        raw_server(answer(200, b"yes"), tls=tls) as server,
        pytest.raises(TlsError) as caught,
    ):
        connect(server, own, is_shown=False).call("GET", "/x")
    assert "MLGOV_ARTIFACTORY_CERTIFICATE" in (caught.value.hint or "")


def test_the_target_of_a_redirect_does_not_learn_who_we_are(asking: Asking) -> None:
    tls, own = asking
    shown: list[object] = []

    def look(channel: ssl.SSLSocket) -> None:
        shown.append(channel.getpeercert())
        channel.sendall(answer(200, b"from elsewhere"))

    tls.verify_mode = ssl.CERT_OPTIONAL
    with raw_server(look, tls=tls) as elsewhere:  # type: ignore[arg-type]  # over TLS the channel is one
        moved = answer(302, headers={"Location": f"{elsewhere.url}/y"})
        with raw_server(moved, tls=tls) as server:
            assert connect(server, own).call("GET", "/x").body == b"from elsewhere"
    assert shown == [None]


def test_a_key_with_a_passphrase_another_key_and_no_file_are_refused_and_nobody_is_asked(
    asking: Asking, tmp_path: Path
) -> None:
    """OpenSSL asks on the terminal, where `mlgov audit stream` stood still."""
    _, own = asking
    other = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    for name, words, encryption in (
        ("locked.pem", "has a passphrase", serialization.BestAvailableEncryption(b"secret")),
        ("other.pem", "do not belong together", serialization.NoEncryption()),
        ("absent.pem", "No such file", None),
    ):
        if encryption is not None:
            (tmp_path / name).write_bytes(other.private_bytes(pem, pkcs8, encryption))
        with pytest.raises(SettingsError, match=words):
            own._replace(key=tmp_path / name).check()


def test_a_webhook_that_asks_who_posts_is_shown_the_certificate_of_its_stream(
    asking: Asking, tmp_path: Path
) -> None:
    """`certificate` and `certificate_key` of a webhook were read and not used."""
    tls, own = asking
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "QUFB" * 12)
    secret.chmod(0o600)
    with raw_server(answer(204), tls=tls) as server:
        destination = Destination(
            name="hook",
            to=f"{server.url}/in",
            secret_file=secret,
            ca=own.certificate,
            certificate=own.certificate,
            certificate_key=own.key,
        )
        log = make_log()
        fill(log, 2)
        pump = build_pump(Settings(home=tmp_path), log, destination, stop=threading.Event(), patience=0.1)
        assert pump.run(follow=False).entries == 3  # with the log's own first one
    assert [seen.target for seen in server.seen] == ["/in"]
