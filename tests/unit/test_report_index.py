"""The index of terms: what it finds, and what becomes of it when it is lost, damaged, behind, ahead or another log's."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.entry import KINDS, EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.retention import set_hold
from governance.audit.sqlite import SqliteStore
from governance.report.index.build import catch_up
from governance.report.index.file import IndexFile, NoIndexError
from governance.report.index.lookup import Index, Places
from governance.report.index.numbers import SEGMENT, DamagedIndexError, Numbers, every, pack, unpack
from governance.report.index.terms import UNINDEXED, TermReader, term
from governance.report.search import Search
from governance.report.selection import Selection, parse_selection
from governance.report.words import READERS
from tests.audit_tools import body, database_of, fill, make_log, tamper
from tests.property.test_selection_laws import entries
from tests.story import HOSTILE, ask, tell
from tests.unit.test_report_replay import story as long_story

SELECTIONS = (
    "", "kind:decision", "decision:block", "decision:allow,warn environment:production", "actor:alice", "model:fraud/1",
    "model:fraud-net", "subject:models/fraud/2", "refused:yes", "outcome:done action:load", "digest:" + "1" * 64,
    "rule:trial/malicious", "policy:trial kind:policy", "revision:7 decision:warn", "since:2026-11-22T12:02:00Z",
    "until:2026-11-22T12:02:00Z kind:decision", "correlation:c-2", "correlation:c-2,c-3 kind:outcome", "actor:nobody",
    "event:made", "degraded:no waived:no break-glass:no would-block:no mode:enforce",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "audit.sqlite")
    yield made
    made.close()


def found(log: AuditLog, text: str, index: Index | None) -> list[int | None]:
    return [stored.index for stored in Search(log, parse_selection(text), index)]


def test_the_index_finds_what_a_scan_finds(tmp_path: Path, store: SqliteStore) -> None:
    log = tell(tmp_path, store).log
    index = Index(store, tmp_path / "i")
    hits = 0
    for text in SELECTIONS:
        with_index = found(log, text, index)
        assert with_index == found(log, text, None), text
        hits += len(with_index)
    assert hits > 40
    assert index.notes == []


@pytest.mark.parametrize("make", [MemoryStore, None])
def test_any_store_has_an_index(tmp_path: Path, make: Any) -> None:
    log = tell(tmp_path, make() if make else SqliteStore(tmp_path / "a.sqlite")).log
    index = Index(log.store, tmp_path / "i")
    for text in SELECTIONS:
        assert found(log, text, index) == found(log, text, None), text


def test_a_longer_story_with_outages_and_hostile_names(tmp_path: Path) -> None:
    log = long_story(tmp_path).log
    index = Index(log.store, tmp_path / "i")
    everything = [stored.entry for stored in log.find()]
    words = {(word, value) for entry in everything for word, read in READERS.items() for value in read(entry)}
    assert len(words) > 30
    for word, value in words:
        name = next(name for name in ("kinds", *Selection.__slots__) if _word_of(name) == word)
        chosen: Any = (value == "yes") if value in {"yes", "no"} else (value,)
        selection = Selection(**{name: chosen})
        hits = [stored.index for stored in Search(log, selection, index, newest_first=False)]
        assert hits == [place for place, entry in enumerate(everything) if selection.matches(entry)], (
            word,
            value,
        )
        assert hits


def _word_of(name: str) -> str:
    from governance.report.selection import _TABLE

    return next((word for field, word, _ in _TABLE if field == name), "")


@given(entries())
def test_an_entry_has_the_terms_of_all_it_says(entry: Any) -> None:
    document = {
        "kind": entry.kind.value, "subject": entry.subject, "correlation": entry.correlation, "body": entry.body,
    }  # fmt: skip
    said = {
        term(word, value) for word, read in READERS.items() if word not in UNINDEXED for value in read(entry)
    }
    reader = TermReader()
    for _ in range(2):  # the second time from what is remembered
        groups = reader.entry(orjson.loads(orjson.dumps(document)), b"")
        assert {each for group in groups for each in group.terms} == said


def test_what_is_remembered_of_one_entry_is_not_said_of_another(tmp_path: Path) -> None:
    stored = next(each for each in tell(tmp_path).entries(EntryKind.DECISION))
    usual = orjson.loads(stored.data)
    reader = TermReader()
    reader.entry(usual, stored.data)
    for path, value in (
        (("verdict", "refused"), 1), (("verdict", "would_block"), 1), (("policy", "revision"), True), (("verdict", "degraded"), 7),
        (("verdict", "waived"), [{"rule": "p/r", "waiver": "w"}]), (("artifact", "digest"), None), (("policy", "names"), "trial"),
        (("verdict", "fired"), ["x/y"]), (("mlflow", "model_id"), "m-1"), (("actor", "name"), 5), (("environment",), "prod"),
    ):  # fmt: skip
        odd = orjson.loads(stored.data)
        place = odd["body"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        fresh = {each for group in TermReader().entry(odd, stored.data) for each in group.terms}
        remembered = {each for group in reader.entry(odd, stored.data) for each in group.terms}
        said = {
            term(word, each)
            for word, read in READERS.items()
            if word not in UNINDEXED
            for each in read(_view(odd))
        }
        assert fresh == remembered == said, path


def _view(document: Any) -> Any:
    from governance.report.index.terms import View

    view = View()
    view.fill(document)
    return view


def test_it_goes_on_from_where_it_stood(tmp_path: Path, store: SqliteStore) -> None:
    story = tell(tmp_path, store)
    path = tmp_path / "i"
    Index(store, path).close()
    seen: list[tuple[int, int]] = []
    for who in ("carol", "dave"):
        ask(story, 1, who)
        index = Index(store, path, progress=lambda done, size: seen.append((done, size)))
        assert index.notes == []
        assert len(found(story.log, f"actor:{who}", index)) == 1
        assert found(story.log, "", index) == found(story.log, "", None)
        index.close()
    assert all(done >= 12 for done, _ in seen)


@pytest.mark.parametrize("harm", ["lost", "text", "zeros", "cut", "format", "meta"])
def test_a_file_that_is_no_good_is_built_anew(tmp_path: Path, store: SqliteStore, harm: str) -> None:
    story = tell(tmp_path, store)
    path = tmp_path / "i"
    Index(store, path).close()
    with database_of(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if harm == "format":
            connection.execute("PRAGMA user_version = 99")
        if harm == "meta":
            connection.execute("UPDATE meta SET value = 'x'")
    data = path.read_bytes()
    if harm == "lost":
        path.unlink()
    elif harm == "text":
        path.write_bytes(b"SQLite format 3\0" + b"no database at all, but long enough to look at" * 100)
    elif harm == "zeros":
        path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    index = Index(store, path)
    assert found(story.log, "actor:alice", index) == found(story.log, "actor:alice", None)
    assert bool(index.notes) is (harm != "lost")
    assert all("is built anew" in note for note in index.notes)
    index.close()
    again = Index(store, path)
    assert again.notes == []


def test_an_index_of_another_format_is_not_called_damaged(tmp_path: Path, store: SqliteStore) -> None:
    tell(tmp_path, store)
    path = tmp_path / "i"
    Index(store, path).close()
    with database_of(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    (note,) = Index(store, path).notes
    assert note.startswith(
        "another version of this program built the index; it is built anew: it is of format 2"
    )


def test_an_older_programs_index_hides_no_entry_of_a_kind_that_it_did_not_know(
    tmp_path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(store)
    fill(log, 3)
    set_hold(log, "models/1", held=True, reason="a case", by="alice")
    hold = store.frontier().size - 1
    with monkeypatch.context() as older:
        older.delitem(KINDS, "hold")
        index = Index(store, tmp_path / "i")
        assert index.broken() == (hold,)
        index.close()
    index = Index(store, tmp_path / "i")
    assert found(log, "kind:hold", index) == [hold]
    assert index.broken() == ()
    assert index.notes == [
        "another version of this program, which knew other kinds of entries, built the index; it is built anew"
    ]
    index.close()
    assert Index(store, tmp_path / "i").notes == []


def test_a_set_that_was_changed_is_noticed_when_it_is_read(tmp_path: Path, store: SqliteStore) -> None:
    story = tell(tmp_path, store)
    path = tmp_path / "i"
    index = Index(store, path)
    with database_of(path) as connection:
        connection.execute("UPDATE posting SET places = CAST(substr(places, 1, 4) || x'07000000' AS BLOB)")
    assert found(story.log, "actor:alice", index) == found(story.log, "actor:alice", None)
    assert index.notes == [
        "the index was damaged and is built anew: a set of entries is not what was written"
    ]


def test_an_index_of_another_log_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "i"
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        store = SqliteStore(folder / "a.sqlite")
        log = make_log(store)
        fill(log, 5, subject=f"models/{name}")
        index = Index(store, path)
        assert len(found(log, f"subject:models/{name}", index)) == 5
        assert index.notes == (
            [] if name == "one" else ["the index was made from another log and is built anew"]
        )
        index.close()


def test_an_index_that_is_newer_than_the_log_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "i"
    for count in (9, 4):
        store = SqliteStore(tmp_path / f"{count}.sqlite")
        log = make_log(store)
        fill(log, count)
        index = Index(store, path)
        assert len(found(log, "", index)) == count + 1
        index.close()
    assert index.notes[0].startswith("the index knew 10 entries, and the log has 5: it is built anew")


def test_another_programs_file_is_left_alone(tmp_path: Path, store: SqliteStore) -> None:
    fill(make_log(store), 3)
    path = tmp_path / "i"
    with database_of(path) as connection:
        connection.execute("PRAGMA application_id = 77")
        connection.execute("CREATE TABLE mine (x)")
    data = path.read_bytes()
    with pytest.raises(NoIndexError, match="another program's file"):
        Index(store, path)
    assert path.read_bytes() == data


def test_a_place_where_nothing_can_be_written_has_no_index(tmp_path: Path, store: SqliteStore) -> None:
    fill(make_log(store), 3)
    with pytest.raises(NoIndexError, match="No such file or directory"):
        Index(store, tmp_path / "nowhere" / "i")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NoIndexError):
        Index(store, tmp_path / "folder")


def test_the_file_is_its_owners_alone(tmp_path: Path, store: SqliteStore) -> None:
    fill(make_log(store), 3)
    old = os.umask(0)
    try:
        Index(store, tmp_path / "i").close()
    finally:
        os.umask(old)
    assert {(path.stat().st_mode & 0o777) for path in tmp_path.glob("i*")} == {0o600}


def test_several_build_it_once(tmp_path: Path, store: SqliteStore) -> None:
    log = make_log(store)
    fill(log, 600)
    built: list[int] = []
    answers: list[int] = []

    def search() -> None:
        index = Index(
            store, tmp_path / "i", progress=lambda done, size: built.append(done) if done < size else None
        )
        answers.append(len(found(log, "outcome:done", index)))
        index.close()

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [600] * 4
    assert built == [0]


def test_entries_of_odd_shapes_are_indexed_and_broken_ones_named(tmp_path: Path, store: SqliteStore) -> None:
    log = make_log(store)
    log.append(
        EntryKind.OUTCOME, body() | {"moved": [1, 2], "status": ["x"]}, subject="models/odd", correlation="c"
    )
    fill(log, 3)
    tamper(
        tmp_path / "audit.sqlite",
        "UPDATE entry SET data = CAST(replace(data, 'upload', 'delete') AS BLOB) WHERE seq = 2",
    )
    index = Index(store, tmp_path / "i")
    assert index.broken() == (2,)
    for text in ("subject:models/odd", "outcome:done", "actor:nobody"):
        search = Search(log, parse_selection(text), index)
        list(search)
        assert [(each.index, each.what) for each in search.broken] == [
            (2, "the entry was changed after it was recorded")
        ]


def test_a_log_with_a_hole_is_scanned(tmp_path: Path, store: SqliteStore) -> None:
    log = make_log(store)
    fill(log, 4)
    tamper(tmp_path / "audit.sqlite", "DELETE FROM entry WHERE seq = 3")
    with pytest.raises(NoIndexError, match="the log is broken: the audit log lacks hashes"):
        Index(store, tmp_path / "i")
    scan = Search(log, Selection())
    assert [stored.index for stored in scan] == [4, 2, 1, 0]
    assert [(each.index, each.what) for each in scan.broken] == [(3, "the entry is missing from the log")]


def test_what_follows_is_counted_and_not_read(tmp_path: Path, store: SqliteStore) -> None:
    log = make_log(store)
    fill(log, 300)
    index = Index(store, tmp_path / "i")
    for which, text, more in ((index, "outcome:done", (298, True)), (None, "outcome:done", (298, True)),
                              (index, "outcome:done since:2026-03-01", (298, False)), (index, "actor:nobody", (0, True))):  # fmt: skip
        search = Search(log, parse_selection(text), which)
        taken = [stored for stored, _ in zip(search, range(2), strict=False)] if more[0] else list(search)
        assert len(taken) == (2 if more[0] else 0)
        left, exact = search.more()
        assert exact is more[1]
        assert left in {more[0], more[0] - 1}  # `zip` takes one more from the left


def test_segments_are_left_out_by_time(tmp_path: Path, store: SqliteStore) -> None:
    log = make_log(store)
    fill(log, 5)
    index = Index(store, tmp_path / "i")
    assert len(index.places([], since=log.get(fill(log, 1)[0]).entry.at.replace(year=2030))) == 0  # type: ignore[union-attr]
    assert len(index.places([])) == 6


PLACES = st.lists(st.integers(0, SEGMENT - 1), unique=True, max_size=60)


@given(PLACES, PLACES, st.booleans(), st.booleans())
def test_sets_are_sets(one: list[int], other: list[int], one_bits: bool, other_bits: bool) -> None:
    left, right = _numbers(one, one_bits), _numbers(other, other_bits)
    assert list((left & right).ascending()) == sorted({*one} & {*other})
    assert list((left & right).descending()) == sorted({*one} & {*other}, reverse=True)
    assert len(left & right) == len({*one} & {*other})


@given(st.lists(PLACES, max_size=4), st.booleans())
def test_parts_are_brought_together(parts: list[list[int]], is_one_large: bool) -> None:
    large = range(0, SEGMENT, 7) if is_one_large else ()
    every_part = [*parts, *([large] if large else [])]
    packed = [(b"%d" % place, pack(b"%d" % place, part)) for place, part in enumerate(every_part)]
    assert list(unpack(packed).ascending()) == sorted({*large}.union(*parts))
    assert bool(unpack(packed)) is any(every_part)


def _numbers(places: list[int], as_bits: bool) -> Numbers:
    return Numbers(None, sum(1 << place for place in places)) if as_bits else Numbers(frozenset(places))


@given(
    st.dictionaries(st.integers(0, 3), PLACES, max_size=3),
    st.lists(st.integers(0, 4 * SEGMENT), max_size=40),
    st.booleans(),
)
def test_those_besides_others_are_counted_without_going_through_them(
    segments: dict[int, list[int]], seen: list[int], as_bits: bool
) -> None:
    places = Places(
        tuple((each * SEGMENT, _numbers(found, as_bits)) for each, found in sorted(segments.items()))
    )
    asked = [*seen, *itertools.islice(places.numbers(), 5)]
    assert places.count_beside(asked) == len(set(places.numbers()) - set(asked))


def test_large_sets_are_bits() -> None:
    places = range(0, SEGMENT, 7)
    packed = pack(b"k", places)
    assert len(packed) == 4 + SEGMENT // 8
    assert list(unpack([(b"k", packed)]).ascending()) == list(places)
    assert len(every(10)) == 10
    for damaged in (packed[:-4], packed[:4] + b"\1" + packed[5:], b"", packed[:7]):
        with pytest.raises(DamagedIndexError):
            unpack([(b"k", damaged)])
    with pytest.raises(DamagedIndexError):
        unpack([(b"another key", packed)])


def test_a_batch_beyond_one_segment(
    tmp_path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small segments, as the index of a large log has many."""
    from governance.report.index import build, lookup

    monkeypatch.setattr(build, "SEGMENT_BITS", 3)
    monkeypatch.setattr(lookup, "SEGMENT_BITS", 3)
    monkeypatch.setattr(lookup, "SEGMENT", 8)
    log = make_log(store)
    fill(log, 20)
    index = Index(store, tmp_path / "i")
    fill(log, 30, subject="models/b")
    index.close()
    index = Index(store, tmp_path / "i")
    assert found(log, "subject:models/b", index) == list(range(50, 20, -1))
    assert found(log, "subject:models/a", index) == list(range(20, 0, -1))
    oldest = Search(log, Selection(), index, newest_first=False)
    assert [stored.index for stored in oldest] == list(range(51))


@pytest.mark.parametrize("segment", [0, 1])
def test_what_another_process_has_written_since_is_for_the_next_question(
    tmp_path: Path, store: SqliteStore, segment: int
) -> None:
    fill(make_log(store), 5)
    index = Index(store, tmp_path / "i")
    decisions = term("kind", EntryKind.DECISION.value)
    before = [list(index.places(wanted).numbers()) for wanted in ([], [[decisions]])]
    other = IndexFile(tmp_path / "i")
    with other.transaction():
        other.put_postings(segment, index.size, {decisions: [index.size, index.size + 1]})
        other.put_span(segment, "2026", "2027")
    assert [list(index.places(wanted).numbers()) for wanted in ([], [[decisions]])] == before
    other.close()


def test_hostile_names_are_found_by_their_own_text(tmp_path: Path, store: SqliteStore) -> None:
    story = tell(tmp_path, store)
    index = Index(store, tmp_path / "i")
    selection = replace(Selection(), actors=(HOSTILE.name,))
    hits = list(Search(story.log, parse_selection(str(selection)), index))
    assert [hit.entry.kind for hit in hits] == [EntryKind.DECISION]


def test_nothing_is_held_open_that_keeps_the_file(tmp_path: Path, store: SqliteStore) -> None:
    fill(make_log(store), 3)
    caught = catch_up(store, tmp_path / "i")
    assert caught.size == 4
    caught.file.close()
    with pytest.raises(DamagedIndexError):
        IndexFile.meta(caught.file)
