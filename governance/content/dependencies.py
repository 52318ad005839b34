"""What a model's files declare that it needs: requirements files, conda and virtualenv environments, uv's lock, `MLmodel`.

Promises: nothing is run, resolved or fetched; whatever could not be read as a named package is listed in `problems`,
so that an empty list of packages is never mistaken for a model without any. Does not: evaluate environment markers
(the environment of the one who decides is not that of the one who loads), or know what a package needs in turn.

Left out: `python`, `pip`, `setuptools` and `wheel`, which make the environment and differ on every machine; unless they come from
an address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import Version

from governance.content.conda import is_common, read_spec
from governance.content.uv import read_lock, read_project
from governance.model.facts import Unknown

REQUIREMENTS: Final = "requirements.txt"
CONDA: Final = "conda.yaml"
VIRTUALENV: Final = "python_env.yaml"
LOCK: Final = "uv.lock"
PROJECT: Final = "pyproject.toml"
MODEL: Final = "MLmodel"
_DECLARE: Final = {name.casefold(): name for name in (REQUIREMENTS, CONDA, VIRTUALENV, LOCK, PROJECT, MODEL)}

_MERGE: Final = "tag:yaml.org,2002:merge"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH: Final = 40
_TOOLS: Final = frozenset({"python", "pip", "setuptools", "wheel"})
_MAX_ROWS: Final = 5_000
_MAX_EVENTS: Final = 100_000
"""A mebibyte of `{a},` has a million, which take nine seconds and four hundred megabytes."""
_OPTION: Final = re.compile(r"\s--?[a-z-]+[= ].*")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_WHOLE_COMMENT: Final = re.compile(r"\s*#")
_REFERENCE: Final = re.compile(r"(?:-r\s*|--requirement(?:=|\s+))(?P<file>[\w./][\w./+-]*)")
"""A plain path alone: pip takes quotes away, puts variables in, fetches addresses, and opens `=a.txt` for `-r=a.txt`, so that of
other names another file could be read here than there."""
_CODING: Final = re.compile(rb"#.*?coding[:=]\s*(?P<name>[-\w.]+)")
_UTF8: Final = frozenset({b"utf-8", b"utf8", b"ascii", b"us-ascii"})
_FROM: Final = " @ "
_USERINFO: Final = re.compile(r"//[^/@\s]*@")
_INDEX: Final = "packages may come from another index"
_SOURCES: Final = re.compile(
    r"(?:-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host|--no-index|--pre)\b"
)
_FILE: Final = re.compile(
    r"[\w.+-]+\.(?:zip|whl|tar|tgz|tbz|txz|tlz|tar\.(?:gz|bz2|xz|lz|lzma))(?:\s*\[[^\]]*\])?", re.IGNORECASE
)
"""A name that pip takes for a file, where there is one of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package by its normal name. `version` is None unless exactly one version can be meant. `asked` is what the
    file says about the version."""

    ecosystem: str
    name: str
    version: str | None
    asked: str = ""

    @property
    def name_key(self) -> tuple[str, str]:
        """The package, whatever its version."""
        return self.ecosystem, self.name

    @property
    def purl(self) -> str:
        """Package URL (purl-spec), with the version where it is pinned."""
        version = f"@{quote(self.version, safe='.-_~')}" if self.version else ""
        return f"pkg:{self.ecosystem}/{self.name}{version}"

    @property
    def component_id(self) -> str | None:
        """Xray's name of it, or None without a version."""
        return f"{self.ecosystem}://{self.name}:{self.version}" if self.version else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What one file declares. `files` are further files that it refers to, as written there. Of several files together, `unread` says
    why one of them could not be read."""

    packages: tuple[Package, ...] = ()
    problems: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    unread: Unknown | None = None


def usual_name(path: str) -> str | None:
    """Which of the files that declare packages a path leads to. In any case of its letters: the disks of macOS and Windows find it
    under each."""
    return _DECLARE.get(path.rpartition("/")[2].casefold())


def declaring(paths: Iterable[str]) -> list[str]:
    """The files that declare packages. A `pyproject.toml` does where a lock lies beside it: without one MLflow leaves it alone."""
    found = {path: name for path in paths if (name := usual_name(path)) is not None}
    locked = {path.rpartition("/")[0] for path, name in found.items() if name == LOCK}
    return [path for path, name in found.items() if name != PROJECT or path.rpartition("/")[0] in locked]


def read_declared(name: str, data: bytes) -> Declared:
    """Read a file by its name. A file that cannot be read is all problem."""
    try:
        text = data.decode("utf-8-sig")
        base = usual_name(name) or name.rpartition("/")[2].casefold()
        reader = _READERS.get(base)
        if reader is not None:
            return reader(text)
        if base.endswith((".yaml", ".yml")):
            return _environment(base, read_mapping(text))
        if _coding(data) not in _UTF8:
            return Declared(problems=(f"{name} says that it is not UTF-8",))
        return read_requirements(text.splitlines())
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        return Declared(problems=(f"{name} cannot be read: {_why(error)}",))


def _why(error: Exception) -> str:
    """What is wrong with a file, without repeating any of it."""
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8"
        case yaml.MarkedYAMLError(problem=str(problem), problem_mark=mark) if mark is not None:
            # What it says may quote the file, behind the first few words.
            return f"no YAML from line {mark.line + 1} on ({problem.partition('`')[0].partition(chr(39))[0].strip()})"
        case yaml.YAMLError():
            return "it is not YAML"
        case RecursionError():
            return "it is nested too deep"
    return str(error)


def _coding(data: bytes) -> bytes:
    """The encoding that a comment in the first two lines names, as pip obeys it: in UTF-7, text that is a comment here is none there."""
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:2]:
        match = _CODING.match(line)
        if match is not None:
            return match["name"].lower()
    return b"utf-8"


def merge(parts: Iterable[Declared]) -> Declared:
    """All that the parts declare, without repetition. One package with two versions stays two.

    One without a version is left out where the same part has it with one, since they are installed together; another part may be
    installed instead. One from an address is never left out: that address counts, and any version will do.
    """
    packages: dict[tuple[str, str, str | None, str], Package] = {}
    problems: dict[str, None] = {}
    files: dict[str, None] = {}
    for part in parts:
        pinned = {each.name_key for each in part.packages if each.version is not None}
        for each in part.packages:
            if each.version is not None:
                packages[(*each.name_key, each.version, "")] = each
            elif each.name_key not in pinned or each.asked.startswith(_FROM):
                packages[(*each.name_key, None, each.asked)] = each
        problems |= dict.fromkeys(part.problems)
        files |= dict.fromkeys(part.files)
    kept = sorted(packages.values(), key=lambda each: (*each.name_key, each.version or "", each.asked))
    return Declared(packages=tuple(kept), problems=tuple(problems), files=tuple(files))


def read_requirements(lines: Iterable[str]) -> Declared:
    """Read the lines of a requirements file (the format of pip's documentation)."""
    packages, problems, files = [], [], []
    for number, line in _logical(lines):
        if number > _MAX_ROWS:
            problems.append(f"more than {_MAX_ROWS} requirements")
            break
        reference = _REFERENCE.fullmatch(line)
        if reference is not None:
            files.append(reference["file"])
        elif _SOURCES.match(line):
            problems.append(_INDEX)
        elif (found := _requirement(_OPTION.sub("", line))) is not None:
            packages.append(found)
        else:
            problems.append(f"`{_without_secrets(line)[:80]}` is not a named package")
    return _without_tools(packages, problems, files)


def _logical(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines as pip joins them. A comment is not continued, whatever it ends with: the next line counts."""
    pending, number = "", 0
    for line in (*lines, ""):
        is_comment = _WHOLE_COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            pending += line.strip("\\")
            continue
        joined = f"{pending} {line}" if is_comment else pending + line
        pending, text = "", _COMMENT.sub("", joined).strip()
        if text:
            number += 1
            yield number, text


def _requirement(text: str) -> Package | None:
    if _FILE.fullmatch(text.partition(";")[0].strip()):
        return None
    try:
        found = Requirement(text)
    except InvalidRequirement:
        return None
    pins = [pin for each in found.specifier if (pin := _pin(each)) is not None]
    asked = _asked_from(found.url) if found.url else str(found.specifier)
    return Package(
        ecosystem="pypi",
        name=canonicalize_name(found.name),
        version=pins[0] if pins and not found.url else None,
        asked=asked,
    )


def _pin(specifier: Specifier) -> str | None:
    """The one version that is meant, as releases are called: `==v01.0-1` is 1.0.post1 to pip."""
    if specifier.operator == "===":
        return specifier.version
    if specifier.operator != "==" or specifier.version.endswith(".*"):
        return None
    return str(Version(specifier.version))


def _lock(text: str) -> Declared:
    locked, is_strange = read_lock(text)
    packages = [
        Package(
            ecosystem="pypi",
            name=each.name,
            version=each.version,
            asked=f"=={each.version}" if each.origin is None else _asked_from(each.origin),
        )
        for each in locked
    ]
    return _without_tools(packages, [_INDEX] if is_strange else [], [])


def _project(text: str) -> Declared:
    requirements, is_strange = read_project(text)
    return merge([read_requirements(requirements), Declared(problems=(_INDEX,) if is_strange else ())])


def _asked_from(address: str) -> str:
    return f"{_FROM}{_without_secrets(address).partition('?')[0][:200]}"


def _without_secrets(text: str) -> str:
    """A line without the users and passwords of its addresses: it gets into reports and the audit log."""
    return _USERINFO.sub("//", text)


def read_mapping(text: str) -> Mapping[str, Any]:
    """A YAML document from outside that is a mapping, in time and memory that its length bounds. Raises `ValueError` or
    `YAMLError`."""
    _check_events(text)
    document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, see `_LOADER`
    if not isinstance(document, Mapping):
        raise ValueError("not a mapping")  # noqa: TRY004 - malformed data, not a caller's type
    return document


def _check_events(text: str) -> None:
    """Refuse what the loader must not meet: deep nesting, since libyaml's recursion has no limit, and ends the process; merge keys,
    whose copies of copies take older releases of PyYAML minutes for a few lines; and more values than any such file has."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if number > _MAX_EVENTS:
            raise ValueError("more values than are read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        if isinstance(event, yaml.ScalarEvent) and _is_merge(event):
            raise ValueError("a merge key")


def _is_merge(event: yaml.ScalarEvent) -> bool:
    """Whether a key copies what follows it into its mapping: a bare `<<`, or one that is tagged so."""
    return bool(event.tag == _MERGE or (event.value == "<<" and event.implicit[0]))


def _environment(base: str, document: Mapping[str, Any]) -> Declared:
    """conda.yaml, or python_env.yaml, whose `dependencies` are pip's and not conda's.

    A file that has neither's name may be either, and MLflow asks nothing but the entry of `MLmodel` that names it. So its rows are
    read as both, unless conda would refuse them.
    """
    if base == VIRTUALENV:
        return _pip_environment(document)
    is_pip = base != CONDA and ("build_dependencies" in document or "python" in document)
    options = any(
        isinstance(row, str) and row.strip().startswith("-") for row in _rows(document.get("dependencies"))
    )
    if is_pip and options:
        return _pip_environment(document)
    found = _conda_environment(document)
    return merge([found, _pip_environment(document)]) if is_pip else found


def _pip_environment(document: Mapping[str, Any]) -> Declared:
    lines = [*_strings(document.get("build_dependencies")), *_strings(document.get("dependencies"))]
    return read_requirements(lines)


def _conda_environment(document: Mapping[str, Any]) -> Declared:
    parts, own, others = [], [], []
    left = _MAX_ROWS
    for row in _rows(document.get("dependencies")):
        if isinstance(row, str):
            own.append(row)
            continue
        if not isinstance(row, Mapping) or row.keys() != {"pip"}:
            others.append(f"{_sort_of(row)} is neither a package nor a list of pip's")
        lines = _strings(row.get("pip")) if isinstance(row, Mapping) else []
        left -= len(lines)
        if left < 0:  # aliases make many lists of one
            raise ValueError("too many rows")
        parts.append(read_requirements(lines))
    others += _strange(_strings(document.get("channels")))
    return merge([*parts, _conda(own), Declared(problems=tuple(dict.fromkeys(others)))])


def _conda(rows: Iterable[str]) -> Declared:
    packages, problems, channels = [], [], []
    for row in rows:
        found = read_spec(row)
        if found is None:
            problems.append(f"`{_without_secrets(row)[:80]}` is not a conda package")
            continue
        channels += [found.channel] if found.channel else []
        packages.append(Package(ecosystem="conda", name=found.name, version=found.version, asked=found.asked))
    return _without_tools(packages, [*problems, *_strange(channels)], [])


def _strange(channels: Iterable[str]) -> list[str]:
    """A problem for each channel that may hold anything under any name: as another index does for pip."""
    return [
        f"packages may come from the channel `{_without_secrets(each)[:80]}`"
        for each in channels
        if not is_common(each)
    ]


def _model(text: str) -> Declared:
    """`MLmodel` names the files that hold the environments, which need not have the usual names."""
    document = read_mapping(text)
    files: list[str] = []
    problems: list[str] = []
    flavors = document.get("flavors")
    for flavor in flavors.values() if isinstance(flavors, Mapping) else ():
        env = flavor.get("env") if isinstance(flavor, Mapping) else None
        named = {"conda": env} if isinstance(env, str) else env if isinstance(env, Mapping) else {}
        files += [each for each in named.values() if isinstance(each, str)]
        problems += [
            f"`{MODEL}` names `{wrong}` as an environment of {kind}"
            for kind, wrong in (("conda", VIRTUALENV), ("virtualenv", CONDA))
            if str(named.get(kind)).rpartition("/")[2] == wrong
        ]
    return Declared(files=tuple(dict.fromkeys(files)), problems=tuple(dict.fromkeys(problems)))


def _without_tools(packages: list[Package], problems: list[str], files: list[str]) -> Declared:
    # A tool from an address is whatever lies there.
    kept = tuple(each for each in packages if each.name not in _TOOLS or each.asked.startswith(_FROM))
    return Declared(packages=kept, problems=tuple(dict.fromkeys(problems)), files=tuple(files))


def _rows(value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_ROWS:
        raise ValueError("not a list, or too long a one")
    return value


def _strings(value: object) -> list[str]:
    """The rows of a list, and each line of a row by itself: they become a requirements file."""
    rows = (row if isinstance(row, str) else _sort_of(row) for row in _rows(value))
    return [line for row in rows for line in row.splitlines()]


def _sort_of(row: object) -> str:
    """What a row is that is no text. It is not written out: a few aliases of aliases make billions of values."""
    return f"({type(row).__name__})"


_READERS: Final[Mapping[str, Callable[[str], Declared]]] = {LOCK: _lock, PROJECT: _project, MODEL: _model}
