"""The audit log of clients that write to a tracking server: what counts as an acknowledgement, and whose word it is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from governance.audit import verify_log
from governance.audit.anchor import HeadMemory
from governance.audit.bodies import advisory_body
from governance.audit.checkpoint import open_checkpoint
from governance.audit.entry import Entry, EntryKind, Writer, evidence_digest, parse_entry
from governance.audit.intake import Intake
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import inclusion_proof, verify_inclusion
from governance.audit.parcel import MAX_PARCEL, ParcelError, pack, parcels, unpack
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.remote import RemoteStore
from governance.audit.stamp import parse_stamp, stamp_of
from governance.audit.store import Draft, Query, draft_of
from governance.audit.verify import verify_store
from governance.errors import (
    AuditBrokenError,
    AuditUnavailableError,
    ForbiddenError,
    ProtocolError,
    RemoteError,
    SettingsError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from governance.model.canonical import Json, canonical_bytes
from governance.model.request import Actor, new_id
from governance.transport import Transport
from tests.audit_server import AuditServer, audit_server
from tests.audit_tools import ORIGIN, START, body, fill, make_log, signer

ALICE = Actor(name="alice", authentication="basic-auth")
BOB = Actor(name="bob", authentication="basic-auth")
NOBODY = Actor(name="anonymous")
BOOT = new_id(START)


def entry(number: int = 1, **more: object) -> Entry:
    fields: dict[str, object] = {
        "id": new_id(START),
        "at": START,
        "kind": EntryKind.OUTCOME,
        "writer": Writer(instance="laptop", boot=BOOT, n=number),
        "correlation": "c",
        "subject": "models/a",
        "body": body(f"d-{number}"),
    }
    return Entry(**(fields | more))  # type: ignore[arg-type]


def claim(name: str) -> dict[str, Json]:
    return body(actor={"name": name, "kind": "human", "groups": ["admins"], "authentication": "basic-auth"})


@pytest.fixture
def server() -> Iterator[AuditServer]:
    with audit_server() as running:
        yield running


def log_of(server: AuditServer, user: str | None = "alice", **more: object) -> AuditLog:
    return make_log(server.client(user, **more), now=lambda: START, instance="laptop")  # type: ignore[arg-type]


def recorded(server: AuditServer) -> list[Entry]:
    return [parse_entry(row.data, strict=True) for row in server.store.rows(0, 1000)]


def append(log: AuditLog, **more: object) -> str:
    return log.append(
        EntryKind.OUTCOME,
        claim("somebody else"),
        subject="models/a",
        correlation="c",
        **more,  # type: ignore[arg-type]
    ).id


def test_two_people_one_trail(server: AuditServer) -> None:
    for user in ("alice", "bob"):
        with contextlib.closing(log_of(server, user)) as log:
            append(log)
    assert [(each.kind, each.writer.instance) for each in recorded(server)] == [
        ("start", "alice/laptop"),
        ("outcome", "alice/laptop"),
        ("start", "bob/laptop"),
        ("outcome", "bob/laptop"),
    ]
    assert recorded(server)[3].body["actor"] == {
        "name": "bob",
        "kind": "unknown",
        "groups": [],
        "authentication": "basic-auth",
        "claimed": "somebody else",
    }
    assert verify_store(server.store).is_good


def test_evidence_travels_along(server: AuditServer) -> None:
    document = bytes(range(256)) * 10
    with contextlib.closing(log_of(server)) as log:
        append(log, evidence=(document, b""))
    assert server.store.evidence(evidence_digest(document)) == document
    assert server.store.evidence(evidence_digest(b"")) == b""


@pytest.mark.parametrize("fault", ["lose", "page", "lie", 401, 403, 404, 413, 500, 502, 503, 400])
def test_whatever_is_no_acknowledgement_lets_nothing_through_and_is_there_once_after_all(
    server: AuditServer, fault: str | int
) -> None:
    with contextlib.closing(log_of(server)) as log:
        append(log)
        server.fault = fault
        with pytest.raises(AuditUnavailableError) as caught:
            append(log)
        server.fault = None
        append(log)
    lost = caught.value.entry_id
    assert [each.id for each in recorded(server)].count(str(lost)) == 1
    assert [each.kind for each in recorded(server)] == ["start", "outcome", "outcome", "recovery", "outcome"]
    assert verify_store(server.store).is_good


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [
        (401, UnauthenticatedError, "MLFLOW_TRACKING_USERNAME"),
        (403, ForbiddenError, "may not write"),
        (404, RemoteError, "--app-name governance"),
        (400, RemoteError, "clock is wrong: set it, and start this program anew"),
        (413, RemoteError, "40 MiB"),
        (500, UnavailableError, "its log says what is wrong"),
        ("page", ProtocolError, "--app-name governance"),
        ("lose", UnreachableError, "until the tracking server takes entries again"),
    ],
)
def test_an_error_says_what_it_was_and_what_to_do(
    server: AuditServer, fault: str | int, kind: type[RemoteError], hint: str
) -> None:
    server.fault = fault
    with contextlib.closing(server.client("alice")) as store, pytest.raises(AuditUnavailableError) as caught:
        store.append([draft_of(entry())])
    assert isinstance(caught.value.__cause__, kind)
    assert hint in str(caught.value.hint)
    assert "secret of alice" not in f"{caught.value}{caught.value.__cause__}"


def test_a_wrong_password_is_tried_once(server: AuditServer) -> None:
    with (
        contextlib.closing(server.client("alice", "wrong")) as store,
        pytest.raises(AuditUnavailableError, match="not authenticated"),
    ):
        store.append([draft_of(entry())])
    assert server.posts == 0
    assert recorded(server) == []


def test_a_server_that_does_not_answer_is_waited_for_so_long(server: AuditServer) -> None:
    server.fault = "stall"
    store = server.client("alice", timeout=0.2)
    with pytest.raises(AuditUnavailableError, match="did not confirm within"):
        store.append([draft_of(entry())])
    server.release.set()
    store.close()


def test_many_threads_share_requests(server: AuditServer) -> None:
    with contextlib.closing(log_of(server)) as log:
        threads = [threading.Thread(target=lambda: [append(log) for _ in range(10)]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(recorded(server)) == 161
    assert server.posts < 161
    assert verify_store(server.store).is_good


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1:5000", "http://mlflow.example/x", "http://127.evil.example"]
)
def test_plain_http_to_another_machine_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="plain http"):
        RemoteStore(lambda: Transport(base_url=url, service="MLflow", credentials=None))


def test_without_a_login_the_name_stays_a_claim() -> None:
    with audit_server(with_login=False) as server, contextlib.closing(log_of(server, None)) as log:
        append(log)
        assert recorded(server)[1].body["actor"] == {
            "name": "somebody else", "kind": "unknown", "groups": [], "authentication": None,
        }  # fmt: skip
        assert recorded(server)[1].writer.instance == "claimed:anonymous/laptop"
        assert list(log.find(kind=EntryKind.OUTCOME)) == []


def test_a_caller_reads_his_own_entries_and_waivers(server: AuditServer) -> None:
    with (
        contextlib.closing(log_of(server, "alice")) as alice,
        contextlib.closing(log_of(server, "bob")) as bob,
    ):
        own = append(alice)
        waiver = alice.append(
            EntryKind.WAIVER, {"event": "approved", "waiver": "w"}, subject="models/a", correlation="c"
        ).id
        assert [each.entry.id for each in alice.find(subject="models/a")] == [own, waiver]
        assert [each.entry.id for each in bob.find(subject="models/a")] == [waiver]
        assert alice.get(own) is not None
        assert bob.get(own) is None
        assert bob.get("no such id") is None


def test_since_when_an_advisory_is_known_is_told_to_everybody(server: AuditServer) -> None:
    with (
        contextlib.closing(log_of(server, "alice")) as alice,
        contextlib.closing(log_of(server, "bob")) as bob,
    ):
        made = alice.append(
            EntryKind.ADVISORY, advisory_body(["XRAY-1"]), subject="advisories", correlation="c"
        ).id
        (told,) = bob.find(kind=EntryKind.ADVISORY)
        assert (told.entry.id, told.entry.body["advisories"]) == (made, ["XRAY-1"])


def test_what_clients_call_the_log_is_not_its_name(server: AuditServer, tmp_path: Path) -> None:
    """Most have no setting of their own for it; and none of them may spoil what the server hands out."""
    fill(server.log, 1)
    laptop = make_log(
        server.client("alice"), now=lambda: START, instance="laptop", origin="mlgov.local/audit"
    )
    with contextlib.closing(laptop):
        append(laptop)
    assert [each.body["origin"] for each in recorded(server) if each.kind == "start"] == [
        ORIGIN,
        "mlgov.local/audit",
    ]
    server.log.export(tmp_path / "out")
    assert verify_log.check(tmp_path / "out").startswith("Good: 5 entries")


def test_a_client_can_prove_that_its_entry_is_in_the_tree(server: AuditServer) -> None:
    with contextlib.closing(log_of(server)) as log:
        for _ in range(300):
            own = append(log)
        found = log.get(own)
        assert found is not None
        assert found.index is not None
        row = server.store.get(own)
        assert row is not None
        head = log.store.frontier()
        proof = inclusion_proof(log.store.node, found.index, head.size)
        verify_inclusion(index=found.index, size=head.size, leaf=row.leaf, proof=proof, root=head.root())


def test_a_client_remembers_the_head_that_the_server_signed(server: AuditServer, tmp_path: Path) -> None:
    memory = HeadMemory(tmp_path / "seen")
    with contextlib.closing(log_of(server)) as log:
        append(log)
        first = memory.check(log)
        assert open_checkpoint(first.to_bytes(), [signer().key], origin=ORIGIN).size == 2
        for _ in range(300):
            server.store.append([draft_of(entry(id=new_id(START)))])
        assert memory.check(log).size == 302
        # The same server with another log: as long, and longer, and shorter.
        for count, said in (
            (302, "are not those seen before"),
            (400, "are not those"),
            (3, "it was rolled back"),
        ):
            other = MemoryStore()
            other.append([draft_of(entry(number, id=new_id(START))) for number in range(1, count + 1)])
            server.log = make_log(other, signers=[signer()])
            with pytest.raises(AuditBrokenError, match=said):
                memory.check(log)
    remembered = memory.recall()
    assert remembered is not None
    assert remembered.size == 302


def test_what_needs_the_whole_log_is_not_done_from_afar(server: AuditServer) -> None:
    with contextlib.closing(server.client()) as store:
        for ask in (
            lambda: store.rows(0, 1),
            lambda: store.evidence(evidence_digest(b"")),
            store.evidence_list,
            lambda: store.erase([]),
        ):
            with pytest.raises(AuditUnavailableError, match="read as a whole only there"):
                ask()


# The server's end.


def intake(store: MemoryStore | None = None, **more: object) -> Intake:
    return Intake(store or MemoryStore(), now=lambda: START, **more)  # type: ignore[arg-type]


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


def test_pseudonyms_leave_no_name_in_what_a_client_sends(tmp_path: Path) -> None:
    """Nor in the facts it sends along, whose digest then is another one; and it knows its acknowledgement all the same."""
    with audit_server() as server:
        server.intake = Intake(server.store, now=lambda: START, pseudonyms=Pseudonyms(b"k" * 32))
        facts = canonical_bytes({"actor.name": {"value": "alice"}, "actor.groups": {"value": ["admins"]}})
        told: dict[str, Json] = {**claim("alice"), "facts": evidence_digest(facts)}
        with contextlib.closing(log_of(server)) as log:
            log.append(EntryKind.OUTCOME, told, subject="s", correlation="c", evidence=[facts])
        (kept,) = [info.sha256 for info in server.store.evidence_list()]
        assert recorded(server)[1].body["facts"] == kept
        document = server.store.evidence(kept) or b""
        assert b"alice" not in document
        assert b"admins" not in document
        assert b"p:" in document
        assert verify_store(server.store).is_good


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
