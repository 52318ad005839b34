"""The packages that a stored model declares, read from its own files."""

from __future__ import annotations

import hashlib
import posixpath
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Final

from governance.artifactory.client import ArtifactoryClient
from governance.content.dependencies import (
    CONDA,
    MODEL,
    REQUIREMENTS,
    VIRTUALENV,
    Declared,
    Package,
    merge,
    read_declared,
)
from governance.errors import DigestMismatchError, UnsafePathError
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path
from governance.model.facts import Collection, FactValue, Item, Unknown
from governance.model.request import Action, Request

NOT_STORED: Final = "not stored yet"

_LIMIT: Final = 1 << 20
_MAX_FILES: Final = 20
_REMEMBERED: Final = 64
_USUAL: Final = (MODEL, REQUIREMENTS, CONDA, VIRTUALENV)


class DependencyReader:
    """Reads what an artifact declares, once for all collectors that ask about the same artifact at the same time.

    Promises: the bytes read are those whose digests were listed. A failure is not remembered.
    """

    def __init__(self, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._clients = clients
        self._known: OrderedDict[tuple[str, ...], Future[Declared]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Declared:
        """What the request's artifact declares. Raises `RemoteError`, or `DigestMismatchError` for changed files."""
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
            self._fill(key, future, artifact)
        return future.result()

    def _fill(self, key: tuple[str, ...], future: Future[Declared], artifact: Artifact) -> None:
        try:
            future.set_result(self._read(artifact))
        except BaseException as error:
            with self._lock:
                self._known.pop(key, None)
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _read(self, artifact: Artifact) -> Declared:
        by_path = {str(entry.path): entry for entry in artifact.files}
        wanted = [path for path in by_path if path.rpartition("/")[2] in _USUAL]
        parts: list[Declared] = []
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
            part = read_declared(path, self._bytes(artifact, entry))
            parts.append(part)
            wanted += [_beside(path, name) for name in part.files]
        return merge(parts)

    def _bytes(self, artifact: Artifact, entry: FileEntry) -> bytes:
        place = f"{artifact.path}/{entry.path}".lstrip("/")
        data = self._clients(artifact.host).read_small(artifact.repository, place, limit=_LIMIT)
        actual = hashlib.sha256(data).hexdigest()
        if entry.sha256 is not None and entry.sha256 != actual:
            raise DigestMismatchError(entry.path, expected=entry.sha256, actual=actual)
        return data


class DependenciesCollector:
    """`dependencies`: the packages that the model declares."""

    name = "dependencies"
    on_demand = True
    supplies = frozenset({"dependencies"})

    def __init__(self, reader: DependencyReader) -> None:
        self._reader = reader

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The declared packages. Incomplete where a file could not be read, or none declares anything."""
        if request.action is Action.UPLOAD:
            return {"dependencies": Unknown(NOT_STORED)}
        declared = self._reader(request)
        missing = "; ".join(declared.problems[:5]) or None
        if missing is None and not declared.packages and request.artifact.kind is Kind.MODEL:
            missing = "the model declares no package"
        return {"dependencies": Collection(tuple(_item(each) for each in declared.packages), missing)}


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
