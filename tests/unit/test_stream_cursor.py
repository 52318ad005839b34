"""The cursor of a stream and its log: lost, damaged, of another log, and what is behind it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.memory import MemoryStore
from governance.errors import AuditBrokenError, SettingsError
from governance.stream.cursor import Cursor, CursorFile, parse_cursor
from governance.stream.lag import lags
from governance.stream.source import LogSource, frontier_at
from tests.audit_tools import START, Clock, draft, fill, make_log
from tests.unit.stream_kit import ROUGH, Receiver, cursor, pump


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
