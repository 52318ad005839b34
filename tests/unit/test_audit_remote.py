"""The audit log of clients that write to a tracking server: what counts as an acknowledgement, and whose word it is. The server's end is in
`test_audit_intake`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.audit import verify_log
from governance.audit.anchor import HeadMemory
from governance.audit.bodies import advisory_body
from governance.audit.checkpoint import open_checkpoint
from governance.audit.entry import Entry, EntryKind, evidence_digest, parse_entry
from governance.audit.intake import Intake
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import inclusion_proof, verify_inclusion
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.remote import RemoteStore
from governance.audit.store import draft_of
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
from governance.model.request import new_id
from governance.transport import Transport
from tests.audit_server import AuditServer, audit_server
from tests.audit_tools import ALICE, ORIGIN, START, claim, fill, make_log, signer
from tests.audit_tools import clients_entry as entry


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
        (400, RemoteError, "clock is wrong: set it right, and restart this program"),
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


def test_pseudonyms_leave_no_name_in_what_a_client_sends(tmp_path: Path) -> None:
    """Nor in the facts it sends along, whose digest then is another one; and it knows its acknowledgement all the same."""
    with audit_server() as server:
        server.intake = Intake(server.store, now=lambda: START, pseudonyms=Pseudonyms(b"k" * 32))
        facts = canonical_bytes({
            "actor.name": {"value": "alice"}, "actor.groups": {"value": ["admins"]},
            "artifact.created_by": {"value": "bob"},
        })  # fmt: skip
        told: dict[str, Json] = {**claim("alice"), "facts": evidence_digest(facts)}
        with contextlib.closing(log_of(server)) as log:
            log.append(EntryKind.OUTCOME, told, subject="s", correlation="c", evidence=[facts])
            assert log.on_record(ALICE).name == Pseudonyms(b"k" * 32).of("alice")
        start = recorded(server)[0]  # a laptop's name is mostly its owner's
        assert (start.kind, start.subject) == (EntryKind.START, start.writer.instance)
        assert "laptop" not in start.subject
        (kept,) = [info.sha256 for info in server.store.evidence_list()]
        assert recorded(server)[1].body["facts"] == kept
        document = server.store.evidence(kept) or b""
        assert b"alice" not in document
        assert b"admins" not in document
        assert b"bob" not in document
        assert b"p:" in document
        assert verify_store(server.store).is_good
