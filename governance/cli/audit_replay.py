"""`mlgov audit replay`: recorded decisions judged once more, by the same policy on the same facts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.audit import entry_id, open_assembly, open_log
from governance.cli.audit_places import searched_log, with_pseudonyms
from governance.cli.audit_search import combined
from governance.cli.exits import INTERRUPTED
from governance.cli.output import Mark, err, out, print_json, print_pairs, sign, styled
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.audit.log import AuditLog
    from governance.report.index.lookup import Index
    from governance.report.replay_bulk import BulkReplay, Remark, Summary
    from governance.report.selection import Selection

_DIFFERENT, _GONE, _BROKEN = 1, 3, 4
_CHUNK = 8_192
_WORTH_A_PROCESS = 20_000


def replay(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID | WORD:VALUE...]",
            help="Id or number of a decision; with `--all` words that must hold, such as `environment:production`.",
            show_default=False,
        ),
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Replay all decisions, or those of which the words hold.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(help="With `--all`: from this time on (UTC without a zone), or how far back: `90d`."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="With `--all`: up to, and without, this time.")] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, max=256, help="Processes; 0 is one for each core.")
    ] = 0,
    scan: Annotated[bool, typer.Option("--scan", help="Read every entry, and use no index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Judge recorded decisions once more: the same facts and the same policy must give the same bytes.

    Exits with 0 where they do, 1 where one comes out otherwise, 3 where the evidence of one is gone, 4 where the log is broken.
    """
    if every:
        _all(combined(wanted, {}, since=since, until=until), jobs=jobs, scan=scan, as_json=as_json)
    elif wanted is None or len(wanted) != 1 or since is not None or until is not None:
        raise SettingsError(
            "one decision is named by its id, many by `--all`",
            hint="`mlgov audit replay ID`, or `--all --since 90d`.",
        )
    else:
        _one(wanted[0], as_json=as_json)


def _one(wanted: str, *, as_json: bool) -> None:
    from governance.report.replay_bulk import BulkReplay
    from governance.report.selection import Selection

    with open_log() as log:
        stored = log.get(entry_id(log, wanted))
        if stored is None or stored.index is None:
            raise SettingsError(
                f"no entry has the id `{wanted[:200]}`",
                hint="`mlgov audit search kind:decision` lists decisions.",
            )
        made = BulkReplay(log, Selection()).run([stored.index])
        if not made.decisions:
            raise SettingsError(
                f"entry {wanted} records `{stored.entry.kind.value}`, not a decision",
                hint=f"`mlgov audit show {wanted}` tells the sequence with its decisions.",
            )
        _end(made, as_json=as_json)


def _all(selection: Selection, *, jobs: int, scan: bool, as_json: bool) -> None:
    from governance.report.replay_bulk import Summary

    made = Summary()
    try:
        with searched_log(scan=scan) as (log, index):
            selection = with_pseudonyms(log, selection)
            with err().status("replaying") as status:
                numbers, count = _numbers(log, index, selection)
                for each in _summaries(log, selection, numbers, _jobs(jobs, count)):
                    made.add(each)
                    status.update(f"replayed {made.decisions:,} decisions")
            _end(made, as_json=as_json)
    except KeyboardInterrupt:
        err().print(f"\ninterrupted after {made.decisions:,} decisions; nothing was written")
        raise typer.Exit(INTERRUPTED) from None


def _numbers(log: AuditLog, index: Index | None, selection: Selection) -> tuple[Iterable[int], int]:
    """The entries to look at, oldest first."""
    from governance.report.index.terms import UNINDEXED, term

    if index is None:
        size = log.store.frontier().size
        return range(size), size
    wanted = [[term("kind", "decision")]]
    wanted += [
        [term(word, value) for value in values]
        for word, values in selection.wanted()
        if word not in UNINDEXED
    ]
    places = index.places(wanted, since=selection.since, until=selection.until)
    more = set(index.broken())
    if more:  # what could not be read may have been a decision
        return sorted({*places.numbers(), *more}), len(places) + len(more)
    return places.numbers(), len(places)


def _jobs(asked: int, count: int) -> int:
    return asked or max(1, min(os.cpu_count() or 1, count // _WORTH_A_PROCESS))


def _summaries(log: AuditLog, selection: Selection, numbers: Iterable[int], jobs: int) -> Iterator[Summary]:
    from governance.report.replay_bulk import BulkReplay

    chunks = _chunks(numbers)
    if jobs == 1:
        one = BulkReplay(log, selection)
        yield from map(one.run, chunks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # A new interpreter each: SQLite's connections do not survive a fork.
    pool = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(str(selection),)
    )
    try:
        waiting = []
        for chunk in chunks:
            waiting.append(pool.submit(_run, chunk))
            if len(waiting) > jobs * 4:
                yield waiting.pop(0).result()
        for each in waiting:
            yield each.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(numbers: Iterable[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for number in numbers:
        chunk.append(number)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


_WORKER: list[tuple[ExitStack, BulkReplay]] = []
"""In a worker: what it replays with, and what keeps its log open."""


def _begin(selection: str) -> None:
    """In a worker: open the log that the settings name."""
    import signal

    from governance.report.replay_bulk import BulkReplay
    from governance.report.selection import parse_selection

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    stack = ExitStack()
    _WORKER[:] = [
        (
            stack,
            BulkReplay(stack.enter_context(open_assembly(only_reads=True)).log, parse_selection(selection)),
        )
    ]


def _run(numbers: Sequence[int]) -> Summary:
    return _WORKER[0][1].run(numbers)


def _end(made: Summary, *, as_json: bool) -> None:
    if as_json:
        print_json({"decisions": made.decisions, **asdict(made)})
    else:
        _print(made)
    if made.broken:
        raise typer.Exit(_BROKEN)
    if made.different:
        raise typer.Exit(_DIFFERENT)
    if made.gone:
        raise typer.Exit(_GONE)


def _print(made: Summary) -> None:
    for remarks, mark, what in (
        (made.problems, Mark.FAIL, "broken"),
        (made.differences, Mark.FAIL, "different"),
        (made.not_replayable, Mark.WARN, "not replayable"),
    ):
        for remark in remarks:
            err().print(sign(mark), styled(f"{what}: {_told(remark)}"))
    if made.different:
        err().print(styled(_JUDGED_OTHERWISE))
    if not made.decisions:
        out().print(sign(Mark.SKIP), "no decision is among these entries: nothing was replayed")
        return
    if made.decisions == made.same:
        noun = "decision comes" if made.same == 1 else "decisions come"
        out().print(sign(Mark.OK), styled(f"{made.same:,} {noun} out the same, byte for byte"))
        return
    print_pairs({
        "  decisions": f"{made.decisions:,}",
        "  the same": f"{made.same:,}",
        "  different": f"{made.different:,}" if made.different else None,
        "  not replayable": f"{made.gone:,}" if made.gone else None,
        "  broken": f"{made.broken:,}" if made.broken else None,
    })  # fmt: skip


# Whoever replays has compared entry and evidence with their hashes before: what differs was not changed afterwards.
_JUDGED_OTHERWISE = (
    "What is different lies there as it was recorded, if `mlgov audit verify` finds no fault: then this program judges otherwise than the one "
    "that recorded it. The changelog's section on security says where judging was mended."
)


def _told(remark: Remark) -> str:
    number = "" if remark.index is None else f"entry {remark.index}, "
    return f"{number}decision {remark.id}: {remark.what}"
