"""The highest revision seen of each policy bundle, kept in a small file so that a rollback is known after a restart."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from governance.errors import SettingsError
from governance.forking import file_lock
from governance.model.canonical import CanonicalError, canonical_bytes, parse_canonical
from governance.places import make_private

_MAX_FILE = 1 << 20


class RevisionMemory:
    """Reads and raises revisions. A file that cannot be read is an error, never a fresh start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self, name: str) -> int | None:
        """The highest revision seen of a set, or None. Raises `SettingsError`."""
        return self._read().get(name)

    def saw(self, name: str, revision: int) -> None:
        """Note a revision that was verified and compiled. Lower ones change nothing. Raises `SettingsError`."""
        if self._read().get(name, -1) >= revision:
            return
        try:
            make_private(self._path.parent)
            with file_lock(self._path.with_name(self._path.name + ".lock")):
                known = self._read()  # again: others that share the file may have noted more meanwhile
                if known.get(name, -1) < revision:
                    self._write(canonical_bytes(known | {name: revision}))
        except OSError as error:
            raise self._error(f"cannot be written ({error.strerror})") from error

    def _read(self) -> dict[str, int]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from error
        try:
            tree = parse_canonical(data) if len(data) <= _MAX_FILE else None
        except CanonicalError as error:
            raise self._error("is damaged") from error
        if not isinstance(tree, dict) or not all(isinstance(value, int) for value in tree.values()):
            raise self._error("is damaged")
        return dict(tree)

    def _write(self, data: bytes) -> None:
        """Replace the file whole, so that a crash leaves the old one."""
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _error(self, what: str) -> SettingsError:
        return SettingsError(
            f"`{self._path}`, which holds the highest policy revisions seen, {what}",
            hint="Without it a rolled-back policy would go unseen. Restore it; remove it only if you know why it broke.",
        )
