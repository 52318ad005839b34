"""`mlgov policy test`: the cases of policies, what they leave uncovered, and which changes to the policies they miss."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled, writing
from governance.errors import SettingsError
from governance.places import write_output

if TYPE_CHECKING:
    from governance.policy.cases import CasesReport
    from governance.policy.load import Written
    from governance.policy.mutation import MutationReport

_DIFF_STYLES = {"-": "red", "+": "green", " ": "dim"}

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Files or folders. Default: the policy in force here."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the format there, and tell in words here as well."
    ),
]


class Format(enum.StrEnum):
    """How the results are written."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


def run_tests(
    paths: Paths = None,
    *,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Exit with 1 also where a rule is not covered by cases.")
    ] = False,
    mutate: Annotated[
        bool,
        typer.Option(
            "--mutate",
            help="Change the policies in one place at a time, and exit with 1 where no case notices.",
        ),
    ] = False,
    rules: Annotated[
        str, typer.Option(metavar="GLOB", help="Which rules (`policy/rule`) and policies `--mutate` changes.")
    ] = "*",
    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="`text`, `json` or `junit`.")
    ] = Format.TEXT,
    output: Output = None,
) -> None:
    """Run the cases of the policies' tests, and say which outcomes of which rule no case reaches.

    Exits with 1 where a case fails or a mutant survives, 2 where there is no case or a file is wrong.
    """
    from governance.collect.extensions import catalogue
    from governance.policy.cases import run_cases
    from governance.policy.load import load_written

    require_format(form, output)
    written = load_written(policy_paths_here(paths), catalogue=catalogue())
    report = run_cases(written.bundle)
    if not report.results:
        raise SettingsError(
            "there is no PolicyTest in these files",
            hint="No test proves nothing; write a case for each rule. `mlgov policy init` writes a first suite.",
        )
    mutation = _mutated(written, rules) if mutate and not report.failed else None
    gaps = sum(bool(row.missing) for row in report.coverage)
    if form is Format.TEXT or output is not None:
        _tell(written, report, mutation)
    if mutate and report.failed:
        err().print(sign(Mark.SKIP), "no mutant was tried, since cases fail before anything was changed")
    if form is not Format.TEXT:
        write_format(lambda: _formatted(form, written, report, mutation, strict=coverage), output)
    survived = mutation is not None and bool(mutation.survivors or mutation.untested)
    raise typer.Exit(1 if report.failed or survived or (coverage and gaps) else 0)


def policy_paths_here(paths: list[Path] | None) -> tuple[Path, ...]:
    """The files and folders that were named, else those of the policy in force here."""
    from governance.policy_wiring import policy_files
    from governance.settings import load_settings

    return tuple(paths) if paths else tuple(map(_from_here, policy_files(load_settings())))


def _from_here(path: Path) -> Path:
    """A path below the working directory as seen from there, which is what a pipeline's annotations need."""
    here = Path.cwd()
    return (
        path.relative_to(here) if path.is_absolute() and path != here and path.is_relative_to(here) else path
    )


def require_format(form: str, output: Path | None) -> None:
    """Raise `SettingsError` for a file that nothing would be written to: what is told in words goes to the console."""
    if form == "text" and output is not None:
        raise SettingsError(
            f"nothing would be written to `{output}`: `--output` is for a format that machines read",
            hint="Add `--format json`, `junit` or, of `mlgov policy check`, `sarif`; or redirect the words.",
        )


def write_format(make: Callable[[], str], output: Path | None) -> None:
    """Write a document to a file, or print it. Raises `SettingsError` where the file cannot be written."""
    text = make()
    if output is None:
        with writing():
            typer.echo(text.rstrip("\n"))
        return
    try:
        write_output(output, text.encode())
    except OSError as error:
        raise SettingsError(
            f"`{output}` cannot be written: {error.strerror}", hint="Name a file in a folder that is there."
        ) from error


def _mutated(written: Written, rules: str) -> MutationReport:
    from governance.policy.mutation import mutate

    return mutate(written, rules=rules)


def _formatted(
    form: Format, written: Written, report: CasesReport, mutation: MutationReport | None, *, strict: bool
) -> str:
    import orjson

    from governance.report.policy_tests import tests_json, tests_junit

    if form is Format.JUNIT:
        return tests_junit(written, report, mutation, strict=strict)
    document = tests_json(written, report, mutation)
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"


def _tell(written: Written, report: CasesReport, mutation: MutationReport | None) -> None:
    from governance.policy.case_difference import diff_lines

    console = out()
    for result in report.results:
        mark = Mark.OK if result.is_passed else Mark.FAIL
        console.print(sign(mark), styled(f"{result.suite}: {result.case}"))
        if not result.is_passed:
            line, column = written.documents["PolicyTest", result.suite].place(
                ("spec", "cases", result.number)
            )
            console.print(styled(f"    {result.source}:{line}:{column}", "dim"))
            for one in diff_lines(result.stated, result.verdict):
                console.print(styled(f"    {one}", _DIFF_STYLES[one.sign]))
    gaps = [row for row in report.coverage if row.missing]
    for row in gaps:
        console.print(sign(Mark.WARN), styled(f"{row.rule}: no case in which it is {', '.join(row.missing)}"))
    console.print(
        f"{len(report.results) - len(report.failed)} of {len(report.results)} cases as expected, "
        f"{len(report.coverage) - len(gaps)} of {len(report.coverage)} rules covered"
    )
    if mutation is not None:
        _tell_mutation(written, mutation)


def _tell_mutation(written: Written, report: MutationReport) -> None:
    from governance.report.policy_tests import telling_text

    console = out()
    for survivor in report.survivors:
        place = f"{survivor.source}:{survivor.line}:{survivor.column}"
        console.print(sign(Mark.FAIL), styled(f"{place} {survivor.mutant.subject}", "bold"))
        console.print(styled(f"    {survivor.mutant.words}, and no case noticed"))
        if survivor.telling is not None:
            text = telling_text(survivor.telling, written.bundle.catalogue)
            console.print(styled(f"    a case that would: {text}"))
    for name in report.untested:
        console.print(
            sign(Mark.FAIL), styled(f"{name}: no suite tests this policy, so nothing in it was changed")
        )
    same = f", {report.same} say the same in other words" if report.same else ""
    console.print(
        f"{report.noticed} of {report.tried} mutants noticed, {len(report.survivors)} survived{same}"
    )
