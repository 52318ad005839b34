"""Names that one ecosystem writes in several ways, and package URLs, brought to one form before they are compared.

A deny list that holds `evil-pkg` must also stop `Evil_Pkg` on PyPI, while on npm these are two packages. Where nobody
knows the ecosystem, two names are equal if they are spelled alike, different if no ecosystem takes them for the same,
and otherwise nobody can tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_PYPI_RUNS = re.compile(r"[-_.]+")
_QUALIFIERS = re.compile(r"\?(?=[A-Za-z][A-Za-z0-9._-]*=)")
_TYPE = re.compile(r"[a-z][a-z0-9.+-]*")
_CACHE = 8192
_MAX_PURL = 1024

_LOWER = frozenset({
    "huggingface", "nuget", "github", "bitbucket", "npm", "oci", "docker", "deb", "conda", "golang", "composer", "hex",
})  # fmt: skip
"""Those of which the package-URL specification, or the registry, says that case makes no difference."""


@lru_cache(maxsize=_CACHE)
def normal_name(ecosystem: str, name: str) -> str:
    """`name` as `ecosystem` compares it. PyPI: PEP 503; crates.io: `_` as `-`; hubs and most registries: lower case;
    others: as it stands."""
    if ecosystem == "pypi":
        return _PYPI_RUNS.sub("-", name).lower()
    if ecosystem == "cargo":
        return name.replace("_", "-").lower()
    return name.lower() if ecosystem in _LOWER else name


def folds_names(ecosystem: str) -> bool:
    """Whether `ecosystem` takes names that differ in case for the same."""
    return ecosystem in {"pypi", "cargo"} or ecosystem in _LOWER


@lru_cache(maxsize=_CACHE)
def name_spellings(ecosystem: str, name: str) -> tuple[str, ...]:
    """`name` as it is written, then its normal form with each sign that `ecosystem` takes for the same between its parts. For
    patterns that cannot be normalised themselves; in which case they are written makes no difference here."""
    normal = normal_name(ecosystem, name)
    return (name, *(normal.replace("-", sign) for sign in _SEPARATORS.get(ecosystem, "-")))


_SEPARATORS = {"pypi": "-_.", "cargo": "-_"}


@lru_cache(maxsize=_CACHE)
def loose_name(name: str) -> str:
    """The coarsest form: two names that differ in it differ in every ecosystem."""
    return _PYPI_RUNS.sub("-", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Purl:
    """A package URL in normal form. `namespace` and `version` may be empty; qualifiers and subpath are left out."""

    type: str
    namespace: str
    name: str
    version: str

    @property
    def package(self) -> str:
        """`type/namespace/name`: all but the version."""
        return "/".join(part for part in (self.type, self.namespace, self.name) if part)

    @property
    def text(self) -> str:
        """`pkg:type/namespace/name@version`."""
        return f"pkg:{self.package}{f'@{self.version}' if self.version else ''}"


@lru_cache(maxsize=_CACHE)
def parse_purl(text: str) -> Purl | None:
    """Read a package URL (purl-spec, `how to parse`), or None. `*` and `?` pass, so that patterns are read alike."""
    if len(text) > _MAX_PURL or not text.lower().startswith("pkg:"):
        return None
    rest = text[4:].split("#", 1)[0]
    # In a pattern `?` is a wildcard, but not before `key=`: no name holds `=`. Qualifiers do not take part in a comparison.
    rest = _QUALIFIERS.split(rest, maxsplit=1)[0]
    kind, separator, path = rest.strip("/").partition("/")
    kind = kind.lower()
    if not separator or not _TYPE.fullmatch(kind):
        return None
    head, at, version = path.rpartition("@")
    if not at or not head or head.endswith("/"):  # `@scope` of npm begins a namespace, not a version
        head, version = path, ""
    parts = [unquote(part) for part in head.split("/") if part]
    if not parts or any(not part for part in parts):
        return None
    named = [normal_name(kind, part) for part in parts]
    return Purl(type=kind, namespace="/".join(named[:-1]), name=named[-1], version=unquote(version))
