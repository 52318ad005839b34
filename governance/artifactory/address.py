"""Addresses `artifactory://host[:port]/artifactory/repository/path`, as MLflow hands them about.

Promises: an `Address` never leaves its repository, and `parse_uri(address.uri) == address`. Does not: read the scheme
of the transport from it; whether the host is spoken to over TLS is a setting.

Percent signs are literal, as they are in the other MLflow artifact repositories and in JFrog's plugin: MLflow joins
names to URIs without encoding them, so `a%20b` is a file of that name and `a#b` is no fragment. For the same reason a
`?` or `#` is part of the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from governance.errors import SettingsError
from governance.model.artifact import RelativePath, RepositoryKey, parse_relative_path, parse_repository_key

SCHEME = "artifactory"
_CONTEXT = "artifactory"
_FORM = f"{SCHEME}://HOST[:PORT]/{_CONTEXT}/REPOSITORY/PATH"
_HOST = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place in a repository. `path` is `""` for the repository itself, else a checked relative path."""

    host: str
    repository: RepositoryKey
    path: str = ""

    @property
    def uri(self) -> str:
        """The URI that `parse_uri` reads back to an equal address."""
        tail = f"/{self.path}" if self.path else ""
        return f"{SCHEME}://{self.host}/{_CONTEXT}/{self.repository}{tail}"

    @property
    def name(self) -> str:
        """The last part of the path, or the repository's key at its root."""
        return self.path.rpartition("/")[2] or str(self.repository)

    @property
    def parent(self) -> Address:
        """The folder that holds this place. The root is its own parent."""
        return Address(host=self.host, repository=self.repository, path=self.path.rpartition("/")[0])

    def __truediv__(self, name: str) -> Address:
        """The place `name` below this one. Raises `UnsafePathError` for a name that would leave it."""
        below: RelativePath = parse_relative_path(name)
        return Address(host=self.host, repository=self.repository, path=f"{self.path}/{below}".lstrip("/"))

    def __str__(self) -> str:
        return self.uri


def parse_uri(text: str) -> Address:
    """Read an artifact URI. Raises `SettingsError` for one of another form, `UnsafePathError` for an unsafe path."""
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() != SCHEME:
        raise SettingsError("the artifact URI does not start with `artifactory://`", hint=f"Use {_FORM}.")
    host, _, below = rest.partition("/")
    context, _, place = below.strip("/").partition("/")
    repository, _, path = place.partition("/")
    if context != _CONTEXT or not repository:
        raise SettingsError(
            f"the artifact URI names no repository below `/{_CONTEXT}/`", hint=f"Use {_FORM}."
        )
    try:
        key = parse_repository_key(repository)
    except ValueError as error:
        raise SettingsError(f"artifact URI: {error}", hint=f"Use {_FORM}.") from error
    # MLflow itself writes doubled and trailing slashes; both stand for one place.
    path = re.sub(r"/{2,}", "/", path.strip("/"))
    return Address(host=parse_host(host), repository=key, path=parse_relative_path(path) if path else "")


def parse_host(text: str) -> str:
    """Check `host` or `host:port` and lower its case. Raises `SettingsError`, which never repeats a user or password."""
    if "@" in text:
        raise SettingsError(
            "the artifact URI holds a user name or password",
            hint="Take it out of the URI, where it is stored and logged, and set ARTIFACTORY_AUTH_TOKEN instead.",
        )
    match = _HOST.fullmatch(text)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise SettingsError(f"`{text[:120]}` is not a host or host:port", hint=f"Use {_FORM}.")
    return text.lower()


def quoted(repository: str, path: str) -> str:
    """`repository/path` for a URL, each part checked and percent-encoded by itself, so that no name can add a part, a
    query or a matrix parameter (`;k=v`). Raises `UnsafePathError`, or `ValueError` for the key."""
    parts = [str(parse_repository_key(repository))]
    if path:
        parts += parse_relative_path(path).split("/")
    return "/".join(quote(part, safe="") for part in parts)
