"""Anchors and the witness: heads that only grow, forks and rollbacks that show, and the specification's answers."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.anchor import (
    Anchor,
    ArtifactoryAnchor,
    FolderAnchor,
    HeadMemory,
    publish_head,
)
from governance.audit.checkpoint import Checkpoint, read_checkpoint, require_witnesses
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.merkle import consistency_proof
from governance.audit.note import NoteKey, NoteSigner, make_signer, parse_note, sign_note
from governance.audit.witness import Reply, Witness, WitnessAnchor, cosigned, make_server
from governance.errors import AuditBrokenError, AuditUnavailableError, RemoteError
from governance.transport import Transport
from tests.audit_tools import ORIGIN, fill, make_log, signer

WITNESS = "witness.example/w1"


def signed_log(count: int, subject: str = "models/a") -> AuditLog:
    log = make_log(signers=[signer()])
    fill(log, count, subject=subject)
    return log


def witness_signer() -> NoteSigner:
    return make_signer(
        Ed25519PrivateKey.from_private_bytes(b"w" * 32), name=WITNESS, clock=lambda: 1_790_000_000
    )


def test_a_head_is_remembered_and_a_grown_log_accepted(tmp_path: Path) -> None:
    memory = HeadMemory(tmp_path / "home" / "seen")
    assert memory.recall() is None
    log = signed_log(3)
    assert memory.check(log).size == 4
    fill(log, 300)
    memory.check(log)
    remembered = memory.recall()
    assert remembered is not None
    assert remembered.size == 304
    memory.check(log)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: signed_log(2), "it was rolled back: it had 6 entries and has 3"),
        (lambda: signed_log(5, "models/b"), "its first 6 entries are not those seen before"),
        (lambda: signed_log(50, "models/b"), "its first 6 entries are not those seen before"),
        (lambda: make_log(origin="another"), "it is another log"),
    ],
)  # fmt: skip
def test_forks_and_rollbacks_are_refused_with_both_heads(tmp_path: Path, other: Any, said: str) -> None:
    memory = HeadMemory(tmp_path / "seen")
    log = signed_log(5)
    memory.check(log)
    for outside in (
        memory.check,
        lambda forged: FolderAnchor(folder=tmp_path / "heads").publish(forged, forged.checkpoint()),
    ):
        FolderAnchor(folder=tmp_path / "heads").publish(log, log.checkpoint())
        with pytest.raises(AuditBrokenError, match=said) as caught:
            outside(other())
        assert log.checkpoint().text.splitlines()[2] in caught.value.message
    remembered = memory.recall()
    assert remembered is not None
    assert remembered.size == 6, "what was refused is not remembered"


def test_a_damaged_memory_is_an_error_and_not_a_new_beginning(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    for wrong in (b"", b"x", b"\xff\xfe", b"a\nb\nc\n"):
        path.write_bytes(wrong)
        with pytest.raises(AuditBrokenError):
            HeadMemory(path).check(signed_log(1))


class Uploads:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def upload(self, repository: str, path: str, body: BinaryIO, *, size: int) -> object:
        self.files[f"{repository}/{path}"] = body.read(size)
        return None


def test_heads_go_to_every_anchor_and_the_log_says_so(tmp_path: Path) -> None:
    log, uploads = signed_log(4), Uploads()
    anchors: list[Anchor] = [
        FolderAnchor(folder=tmp_path / "h"),
        ArtifactoryAnchor(client=uploads, repository="audit-local"),
    ]
    head = publish_head(log, anchors, quorum=2)
    assert head.size == 5
    (recorded,) = log.find(kind=EntryKind.CHECKPOINT)
    assert recorded.entry.body["kept"] == [anchor.name for anchor in anchors]
    assert (recorded.entry.body["size"], recorded.entry.body["root"]) == (5, head.root.hex())
    ((path, data),) = uploads.files.items()
    assert path.startswith("audit-local/audit-heads/000000000000005-")
    assert read_checkpoint(data) == head
    assert [read_checkpoint(file.read_bytes()) for file in (tmp_path / "h").iterdir()] == [head]


def test_a_quorum_that_is_not_met_is_an_alarm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    anchors = [FolderAnchor(folder=tmp_path / "file" / "h"), FolderAnchor(folder=tmp_path / "h")]
    publish_head(signed_log(1), anchors, quorum=1)
    with pytest.raises(AuditUnavailableError, match="kept by 1 of 2 anchors, 2 are demanded"):
        publish_head(
            make_log(signers=[signer()]), [anchors[0], FolderAnchor(folder=tmp_path / "h2")], quorum=2
        )
    with pytest.raises(ValueError, match="quorum"):
        publish_head(signed_log(1), [], quorum=0)


def make_witness(folder: Path) -> Witness:
    return Witness(folder, witness_signer(), {ORIGIN: [signer().key]})


def request(log: AuditLog, old: int, checkpoint: Checkpoint | None = None) -> bytes:
    checkpoint = checkpoint or log.checkpoint()
    proof = consistency_proof(log.store.node, old, checkpoint.size) if 0 < old <= checkpoint.size else []
    lines = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof)
    return f"old {old}\n{lines}\n".encode() + checkpoint.to_bytes()


def test_the_witness_cosigns_what_grows(tmp_path: Path) -> None:
    log, witness = signed_log(5), make_witness(tmp_path)
    for old, more in ((0, 0), (6, 1), (7, 100), (107, 0)):
        fill(log, more)
        reply = witness.add_checkpoint(request(log, old))
        assert reply.status == 200
        note = parse_note(log.checkpoint().to_bytes() + reply.body.encode())
        assert note.good_keys([witness_signer().key]) == [witness_signer().key]
    reply = make_witness(tmp_path).add_checkpoint(request(log, 0))
    assert (reply.status, reply.body) == (409, "107\n"), "it remembers over a restart"


def test_the_answers_of_the_specification(tmp_path: Path) -> None:
    log, witness = signed_log(5), make_witness(tmp_path)
    assert witness.add_checkpoint(request(log, 0)).status == 200
    good = request(log, 6)
    stranger = make_log(signers=[signer(2)], origin="unknown")
    forged = sign_note(log.checkpoint().text, [signer(2)]).encode()
    fork = signed_log(5, "models/b")
    longer = signed_log(20, "models/b")
    cases = {
        400: [
            b"", b"old\n\n", b"old 01\n\n" + good, b"old x\n\n", good[:-1], b"old 6\nAAAA\n\n" + log.checkpoint().to_bytes(),
            b"old 6\n" + b"A" * 43 + b"=\n", good.replace(b"old 6", b"old 7"), b"\xff", b"old 6\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + good,
            b"old 6\n\n" + log.checkpoint().text.encode(),
        ],
        404: [request(stranger, 0)],
        403: [b"old 6\n\n" + forged, b"old 6\n\n" + forged.replace(b"\n6\n", b"\n7\n")],
        409: [request(log, 0), request(log, 3), request(fork, 6)],
        422: [request(longer, 6), request(longer, 6).replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1)],
    }  # fmt: skip
    for status, bodies in cases.items():
        for data in bodies:
            assert witness.add_checkpoint(data).status == status, data[:80]
    reply = witness.add_checkpoint(request(log, 0))
    assert (reply.body, reply.kind) == ("6\n", "text/x.tlog.size")
    assert witness.add_checkpoint(good).status == 200


def test_a_witness_without_logs_keys_or_clock_is_refused(tmp_path: Path) -> None:
    nothing: list[dict[str, list[NoteKey]]] = [{}, {ORIGIN: []}]
    for logs in nothing:
        with pytest.raises(ValueError, match="sign nothing"):
            Witness(tmp_path, witness_signer(), logs)
    with pytest.raises(ValueError, match="clock"):
        Witness(tmp_path, signer(), {ORIGIN: [signer().key]})


def test_two_requests_at_once_cannot_roll_the_memory_back(tmp_path: Path) -> None:
    log = signed_log(5)
    heads = []
    for _ in range(40):
        fill(log, 1)
        heads.append(log.checkpoint())
    accepted: list[int] = []

    def submit(mine: list[Checkpoint]) -> None:
        witness = make_witness(tmp_path)
        for head in mine:
            for _ in range(200):
                reply = witness.add_checkpoint(request(log, size[0], head))
                if reply.status == 200:
                    accepted.append(head.size)
                    return
                size[0] = int(reply.body) if reply.status == 409 else size[0]
                if size[0] >= head.size:
                    break

    size = [0]
    threads = [threading.Thread(target=submit, args=(heads[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = make_witness(tmp_path).add_checkpoint(request(log, 0))
    assert last.status == 409
    assert int(last.body) == max(accepted)


def test_all_witnesses_sign_one_head_also_where_one_of_them_knows_a_later_one(tmp_path: Path) -> None:
    log = signed_log(5)
    other = make_signer(Ed25519PrivateKey.from_private_bytes(b"v" * 32), name="other/w2", clock=lambda: 1)
    keys = [witness_signer().key, other.key]
    second = Witness(tmp_path / "2", other, {ORIGIN: [signer().key]})
    with served(make_witness(tmp_path / "1")) as here, served(second) as there:
        earlier = log.checkpoint()
        fill(log, 5)
        assert second.add_checkpoint(request(log, 0)).status == 200  # by another process
        pair = [WitnessAnchor(here, keys[0]), WitnessAnchor(there, keys[1])]
        head = cosigned(log, earlier, pair)
    assert head.size == log.store.frontier().size > earlier.size
    require_witnesses(head.to_bytes(), keys)
    third = make_signer(Ed25519PrivateKey.generate(), name="third", clock=lambda: 1)
    with pytest.raises(AuditBrokenError, match="not cosigned by `third`"):
        require_witnesses(head.to_bytes(), [*keys, third.key])


@contextmanager
def served(witness: Witness) -> Iterator[Transport]:
    server = make_server(witness, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with closing(
            Transport(base_url=address, service="witness", credentials=None, retries=0)
        ) as transport:
            yield transport
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_witness_whose_memory_fails_says_so_and_signs_nothing(tmp_path: Path) -> None:
    log, witness = signed_log(3), make_witness(tmp_path)
    with served(witness) as transport:
        anchor = WitnessAnchor(transport, witness_signer().key)
        anchor.publish(log, log.checkpoint())
        (memory,) = (path for path in tmp_path.iterdir() if path.suffix != ".lock")
        kept = memory.read_bytes()
        memory.write_bytes(kept[:-20])
        fill(log, 1)
        with pytest.raises(RemoteError, match="cannot read or keep what it saw last"):
            anchor.publish(log, log.checkpoint())
        assert memory.read_bytes() == kept[:-20]


def test_a_witness_that_answers_more_than_signatures_is_not_believed(tmp_path: Path) -> None:
    """A line that is empty ends the text of a note: what the witness put before it would be what it signed."""
    log = signed_log(3)
    head = log.checkpoint()
    more = f"more\n\n{witness_signer().line(head.to_bytes().decode() + 'more' + chr(10))}"

    class Liar(Witness):
        def add_checkpoint(self, data: bytes) -> Reply:
            return Reply(status=200, body=more)

    liar = Liar(tmp_path, witness_signer(), {ORIGIN: [signer().key]})
    with served(liar) as transport, pytest.raises(AuditBrokenError, match="without its own signature"):
        WitnessAnchor(transport, witness_signer().key).publish(log, head)


@pytest.mark.parametrize("length", ["", "²", "-1", "1_0", "9" * 5_000, "100000"])
def test_a_witness_answers_a_length_that_is_none(tmp_path: Path, length: str) -> None:
    with served(make_witness(tmp_path)) as transport:
        url = urlsplit(transport.base_url)
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=5)
        connection.putrequest("POST", "/add-checkpoint")
        connection.putheader("Content-Length", length.encode("latin-1"))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


def test_a_log_is_witnessed_over_http(tmp_path: Path) -> None:
    log = signed_log(5)
    with served(make_witness(tmp_path)) as transport:
        anchor = WitnessAnchor(transport, witness_signer().key)
        head = publish_head(log, [anchor])
        assert head.note is not None
        assert parse_note(head.note).good_keys([signer().key, witness_signer().key]) == [
            signer().key,
            witness_signer().key,
        ]
        fill(log, 30)
        publish_head(log, [anchor])
        # Another process knows nothing of what was witnessed, and learns it from the answer.
        fill(log, 1)
        assert publish_head(log, [WitnessAnchor(transport, witness_signer().key)]).size == 39
        receipt = log.prove(3, head)
        (row,) = log.store.rows(3, 4)
        assert receipt.verify(row.data, [witness_signer().key]).size == head.size


def test_a_head_that_another_process_sent_first_is_no_rollback(tmp_path: Path) -> None:
    """Two hosts that share one log and its places: the slower one's head is old, and its log is not."""
    log = signed_log(5)
    late = log.checkpoint()
    fill(log, 20)
    folder = FolderAnchor(folder=tmp_path / "heads")
    with served(make_witness(tmp_path / "w")) as transport:
        for anchor in (folder, WitnessAnchor(transport, witness_signer().key)):
            anchor.publish(log, log.checkpoint())
        for anchor in (folder, WitnessAnchor(transport, witness_signer().key)):
            assert anchor.publish(log, late).size == 26


def test_a_rewritten_log_is_told_by_the_witness(tmp_path: Path) -> None:
    with served(make_witness(tmp_path)) as transport:
        publish_head(signed_log(5), [WitnessAnchor(transport, witness_signer().key)])
        for forged in (signed_log(20, "models/b"), signed_log(1), signed_log(5, "models/b")):
            with pytest.raises(AuditBrokenError, match=WITNESS):
                publish_head(forged, [WitnessAnchor(transport, witness_signer().key)])


def test_a_witness_that_is_not_the_one_is_refused(tmp_path: Path) -> None:
    with served(make_witness(tmp_path)) as transport:
        other = make_signer(Ed25519PrivateKey.from_private_bytes(b"x" * 32), name=WITNESS, clock=lambda: 1)
        with pytest.raises(AuditBrokenError, match="without its own signature"):
            publish_head(signed_log(1), [WitnessAnchor(transport, other.key)])
        with pytest.raises(AuditUnavailableError, match="signed heads only"):
            publish_head(make_log(), [WitnessAnchor(transport, other.key)])
    with pytest.raises(AuditUnavailableError, match="kept by 0 of 1"):
        publish_head(signed_log(1), [WitnessAnchor(transport, witness_signer().key)])
