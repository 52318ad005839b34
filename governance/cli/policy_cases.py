"""`mlgov policy test`: the cases of policies, what they leave uncovered, and which changes to the policies they miss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, sign, styled
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.policy.cases import CasesReport
    from governance.policy.mutation import MutationReport

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH]...", help="Files or folders. Default: the policy in force here."),
]


def run_tests(
    paths: Paths = None,
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
) -> None:
    """Run the cases of the policies' tests, and say which outcomes of which rule no case reaches.

    Exits with 1 where a case fails or a mutant survives, 2 where there is no case.
    """
    from governance.policy.cases import run_cases
    from governance.policy.load import load_written

    written = load_written(policy_paths_here(paths))
    report = run_cases(written.bundle)
    if not report.results:
        raise SettingsError(
            "there is no PolicyTest in these files",
            hint="No test proves nothing; write a case for each rule.",
        )
    gaps = _print_cases(report)
    failed = bool(report.failed) or (coverage and gaps > 0)
    if mutate and report.failed:
        out().print(sign(Mark.SKIP), "no mutant was tried, since cases fail before anything was changed")
    elif mutate:
        from governance.policy.mutation import mutate as mutated

        found = mutated(written, rules=rules)
        _print_mutation(found)
        failed = failed or bool(found.survivors or found.untested)
    raise typer.Exit(1 if failed else 0)


def policy_paths_here(paths: list[Path] | None) -> tuple[Path, ...]:
    """The files and folders that were named, else those of the policy in force here."""
    from governance.settings import load_settings
    from governance.wiring import policy_files

    return tuple(paths) if paths else policy_files(load_settings())


def _print_cases(report: CasesReport) -> int:
    """Print cases and coverage; how many rules are not covered."""
    console = out()
    for result in report.results:
        console.print(
            sign(Mark.OK if result.is_passed else Mark.FAIL), styled(f"{result.suite}: {result.case}")
        )
        for line in result.differences:
            console.print(styled(f"    {line}"))
    gaps = [row for row in report.coverage if row.missing]
    for row in gaps:
        console.print(sign(Mark.WARN), styled(f"{row.rule}: no case in which it is {', '.join(row.missing)}"))
    console.print(
        f"{len(report.results) - len(report.failed)} of {len(report.results)} cases as expected, "
        f"{len(report.coverage) - len(gaps)} of {len(report.coverage)} rules covered"
    )
    return len(gaps)


def _print_mutation(report: MutationReport) -> None:
    console = out()
    for survivor in report.survivors:
        place = f"{survivor.source}:{survivor.line}:{survivor.column}"
        console.print(sign(Mark.FAIL), styled(f"{place} {survivor.mutant.subject}", "bold"))
        console.print(styled(f"    {survivor.mutant.words}, and no case noticed"))
    for name in report.untested:
        console.print(
            sign(Mark.FAIL), styled(f"{name}: no suite tests this policy, so nothing in it was changed")
        )
    console.print(f"{report.noticed} of {report.tried} mutants noticed, {len(report.survivors)} survived")
