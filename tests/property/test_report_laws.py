"""Laws of reports: every entry is counted once, whatever the period; a part of a log proves itself, and nothing can be taken
out of it; the sample is that of a pencil; a spreadsheet finds no formula.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.audit.bodies import key_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.verify_log import BadLogError, check
from governance.model.verdict import Effect, Mode
from governance.report.book import Report
from governance.report.editions import AUDIT
from governance.report.entries import RESULTS
from governance.report.filling import Sampler
from governance.report.to_csv import cell_text
from tests.audit_tools import START, StillClock
from tests.report_tools import decide, figure, folder_of, report_on, rows, signed_log, table

events = st.lists(
    st.tuples(
        st.integers(min_value=-3, max_value=9),  # hours by which the clock moves: it may be set back
        st.sampled_from([*Effect, None]),
        st.sampled_from(list(Mode)),
        st.sampled_from(["production", "staging", "-", "=1"]),
        st.booleans(),
    ),
    max_size=12,
)
moments = st.none() | st.integers(min_value=-5, max_value=60)


def story(entries: list[tuple[int, Effect | None, Mode, str, bool]]) -> AuditLog:
    clock = StillClock()
    log = signed_log(clock)
    for number, (hours, effect, mode, environment, is_finished) in enumerate(entries):
        clock.at += timedelta(hours=hours)
        if effect is None:
            log.append(
                EntryKind.KEY, key_body(event="made", key_id=f"k{number}"), subject="keys", correlation="c"
            )
        else:
            more: dict[str, object] = {} if is_finished else {"status": None}
            decide(log, name=f"m{number % 3}", decision=effect, mode=mode, environment=environment, **more)  # type: ignore[arg-type]
    return log


def rows_of(made: Report, name: str) -> list[tuple[object, ...]]:
    return list(table(made, name).rows())


@settings(max_examples=20, deadline=None)
@given(entries=events, since=moments, until=moments)
def test_each_entry_of_a_period_is_counted_once(
    entries: list[tuple[int, Effect | None, Mode, str, bool]], since: int | None, until: int | None
) -> None:
    log = story(entries)
    start = None if since is None else START + timedelta(hours=since)
    end = None if until is None else START + timedelta(hours=until)
    inside = [
        each.entry
        for each in log.find()
        if (start is None or each.entry.at >= start) and (end is None or each.entry.at < end)
    ]
    decisions = [each for each in inside if each.kind is EntryKind.DECISION]
    with report_on(log, since=start, until=end) as made:
        assert made.extent.entries == made.extent.selected == len(inside)
        kinds = {str(row["kind"]): row["entries"] for row in rows(made, "by-kind")}
        assert kinds.get("Sum", 0) == len(inside)
        assert kinds.get("decision", 0) == len(decisions) == figure(made, "population", "Decisions")
        for name in ("by-action", "by-environment", "by-mode", "by-decision"):
            *parts, last = rows(made, name) or [{"sum": 0} | dict.fromkeys(RESULTS, 0)]
            assert last["sum"] == len(decisions)
            assert last["sum"] == sum(int(str(last[result])) for result in RESULTS)
            assert all(row["sum"] == sum(int(str(row[result])) for result in RESULTS) for row in parts)
            assert sum(int(str(row["sum"])) for row in parts) == len(decisions)
        assert [row["id"] for row in rows(made, "decisions")] == [each.id for each in decisions]
        assert [row.id for row in made.decisions()] == [each.id for each in decisions]
        unfinished = {row["id"] for row in rows(made, "unfinished")}
        ended = {str(each.entry.body["decision"]) for each in log.find(kind=EntryKind.OUTCOME)}
        assert unfinished == {each.id for each in decisions} - ended
        counts, pieces = dict(made.counts), set(rows_of(made, "others"))
        assert {kind for _, _, kind, *_ in pieces} <= set(kinds)
    with report_on(log, outline=AUDIT, since=start, until=end) as short:
        assert dict(short.counts) == counts, "both editions count the same"
        assert set(rows_of(short, "others")) == pieces
        assert [row["id"] for row in rows(short, "decisions")] == [each.id for each in reversed(decisions)]
        assert {row["id"] for row in rows(short, "unfinished")} == unfinished


@settings(max_examples=12, deadline=None)
@given(entries=events, since=moments, until=moments, with_entries=st.booleans(), which=st.integers(0, 200))
def test_a_part_proves_itself_and_nothing_can_be_taken_out_of_it(
    entries: list[tuple[int, Effect | None, Mode, str, bool]],
    since: int | None,
    until: int | None,
    with_entries: bool,
    which: int,
) -> None:
    log = story(entries)
    assert log.key is not None
    start = None if since is None else START + timedelta(hours=since)
    end = None if until is None else START + timedelta(hours=until)
    folder = Path(tempfile.mkdtemp()) / "report"
    try:
        folder_of(log, folder, *(("jsonl",) if with_entries else ("csv",)), since=start, until=end, sample=3)
        assert check(folder, log.key.vkey).startswith("Good: ")
        part = json.loads((folder / "range.json").read_bytes())
        lines = (folder / "entries.jsonl").read_bytes().splitlines(True) if with_entries else []
        if part["whole"] and lines:
            gone = which % len(lines)
            (folder / "entries.jsonl").write_bytes(
                b"".join(line for at, line in enumerate(lines) if at != gone)
            )
            with pytest.raises(BadLogError):
                check(folder)
    finally:
        shutil.rmtree(folder.parent)


@given(
    ids=st.sets(st.text(min_size=1, max_size=8), max_size=60),
    seed=st.text(min_size=1, max_size=8),
    size=st.integers(0, 20),
)
def test_the_sample_is_the_smallest_hashes_whatever_the_order(ids: set[str], seed: str, size: int) -> None:
    sampler = Sampler(seed=seed, size=size)
    for one in ids:
        sampler.offer(one)
    by_hand = sorted(ids, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())[:size]
    assert list(sampler.ids()) == by_hand


@given(
    cells=st.lists(
        st.none() | st.integers() | st.text(alphabet=st.characters(codec="utf-8"), max_size=12)
        | st.sampled_from(["=1+1", "+1", "-2", "@x", "\tx", "\r=x", "\n=x", "  =x", "\uff1dx", '"', ",", '","=1', "a\r\nb", "\x1b[31m"]),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_no_cell_is_a_formula_and_none_is_lost(cells: list[str | int | None]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([cell_text(cell) for cell in cells])
    (back,) = list(csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True)) or [[""]]
    assert len(back) == len(cells)
    for cell, text in zip(cells, back, strict=True):
        if isinstance(cell, str):
            assert not text.lstrip(" ").startswith(
                ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
            )
            assert all(char.isprintable() or char in "\t\n" or not char.isascii() for char in text)
            if cell.isascii() and cell.isalnum():
                assert text == cell
        else:
            assert text == ("" if cell is None else str(cell))
