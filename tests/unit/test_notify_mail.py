"""Notices as mails, to real servers: under TLS, with a login, and with nothing in them that a name could forge."""

from __future__ import annotations

import contextlib
import socket
import time
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import RemoteError, TlsError, UnauthenticatedError, UnreachableError
from governance.model.verdict import Effect
from governance.notify.carriers import EmailCarrier, mail_of
from governance.notify.notice import Notice
from governance.notify.rules import parse_rules
from governance.notify.watch import Watcher
from tests.audit_tools import START, make_log
from tests.listener import listening
from tests.mailserver import mail_server
from tests.rawserver import closed_port, make_certificate, raw_server
from tests.report_tools import HOSTILE, decide
from tests.unit.notify_kit import NOTICE, RULES, Desk, channel


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_mail_goes_out_under_tls_with_a_login(tmp_path: Path, wrapped: bool) -> None:
    tls, authority = make_certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text("good password\n")
    with mail_server(tls, wrapped=wrapped, wants_login=True) as server:
        found = channel(
            server.port, user="mlgov", password_file=password,
            server=f"{'smtps' if wrapped else 'smtp'}://127.0.0.1:{server.port}",
        )  # fmt: skip
        EmailCarrier(found, ca=str(authority)).send(NOTICE)
        (mail,) = server.mails
        assert server.was_secure == [True]
        assert server.logins == [("mlgov", "good password")]
        with pytest.raises(TlsError):
            EmailCarrier(found, ca=None).send(NOTICE)
        assert (
            len(server.mails) == len(server.logins) == 1
        )  # no word was said before the certificate was checked
    assert mail["Subject"] == "[mlgov] models/wine is blocked"
    assert mail["To"] == "ops@example.org, sec@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "bösé" in mail.get_content()


def test_a_login_that_is_refused_does_not_tell_the_password(tmp_path: Path) -> None:
    tls, authority = make_certificate(tmp_path)
    with mail_server(tls, wants_login=True) as server:
        found = channel(server.port, user="mlgov", password="hunter2 hunter2")
        with pytest.raises(UnauthenticatedError) as caught:
            EmailCarrier(found, ca=str(authority)).send(NOTICE)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}{found!r}"


def test_on_this_machine_alone_a_server_may_do_without_tls() -> None:
    with mail_server() as server:
        EmailCarrier(channel(server.port), ca=None).send(NOTICE)
        assert server.was_secure == [False]
        server.refuses = ["550 no", "550 nor this"]
        with pytest.raises(RemoteError, match=r"refused the mail \(550\)"):
            EmailCarrier(channel(server.port), ca=None).send(NOTICE)
    assert not channel(1, server="smtp://mail.example.org").is_local


def test_a_mail_server_that_never_answers() -> None:
    def silent(connection: socket.socket) -> None:
        time.sleep(3)

    with raw_server(silent) as server, pytest.raises(UnreachableError):
        EmailCarrier(channel(server.port), ca=None, timeout=0.5).send(NOTICE)
    with pytest.raises(UnreachableError):
        EmailCarrier(channel(closed_port()), ca=None).send(NOTICE)


@pytest.mark.parametrize("piece", [b"220-hello\r\n" * 2_000, b"2"])
def test_a_mail_server_that_does_not_stop_greeting_is_given_up(piece: bytes) -> None:
    """Neither the lines of a reply nor the waits for one of them have a number."""
    sent = 0

    def greet(connection: socket.socket) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(piece)
                sent += len(piece)
                time.sleep(0.01)

    with listening(greet) as port, pytest.raises(UnreachableError):
        EmailCarrier(channel(port), ca=None, timeout=0.2).send(NOTICE)
    assert sent < 16 << 20


@pytest.mark.parametrize(("user", "password"), [("mlgov", "pässword"), ("ünser", "good password")])
def test_a_login_may_have_letters_of_any_kind(user: str, password: str) -> None:
    with mail_server(wants_login=True) as server:
        found = channel(server.port, user=user, password=password)
        if password == "good password":
            EmailCarrier(found, ca=None).send(NOTICE)
        else:
            with pytest.raises(UnauthenticatedError, match="535"):
                EmailCarrier(found, ca=None).send(NOTICE)
        assert set(server.logins) == {(user, password)}


def test_a_password_file_of_another_system_is_read_alike(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"good password\r\n")
    with mail_server(wants_login=True) as server:
        EmailCarrier(channel(server.port, user="u", password_file=tmp_path / "password"), ca=None).send(
            NOTICE
        )
        assert len(server.mails) == 1


def test_a_name_that_a_filter_refuses_does_not_keep_the_news_back(desk: Desk) -> None:
    """Else the first of them would be tried for ever, and nothing after it told."""
    decide(desk.log, decision=Effect.BLOCK, name="X5O!P%@AP-STANDARD-ANTIVIRUS-TEST-FILE")
    (notice,) = desk.look()
    with mail_server() as server:
        server.refuses = ["554 5.7.1 message contains a virus"]
        EmailCarrier(channel(server.port), ca=None).send(notice)
        (mail,) = server.mails
    assert mail["Subject"].startswith("[mlgov] news of kind new-block, whose mail was refused (554)")
    assert "ANTIVIRUS" not in mail.as_string()
    assert dict(notice.rows)["decision"] in mail.get_content()


HEADERS = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "X-Mlgov-Kind", "Content-Type",
           "Content-Transfer-Encoding", "MIME-Version"}  # fmt: skip


@given(st.text(st.characters(codec="utf-8"), max_size=120) | st.just(HOSTILE), st.text(max_size=40))
def test_no_name_can_forge_a_header(subject: str, message: str) -> None:
    log = make_log()
    name = "".join(char for char in subject if char not in "/\\" and char.isprintable()).strip(". ") or "x"
    decide(log, decision=Effect.BLOCK, name=name[:60], message=message)
    watcher = Watcher(parse_rules(RULES, "r"), log, lambda: ())
    (notice,) = [each for stored in log.find() for each in watcher.news_of(stored)]
    forged = Notice(
        kind=notice.kind,
        key=notice.key,
        title=subject + "\r\nBcc: eve@example.org",
        rows=notice.rows,
        at=START,
    )
    for each in (notice, forged):
        raw = mail_of(each, channel(25)).as_bytes()
        head, _, _ = raw.partition(b"\r\n\r\n")
        found = {
            line.partition(b":")[0].decode()
            for line in head.split(b"\r\n")
            if not line.startswith((b" ", b"\t"))
        }
        assert found == HEADERS
        assert all(len(line) <= 998 for line in raw.split(b"\r\n"))


@pytest.mark.parametrize("title", [
    "=?utf-8?q?=0ABcc:_eve@example.org?=", "a =?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLm9yZw==?= b", "x=?us-ascii?Q?=0D=0ABcc=3A_e?=",
    "==??utf-8?q?=0ABcc:_e?=", "=?utf-8?q?a?= =?utf-8?q?=0ABcc:_e?=", "=?utf-8*en?q?=0ABcc:_e?=",
])  # fmt: skip
def test_no_name_that_is_spelt_as_an_encoded_word_can_forge_a_header(title: str) -> None:
    notice = Notice(kind="block", key="k", title=title, rows=(), at=START)
    found = message_from_bytes(mail_of(notice, channel(25)).as_bytes(), policy=SMTP)
    assert {name.strip() for name in found} == HEADERS
    assert "?utf-8" in found["Subject"] or "?us-ascii" in found["Subject"], "it is shown as it is spelt"


def test_over_the_wire_a_hostile_name_is_text(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK, message="x\r\n.\r\nMAIL FROM:<eve@example.org>\r\n")
    (notice,) = desk.look()
    with mail_server() as server:
        EmailCarrier(channel(server.port), ca=None).send(notice)
        assert len(server.mails) == 1
        assert set(server.mails[0].keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"} == HEADERS
