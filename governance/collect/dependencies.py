"""The packages that a model declares, read from its own files: those stored, or those about to be uploaded."""

from __future__ import annotations

import posixpath
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, TypeVar

from governance.artifactory.client import ArtifactoryClient
from governance.collect.bytesource import ByteSource, byte_source
from governance.collect.collector import unknown_after
from governance.collect.threads import Threads
from governance.content.dependencies import (
    LOCK,
    MODEL,
    Declared,
    Package,
    declaring,
    merge,
    read_declared,
    usual_name,
)
from governance.errors import GovernanceError, UnsafePathError
from governance.forking import ForkLock, call_after_fork
from governance.model.artifact import Artifact, Kind, parse_relative_path
from governance.model.facts import Collection, FactValue, Item, Unknown
from governance.model.request import Action, Request

Found = TypeVar("Found")

NOT_STORED: Final = "not stored yet"

_LIMIT: Final = 1 << 20
_LOCK_LIMIT: Final = 4 << 20
"""A lock names every file of every package for every system."""
_MAX_FILES: Final = 20
_REMEMBERED: Final = 64
_WORKERS: Final = 4


class Reading:
    """What the files of one artifact declare, as they are read for whoever asks first for the `whole`: some at once, and then those
    that they refer to."""

    def __init__(self, artifact: Artifact) -> None:
        self._by_path = {str(entry.path): entry for entry in artifact.files}
        self._order: list[str] = []
        """The files, as they are begun with."""
        self._parts: dict[str, Declared] = {}
        self._failed: dict[str, GovernanceError] = {}
        self._future: Future[Declared] = Future()
        self._begun = threading.Lock()

    def whole(self, source: Callable[[], ByteSource | None]) -> Declared:
        """What all files declare. Raises `RemoteError`, or `DigestMismatchError` for changed files, where none was read."""
        if self._begun.acquire(blocking=False):  # for good: the others wait for what it comes to
            try:
                self._future.set_result(self._read(source()))
            except BaseException as error:
                self._future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
        return self._future.result()

    @property
    def is_to_be_kept(self) -> bool:
        """Whether it is under way, or came to its end without a failure."""
        future = self._future
        return not future.done() or (future.exception() is None and future.result().unread is None)

    def so_far(self, rest: Unknown | None) -> Declared:
        """What the files declare that were read, where the others could not be for the reason `rest`. Asks nobody."""
        failed = self._in_order(self._failed.copy())
        unread = [*map(unknown_after, failed), *([] if rest is None else [rest])]
        # An outage excuses it only where nothing else failed.
        return replace(
            merge(self._in_order(self._parts.copy())),
            unread=min(unread, key=lambda each: each.out_of_reach, default=None),
        )

    @property
    def _is_silent(self) -> bool:
        """Whether whom we ask gave no answer about a file."""
        return any(unknown_after(error).out_of_reach for error in self._failed.copy().values())

    def _read(self, source: ByteSource | None) -> Declared:
        if source is None:
            return Declared(problems=(NOT_STORED,))
        wanted = declaring(self._by_path)
        # Others may wait for this longer than who began it does.
        with Threads(_WORKERS, "declared", is_limited=False) as executor:
            while wanted and not self._is_silent:  # each further file would wait for the same outage
                fresh = [path for path in dict.fromkeys(wanted) if path not in self._order]
                begun = fresh[: _MAX_FILES - len(self._order)]
                self._order.extend(begun)
                found = list(executor.map(lambda path: self._look_at(source, path), begun))
                if len(begun) < len(fresh):
                    self._order.append("")
                    self._parts[""] = Declared(problems=(f"more than {_MAX_FILES} files declare packages",))
                    break
                wanted = [path for paths in found for path in paths]
        if self._failed and not any(part.packages for part in self._parts.values()):
            raise self._in_order(self._failed)[0]
        return self.so_far(None)

    def _look_at(self, source: ByteSource, path: str) -> list[str]:
        """Read one file. The paths of those that it refers to."""
        entry = self._by_path.get(path)
        if entry is None:
            self._parts[path] = Declared(problems=(f"`{path}` is referred to and not there",))
            return []
        if self._is_silent:
            return []
        try:
            data = source.whole(entry, _LOCK_LIMIT if usual_name(path) == LOCK else _LIMIT)
        except GovernanceError as error:
            self._failed[path] = error
            return []
        part = self._parts[path] = read_declared(path, data)
        return [_beside(path, name) for name in part.files]

    def _in_order(self, found: Mapping[str, Found]) -> list[Found]:
        """Those of the files that come first in the model first, whichever was read first."""
        return [found[path] for path in self._order.copy() if path in found]


class DependencyReader:
    """Reads what an artifact declares, once for all collectors that ask about the same artifact at the same time.

    Promises: the bytes read are those whose digests were listed. A failure is not remembered, and does not hide what other files
    declare.
    """

    def __init__(self, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._clients = clients
        self._known: OrderedDict[tuple[str, ...], Reading] = OrderedDict()
        self._lock = ForkLock()
        call_after_fork(self._forget)

    def _forget(self) -> None:
        """In a forked child: what another thread was reading is read by nobody here."""
        self._known = OrderedDict()

    def __call__(self, request: Request) -> Declared:
        """What the request's artifact declares. Raises as `Reading.whole`."""
        return self.read(request, self.reading(request))

    def reading(self, request: Request) -> Reading:
        """The reading of the request's artifact, which others may have begun."""
        key = _key(request)
        with self._lock:
            reading = self._known.setdefault(key, Reading(request.artifact))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return reading

    def read(self, request: Request, reading: Reading) -> Declared:
        """All that a reading of the request's artifact comes to. Raises as `Reading.whole`."""
        try:
            return reading.whole(lambda: byte_source(request, self._clients))
        finally:
            if not reading.is_to_be_kept:
                with self._lock:
                    if self._known.get(_key(request)) is reading:
                        del self._known[_key(request)]


def _key(request: Request) -> tuple[str, ...]:
    artifact = request.artifact
    return artifact.host, artifact.ref, str(artifact.digest or f"{request.correlation} {request.at}")


class DependenciesCollector:
    """`dependencies`: the packages that the model declares."""

    name = "dependencies"
    on_demand = True
    supplies = frozenset({"dependencies"})

    def __init__(self, reader: DependencyReader) -> None:
        self._reader = reader

    def ask(self, request: Request) -> DependenciesInquiry:
        """What is to be read for one request."""
        return DependenciesInquiry(request, self._reader)

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The declared packages, once all files were read."""
        return self.ask(request).answer()


class DependenciesInquiry:
    """The files that are read for one request, and what those declare that were read so far."""

    def __init__(self, request: Request, reader: DependencyReader) -> None:
        self._request = request
        self._reader = reader
        self._reading: Reading | None = None

    def answer(self) -> Mapping[str, FactValue]:
        """The declared packages. Incomplete where a file could not be read, none declares anything, or a model is
        uploaded piece by piece. Raises as `Reading.whole`.
        """
        if self._request.action is Action.UPLOAD and self._request.staged is None:
            return {"dependencies": Unknown(NOT_STORED)}
        self._reading = self._reader.reading(self._request)
        return {"dependencies": self._packages(self._reader.read(self._request, self._reading))}

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        """What the files declare that were read so far; nothing where they declare none."""
        if self._reading is None:
            return {}
        declared = self._reading.so_far(rest)
        return {"dependencies": self._packages(declared)} if declared.packages else {}

    def _packages(self, declared: Declared) -> Collection:
        artifact, is_upload = self._request.artifact, self._request.action is Action.UPLOAD
        missing, unread = "; ".join(declared.problems[:5]) or None, declared.unread
        if missing is None and is_upload and MODEL not in _names(artifact):
            missing = "more of the model may be uploaded later"
        if missing is None and not declared.packages and artifact.kind is Kind.MODEL:
            missing = "the model declares no package"
        packages = tuple(_item(each) for each in declared.packages)
        if missing is None and unread is not None:
            return Collection(packages, unread.reason, out_of_reach=unread.out_of_reach)
        return Collection(packages, missing)


def _names(artifact: Artifact) -> frozenset[str]:
    return frozenset(str(entry.path) for entry in artifact.files)


def _item(package: Package) -> Item:
    return {
        "purl": package.purl,
        "name": package.name,
        "version": package.version
        or Unknown(f"not pinned: `{package.asked}`" if package.asked else "not pinned"),
        "direct": True,
    }


def _beside(path: str, name: str) -> str:
    """The path of a file that `path` refers to. One that would leave the artifact is kept as written, and not found."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    try:
        return parse_relative_path(joined)
    except UnsafePathError:
        return name
