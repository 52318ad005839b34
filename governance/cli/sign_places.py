"""Where a signature goes: beside a local folder or file, to a file of its own, or beside what Artifactory holds."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from governance.errors import TransferError, UnsafePathError
from governance.forking import file_lock
from governance.places import write_output, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governance.model.request import Request
    from governance.wiring import Assembly
    from plugin.location import Part


def place_beside(path: Path) -> Path:
    """Where the signature of a local folder or file lies."""
    from governance.model.artifact import FILE_SIGNATURE_SUFFIX, FOLDER_SIGNATURE

    return path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(f"{path.name}{FILE_SIGNATURE_SUFFIX}")


def require_room(path: Path) -> None:
    """Whoever made the folder may have put a link in the signature's place, which leads to any file of this user's, or a pipe,
    into which one writes for ever. Raises `UnsafePathError`."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        kind = "a symbolic link" if path.is_symlink() else "no file"
        raise UnsafePathError(
            f"`{path}` is {kind}, and the signature is to lie there",
            hint="Look at it and remove it, or write the signature elsewhere (`--output`).",
        )


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Hold the signature that lies at `path`, if one does: of two who add theirs at once, one waits and reads what the other wrote.
    The lock is on the signature itself, since any file more would be one of the model, and signed by nobody. Raises `TransferError`."""
    with ExitStack() as held:
        try:
            while not os.path.samestat(
                os.fstat(held.enter_context(file_lock(path, makes=False))), path.lstat()
            ):
                held.close()  # the one that we waited for was replaced
        except FileNotFoundError:
            pass
        except OSError as error:
            raise TransferError(
                f"`{path}` cannot be locked: {error.strerror}",
                hint="`--output` writes the signature elsewhere.",
            ) from error
        yield


def put_beside(path: Path, data: bytes) -> None:
    """Replace the signature in one step, and never write through what has come to lie there meanwhile."""
    try:
        write_whole(path, data, mode=0o666)
    except OSError as error:
        raise TransferError(f"`{path}` cannot be written: {error.strerror}") from error


def require_whole(part: Part, reference: str) -> None:
    """Raises `TransferError` for a part of a model."""
    if part.selection is not None:
        raise TransferError(
            f"`{reference}` is a part of `{part.artifact.ref}`, and only the whole is signed",
            hint=f"`mlgov sign {part.artifact.ref}`",
        )


def upload_request(part: Part, assembly: Assembly) -> Request:
    """To put a signature beside an artifact: an upload like any other."""
    from governance.model.request import Action, Request, new_id
    from plugin.context import local_user

    at = assembly.now()
    return Request(
        action=Action.UPLOAD, artifact=part.artifact, actor=local_user(), environment=assembly.settings.environment,
        at=at, correlation=new_id(at), selection=(),
    )  # fmt: skip


def write(path: Path, data: bytes) -> None:
    """Raises `TransferError`."""
    try:
        write_output(path, data)
    except OSError as error:
        raise TransferError(f"`{path}` cannot be written: {error.strerror}") from error
