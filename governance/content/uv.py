"""A uv project inside a model: MLflow logs `uv.lock`, `pyproject.toml` and `.python-version`, and with `env_manager="uv"` installs by them
alone, whatever `requirements.txt` says.

Promises: a version counts as exact only where every file that uv may fetch for it lies with PyPI and bears that name and version, since
the lock names addresses, and any address would do. What installing would build with is named too. Does not: tell the packages for one
system, or of one group, from the others: all that the lock names count.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

_INDEXES: Final = frozenset({"https://pypi.org/simple", "https://pypi.python.org/simple"})
_FILES: Final = "https://files.pythonhosted.org/"
_OWN: Final = ({"virtual": "."}, {"editable": "."})
_SOURCES: Final = ("url", "git", "path", "directory", "editable", "virtual")
_MAX_PACKAGES: Final = 5_000
_TEXT: Final = re.compile(r'"[^"\\]*"')
_MAX_DOTS: Final = 3
_MAX_LINE_DOTS: Final = 100
_MAX_PROJECT: Final = 64 << 10
_BACKENDS: Final = frozenset({"hatchling", "uv-build", "flit-core", "poetry-core", "pdm-backend"})
"""They build, as setuptools does, and honest projects name no version of them."""
_ELSEWHERE: Final = frozenset({"index", "index-url", "extra-index-url", "find-links", "sources"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A package of a lock file. `version` is None where its bytes may come from `origin`, which is not PyPI."""

    name: str
    version: str | None
    origin: str | None = None


def read_lock(text: str) -> tuple[tuple[Locked, ...], bool]:
    """The packages of a `uv.lock`, and whether any comes from another index. Raises `ValueError` where it is not as uv writes it."""
    for line in text.split("\n"):
        rest = _TEXT.sub("", line)
        # Python's reader takes the square of a dotted name's length.
        if rest.count(".") > _MAX_DOTS or '"' in rest or "'" in rest:
            raise ValueError("it is not as uv writes it")
    rows = _document(text).get("package", [])
    if not isinstance(rows, list) or len(rows) > _MAX_PACKAGES:
        raise ValueError("its packages are not a list, or the list is too long")
    found: list[Locked] = []
    strange = False
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("source"), Mapping):
            raise ValueError("a package without a source")  # noqa: TRY004 - malformed data, not a caller's type
        if row["source"] in _OWN:
            continue
        found.append(_locked(row))
        index = row["source"].get("registry")
        strange = strange or (index is not None and str(index).rstrip("/") not in _INDEXES)
    return tuple(found), strange


def read_project(text: str) -> tuple[tuple[str, ...], bool]:
    """The requirements that a `pyproject.toml` is built with, and whether they may come from another index. What the project itself
    needs is in the lock. Raises `ValueError`."""
    if len(text) > _MAX_PROJECT or any(line.count(".") > _MAX_LINE_DOTS for line in text.split("\n")):
        raise ValueError("it is too large, or has lines that are")
    document = _document(text)
    settings = _table(_table(document, "tool"), "uv")
    lines = list(_strings(_table(document, "build-system").get("requires", [])))
    for extra in _table(settings, "extra-build-dependencies").values():
        lines += _strings(extra)
    kept = (
        line
        for line in lines
        if canonicalize_name(re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0]) not in _BACKENDS
    )
    return tuple(kept), not _ELSEWHERE.isdisjoint(settings)


def _locked(row: Mapping[str, Any]) -> Locked:
    try:
        name = canonicalize_name(str(row.get("name", "")), validate=True)
        version = str(Version(str(row["version"]))) if "version" in row else None
    except (InvalidName, InvalidVersion) as error:
        raise ValueError("a package whose name or version is none") from error
    source = row["source"]
    if source.keys() != {"registry"} or version is None:
        where = next((str(source[kind]) for kind in _SOURCES if kind in source), "?")
        return Locked(name=name, version=None, origin=where)
    wheels = row.get("wheels", [])
    files = [*wheels, *([row["sdist"]] if "sdist" in row else [])] if isinstance(wheels, list) else [None]
    strange = next((each for each in files if not _is_of(each, name, Version(version))), ...)
    if strange is ... or str(source["registry"]).rstrip("/") not in _INDEXES:
        return Locked(name=name, version=version)  # of another index all is said by that it is one
    address = strange.get("url") if isinstance(strange, Mapping) else None
    return Locked(name=name, version=None, origin=str(address or "?"))


def _is_of(file: object, name: str, version: Version) -> bool:
    """Whether a file of the lock is one of PyPI's for this package and version, by its address."""
    url = file.get("url") if isinstance(file, Mapping) else None
    if not isinstance(url, str) or not url.startswith(_FILES):
        return False
    base = unquote(url.partition("#")[0].rpartition("/")[2])
    try:
        if base.endswith(".whl"):
            found, at, *_ = parse_wheel_filename(base)
        else:
            found, at = parse_sdist_filename(base)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return False
    return (found, at) == (name, version)


def _document(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError("it is not TOML") from error  # what it says may quote the file


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, Mapping):
        raise ValueError(f"`{name}` is not a table")  # noqa: TRY004 - malformed data, not a caller's type
    return found


def _strings(rows: object) -> Iterator[str]:
    if not isinstance(rows, list) or len(rows) > _MAX_PACKAGES:
        raise ValueError("requirements that are not a list, or a list that is too long")
    for row in rows:
        if not isinstance(row, str):
            raise ValueError("a requirement that is not text")  # noqa: TRY004 - malformed data, not a caller's type
        yield from row.splitlines()
