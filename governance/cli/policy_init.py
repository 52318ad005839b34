"""`mlgov policy init`: a commented policy with cases in a repository, and what runs them in pipelines and before commits."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, sign, styled
from governance.errors import SettingsError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governance.policy.starting import Pack, Step, Texts


class Ci(enum.StrEnum):
    """What runs the policies' checks."""

    GITHUB = "github"
    GITLAB = "gitlab"
    PRE_COMMIT = "pre-commit"


def init(
    folder: Annotated[Path, typer.Argument(help="The repository's folder. Default: this one.")] = Path(),
    *,
    packs: Annotated[
        list[str] | None,
        typer.Option("--pack", metavar="NAME", help="Begin with this shipped pack; may be given again."),
    ] = None,
    ci: Annotated[
        list[Ci] | None,
        typer.Option(
            "--ci",
            metavar="NAME",
            help="`github`, `gitlab` or `pre-commit`; may be given again. Default: all.",
        ),
    ] = None,
) -> None:
    """Write policies with cases below `.governance/`, and what checks and tests them: a GitHub workflow, a GitLab job and
    pre-commit hooks.

    Nothing that is there is overwritten. Everything is bound in observe mode, unless a pack says otherwise.
    """
    from governance import __version__
    from governance.policy import starting

    if not folder.is_dir():
        raise SettingsError(
            f"`{folder}` is not a folder", hint="Name the repository's folder, or make it first."
        )
    texts = _texts()
    there = _there(folder)
    files = _policy_files(texts, packs or [], there)
    _must_load(files, there, packs or [])
    existing = _existing(folder, starting.paths(files))
    chosen = [one.value for one in ci or list(Ci)]
    _must_stay_inside(folder, starting.paths(files))
    planned = starting.steps(files, texts, existing=existing, version=__version__, ci=chosen)
    console = out()
    if there and not files:
        console.print(
            sign(Mark.SKIP), styled(starting.FOLDER, "bold"), "holds policies already and stays as it is"
        )
    for step in planned:
        _do(folder, step)
    console.print()
    console.print(
        "next: `mlgov policy check`, `mlgov policy test --mutate`, and change what is there to what you mean"
    )


def _texts() -> Texts:
    import policies
    from governance.policy.starting import Texts

    return Texts(
        policy=policies.starter("models.yaml"),
        cases=policies.starter("models.cases.yaml"),
        policy_set=policies.starter("set.yaml"),
        lists=policies.starter("lists.yaml"),
        github=policies.starter("github.yaml"),
        gitlab=policies.starter("gitlab.yaml"),
        gitlab_include=policies.starter("gitlab-include.yaml"),
        pre_commit=policies.starter("pre-commit.yaml"),
    )


def _packs(names: Sequence[str]) -> list[Pack]:
    import policies
    from governance.policy.starting import Pack

    unknown = [name for name in names if name not in policies.names()]
    if unknown:
        raise SettingsError(
            f"`{unknown[0]}` is not a shipped pack", hint=f"There are: {', '.join(policies.names())}."
        )
    return [
        Pack(name=name, policy=policies.read(name), cases=policies.cases(name).read_text(encoding="utf-8"))
        for name in dict.fromkeys(names)
    ]


def _there(folder: Path) -> dict[str, bytes]:
    """The policy files that are there already, by name."""
    from governance.places import read_regular
    from governance.policy.load import policy_paths
    from governance.policy.starting import FOLDER

    own = folder / FOLDER
    return {file.relative_to(own).as_posix(): read_regular(file) for file in policy_paths([own], [])}


def _policy_files(texts: Texts, names: Sequence[str], there: Mapping[str, bytes]) -> dict[str, str]:
    """What is to be written: packs that were named, or the starter where there is no policy yet."""
    from governance.policy import starting

    if there and not names:
        return {}
    files = starting.policy_files(texts, _packs(names))
    if any(b"kind: PolicySet" in data for data in there.values()):
        files.pop("set.yaml", None)  # there can be one set only
    return files


def _must_load(files: Mapping[str, str], there: Mapping[str, bytes], names: Sequence[str]) -> None:
    """What is written must load together with what is there already. Raises `SettingsError`."""
    from governance.errors import PolicyInvalidError
    from governance.policy.load import load_files
    from governance.policy.starting import FOLDER

    if not files:
        return
    try:
        load_files({name: text.encode() for name, text in files.items()} | dict(there))
    except PolicyInvalidError as error:
        what = f"the packs {', '.join(names)}" if names else "the starter"
        beside = f" beside what is in `{FOLDER}`" if there else ""
        raise SettingsError(
            f"{what} cannot stand together{beside}; nothing was written:\n  {error.problems[0]}",
            hint="Choose fewer packs, or move what is in the way.",
        ) from error


def _must_stay_inside(folder: Path, names: Sequence[str]) -> None:
    """No link in a repository that somebody else made leads us to write elsewhere. Raises `SettingsError`."""
    root = folder.resolve()
    for name in names:
        path = folder / name
        if not path.resolve().is_relative_to(root):
            raise SettingsError(
                f"`{path}` leads out of the repository, to `{path.resolve()}`; nothing was written",
                hint="Remove the symbolic link, or name another folder.",
            )


def _existing(folder: Path, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        path = folder / name
        if path.is_symlink() or path.exists():
            found[name] = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return found


def _do(folder: Path, step: Step) -> None:
    from governance.places import write_new, write_output

    console = out()
    path = folder / step.path
    if step.text is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = step.text.encode()
            if path.exists():  # somebody's own, of which a full disk must not leave half
                write_output(path, data)
            else:
                write_new(path, data, mode=0o666)
        except OSError as error:
            raise TransferError(f"`{path}` cannot be written: {error.strerror}") from error
    mark = Mark.OK if step.text is not None else Mark.WARN if step.snippet else Mark.SKIP
    console.print(sign(mark), styled(str(step.path), "bold"), styled(step.why))
    if step.snippet is not None:
        for line in step.snippet.rstrip().splitlines():
            console.print(styled(f"      {line}"))
