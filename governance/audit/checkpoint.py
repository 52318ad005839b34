"""Checkpoints and receipts: what leaves the machine, so that the log cannot be rewritten unseen.

A checkpoint says how large the tree is and what its root is (c2sp.org/tlog-checkpoint); signed, it is a note. A receipt
(c2sp.org/tlog-proof) carries one entry's inclusion proof and the checkpoint, and is checked offline, with the entry's
bytes and the log's public key alone.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from governance.audit.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from governance.audit.note import NoteKey, parse_note
from governance.errors import AuditBrokenError

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree head. `note` are the signed bytes it came from, or None for one that nobody signed."""

    origin: str
    size: int
    root: bytes
    note: bytes | None = None

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def to_bytes(self) -> bytes:
        """The signed note, or the bare text where nobody signed."""
        return self.note if self.note is not None else self.text.encode()


def parse_checkpoint(text: str, note: bytes | None = None) -> Checkpoint:
    """Read a checkpoint's text; extension lines are allowed and ignored. Raises `AuditBrokenError`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or "" in lines[:-1] or not _NUMBER.fullmatch(lines[1]):
        raise AuditBrokenError("a checkpoint's text is origin, size and root hash, each on its line")
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=_parse_hash(lines[2]), note=note)


def read_checkpoint(data: bytes) -> Checkpoint:
    """Read what `Checkpoint.to_bytes` wrote, signed or not. No signature is looked at. Raises `AuditBrokenError`."""
    if b"\n\n" in data:
        return parse_checkpoint(parse_note(data).text, data)
    try:
        return parse_checkpoint(data.decode())
    except UnicodeDecodeError as error:
        raise AuditBrokenError("a checkpoint that is not text") from error


def open_checkpoint(data: bytes, keys: Sequence[NoteKey], *, origin: str | None = None) -> Checkpoint:
    """Read a signed checkpoint and believe it: at least one of `keys` signed, none of them wrongly, and it is about the
    log named `origin`, where that is given. Raises `AuditBrokenError`.

    The caller must still hold the checkpoint against one seen earlier: a log may sign two that contradict each other.
    """
    found = parse_checkpoint(parse_note(data).require(keys), data)
    if origin is not None and found.origin != origin:
        raise AuditBrokenError(f"the checkpoint is about the log `{found.origin[:80]}`, not `{origin}`")
    return found


def require_witnesses(data: bytes, witnesses: Sequence[NoteKey]) -> None:
    """Demand that every one of `witnesses` cosigned the checkpoint (c2sp.org/tlog-cosignature), which each does only for what
    continues the last head of this log that it signed. Raises `AuditBrokenError`."""
    signed = parse_note(data).good_keys(witnesses) if witnesses else []
    missing = [key.name for key in witnesses if key not in signed]
    if missing:
        raise AuditBrokenError(
            f"the checkpoint is not cosigned by {', '.join(f'`{name}`' for name in missing)}",
            hint="Ask for it anew, made with `--cosigned`; a witness that refuses to sign has seen another log.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A receipt: entry `index` lies in the tree of `checkpoint`."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """The text of c2sp.org/tlog-proof."""
        hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in self.hashes)
        return f"{_HEADER}\nindex {self.index}\n{hashes}\n".encode() + self.checkpoint

    def verify(self, entry: bytes, keys: Sequence[NoteKey], *, origin: str | None = None) -> Checkpoint:
        """Demand that `entry` is in the log that signed. Returns the checkpoint. Raises `AuditBrokenError`."""
        checkpoint = open_checkpoint(self.checkpoint, keys, origin=origin)
        verify_inclusion(
            index=self.index,
            size=checkpoint.size,
            leaf=leaf_hash(entry),
            proof=self.hashes,
            root=checkpoint.root,
        )
        return checkpoint


def parse_proof(data: bytes) -> Proof:
    """Read a receipt without believing it. Extra data is skipped. Raises `AuditBrokenError`."""
    head, gap, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise AuditBrokenError("a receipt that is not text") from error
    if lines[0] != _HEADER or not gap:
        raise AuditBrokenError("not a receipt of c2sp.org/tlog-proof@v1")
    rest = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
    if not rest or not rest[0].startswith("index ") or not _NUMBER.fullmatch(rest[0][6:]):
        raise AuditBrokenError("a receipt without an index")
    return Proof(
        index=int(rest[0][6:]), hashes=tuple(_parse_hash(line) for line in rest[1:]), checkpoint=checkpoint
    )


def _parse_hash(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise AuditBrokenError("a hash that is not base64") from error
    if len(value) != HASH_SIZE or base64.b64encode(value).decode() != text:
        raise AuditBrokenError(f"a hash that is not {HASH_SIZE} bytes in base64")
    return value
