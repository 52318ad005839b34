"""What a repository gets to begin with: policy files, and what runs them in pipelines and before commits.

Promises: pure; nothing that is there is changed but a pre-commit configuration that can be added to at its end, and that only
where reading it again shows the old content with our hooks behind it. Does not: read or write files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from governance.policy.strict_yaml import parse_yaml

FOLDER = ".governance"
GITLAB = ".gitlab/governance-policy.yml"
GITLAB_ROOT = ".gitlab-ci.yml"
GITHUB = ".github/workflows/governance-policy.yml"
PRE_COMMIT = ".pre-commit-config.yaml"

_VERSION = "@VERSION@"
_SPEC = re.compile(r"^spec:[ \t]*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts of the starter: the policy with its cases, the set, the lists that the policy names, the pipelines."""

    policy: str
    cases: str
    policy_set: str
    lists: str
    github: str
    gitlab: str
    gitlab_include: str
    pre_commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A shipped pack and its cases."""

    name: str
    policy: str
    cases: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is done about one file: `text` is what it will hold, None where it stays as it is; `why` says so. `snippet` is what
    the user must add by hand."""

    path: PurePosixPath
    text: str | None
    why: str
    snippet: str | None = None


def policy_files(texts: Texts, packs: Sequence[Pack]) -> dict[str, str]:
    """The policy files by name: of the packs, or of the starter where none is named."""
    if not packs:
        return {
            "models.yaml": texts.policy,
            "models.cases.yaml": texts.cases,
            "set.yaml": texts.policy_set + texts.lists,
        }
    files: dict[str, str] = {}
    for pack in packs:
        files[f"{pack.name}.yaml"] = _without_schema_line(pack.policy)
        files[f"{pack.name}.cases.yaml"] = _without_schema_line(_about(pack))
    if not any("PolicySet" in _names(pack.policy) for pack in packs):
        files["set.yaml"] = texts.policy_set
    return files


def steps(
    files: Mapping[str, str], texts: Texts, *, existing: Mapping[str, str], version: str, ci: Sequence[str]
) -> tuple[Step, ...]:
    """What is to be done, file by file. `existing` are the texts of the files that are there, by path."""
    wanted = {f"{FOLDER}/{name}": text for name, text in files.items()}
    if "github" in ci:
        wanted[GITHUB] = texts.github
    if "gitlab" in ci:
        wanted[GITLAB] = texts.gitlab
    planned = [_new(path, text.replace(_VERSION, version), existing) for path, text in wanted.items()]
    if "gitlab" in ci:
        planned.append(_gitlab_root(texts.gitlab_include, existing))
    if "pre-commit" in ci:
        planned.append(_pre_commit(texts.pre_commit.replace(_VERSION, version), existing.get(PRE_COMMIT)))
    return tuple(planned)


def paths(files: Mapping[str, str]) -> tuple[str, ...]:
    """Every path that `steps` may look at."""
    return (*(f"{FOLDER}/{name}" for name in files), GITHUB, GITLAB, GITLAB_ROOT, PRE_COMMIT)


def _new(path: str, text: str, existing: Mapping[str, str]) -> Step:
    if path in existing:
        return Step(path=PurePosixPath(path), text=None, why="is there already and stays as it is")
    return Step(path=PurePosixPath(path), text=text, why="written")


def _gitlab_root(snippet: str, existing: Mapping[str, str]) -> Step:
    path = PurePosixPath(GITLAB_ROOT)
    there = existing.get(GITLAB_ROOT)
    if there is None:
        return Step(path=path, text=snippet, why="written")
    if GITLAB in there:
        return Step(path=path, text=None, why="includes the policy job already")
    return Step(path=path, text=None, why="is there already and stays as it is; add to it:", snippet=snippet)


def _pre_commit(snippet: str, there: str | None) -> Step:
    path = PurePosixPath(PRE_COMMIT)
    if there is None:
        return Step(path=path, text=f"repos:\n{_indented(snippet, '  ')}", why="written")
    if "mlgov-policy-check" in there:
        return Step(path=path, text=None, why="has the hooks already")
    added = _with_hooks(there, snippet)
    if added is not None:
        return Step(path=path, text=added, why="has the hooks added at its end")
    why = "is there already and cannot be added to safely; add below `repos`:"
    return Step(path=path, text=None, why=why, snippet=snippet)


def _with_hooks(there: str, snippet: str) -> str | None:
    """The configuration with the hooks behind its last repository, if that says what is wanted; else None."""
    found = re.search(r"^repos:[ \t]*(?:#.*)?\n(?:[ \t]*(?:#.*)?\n)*([ ]*)- ", there, re.MULTILINE)
    if found is None:
        return None
    added = f"{there.rstrip()}\n{_indented(snippet, found[1])}"
    try:
        before, after, hooks = (yaml.safe_load(text) for text in (there, added, snippet))
    except yaml.YAMLError:
        return None
    if not isinstance(before, dict) or not isinstance(before.get("repos"), list):
        return None
    wanted: dict[str, Any] = {**before, "repos": [*before["repos"], *hooks]}
    return added if after == wanted else None


def _indented(text: str, indent: str) -> str:
    return "".join(f"{indent}{line}" if line.strip() else line for line in text.splitlines(keepends=True))


def _about(pack: Pack) -> str:
    """The cases, which test the pack's own policies whatever stands beside them."""
    (document,) = parse_yaml(pack.cases.encode(), f"{pack.name}.cases.yaml")
    data: Any = document.data
    if "policies" in data["spec"]:
        return pack.cases
    named = ", ".join(_names(pack.policy)["Policy"])
    return _SPEC.sub(lambda found: f"{found[0]}\n  policies: [{named}]", pack.cases, count=1)


def _names(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for document in parse_yaml(text.encode(), "pack"):
        data: Any = document.data
        found.setdefault(data["kind"], []).append(data["metadata"]["name"])
    return found


def _without_schema_line(text: str) -> str:
    """Without the line that names the schema beside the shipped pack, which is not there in the user's repository."""
    return re.sub(r"^# yaml-language-server:.*\n(?:#\n)?", "", text, flags=re.MULTILINE)
