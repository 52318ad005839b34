"""From files to a checked `PolicyBundle`. The only module of the policy room, with `source`, that reads files.

Promises: every mistake of every file in one `PolicyInvalidError`, each with file, line and column; a bundle that came
out of here compiles. Does not: read the environment or a clock; where policies lie is an argument.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.errors import PolicyInvalidError
from governance.model.facts import CATALOGUE, FactSpec, extended
from governance.places import open_file
from governance.policy.allocating import collector_paused
from governance.policy.assembling import Assembler, Source
from governance.policy.documents import PolicyBundle
from governance.policy.mistakes import Problem
from governance.policy.strict_yaml import DEFAULT_LIMITS, Limits, read_yaml

FOLDERS = (".governance", "policies")
"""Where a repository keeps its policies."""

SUFFIXES = frozenset({".yaml", ".yml"})
STEP_SUFFIX = ".sig.json"
REVOKED = ".revoke."
"""What stands between a waiver's name and a key's in the name of a step that takes it back."""
_MAX_FILES = 2000
_MAX_FOLDERS = 2000
_NO_POLICIES = "lost+found"
"""A folder that a volume has of its own, and that root alone may read."""
_MANY_BYTES = 100_000
_MARK = b"mlgov/"


def load_policies(
    paths: Sequence[Path],
    *,
    catalogue: Mapping[str, FactSpec] = CATALOGUE,
    limits: Limits = DEFAULT_LIMITS,
    revoked: Container[str] | None = None,
) -> PolicyBundle:
    """Everything in the files, and in the YAML files below the folders. `revoked` are waivers that are about to be taken back;
    those with a step that says so are known. Raises `PolicyInvalidError`."""
    return load_written(paths, catalogue=catalogue, limits=limits, revoked=revoked).bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A bundle and the documents it was read from, by kind and name, for whoever has to say where something stands."""

    bundle: PolicyBundle
    documents: Mapping[tuple[str, str], Source]


def load_written(
    paths: Sequence[Path],
    *,
    catalogue: Mapping[str, FactSpec] = CATALOGUE,
    limits: Limits = DEFAULT_LIMITS,
    revoked: Container[str] | None = None,
) -> Written:
    """`load_policies` with the documents. Raises `PolicyInvalidError`."""
    problems: list[str] = []
    files: dict[str, bytes] = {}
    for path in policy_paths(paths, problems):
        try:
            with open_file(path, may_be_piped=True) as stream:
                files[str(path)] = stream.read(limits.size + 1)
        except OSError as error:
            problems.append(
                Problem(str(path), 1, 1, f"expected a file that can be read, got {error.strerror}")
            )
    if not files and not problems:
        problems += [Problem(str(path), 1, 1, "expected a YAML file below this folder") for path in paths]
    files |= dict.fromkeys(map(str, step_paths(paths)), b"")  # their names are enough
    return written_files(files, catalogue=catalogue, limits=limits, problems=problems, revoked=revoked)


def load_files(
    files: Mapping[str, bytes],
    *,
    catalogue: Mapping[str, FactSpec] = CATALOGUE,
    limits: Limits = DEFAULT_LIMITS,
    problems: Iterable[str] = (),
) -> PolicyBundle:
    """The same for files already read, such as those of a signed bundle, with the steps of waivers among them. `problems` are
    mistakes found before."""
    return written_files(files, catalogue=catalogue, limits=limits, problems=problems).bundle


def written_files(
    files: Mapping[str, bytes],
    *,
    catalogue: Mapping[str, FactSpec] = CATALOGUE,
    limits: Limits = DEFAULT_LIMITS,
    problems: Iterable[str] = (),
    revoked: Container[str] | None = None,
) -> Written:
    """`load_files` with the documents. Raises `PolicyInvalidError`."""
    assembler = Assembler(catalogue, _revoked_among(files) if revoked is None else revoked)
    files = documents_among(files)
    with collector_paused(worth_it=sum(map(len, files.values())) > _MANY_BYTES):
        written, found = _assembled(files, assembler, limits, list(problems))
    if not written.bundle.policies and not found:
        names = ", ".join(sorted(files)) or "(nothing)"
        found.append(Problem(names, 1, 1, "expected at least one document of kind Policy"))
    if found:
        raise PolicyInvalidError(found)
    return written


def _assembled(
    files: Mapping[str, bytes], assembler: Assembler, limits: Limits, found: list[str]
) -> tuple[Written, list[str]]:
    for name in sorted(files):
        if not files[name].strip() and len(files) > 1:  # else there is no policy at all, which is said
            found.append(Problem(name, 1, 1, "expected a document, got an empty file"))
        reading = read_yaml(files[name], name, limits)
        for document in reading.documents:
            assembler.add(document)
        if not reading.is_whole:
            assembler.miss()
        for error in reading.refused:
            message = f"expected strict YAML, got {error.message}"
            found.append(Problem(name, error.line, error.column, message))
    written = Written(bundle=assembler.finish(), documents=assembler.documents())
    return written, sorted([*found, *assembler.problems()], key=_position)


def _position(problem: str) -> tuple[str, int, int]:
    return (problem.source, problem.line, problem.column) if isinstance(problem, Problem) else ("", 0, 0)


def bundle_from_trees(trees: Iterable[Any], *, facts: Iterable[FactSpec] = ()) -> PolicyBundle:
    """The bundle behind a canonical document. Raises `PolicyInvalidError`."""
    assembler = Assembler(extended(facts))
    for number, tree in enumerate(trees):
        assembler.add(_Recorded(tree, number))
    bundle = assembler.finish()
    problems = assembler.problems()
    if problems:
        raise PolicyInvalidError(problems)
    return bundle


def policy_paths(paths: Sequence[Path], problems: list[str] | None = None) -> list[Path]:
    """The policy files that `paths` stand for, sorted. What is not there is noted in `problems`."""
    found: dict[Path, None] = {}
    noted = problems if problems is not None else []
    for path in paths:
        if os.path.isfile(path):  # noqa: PTH113 - `Path.is_file` raises where a folder may not be entered
            found[path] = None
        elif os.path.isdir(path):  # noqa: PTH112 - as above
            below = [file for file in _below(path, noted) if file.suffix.lower() in SUFFIXES]
            if len(below) > _MAX_FILES:
                message = f"expected at most {_MAX_FILES} policy files, got {len(below)}"
                noted.append(Problem(str(path), 1, 1, message))
            found |= dict.fromkeys(below[:_MAX_FILES])
        else:
            message = f"expected a folder or file of policies, got {_what_is_there(path)}"
            noted.append(Problem(str(path), 1, 1, message))
    return sorted(found)


def _revoked_among(names: Iterable[str]) -> frozenset[str]:
    """The waivers with a step of revocation among files: it counts even where it cannot be checked, so its name is enough."""
    steps = (name.rpartition("/")[2] for name in names if name.endswith(STEP_SUFFIX))
    return frozenset(name.rpartition(REVOKED)[0] for name in steps if REVOKED in name)


def documents_among(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The policy files among those of a bundle, which may carry steps of waivers beside them."""
    return {name: data for name, data in files.items() if not name.endswith(STEP_SUFFIX)}


def step_paths(paths: Sequence[Path]) -> list[Path]:
    """The signed steps of waivers that lie in and below the folders among `paths`, or beside the files among them,
    sorted; see `governance.waivers`.
    """
    below: set[Path] = set()
    for path in paths:
        # What is around a single file may be a whole home, so only its own folder is looked into.
        deep = os.path.isdir(path)  # noqa: PTH112 - `Path.is_dir` raises where a folder may not be entered
        found = _below(path if deep else path.parent, [], deep=deep)
        below.update(file for file in found if file.name.endswith(STEP_SUFFIX))
    return sorted(below)


def discover(start: Path) -> Path | None:
    """The policy folder of the repository around `start`: the first on the way up to the root, or to the folder that
    holds `.git`. A Python package called `policies`, or one without our documents, is not it.
    """
    for folder in (start, *start.parents):
        for name in FOLDERS:
            candidate = folder / name
            if candidate.is_dir() and _holds_policies(candidate):
                return candidate
        if (folder / ".git").exists():
            return None
    return None


def _holds_policies(folder: Path) -> bool:
    if (folder / "__init__.py").exists():
        return False
    for file in policy_paths([folder]):
        try:
            with open_file(file) as stream:
                if _MARK in stream.read(65_536):
                    return True
        except OSError:
            continue
    return False


def _below(folder: Path, noted: list[str], *, deep: bool = True) -> list[Path]:
    """The files in `folder`, and with `deep` below it, but for hidden ones and those in hidden folders.

    Links to folders are followed, since a mounted ConfigMap is made of them, and each folder is read once. A link to
    nothing is among the files, and a pipe, so that whoever reads it says so: a rule must not vanish with the file it stands in.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        noted.append(Problem(str(error.filename), 1, 1, f"expected a folder to read, got {error.strerror}"))

    for here, folders, names in os.walk(folder, followlinks=True, onerror=refused):
        folders[:] = sorted(name for name in folders if deep and name[0] != "." and name != _NO_POLICIES)
        try:
            status = Path(here).stat()
        except OSError as error:
            refused(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if len(seen) > _MAX_FOLDERS:
            noted.append(Problem(str(folder), 1, 1, f"expected at most {_MAX_FOLDERS} folders, got more"))
            break
        found += [Path(here, name) for name in names if name[0] != "."]
    return found


def _what_is_there(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return error.strerror or "nothing that can be read"
    return "neither"


class _Recorded:
    """A document that came from a record: it has no lines, only a number."""

    doubtful = ()

    def __init__(self, data: Any, number: int) -> None:
        self.data = data
        self.source = f"(document {number})"

    def place(self, path: object, *, key: bool = False) -> tuple[int, int]:
        """Records have no places."""
        del path, key
        return 1, 1

    def written(self, path: object) -> str | None:
        """Nor spellings."""
        del path
        return None
