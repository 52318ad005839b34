"""What was seen passing, read back from the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governance.artifactory.address import parse_uri
from governance.audit.bodies import OutcomeStatus, moved_documents, outcome_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.retention import erase_expired
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.errors import AuditBrokenError
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.digest import Sha256
from governance.model.request import Actor
from plugin.ledger import uploaded

ROOT = parse_uri("artifactory://one.example/artifactory/repo/1/models/m/artifacts")
REF = f"{ROOT.repository}/{ROOT.path}"


@pytest.fixture
def log() -> AuditLog:
    return AuditLog(MemoryStore(), now=lambda: datetime(2026, 1, 1, tzinfo=UTC), instance="test")


def entry(path: str, digit: str) -> FileEntry:
    return FileEntry(path=parse_relative_path(path), sha256=Sha256(digit * 64), size=1)


def decide(log: AuditLog, action: str, ref: str = REF, host: str = ROOT.host) -> str:
    """The decision that an outcome rests on, with what is read of it."""
    body: dict[str, Any] = dict.fromkeys(("actor", "environment", "facts", "policy", "verdict"))
    body |= {"action": action, "artifact": {"host": host}}
    return log.append(EntryKind.DECISION, body, subject=ref, correlation="c").id


def append(
    log: AuditLog,
    action: str,
    *moved: FileEntry,
    status: OutcomeStatus = OutcomeStatus.DONE,
    ref: str = REF,
    host: str = ROOT.host,
    decision: str | None = None,
) -> None:
    body = outcome_body(
        decision=decision or decide(log, action, ref, host), action=action, status=status, moved=moved
    )
    log.append(EntryKind.OUTCOME, body, subject=ref, correlation="c", evidence=moved_documents(moved))


def seen(log: AuditLog) -> dict[str, Any]:
    return {str(found.path): found.sha256[0] if found.sha256 else None for found in uploaded(log, ROOT)}


def test_the_last_upload_of_a_path_counts(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"), entry("b", "1"))
    append(log, "upload", entry("a", "2"))
    append(log, "load", entry("a", "3"))
    append(log, "upload", entry("a", "4"), ref="repo/other")
    assert seen(log) == {"a": "2", "b": "1"}


def test_deleted_files_are_gone_until_they_come_again(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"), entry("b", "1"))
    append(log, "delete", entry("a", "1"))
    assert seen(log) == {"b": "1"}
    append(log, "upload", entry("a", "2"))
    assert seen(log) == {"a": "2", "b": "1"}


def test_files_of_an_upload_that_failed_later_count_and_refused_ones_do_not(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"), status=OutcomeStatus.FAILED)
    append(log, "upload", status=OutcomeStatus.REFUSED)
    assert seen(log) == {"a": "1"}


def test_somebody_elses_signature_is_no_file(log: AuditLog) -> None:
    append(log, "upload", entry("model.sig", "1"), entry("a", "1"))
    assert seen(log) == {"a": "1"}


def test_nothing_was_seen(log: AuditLog) -> None:
    assert seen(log) == {}


def test_a_list_that_is_not_kept_any_more_is_an_error(log: AuditLog) -> None:
    moved = (entry("a", "1"), entry("b", "1"))
    body = outcome_body(
        decision=decide(log, "upload"), action="upload", status=OutcomeStatus.DONE, moved=moved
    )
    log.append(EntryKind.OUTCOME, body, subject=REF, correlation="c")
    with pytest.raises(AuditBrokenError):
        uploaded(log, ROOT)


def test_files_whose_list_was_erased_after_its_time_are_not_known(
    log: AuditLog, caplog: pytest.LogCaptureFixture
) -> None:
    append(log, "upload", entry("a", "1"), entry("b", "1"))
    append(log, "upload", entry("c", "1"))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert len(erase_expired(log, {EntryKind.OUTCOME: timedelta(0)}, now=now, reason="over", by="dpo")) == 1
    assert seen(log) == {"c": "1"}
    assert "no signature made now covers them" in caplog.text


def test_what_passed_on_the_way_to_another_host_does_not_count(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"))
    append(log, "upload", entry("a", "2"), entry("b", "2"), host="two.example")
    append(log, "delete", entry("a", "1"), host="two.example")
    assert seen(log) == {"a": "1"}


def test_an_outcome_counts_with_its_own_decision_alone(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"), decision="01900000-0000-7000-8000-000000000000")
    append(log, "upload", entry("b", "1"), decision=decide(log, "load"))
    append(log, "upload", entry("c", "1"), decision=decide(log, "upload", "repo/other"))
    assert seen(log) == {}


def test_what_a_client_sent_to_the_log_is_no_upload(log: AuditLog) -> None:
    append(log, "upload", entry("a", "1"))
    over = AuditLog(MemoryStore(), now=lambda: datetime(2026, 1, 1, tzinfo=UTC), instance="server")
    mallory = stamp_of(Actor(name="mallory", authentication="basic-auth"))
    for stored in log.find():
        if stored.entry.kind is not EntryKind.START:
            over.store.append([draft_of(mallory.apply(stored.entry, ())[0])])
    assert len(list(over.find(subject=REF))) == 2
    assert seen(over) == {}
