"""When a stored file counts as scanned, and what the scan found.

Promises that results are about the bytes that are served, also after tampering, and that a file whose scan is held or
not yet due has none. A scan runs when it is first asked for, in a thread, and is remembered by content and name. Does not
keep results over a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock

from governance.devserver import scanner
from governance.devserver.advisories import Advisories, shipped
from governance.devserver.items import Item
from governance.devserver.store import Store


class Status(StrEnum):
    """Xray's scan states."""

    NOT_SUPPORTED = "NOT_SUPPORTED"
    NOT_SCANNED = "NOT_SCANNED"
    PENDING = "PENDING"
    SCANNING = "SCANNING"
    DONE = "DONE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The state of one file's scan. `findings` is None unless it came to an end."""

    status: Status
    at: datetime
    findings: scanner.Findings | None = None


class Scans:
    """Scans of stored files. Thread-safe."""

    def __init__(self, store: Store, now: Callable[[], datetime], *, delay: float) -> None:
        self.advisories: Advisories = shipped()
        self._store = store
        self._now = now
        self._delay = timedelta(seconds=delay)
        self._lock = Lock()
        self._held: dict[tuple[str, str], Status] = {}
        self._done: dict[tuple[str, str], tuple[datetime, scanner.Findings]] = {}
        scanner.quiet()

    def hold(self, repo: str, path: str = "", status: Status = Status.PENDING) -> None:
        """Report that status, and no findings, for everything at or below `path` until released."""
        with self._lock:
            self._held[repo, path] = status

    def release(self, repo: str | None = None, path: str | None = None) -> None:
        """Let held scans end. Without arguments all of them."""
        with self._lock:
            self._held = {
                key: status
                for key, status in self._held.items()
                if (repo is not None and key[0] != repo) or (path is not None and key[1] != path)
            }

    def rescan(self, item: Item) -> None:
        """Forget what was found, so that the next question scans again."""
        with self._lock:
            self._done.pop((item.blob, item.name), None)

    async def look(self, item: Item) -> Scan:
        """The state of a file's scan, which is carried out now if it is due."""
        waiting = self._waiting(item)
        if waiting is not None:
            return Scan(status=waiting, at=self._now())
        done = self._done.get((item.blob, item.name))
        if done is None:
            done = await asyncio.get_running_loop().run_in_executor(None, self._scan, item)
        at, findings = done
        return Scan(status=Status.DONE if findings.complete else Status.PARTIAL, at=at, findings=findings)

    def _waiting(self, item: Item) -> Status | None:
        with self._lock:
            for (repo, path), status in self._held.items():
                if repo == item.repo and (not path or item.path == path or item.path.startswith(path + "/")):
                    return status
        if not self._store.repositories.is_indexed(item.repo):
            return Status.NOT_SCANNED
        if self._delay and self._now() < item.modified + self._delay:
            return Status.SCANNING
        return None

    def _scan(self, item: Item) -> tuple[datetime, scanner.Findings]:
        try:
            findings = scanner.scan(self._store.content_path(item), item.name, self.advisories)
        except FileNotFoundError:  # deleted or overwritten while it waited for its turn
            return self._now(), scanner.Findings(complete=False, note="the file has gone")
        done = (self._now(), findings)
        with self._lock:
            self._done[item.blob, item.name] = done
        return done
