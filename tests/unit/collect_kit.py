"""One repository of the embedded server, seen through every collector."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governance.artifactory.client import ArtifactoryClient
from governance.collect.collector import Collector
from governance.collect.contents import ContentsCollector
from governance.collect.dependencies import DependenciesCollector, DependencyReader
from governance.collect.scan import ScanCollector
from governance.collect.signature import SignatureCollector
from governance.collect.storage import StorageCollector
from governance.devserver import DevServer
from governance.model.artifact import (
    FOLDER_SIGNATURE,
    Artifact,
    FileEntry,
    Kind,
    parse_repository_key,
)
from governance.model.request import Action, Actor, Request
from governance.signing.trust import TrustStore
from governance.transport import Credentials, Transport
from governance.xray.client import XrayClient
from tests.unit.signing_kit import trust

NOW = datetime.now(UTC) + timedelta(hours=1)


EVIL = b"cos\nsystem\n(S'echo'\ntR."


CLEAN = {
    "MLmodel": b"flavors:\n  python_function: {env: {virtualenv: python_env.yaml}}\n",
    "python_env.yaml": b"python: 3.11.4\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": b"numpy==1.26.4\ncloudpickle==3.0.0\n",
    "model.pkl": pickle.dumps({"a": [1, 2]}),
}


@dataclass
class Edge:
    """One repository of the embedded server, seen through every collector."""

    server: DevServer
    repo: str
    artifactory: ArtifactoryClient
    xray: XrayClient
    trust: Callable[[], TrustStore]

    def put(self, files: Mapping[str, bytes], root: str = "m") -> None:
        for name, data in files.items():
            self.server.put(self.repo, f"{root}/{name}", data, by="alice")

    def request(self, root: str = "m", action: Action = Action.LOAD, repo: str | None = None) -> Request:
        tree = self.artifactory.tree(repo or self.repo, root)
        entries = [FileEntry(path=each.path, size=each.size, sha256=each.sha256) for each in tree.files]
        artifact = Artifact(
            kind=Kind.MODEL,
            host=self.server.host,
            repository=parse_repository_key(repo or self.repo),
            path=root,
            name="m",
            files=tuple(entry for entry in entries if entry.path != FOLDER_SIGNATURE),
            signature=next((entry for entry in entries if entry.path == FOLDER_SIGNATURE), None),
        )
        return asking(artifact, action)

    def collectors(self) -> dict[str, Collector]:
        reader = DependencyReader(lambda _: self.artifactory)
        return {
            "storage": StorageCollector(lambda _: self.artifactory, now=lambda: NOW),
            "contents": ContentsCollector(lambda _: self.artifactory),
            "dependencies": DependenciesCollector(reader),
            "xray": ScanCollector(lambda _: self.xray, dependencies=reader, now=lambda: NOW),
            "signature": SignatureCollector(lambda _: self.artifactory, trust=self.trust, now=lambda: NOW),
        }

    def facts(self, name: str, root: str = "m", repo: str | None = None) -> dict[str, Any]:
        collector = self.collectors()[name]
        found = dict(collector.collect(self.request(root, repo=repo)))
        assert all(each in collector.supplies or each.startswith("property.") for each in found)
        return found


def is_an_hour(age: int) -> bool:
    """Whether an age is the hour by which `NOW` is ahead, less what passed since this file was read."""
    passed = (datetime.now(UTC) + timedelta(hours=1) - NOW).total_seconds()
    return 3500 - passed < age <= 3600


def asking(artifact: Artifact, action: Action) -> Request:
    return Request(
        action=action,
        artifact=artifact,
        actor=Actor(name="ann"),
        environment="development",
        at=NOW,
        correlation="c",
    )


@pytest.fixture
def edge(devserver: DevServer, repo: str, alice_token: str) -> Iterator[Edge]:
    def transport(url: str, service: str) -> Transport:
        credentials = Credentials(token=alice_token)
        return Transport(base_url=url, service=service, credentials=credentials, sleep=lambda _: None)

    made = Edge(
        server=devserver,
        repo=repo,
        artifactory=ArtifactoryClient(transport(devserver.artifactory_url, "Artifactory")),
        xray=XrayClient(transport(devserver.xray_url, "Xray")),
        trust=trust,
    )
    yield made
    made.artifactory.close()
    made.xray.close()
