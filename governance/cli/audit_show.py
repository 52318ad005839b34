"""`mlgov audit show`: one sequence from request to outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from governance.cli.audit import entry_id, open_log
from governance.cli.output import out, plain, print_json, styled

if TYPE_CHECKING:
    from governance.report.timeline import Step, Timeline


def show(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Id or number of an entry, a decision, or a sequence (correlation)."
        ),
    ],
    *,
    facts: Annotated[bool, typer.Option("--facts", help="List every fact with its source and age.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with all facts.")] = False,
) -> None:
    """Tell one sequence from request to outcome: who asked, what was known, what was decided, what was moved.

    Each decision is replayed on the way: the last step says whether it still comes out with the same bytes.
    """
    from governance.report.timeline import timeline

    with open_log() as log:
        made = timeline(log, entry_id(log, wanted))
        if as_json:
            print_json(made.to_json())
        else:
            _print_all(made, facts=facts)


def _print_all(made: Timeline, *, facts: bool) -> None:
    out().print(styled(f"sequence {made.correlation}", "bold"))
    for step in made.steps:
        _print(step, facts=facts)
    _tell_others(made)


def _print(step: Step, *, facts: bool) -> None:
    style = "bold red" if step.is_bad else "bold"
    number = "" if step.index is None else f"  #{step.index} {step.entry}"
    console = out()
    console.print()
    console.print(
        Text.assemble(
            (f"{step.at:%Y-%m-%d %H:%M:%S.%f}"[:-3], "dim"),
            "  ",
            (plain(step.title), style),
            (plain(number), "dim"),
        ),
        soft_wrap=True,
    )
    for name, value in step.details:
        console.print(Text.assemble("    ", (plain(f"{name}: "), "dim"), plain(value)), soft_wrap=True)
    if facts:
        for name, value, source, age in step.facts:
            told = ", ".join(part for part in (source, age and f"{age} old") if part)
            console.print(
                Text.assemble("      ", plain(f"{name} = {value}"), (plain(f"  ({told})"), "dim")),
                soft_wrap=True,
            )
    elif step.facts:
        console.print(Text("    `--facts` lists them", style="dim"))


def _tell_others(made: Timeline) -> None:
    if made.others:
        out().print()
        more = "1 more entry belongs" if made.others == 1 else f"{made.others} more entries belong"
        out().print(styled(f"{more} to the sequence: mlgov audit show {made.correlation}"), soft_wrap=True)
