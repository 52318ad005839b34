"""Files on their way to the server: as long as was said, and sent again only from their start."""

from __future__ import annotations

import io

import pytest

from governance.errors import TransferError, UnavailableError
from tests.rawserver import answer
from tests.unit.transport_kit import talking_to


def test_an_upload_is_streamed_and_sent_again_from_its_start() -> None:
    body = io.BytesIO(b"skip" + b"x" * 700_000)
    body.seek(4)
    with talking_to(answer(503), answer(201)) as (session, server):
        session.send("r/f", body, size=700_000, headers={"X-Checksum-Sha256": "ab"})
    assert [seen.body for seen in server.seen] == [b"x" * 700_000] * 2
    assert server.seen[1].headers["content-length"] == "700000"
    assert "transfer-encoding" not in server.seen[1].headers


def test_an_upload_that_cannot_be_rewound_is_sent_once() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with talking_to(answer(503)) as (session, server), pytest.raises(UnavailableError):
        session.send("r/f", Pipe(b"abc"), size=3)
    assert len(server.seen) == 1


def test_an_empty_file_is_sent_with_a_length() -> None:
    with talking_to(answer(201)) as (session, server):
        session.send("r/f", io.BytesIO(b""), size=0)
    assert server.seen[0].headers["content-length"] == "0"


def test_a_file_that_grows_is_sent_as_long_as_it_was() -> None:
    with talking_to(answer(201)) as (session, server):
        session.send("r/f", io.BytesIO(b"abcdef"), size=3)
    assert server.seen[0].body == b"abc"


def test_a_file_that_shrinks_is_a_local_error() -> None:
    with talking_to(answer(201)) as (session, _), pytest.raises(TransferError, match="2 bytes early"):
        session.send("r/f", io.BytesIO(b"a"), size=3)


def test_a_disk_that_fails_before_another_try_is_a_local_error() -> None:
    class Gone(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            raise OSError(116, "Stale file handle")

    with (
        talking_to(answer(503), answer(201)) as (session, server),
        pytest.raises(TransferError, match="Stale"),
    ):
        session.send("r/f", Gone(b"abc"), size=3)
    assert len(server.seen) == 1


def test_a_disk_that_fails_is_a_local_error() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with talking_to(answer(201)) as (session, server), pytest.raises(TransferError, match="Input/output"):
        session.send("r/f", Failing(b"abc"), size=3)
    assert all(seen.body != b"abc" for seen in server.seen)
