"""Retention, legal hold and pseudonyms."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from governance.audit import verify_log
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.retention import erase_expired, held_subjects, set_hold
from governance.model.canonical import Json, canonical_bytes
from governance.model.digest import Sha256
from tests.audit_tools import Clock, body, make_log

TERMS = {EntryKind.OUTCOME: timedelta(days=30)}


def record(log: AuditLog, document: bytes, subject: str = "models/a") -> None:
    named: dict[str, Json] = {"bytes": 0, "count": 2, "manifest": evidence_digest(document)}
    log.append(EntryKind.OUTCOME, body(moved=named), subject=subject, correlation="c", evidence=[document])


@pytest.fixture(name="clock")
def make_clock() -> Clock:
    return Clock()


@pytest.fixture(name="log")
def make_aged_log(clock: Clock) -> AuditLog:
    log = make_log(now=clock)
    record(log, b"old")
    record(log, b"old, held", "models/held")
    record(log, b"old, named again")
    set_hold(log, "models/held", held=True, reason="case 7")
    clock.at += timedelta(days=40)
    record(log, b"old, named again")
    record(log, b"young")
    return log


def erased(log: AuditLog) -> list[bytes]:
    documents = (b"old", b"old, held", b"old, named again", b"young")
    return [document for document in documents if log.evidence(evidence_digest(document)) is None]


def test_only_what_is_old_and_free_is_erased(log: AuditLog, clock: Clock, tmp_path: Path) -> None:
    root = log.checkpoint()
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days") == (evidence_digest(b"old"),)
    assert erased(log) == [b"old"]
    (entry,) = log.find(kind=EntryKind.ERASURE)
    assert entry.entry.body["digests"] == [evidence_digest(b"old")]
    assert log.verify({root.size: root.root}).is_good
    log.export(tmp_path / "export")
    assert verify_log.check(tmp_path / "export").startswith("Good")
    assert erase_expired(log, TERMS, now=clock.at, reason="again") == ()


def test_a_lifted_hold_frees_its_evidence(log: AuditLog, clock: Clock) -> None:
    assert held_subjects(log) == {"models/held"}
    set_hold(log, "models/held", held=False, reason="case closed")
    assert held_subjects(log) == frozenset()
    erase_expired(log, TERMS, now=clock.at, reason="30 days")
    assert erased(log) == [b"old", b"old, held"]


def test_kinds_without_a_term_are_kept_for_good(log: AuditLog, clock: Clock) -> None:
    clock.at += timedelta(days=4000)
    assert erase_expired(log, {EntryKind.DECISION: timedelta(0)}, now=clock.at, reason="x") == ()
    assert erased(log) == []


def test_pseudonyms_tell_actors_apart_and_hide_their_names() -> None:
    log = make_log(pseudonyms=Pseudonyms(b"k" * 32))
    for name in ("ana", "bob", "ana"):
        actor: Json = {"name": name, "groups": ["team-of-one"], "kind": "human", "authentication": None}
        log.append(EntryKind.OUTCOME, body(actor=actor), subject="s", correlation="c")
    names = [stored.entry.body["actor"]["name"] for stored in log.find(kind=EntryKind.OUTCOME)]  # type: ignore[index,call-overload]
    assert names[0] == names[2] != names[1]
    assert not any(
        name in row.data for row in log.store.rows(0, 9) for name in (b"ana", b"bob", b"team-of-one")
    )
    assert Pseudonyms(b"j" * 32).of("ana") != names[0]
    with pytest.raises(ValueError, match="32 bytes"):
        Pseudonyms(b"short")


def test_pseudonyms_reach_findings_facts_and_the_use_of_break_glass() -> None:
    """Whoever stood there by name: the entry is found again under the pseudonym, and the facts still say who."""
    log = make_log(pseudonyms=Pseudonyms(b"k" * 32))
    facts = canonical_bytes({
        "actor.name": {"value": "ana", "source": "request"},
        "actor.groups": {"value": ["team-of-one"]},
        "artifact.path": {"value": "banana/models"},
        "artifact.created_by": {"value": "anabel"},
        "property.mlgov.user": {"value": "claimed:ana"},
    })  # fmt: skip
    findings: Json = [
        {
            "message": "ana may not load banana of anabel",
            "evidence": [
                {"fact": "actor.groups", "value": "team-of-one"},
                {"fact": "actor.name", "value": "ana"},
            ],
        }
    ]
    actor: Json = {"name": "ana", "groups": ["team-of-one"], "kind": "human", "authentication": None}
    told = body(actor=actor, facts=evidence_digest(facts), verdict={"findings": findings})
    receipt = log.append(EntryKind.OUTCOME, told, subject="s", correlation="c", evidence=[facts])
    log.append(
        EntryKind.WAIVER,
        {"event": "break-glass", "waiver": "d", "by": "ana"},
        subject="s",
        correlation="c",
    )
    stored = log.get(receipt.id)
    assert stored is not None
    pseudonym = Pseudonyms(b"k" * 32).of("ana")
    document = log.evidence(Sha256(str(stored.entry.body["facts"])))
    for data in (stored.data, document or b"", next(log.find(kind=EntryKind.WAIVER)).data):
        assert not re.search(rb"\bana\b|anabel|team-of-one", data)
        assert pseudonym.encode() in data
    assert b"banana/models" in (document or b"")
    assert f"{pseudonym} may not load banana of {Pseudonyms(b'k' * 32).of('anabel')}".encode() in stored.data
    # A repeat of the same append is known as one.
    again = log.append(EntryKind.OUTCOME, told, subject="s", correlation="c", evidence=[facts], id=receipt.id)
    assert again.index == receipt.index
