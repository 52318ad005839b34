"""The audit log of clients that write to a tracking server, at the server's end: what it takes, from whom, and what it makes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from governance.audit import verify_log
from governance.audit.entry import Entry, EntryKind, Writer, evidence_digest, parse_entry
from governance.audit.intake import Intake
from governance.audit.memory import MemoryStore
from governance.audit.parcel import MAX_PARCEL, ParcelError, pack, parcels, unpack
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.stamp import parse_stamp, stamp_of
from governance.audit.store import Draft, Query, draft_of
from governance.audit.verify import verify_store
from governance.errors import (
    AuditBrokenError,
    AuditUnavailableError,
)
from governance.model.canonical import Json
from governance.model.request import Actor
from tests.audit_tools import ALICE, BOB, BOOT, NOBODY, START, claim, make_log, signer
from tests.audit_tools import clients_entry as entry


def intake(store: MemoryStore | None = None, **more: object) -> Intake:
    return Intake(store or MemoryStore(), now=lambda: START, **more)  # type: ignore[arg-type]  # settings by name, which mypy cannot pair


def one(made: Entry) -> bytes:
    return pack([draft_of(made)])


@pytest.mark.parametrize("kind", [EntryKind.HOLD, EntryKind.ERASURE, EntryKind.CHECKPOINT, EntryKind.EXPORT])
def test_a_client_does_not_write_what_acts_upon_the_log(kind: EntryKind) -> None:
    full: dict[str, Json] = {
        "held": False, "reason": "mine", "digests": [], "size": 1, "root": "00",
    }  # fmt: skip
    with pytest.raises(ParcelError, match="only the log's keeper"):
        intake().receive(one(entry(kind=kind, body=full)), ALICE)


@pytest.mark.parametrize("shift", [timedelta(days=-8), timedelta(minutes=6)])
def test_nobody_writes_into_the_past_or_the_future(shift: timedelta) -> None:
    with pytest.raises(ParcelError, match="too far from the server's"):
        intake().receive(one(entry(at=START + shift)), ALICE)


def test_nobody_spends_the_numbers_of_another_ones_writer() -> None:
    store = MemoryStore()
    for caller in (ALICE, BOB, NOBODY, Actor(name="alice/laptop", authentication="basic-auth")):
        intake(store).receive(one(entry()), caller)
    names = [parse_entry(row.data).writer.instance for row in store.rows(0, 9)]
    assert names == ["alice/laptop", "bob/laptop", "claimed:anonymous/laptop", "alice%2Flaptop/laptop"]
    assert verify_store(store).is_good


@pytest.mark.parametrize(
    ("caller", "instance"),
    [(ALICE, "alice/w"), (NOBODY, "claimed:anonymous/w"), (Actor(name="a b/ü"), "claimed:a%20b%2F%C3%BC/w")],
)
def test_a_stamp_on_a_stamped_entry_changes_nothing(caller: Actor, instance: str) -> None:
    stamp = stamp_of(caller)
    once, _ = stamp.apply(
        entry(writer=Writer(instance="w", boot=BOOT, n=1), body=claim(stamp.name or "x")), ()
    )
    assert once.writer.instance == instance
    assert stamp.apply(once, ())[0].to_bytes() == once.to_bytes()
    assert parse_stamp(stamp.to_json()) == stamp


_LOST = "0" * 64
_OTHERS: dict[EntryKind, dict[str, Json]] = {
    EntryKind.DECISION: dict.fromkeys(("action", "actor", "artifact", "environment", "policy", "verdict")),
    EntryKind.OUTCOME: dict.fromkeys(("action", "decision", "status")),
    EntryKind.POLICY: dict.fromkeys(("names", "revision")),
}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (EntryKind.DECISION, {"facts": _LOST}),
        (EntryKind.DECISION, {"facts": "none"}),
        (EntryKind.OUTCOME, {"moved": {"manifest": _LOST}}),
        (EntryKind.POLICY, {"digest": _LOST}),
    ],
)
def test_a_client_names_no_document_that_it_does_not_bring(kind: EntryKind, said: dict[str, Json]) -> None:
    """The log would have to say for ever after that it had lost it."""
    with pytest.raises(ParcelError, match="without the document that it rests on"):
        intake().receive(one(entry(kind=kind, body=_OTHERS[kind] | said)), ALICE)


def test_no_word_of_a_client_spoils_the_log(tmp_path: Path) -> None:
    facts = b"{}"
    odd: list[tuple[EntryKind, dict[str, Json]]] = [
        (EntryKind.DECISION, {"artifact": {"facts": _LOST}, "facts": evidence_digest(facts)}),
        (EntryKind.DECISION, {"artifact": {"facts": _LOST}, "facts": None}),
        (EntryKind.DECISION, {"facts": [_LOST]}),
        (EntryKind.OUTCOME, {"moved": _LOST, "signature": {"manifest": _LOST}}),
        (EntryKind.POLICY, {"digest": {"digest": _LOST}}),
    ]
    store = MemoryStore()
    for number, (kind, said) in enumerate(odd, 1):
        made = entry(number, kind=kind, body=_OTHERS[kind] | said)
        intake(store).receive(pack([draft_of(made, ((evidence_digest(facts), facts),))]), ALICE)
    log = make_log(store, signers=[signer()])
    assert log.verify().is_good
    log.export(tmp_path / "out")
    assert verify_log.check(tmp_path / "out").startswith("Good: 7 entries")


def test_a_client_that_counts_badly_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    for number in (1, 3, 4, 4):
        intake(store).receive(one(entry(number)), ALICE)
    log = make_log(store, signers=[signer()])
    made = log.verify()
    assert made.is_good
    again, lost = made.notes
    assert str(again) == "entry 3: its writer used the number 4 twice"
    assert str(lost) == (
        f"writer alice/laptop, run {BOOT}, lacks number 2: an entry was lost before it reached the log, or never was"
    )
    log.export(tmp_path / "out")
    told = verify_log.check(tmp_path / "out")
    assert told.startswith("Good: 6 entries")
    assert "odd: entry 3: its writer used the number 4 twice (and 1 more)" in told


def test_a_hole_in_the_numbers_of_the_logs_own_writers_is_a_break() -> None:
    store = MemoryStore()
    store.append([draft_of(entry(number)) for number in (1, 3, 4, 4)])
    again, lost = verify_store(store).problems
    assert str(again) == "entry 3: its writer used the number 4 twice"
    assert (
        str(lost) == f"writer laptop, run {BOOT}, lacks number 2: an entry was lost before it reached the log"
    )


def test_oddities_of_a_client_do_not_pile_up() -> None:
    store = MemoryStore()
    for _ in range(150):
        intake(store).receive(one(entry(7)), ALICE)
    assert len(verify_store(store).notes) == 100


def test_who_broke_the_glass_is_not_his_to_say() -> None:
    store = MemoryStore()
    made: dict[str, Json] = {"event": "break-glass", "waiver": "d", "by": "bob"}
    intake(store).receive(one(entry(kind=EntryKind.WAIVER, body=made)), ALICE)
    assert parse_entry(next(store.rows(0, 1)).data).body["by"] == "alice"


def test_pseudonyms_leave_no_name() -> None:
    store = MemoryStore()
    names = Pseudonyms(b"k" * 32)
    answer = intake(store, pseudonyms=names).receive(one(entry(body=claim("alice smith"))), ALICE)
    assert b"alice" not in next(store.rows(0, 1)).data
    assert b"alice" not in orjson.dumps(answer)
    assert list(intake(store, pseudonyms=names).find(Query(), ALICE)) == list(store.rows(0, 1))
    assert list(intake(store, pseudonyms=names).find(Query(), BOB)) == []


def test_more_than_is_handed_out_is_an_error_and_not_a_part() -> None:
    store = MemoryStore()
    stamp = stamp_of(ALICE)
    store.append([draft_of(*stamp.apply(entry(number), ())) for number in range(1, 1_003)])
    with pytest.raises(AuditUnavailableError, match="more entries match"):
        list(intake(store).find(Query(), ALICE))


GOOD = one(entry())
HEADER, _, REST = GOOD.partition(b"\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no header line"),
        (b"{}\n", "not a header"),
        (b"[]\n", "not a header"),
        (b'{"entries":[],"v":1}\n', "1 to"),
        (b'{"entries":[{"evidence":[],"size":2}],"v":2}\n{}', "another version"),
        (b'{"entries":[{"evidence":[],"size":-1}],"v":1}\n', "a size"),
        (b'{"entries":[{"evidence":[],"size":true}],"v":1}\n', "a size"),
        (b'{"entries":[{"evidence":[],"size":70000}],"v":1}\n' + b" " * 70_000, "a size"),
        (b'{"entries":[{"evidence":[],"size":2}],"v":1}\n{}', "not an entry"),
        (b'{"entries":[{"evidence":null,"size":2}],"v":1}\n{}', "entry 0"),
        (b'{"entries":[1],"v":1}\n', "entry 0"),
        (GOOD[:-1], "ends before"),
        (GOOD + b"x", "belong to no entry"),
        (HEADER + b" \n" + REST, "canonical"),
        (HEADER + b"\n" + REST.replace(b'"v":1', b'"v":1.0'), "entry 0"),
        (b"x" * (MAX_PARCEL + 1), "more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_body_of_the_wrong_form_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ParcelError, match=message):
        unpack(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1,', b'"u":{},"v":1,'),
        (b'"n":1}', b'"n":0}'),
        (b'"n":1}', b'"n":"1"}'),
        (b'"n":1}', b'"m":1,"n":1}'),
        (BOOT.encode(), b"boot"),
        (b'"instance":"laptop"', b'"instance":""'),
        (b'"instance":"laptop"', b'"instance":7'),
        (b'"instance":"laptop"', b'"instance":"a\\nb"'),
        (b'"subject":"models/a"', b'"subject":["models/a"]'),
        (b'"kind":"outcome"', b'"kind":"other"'),
        (b'"status":"done"', b'"STATUS":"done"'),
    ],
)
def test_an_entry_of_the_wrong_form_is_refused(old: bytes, new: bytes) -> None:
    data = REST.replace(old, new)
    assert data != REST
    header = b'{"entries":[{"evidence":[],"size":%d}],"v":1}\n' % len(data)
    with pytest.raises(ParcelError, match="entry 0"):
        unpack(header + data)


def test_a_document_is_what_its_digest_says() -> None:
    made = draft_of(entry(), ((evidence_digest(b"one"), b"two"),))
    with pytest.raises(ParcelError, match="its digest"):
        unpack(pack([made]))


def test_what_no_server_takes_is_not_sent() -> None:
    made = draft_of(entry(), ((evidence_digest(b""), bytes(MAX_PARCEL)),))
    with pytest.raises(ParcelError, match="at most"):
        pack([made])


def test_large_doubts_go_in_several_requests() -> None:
    made: list[Draft] = [draft_of(entry(number)) for number in range(1, 11)]
    size = len(made[0].data)
    cut = parcels(made, 3 * size + 50)
    assert [len(some) for some in cut] == [3, 3, 3, 1]
    assert [each for some in cut for each in some] == made
    assert parcels(made[:1], 1) == [made[:1]]


@pytest.mark.parametrize("document", [None, {}, {"name": 1, "authentication": None, "has_claims": True}])
def test_an_answer_that_names_nobody(document: object) -> None:
    with pytest.raises(AuditBrokenError):
        parse_stamp(document)
