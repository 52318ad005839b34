"""Paths of this machine that somebody wrote into settings, and the small files that lie there.

Promises: a file without end is read to a limit and no further, and nothing is waited for: a named pipe, into which perhaps nobody
ever writes, is refused, as are folders and devices. What cannot be the name of a file is a `ValueError` that says so, before anything
is opened: a `~` of nobody, more characters than a name can have, control characters, nothing at all. A folder that is made is one
user's alone. A file that is written whole is never seen half. Does not: look whether something is there that is only named.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

_LONGEST: Final = 4_095
_LONGEST_PART: Final = 255
_LARGEST: Final = 1 << 20


def expanded(place: str | Path) -> Path:
    """The path that is meant, with a leading `~` replaced. Raises `ValueError`."""
    text = str(place)
    if not text.strip() or text != text.strip():
        raise ValueError("is empty, or begins or ends with a space")
    if any(char < " " or char == "\x7f" for char in text):
        raise ValueError("holds a control character, which no path has")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            "begins with `~`, and this user has no such home folder; write the whole path"
        ) from None
    if len(os.fsencode(path)) > _LONGEST or any(
        len(os.fsencode(part)) > _LONGEST_PART for part in path.parts
    ):
        raise ValueError("is longer than the name of a file can be")
    return path


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone, whatever the umask; of root's, for the owner of the one
    above. Raises `OSError`.

    `Path.mkdir(parents=True)` makes the ones above with the umask's rights: with an open one, others could put a trust file of
    theirs in the place of ours.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    if os.geteuid() == 0:
        made = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _give(made, folder.parent.stat())
        finally:
            os.close(made)


def open_file(path: Path, *, may_be_piped: bool = False) -> BinaryIO:
    """Open a regular file for reading; with `may_be_piped` also what a shell pipes in (`<(...)`, `/dev/stdin`). Raises `OSError`,
    whose `strerror` says what is there instead.
    """
    # A named pipe would be waited for here already, until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not (may_be_piped and stat.S_ISFIFO(mode) and _is_nameless(path)):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {_kind(mode)}, not a file", str(path))
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put `data` in the place of a file as `written_whole` does. Raises `OSError`."""
    with written_whole(path, mode=mode) as file:
        file.write(data)


@contextmanager
def written_whole(path: Path, *, mode: int = 0o600, is_new: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which is put in the place of another one in one step, flushed to disk: a reader finds the old or the new one, and
    never goes through a link that lies there. Raises `OSError`, and leaves what was there; with `is_new`, `FileExistsError` where
    anything is.

    What root puts in another user's place stays that user's (`_hand_over`). What waits to be put there has a name that nobody else uses: the
    numbers of processes are those of threads too, and in containers that share a folder each process may be number 1.
    """
    waiting = path.with_name(f".mlgov-{secrets.token_hex(8)}")
    try:
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(waiting, how, mode), "wb") as file:
            _hand_over(file.fileno(), path)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _put_new(waiting, path)
        else:
            waiting.replace(path)
    except BaseException:
        with suppress(OSError):
            waiting.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_output(path: Path, data: bytes) -> None:
    """Write where a user says: in the place of a file in one step, with its rights and at the end of a link, or into what is no file, such
    as `/dev/stdout`, or a file that cannot be replaced but written. Raises `OSError`."""
    is_there = path.exists()
    if is_there and not path.is_file():
        path.write_bytes(data)
        return
    mode = path.stat().st_mode & 0o777 if is_there else 0o666  # no bits that lend an identity
    try:
        with written_whole(path.resolve(), mode=mode) as file:
            if is_there:
                os.fchmod(file.fileno(), mode)  # of which the umask took some
            file.write(data)
    except OSError as error:
        # A folder of somebody else's, or a file that is mounted by itself, as into a container.
        if not is_there or error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}:
            raise
        path.write_bytes(data)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file that is not there yet, as `written_whole` does. Raises `FileExistsError`, and any other `OSError`; what fails, or is
    killed, leaves nothing under that name: half of a file would keep whoever tries again from writing it."""
    with written_whole(path, mode=mode, is_new=True) as file:
        file.write(data)


def read_bounded(path: Path) -> bytes:
    """A key, a passphrase, a certificate: nothing of a mebibyte or more. Raises `OSError`, also for what is larger."""
    with open_file(path, may_be_piped=True) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def read_regular(path: Path) -> bytes:
    """The whole of a regular file. Raises `OSError`, also for what is none."""
    with open_file(path) as file:
        return file.read()


def is_readable_by_others(state: os.stat_result) -> bool:
    """Whether users that no secret is meant for may do anything with a file: all but its owner.

    But a file of root's that this user can only read as one of its group is how a container is handed a secret (Kubernetes with
    `fsGroup` makes it 0440, whatever is asked for); its rights are not this user's to change. PostgreSQL draws the line there too.
    """
    is_handed_out = state.st_uid == 0 and os.geteuid() != 0
    return bool(stat.S_IMODE(state.st_mode) & (0o037 if is_handed_out else 0o077))


def is_writable_by_others(path: Path) -> bool:
    """Whether other users may write there. Nobody does on a file system that is mounted read-only, whatever the mode says: a folder of
    a Kubernetes `ConfigMap` has 0777. Raises `OSError`."""
    return bool(path.stat().st_mode & 0o022) and not os.statvfs(path).f_flag & os.ST_RDONLY


def open_made(path: Path) -> int:
    """Open a small file of ours to read and write; where it is not there it is made for one user alone, of root's for its folder's owner.
    Raises `OSError`."""
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        made = os.open(path, how | os.O_EXCL, 0o600)  # through no link, so what is given away was made here
    except FileExistsError:
        return os.open(path, how, 0o600)
    _give(made, path.parent.stat())
    return made


def _hand_over(descriptor: int, path: Path) -> None:
    """What root writes in the place of a file is for whom that was, and in a folder that its owner alone enters for that one. An
    administrator who looks at a service's home must not end what the service remembers there: it could not read it any more, and
    would let nothing through. Where everybody may put files, as in `/tmp`, one that lies there gives nobody a right to what replaces it."""
    if os.geteuid() != 0:
        return
    folder = path.parent.stat()
    if os.path.lexists(path):
        before = path.lstat()
        if before.st_uid == folder.st_uid or not folder.st_mode & 0o022:
            _give(descriptor, before)
    elif not folder.st_mode & 0o077:
        _give(descriptor, folder)


def _give(descriptor: int, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        with suppress(OSError):  # a disk of another machine, on which root is nobody
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _put_new(waiting: Path, path: Path) -> None:
    """Rename a file, but over no other one."""
    try:
        path.hardlink_to(waiting)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links: the name is taken first, and for a moment is that of an empty file.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            waiting.replace(path)
        except BaseException:
            path.unlink()
            raise
    else:
        waiting.unlink()


def _is_nameless(pipe: Path) -> bool:
    """Whether it is this process's own descriptor that the path stands for: that leads to no place on a disk."""
    return pipe.is_relative_to("/dev/fd") or not Path(os.path.realpath(pipe)).exists()


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for is_it, name in kinds if is_it(mode)), "a device")
