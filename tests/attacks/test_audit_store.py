"""A SQLite log against somebody who edits its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from governance.audit.bodies import signature_body
from governance.audit.entry import Entry, EntryKind, evidence_digest, parse_entry
from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hash
from governance.audit.sqlite import SqliteStore
from governance.audit.store import draft_of
from governance.audit.verify_log import check
from governance.errors import AuditBrokenError, AuditError, AuditUnavailableError
from governance.model.digest import Sha256
from governance.model.request import new_id
from tests.audit_tools import START, database_of, fill, make_log, tamper
from tests.report_tools import rest


def open_log(path: Path) -> AuditLog:
    return make_log(SqliteStore(path))


@pytest.fixture(name="path")
def filled(tmp_path: Path) -> Path:
    log = open_log(tmp_path / "audit.sqlite")
    fill(log, 9)
    log.close()
    return tmp_path / "audit.sqlite"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET data = x'00' WHERE seq = 3", "DELETE FROM entry WHERE seq = 9", "DELETE FROM head",
        "UPDATE head SET size = 2", "DELETE FROM evidence", "INSERT OR REPLACE INTO head VALUES (1, 0, x'')",
        "UPDATE entry SET subject = 'elsewhere'",
    ],
)  # fmt: skip
def test_triggers_stop_mistakes(path: Path, statement: str) -> None:
    with database_of(path) as connection:
        connection.execute("INSERT INTO evidence VALUES ('a', 'b', 'c', 1, x'00')")
        connection.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(apsw.ConstraintError):
            connection.execute(statement)


def changed(data: bytes) -> bytes:
    return data.replace(b'"done"', b'"nope"')


@pytest.mark.parametrize(
    ("statements", "index", "said"),
    [
        (("UPDATE entry SET data = CAST(replace(data, 'done', 'nope') AS BLOB) WHERE seq = 4",), 4, "the leaf hash differs"),
        (("UPDATE entry SET subject = 'models/b' WHERE seq = 4",), 4, "filed under another subject"),
        (("UPDATE entry SET subject = CAST(x'6d6fff' AS TEXT) WHERE seq = 4",), 4, "filed under another subject"),
        (("UPDATE entry SET id = CAST(x'ff' AS TEXT) WHERE seq = 4",), 4, "filed under another id"),
        (("UPDATE entry SET kind = 'start' WHERE seq = 4",), 4, "filed under another kind"),
        (("UPDATE entry SET at = '2020' WHERE seq = 4",), 4, "filed under another time"),
        (("UPDATE entry SET correlation = 'x' WHERE seq = 4",), 4, "filed under another correlation"),
        (("DELETE FROM entry WHERE seq = 4",), 4, "entries were removed or added"),
        (("DELETE FROM entry WHERE seq = 9",), None, "the log's head counts 10 entries, and there are 9"),
        (("UPDATE head SET frontier = zeroblob(64)",), None, "another root"),
    ],
)  # fmt: skip
def test_the_first_bad_entry_is_named(
    path: Path, statements: tuple[str, ...], index: int | None, said: str
) -> None:
    tamper(path, *statements)
    log = open_log(path)
    verification = log.verify()
    assert said in str(verification.problems[0])
    assert verification.problems[0].index == index
    with pytest.raises(AuditBrokenError) as caught:
        verification.require_good()
    assert caught.value.index == index
    log.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("subject", 'models/\\"a\\"'),  # what the bytes hold for it
        ("subject", 'models/"a'),
        ("correlation", 'c","id":"x'),
        ("kind", 'outcome","subject":"models/'),
    ],
)
def test_columns_that_read_like_the_bytes_are_other_columns(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "audit.sqlite"
    log = open_log(path)
    fill(log, 3, subject='models/"a"')
    assert log.verify().problems == ()
    log.close()
    tamper(path, f"UPDATE entry SET {column} = ? WHERE seq = 2", values=(value,))
    log = open_log(path)
    assert [(each.index, each.what) for each in log.verify().problems] == [
        (2, f"it is filed under another {column} than its bytes say")
    ]
    log.close()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 700), (1, 2), (255, 257), (256, 512), (300, 699), (512, 700), (700, 700)]
)
def test_a_range_is_checked_against_the_tree_alone(tmp_path: Path, start: int, stop: int) -> None:
    log = open_log(tmp_path / "a.sqlite")
    fill(log, 699)
    good = log.verify_range(start, stop)
    assert good.problems == ()
    assert good.size == stop
    with pytest.raises(ValueError, match="no entries"):
        log.verify_range(start, 701)
    log.close()
    data = b"{}"
    tamper(
        tmp_path / "a.sqlite",
        "UPDATE entry SET data = ?, leaf = ? WHERE seq = 400",
        values=(data, leaf_hash(data)),
    )
    log = open_log(tmp_path / "a.sqlite")
    assert log.verify_range(start, stop).is_good is not (start <= 400 < stop)
    log.close()


def test_an_entry_and_its_hash_changed_together_show_in_the_root(path: Path) -> None:
    with database_of(path) as connection:
        row: Any = next(connection.execute("SELECT data FROM entry WHERE seq = 4"))
    data = changed(row[0])
    tamper(path, "UPDATE entry SET data = ?, leaf = ? WHERE seq = 4", values=(data, leaf_hash(data)))
    log = open_log(path)
    assert "another root" in str(log.verify().problems[0])
    log.close()


def test_a_log_rewritten_as_a_whole_shows_against_a_remembered_root(tmp_path: Path) -> None:
    honest = open_log(tmp_path / "a.sqlite")
    fill(honest, 9)
    remembered = {honest.checkpoint().size: honest.checkpoint().root}
    honest.close()
    forged = open_log(tmp_path / "b.sqlite")
    fill(forged, 12, subject="models/b")
    assert forged.verify().is_good
    verification = forged.verify(remembered)
    assert "it was rewritten" in str(verification.problems[0])
    assert verification.problems[0].index == 9
    forged.close()


def test_a_rolled_back_log_shows_against_a_remembered_root(tmp_path: Path) -> None:
    log = open_log(tmp_path / "a.sqlite")
    fill(log, 3)
    verification = log.verify({100: b"\x00" * 32})
    assert "a remembered tree had 100 entries; the log now ends at 4" in str(verification.problems[0])
    log.close()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM entry WHERE seq = 9", "INSERT INTO entry SELECT 10, 'x', at, kind, '', '', leaf, data FROM entry WHERE seq = 1"]
)  # fmt: skip
def test_nothing_is_appended_to_a_log_whose_head_disagrees(path: Path, statement: str) -> None:
    tamper(path, statement)
    log = open_log(path)
    with pytest.raises(AuditBrokenError, match="entries were removed or added"):
        fill(log, 1)
    log.close()


@pytest.mark.parametrize(
    ("wreck", "said"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough to look" * 30), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192 + path.read_bytes()[12288:]), "damaged"),
    ],
)  # fmt: skip
def test_a_wrecked_file_is_refused(path: Path, wreck: Callable[[Path], object], said: str) -> None:
    wreck(path)
    with pytest.raises(AuditError, match=said):  # noqa: PT012 - any of the steps may see it first
        log = open_log(path)
        try:
            fill(log, 1)
            log.verify().require_good()
        finally:
            log.close()


@pytest.mark.parametrize("value", ["CAST(data AS TEXT)", "NULL", "7"])
def test_a_table_made_anew_to_hold_anything_is_refused(path: Path, value: str) -> None:
    columns = "seq INTEGER PRIMARY KEY, id, at, kind, subject, correlation, leaf, data"
    with database_of(path) as connection:
        connection.execute(
            f"CREATE TABLE other ({columns}); INSERT INTO other SELECT * FROM entry; DROP TABLE entry;"
            f"ALTER TABLE other RENAME TO entry; UPDATE entry SET data = {value} WHERE seq = 4"
        )
    for only_reads in (False, True):
        with pytest.raises(AuditBrokenError, match="its table `entry` is not as this program made it"):
            SqliteStore(path, only_reads=only_reads)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with database_of(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE mine (a)")
    with pytest.raises(AuditBrokenError, match="not an audit log"):
        SqliteStore(tmp_path / "other.sqlite")


def test_a_newer_version_is_refused(path: Path) -> None:
    with database_of(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(AuditBrokenError, match="version 99"):
        SqliteStore(path)


def test_a_file_replaced_while_in_use_is_noticed_before_anything_is_lost(path: Path) -> None:
    log = open_log(path)
    fill(log, 1)
    path.unlink()
    with pytest.raises(AuditError, match=r"replaced|No such file"):
        fill(log, 1)
    path.write_bytes(b"")
    with pytest.raises(AuditError, match="replaced"):
        fill(log, 1)
    log.close()


def test_a_missing_log_is_not_made_when_only_reading(tmp_path: Path) -> None:
    with pytest.raises(AuditUnavailableError, match="no audit log"):
        SqliteStore(tmp_path / "none.sqlite", may_create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_new_log_is_private(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("audit.sqlite.lock").stat().st_mode & 0o777 == 0o600


@pytest.fixture(name="kept")
def with_documents(tmp_path: Path) -> tuple[Path, list[str]]:
    """A log that keeps three documents: two of its decisions, and one that retention has erased."""
    log = open_log(tmp_path / "audit.sqlite")
    fill(log, 300)
    names = [b"one", b"two", b"three"]
    for name in names:
        digest = evidence_digest(name)
        log.append(
            EntryKind.SIGNATURE,
            signature_body(event="made", digest="d", key_id="k", bundle=digest),
            subject="models/a", correlation="c", evidence=(name,),
        )  # fmt: skip
    erased = str(evidence_digest(b"three"))
    log.append(EntryKind.ERASURE, {"digests": [erased], "reason": "old"}, subject="a", correlation="a")
    log.store.erase([Sha256(erased)])
    log.close()
    return tmp_path / "audit.sqlite", [str(evidence_digest(name)) for name in names]


def test_documents_beside_a_log_that_are_as_they_should_be(
    kept: tuple[Path, list[str]], tmp_path: Path
) -> None:
    log = open_log(kept[0])
    assert log.verify().problems == ()
    assert "2 documents" in check(log.export(tmp_path / "out").folder)
    log.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE evidence SET body = x'00' WHERE sha256 = ?", "that it names was changed"),
        ("UPDATE evidence SET body = NULL WHERE sha256 = ?", "that it names was removed, and no entry says"),
        ("UPDATE evidence SET sha256 = '../../out.txt' WHERE sha256 = ?", "../../out.txt was changed"),
    ],
)  # fmt: skip
def test_a_document_that_was_changed_or_removed_is_named(
    kept: tuple[Path, list[str]], tmp_path: Path, statement: str, what: str
) -> None:
    path, names = kept
    tamper(path, statement, values=(names[1],))
    log = open_log(path)
    (problem,) = log.verify().problems
    assert what in str(problem)
    if ".." not in what:
        assert (problem.index, names[1] in str(problem)) == (302, True), "the first entry that rests on it"
    with pytest.raises(AuditBrokenError, match="is not handed out as if it were whole"):
        log.export(tmp_path / "deep" / "out")
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "deep" / "out").exists()
    log.close()


@pytest.mark.parametrize("kind", ["decision", "outcome", "policy"])
def test_a_document_removed_with_all_traces_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.sqlite"
    log = open_log(path)
    rest(log, kind)
    log.export(tmp_path / "out")
    log.close()
    tamper(path, "DELETE FROM evidence WHERE category = ?", values=(kind,))
    log = open_log(path)
    (problem,) = log.verify().problems
    assert problem.index == 1
    assert "is not there, and no entry says that it was erased" in problem.what
    with pytest.raises(AuditBrokenError, match="is not handed out as if it were whole"):
        log.export(tmp_path / "again")
    log.close()


def test_a_clients_word_erases_no_document(kept: tuple[Path, list[str]]) -> None:
    path, names = kept
    log = open_log(path)
    sender = replace(parse_entry(next(log.store.rows(1, 2)).data).writer, instance="mallory/laptop")
    entry = Entry(
        id=new_id(START), at=START, kind=EntryKind.ERASURE, writer=replace(sender, n=1, boot="b"), correlation="c", subject="a",
        body={"digests": [names[0]], "reason": "x"},
    )  # fmt: skip
    log.store.append([draft_of(entry)])
    log.close()
    tamper(path, "UPDATE evidence SET body = NULL WHERE sha256 = ?", values=(names[0],))
    log = open_log(path)
    (problem,) = log.verify().problems
    assert (problem.index, "no entry says that it was erased" in problem.what) == (301, True)
    log.close()
