"""What the tests of the Artifactory client share."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import Deployed
from governance.transport import Transport
from tests.rawserver import Script, raw_server


@contextmanager
def answering(*script: Script) -> Iterator[ArtifactoryClient]:
    """A client of a server that gives the answers of the script one by one, the last of them for ever."""
    with raw_server(*script) as server:
        client = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        yield client
        client.close()


def put(client: ArtifactoryClient, repo: str, path: str, data: bytes = b"bytes") -> Deployed:
    """Upload these bytes."""
    return client.upload(repo, path, io.BytesIO(data), size=len(data))


def sha256_of(data: bytes) -> str:
    """Digest of these bytes, 64 characters in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
