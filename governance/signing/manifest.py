"""Manifests: the files of an artifact with their digests, in one order.

Promises: names are safe, unique and sorted by code point; the two digests of the whole are recomputed, never read.
Does not: read files (see `hashing`), or say who vouches for it (see `sign`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from governance.model.artifact import FOLDER_SIGNATURE, FileEntry, RelativePath
from governance.model.digest import Digest, Sha256, parse_sha256, tree_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One file. `carried` is True where the digest was taken over from the last signature and the server's own
    checksum instead of being computed from the bytes again; the signed statement says so too.
    """

    name: RelativePath
    sha256: Sha256
    size: int | None = None
    carried: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of one artifact, without its signature. Raises `ValueError` where a name appears twice."""

    entries: tuple[ManifestEntry, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.name))
        for before, after in itertools.pairwise(ordered):
            if before.name == after.name:
                raise ValueError(f"file `{after.name}` appears twice")
        object.__setattr__(self, "entries", ordered)

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> Manifest:
        """The manifest of an artifact's files. Raises `ValueError` for a file whose SHA-256 nobody has computed."""
        entries = []
        for file in files:
            if file.sha256 is None:
                raise ValueError(f"the SHA-256 of `{file.path}` is not known")
            if file.path != FOLDER_SIGNATURE:
                entries.append(ManifestEntry(name=file.path, sha256=file.sha256, size=file.size))
        return cls(tuple(entries))

    @property
    def root_digest(self) -> Sha256:
        """The root digest of OpenSSF Model Signing v1.0: SHA-256 over the files' raw digests in order. It does not
        bind names, so it identifies nothing; `dirhash1` does.
        """
        hasher = hashlib.sha256()
        for entry in self.entries:
            hasher.update(bytes.fromhex(entry.sha256))
        return parse_sha256(hasher.hexdigest())

    @property
    def dirhash1(self) -> Digest:
        """The identity of the folder: `dirhash1:<hex>`, which binds names as well as bytes."""
        return tree_digest((entry.name, entry.sha256) for entry in self.entries)

    def digests(self) -> dict[str, str]:
        """SHA-256 by name."""
        return {entry.name: entry.sha256 for entry in self.entries}
