"""Batches of lines as signed POSTs (`application/x-ndjson`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from governance.errors import RemoteError
from governance.stream.post import Post, is_too_large
from governance.stream.sink import BatchTooLargeError, Message, summary_line

_TYPE = "application/x-ndjson"


class WebhookSink:
    """A receiver that answers 200, 201, 202 or 204 once it has taken a batch."""

    def __init__(self, post: Post, *, origin: str) -> None:
        self._post = post
        self._origin = origin

    def send(self, messages: Sequence[Message]) -> None:
        """See `Sink.send`. An entry that is too large even alone is told of by id and hash."""
        try:
            self._send([message.line for message in messages], messages)
        except RemoteError as error:
            if not is_too_large(error):
                raise
            if len(messages) > 1:
                raise BatchTooLargeError("the webhook takes no batch of this size") from error
            self._send([summary_line(messages[0].stored, len(messages[0].line))], messages)

    def close(self, *, gracefully: bool) -> None:  # noqa: ARG002 - the contract's argument; each batch was answered
        """See `Sink.close`."""
        self._post.close()

    def _send(self, lines: Sequence[bytes], messages: Sequence[Message]) -> None:
        self._post.send(
            b"".join(line + b"\n" for line in lines), message_id=self._id(messages), content_type=_TYPE
        )

    def _id(self, messages: Sequence[Message]) -> str:
        """The same for the same entries, by which a receiver knows a repeat."""
        named = (
            f"{self._origin}\n{messages[0].stored.entry.id}\n{messages[-1].stored.entry.id}\n{len(messages)}"
        )
        return f"audit_{hashlib.sha256(named.encode()).hexdigest()[:32]}"
