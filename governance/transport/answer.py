"""What comes back from a request: an `Answer` with its whole body, or a `StreamedResponse` still on the wire.

Promises: a body that is cut short is an error, never a shorter body (urllib3 compares what arrives with what was
announced; the tests hold it to that). Does not: decode content codings. None are asked
for, since a compressed body has neither the announced size nor the announced checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import urllib3
from pydantic import BaseModel, ValidationError

from governance.transport.clocked import buy_time
from governance.transport.failures import FAILURES, Exchange, failure_of

_PIECE = 64 << 10
_MAX_DIGITS = 18
"""Of a length: no body has more bytes, and Python refuses to read thousands of digits."""

MOST_WEIGHT = 512 << 20
_OBJECT, _MEMBER = 384, 48
"""Bytes that an object of JSON and a member of one or of a list take once they are read, however short they are written."""

Form = TypeVar("Form", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, its body within the size limit. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    exchange: Exchange

    @property
    def weight(self) -> int:
        """About how many bytes it takes once it is read."""
        return len(self.body) + _OBJECT * self.body.count(b"{") + _MEMBER * self.body.count(b",")

    def json(self) -> Any:
        """The body as JSON. Raises `ProtocolError` for anything else, such as a proxy's page."""
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(self.body)
        # Raised outside the handler: that exception carries the whole body.
        raise self.exchange.broken("an answer that is not JSON", status=self.status)

    def read(self, form: type[Form]) -> Form:
        """The body as one of the wire forms. Raises `ProtocolError` that names the first field that does not fit, or for an answer
        that weighs more than `MOST_WEIGHT`."""
        if self.weight > MOST_WEIGHT:
            raise self.exchange.broken(
                f"an answer of {self.body.count(b'{'):,} objects and {self.body.count(b','):,} members",
                status=self.status,
            )
        try:
            return form.model_validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # Raised outside the handler: pydantic's error repeats what the server sent.
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise self.exchange.broken(
            f"an answer of an unknown form: {place}: {first['msg']}", status=self.status
        )

    def text(self) -> str:
        """The body as UTF-8 text. Raises `ProtocolError`."""
        with suppress(UnicodeDecodeError):
            return self.body.decode()
        raise self.exchange.broken("an answer that is not text", status=self.status)


class StreamedResponse:
    """An answer whose body the caller reads, once. `length` is the announced number of bytes, where there is one."""

    def __init__(self, response: urllib3.BaseHTTPResponse, exchange: Exchange) -> None:
        self._raw = response
        self.exchange = exchange
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self.length = content_length(response, exchange)

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """Pieces of at most `size` bytes. Raises `ProtocolError` where the body ends before its announced length."""
        while chunk := self._read(size):
            buy_time(self._raw, len(chunk))
            yield chunk
            if self._raw.length_remaining == 0:
                return  # all that was announced is here: asking for more would only cost a call

    def read_all(self, limit: int) -> bytes:
        """The whole body. Raises `ProtocolError` for more than `limit` bytes, before they are in memory."""
        if self.length is not None and self.length > limit:
            raise self.exchange.broken(f"a body of {self.length} bytes (the limit is {limit})")
        pieces, received = [], 0
        for piece in self.iter_chunks(_PIECE):
            received += len(piece)
            if received > limit:
                raise self.exchange.broken(f"a body of more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._raw.read(size, decode_content=False)
        except FAILURES as error:
            failure, cause = failure_of(error, self.exchange)
        else:
            return data
        raise failure from cause


def read_capped(
    response: urllib3.BaseHTTPResponse,
    exchange: Exchange,
    *,
    limit: int,
    seconds: float,
    clock: Callable[[], float],
) -> bytes:
    """The whole body of a small answer, bounded in bytes and in time, so that no server can hold a caller by sending
    a byte a minute."""
    length = content_length(response, exchange)
    if length is not None and length > limit:
        raise exchange.broken(f"an answer of {length} bytes (the limit is {limit})", status=response.status)
    body, end = bytearray(), clock() + seconds
    while piece := _next_piece(response, exchange):
        body += piece
        if len(body) > limit:
            raise exchange.broken(f"an answer of more than {limit} bytes", status=response.status)
        if clock() > end:
            raise exchange.unreachable(f"the answer was not complete after {seconds:g} s")
    return bytes(body)


def content_length(response: urllib3.BaseHTTPResponse, exchange: Exchange) -> int | None:
    """The announced length of a body sent as it is. Raises `ProtocolError` for a compressed one."""
    if response.headers.get("Content-Encoding", "identity") not in {"identity", ""}:
        raise exchange.broken("a compressed body, which was not asked for", status=response.status)
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _next_piece(response: urllib3.BaseHTTPResponse, exchange: Exchange) -> bytes:
    try:
        # `read1` gives what one receive brought, so that the caller's clock is looked at in between.
        data: bytes = response.read1(_PIECE, decode_content=False)
    except FAILURES as error:
        failure, cause = failure_of(error, exchange)
    else:
        return data
    raise failure from cause
