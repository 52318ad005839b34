"""What a newer version of the program wrote is not called broken by an older one, and not good either.

The older one is this program without the kind `hold`, or before the version of the entries that it reads here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from governance.audit import entry as entries
from governance.audit import verify_log
from governance.audit.entry import KINDS, EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.retention import set_hold
from governance.audit.sqlite import SqliteStore
from governance.audit.verification import Problem
from governance.cli.audit_places import end_broken
from governance.cli.exits import exit_code
from governance.errors import AuditBrokenError, NewerLogError
from governance.report.search import Search
from governance.report.selection import parse_selection
from tests.audit_tools import database_of, fill, make_log, tamper
from tests.report_tools import report_on

KIND = "an entry of kind `hold`, which this program does not know: a newer one may have written it"
VERSION = "an entry of version 2, which this program does not know: a newer one may have written it"
NEWER = 4
"""The newer entry's number in `write`'s log."""


def write(log: AuditLog, *, version: int = 1) -> None:
    """A log of nine entries by one writer, one of them newer."""
    fill(log, 3)
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(entries, "VERSION", version)
        set_hold(log, "models/a", held=True, reason="a case", by="alice")
    fill(log, 4)


@contextmanager
def an_older_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as older:
        older.delitem(KINDS, "hold")
        older.setattr(verify_log, "KINDS", verify_log.KINDS - {"hold"})
        yield


@pytest.mark.parametrize(("version", "what"), [(1, KIND), (2, VERSION)])
@pytest.mark.parametrize("make", [MemoryStore, None])
def test_a_newer_entry_is_neither_good_nor_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, what: str, make: type[MemoryStore] | None
) -> None:
    log = make_log(make() if make else SqliteStore(tmp_path / "a.sqlite"))
    write(log, version=version)
    with an_older_program(monkeypatch):
        found = log.verify()
        assert found.problems == (Problem(NEWER, what, is_newer=True),), "no number is missing, for one"
        assert (found.is_good, found.is_newer) == (False, True)
        with pytest.raises(NewerLogError, match="too old for this log, in which nothing else") as told:
            found.require_good()
        assert (told.value.index, exit_code(told.value)) == (NEWER, 3)
        assert log.verify_range(0, NEWER).is_good
    assert version == 2 or log.verify().is_good
    log.close()


def test_a_break_is_one_beside_any_number_of_newer_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sqlite"
    log = make_log(SqliteStore(path))
    for _ in range(120):
        set_hold(log, "models/a", held=True, reason="a case", by="alice")
    fill(log, 2)
    tamper(path, "UPDATE entry SET data = CAST(replace(data, 'upload', 'delete') AS BLOB) WHERE seq = 122")
    with an_older_program(monkeypatch):
        found = log.verify()
        assert not found.is_newer
        with pytest.raises(
            AuditBrokenError, match="does not prove itself: entry 122: its bytes are not"
        ) as told:
            found.require_good()
        assert exit_code(told.value) == 4
    log.close()


def test_an_entry_that_was_made_to_look_newer_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    log = make_log(SqliteStore(path))
    fill(log, 3)
    tamper(path, """UPDATE entry SET data = CAST(replace(data, '"v":1', '"v":2') AS BLOB) WHERE seq = 2""")
    assert not log.verify().is_newer
    search = Search(log, parse_selection(""))
    list(search)
    assert search.broken == [Problem(2, "the entry was changed after it was recorded")]
    log.close()


def test_a_newer_entry_that_is_filed_as_something_else_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sqlite"
    log = make_log(SqliteStore(path))
    write(log)
    tamper(path, f"UPDATE entry SET subject = 'models/b' WHERE seq = {NEWER}")
    with an_older_program(monkeypatch):
        assert [str(each) for each in log.verify().problems if not each.is_newer] == [
            f"entry {NEWER}: it is filed under another subject than its bytes say"
        ]
    log.close()


def test_a_search_says_that_the_program_is_too_old_and_not_that_nothing_can_be_trusted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(MemoryStore())
    write(log)
    with an_older_program(monkeypatch):
        search = Search(log, parse_selection("kind:outcome"))
        assert len(list(search)) == 7
    with pytest.raises(NewerLogError, match="too old for 1 of the log's entries"):
        end_broken(search.broken)
    assert f"! entry {NEWER}: {KIND}" in capsys.readouterr().err.replace("\n", " ")


def test_no_report_is_made_without_what_newer_programs_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(MemoryStore())
    write(log)
    size = log.store.frontier().size
    with an_older_program(monkeypatch), pytest.raises(NewerLogError), report_on(log):
        pass
    assert log.store.frontier().size == size, "none is on record as made"


@pytest.mark.parametrize(("version", "steps"), [(1, ""), (2, ", but for steps 4 and 5,")])
def test_an_older_verifier_says_that_it_is_too_old_for_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, steps: str
) -> None:
    log = make_log(MemoryStore())
    write(log, version=version)
    out = log.export(tmp_path / "out").folder
    with an_older_program(monkeypatch):
        with pytest.raises(verify_log.TooOldError, match=f"Everything else{steps} is in order"):
            verify_log.check(out)
        text = (out / "entries.jsonl").read_bytes()
        (out / "entries.jsonl").write_bytes(text.replace(b"a case", b"a cake"))
        with pytest.raises(verify_log.BadLogError, match=f"entry {NEWER}"):
            verify_log.check(out)
    (out / "entries.jsonl").write_bytes(text)
    program = out / "verify_log.py"
    program.write_text(program.read_text().replace('"erasure", "hold"', '"erasure"'))
    done = subprocess.run([sys.executable, program, out], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith(f"Could not be checked to the end: entry {NEWER} is of ")


def test_the_single_file_knows_what_the_program_knows() -> None:
    assert frozenset(kind.value for kind in EntryKind) == verify_log.KINDS
    assert verify_log.VERSION == entries.VERSION


def test_a_file_of_a_newer_version_is_told_as_one_to_who_only_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    make_log(SqliteStore(path)).close()
    with database_of(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerLogError, match="version 99; this program knows up to 2"):
        SqliteStore(path, only_reads=True)
