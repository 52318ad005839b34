"""Published bypasses and harmless files, collected by picklescan. Scanned as bytes; nothing here is ever unpickled."""

from __future__ import annotations

import csv
import hashlib
import io
import pickletools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, judge
from governance.content.machine import WITHIN
from governance.content.pickles import walk
from governance.content.values import GETATTR

_FOLDER = Path(__file__).resolve().parents[2] / "../shared/vectors/picklescan"
_ARCHIVE = _FOLDER / "picklescan-tests.tar.xz"

pytestmark = pytest.mark.skipif(
    not _ARCHIVE.exists(), reason="the shared vectors do not lie beside the project"
)


def samples() -> Iterator[tuple[str, str, bytes]]:
    """Name, label and bytes of each sample, in memory."""
    if not _ARCHIVE.exists():
        return
    with tarfile.open(_ARCHIVE) as archive:
        files = {
            member.name: stream.read()
            for member in archive.getmembers()
            if member.isfile() and (stream := archive.extractfile(member)) is not None
        }
    for row in csv.DictReader(io.StringIO(files["manifest.csv"].decode())):
        data = files[row["path"]]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        yield row["path"].rpartition("/")[2], row["label"], data


SAMPLES = list(samples())


@pytest.mark.parametrize(("name", "label", "data"), SAMPLES, ids=[name for name, _, _ in SAMPLES])
def test_no_malicious_sample_is_clean_and_no_harmless_one_is_blocked(
    name: str, label: str, data: bytes
) -> None:
    found = inspect(name, data)
    verdict = judge(found.imports, is_broken=found.broken is not None)
    if label == "mal":
        assert verdict != CLEAN
    elif label == "ok":
        assert verdict == CLEAN
        assert found.skipped is None


def test_most_are_called_malicious_outright() -> None:
    verdicts = []
    for name, label, data in SAMPLES:
        if label == "mal":
            found = inspect(name, data)
            verdicts.append(judge(found.imports, is_broken=found.broken is not None))
    assert len(verdicts) == 62
    assert verdicts.count(MALICIOUS) >= 50


@pytest.mark.parametrize(("name", "data"), [(n, d) for n, _, d in SAMPLES if d[:1] not in b"P\x93"])
def test_the_standard_librarys_own_reading_finds_no_more(name: str, data: bytes) -> None:
    """`pickletools` decodes the operations by itself: whatever it calls an import, the walk has."""
    found = set(walk(data).imports)
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name in {"GLOBAL", "INST"}:
                stated = str(argument).replace(" ", ".", 1)
                # What `getattr` is asked for stands in its place.
                assert stated in found or (
                    stated in GETATTR and any(name.startswith(WITHIN) for name in found)
                )
            if operation.name == "STACK_GLOBAL":
                assert found
    except (ValueError, UnicodeDecodeError):
        return  # the sample is broken on purpose; what came before was compared
