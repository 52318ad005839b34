"""Streams: the cursor and its log, the pump and receivers that fail, and the forms that entries take on their way."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.log import AuditLog, Stored
from governance.audit.memory import MemoryStore
from governance.audit.sqlite import SqliteStore
from governance.errors import (
    AuditBrokenError,
    GovernanceError,
    RateLimitedError,
    SettingsError,
    TransferError,
    UnreachableError,
)
from governance.model.canonical import canonical_bytes, parse_canonical
from governance.stream.cursor import Cursor, CursorFile, parse_cursor
from governance.stream.destination import Destination, name_of
from governance.stream.lag import lags
from governance.stream.pump import Pump, pause_after
from governance.stream.sink import BatchTooLargeError, Message
from governance.stream.source import LogSource, frontier_at
from governance.stream.syslog import SyslogForm, ascii_json, framed, sd_value
from governance.stream.to_file import FileSink
from tests.audit_tools import START, Clock, draft, fill, make_log
from tests.postgres_server import PostgresServer
from tests.receivers import parse_message

FORM = SyslogForm(host="host-1", process=7, origin="acme.example/audit")
ROUGH = st.text(st.characters(codec="utf-8"), max_size=60)


class Receiver:
    """A sink that obeys: it fails as often as it was told to, and takes batches up to a size."""

    def __init__(self, *failures: GovernanceError, most: int = 10_000) -> None:
        self.failures = list(failures)
        self.most = most
        self.got: list[int] = []
        self.closed: list[bool] = []
        self.close_error: GovernanceError | None = None

    def send(self, messages: Sequence[Message]) -> None:
        if len(messages) > self.most:
            raise BatchTooLargeError("too many")
        if self.failures:
            raise self.failures.pop(0)
        self.got += [int(str(message.stored.index)) for message in messages]

    def close(self, *, gracefully: bool) -> None:
        self.closed.append(gracefully)
        if gracefully and self.close_error is not None:
            raise self.close_error


def unreachable() -> UnreachableError:
    return UnreachableError("no answer", service="syslog", method="SEND", path="x")


def pump(
    log: AuditLog, folder: Path, sink: Any, *, stop: threading.Event | None = None, start: Any = "start", **more: Any
) -> Pump:  # fmt: skip
    destination = Destination.model_validate({"name": "siem", "to": f"file:{folder}/out", "from": start})
    settings: dict[str, Any] = {
        "target": destination, "source": LogSource(log), "file": CursorFile(folder, "siem"), "sink": sink,
        "encode": lambda stored: stored.data, "now": Clock(), "stop": stop or threading.Event(), "spread": lambda: -1.0,
    }  # fmt: skip
    return Pump(**(settings | more))


def cursor(folder: Path) -> Cursor:
    found = CursorFile(folder, "siem").load()
    assert found is not None
    return found


def test_everything_is_delivered_once_and_in_order(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver()
    fill(log, 600)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 601
    fill(log, 3)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 3
    assert sink.got == list(range(604))
    assert cursor(tmp_path).root == log.store.frontier().root().hex()


def test_a_receiver_that_fails_gets_the_same_batch_again(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 300)
    sink = Receiver(unreachable(), unreachable(), TransferError("no room"))
    pump(log, tmp_path, sink).run(follow=False)
    assert sink.got == list(range(301))
    assert cursor(tmp_path).trouble is None


def test_a_run_once_gives_up_and_keeps_its_place(tmp_path: Path) -> None:
    log, ticks = make_log(), iter(range(0, 10_000, 30))
    fill(log, 5)
    sink = Receiver(*(unreachable() for _ in range(50)))
    with pytest.raises(UnreachableError):
        pump(log, tmp_path, sink, clock=lambda: next(ticks)).run(follow=False)
    kept = cursor(tmp_path)
    assert (kept.index, sink.got, sink.closed) == (0, [], [False])
    assert kept.trouble is not None
    assert "no answer" in kept.trouble.what
    assert kept.trouble.tries >= 1


def test_a_follower_never_gives_up_and_ends_when_told(tmp_path: Path) -> None:
    log, stop = make_log(), threading.Event()
    fill(log, 5)

    class Stopping(Receiver):
        def send(self, messages: Sequence[Message]) -> None:
            if len(self.failures) == 1:
                stop.set()
            super().send(messages)

    sink = Stopping(*(unreachable() for _ in range(30)))
    done = pump(log, tmp_path, sink, stop=stop, clock=iter(range(0, 10**6, 1000)).__next__).run(follow=True)
    assert (done.entries, sink.failures) == (0, [])
    kept = cursor(tmp_path).trouble
    assert kept is not None
    assert kept.tries == 30


def test_a_follower_waits_until_its_place_can_be_written(tmp_path: Path) -> None:
    """As on a disk that is full for a while: nothing more is sent meanwhile, and nothing twice after it."""
    log, stop, sink = make_log(), threading.Event(), Receiver(unreachable())
    blocked, clock, looks = tmp_path / "siem.new", Clock(), 0
    fill(log, 5)

    def now() -> datetime:
        nonlocal looks
        looks += 1
        if looks == 2:  # the first look was for the new cursor
            blocked.mkdir()
        elif looks == 8:
            blocked.rmdir()
        return clock()

    done = pump(log, tmp_path, sink, stop=stop, idle=stop.set, now=now).run(follow=True)
    assert sink.got == [0, 1, 2, 3, 4, 5]
    assert (done.entries, cursor(tmp_path).index, cursor(tmp_path).trouble) == (6, 6, None)
    assert not blocked.exists()


def test_a_stream_that_ends_by_a_mistake_of_ours_is_not_a_success(tmp_path: Path) -> None:
    """Of several, each runs in a thread, and a thread that dies of something unexpected says so nowhere else."""
    from governance.cli.audit_stream import run_pumps

    class Mistaken(Receiver):
        def send(self, messages: Sequence[Message]) -> None:
            raise UnicodeError("label empty or too long")

    log, good = make_log(), Receiver()
    fill(log, 3)
    pumps = [pump(log, tmp_path / "a", Mistaken()), pump(log, tmp_path / "b", good)]
    with pytest.raises(UnicodeError):
        run_pumps(
            [(Destination(name=name, to="file:/x"), each) for name, each in zip("ab", pumps, strict=True)],
            follow=False,
        )
    assert good.got == [0, 1, 2, 3]


def test_batches_shrink_for_a_receiver_that_wants_them_small(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver(most=10)
    fill(log, 99)
    pump(log, tmp_path, sink).run(follow=False)
    assert sink.got == list(range(100))


def test_what_a_receiver_did_not_confirm_at_the_end_goes_out_again(tmp_path: Path) -> None:
    log, sink = make_log(), Receiver()
    fill(log, 300)
    sink.close_error = unreachable()
    with pytest.raises(UnreachableError):
        pump(log, tmp_path, sink).run(follow=False)
    assert cursor(tmp_path).index == 0


@given(st.integers(1, 60), st.floats(0, 1))
def test_pauses_grow_and_are_bounded(tries: int, spread: float) -> None:
    pause = pause_after(tries, spread)
    assert 0.25 <= pause <= 60
    assert pause_after(tries + 1, spread) >= pause


@pytest.mark.parametrize(("asked", "waited"), [(None, 0.0), (0.1, 0.1), (120.0, 120.0), (1e300, 900.0)])
def test_a_receiver_is_not_asked_sooner_than_it_says_up_to_a_bound(
    tmp_path: Path, asked: float | None, waited: float
) -> None:
    class Told(threading.Event):
        """Whoever waits on it is noted, and goes on at once."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    waits: list[float] = []
    busy = RateLimitedError("busy", service="webhook", method="POST", path="x", retry_after=asked)
    log, sink = make_log(), Receiver(busy)
    fill(log, 1)
    pump(log, tmp_path, sink, stop=Told(), patience=10_000).run(follow=False)
    assert (waits, sink.got) == ([waited], [0, 1])


# --- the cursor and its log ------------------------------------------------------------------------------------------


def test_a_lost_cursor_is_said_loudly_and_begins_where_it_was_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log()
    fill(log, 9)
    for start, expected in (("start", 10), ("now", 0), (4, 6)):
        with caplog.at_level(logging.WARNING):
            done = pump(log, tmp_path, Receiver(), start=start).run(follow=False)
        assert done.entries == expected
        assert "NO CURSOR" in caplog.text
        (tmp_path / "siem.json").unlink()
        caplog.clear()
    with pytest.raises(SettingsError, match="no entry 11"):
        pump(log, tmp_path, Receiver(), start=11).run(follow=False)


@pytest.mark.parametrize("text", ["", "{}", '{"v": 1}', "[1]", '{"v": 2, "index": 1}', "\0" * 99, '{"v":1,"index":-1}'])  # fmt: skip
def test_a_damaged_cursor_is_not_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "siem.json").write_text(text)
    sink = Receiver()
    with pytest.raises(SettingsError, match="damaged") as caught:
        pump(make_log(), tmp_path, sink).run(follow=False)
    assert "Delete it" in str(caught.value.hint)
    assert sink.got == []


def test_a_cursor_ahead_of_the_log_stops_everything(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 9)
    pump(log, tmp_path, Receiver()).run(follow=False)
    older, sink = make_log(), Receiver()
    fill(older, 4)
    with pytest.raises(AuditBrokenError, match="ahead of the log: 10 entries were delivered, and it has 5"):
        pump(older, tmp_path, sink).run(follow=False)
    assert sink.got == []


def test_a_cursor_of_another_log_stops_everything(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 9)
    pump(log, tmp_path, Receiver()).run(follow=False)
    for other, error in (
        (make_log(origin="other.example/audit"), SettingsError),
        (make_log(instance="another"), AuditBrokenError),
    ):
        fill(other, 30)
        sink = Receiver()
        with pytest.raises(error):
            pump(other, tmp_path, sink).run(follow=False)
        assert sink.got == []


def test_a_cursor_of_another_address_stops_everything(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 3)
    pump(log, tmp_path, Receiver()).run(follow=False)
    file = CursorFile(tmp_path, "siem")
    file.save(replace(cursor(tmp_path), to="0" * 64))
    with pytest.raises(SettingsError, match="another address"):
        pump(log, tmp_path, Receiver()).run(follow=False)


def test_two_processes_do_not_stream_to_one_destination(tmp_path: Path) -> None:
    file = CursorFile(tmp_path, "siem")
    with file.held(), pytest.raises(SettingsError, match="another process"):
        pump(make_log(), tmp_path, Receiver()).run(follow=False)


def test_an_entry_that_was_changed_is_not_sent(tmp_path: Path) -> None:
    class Rewritten(MemoryStore):
        def rows(self, start: int, stop: int) -> Any:
            for row in super().rows(start, stop):
                yield row._replace(data=row.data.replace(b"d-3", b"d-4")) if row.seq == 4 else row

    log, sink = make_log(Rewritten()), Receiver()
    fill(log, 9)
    with pytest.raises(AuditBrokenError, match="entry 4 was changed"):
        pump(log, tmp_path, sink).run(follow=False)
    assert sink.got == []


@pytest.mark.parametrize(
    ("entries", "said"), [(4, "shrank to 5 entries"), (20, "not those of the log's tree")]
)
def test_an_old_copy_put_in_place_while_it_is_followed_is_told_of_with_what_to_do(
    entries: int, said: str
) -> None:
    """As a dump of the database that is restored beneath it, and perhaps written to since."""
    followed, restored = make_log(), make_log(instance="another")
    fill(followed, 9)
    fill(restored, entries)
    with pytest.raises(AuditBrokenError, match=said) as caught:
        LogSource(restored).read(followed.store.frontier())
    assert "mlgov audit verify" in (caught.value.hint or "")


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_frontier_of_an_earlier_tree_is_that_of_then(first: int, more: int) -> None:
    store = MemoryStore()
    if first:
        store.append([draft(n) for n in range(first)])
    then = store.frontier()
    if more:
        store.append([draft(n) for n in range(first, first + more)])
    assert frontier_at(store, first) == then


@given(st.builds(
    Cursor, name=ROUGH, to=ROUGH, shown=ROUGH, origin=ROUGH, index=st.integers(0, 2**53), root=st.just("ab" * 32),
    saved_at=ROUGH,
), ROUGH)  # fmt: skip
def test_a_cursor_reads_back(known: Cursor, what: str) -> None:
    assert parse_cursor(known.to_bytes()) == known
    assert parse_cursor(known.in_trouble(what, "t").to_bytes()).trouble is not None


def test_a_log_in_postgresql_streams_like_any_other(postgres: PostgresServer, tmp_path: Path) -> None:
    from governance.audit.postgres import PostgresStore

    store = PostgresStore(postgres.new_database())
    log, sink = make_log(store), Receiver()
    fill(log, 300)
    store.settle(timeout=30)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 301
    fill(log, 5)
    store.settle(timeout=30)
    assert pump(log, tmp_path, sink).run(follow=False).entries == 5
    assert sink.got == list(range(306))
    log.close()


def test_lag_is_counted_from_the_cursor(tmp_path: Path) -> None:
    log = make_log()
    fill(log, 9)
    pump(log, tmp_path, Receiver()).run(follow=False)
    fill(log, 3)
    (tmp_path / "torn.json").write_text("{")
    clock = Clock(START)
    clock.at = next(iter(log.find(correlation="c-2"))).entry.at
    found = {
        each.name: each
        for each in lags(LogSource(log), tmp_path, [("new", "file:/x")], now=START.replace(year=2027))
    }
    assert (found["siem"].entries, found["siem"].problem) == (3, None)
    assert found["siem"].seconds > 300 * 86_400
    assert (found["new"].entries, found["new"].is_started) == (13, False)
    assert isinstance(found["torn"].problem, SettingsError)


# --- files -----------------------------------------------------------------------------------------------------------


def messages(count: int, log: AuditLog | None = None) -> list[Message]:
    log = log or make_log()
    fill(log, count - 1)
    return [Message(stored=stored, line=stored.data) for stored in log.find()]


def test_a_line_that_a_crash_cut_short_is_taken_away(tmp_path: Path) -> None:
    path, lines = tmp_path / "out", messages(4)
    whole = b"".join(each.line + b"\n" for each in lines)
    for torn in (b"", b'{"at', whole[:-3], whole[:-1], whole + bytes(5_000), bytes(3)):
        path.write_bytes(torn)
        sink = FileSink(path)
        sink.send(lines)
        sink.close(gracefully=True)
        assert path.read_bytes() == torn[: torn.rfind(b"\n") + 1] + whole


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path, lines = tmp_path / "out", messages(2)
    sink = FileSink(path)
    sink.send(lines[:1])
    path.rename(tmp_path / "out.1")
    sink.send(lines[1:])
    sink.close(gracefully=True)
    assert path.read_bytes() == lines[1].line + b"\n"
    assert (tmp_path / "out.1").read_bytes() == lines[0].line + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"SQLite format 3\0 and pages\n{ of the log itself",
        b"a letter, without an end of line",
        b"first\nsecond\n",
        b'{"id":1}\nnotes of somebody',
        b"\0" * 9 + b"\1",
        b'{"id":1}\n{' + b"x" * (1 << 20),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="something else than lines of entries"):
        FileSink(path).send(messages(2))
    assert path.read_bytes() == content


@pytest.mark.parametrize("rotated", ["moved", "cut"])
def test_a_file_that_is_rotated_while_it_is_written_gets_the_batch_again(
    tmp_path: Path, rotated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines may have come too late for whoever packed the old file."""
    path, lines = tmp_path / "out", messages(3)
    sink = FileSink(path)
    sink.send(lines[:1])
    flush = os.fsync

    def rotate(descriptor: int) -> None:
        flush(descriptor)
        if rotated == "moved":
            path.rename(tmp_path / "out.1")
        else:
            os.truncate(path, 0)

    monkeypatch.setattr(os, "fsync", rotate)
    with pytest.raises(TransferError, match="moved or cut"):
        sink.send(lines[1:])
    monkeypatch.undo()
    sink.send(lines[1:])
    sink.close(gracefully=True)
    assert path.read_bytes() == b"".join(each.line + b"\n" for each in lines[1:])


def test_only_regular_files_of_ones_own(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, error in (("pipe", SettingsError), ("folder", TransferError), ("none/out", TransferError)):
        with pytest.raises(error):
            FileSink(tmp_path / name).send(messages(1))
    first = FileSink(tmp_path / "out")
    first.send(messages(1))
    with pytest.raises(SettingsError, match="another process"):
        FileSink(tmp_path / "out").send(messages(1))
    first.close(gracefully=True)


# --- syslog ----------------------------------------------------------------------------------------------------------


def stored_with(subject: str, **more: Any) -> Stored:
    entry = Entry(
        id="01a20581-bea4-7915-bee6-e6b6c4a33c2a", at=START, kind=EntryKind.HOLD, correlation="c", subject=subject,
        writer=Writer(instance="host", boot="b", n=1), body={"held": True, "reason": subject, **more},
    )  # fmt: skip
    return Stored(index=12, entry=entry, data=canonical_bytes({"reason": subject, **more}))


@given(ROUGH, ROUGH)
def test_no_name_can_break_a_message(subject: str, origin: str) -> None:
    stored = stored_with(subject or "x")
    raw = replace(FORM, origin=origin, host=subject).message(Message(stored=stored, line=stored.data))
    assert all(0x20 <= byte <= 0x7E for byte in raw)
    found = parse_message(raw)
    assert json.loads(found.text) == json.loads(stored.data)
    assert canonical_bytes(json.loads(found.text)) == stored.data  # so the leaf can be had from it
    assert found.data["index"] == "12"
    assert framed(raw) == str(len(raw)).encode() + b" " + raw


@given(st.integers(2_048, 9_000), st.integers(0, 9_000), st.sampled_from(["\u00fc", "\U0001f600", "a", '"']))
def test_no_message_is_longer_than_the_limit(most: int, size: int, mark: str) -> None:
    stored = stored_with(mark * size)
    raw = replace(FORM, max_message=most, host="h" * 300, origin="\\" * 300).message(
        Message(stored=stored, line=stored.data)
    )
    assert len(raw) <= most
    told = json.loads(parse_message(raw).text)
    assert told.get("omitted_bytes") == len(stored.data) or told == json.loads(stored.data)


def test_severities_tell_what_to_look_at() -> None:
    def severity(kind: EntryKind, **body: Any) -> int:
        stored = stored_with("x")
        stored = replace(stored, entry=replace(stored.entry, kind=kind, body=body))
        return parse_message(FORM.message(Message(stored=stored, line=b"{}"))).priority - 13 * 8

    assert severity(EntryKind.DECISION, verdict={"refused": True}) == 4
    assert severity(EntryKind.DECISION, verdict={"refused": False}) == 6
    assert severity(EntryKind.OUTCOME, status="failed") == 3
    assert severity(EntryKind.SIGNATURE, event="rejected") == 4
    assert severity(EntryKind.WAIVER) == 5
    assert severity(EntryKind.EXPORT) == 6


def test_the_three_characters_are_escaped() -> None:
    assert sd_value('a"b\\c]d\n\x1bé') == 'a\\"b\\\\c\\]d???'
    assert ascii_json('{"a":"é\U0001f600\x7f\x9b"}'.encode()) == '{"a":"\\u00e9\\ud83d\\ude00\\u007f\\u009b"}'
    assert parse_canonical(b'{"a":"x"}') == {"a": "x"}


# --- destinations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [
    "file:relative", "ftp://x", "https://", "https://u:p@h/x", "http://example.org/x", "syslog+tls://", "syslog+tls://h/x",
    "syslog+tls://h:99999", "https://h/x#y", "file:/a b", "", "syslog://h", "https://h/\r\nX: y",
    "syslog+tcp://" + "a" * 64 + ".example", "https://a..b/x", "syslog+udp://ä..b",
])  # fmt: skip
def test_what_is_no_destination(to: str) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Destination(name="x", to=to, secret_file=Path("/s"))
    assert "u:p" not in str(caught.value)


def test_a_message_that_no_datagram_can_hold_is_no_setting() -> None:
    """It would be tried for ever."""
    with pytest.raises(ValueError, match="over UDP"):
        Destination(name="x", to="syslog+udp://h", max_message=65_001)


def test_a_webhooks_path_is_never_shown() -> None:
    found = Destination(name="x", to="https://hooks.example.org/T000/SECRET?k=v", secret_file=Path("/s"))
    assert found.shown == "https://hooks.example.org/…"
    assert "SECRET" not in repr(found)
    assert "SECRET" not in name_of(found.to)
    assert name_of("syslog+tls://siem.example:6514").startswith("syslog-tls-siem-example-")


def test_a_sqlite_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    log, sink, stop = make_log(SqliteStore(tmp_path / "log")), Receiver(), threading.Event()
    reading = threading.Thread(
        target=lambda: pump(log, tmp_path, sink, stop=stop, poll=0.01).run(follow=True)
    )
    reading.start()
    fill(log, 300)
    wait_for(lambda: len(sink.got) == 301)
    stop.set()
    reading.join(10)
    assert sink.got == list(range(301))
    log.close()


def wait_for(what: Callable[[], bool]) -> None:
    event = threading.Event()
    for _ in range(1_000):
        if what():
            return
        event.wait(0.02)
    raise AssertionError("it did not come to pass")
