"""The client of Artifactory's REST interface. Signatures first; the bodies follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from governance.artifactory.items import (
    Deployed,
    Download,
    ItemInfo,
    RepositoryInfo,
    Tree,
    User,
    Version,
)
from governance.model.digest import Sha256
from governance.transport import Transport

PropertyValue = str | Sequence[str] | None


class ArtifactoryClient:
    """One Artifactory. `transport` has the base URL `{scheme}://host/artifactory`. Paths are relative to the
    repository, `""` is its root, and are checked and quoted here. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def host(self) -> str:
        """Host and port, as they stand in an `artifactory://` URI."""
        raise NotImplementedError

    def tree(self, repository: str, path: str) -> Tree:
        """Everything below `path`, in one request. Raises `NotFoundError`; `UnsafePathError` for hostile names."""
        raise NotImplementedError

    def children(self, repository: str, path: str) -> Tree:
        """One level below `path`, in one request."""
        raise NotImplementedError

    def info(self, repository: str, path: str) -> ItemInfo:
        """What the server knows of one file or folder."""
        raise NotImplementedError

    def download(self, repository: str, path: str, *, start: int = 0) -> AbstractContextManager[Download]:
        """Open a file for reading, from byte `start` on."""
        raise NotImplementedError

    def read_small(self, repository: str, path: str, *, limit: int) -> bytes:
        """A small file whole, checked against the server's SHA-256. Over `limit` bytes: `ProtocolError`."""
        raise NotImplementedError

    def upload(
        self, repository: str, path: str, body: BinaryIO, *, size: int, sha256: Sha256 | None = None
    ) -> Deployed:
        """Store `size` bytes of `body`, hash them on the way and compare with the server's answer. `sha256`, where
        known beforehand, is sent along, which makes a repeat harmless for users who may not overwrite.

        Raises `ConflictError` where the server computed another checksum."""
        raise NotImplementedError

    def deploy_by_checksum(self, repository: str, path: str, *, sha256: Sha256, size: int) -> Deployed | None:
        """Store a file whose bytes the server has already, without sending them. None where it does not."""
        raise NotImplementedError

    def make_folder(self, repository: str, path: str) -> None:
        """Make an empty folder. One that exists is left as it is."""
        raise NotImplementedError

    def delete(self, repository: str, path: str) -> None:
        """Delete a file, or a folder with all below it. Raises `NotFoundError`."""
        raise NotImplementedError

    def properties(self, repository: str, path: str) -> dict[str, tuple[str, ...]]:
        """All properties of an item; empty where it has none."""
        raise NotImplementedError

    def set_properties(
        self,
        repository: str,
        path: str,
        properties: Mapping[str, PropertyValue],
        *,
        recursive: bool = False,
    ) -> None:
        """Set properties (None deletes one). As JSON, so that no value can inject another property. The caller reads
        them again: a server may drop what the user has no right to set."""
        raise NotImplementedError

    def repository_info(self, key: str) -> RepositoryInfo:
        """Configuration of a repository. Raises `NotFoundError` where there is none."""
        raise NotImplementedError

    def copy(self, repository: str, path: str, *, to_repository: str, to_path: str) -> None:
        """Copy a file or folder on the server, properties included."""
        raise NotImplementedError

    def move(self, repository: str, path: str, *, to_repository: str, to_path: str) -> None:
        """Move a file or folder on the server, properties included."""
        raise NotImplementedError

    def aql(self, query: str) -> list[dict[str, object]]:
        """Rows of an AQL query. Raises `ProtocolError` where the server trimmed them."""
        raise NotImplementedError

    def permissions(self, repository: str, path: str) -> frozenset[str]:
        """Letters of the caller's effective rights, as far as the server tells: `r w n d m`."""
        raise NotImplementedError

    def current_user(self) -> User:
        """Whom the token stands for."""
        raise NotImplementedError

    def ping(self) -> None:
        """Ask whether the server is up. Raises `RemoteError` where it is not."""
        raise NotImplementedError

    def version(self) -> Version:
        """The server's version."""
        raise NotImplementedError
