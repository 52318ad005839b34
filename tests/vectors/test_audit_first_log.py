"""A log as the program wrote it in its first version is read, judged again and written to by this one. `audit_log_1/README.md` says
what the files are; what this test needs of the old format it has from them and from itself, and not from the code that it tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.audit import verify_log
from governance.audit.deflate import SMALL
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.retention import held_subjects
from governance.audit.sqlite import SqliteStore
from governance.report.format import FORMATS
from governance.report.index.lookup import Index
from governance.report.replay_bulk import BulkReplay
from governance.report.search import Search
from governance.report.selection import Selection, parse_selection
from tests.audit_tools import database_of
from tests.report_tools import folder_of

FOLDER = Path(__file__).parent / "audit_log_1"
ORIGIN = "models.example/audit"
ROOT = "fe095740869dabc9ba25ab8625299c85955957f805037672f6e86e692f33bbc5"
SIZE, DECISIONS, BLOCKED = 36, 11, 3
NOW = datetime(2026, 1, 6, tzinfo=UTC)


def lines(name: str) -> list[bytes]:
    return (FOLDER / name).read_bytes().splitlines()


def peaks(leaves: list[bytes]) -> list[bytes]:
    """The roots of the complete subtrees (RFC 6962), largest first: what the head row holds."""
    parts: list[tuple[int, bytes]] = []
    for leaf in leaves:
        count, value = 1, leaf
        while parts and parts[-1][0] == count:
            value, count = hashlib.sha256(b"\x01" + parts.pop()[1] + value).digest(), 2 * count
        parts.append((count, value))
    return [value for _, value in parts]


def row(number: int, data: bytes) -> tuple[int | str | bytes, ...]:
    entry: dict[str, Any] = json.loads(data)
    filed = (entry[name] for name in ("id", "at", "kind", "subject", "correlation"))
    return (number, *filed, hashlib.sha256(b"\x00" + data).digest(), data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, as it lay there on the day before an upgrade."""
    made = tmp_path / "audit.sqlite"
    made.touch(mode=0o600)
    entries = [row(number, data) for number, data in enumerate(lines("entries.jsonl"))]
    with database_of(made) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute((FOLDER / "schema.sql").read_text())
        connection.execute("PRAGMA application_id = 0x6D6C676C")
        connection.execute("PRAGMA user_version = 1")
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entries)
        for each in map(json.loads, lines("documents.jsonl")):
            body = None if each["body"] is None else each["body"].encode()
            kept = (each["sha256"], each["category"], each["at"], each["size"], body)
            connection.execute("INSERT INTO evidence VALUES (?, ?, ?, ?, ?)", kept)
        head = (len(entries), b"".join(peaks([bytes(each[6]) for each in entries])))  # type: ignore[arg-type]
        connection.execute("UPDATE head SET size = ?, frontier = ?", head)
    return made


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    made = AuditLog(SqliteStore(path), now=lambda: NOW, instance="server-2", origin=ORIGIN)
    yield made
    made.close()


def version(path: Path) -> object:
    with database_of(path) as connection:
        return connection.execute("PRAGMA user_version").fetchall()[0][0]


def test_it_proves_itself_read_only_and_opened_to_be_written(path: Path, log: AuditLog) -> None:
    reader = SqliteStore(path, only_reads=True)
    for each in (AuditLog(reader, now=lambda: NOW, instance="r", origin=ORIGIN), log):
        found = each.verify()
        assert (found.size, found.root.hex()) == (len(lines("entries.jsonl")), ROOT)
        assert (found.problems, found.notes) == ((), ())
    reader.close()
    assert version(path) == 1, "opened, and an older program still reads it"


def test_its_entries_and_documents_are_handed_out_as_they_were_written(log: AuditLog) -> None:
    assert [each.data for each in log.store.rows(0, 99)] == lines("entries.jsonl")
    assert {each.entry.kind for each in log.find()} >= {
        EntryKind.DECISION, EntryKind.OUTCOME, EntryKind.WAIVER, EntryKind.HOLD, EntryKind.ERASURE,
    }  # fmt: skip
    for each in map(json.loads, lines("documents.jsonl")):
        kept = log.evidence(each["sha256"])
        assert kept == (None if each["body"] is None else each["body"].encode())
    assert held_subjects(log) == {"models/9/held"}


def test_its_decisions_come_out_the_same(log: AuditLog) -> None:
    made = BulkReplay(log, Selection()).run(range(log.store.frontier().size))
    assert (made.decisions, made.same, made.differences) == (DECISIONS, DECISIONS, [])


def test_what_it_says_is_found(tmp_path: Path, log: AuditLog) -> None:
    index = Index(log.store, tmp_path / "index")
    for text, count in (
        ("", SIZE),
        ("kind:decision", DECISIONS),
        ("decision:block", BLOCKED),
        ("degraded:yes", 1),
        ("actor:bob kind:waiver", 1),
    ):
        for each in (index, None):
            search = Search(log, parse_selection(text), each)
            assert (len(list(search)), search.broken) == (count, []), text
    index.close()


def test_reports_and_an_export_of_it_prove_themselves(tmp_path: Path, log: AuditLog) -> None:
    folder = folder_of(log, tmp_path / "report", "csv", "jsonl", *FORMATS)
    assert verify_log.check(folder).startswith("Good: ")
    out = log.export(tmp_path / "out").folder
    assert verify_log.check(out).startswith("Good: ")
    assert (out / "entries.jsonl").read_bytes().startswith((FOLDER / "entries.jsonl").read_bytes())


def test_it_goes_on(path: Path, log: AuditLog) -> None:
    """By entries as they were, and by what is new in the file: it is all in one tree."""
    size = log.store.frontier().size
    before = log.checkpoint()
    for document in (b"small", b"large " * SMALL):
        said = {"event": "made", "digest": "d", "key_id": "k", "bundle": evidence_digest(document)}
        log.append(EntryKind.SIGNATURE, said, subject="models/a", correlation="c", evidence=(document,))
        assert log.verify({size: before.root}).problems == ()
    assert log.verify({size: before.root}).compared == 1
    assert version(path) == 2, "an older program says that it is too old for it"
