"""Hashing beside the network, local trees, and names that MLflow's proxy cannot carry."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.artifactory.hashing import hashing
from governance.content.localfile import open_local
from governance.errors import TransferError, UnsafePathError
from plugin.proxied import check_name
from plugin.transfer import scan


@pytest.mark.parametrize("size", [0, 10, 4 << 20, (9 << 20) + 3, None])
def test_the_digest_is_that_of_the_pieces_in_order(size: int | None) -> None:
    data = os.urandom(size or 12345)
    if size == 0:
        data = b""
    with hashing(size) as hasher:
        for start in range(0, len(data), 1 << 20):
            hasher.update(data[start : start + (1 << 20)])
        assert hasher.hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_large_body_is_hashed_without_a_thread_where_there_is_none(
    leave_threads: Callable[[int], None],
) -> None:
    leave_threads(0)
    with hashing(None) as hasher:
        hasher.update(b"ab")
        hasher.update(b"c")
        assert hasher.hexdigest() == hashlib.sha256(b"abc").hexdigest()


def test_no_thread_is_left_behind_by_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), hashing(1 << 30) as hasher:
        hasher.update(b"x" * (1 // 0))
    assert threading.active_count() == before


def test_a_local_tree_with_empty_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "hollow/inner").mkdir(parents=True)
    (tmp_path / "a/b/f").write_text("12")
    (tmp_path / "empty").write_text("")
    found = scan(tmp_path)
    assert dict(found.files) == {"a/b/f": 2, "empty": 0}
    assert found.empty_folders == ("hollow/inner",)


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    for make in (
        lambda place: place.symlink_to("/etc/passwd"),
        lambda place: place.symlink_to("/etc"),
        lambda place: place.symlink_to("nowhere"),
        os.mkfifo,
    ):
        make(tmp_path / "odd")
        with pytest.raises(UnsafePathError):
            scan(tmp_path)
        with pytest.raises((UnsafePathError, TransferError)):
            open_local(tmp_path / "odd").close() if not (tmp_path / "odd").is_fifo() else scan(tmp_path)
        (tmp_path / "odd").unlink()


def test_a_name_that_would_leave_its_folder_on_another_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a\\..\\b").write_text("x")
    with pytest.raises(UnsafePathError):
        scan(tmp_path)


def test_what_is_not_there_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for place in (tmp_path / "no", tmp_path / "f"):
        with pytest.raises(TransferError):
            scan(place)
    with pytest.raises(TransferError):
        open_local(tmp_path / "no")


@pytest.mark.parametrize("name", ["a#b", "#", "a?b", "x?/y", "a%20b", "x/%2e%2e/y", "100%25"])
def test_names_that_mlflow_would_change(name: str) -> None:
    with pytest.raises(UnsafePathError, match="cannot carry"):
        check_name(name)


@pytest.mark.parametrize("name", ["a b", "100%", "50% off", "a+b", "a;b", "ü", "a&b=c"])
def test_names_that_arrive_as_they_are(name: str) -> None:
    check_name(name)
