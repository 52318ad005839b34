"""What every audit store promises, asked of each of them.

The store that writes to a server is asked together with the store behind it: what it does not read is read there. Its
entries carry the caller's name, so all entries here do, as the server would write it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from governance.audit import merkle
from governance.audit.entry import EntryKind, Writer, evidence_digest
from governance.audit.memory import MemoryStore
from governance.audit.sqlite import SqliteStore
from governance.audit.store import (
    DOCUMENTS_AT_ONCE,
    AuditStore,
    Draft,
    EvidenceInfo,
    FramedPages,
    ManyAtOnce,
    Query,
    Row,
    always,
    framed_row,
)
from governance.audit.verify import verify_store
from governance.errors import AuditConflictError, AuditUnavailableError
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.request import new_id, utc_text
from tests import audit_tools
from tests.audit_server import audit_server
from tests.audit_tools import START

BOOT = new_id(START)
ACTOR: Json = {"authentication": "basic-auth", "groups": [], "kind": "unknown", "name": "tester"}
ONE, TWO = evidence_digest(b"one"), evidence_digest(b"two")


class Through:
    """Writes through a client, and reads what the client does not from the store behind the server."""

    def __init__(self, client: AuditStore, behind: AuditStore) -> None:
        self.client = client
        self.behind = behind
        self.append = client.append
        self.find = client.find
        self.get = client.get
        self.frontier = client.frontier
        self.node = client.node
        self.close = client.close

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        return self.behind.rows(start, stop)

    def evidence(self, sha256: Sha256) -> bytes | None:
        return self.behind.evidence(sha256)

    def evidence_list(self) -> Iterator[EvidenceInfo]:
        return self.behind.evidence_list()

    def erase(self, digests: Sequence[Sha256], may: Callable[[], bool] = always) -> bool:
        return self.behind.erase(digests, may)


def body(decision: str) -> dict[str, Json]:
    return audit_tools.body(decision, actor=ACTOR)


def draft(number: int, **more: object) -> Draft:
    fields = {
        "writer": Writer(instance="tester/w", boot=BOOT, n=number),
        "body": body(f"d-{number}"),
    }
    return audit_tools.draft(number, **(fields | more))


def make_store(kind: str, request: pytest.FixtureRequest, folder: Path) -> AuditStore:
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SqliteStore(folder / "a" / "audit.sqlite")
    from governance.audit.postgres import PostgresStore

    return PostgresStore(request.getfixturevalue("postgres").new_database())


@pytest.fixture(params=["memory", "sqlite", "postgres", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AuditStore]:
    if request.param == "remote":
        with (
            contextlib.closing(make_store("sqlite", request, tmp_path)) as behind,
            audit_server(behind) as server,
            contextlib.closing(server.client()) as client,
        ):
            yield Through(client, behind)
        return
    with contextlib.closing(make_store(request.param, request, tmp_path)) as made:
        yield made


def settle(store: AuditStore) -> None:
    """Wait until every durable entry has its place, where a store does that later."""
    wait = getattr(store, "settle", None)
    if wait is not None:
        wait(timeout=20)


def append(store: AuditStore, drafts: list[Draft]) -> None:
    store.append(drafts)
    settle(store)


def test_a_new_store_is_the_empty_tree(store: AuditStore) -> None:
    assert store.frontier() == merkle.Frontier()
    assert list(store.rows(0, 10)) == []
    assert list(store.find(Query())) == []
    assert store.get("nobody") is None


def test_entries_come_back_byte_for_byte_in_order(store: AuditStore) -> None:
    drafts = [draft(n) for n in range(1, 11)]
    append(store, drafts[:4])
    for one in drafts[4:]:
        append(store, [one])
    rows = list(store.rows(0, 100))
    assert [row.seq for row in rows] == list(range(10))
    assert [tuple(row[1:]) for row in rows] == [tuple(one[:7]) for one in drafts]
    assert list(store.rows(3, 5)) == rows[3:5]


def test_framed_rows_are_those_of_the_rows(store: AuditStore) -> None:
    if not isinstance(store, FramedPages):
        pytest.skip("this store has no faster way to read many rows")
    append(store, [draft(n, subject=f"models/ü{n}") for n in range(1, 601)])
    for start, stop in ((0, 600), (0, 0), (100, 101), (255, 513), (590, 900)):
        pages = list(store.framed_pages(start, stop))
        assert [framed for page in pages for framed in page] == [*map(framed_row, store.rows(start, stop))]
        assert all(len({int(framed[0] or 0) // 256 for framed in page}) <= 1 for page in pages)
    for _, front, back, _, data in itertools.chain.from_iterable(store.framed_pages(0, 600)):
        assert data.startswith(front)
        assert back in data


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 600])
def test_the_tree_is_the_one_of_rfc_6962(store: AuditStore, count: int) -> None:
    drafts = [draft(n) for n in range(1, count + 1)]
    append(store, drafts)
    leaves = [one.leaf for one in drafts]
    frontier = store.frontier()
    assert frontier == merkle.Frontier().extend(leaves)
    assert merkle.root_of(store.node, count) == frontier.root()
    for index in {0, count // 2, count - 1}:
        proof = merkle.inclusion_proof(store.node, index, count)
        merkle.verify_inclusion(
            index=index, size=count, leaf=leaves[index], proof=proof, root=frontier.root()
        )


def test_every_older_tree_can_be_proven_against_the_newest(store: AuditStore) -> None:
    drafts = [draft(n) for n in range(1, 531)]
    append(store, drafts[:300])
    append(store, drafts[300:])
    new_root = store.frontier().root()
    for old in (1, 2, 255, 256, 257, 300, 511, 512, 529):
        old_root = merkle.root_of(store.node, old)
        assert old_root == merkle.Frontier().extend([one.leaf for one in drafts[:old]]).root()
        proof = merkle.consistency_proof(store.node, old, 530)
        merkle.verify_consistency(old=old, new=530, old_root=old_root, new_root=new_root, proof=proof)


def test_appending_the_same_bytes_again_changes_nothing(store: AuditStore) -> None:
    first, second, third = draft(1), draft(2), draft(3)
    append(store, [first, second])
    append(store, [first])
    append(store, [second, third, third])
    assert [row.id for row in store.rows(0, 9)] == [first.id, second.id, third.id]
    assert verify_store(store).is_good


def test_other_bytes_under_a_known_id_are_refused_and_nothing_of_the_call_is_written(
    store: AuditStore,
) -> None:
    known = draft(1)
    append(store, [known])
    with pytest.raises(AuditConflictError, match="already used"):
        store.append([draft(2), draft(3, id=known.id)])
    settle(store)
    assert [row.id for row in store.rows(0, 9)] == [known.id]


def test_entries_are_found_by_what_they_are_about(store: AuditStore) -> None:
    drafts = [draft(n) for n in range(1, 601)]
    drafts += [draft(700, kind=EntryKind.RECOVERY, body={"ids": [], "actor": ACTOR}, subject="models/1")]
    append(store, drafts)

    def found(**query: object) -> list[str]:
        return [row.id for row in store.find(Query(**query))]  # type: ignore[arg-type]

    assert found() == [one.id for one in drafts]
    assert found(subject="models/1") == [one.id for one in drafts if one.subject == "models/1"]
    assert found(correlation="c-5") == [one.id for one in drafts if one.correlation == "c-5"]
    assert found(kind=EntryKind.RECOVERY) == [drafts[-1].id]
    assert found(kind=EntryKind.OUTCOME, subject="models/1", correlation="c-3") == [
        one.id for one in drafts[:-1] if one.subject == "models/1" and one.correlation == "c-3"
    ]
    assert found(since=utc_text(START.replace(microsecond=600_000))) == [drafts[599].id, drafts[600].id]
    assert found(subject="models/1' OR 1=1 --") == []
    one = store.get(drafts[7].id)
    assert one is not None
    assert one.data == drafts[7].data


def test_what_lies_scattered_is_read_at_once(store: AuditStore) -> None:
    if not isinstance(store, ManyAtOnce):
        pytest.skip("this store reads one by one")
    drafts = [draft(n, correlation=f"c-{n % 3}") for n in range(1, 13)]
    drafts += [draft(20, kind=EntryKind.RECOVERY, body={"ids": [], "actor": ACTOR}, correlation="c-0")]
    drafts[0] = drafts[0]._replace(evidence=((ONE, b"one"), (TWO, b"two")))
    append(store, drafts)
    assert [row.seq for row in store.rows_at([12, 0, 99])] == [0, 12]
    found = [
        row.seq
        for each in ("c-0", "c-2")
        for row in store.find(Query(kind=EntryKind.OUTCOME, correlation=each))
    ]
    assert len(found) == 8
    assert store.numbers_of(EntryKind.OUTCOME, ["c-0", "c-2", "nobody's"]) == sorted(
        each or 0 for each in found
    )
    assert store.numbers_of(EntryKind.RECOVERY, ["c-0", "c-2"]) == [12]
    store.erase([TWO])
    assert dict(store.documents([ONE, TWO, evidence_digest(b"three")])) == {ONE: b"one"}


def test_many_large_documents_are_not_held_at_once(store: AuditStore) -> None:
    if not isinstance(store, ManyAtOnce):
        pytest.skip("this store reads one by one")
    large = [bytes([n]) * (DOCUMENTS_AT_ONCE // 2) for n in range(8)]
    documents = {evidence_digest(body): body for body in [*large, b"small"]}
    append(store, [draft(1)._replace(evidence=tuple(documents.items()))])
    store.erase([evidence_digest(large[3])])
    left = documents.keys() - {evidence_digest(large[3])}
    tracemalloc.start()
    try:
        found = [
            (digest, len(body), evidence_digest(body)) for digest, body in store.documents(list(documents))
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sorted(found) == sorted((digest, len(documents[digest]), digest) for digest in left)
    assert peak < 2.5 * DOCUMENTS_AT_ONCE < sum(map(len, large))


def test_evidence_is_kept_once_under_its_digest(store: AuditStore) -> None:
    first = draft(1)._replace(evidence=((ONE, b"one"), (TWO, b"two")))
    second = draft(2)._replace(evidence=((ONE, b"one"),))
    append(store, [first])
    append(store, [second])
    assert store.evidence(ONE) == b"one"
    assert store.evidence(Sha256("3" * 64)) is None
    infos = list(store.evidence_list())
    assert [info.sha256 for info in infos] == sorted((ONE, TWO))
    assert {(info.sha256, info.size, info.is_erased) for info in infos} == {
        (ONE, 3, False),
        (TWO, 3, False),
    }
    assert infos[0].category == "outcome"


def test_erasing_evidence_leaves_its_digest(store: AuditStore) -> None:
    append(store, [draft(1)._replace(evidence=((ONE, b"one"), (TWO, b"two")))])
    before = store.frontier()
    store.erase([ONE, Sha256("9" * 64)])
    assert store.evidence(ONE) is None
    assert store.evidence(TWO) == b"two"
    assert {(info.sha256, info.is_erased) for info in store.evidence_list()} == {
        (ONE, True),
        (TWO, False),
    }
    assert store.frontier() == before
    append(store, [draft(2)._replace(evidence=((ONE, b"one"),))])
    assert store.evidence(ONE) == b"one"


def test_who_brings_a_document_while_it_is_erased_has_it_kept(store: AuditStore) -> None:
    append(store, [draft(1)._replace(evidence=((ONE, b"one"), (TWO, b"two")))])
    assert store.erase([ONE], lambda: False) is False
    assert store.evidence(ONE) == b"one"
    bringing = threading.Thread(
        target=store.append, args=([draft(2)._replace(evidence=((ONE, b"one"),))],), daemon=True
    )

    def may() -> bool:
        bringing.start()
        bringing.join(timeout=0.2)  # it waits, or would be done before the document is erased
        return True

    assert store.erase([ONE, TWO], may) is True
    bringing.join(timeout=30)
    assert (store.evidence(ONE), store.evidence(TWO)) == (b"one", None)


def test_text_that_is_not_ascii_survives(store: AuditStore) -> None:
    odd = draft(1, subject="models/ünï/\U0001f980 ' \" \\", correlation="c é", body=body("\u202e\x00"))
    append(store, [odd])
    row = next(store.rows(0, 1))
    assert tuple(row[1:]) == tuple(odd[:7])
    assert verify_store(store).problems == ()
    assert [found.id for found in store.find(Query(subject=odd.subject))] == [odd.id]


def test_a_text_that_no_entry_can_hold_is_asked_for_in_vain_and_is_no_outage(store: AuditStore) -> None:
    store.append([draft(1)])
    for query in (Query(subject="models/\0"), Query(correlation="\0")):
        assert list(store.find(query)) == []
    assert store.get("\0") is None


def test_the_longest_subject_is_kept_and_found(store: AuditStore) -> None:
    """Of bytes that do not compress, which an index of PostgreSQL does not take whole."""
    words = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(80))
    longest, other = words[:4_400], words[:4_399] + "!"
    first, third = draft(1, subject=longest), draft(3, subject="m", correlation=longest)
    append(store, [first, draft(2, subject=other), third])
    append(store, [draft(4)])
    assert [found.id for found in store.find(Query(subject=longest))] == [first.id]
    assert [found.id for found in store.find(Query(correlation=longest))] == [third.id]
    assert store.frontier().size == 4


def test_many_threads_lose_nothing(store: AuditStore) -> None:
    drafts = [[draft(thread * 100 + n) for n in range(1, 26)] for thread in range(16)]

    def work(mine: list[Draft]) -> None:
        for one in mine:
            store.append([one])

    threads = [threading.Thread(target=work, args=(mine,)) for mine in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(store)
    stored = [row.id for row in store.rows(0, 1000)]
    assert sorted(stored) == sorted(one.id for mine in drafts for one in mine)
    for mine in drafts:
        places = [stored.index(one.id) for one in mine]
        assert places == sorted(places), "each thread's own order stands"


def test_a_closed_store_says_so(store: AuditStore) -> None:
    append(store, [draft(1)])
    store.close()
    with pytest.raises(AuditUnavailableError, match="closed"):
        store.append([draft(2)])
