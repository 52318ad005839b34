"""The packages that a model declares, read from its own files: those stored, or those about to be uploaded."""

from __future__ import annotations

import posixpath
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from governance.artifactory.client import ArtifactoryClient
from governance.collect.bytesource import ByteSource, byte_source
from governance.collect.collector import unknown_after
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

NOT_STORED: Final = "not stored yet"

_LIMIT: Final = 1 << 20
_LOCK_LIMIT: Final = 4 << 20
"""A lock names every file of every package for every system."""
_MAX_FILES: Final = 20
_REMEMBERED: Final = 64


class DependencyReader:
    """Reads what an artifact declares, once for all collectors that ask about the same artifact at the same time.

    Promises: the bytes read are those whose digests were listed. A failure is not remembered, and does not hide what other files
    declare.
    """

    def __init__(self, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._clients = clients
        self._known: OrderedDict[tuple[str, ...], Future[Declared]] = OrderedDict()
        self._lock = ForkLock()
        call_after_fork(self._forget)

    def _forget(self) -> None:
        """In a forked child: what another thread was reading is read by nobody here."""
        self._known = OrderedDict()

    def __call__(self, request: Request) -> Declared:
        """What the request's artifact declares. Raises `RemoteError`, or `DigestMismatchError` for changed files, where none was read."""
        artifact = request.artifact
        key = (artifact.host, artifact.ref, str(artifact.digest or f"{request.correlation} {request.at}"))
        with self._lock:
            known = self._known.get(key)
            mine = known is None
            future = known or Future()
            self._known[key] = future
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if mine:
            self._fill(key, future, request)
        return future.result()

    def _fill(self, key: tuple[str, ...], future: Future[Declared], request: Request) -> None:
        try:
            declared = self._read(request.artifact, byte_source(request, self._clients))
        except BaseException as error:
            self._drop(key)
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            if declared.unread is not None:
                self._drop(key)
            future.set_result(declared)

    def _drop(self, key: tuple[str, ...]) -> None:
        with self._lock:
            self._known.pop(key, None)

    def _read(self, artifact: Artifact, source: ByteSource | None) -> Declared:
        if source is None:
            return Declared(problems=(NOT_STORED,))
        by_path = {str(entry.path): entry for entry in artifact.files}
        wanted = declaring(by_path)
        parts: list[Declared] = []
        failed: list[GovernanceError] = []
        done: set[str] = set()
        while wanted:
            path = wanted.pop(0)
            if path in done:
                continue
            done.add(path)
            if len(done) > _MAX_FILES:
                parts.append(Declared(problems=(f"more than {_MAX_FILES} files declare packages",)))
                break
            entry = by_path.get(path)
            if entry is None:
                parts.append(Declared(problems=(f"`{path}` is referred to and not there",)))
                continue
            limit = _LOCK_LIMIT if usual_name(path) == LOCK else _LIMIT
            try:
                data = source.whole(entry, limit)
            except GovernanceError as error:
                failed.append(error)
                if unknown_after(error).out_of_reach:
                    break  # each further file would wait for the same outage
                continue
            part = read_declared(path, data)
            parts.append(part)
            wanted += [_beside(path, name) for name in part.files]
        if failed and not any(part.packages for part in parts):
            raise failed[0]
        # An outage excuses it only where nothing else failed.
        unread = min(map(unknown_after, failed), key=lambda each: each.out_of_reach, default=None)
        return replace(merge(parts), unread=unread)


class DependenciesCollector:
    """`dependencies`: the packages that the model declares."""

    name = "dependencies"
    on_demand = True
    supplies = frozenset({"dependencies"})

    def __init__(self, reader: DependencyReader) -> None:
        self._reader = reader

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The declared packages. Incomplete where a file could not be read, none declares anything, or a model is
        uploaded piece by piece.
        """
        if request.action is Action.UPLOAD and request.staged is None:
            return {"dependencies": Unknown(NOT_STORED)}
        declared = self._reader(request)
        missing, unread = "; ".join(declared.problems[:5]) or None, declared.unread
        if missing is None and request.action is Action.UPLOAD and MODEL not in _names(request.artifact):
            missing = "more of the model may be uploaded later"
        if missing is None and not declared.packages and request.artifact.kind is Kind.MODEL:
            missing = "the model declares no package"
        packages = tuple(_item(each) for each in declared.packages)
        if missing is None and unread is not None:
            return {"dependencies": Collection(packages, unread.reason, out_of_reach=unread.out_of_reach)}
        return {"dependencies": Collection(packages, missing)}


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
