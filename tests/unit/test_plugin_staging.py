"""Staging and release: all or nothing, and never through a link."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from governance.errors import StorageFullError, TransferError, UnsafePathError
from plugin.staging import check_room, destination, release, space_errors, staging


def test_files_arrive_where_they_belong_and_the_staging_folder_goes(tmp_path: Path) -> None:
    with staging(tmp_path) as staged:
        assert staged.stat().st_mode & 0o777 == 0o700
        (staged / "a/empty").mkdir(parents=True)
        (staged / "a/f").write_text("x")
        release(staged, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/empty", "a/f"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staging(tmp_path) as staged:
        (staged / "f").write_text(str(1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with staging(tmp_path) as staged:
        (staged / "f").write_text("new")
        release(staged, tmp_path)
    assert (tmp_path / "f").read_text() == "new"


@pytest.mark.parametrize("below", ["", "m"])
def test_what_lay_in_a_models_folder_before_is_named(
    below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who loads the folder may load it, and nobody judged the two together."""
    for name in (
        "MLmodel",
        "code/old.py",
        "code/__pycache__/new.pyc",
        "registered_model_meta",
        ".mlgov-other/x",
    ):
        (tmp_path / below / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / below / name).write_text("old")
    with staging(tmp_path) as staged:
        (staged / below / "code").mkdir(parents=True)
        for name in ("MLmodel", "code/new.py"):
            (staged / below / name).write_text("new")
        release(staged, tmp_path)
    (line,) = caplog.messages
    assert str(tmp_path / below / "code/old.py") in line


def test_a_model_without_anything_else_in_its_place_arrives_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for names in (("MLmodel", "w.bin"), ("MLmodel", "w.bin"), ("MLmodel",)):
        with staging(tmp_path) as staged:
            (staged / "m").mkdir()
            for name in names:
                (staged / "m" / name).write_text("x")
            release(staged, tmp_path)
    assert caplog.messages == []


def test_nothing_is_released_through_a_link(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "d").symlink_to(outside)
    with staging(target) as staged:
        (staged / "a").write_text("x")
        (staged / "d").mkdir()
        (staged / "d/f").write_text("x")
        with pytest.raises(UnsafePathError):
            release(staged, target)
    assert list(outside.iterdir()) == []
    assert not (target / "a").exists()


@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_nothing_is_released_where_something_else_is_in_the_way(tmp_path: Path, kind: str) -> None:
    """Half of a model would lie there, and the error would be one of Python's."""
    (tmp_path / "m").mkdir()
    with staging(tmp_path) as staged:
        (staged / "m/first").mkdir(parents=True)
        (staged / "m/model.pkl").write_text("x")
        (staged / "m/zdata").mkdir()
        if kind == "a file":
            (tmp_path / "m/zdata").write_text("mine")
        else:
            (tmp_path / "m/model.pkl").mkdir()
        before = sorted(tmp_path.glob("m/*"))
        with pytest.raises(TransferError, match=f"is {kind}, and .* was downloaded"):
            release(staged, tmp_path)
    assert sorted(tmp_path.glob("m/*")) == before


def test_a_destination_that_cannot_be_written_to_is_named() -> None:
    with pytest.raises(TransferError, match="`/proc` cannot be written to"), staging(Path("/proc")):
        pass


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "f").symlink_to(outside)
    with staging(tmp_path) as staged:
        (staged / "f").write_text("new")
        release(staged, tmp_path)
    assert (outside.read_text(), (tmp_path / "f").read_text()) == ("mine", "new")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_has_an_error_of_its_own(number: int, tmp_path: Path) -> None:
    with pytest.raises(StorageFullError), space_errors(tmp_path):
        raise OSError(number, "full")


def test_other_errors_of_the_disk_are_told_with_the_name_and_the_reason(tmp_path: Path) -> None:
    wanted = "`a` cannot be written to: File name too long"
    with pytest.raises(TransferError, match=wanted) as caught, space_errors(tmp_path, "a"):
        raise OSError(errno.ENAMETOOLONG, "File name too long")
    assert isinstance(caught.value.__cause__, OSError)


def test_what_cannot_fit_is_not_begun(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with pytest.raises(StorageFullError):
        check_room(tmp_path, 1 << 60)


def test_the_destination_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for path, code in (
        (tmp_path / "no", "RESOURCE_DOES_NOT_EXIST"),
        (tmp_path / "f", "INVALID_PARAMETER_VALUE"),
    ):
        with pytest.raises(MlflowException) as caught, destination(str(path)):
            pass
        assert caught.value.error_code == code


def test_a_new_destination_stays_where_something_came_and_goes_where_nothing_did(tmp_path: Path) -> None:
    """A service that asks again and again for a model that is refused was left with an empty folder each time."""
    with destination(None) as kept:
        (kept / "f").write_text("x")
    assert (kept / "f").read_text() == "x"
    shutil.rmtree(kept)
    gone = tmp_path / "none yet"

    def refused() -> None:
        nonlocal gone
        with destination(None) as gone:
            check_room(gone, 1 << 60)

    with pytest.raises(StorageFullError):
        refused()
    assert gone.name != "none yet"
    assert not gone.exists()
