"""`mlgov policy`: policy files checked, tested and described, without asking any service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, print_json, print_rows, sign, styled
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.policy.documents import PolicyBundle

app = typer.Typer(no_args_is_help=True, help="Check, test and describe policy files.")

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Files or folders. Default: the policy in force here."),
]


@app.command("check")
def check(paths: Paths = None) -> None:
    """Read policy files and report every mistake at once, with file, line and column.

    Exits with 2 where there is one.
    """
    from governance.policy.compile import compile_bundle
    from governance.policy.load import load_policies

    files = _files(paths)
    bundle = load_policies(files)
    compiled = compile_bundle(bundle)
    _describe(bundle)
    out().print(
        sign(Mark.OK),
        styled(f"{len(bundle.policies)} policies in order, digest {compiled.digest[:16]}", "bold"),
    )


@app.command("test")
def run_tests(paths: Paths = None) -> None:
    """Run the cases of the policies' tests. Exits with 1 where one fails, 2 where there is none."""
    from governance.policy.cases import run_cases
    from governance.policy.load import load_policies

    results = run_cases(load_policies(_files(paths)))
    for result in results:
        mark = Mark.OK if result.passed else Mark.FAIL
        out().print(sign(mark), styled(f"{result.suite}: {result.case}"))
        for line in result.differences:
            out().print(styled(f"    {line}"))
    if not results:
        raise SettingsError(
            "there is no PolicyTest in these files", hint="An empty test proves nothing; write a case."
        )
    failed = sum(not result.passed for result in results)
    out().print(f"{len(results) - failed} of {len(results)} cases as expected")
    raise typer.Exit(1 if failed else 0)


@app.command("schema")
def schema(
    kind: Annotated[str, typer.Argument(help="`Policy`, `PolicySet`, `Waiver` or `PolicyTest`.")] = "Policy",
) -> None:
    """Print the JSON Schema of a kind of document, for editors."""
    from governance.policy.schema import json_schema

    try:
        print_json(json_schema(kind))
    except KeyError as error:
        raise SettingsError(
            f"`{kind}` is not a kind of document", hint="There are Policy, PolicySet, Waiver and PolicyTest."
        ) from error


def _files(paths: list[Path] | None) -> tuple[Path, ...]:
    from governance.settings import load_settings
    from governance.wiring import policy_files

    return tuple(paths) if paths else policy_files(load_settings())


def _describe(bundle: PolicyBundle) -> None:
    rows = (
        (policy.name, f"{len(policy.rules)} rules", f"default {policy.default.word}", policy.title or "")
        for policy in bundle.policies
    )
    print_rows(("policy", "rules", "default", "title"), rows)
