"""`mlgov audit tail`: the last entries, and those that come."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.audit_places import cells, end_broken, searched_log, with_pseudonyms, write_lines
from governance.cli.audit_search import combined
from governance.cli.exits import INTERRUPTED
from governance.cli.output import Mark, err, out, print_rows, sign, styled, writing

if TYPE_CHECKING:
    from governance.audit.log import AuditLog, Stored
    from governance.audit.verification import Problem
    from governance.report.selection import Selection

_EVERY = 0.5  # seconds between two looks; a look reads one row where nothing came


def tail(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD:VALUE]...",
            help="Only entries of which this holds, such as `decision:block`; see `mlgov audit words`.",
            show_default=False,
        ),
    ] = None,
    *,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many entries.")] = 20,
    kind: Annotated[
        str | None, typer.Option(help="Only entries of this kind, such as `decision` or `outcome`.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with entries as they come, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the entries as they are stored, one a line.")
    ] = False,
) -> None:
    """Show the last entries, oldest first. With `--follow` also those that come, from whichever process."""
    from governance.report.search import Search
    from governance.report.selection import Selection

    selection = combined(words, {"kinds": [kind] if kind else None})
    broken: list[Problem] = []
    try:
        with searched_log(scan=selection == Selection()) as (log, index):
            selection = with_pseudonyms(log, selection)
            size = log.store.frontier().size
            found = Search(log, selection, index)
            known = (each for each in found if (each.index or 0) < size)
            _print([*itertools.islice(known, count)][::-1], as_json=as_json)
            broken += found.broken
            if follow:
                _follow(log, selection, size, broken, as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    end_broken(broken)


def _follow(log: AuditLog, selection: Selection, size: int, broken: list[Problem], *, as_json: bool) -> None:
    """Print what comes, until the user has seen enough."""
    named = 0
    while True:
        for problem in broken[named:]:
            err().print(sign(Mark.FAIL), styled(str(problem)))
        named = len(broken)
        grown = log.store.frontier().size
        if grown == size:
            time.sleep(_EVERY)
            continue
        for stored in _between(log, selection, size, grown, broken):
            if as_json:
                write_lines((stored.data.decode(),))
            else:
                out().print(styled("  ".join(cells(stored))), soft_wrap=True)
        with writing():
            sys.stdout.flush()
        size = grown


def _between(
    log: AuditLog, selection: Selection, start: int, stop: int, broken: list[Problem]
) -> Iterator[Stored]:
    from governance.audit.verification import Problem
    from governance.errors import AuditBrokenError
    from governance.report.search import checked_at

    for number, row in enumerate(log.store.rows(start, stop), start):
        try:
            stored = checked_at(number, row)
        except AuditBrokenError as error:
            broken.append(Problem.of(number, error))
            continue
        if selection.matches(stored.entry):
            yield stored


def _print(entries: list[Stored], *, as_json: bool) -> None:
    if as_json:
        write_lines(stored.data.decode() for stored in entries)
    else:
        print_rows(("#", "at", "entry", "about", "what"), map(cells, entries))
    with writing():
        sys.stdout.flush()
