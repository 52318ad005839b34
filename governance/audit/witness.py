"""A witness: somebody else who remembers the log's head, and signs that it only ever grew (c2sp.org/tlog-witness).

Promises: a head is cosigned only if it continues the last one cosigned, and is on disk before the cosignature leaves;
comparing and keeping is one step, so that two requests cannot roll the memory back. Does not: read entries, or need to be
trusted with them.

`Witness.add_checkpoint`, step by step, with the specification's answers:

1. read the request: old size, proof, checkpoint (400 for anything malformed);
2. the checkpoint's origin is a log we know (404);
3. one of that log's keys signed it, none of them wrongly (403);
4. the old size is not above the new one (400);
5. the old size is the one we cosigned last (409, with ours), or, for the same size, the root is ours too (409);
6. the proof leads from our root to the new one (422);
7. keep the new head, then cosign it (200).
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.audit.anchor import head_beyond
from governance.audit.checkpoint import Checkpoint, parse_checkpoint, read_checkpoint
from governance.audit.log import AuditLog
from governance.audit.merkle import HASH_SIZE, verify_consistency
from governance.audit.note import COSIGNATURE, NoteKey, NoteSigner, parse_note
from governance.errors import AuditBrokenError, AuditUnavailableError, RemoteError
from governance.forking import file_lock
from governance.places import make_private, write_whole
from governance.transport import Transport

logger = logging.getLogger(__name__)

_MAX_REQUEST = 64 << 10
_MAX_PROOF = 63
_LENGTH = re.compile(r"[0-9]{1,9}")
_ROUNDS = 3
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the witness answers."""

    status: int
    body: str = ""
    kind: str = "text/plain; charset=utf-8"


class Witness:
    """Remembers heads below `folder` and cosigns with `signer`. `logs` are the keys it trusts, by origin."""

    def __init__(self, folder: Path, signer: NoteSigner, logs: Mapping[str, Sequence[NoteKey]]) -> None:
        if signer.key.kind != COSIGNATURE:
            raise ValueError("a witness signs with a cosignature key: give its signer a clock")
        if not logs or not all(logs.values()):
            raise ValueError("a witness for no log, or for a log without a key, would sign nothing")
        self._folder = folder
        self._signer = signer
        self._logs = dict(logs)
        make_private(folder)

    def add_checkpoint(self, data: bytes) -> Reply:
        """Answer one request. The numbers are those of the module's procedure."""
        try:
            old, proof, note = _parse_request(data)  # 1
            text = parse_note(note).text
            checkpoint = parse_checkpoint(text, note)
        except AuditBrokenError as error:
            return Reply(status=400, body=f"{error.message}\n")
        keys = self._logs.get(checkpoint.origin)
        if keys is None:  # 2
            return Reply(status=404, body="this log is not known here\n")
        try:
            parse_note(note).require(keys)  # 3
        except AuditBrokenError as error:
            return Reply(status=403, body=f"{error.message}\n")
        if old > checkpoint.size:  # 4
            return Reply(status=400, body="the old size is above the new one\n")
        path = self._folder / hashlib.sha256(checkpoint.origin.encode()).hexdigest()
        with file_lock(path.with_name(path.name + ".lock")):
            return self._advance(path, checkpoint, old, proof)

    def _advance(self, path: Path, checkpoint: Checkpoint, old: int, proof: list[bytes]) -> Reply:
        known = read_checkpoint(path.read_bytes()) if path.exists() else None
        size = known.size if known else 0
        if old != size or (known and checkpoint.size == size and checkpoint.root != known.root):  # 5
            return Reply(status=409, body=f"{size}\n", kind="text/x.tlog.size")
        if known is None or size == 0:  # 6: nothing to be consistent with, which an empty proof says
            if proof:
                return Reply(status=422, body="a proof from size 0 is empty\n")
        else:
            try:
                verify_consistency(
                    old=size, new=checkpoint.size, old_root=known.root, new_root=checkpoint.root, proof=proof
                )
            except AuditBrokenError as error:
                return Reply(status=422, body=f"{error.message}\n")
        write_whole(path, checkpoint.to_bytes())  # 7
        return Reply(status=200, body=self._signer.line(checkpoint.text))


def _parse_request(data: bytes) -> tuple[int, list[bytes], bytes]:
    head, gap, note = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise AuditBrokenError("the proof is not text") from error
    old = first.removeprefix("old ")
    if not gap or old == first or not _SIZE.fullmatch(old) or len(lines) > _MAX_PROOF:
        raise AuditBrokenError("not `old SIZE`, at most 63 hashes, an empty line and a checkpoint")
    proof = []
    for line in lines:
        with suppress(ValueError):
            proof.append(base64.b64decode(line, validate=True))
    if len(proof) != len(lines) or any(len(value) != HASH_SIZE for value in proof):
        raise AuditBrokenError("a hash in the proof that is not 32 bytes in base64")
    return int(old), proof, note


def _reply(witness: Witness, data: bytes) -> Reply:
    """The answer, also where the witness's own memory fails: nothing is signed then, and whoever asked is told so."""
    try:
        return witness.add_checkpoint(data)
    except (AuditBrokenError, OSError) as error:
        logger.error("no head can be cosigned: %s", error)  # noqa: TRY400 - what is wrong is said in one line
        return Reply(
            status=500, body="this witness cannot read or keep what it saw last, and signs nothing\n"
        )


def make_server(witness: Witness, *, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """An HTTP server for the witness, which the caller runs (`serve_forever`) and stops. Best behind TLS."""

    class Handler(http.server.BaseHTTPRequestHandler):
        server_version = "mlgov-witness"
        sys_version = ""
        timeout = 20

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path.rstrip("/") != "/add-checkpoint":
                self._answer(Reply(status=404))
            elif not _LENGTH.fullmatch(length) or int(length) > _MAX_REQUEST:
                self._answer(Reply(status=413))
            else:
                self._answer(_reply(witness, self.rfile.read(int(length))))

        def _answer(self, reply: Reply) -> None:
            body = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Silent: what is refused is answered, and heads are no secret worth a log of their own."""

    return http.server.ThreadingHTTPServer((host, port), Handler)


class WitnessAnchor:
    """An `Anchor` that asks a witness to cosign. `transport` leads to its submission prefix, `key` is its public key."""

    def __init__(self, transport: Transport, key: NoteKey) -> None:
        self._transport = transport
        self._key = key
        self._known = 0

    @property
    def name(self) -> str:
        """The witness's name."""
        return f"witness {self._key.name}"

    @property
    def key(self) -> NoteKey:
        """Its public key."""
        return self._key

    def publish(self, log: AuditLog, checkpoint: Checkpoint) -> Checkpoint:
        """See `Anchor.publish`. Returns the checkpoint with the cosignature, which was verified.

        Raises `AuditBrokenError` where the witness knows a head that this log does not continue.
        """
        if checkpoint.note is None:
            raise AuditUnavailableError(
                "a witness takes signed heads only", hint="Give the log a checkpoint key."
            )
        status, body = self._ask(log, checkpoint, self._known)
        if status == 409 and _SIZE.fullmatch(body.strip()) and int(body) != self._known:
            self._known = int(body)
            checkpoint = head_beyond(log, checkpoint, self._known)
            if self._known > checkpoint.size:
                raise AuditBrokenError(
                    f"{self.name} has seen {self._known} entries of this log, which now ends at {checkpoint.size}"
                )
            status, body = self._ask(log, checkpoint, self._known)
        if status in {409, 422}:
            raise AuditBrokenError(f"{self.name} knows another log of this name: {body.strip()[:200]}")
        if status != 200:
            raise AuditUnavailableError(f"{self.name} refuses (HTTP {status}): {body.strip()[:200]}")
        note = checkpoint.to_bytes() + body.encode()
        signed = parse_note(note)
        # Signatures alone were asked for: an answer that adds an empty line would move the end of what is signed.
        if signed.text != checkpoint.text or self._key not in signed.good_keys([self._key]):
            raise AuditBrokenError(f"{self.name} answered without its own signature")
        self._known = checkpoint.size
        return Checkpoint(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, note=note)

    def _ask(self, log: AuditLog, checkpoint: Checkpoint, old: int) -> tuple[int, str]:
        proof = log.consistency(old, checkpoint.size)
        lines = "".join(f"{base64.b64encode(value).decode()}\n" for value in proof)
        answer = self._transport.call(
            "POST",
            "add-checkpoint",
            body=f"old {old}\n{lines}\n".encode() + checkpoint.to_bytes(),
            ok=(200, 400, 403, 404, 409, 422),
            idempotent=True,
            limit=_MAX_REQUEST,
        )
        return answer.status, answer.text()


def cosigned(log: AuditLog, head: Checkpoint, witnesses: Sequence[WitnessAnchor]) -> Checkpoint:
    """The head, or a later one, with the signature of every witness.

    Raises `AuditUnavailableError` where one does not answer, `AuditBrokenError` where one knows another log.
    """
    for _ in range(_ROUNDS):
        sizes = set()
        for witness in witnesses:
            try:
                head = witness.publish(log, head)
            except RemoteError as error:
                raise AuditUnavailableError(
                    f"{witness.name} does not sign: {error.message}", hint=error.hint
                ) from error
            sizes.add(head.size)
        if len(sizes) == 1:
            return head
        # Another process had shown one of them a later head; those asked before it signed the earlier one.
    raise AuditUnavailableError(
        "the witnesses have not signed one and the same head: other processes go on sending later ones",
        hint="Try again.",
    )
