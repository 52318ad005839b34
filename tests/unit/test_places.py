"""Files that settings name: only what ends, and nothing that is waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from governance.places import make_private, open_file, read_bounded


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


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022])
def test_a_folder_is_made_for_this_user_alone_with_those_above_it(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        make_private(tmp_path / "home" / "keys" / "deep")
        make_private(tmp_path / "home" / "keys")
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {(path.name, stat.S_IMODE(path.stat().st_mode)) for path in made} == {
        (name, 0o700) for name in ("home", "keys", "deep")
    }


def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_private(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "home")
    with pytest.raises(OSError, match="home"):
        make_private(tmp_path / "home" / "keys")
