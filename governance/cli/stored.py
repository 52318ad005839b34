"""Reading for commands that check: what a server holds is hashed anew, and no file is read without a limit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from governance.errors import DigestMismatchError, TransferError
from governance.model.digest import parse_sha256
from governance.places import open_file
from governance.signing.manifest import Manifest, ManifestEntry

if TYPE_CHECKING:
    from collections.abc import Collection

    from governance.artifactory.client import ArtifactoryClient
    from plugin.location import Part

_PIECE = 256 << 10


def hash_stored(client: ArtifactoryClient, part: Part, *, only: Collection[str] | None = None) -> Manifest:
    """The manifest of an artifact, or of some files of it, from their bytes. Nothing is kept.

    Raises `DigestMismatchError` where the bytes are not what the server's own checksum says.
    """
    entries = []
    for file in part.artifact.files:
        if only is not None and file.path not in only:
            continue
        hasher, size = hashlib.sha256(), 0
        place = part.root / file.path
        with client.download(place.repository, place.path) as download:
            for piece in download.chunks(_PIECE):
                hasher.update(piece)
                size += len(piece)
        sha256 = parse_sha256(hasher.hexdigest())
        if file.sha256 is not None and sha256 != file.sha256:
            raise DigestMismatchError(place.path, expected=file.sha256, actual=sha256)
        entries.append(ManifestEntry(name=file.path, sha256=sha256, size=size))
    return Manifest(tuple(entries))


def read_small(path: Path, limit: int) -> bytes | None:
    """A small file, or None where there is none. Raises `TransferError` for one that is too large or unreadable."""
    try:
        with open_file(path, may_be_piped=True) as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TransferError(f"`{path}` cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise TransferError(f"`{path}` has more than {limit} bytes")
    return data
