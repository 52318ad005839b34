"""What Artifactory itself knows: properties, age, creator, the repository, and the Hugging Face layout.

Does not: believe a property (anyone with the annotate right sets them), or take a publisher from a path outside a
Hugging Face repository, where anyone who may deploy can make a folder of any name. In a *local* Hugging Face
repository the publisher is whoever the uploader said it is; in a remote one it is the hub's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import ItemInfo, RepositoryInfo, Tree
from governance.collect.collector import unknown_after
from governance.collect.dependencies import NOT_STORED
from governance.collect.ecosystems import ecosystem_of
from governance.collect.threads import Threads
from governance.errors import GovernanceError
from governance.forking import ForkLock
from governance.model.artifact import Artifact, Kind
from governance.model.facts import FactValue, Unknown
from governance.model.request import Action, Request

_HUB: Final = "huggingfaceml"
_LAYOUT: Final = re.compile(
    r"(?:models|datasets)/(?P<org>[^/]+)/[^/]+/(?P<revision>[^/]+)_[0-9TZ:.+-]{8,40}(?:/files)?"
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_COMMIT_PROPERTY: Final = "huggingfaceml.generated.revision.sha1"
_KEPT: Final = timedelta(minutes=5)

_NOT_HUB: Final[Mapping[str, FactValue]] = {
    "publisher": None,
    "revision.ref": None,
    "revision.pinned": None,
    "revision.resolved": None,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The answers of Artifactory, each of which may have failed by itself. There is no tree of a single file."""

    tree: Tree | Unknown | None
    info: ItemInfo | Unknown
    repository: RepositoryInfo | Unknown
    properties: dict[str, tuple[str, ...]] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The questions to Artifactory."""

    tree: Future[Tree | Unknown | None]
    info: Future[ItemInfo | Unknown]
    repository: Future[RepositoryInfo | Unknown]
    properties: Future[dict[str, tuple[str, ...]] | Unknown]


class StorageCollector:
    """`artifact.{age,created_by,ecosystem,origin}`, `publisher`, `revision.*` and `property.*`."""

    name = "storage"
    on_demand = False
    supplies = frozenset({
        "artifact.age", "artifact.created_by", "artifact.ecosystem", "artifact.origin", "property.*", *_NOT_HUB,
    })  # fmt: skip

    def __init__(self, clients: Callable[[str], ArtifactoryClient], *, now: Callable[[], datetime]) -> None:
        self._clients = clients
        self._now = now
        self._repositories: dict[tuple[str, str], tuple[datetime, RepositoryInfo]] = {}
        self._lock = ForkLock()

    def ask(self, request: Request) -> StorageInquiry:
        """What Artifactory is to be asked about one request."""
        return StorageInquiry(request, clients=self._clients, repository=self._repository, now=self._now)

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts, once Artifactory has answered all."""
        return self.ask(request).answer()

    def _repository(self, client: ArtifactoryClient, key: str) -> RepositoryInfo:
        """The repository's configuration, asked for once in a while: it hardly ever changes."""
        place = (client.host, key)
        with self._lock:
            kept = self._repositories.get(place)
        if kept is not None and self._now() - kept[0] < _KEPT:
            return kept[1]
        info = client.repository_info(key)
        with self._lock:
            self._repositories[place] = (self._now(), info)
        return info


class StorageInquiry:
    """Four questions to Artifactory about one request. Each answer is complete in itself."""

    def __init__(
        self,
        request: Request,
        *,
        clients: Callable[[str], ArtifactoryClient],
        repository: Callable[[ArtifactoryClient, str], RepositoryInfo],
        now: Callable[[], datetime],
    ) -> None:
        self._request = request
        self._clients = clients
        self._repository = repository
        self._now = now
        self._asked: _Asked | None = None

    def answer(self) -> Mapping[str, FactValue]:
        """The facts about a stored artifact. Nothing is known of one that is still to be uploaded."""
        if self._request.action is Action.UPLOAD:
            return dict.fromkeys(StorageCollector.supplies, Unknown(NOT_STORED))
        artifact = self._request.artifact
        client = self._clients(artifact.host)
        repository, root = artifact.repository, artifact.ref.partition("/")[2]
        is_file = artifact.kind is Kind.FILE
        with Threads(4, "storage") as executor:
            asked = _Asked(
                tree=executor.submit(_attempt, lambda: None if is_file else client.tree(repository, root)),
                info=executor.submit(_attempt, lambda: client.info(repository, root)),
                properties=executor.submit(_attempt, lambda: client.properties(repository, root)),
                repository=executor.submit(_attempt, lambda: self._repository(client, repository)),
            )
            self._asked = asked
        return self._facts(
            _Found(
                tree=asked.tree.result(),
                info=asked.info.result(),
                repository=asked.repository.result(),
                properties=asked.properties.result(),
            )
        )

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        """The facts by the answers that are there."""
        asked = self._asked
        if asked is None:
            return {}
        return self._facts(
            _Found(
                tree=_settled(asked.tree, rest),
                info=_settled(asked.info, rest),
                repository=_settled(asked.repository, rest),
                properties=_settled(asked.properties, rest),
            )
        )

    def _facts(self, found: _Found) -> dict[str, FactValue]:
        return {
            "artifact.age": self._age(found),
            "artifact.created_by": found.info if isinstance(found.info, Unknown) else found.info.created_by,
            "artifact.ecosystem": _ecosystem(found.repository),
            "artifact.origin": _origin(found.repository),
            **_hub(self._request.artifact, found),
            **_properties(found.properties),
        }

    def _age(self, found: _Found) -> FactValue:
        newest = _newest(found)
        if isinstance(newest, Unknown):
            return newest
        # A server whose clock runs ahead makes nothing younger than new.
        return max(0, int((self._now() - newest).total_seconds()))


def _attempt(ask: Callable[[], T]) -> T | Unknown:
    try:
        return ask()
    except GovernanceError as error:
        return unknown_after(error)


def _settled(asked: Future[T | Unknown], rest: Unknown) -> T | Unknown:
    """An answer, or `rest` where it is not there."""
    is_there = asked.done() and not asked.cancelled() and asked.exception() is None
    return asked.result() if is_there else rest


def _newest(found: _Found) -> datetime | Unknown:
    if found.tree is None:
        if isinstance(found.info, Unknown):
            return found.info
        return found.info.modified or Unknown("Artifactory does not say when the file was changed")
    if isinstance(found.tree, Unknown):
        return found.tree
    return max((file.modified for file in found.tree.files), default=Unknown("there is no file"))


def _ecosystem(repository: RepositoryInfo | Unknown) -> FactValue:
    return repository if isinstance(repository, Unknown) else ecosystem_of(repository.package_type)


def _origin(repository: RepositoryInfo | Unknown) -> FactValue:
    if isinstance(repository, Unknown):
        return repository
    known = {"local", "remote", "virtual", "federated"}
    return (
        repository.origin if repository.origin in known else Unknown("a class of repository not known here")
    )


def _properties(found: dict[str, tuple[str, ...]] | Unknown) -> dict[str, FactValue]:
    if isinstance(found, Unknown):
        return {"property.*": found}
    values: dict[str, FactValue] = {"property.*": True}
    for key, texts in found.items():
        values[f"property.{key}"] = texts[0] if len(texts) == 1 else texts
    return values


def _hub(artifact: Artifact, found: _Found) -> Mapping[str, FactValue]:
    if isinstance(found.repository, Unknown):
        return dict.fromkeys(_NOT_HUB, found.repository)
    match = _LAYOUT.match(artifact.path)
    if found.repository.package_type != _HUB or match is None:
        return _NOT_HUB
    revision = match["revision"]
    is_commit = _COMMIT.fullmatch(revision) is not None
    return {
        "publisher": match["org"].lower(),
        "revision.ref": revision,
        "revision.pinned": is_commit,
        "revision.resolved": revision if is_commit else _resolved(found.properties),
    }


def _resolved(properties: dict[str, tuple[str, ...]] | Unknown) -> FactValue:
    if isinstance(properties, Unknown):
        return properties
    commits = [text for text in properties.get(_COMMIT_PROPERTY, ()) if _COMMIT.fullmatch(text)]
    return commits[0] if len(commits) == 1 else Unknown("Artifactory does not say which commit this is")
