"""Notifications: rules read strictly, news told once and not too often, and carriers against real servers."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from standardwebhooks import Webhook

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit_wiring import utc_now
from governance.errors import (
    GovernanceError,
    RemoteError,
    SettingsError,
    TlsError,
    UnauthenticatedError,
    UnreachableError,
)
from governance.model.verdict import Effect, Mode
from governance.notify.carriers import EmailCarrier, WebhookCarrier, mail_of
from governance.notify.channel import NoticeSink
from governance.notify.memory import load_memory
from governance.notify.notice import LiveWaiver, Notice
from governance.notify.rules import RulesInvalidError, parse_rules
from governance.notify.watch import Watcher
from governance.notifying import ChannelTarget, target_of
from governance.stream.channel import Channel, EmailChannel
from governance.stream.cursor import CursorFile
from governance.stream.post import Post
from governance.stream.pump import Pump
from governance.stream.signature import Secrets
from governance.stream.source import LogSource
from tests.audit_tools import START, make_log
from tests.listener import listening
from tests.mailserver import mail_server
from tests.rawserver import answer, closed_port, make_certificate, raw_server
from tests.report_tools import refuse_by_default
from tests.unit.test_report import HOSTILE, decide

RULES = b"""
apiVersion: mlgov/v1
kind: Notifications
rules:
  - {name: blocks, on: new-block, channels: [ops], quiet: 12h}
  - {name: changes, on: verdict-changed, channels: [ops], inUse: 30d}
  - {name: waivers, on: waiver-expiring, channels: [ops], before: [14d, 3d]}
"""
WAIVER = LiveWaiver(
    name="w-1", rule="p/r", ref="models/wine", reason="tested by hand", expires=START + timedelta(days=20)
)
KEY = bytes(range(32))


class Readers:
    """A carrier that keeps what it is given, and fails as often as it was told to."""

    def __init__(self, *failures: GovernanceError) -> None:
        self.failures = list(failures)
        self.got: list[Notice] = []

    def send(self, notice: Notice) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(notice)

    def close(self) -> None:
        pass

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.got]


class Desk:
    """A channel over a log: `look` runs its pump once, as `mlgov audit notify --once` does."""

    def __init__(self, folder: Path, log: AuditLog, *, rules: bytes = RULES, per_hour: int = 20) -> None:
        self.folder, self.log, self.readers = folder, log, Readers()
        self.rules, self.per_hour = parse_rules(rules, "rules.yaml"), per_hour
        self.now = START + timedelta(hours=1)
        self.waivers: list[LiveWaiver] = []
        self.look()  # begins with what comes

    def look(self) -> list[Notice]:
        before = len(self.readers.got)
        self.pump().run(follow=False)
        return self.readers.got[before:]

    def pump(self) -> Pump:
        sink = NoticeSink(
            watcher=Watcher(self.rules, self.log, lambda: self.waivers),
            memory=lambda: load_memory(self.folder / "notify-ops.told", per_hour=self.per_hour),
            carrier=self.readers,
            now=lambda: self.now,
        )
        return Pump(
            target=ChannelTarget(name="notify-ops", shown="ops", digest="0" * 64), source=LogSource(self.log), sink=sink,
            file=CursorFile(self.folder, "notify-ops"), encode=lambda _: b"", now=lambda: self.now, stop=threading.Event(),
            idle=sink.tick, spread=lambda: -1.0,
        )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, make_log())


def test_a_new_block_is_told_once(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK, message="known to be evil")
    (notice,) = desk.look()
    assert notice.kind == "new-block"
    assert notice.title.startswith("models/wine is blocked in production: ")
    assert "known to be evil" in notice.text()
    for _ in range(3):
        decide(desk.log, decision=Effect.BLOCK)
    assert desk.look() == []
    desk.now += timedelta(hours=13)
    decide(desk.log, decision=Effect.BLOCK)
    assert len(desk.look()) == 1


def test_a_warning_is_not_told_as_what_blocked(desk: Desk) -> None:
    refuse_by_default(desk.log)
    (notice,) = desk.look()
    assert notice.title == "models/wine is blocked in production: no rule allows it"


def test_only_what_the_rule_is_about(desk: Desk) -> None:
    decide(desk.log, decision=Effect.ALLOW)
    decide(desk.log, decision=Effect.QUARANTINE, name="b")
    decide(desk.log, decision=Effect.BLOCK, mode=Mode.OBSERVE, name="c")
    assert desk.look() == []
    more = Desk(
        desk.folder / "more",
        desk.log,
        rules=RULES.replace(b"quiet: 12h", b"quarantine: true, observed: true"),
    )
    decide(desk.log, decision=Effect.QUARANTINE, name="d")
    decide(desk.log, decision=Effect.BLOCK, mode=Mode.OBSERVE, name="e")
    assert [notice.title.partition(" in ")[0] for notice in more.look()] == [
        "models/d is quarantined", "models/e would have been blocked"
    ]  # fmt: skip


def test_another_verdict_on_bytes_in_use_is_told(desk: Desk) -> None:
    decide(desk.log, decision=Effect.ALLOW)
    decide(desk.log, decision=Effect.ALLOW)
    assert desk.look() == []
    decide(desk.log, decision=Effect.WARN)  # a process that starts anew asks the log what was before
    (notice,) = desk.look()
    assert notice.kind == "verdict-changed"
    assert dict(notice.rows)["verdict"] == "allow, now warn"
    assert desk.look() == []
    decide(desk.log, decision=Effect.WARN)
    decide(desk.log, decision=Effect.BLOCK)
    assert {each.kind for each in desk.look()} == {"new-block", "verdict-changed"}


def test_bytes_that_nobody_used_are_no_news(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK)
    desk.look()
    decide(desk.log, decision=Effect.ALLOW)
    assert desk.look() == []


def test_a_waiver_that_ends_is_told_at_each_of_its_times(desk: Desk) -> None:
    desk.waivers = [WAIVER]
    told = []
    for day in range(25):
        desk.now = START + timedelta(days=day)
        told += [(day, notice.title) for notice in desk.look()]
    assert told == [
        (6, "waiver w-1 for p/r ends in 14 days"),
        (17, "waiver w-1 for p/r ends in 3 days"),
    ]


def test_a_flood_is_told_of_in_one_notice(desk: Desk, tmp_path: Path) -> None:
    desk.per_hour = 3
    for number in range(9):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 3
    assert desk.look() == []
    desk.now += timedelta(minutes=61)
    (held,) = desk.look()
    assert held.title.startswith("6 more notices were held back")
    assert "models/m-8" in held.text()
    assert "models/m-5" in json.dumps(held.to_json())
    assert desk.look() == []


def test_what_another_process_held_back_just_before_is_told_of_all_the_same(tmp_path: Path) -> None:
    """A service that is started as the one before it ends was made ready while that one was still at work."""
    desk = Desk(tmp_path, make_log(), per_hour=3)
    successor = desk.pump()
    for number in range(9):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 3
    decide(desk.log, decision=Effect.BLOCK, name="m-9")
    successor.run(follow=False)
    assert len(desk.readers.got) == 3
    desk.now += timedelta(hours=2)
    (held,) = desk.look()
    assert held.title.startswith("7 more notices were held back")


def test_a_clock_that_was_wrong_for_a_while_does_not_silence_a_channel(desk: Desk) -> None:
    desk.per_hour = 2
    now = desk.now
    desk.now += timedelta(days=3_000)
    for number in range(2):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 2
    desk.now = now
    decide(desk.log, decision=Effect.BLOCK, name="m-2")
    assert len(desk.look()) == 1


def test_no_rule_can_say_who_it_was(desk: Desk) -> None:
    """Whoever may send entries may name rules in them as he likes."""
    decide(desk.log, decision=Effect.BLOCK)
    (told,) = (dict(each.entry.body) for each in desk.log.find(kind=EntryKind.DECISION))
    verdict, actor = told["verdict"], told["actor"]
    assert isinstance(verdict, dict)
    assert isinstance(actor, dict)
    findings = [
        {"rule": name, "message": f"forged {n}"}
        for n, name in enumerate(("actor", "title", "decision", "actor"))
    ]
    body = {**told, "verdict": {**verdict, "findings": findings}}
    desk.log.append(EntryKind.DECISION, body, subject="models/other", correlation="c")
    notice = desk.look()[1]
    data: Any = notice.to_json()["data"]
    assert (data["title"], data["actor"]) == (notice.title, actor["name"])
    assert "forged" not in data["decision"]
    assert data["findings"] == findings
    assert not [
        line for line in notice.text().splitlines() if "forged" in line and not line.startswith("rule ")
    ]


def test_a_channel_that_fails_gets_each_notice_once_it_works(desk: Desk) -> None:
    error = UnreachableError("no answer", service="mail", method="SEND", path="x")
    desk.readers.failures = [error, error]
    for number in range(3):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    desk.look()
    assert len(desk.readers.got) == 3
    assert len({notice.key for notice in desk.readers.got}) == 3


def test_what_was_told_is_remembered_before_the_place_in_the_log(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK, name="a")
    decide(desk.log, decision=Effect.BLOCK, name="b")
    cursor = (desk.folder / "notify-ops.json").read_bytes()
    assert len(desk.look()) == 2
    (desk.folder / "notify-ops.json").write_bytes(cursor)  # as after a crash between the two
    assert desk.look() == []


def test_a_damaged_memory_is_not_taken_for_none(desk: Desk) -> None:
    for text in ("", "{}", '{"v":1,"told":[],"sent":[],"held":0,"titles":[]}', '{"v":9}'):
        (desk.folder / "notify-ops.told").write_text(text)
        with pytest.raises(SettingsError, match="damaged"):
            desk.look()


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after", "words"), [
    (b"on: new-block", b"on: old-block", "rules.yaml:5:"),
    (b"quiet: 12h", b"quiet: 12", "rules.yaml:5:59 rules.0.quiet: expected a duration such as `12h` or `7d`"),
    (b"quiet: 12h", b"loud: true", "rules.0.loud: Extra inputs are not permitted"),
    (b"channels: [ops], quiet", b"channels: [], quiet", "rules.0.channels"),
    (b"channels: [ops], quiet", b'channels: ["a b"], quiet', "rules.0.channels.0"),
    (b"name: changes", b"name: blocks", "`blocks` twice"),
    (b"kind: Notifications", b"kind: Policy", "rules.yaml:3:"),
    (b"kind: Notifications", b"kind: Notifications\nkind: Notifications", "strict YAML"),
    (b"before: [14d, 3d]", b"before: []", "rules.2.before"),
    (b"rules:", b"rules: &x", "strict YAML"),
    (b"apiVersion: mlgov/v1", b"apiVersion: mlgov/v1\n---\na: 1\n---", "one document"),
])  # fmt: skip
def test_mistakes_in_the_rules_have_a_place(before: bytes, after: bytes, words: str) -> None:
    assert before in RULES
    with pytest.raises(RulesInvalidError) as caught:
        parse_rules(RULES.replace(before, after, 1), "rules.yaml")
    assert words in str(caught.value)


# --- mails -----------------------------------------------------------------------------------------------------------

NOTICE = Notice(
    kind="new-block", key="k" * 40, title="models/wine is blocked", rows=(("rule", "bösé"),), at=START
)


def channel(port: int, **more: Any) -> EmailChannel:
    fields = {"name": "mail", "kind": "email", "to": ("ops@example.org", "sec@example.org"),
              "sender": "mlgov@example.org", "server": f"smtp://127.0.0.1:{port}"} | more  # fmt: skip
    return EmailChannel.model_validate(fields)


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


# --- webhooks and settings -------------------------------------------------------------------------------------------


def test_a_notice_is_posted_signed() -> None:
    with raw_server(answer(200)) as server:
        post = Post(f"{server.url}/T0", secrets=Secrets((KEY,)), shown="x", now=utc_now)
        WebhookCarrier(post).send(NOTICE)
        (seen,) = server.seen
    Webhook("whsec_" + base64.b64encode(KEY).decode()).verify(seen.body, dict(seen.headers), json_parse=False)
    document = json.loads(seen.body)
    assert document["type"] == "mlgov.new-block"
    assert document["data"]["title"] == "models/wine is blocked"
    assert seen.headers["webhook-id"] == f"notice_{NOTICE.key}"


@pytest.mark.parametrize("change", [
    {"to": ("ops@example.org\r\nBcc: eve@example.org",)}, {"to": ()}, {"to": ("Ops <ops@example.org>",)},
    {"sender": "x"}, {"server": "http://h"}, {"server": "smtp://u:p@h"}, {"server": "smtp://h:x"}, {"user": "u"},
    {"password": "secret"}, {"per_hour": 0}, {"unknown": 1},
])  # fmt: skip
def test_what_is_no_channel(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        channel(25, **change)
    assert "secret" not in str(caught.value).replace("SecretStr", "")


def test_a_webhook_channel_shows_no_path() -> None:
    fields = {"kind": "webhook", "name": "ops", "to": "https://h.example/T0SECRET", "secret_file": "/s"}
    found = TypeAdapter(Channel).validate_python(fields)
    assert "T0SECRET" not in repr(found) + target_of(found).shown
    with pytest.raises(ValidationError):
        TypeAdapter(Channel).validate_python({**fields, "to": "http://example.org/x"})
