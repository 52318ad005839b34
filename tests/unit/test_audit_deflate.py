"""Large documents in a SQLite log lie there deflated, and nobody who reads them notices."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.bodies import signature_body
from governance.audit.deflate import SMALL, deflated, inflated
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.audit.store import MAX_EVIDENCE
from governance.audit.verify_log import check
from governance.errors import AuditBrokenError
from governance.model.digest import Sha256
from tests.audit_tools import database_of, make_log, tamper

LARGE = b'{"format":"safetensors","path":"model-00001-of-00002.safetensors"},' * 4_000
OTHER = LARGE.replace(b"1", b"3")
NOISE = os.urandom(2 * SMALL)


@given(st.binary(max_size=200), st.integers(min_value=1, max_value=2_000))
def test_what_was_deflated_is_inflated_to_the_same(part: bytes, times: int) -> None:
    document = part * times
    stored = deflated(document)
    assert len(stored) <= len(document)
    assert stored == document or len(document) >= SMALL
    assert inflated(stored, len(document)) == document


@pytest.mark.parametrize(
    ("stored", "size"),
    [
        (zlib.compress(LARGE)[:-1], len(LARGE)),
        (zlib.compress(LARGE) + b"x", len(LARGE)),
        (zlib.compress(LARGE), len(LARGE) - 1),
        (zlib.compress(LARGE), len(LARGE) + 1),
        (b"nothing of the sort", len(LARGE)),
        (b"", len(LARGE)),
        (b"too long", 3),
        (zlib.compress(LARGE), -1),
        (zlib.compress(LARGE), 1 << 62),
    ],
    ids=["cut", "more behind", "shorter", "longer", "none", "empty", "longer than the size", "negative", "huge"],
)  # fmt: skip
def test_what_does_not_inflate_to_its_size_is_handed_out_as_it_lies(stored: bytes, size: int) -> None:
    assert inflated(stored, size) == stored


def test_a_few_kilobytes_do_not_become_gigabytes() -> None:
    bomb = zlib.compress(bytes(256 << 20), 9)
    tracemalloc.start()
    try:
        assert inflated(bomb, 1 << 20) == bomb
        assert inflated(bomb, MAX_EVIDENCE) == bomb
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MAX_EVIDENCE


def keep(log: AuditLog, *documents: bytes) -> list[Sha256]:
    """Entries that name these, with them beside."""
    names = [evidence_digest(document) for document in documents]
    for name, document in zip(names, documents, strict=True):
        body = signature_body(event="made", digest="d", key_id="k", bundle=name)
        log.append(EntryKind.SIGNATURE, body, subject="models/a", correlation="c", evidence=(document,))
    return names


def version(path: Path) -> object:
    with database_of(path) as connection:
        return connection.execute("PRAGMA user_version").fetchall()[0][0]


def lengths(path: Path) -> dict[str, int]:
    with database_of(path) as connection:
        return {
            str(name): int(length)
            for name, length in connection.execute("SELECT sha256, length(body) FROM evidence")
        }


def test_a_log_is_of_the_second_version_once_a_document_is_deflated(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    log = make_log(SqliteStore(path))
    small, noise = keep(log, b"small" * 100, NOISE)
    assert version(path) == 1, "an older program reads it"
    (large,) = keep(log, LARGE)
    assert version(path) == 2
    found = lengths(path)
    assert (found[small], found[noise]) == (500, len(NOISE))
    assert found[large] < len(LARGE) / 6
    for store in (log.store, SqliteStore(path, only_reads=True)):
        assert [store.evidence(name) for name in (small, noise, large)] == [b"small" * 100, NOISE, LARGE]
        assert isinstance(store, SqliteStore)
        assert dict(store.documents([small, noise, large]))[large] == LARGE
        assert {info.size for info in store.evidence_list()} == {500, len(NOISE), len(LARGE)}
    assert log.verify().problems == ()
    assert "3 documents" in check(log.export(tmp_path / "out").folder)
    log.store.erase([large])
    assert log.store.evidence(large) is None
    keep(log, LARGE)
    assert log.evidence(large) == LARGE, "kept anew"
    log.close()


@pytest.mark.parametrize(
    "put",
    [zlib.compress(OTHER, 1), zlib.compress(LARGE, 1)[:-4], zlib.compress(bytes(len(LARGE) * 50), 9), b""],
    ids=["another document of its size", "its beginning", "a bomb", "nothing"],
)
def test_a_deflated_document_that_was_changed_is_named(tmp_path: Path, put: bytes) -> None:
    path = tmp_path / "audit.sqlite"
    log = make_log(SqliteStore(path))
    (name,) = keep(log, LARGE)
    log.close()
    tamper(path, "UPDATE evidence SET body = ?", values=(put,))
    log = make_log(SqliteStore(path))
    (problem,) = log.verify().problems
    assert "that it names was changed" in problem.what
    with pytest.raises(AuditBrokenError, match="changed"):
        log.evidence(name)
    log.close()
