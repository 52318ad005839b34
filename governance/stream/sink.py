"""The contract of what entries are delivered to, and one entry as it is delivered.

A sink sends a batch and returns when the other side has taken it, as far as its protocol can tell; otherwise it raises
`RemoteError` or `TransferError`, and the batch is sent again from its beginning. Every wait has a limit. A sink keeps no
more than one batch, decides nothing and knows no cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from governance.audit.log import Stored
from governance.audit.merkle import leaf_hash
from governance.errors import TransferError
from governance.model.canonical import canonical_bytes

_MAX_SUBJECT = (
    50  # of up to twelve characters each, once written in ASCII: it must fit into the smallest message
)


class BatchTooLargeError(TransferError):
    """The other side takes no batch of this size. A smaller one may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An entry, and the line that is sent for it (one line of JSON, without its end)."""

    stored: Stored
    line: bytes


class Sink(Protocol):
    """Takes batches, in order."""

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver all of them, or raise."""
        ...

    def close(self, *, gracefully: bool) -> None:
        """End the connection. Where the protocol has no acknowledgement, closing gracefully waits until the other side
        has read everything, and raises `RemoteError` where it does not say so."""
        ...


def summary_line(stored: Stored, omitted: int) -> bytes:
    """What is sent for an entry that is too large for its receiver: which one it is, and its hash. Half a JSON document
    would be of use to nobody."""
    entry = stored.entry
    return canonical_bytes({
        "v": 1, "id": entry.id, "kind": entry.kind.value, "index": stored.index, "leaf": leaf_hash(stored.data).hex(),
        "subject": entry.subject[:_MAX_SUBJECT], "omitted_bytes": omitted,
    })  # fmt: skip
