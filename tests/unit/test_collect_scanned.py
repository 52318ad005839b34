"""When a file counts as scanned. The embedded server is too honest to show every mixture, so these are values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from governance.collect.scanned import FileScan, Scanned, join
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.digest import parse_sha256
from governance.xray.items import ScanState, ScanStatus, Summary

NOW_BYTES, OTHER_BYTES = parse_sha256("a" * 64), parse_sha256("b" * 64)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def about(name: str, sha256: str) -> Summary:
    return Summary(path=name, component_id="", sha256=parse_sha256(sha256))


def scan(
    name: str = "model.pkl",
    state: ScanState = ScanState.DONE,
    *,
    summary: str | None = NOW_BYTES,
    entry: str | None = NOW_BYTES,
    at: datetime | None = AT,
) -> FileScan:
    return FileScan(
        entry=FileEntry(
            path=parse_relative_path(name), size=1, sha256=parse_sha256(entry) if entry else None
        ),
        status=ScanStatus(state=state, at=at, engines=("sca",)),
        summaries=(about(name, summary),) if summary else (),
    )


GOOD = [
    scan(),
    scan("MLmodel", ScanState.NOT_SUPPORTED, summary=None),
    scan("a.json", ScanState.NOT_SUPPORTED),
    replace(scan(), summaries=(about("model.pkl", NOW_BYTES),) * 2),
    scan("uv.lock", ScanState.NOT_SUPPORTED),
    scan(".python-version", ScanState.NOT_SUPPORTED),
]
BAD = [
    *(scan(state=state) for state in ScanState if state is not ScanState.DONE),
    scan("MLmodel", ScanState.NOT_SCANNED, summary=None),
    scan("MLmodel", ScanState.ABSENT, summary=None),
    scan("code.py", ScanState.NOT_SUPPORTED),
    scan("no-ending", ScanState.NOT_SUPPORTED),
    scan(summary=None),
    scan(summary=OTHER_BYTES),
    scan(entry=None),
    scan(entry=None, summary=None),
    replace(scan(), summaries=(about("model.pkl", OTHER_BYTES), about("model.pkl", NOW_BYTES))),
]


@pytest.mark.parametrize("file", GOOD)
def test_what_counts_as_scanned(file: FileScan) -> None:
    assert file.problem is None


@pytest.mark.parametrize("file", BAD)
def test_what_does_not(file: FileScan) -> None:
    assert file.problem is not None
    assert str(file.entry.path) in file.problem
    assert Scanned(files=(scan(), file)).problem == file.problem


def test_no_file_is_no_scanned_artifact() -> None:
    assert Scanned(files=()).problem == "there is no file"


def test_news_of_other_bytes_is_no_news() -> None:
    assert Scanned(files=(scan(summary=OTHER_BYTES), scan(entry=None))).summaries == ()
    assert len(Scanned(files=(scan(), scan(state=ScanState.PARTIAL))).summaries) == 2


def test_the_oldest_scan_counts_and_one_without_a_time_makes_it_unknown() -> None:
    older = scan(at=AT - timedelta(days=1))
    assert Scanned(files=(scan(), older)).oldest == AT - timedelta(days=1)
    assert Scanned(files=(scan(), scan(at=None))).oldest is None
    assert Scanned(files=()).oldest is None


def test_two_summaries_of_one_file_both_count() -> None:
    entry = FileEntry(path=parse_relative_path("x"), sha256=NOW_BYTES)
    first, last = about("r/x", NOW_BYTES), replace(about("r/x", NOW_BYTES), component_id="again")
    assert join([(entry, "r/x")], {}, [first, last]).summaries == (first, last)


def test_a_file_that_nobody_speaks_of_is_absent() -> None:
    entry = FileEntry(path=parse_relative_path("x"), sha256=NOW_BYTES)
    (file,) = join([(entry, "r/x")], {}, []).files
    assert file.status == ScanStatus(state=ScanState.ABSENT)
    assert not file.is_indexed
