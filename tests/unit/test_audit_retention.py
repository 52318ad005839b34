"""Retention, legal hold and pseudonyms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit import retention, sqlite_file, verify_log
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog, Receipt
from governance.audit.memory import MemoryStore
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.retention import erase_expired, expired_evidence, held_subjects, set_hold
from governance.audit.sqlite import SqliteStore
from governance.audit.store import EvidenceInfo, always
from governance.errors import AuditUnavailableError
from governance.model.canonical import Json, canonical_bytes
from governance.model.digest import Sha256
from tests.audit_tools import Clock, body, database_of, make_log

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
    set_hold(log, "models/held", held=True, reason="case 7", by="dpo")
    clock.at += timedelta(days=40)
    record(log, b"old, named again")
    record(log, b"young")
    return log


def erased(log: AuditLog) -> list[bytes]:
    documents = (b"old", b"old, held", b"old, named again", b"young")
    return [document for document in documents if log.evidence(evidence_digest(document)) is None]


def test_only_what_is_old_and_free_is_erased(log: AuditLog, clock: Clock, tmp_path: Path) -> None:
    root = log.checkpoint()
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo") == (evidence_digest(b"old"),)
    assert erased(log) == [b"old"]
    (entry,) = log.find(kind=EntryKind.ERASURE)
    assert entry.entry.body["digests"] == [evidence_digest(b"old")]
    assert log.verify({root.size: root.root}).is_good
    log.export(tmp_path / "export")
    said = verify_log.check(tmp_path / "export")
    assert said.startswith("Good: 9 entries and 3 documents")
    assert "Of 1 more the bytes were erased, as its entries say." in said
    assert erase_expired(log, TERMS, now=clock.at, reason="again", by="dpo") == ()


def test_a_lifted_hold_frees_its_evidence(log: AuditLog, clock: Clock) -> None:
    assert held_subjects(log) == {"models/held"}
    set_hold(log, "models/held", held=False, reason="case closed", by="dpo")
    assert held_subjects(log) == frozenset()
    erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo")
    assert erased(log) == [b"old", b"old, held"]


def test_kinds_without_a_term_are_kept_for_good(log: AuditLog, clock: Clock) -> None:
    clock.at += timedelta(days=4000)
    assert erase_expired(log, {EntryKind.DECISION: timedelta(0)}, now=clock.at, reason="x", by="dpo") == ()
    assert erased(log) == []


def test_an_erasure_that_was_interrupted_is_done_by_the_next_run(log: AuditLog, clock: Clock) -> None:
    """The process died between the entry and the bytes: its own entry is no reason to keep them for another term."""
    (digest,) = expired_evidence(log, TERMS, now=clock.at)
    log.append(EntryKind.ERASURE, {"digests": [digest], "reason": "x"}, subject=log.origin, correlation="c")
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo") == (digest,)
    assert erased(log) == [b"old"]


def test_what_is_named_or_held_while_the_log_is_read_stays(
    log: AuditLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = log.store.evidence_list

    def meanwhile() -> Iterator[EvidenceInfo]:
        monkeypatch.undo()
        record(log, b"old")
        set_hold(log, "models/lifted", held=True, reason="case 8", by="dpo")
        return listed()

    record(log, b"older", "models/lifted")
    clock.at += timedelta(days=40)
    record(log, b"old, named again")
    monkeypatch.setattr(log.store, "evidence_list", meanwhile)
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo") == (evidence_digest(b"young"),)


class ErasingSlowly(MemoryStore):
    """A store in which something else is done before the first document is erased."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] = lambda: None

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        self.before()
        self.before = lambda: None
        return super().erase(digests, may)


def test_what_is_held_or_named_while_others_are_erased_stays(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 2)
    store = ErasingSlowly()
    log = make_log(store, now=clock)
    names = sorted((evidence_digest(b"%d" % number), number) for number in range(6))
    for _, number in names:
        record(log, b"%d" % number, f"models/{number}")
    clock.at += timedelta(days=40)

    def meanwhile() -> None:
        set_hold(log, f"models/{names[2][1]}", held=True, reason="case 8", by="dpo")
        record(log, b"%d" % names[5][1])

    store.before = meanwhile
    done = erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo")
    assert done == tuple(digest for digest, _ in (*names[:2], *names[3:5]))
    assert [log.evidence(digest) is None for digest, _ in names] == [True, True, False, True, True, False]
    said = [each.entry.body["digests"] for each in log.find(kind=EntryKind.ERASURE)]
    assert said == [list(done[:2])] * 2 + [list(done[2:])], (
        "what came in between is looked at before anything goes"
    )


def test_what_is_named_and_held_after_the_entry_of_an_erasure_and_before_it_is_done_stays(
    clock: Clock,
) -> None:
    """The entry that brought it a moment ago would be without its evidence."""
    store = ErasingSlowly()
    log = make_log(store, now=clock)
    for document, subject in ((b"named", "models/a"), (b"held", "models/b"), (b"old", "models/c")):
        record(log, document, subject)
    clock.at += timedelta(days=40)

    def meanwhile() -> None:
        record(log, b"named")
        set_hold(log, "models/b", held=True, reason="case 8", by="dpo")

    store.before = meanwhile
    done = erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo")
    assert done == (evidence_digest(b"old"),)
    assert log.evidence(evidence_digest(b"named")) == b"named"
    assert log.evidence(evidence_digest(b"held")) == b"held"


def test_a_hold_that_comes_before_the_entry_of_an_erasure_counts(
    log: AuditLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = log.append

    def meanwhile(kind: EntryKind, said: dict[str, Json], **more: Any) -> Receipt:
        monkeypatch.undo()
        set_hold(log, "models/a", held=True, reason="case 8", by="dpo")
        return append(kind, said, **more)

    monkeypatch.setattr(log, "append", meanwhile)
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo") == ()
    assert erased(log) == []
    assert log.verify().is_good


@pytest.mark.parametrize("names", [None, Pseudonyms(b"k" * 32)])
def test_who_erased_and_who_held_is_on_record(names: Pseudonyms | None, clock: Clock) -> None:
    log = make_log(now=clock, pseudonyms=names)
    record(log, b"old")
    set_hold(log, "models/held", held=True, reason="case 7", by="dpo")
    clock.at += timedelta(days=40)
    erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo")
    said = [next(log.find(kind=kind)).entry.body["by"] for kind in (EntryKind.HOLD, EntryKind.ERASURE)]
    assert said == ["dpo" if names is None else names.of("dpo")] * 2


def test_no_piece_of_an_erased_document_stays_in_the_file(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in pages that were laid out anew while others were written, nor in the journal."""
    store = SqliteStore(tmp_path / "audit.sqlite")
    log = make_log(store, now=clock)
    for number in range(300):
        record(log, f"<secret {number}>".encode() * (3, 40, 200)[number % 3])
    clock.at += timedelta(days=40)
    with database_of(tmp_path / "audit.sqlite") as reader:
        monkeypatch.setattr(sqlite_file, "_BUSY_MS", 10)
        rows = reader.execute("SELECT seq FROM entry")
        next(rows)
        with pytest.raises(AuditUnavailableError, match="their bytes stay"):
            erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo")
        rows.close()
    assert erase_expired(log, TERMS, now=clock.at, reason="30 days", by="dpo") == ()
    log.close()
    assert not any(b"<secret" in path.read_bytes() for path in tmp_path.iterdir())


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
