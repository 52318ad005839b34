"""Faults and delays on order, so that clients can be tested against a server that misbehaves.

Promises that a fault touches only requests that match its method and path pattern, and as many of them as it was told.
Thread-safe: tests add faults while the server runs. There is no way to add one over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

Rewrite = Callable[[bytes], bytes]


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong. `path` is a shell pattern on the decoded path without query, `*` crossing slashes. The first
    `skip` matching requests are left alone, then `times` are hit (None: all).

    `delay` seconds pass before anything else. `drop` closes the connection without an answer; with
    `drop_after` it does so after that many bytes of the request's body. `status` answers at once with `message`
    and `headers`. Otherwise the request is served and its answer changed: `truncate_at` closes after that many bytes
    of the body, `corrupt_at` flips one byte there, `headers` replace headers, `rewrite` changes a JSON body."""

    method: str = "*"
    path: str = "*"
    query: str = "*"
    times: int | None = 1
    skip: int = 0
    delay: float = 0.0
    drop: bool = False
    drop_after: int | None = None
    status: int | None = None
    reason: str | None = None
    message: str = "scripted fault"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate_at: int | None = None
    corrupt_at: int | None = None
    rewrite: Rewrite | None = None
    hits: int = 0
    """How many requests it has hit so far. Read it in assertions."""

    def _matches(self, method: str, path: str, query: str) -> bool:
        return (
            fnmatchcase(method, self.method)
            and fnmatchcase(path, self.path)
            and fnmatchcase(query, self.query)
        )

    def _take(self) -> bool:
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


class Faults:
    """The faults in force. The first that matches and is not used up is applied."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter(list(self._faults))

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force. Returned for `hits` and `remove`."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take one fault out of force."""
        with self._lock:
            self._faults = [known for known in self._faults if known is not fault]

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str, query: str) -> Fault | None:
        """The fault that hits this request, if any."""
        if not self._faults:
            return None
        with self._lock:
            matching = (fault for fault in self._faults if fault._matches(method, path, query))  # noqa: SLF001 - same module
            return next((fault for fault in matching if fault._take()), None)  # noqa: SLF001 - same module


def unavailable(
    path: str = "*", *, times: int | None = 1, status: int = 503, retry_after: str | None = None
) -> Fault:
    """The server is busy or down."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Fault(path=path, times=times, status=status, headers=headers, message="Service Unavailable")


def too_many(path: str = "*", *, times: int | None = 1, retry_after: str = "1") -> Fault:
    """429 with `Retry-After`."""
    return Fault(
        path=path, times=times, status=429, headers={"Retry-After": retry_after}, message="Too Many Requests"
    )


def wrong_checksums(path: str = "*", *, sha256: str = "0" * 64, times: int | None = 1) -> Fault:
    """A download or deploy whose checksum header does not fit its bytes."""
    return Fault(path=path, times=times, headers={"X-Checksum-Sha256": sha256})


def hostile_listing(
    name: str, *, path: str = "/artifactory/api/storage/*", times: int | None = None
) -> Fault:
    """Listings and folder infos show one more file of that name, such as `../evil`."""

    def rewrite(body: bytes) -> bytes:
        answer: dict[str, Any] = json.loads(body)
        shown = name if name.startswith("/") else f"/{name}"
        if "files" in answer:
            entry = {"uri": shown, "size": 4, "lastModified": "2026-01-01T00:00:00.000Z", "folder": False}
            answer["files"].append(entry | {"sha1": "0" * 40, "sha2": "0" * 64})
        if "children" in answer:
            answer["children"].append({"uri": shown, "folder": False})
        return json.dumps(answer).encode()

    return Fault(method="GET", path=path, times=times, rewrite=rewrite)
