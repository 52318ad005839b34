"""The trust file of a running process: read again whenever it changes.

Promises: a key that was revoked or added counts as the file says from the next question on, without a restart; a file that
is not good any more trusts nobody until it is (the question fails), and one that is gone trusts nobody. Does not: keep what an
earlier version said; who took a key out must not be believed less than who left it in.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeAlias

from governance.errors import KeyFileError
from governance.forking import ForkLock
from governance.signing.keyring import load_trust
from governance.signing.trust import TrustStore

logger = logging.getLogger(__name__)

_State: TypeAlias = "tuple[int, int, int, int, int]"


class TrustSource:
    """Keeps what one trust file says. Safe to use from many threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = ForkLock()
        self._read: tuple[_State, TrustStore] | None = None

    def current(self) -> TrustStore:
        """The trusted keys; none where there is no trust file. Raises `KeyFileError` for a file that is not good."""
        # What is looked at before the file is read can only be older than what is read, so no change is missed.
        state = self._state()
        if state is None:
            return TrustStore.empty()
        with self._lock:
            known = self._read
            if known is None or known[0] != state:
                store = load_trust(self._path)
                if known is not None and known[1] != store:
                    logger.warning("the trust file `%s` changed, and counts as it is now", self._path)
                self._read = known = state, store
            return known[1]

    def _state(self) -> _State | None:
        """What changes when the file does; times alone may stand still between two writes. None where there is none."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one call, where `Path.exists` and what follows would be two
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise KeyFileError(
                f"the trust file `{self._path}` cannot be read: {error.strerror}",
                hint="Give this user the right to enter its folder and to read it.",
            ) from error
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode
