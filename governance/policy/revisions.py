"""The highest revision seen of each policy bundle and what it stood for, kept in a small file so that a rollback, and other files under
the same number, are known after a restart.

The file is canonical JSON: `{name: {"revision": number, "content": sha256}}`. Earlier releases wrote `{name: number}`.
"""

from __future__ import annotations

from pathlib import Path

from governance.errors import SettingsError
from governance.forking import file_lock
from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.digest import parse_sha256
from governance.places import make_private, write_whole
from governance.policy.bundle import Seen, require_same_content

_MAX_FILE = 1 << 20


class RevisionMemory:
    """Reads and raises revisions. A file that cannot be read is an error, never a fresh start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self, name: str) -> Seen | None:
        """The highest revision seen of a set, or None. Raises `SettingsError`."""
        return self._read().get(name)

    def saw(self, name: str, seen: Seen) -> None:
        """Note a revision that was verified and compiled. Lower ones change nothing. Raises `SettingsError`, and `BundleError` where others
        that share the file noted the same number for other files meanwhile."""
        if self._read().get(name) == seen:
            return
        try:
            make_private(self._path.parent)
            with file_lock(self._path.with_name(self._path.name + ".lock")):
                known = self._read()  # again: others that share the file may have noted more meanwhile
                highest = known.get(name)
                if highest is not None:
                    require_same_content(seen, highest)
                if highest is None or (highest.revision, highest.content is not None) < (seen.revision, True):
                    rows = {each: _row(row) for each, row in (known | {name: seen}).items()}
                    write_whole(self._path, canonical_bytes(rows))
        except OSError as error:
            raise self._error(f"cannot be written ({error.strerror})") from error

    def _read(self) -> dict[str, Seen]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from error
        try:
            tree = parse_canonical(data) if len(data) <= _MAX_FILE else None
            if isinstance(tree, dict):
                return {name: _seen(row) for name, row in tree.items()}
        except (CanonicalError, ValueError) as error:
            raise self._error("is damaged") from error
        raise self._error("is damaged")

    def _error(self, what: str) -> SettingsError:
        return SettingsError(
            f"`{self._path}`, which holds the highest policy revisions seen, {what}",
            hint="Without it a rolled-back policy would go unseen. Restore it; remove it only if you know why it broke.",
        )


def _row(seen: Seen) -> Json:
    return seen.revision if seen.content is None else {"revision": seen.revision, "content": seen.content}


def _seen(row: Json) -> Seen:
    """Raises `ValueError`."""
    number, content = row, None
    if isinstance(row, dict) and row.keys() == {"revision", "content"}:
        number, content = row["revision"], parse_sha256(str(row["content"]))
    if isinstance(number, int) and not isinstance(number, bool):
        return Seen(revision=number, content=content)
    raise ValueError("not a revision")
