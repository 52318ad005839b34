"""Answers that no Artifactory should give: of another form, too large, or not those that were asked for."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ValidationError

from governance.artifactory import wire
from governance.errors import ConflictError, ProtocolError, RemoteError
from governance.xray import wire as xray_wire
from tests.rawserver import answer
from tests.unit.artifactory_kit import answering, put, sha256_of


def test_a_server_may_ignore_where_to_start() -> None:
    whole = answer(body=b"0123456789", headers={"X-Checksum-Sha256": "0" * 64})
    with answering(whole) as other, other.download("r", "x.bin", start=4) as download:
        assert (download.start, download.size) == (0, 10)


@pytest.mark.parametrize(
    "claimed", ["bytes 0-5/10", "bytes 4-8/10", "bytes 2-9/10", "bytes 4-9/*", "4-9/10", ""]
)
def test_another_range_than_asked_for_is_refused(claimed: str) -> None:
    part = answer(206, b"456789", headers={"Content-Range": claimed})
    with (
        answering(part) as other,
        pytest.raises(ProtocolError, match="range"),
        other.download("r", "x.bin", start=4),
    ):
        pass


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("status", [200, 206])
def test_other_bytes_than_the_part_asked_for_are_refused(start: int, status: int) -> None:
    headers = {"Content-Range": f"bytes {start + 1}-9/10"} if status == 206 else {}
    with answering(answer(status, b"56789", headers=headers)) as other:
        if status == 200 and start == 0:
            assert other.read_part("r", "x.bin", size=2) == b"56"
        else:
            with pytest.raises(ProtocolError, match="range"):
                other.read_part("r", "x.bin", start=start, size=2)


STORED = [
    (b'{"size": "5", "checksums": {"sha256": "%s"}}' % (b"0" * 64), ConflictError),
    (b'{"size": "4", "checksums": {"sha256": "%s"}}' % sha256_of(b"bytes").encode(), ConflictError),
    (b'{"size": "5", "checksums": {"sha256": "short"}}', ProtocolError),
    (b'{"size": "5"}', ProtocolError),
    (b"", ProtocolError),
    (b"<html>", ProtocolError),
]


@pytest.mark.parametrize(("body", "kind"), STORED)
def test_a_server_that_does_not_confirm_the_bytes_is_an_error(body: bytes, kind: type[RemoteError]) -> None:
    shown = answer(200, b'{"repo": "r", "path": "/x.bin", "size": "5"}')
    with answering(answer(201, body), shown) as other, pytest.raises(kind):
        put(other, "r", "x.bin")


def test_a_trimmed_search_is_an_error() -> None:
    trimmed = b'{"results": [], "range": {"notification": "AQL query reached the search hard limit"}}'
    with answering(answer(body=trimmed)) as other, pytest.raises(ProtocolError, match="trimmed"):
        other.aql("items.find({})")


def test_a_ping_that_something_else_answers() -> None:
    with (
        answering(answer(body=b"<html>Welcome to nginx!</html>")) as other,
        pytest.raises(ProtocolError, match="not Artifactory"),
    ):
        other.ping()


ODD_ANSWERS = [
    b"[]",
    b"{}",
    b'{"files": 1}',
    b'{"files": [{"uri": "/x", "folder": false, "size": "many", "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": -1, "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "sha2": "xyz", "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "lastModified": "yesterday"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "lastModified": "2026-01-01T00:00:00"}]}',
]


@pytest.mark.parametrize("body", ODD_ANSWERS)
def test_listings_of_another_form_are_refused(body: bytes) -> None:
    with answering(answer(body=body)) as other, pytest.raises(ProtocolError):
        other.tree("r", "m")


def test_sizes_may_be_texts_and_times_may_have_zones() -> None:
    body = b"""{"uri": "x", "new-field": {}, "files": [{"uri": "/x", "folder": false, "size": "7", "sha2": "%s",
        "lastModified": "2026-01-01T02:00:00.500+02:00", "mdTimestamps": {"properties": "x"}}]}""" % (
        b"AB" * 32
    )
    with answering(answer(body=body)) as other:
        (file,) = other.tree("r", "m").files
    assert (file.size, file.sha256, file.modified.isoformat()) == (
        7,
        "ab" * 32,
        "2026-01-01T00:00:00.500000+00:00",
    )


_SHA = "0" * 64


def _row(uri: str, size: int = 1, *, folder: bool = False) -> dict[str, object]:
    row: dict[str, object] = {"uri": uri, "folder": folder, "lastModified": "2026-01-01T00:00:00.000Z"}
    return row if folder else row | {"size": size, "sha2": _SHA}


@pytest.mark.parametrize(
    "rows",
    [
        [_row("/a"), _row("/a")],
        [_row("/a"), _row("/a", folder=True)],
        [_row("/a"), _row("/a/b")],
        [_row("/a"), _row("/a/b/c", folder=True)],
    ],
    ids=["file twice", "file and folder", "file below a file", "folder below a file"],
)
def test_a_listing_that_names_one_place_twice_is_refused(rows: list[object]) -> None:
    with (
        answering(answer(body=json.dumps({"files": rows}).encode())) as client,
        pytest.raises(ProtocolError, match="one place twice"),
    ):
        client.tree("repo", "f")


@pytest.mark.parametrize("rows", [[_row("/a", 1 << 53)], [_row("/a", 1 << 52), _row("/b", 1 << 52)]])
def test_sizes_that_no_record_can_hold_are_refused(rows: list[object]) -> None:
    with answering(answer(body=json.dumps({"files": rows}).encode())) as client, pytest.raises(ProtocolError):
        client.tree("repo", "f")


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (wire.FileList, b'{"files": [%s]}'),
        (wire.Item, b'{"repo": "r", "path": "p", "children": [%s]}'),
        (wire.AqlResult, b'{"results": [%s]}'),
        (wire.Messages, b'{"messages": [%s]}'),
        (wire.Properties, b'{"properties": {"a": [%s]}}'),
        (wire.Permissions, b'{"principals": {"users": {"a": [%s]}}}'),
        (xray_wire.SummaryAnswer, b'{"artifacts": [%s], "errors": []}'),
        (xray_wire.ViolationsAnswer, b'{"total_violations": 1, "violations": [%s]}'),
        (xray_wire.PoliciesAnswer, b"[%s]"),
        (xray_wire.WatchesAnswer, b"[%s]"),
        (xray_wire.IgnoreRulesAnswer, b'{"total_count": 1, "data": [%s]}'),
    ],
)
def test_of_many_wrong_rows_the_first_is_told_of(form: type[BaseModel], body: bytes) -> None:
    """To tell of millions takes minutes and gigabytes: a few megabytes of an answer would stop a client."""
    with pytest.raises(ValidationError) as caught:
        form.model_validate_json(body % b",".join([b"7"] * 1000))
    assert caught.value.error_count() == 1


def test_more_properties_than_anything_has_are_refused() -> None:
    names = ",".join(f'"a{number}": 1' for number in range(10_001))
    with pytest.raises(ValidationError, match="more than 10000") as caught:
        wire.Properties.model_validate_json(f'{{"properties": {{{names}}}}}')
    assert caught.value.error_count() == 1
