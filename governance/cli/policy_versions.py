"""What names a version of a policy on the command line: a path, `REVISION:path` of git, or a recorded digest.

Promises: nothing from git reaches a shell, and no revision is taken for an option; a digest finds its document in the audit
log's evidence. Does not: check out anything.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.policy.compile import CompiledPolicy

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")
_MOST_FILES = 2_000
_SECONDS = 30
_LINK, _SUBMODULE = "120000", "160000"
"""The modes of symbolic links and of submodules in git."""


def policy_version(text: str) -> CompiledPolicy:
    """The policy that `text` names. Raises `SettingsError` where it names none, `PolicyInvalidError` for a bad one."""
    from governance.collect.extensions import catalogue
    from governance.policy.compile import compile_bundle
    from governance.policy.load import load_files, load_policies

    if Path(text).exists():
        return compile_bundle(load_policies([Path(text)], catalogue=catalogue()))
    digest = _DIGEST.fullmatch(text)
    if digest:
        return _recorded(digest[1])
    revision, colon, path = text.partition(":")
    if colon and revision and path:
        return compile_bundle(load_files(git_files(revision, path), catalogue=catalogue()))
    raise SettingsError(
        f"`{text}` names no policy",
        hint="Give a file or folder, `REVISION:path` of git such as `HEAD~1:.governance`, or a digest from the audit log.",
    )


def git_files(revision: str, path: str, *, may_be_absent: bool = False) -> dict[str, bytes]:
    """The YAML files at or below a path (from here) of a revision, as those of a folder are read: without hidden ones, and none
    left out without a word; and the names of waivers' steps. Raises `SettingsError`."""
    from governance.policy.load import STEP_SUFFIX, documents_among

    commit = require_revision(revision)
    listed = _git("ls-tree", "-r", "-z", commit, "--", path) or b""
    files: dict[str, bytes] = {}
    for row in listed.split(b"\0"):
        head, _, name = row.decode("utf-8", "replace").partition("\t")
        mode, _, identity = head.replace(" blob ", " ", 1).replace(" commit ", " ", 1).partition(" ")
        if any(part[0] == "." for part in PurePosixPath(posixpath.relpath(name or path, path)).parts):
            continue
        if mode == _SUBMODULE:
            raise SettingsError(
                f"`{name}` is a submodule in revision `{revision}`, whose files git keeps elsewhere",
                hint="Run it within the submodule, with a revision of its own.",
            )
        if name.endswith(STEP_SUFFIX):
            files[f"{revision}:{name}"] = b""  # the name is enough: somebody took a waiver back
            continue
        is_policy = name.lower().endswith((".yaml", ".yml"))
        if mode == _LINK and (is_policy or _leads_to_folder(commit, name, identity)):
            raise SettingsError(
                f"`{name}` is a link in revision `{revision}`, and links are not followed there",
                hint="Give the path that it leads to.",
            )
        if mode.startswith("100") and is_policy:
            if len(files) == _MOST_FILES:
                raise SettingsError(
                    f"there are more than {_MOST_FILES} policy files at `{path}` in revision `{revision}`"
                )
            files[f"{revision}:{name}"] = _git("cat-file", "blob", identity) or b""
    if not documents_among(files) and not may_be_absent:
        raise SettingsError(f"there is no policy file at `{path}` in revision `{revision}`")
    return files


def _leads_to_folder(commit: str, name: str, identity: str) -> bool:
    target = (_git("cat-file", "blob", identity) or b"").decode("utf-8", "replace")
    place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return _git("cat-file", "-t", f"{commit}:./{place}") == b"tree\n"


def require_revision(revision: str) -> str:
    """The commit that a revision stands for. Raises `SettingsError`."""
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise _unknown(revision)
    return commit.decode().strip()


def _unknown(revision: str) -> SettingsError:
    """Why git does not know a revision. In a pipeline that is seldom a slip of the pen."""
    asked = _run("rev-parse", "--is-shallow-repository")
    if asked.returncode != 0:
        said = asked.stderr.decode("utf-8", "replace").partition("\n")[0].removeprefix("fatal: ")
        return SettingsError(
            f"git reads no repository at `{Path.cwd()}`: {said}",
            hint="Run it within the repository of the policies, as the user whose it is; or see `git status` there.",
        )
    if asked.stdout.strip() == b"true":
        return SettingsError(
            f"git knows no revision `{revision}` here: this clone is shallow, and has the newest revisions alone",
            hint="`git fetch --unshallow` brings the others; in GitHub Actions `fetch-depth: 0`, in GitLab `GIT_DEPTH: 0`.",
        )
    return SettingsError(f"git knows no revision `{revision}` here", hint="`git log --oneline` lists them.")


def _recorded(digest: str) -> CompiledPolicy:
    from governance.audit.entry import EntryKind
    from governance.cli.audit import open_log
    from governance.model.digest import parse_sha256
    from governance.report.recorded import PolicyCache

    with open_log() as log:
        known = {str(stored.entry.body.get("digest")) for stored in log.find(kind=EntryKind.POLICY)}
        fitting = sorted(one for one in known if one.startswith(digest))
        if len(fitting) != 1:
            found = f"{len(fitting)} recorded policies begin" if fitting else "no recorded policy begins"
            raise SettingsError(
                f"{found} with `{digest}`", hint="`mlgov audit tail --kind policy --json` lists them."
            )
        return PolicyCache(log).get(parse_sha256(fitting[0]))


def _git(*arguments: str) -> bytes | None:
    done = _run(*arguments)
    return done.stdout if done.returncode == 0 else None


def _run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, no shell, and no argument that it could take for an option
            ["git", *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError as error:
        raise SettingsError("git is not installed, so a revision cannot be read") from error
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"git gave no answer within {_SECONDS} s") from error
