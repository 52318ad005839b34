"""Artifacts and where they lie.

An artifact is the whole thing that a verdict is about: a model with all its files, or a single file where no model
surrounds it. File names are relative POSIX paths below the artifact's root and are checked here, once: nothing that
could leave a folder becomes a `FileEntry`.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import NewType

from governance.errors import UnsafePathError
from governance.model.digest import Digest, Sha256, file_digest, tree_digest

RepositoryKey = NewType("RepositoryKey", str)
"""An Artifactory repository key. Made by `parse_repository_key` alone."""

RelativePath = NewType("RelativePath", str)
"""A POSIX path without root, `.`/`..` parts, backslash, drive letter or control character. Made by
`parse_relative_path` alone."""

FOLDER_SIGNATURE = "model.sig"
"""Name of the signature bundle beside a folder's files (OpenSSF Model Signing v1.0, section on file names)."""

FILE_SIGNATURE_SUFFIX = ".mlgov.sig"
"""Suffix of the signature bundle beside a file that was logged alone."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_PATH = 4096
_PLAIN_PATH = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII).fullmatch
"""Most names: nothing below asks for more than that. A part that begins with a dot is looked at closely."""


class Kind(enum.StrEnum):
    """What sort of thing an artifact is."""

    MODEL = "model"
    FILE = "file"
    FOLDER = "folder"
    DATASET = "dataset"
    PACKAGE = "package"
    IMAGE = "image"


def parse_repository_key(text: str) -> RepositoryKey:
    """Check an Artifactory repository key. Raises `ValueError`."""
    if not _KEY.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a repository key")
    return RepositoryKey(text)


def parse_relative_path(text: str) -> RelativePath:
    """Check a file name that came from outside. Raises `UnsafePathError`, naming what is wrong with it."""
    if len(text) <= _MAX_PATH and _PLAIN_PATH(text):
        return RelativePath(text)
    shown = text[:120]
    size = len(text.encode("utf-8", "replace"))  # of which the record of a decision holds so many
    if not 0 < size <= _MAX_PATH:
        raise UnsafePathError(f"a file name of {size} bytes (1 to {_MAX_PATH} are allowed)")
    if _CONTROL.search(text) or "\\" in text:
        raise UnsafePathError(f"file name {shown!r} holds a control character or a backslash")
    if not _is_utf8(text):
        raise UnsafePathError(f"file name {shown!r} is not UTF-8")
    if text.startswith("/") or _DRIVE.match(text):
        raise UnsafePathError(f"file name {shown!r} is absolute")
    if any(part in {"", ".", ".."} for part in text.split("/")):
        raise UnsafePathError(f"file name {shown!r} holds an empty, `.` or `..` part")
    return RelativePath(text)


def _is_utf8(text: str) -> bool:
    # Lone surrogates stand for bytes that a file system could not decode; no digest and no JSON can carry them.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of an artifact. `size` in bytes; `sha256` is None while nobody has computed it."""

    path: RelativePath
    size: int | None = None
    sha256: Sha256 | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A thing with kind, name, version, location and digest.

    `host` is host and port of the Artifactory that holds it, `path` the root below the repository (`""` is the
    repository itself). `files` are sorted by path and do not hold the signature bundle, so that signing an artifact
    does not change its identity; `signature` is the bundle as listed beside them, if there is one. For `Kind.FILE` there
    is exactly one entry, and `path` is the folder that holds it.
    """

    kind: Kind
    host: str
    repository: RepositoryKey
    path: str
    name: str
    version: str | None = None
    files: tuple[FileEntry, ...] = ()
    signature: FileEntry | None = None
    _digest: Digest | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.files) > 1:
            object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda entry: entry.path)))
        object.__setattr__(self, "_digest", self._compute_digest())

    @property
    def ref(self) -> str:
        """`repository/path` of the artifact, with the file's name where the artifact is a single file."""
        parts = [self.repository, self.path]
        if self.kind is Kind.FILE and self.files:
            parts.append(self.files[0].path)
        return "/".join(part for part in parts if part)

    @property
    def digest(self) -> Digest | None:
        """The identity of the bytes, or None while the SHA-256 of any file is not known (or there is no file)."""
        return self._digest

    @property
    def size(self) -> int | None:
        """Bytes of all files together, or None while one is not known."""
        sizes = [entry.size for entry in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _compute_digest(self) -> Digest | None:
        known = [(str(entry.path), entry.sha256) for entry in self.files if entry.sha256 is not None]
        if not known or len(known) != len(self.files):
            return None
        return file_digest(known[0][1]) if self.kind is Kind.FILE else tree_digest(known)


def artifact_on_record(
    *,
    kind: Kind,
    host: str,
    ref: str,
    repository: str,
    path: str,
    name: str,
    version: str | None,
    digest: Digest | None,
) -> Artifact:
    """An artifact as a record names it: where it lay and what its bytes were, without the list of its files. Raises
    `ValueError` or `UnsafePathError` for names that no artifact has."""
    key = parse_repository_key(repository)
    folder = f"{repository}/{path}" if path else repository
    lone = parse_relative_path(ref[len(folder) + 1 :]) if kind is Kind.FILE and ref != folder else None
    artifact = object.__new__(Artifact)  # at most one file: there is nothing to sort or to work out
    setting = object.__setattr__
    setting(artifact, "kind", kind)
    setting(artifact, "host", host)
    setting(artifact, "repository", key)
    setting(artifact, "path", path)
    setting(artifact, "name", name)
    setting(artifact, "version", version)
    setting(artifact, "files", () if lone is None else (FileEntry(path=lone),))
    setting(artifact, "signature", None)
    setting(artifact, "_digest", digest)
    return artifact
