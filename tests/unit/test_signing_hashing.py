"""Hashing folders: what is read, what is refused, and that a file which changes meanwhile is noticed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.errors import GovernanceError, SignatureError, TransferError, UnsafePathError
from governance.model.artifact import RelativePath
from governance.signing.hashing import CHUNK, LocalFile, hash_folder, hash_parts, list_files, read_into
from tests.unit.signing_kit import FILES, manifest_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_folder_has_one_manifest_however_many_workers_read_it(folder: Path, workers: int) -> None:
    assert hash_folder(folder, workers=workers) == manifest_of()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_sizes_around_the_buffer(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "f").write_bytes(data)
    (entry,) = hash_folder(tmp_path).entries
    assert (entry.sha256, entry.size) == (hashlib.sha256(data).hexdigest(), size)


def test_git_files_and_the_signature_are_left_out_at_the_root_only(folder: Path) -> None:
    for name in (".git/config", ".gitignore", "model.sig", "sub/model.sig", "sub/.gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    names = {entry.name for entry in hash_folder(folder).entries}
    assert names == set(FILES) | {"sub/model.sig", "sub/.gitignore"}


def link_file(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def link_folder(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "sub")


def dangling(folder: Path) -> None:
    (folder / "link").symlink_to("nowhere")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def newline(folder: Path) -> None:
    (folder / "a\nb").write_bytes(b"")


def not_utf8(folder: Path) -> None:
    (folder / os.fsdecode(b"a\xff")).write_bytes(b"")


@pytest.mark.parametrize("spoil", [link_file, link_folder, dangling, pipe, newline, not_utf8])
def test_links_pipes_and_odd_names_are_refused(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(UnsafePathError):
        hash_folder(folder)


def test_a_lone_file_that_is_a_link_is_refused_and_a_link_to_the_whole_folder_is_not(folder: Path) -> None:
    (folder.parent / "current").symlink_to(folder)
    assert hash_folder(folder.parent / "current") == manifest_of()
    (folder.parent / "latest").symlink_to(folder / "MLmodel")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        hash_folder(folder.parent / "latest")


def test_a_folder_that_is_not_there_and_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="cannot be listed"):
        hash_folder(tmp_path / "nowhere")
    gone = LocalFile(list_files_name(tmp_path), str(tmp_path / "gone"), 0)
    with pytest.raises(TransferError, match="cannot be read"):
        read_into(gone, bytearray(10), len)


def list_files_name(tmp_path: Path) -> RelativePath:
    (tmp_path / "here").write_bytes(b"")
    return list_files(tmp_path)[0].name


def test_a_file_that_became_a_link_after_it_was_listed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    (listed,) = list_files(tmp_path)
    (tmp_path / "f").unlink()
    (tmp_path / "f").symlink_to("/etc/passwd")
    with pytest.raises(UnsafePathError, match="symbolic link"):
        read_into(listed, bytearray(10), len)


def test_a_file_that_became_a_folder_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    (listed,) = list_files(tmp_path)
    (tmp_path / "f").unlink()
    os.mkfifo(tmp_path / "f")
    with pytest.raises(UnsafePathError, match="neither"):
        read_into(listed, bytearray(10), len)


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended": lambda path: path.open("ab").write(b"more"),
    "truncated": lambda path: os.truncate(path, 3),
    "rewritten at the same length": lambda path: path.write_bytes(b"y" * 100),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    (listed,) = list_files(tmp_path)
    pieces: list[int] = []

    def take(piece: memoryview) -> None:
        if not pieces:
            CHANGES[change](path)
            os.utime(path, ns=(1, 1))
        pieces.append(len(piece))

    with pytest.raises(TransferError, match="changed while it was hashed"):
        read_into(listed, bytearray(10), take)


def test_a_file_that_grew_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (listed,) = list_files(tmp_path)
    (tmp_path / "f").write_bytes(b"xy")
    with pytest.raises(TransferError, match="changed"):
        read_into(listed, bytearray(10), len)


def test_the_first_error_ends_the_work_of_all(tmp_path: Path) -> None:
    for index in range(50):
        (tmp_path / f"f{index:02}").write_bytes(b"x")
    (tmp_path / "f00").unlink()
    (tmp_path / "f00").symlink_to("f01")
    before = threading.active_count()
    with pytest.raises(GovernanceError):
        hash_folder(tmp_path)
    assert threading.active_count() == before


@pytest.mark.parametrize(("algorithm", "length"), [("sha256", 64), ("blake2b", 128)])
def test_shards_cover_a_file_and_an_empty_one_is_still_seen(
    tmp_path: Path, algorithm: str, length: int
) -> None:
    data = os.urandom(25)
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "empty").write_bytes(b"")
    found = hash_parts(tmp_path, algorithm=algorithm, shard_size=10)
    assert found["empty"] == {}
    assert list(found["f"]) == ["f:0:10", "f:10:20", "f:20:25"]
    assert found["f"]["f:10:20"] == hashlib.new(algorithm, data[10:20]).hexdigest()
    assert {len(digest) for digest in found["f"].values()} == {length}


def test_blake3_is_read_where_the_package_is_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    if importlib.util.find_spec("blake3") is None:
        with pytest.raises(SignatureError, match="needs the package `blake3`"):
            hash_parts(tmp_path, algorithm="blake3", shard_size=None)
        return
    found = hash_parts(tmp_path, algorithm="blake3", shard_size=None)
    # `b3sum` of "abc".
    assert found["f"]["f"] == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
