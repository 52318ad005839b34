"""What is stored: files and folders with their properties.

Promises immutable values and their JSON form on disk. Does not know the wire forms of the REST interface.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from governance.devserver.blobs import Digests

NO_PROPERTIES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
NO_CHECKSUMS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file or folder. `path` is relative to the repository and empty for its root. `blob` names the content that is
    really served; it differs from `digests.sha256` only after tampering."""

    repo: str
    path: str
    folder: bool
    created: datetime
    created_by: str
    modified: datetime
    modified_by: str
    digests: Digests | None = None
    blob: str = ""
    claimed: Mapping[str, str] = field(default_factory=lambda: NO_CHECKSUMS)
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_PROPERTIES)

    @property
    def name(self) -> str:
        """The last element of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path of the folder it lies in."""
        return self.path.rpartition("/")[0]

    @property
    def label(self) -> str:
        """`repo:path`, as messages name it."""
        return f"{self.repo}:{self.path}"

    @property
    def content(self) -> Digests:
        """Checksums of a file. A folder has none and asking is a mistake in the server."""
        if self.digests is None:
            raise TypeError(f"{self.label} is a folder")
        return self.digests

    @property
    def mime_type(self) -> str:
        """Guessed from the name."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def to_document(self) -> dict[str, Any]:
        """The form that `from_document` reads."""
        return {
            "repo": self.repo,
            "path": self.path,
            "folder": self.folder,
            "created": self.created.isoformat(),
            "created_by": self.created_by,
            "modified": self.modified.isoformat(),
            "modified_by": self.modified_by,
            "digests": asdict(self.digests) if self.digests else None,
            "blob": self.blob,
            "claimed": dict(self.claimed),
            "properties": dict(self.properties),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Item:
        """Read back what `to_document` wrote."""
        digests = document["digests"]
        return cls(
            **{
                **document,
                "created": datetime.fromisoformat(document["created"]),
                "modified": datetime.fromisoformat(document["modified"]),
                "digests": Digests(**digests) if digests else None,
                "properties": {key: tuple(values) for key, values in document["properties"].items()},
            }
        )


@dataclass(slots=True, kw_only=True)
class Usage:
    """How often a file was fetched. Lives in memory only."""

    downloads: int = 0
    last: datetime | None = None
    last_by: str = ""


def iso(at: datetime) -> str:
    """Artifactory's time form: milliseconds and zone."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def join(parent: str, name: str) -> str:
    """A path below another; either may be empty."""
    return f"{parent}/{name}" if parent and name else parent or name
