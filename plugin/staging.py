"""Private folders in which downloads wait until all of them have been found good.

Promises: nothing is seen at the destination before `release`; on any error the folder is gone and the destination as
before. A release is a rename per file on one file system, and never goes through a symbolic link below the destination; what lay
in the folder of a model before stays, as with MLflow's own downloads, and a warning names it. Does not: judge, or hash.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.utils.file_utils import create_tmp_dir

from governance.errors import StorageFullError, TransferError, UnsafePathError
from plugin.location import is_model_file

logger = logging.getLogger(__name__)

_SHOWN = 300
_LOOKED_AT = 10_000
_KEPT = frozenset({"__pycache__", "registered_model_meta"})
"""What Python and MLflow write into the folder of a model that is loaded."""
_PREFIX = ".mlgov-"
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def destination(dst_path: str | None) -> Iterator[Path]:
    """The folder to download into: the caller's, which must exist, or a new one, which is gone again where nothing was downloaded and
    which the caller owns else."""
    if dst_path:
        yield _existing(dst_path)
        return
    folder = Path(create_tmp_dir())
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _existing(dst_path: str) -> Path:
    folder = Path(dst_path).absolute()
    if not folder.exists():
        raise MlflowException(
            f"The destination path for downloaded artifacts does not exist! Destination path: {folder}",
            error_code=RESOURCE_DOES_NOT_EXIST,
        )
    if not folder.is_dir():
        raise MlflowException(
            f"The destination path for downloaded artifacts must be a directory! Destination path: {folder}",
            error_code=INVALID_PARAMETER_VALUE,
        )
    return folder


@contextmanager
def staging(beside: Path) -> Iterator[Path]:
    """A folder that only this user can read, on the file system of `beside`, removed at the end whatever happens."""
    with space_errors(beside):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release(staged: Path, target: Path) -> None:
    """Move everything below `staged` to the same places below `target`; a folder that is new there goes in one piece.

    Raises, before anything is moved, `UnsafePathError` where a folder on the way is a symbolic link: it could lead anywhere, and the
    name came from a server; and `TransferError` where a file lies in a folder's place, or a folder in a file's.
    """
    _check_places(staged, target)
    with space_errors(target):
        left = _left_over(staged, target)
        _merge(staged, target)
    for place in left:
        logger.warning(
            "`%s` was there before the model that was downloaded into its folder: nobody judged the two together, and who loads the folder may load it",
            place,
        )


@contextmanager
def space_errors(place: str | Path, name: str | None = None) -> Iterator[None]:
    """Say `StorageFullError` for every way in which an operating system says that there is no room, and `TransferError` for
    whatever else it does not do: a name that is too long for it, one that it takes for another's, a missing right. `name` is what
    was to be written there."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise TransferError(
                f"`{str(name or place)[:_SHOWN]}` cannot be written to: {error.strerror}",
                hint="Choose another destination for the download.",
            ) from error
        raise StorageFullError(
            f"no space left at `{place}`",
            hint="Nothing was released. Free some space, or set `TMPDIR` to a larger file system.",
        ) from error


def check_room(place: Path, wanted: int) -> None:
    """Raise `StorageFullError` before the first byte where `wanted` bytes cannot fit."""
    free = shutil.disk_usage(place).free
    if wanted > free:
        raise StorageFullError(
            f"{wanted} bytes are to be downloaded and {free} are free at `{place}`",
            hint="Nothing was downloaded. Free some space, or choose another destination.",
        )


def _check_places(staged: Path, target: Path) -> None:
    folders = _folders(staged)
    with os.scandir(staged) as entries:
        for entry in entries:
            _check_place(target / entry.name, is_folder=entry.name in folders)
    for name in folders:
        if (target / name).is_dir():
            _check_places(staged / name, target / name)


def _check_place(place: Path, *, is_folder: bool) -> None:
    is_link = place.is_symlink()
    if is_folder and is_link:
        raise UnsafePathError(f"`{place}` is a symbolic link: nothing is written through it")
    if is_link or not place.exists() or place.is_dir() == is_folder:
        return
    there, wanted = ("a file", "a folder") if is_folder else ("a folder", "a file")
    raise TransferError(
        f"`{place}` is {there}, and {wanted} of this name was downloaded",
        hint="Nothing was released. Take it away, or choose another destination.",
    )


def _merge(staged: Path, target: Path) -> None:
    folders = _folders(staged)
    for name in folders:
        if (target / name).is_dir():
            _merge(staged / name, target / name)
        else:
            (staged / name).rename(target / name)
    for entry in list(os.scandir(staged)):
        if entry.name not in folders:
            os.replace(entry.path, target / entry.name)  # noqa: PTH105 - a thousand files, and no path object for each


def _left_over(staged: Path, target: Path) -> list[Path]:
    """For each model below `staged`, the first file in its place that is none of its own, if there is one. A file of a model that
    was asked for alone makes no model."""
    if not target.is_dir():
        return []
    names = os.listdir(staged)  # noqa: PTH208 - names alone
    if len(names) > 1 and any(is_model_file(name) for name in names):
        found = first_other(staged, target, _LOOKED_AT, kept=_KEPT)
        return [] if found is None else [found]
    return [place for name in _folders(staged) for place in _left_over(staged / name, target / name)]


def first_other(
    staged: Path, target: Path, most: int | None = None, *, kept: frozenset[str] = frozenset()
) -> Path | None:
    """The first file below `target` that is not below `staged` as well, out of `most`, or None. Downloads that wait there are none,
    and neither is what is called one of `kept`, or lies in a folder that is."""
    there = itertools.islice(_files(target, kept), most)
    return next((path for path in there if not os.path.lexists(staged / path.relative_to(target))), None)


def _files(folder: Path, kept: frozenset[str]) -> Iterator[Path]:
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in kept and not name.startswith(_PREFIX))
        yield from (Path(above, name) for name in sorted(names) if name not in kept)


def _folders(folder: Path) -> frozenset[str]:
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
