"""What Artifactory says about stored things, as values. The wire forms are in `wire`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from governance.model.artifact import RelativePath, RepositoryKey
from governance.model.digest import Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as listed. `path` is relative to the root that was asked for. `sha256` is None where the server has none."""

    path: RelativePath
    size: int
    sha256: Sha256 | None
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What lies below a root, sorted by path. `is_file` says that the root itself is a file: then `files` holds just
    that file, by its own name, and `folders` nothing."""

    files: tuple[StoredFile, ...] = ()
    folders: tuple[RelativePath, ...] = ()
    is_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemInfo:
    """A file or folder as described by the storage API. Folders have neither `size` nor `sha256`. `children` are the
    names one level below, folders with a `/` at the end."""

    repository: RepositoryKey
    path: str
    is_folder: bool
    size: int | None
    sha256: Sha256 | None
    created: datetime | None
    created_by: str | None
    modified: datetime | None
    modified_by: str | None
    mime_type: str | None = None
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """An upload or checksum deploy that the server has confirmed, with the SHA-256 both sides computed."""

    sha256: Sha256
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An open download. `start` is the offset of the first byte delivered, `size` that of the whole file, where the
    server says it. `sha256` is the server's claim about the whole file; the caller hashes and compares. `chunks(n)`
    gives pieces of at most `n` bytes, and raises `ProtocolError` where the body ends early."""

    start: int
    size: int | None
    sha256: Sha256 | None
    chunks: Callable[[int], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryInfo:
    """A repository's configuration, as far as it matters here. `origin` is `local`, `remote`, `virtual` or `federated`."""

    key: RepositoryKey
    origin: str
    package_type: str
    xray_index: bool | None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The server's version, such as `7.125.4`, and the add-ons of its licence."""

    version: str
    addons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Whom the token stands for, as far as the token says (it is not verified here). `expires` is None for a token
    without an end, or an opaque one."""

    name: str | None
    scopes: tuple[str, ...] = ()
    expires: datetime | None = None
