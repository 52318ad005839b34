"""Files that settings name: only what ends, and nothing that is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance.places import open_file, read_bounded


@pytest.mark.parametrize("may_be_piped", [False, True])
def test_what_is_no_file_is_refused_by_its_kind(tmp_path: Path, may_be_piped: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(OSError, match=f"it is {kind}, not a file"):
            open_file(path, may_be_piped=may_be_piped)


def test_what_a_shell_pipes_in_is_read_where_it_may_be() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret")
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    with pytest.raises(OSError, match="named pipe"):
        open_file(path)
    assert read_bounded(path) == b"secret"
    os.close(reading)
