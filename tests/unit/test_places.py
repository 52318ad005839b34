"""Files that settings name: only what ends, and nothing that is waited for."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from governance.audit import note
from governance.errors import ConfigurationError
from governance.places import (
    is_readable_by_others,
    is_writable_by_others,
    make_private,
    open_file,
    open_made,
    read_bounded,
    write_new,
    write_output,
    write_whole,
)
from governance.signing import keys
from governance.waivers import writing
from tests.full_disk import full_above


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give to others")
def test_what_root_writes_in_a_services_home_is_the_services(tmp_path: Path) -> None:
    """Who looked once with `sudo` must not end what the service remembers there: what it cannot read stops it."""
    nobody = 65_534
    home, shared, theirs = tmp_path / "home", tmp_path / "shared", tmp_path / "theirs"
    for folder in (home, shared):
        folder.mkdir()
        os.chown(folder, nobody, nobody)
    home.chmod(0o700)
    shared.chmod(0o755)
    (shared / "had").write_bytes(b"before")
    os.chown(shared / "had", nobody, nobody)
    make_private(home / "keys" / "deep")
    os.close(open_made(home / "log"))
    os.close(open_made(shared / "lock"))
    write_new(home / "keys" / "deep" / "key", b"key")
    for path in (home / "head", shared / "had", shared / "new"):
        write_whole(path, b"head")
    theirs.write_bytes(b"")
    for name, target in (("link", theirs), ("dangling", tmp_path / "made")):
        (home / name).symlink_to(target)
        os.close(open_made(home / name))
    of_root = {path for path in tmp_path.rglob("*") if path.lstat().st_uid == 0 and not path.is_symlink()}
    assert of_root == {shared / "new", theirs, tmp_path / "made"}
    assert (home / "head").stat().st_gid == nobody


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give to others")
@pytest.mark.parametrize("mode", [0o1777, 0o775])
def test_what_root_writes_where_others_put_files_is_given_to_none_of_them(tmp_path: Path, mode: int) -> None:
    """Else whoever foresees its name puts an empty file in `/tmp`, and is given what comes in its place."""
    tmp_path.chmod(mode)
    (tmp_path / "head").write_bytes(b"")
    (tmp_path / "new").symlink_to(tmp_path / "nowhere")
    for name in ("head", "new"):
        os.chown(tmp_path / name, 65_534, 65_534, follow_symlinks=False)
        write_whole(tmp_path / name, b"of root's")
        assert (tmp_path / name).lstat().st_uid == 0


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


@pytest.mark.parametrize(
    ("mode", "owner", "user", "is_open"),
    [
        (0o400, 1000, 1000, False),
        (0o440, 1000, 1000, True),
        (0o440, 0, 1000, False),
        (0o640, 0, 1000, False),
        (0o460, 0, 1000, True),
        (0o444, 0, 1000, True),
        (0o440, 1, 1000, True),
        (0o440, 0, 0, True),
        (0o600, 0, 0, False),
    ],
)
def test_a_secret_of_roots_may_be_handed_to_a_users_group_and_no_other(
    monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, user: int, is_open: bool
) -> None:
    """Kubernetes gives a secret the mode 0440 for a user who is not root, and nothing in the container can change it."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert (
        is_readable_by_others(os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 7, 0, 0, 0, 0))) is is_open
    )


def test_nobody_writes_to_what_is_mounted_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a `ConfigMap` of Kubernetes has the mode 0777."""
    tmp_path.chmod(0o777)
    assert is_writable_by_others(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert not is_writable_by_others(tmp_path)


def test_of_two_who_write_a_file_at_once_each_writes_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of one process, or the first processes of two containers that share the folder: their number is the same."""
    path, flush = tmp_path / "head", os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.undo()
        write_whole(path, b"second")
        assert path.read_bytes() == b"second"
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_whole(path, b"first")
    assert path.read_bytes() == b"first"
    assert [each.name for each in tmp_path.iterdir()] == ["head"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "head"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: writing.write_new(path, b"a step of a waiver"),
        lambda path: keys.generate_key(path, "passphrase"),
        lambda path: note.generate_key(path, passphrase=None),
    ],
    ids=["waiver", "signing key", "checkpoint key"],
)
def test_what_a_full_disk_cut_short_can_be_written_again(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    path = tmp_path / "new"
    with full_above(10), pytest.raises(ConfigurationError, match="File too large"):
        write(path)
    write(path)
    whole = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"exist"):
        write(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("has_links", [True, False])
def test_a_process_that_is_killed_leaves_no_half_of_a_new_file_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Half of a key is a key that nobody writes over, and nobody can read."""

    def none(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:  # as on FAT, and on some disks that are shared
        monkeypatch.setattr(os, "link", none)
    path, names = tmp_path / "new", []
    monkeypatch.setattr(os, "fsync", lambda _: names.append([each.name for each in tmp_path.iterdir()]))
    write_new(path, b"whole", mode=0o640)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"whole", 0o640)
    assert "new" not in names[0], "it is flushed before it has its name"
    with pytest.raises(FileExistsError):
        write_new(path, b"other")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "link", b"other")
    assert path.read_bytes() == b"whole"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "new"]


def test_where_there_are_no_links_a_name_that_was_taken_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_new(tmp_path / "key", b"whole")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EACCES])
def test_a_file_that_cannot_be_replaced_is_written_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """One that is mounted by itself into a container, or lies in a folder of somebody else's."""

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    path = tmp_path / "mounted"
    path.write_bytes(b"a longer one before")
    monkeypatch.setattr(Path, "replace", refuse)
    write_output(path, b"after")
    assert path.read_bytes() == b"after"
    with pytest.raises(OSError, match=os.strerror(error)):
        write_output(tmp_path / "new", b"after")
    assert [each.name for each in tmp_path.iterdir()] == ["mounted"]


def test_what_is_written_where_a_user_says_goes_into_a_pipe_and_through_a_link(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    write_output(Path(f"/dev/fd/{writing}"), b"piped")
    assert os.read(reading, 10) == b"piped"
    for end in (reading, writing):
        os.close(end)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for data in (b"new", b"again"):
        write_output(tmp_path / "link", data)
        assert (tmp_path / "file").read_bytes() == data
        (tmp_path / "file").chmod(0o4664)  # more than a umask leaves, and what is not taken over
    write_output(tmp_path / "link", b"once more")
    assert stat.S_IMODE((tmp_path / "link").stat().st_mode) == 0o664
    with pytest.raises(OSError, match="directory"):
        write_output(tmp_path, b"data")
