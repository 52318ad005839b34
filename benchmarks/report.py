"""From the log to the auditor: `python -m benchmarks.report [--json] [--quick] [--entries N] [--log FILE]`.

Search and blast radius on a log of `benchmarks.report_log` (a million entries; `--entries 10000000` for the long run, which makes a
file of 16 GiB), through an index that is built in the same run; replay on decisions recorded with facts of their own. `--log` keeps
the log and its index in a file, and takes them from there the next time. Each answer is given by a new index object: opened, held
against the log, asked, each hit read and checked. Times are medians of single answers.

The formats are those of a compliance report of the whole log, in one process: rates, and memory beside a log of a tenth.

The peer of a search is the full scan in the same run. Where the log is large a part of it is scanned, and the time multiplied.
A machine that is not ours alone shows in both, so the ratio tells more than the time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.report_formats import format_figures
from benchmarks.report_log import World, grow_log, make_world
from benchmarks.report_replay import replay_figures
from benchmarks.report_search import search_figures

QUICK, USUAL = 50_000, 1_000_000

Group = Callable[[Path, World, bool], Iterator[dict[str, Any]]]

GROUPS: dict[str, Group] = {"search": search_figures, "replay": replay_figures, "formats": format_figures}
"""Each takes the log's file, what it was grown from, and whether to be quick."""


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_true", help="a small log, and fewer questions")
    parser.add_argument("--entries", type=int, help="entries of the log")
    parser.add_argument("--log", type=Path, help="the log's file; made where it is not there, and kept")
    parser.add_argument("--only", choices=sorted(GROUPS), action="append", help="this group of figures alone")
    options = parser.parse_args(arguments)
    entries = options.entries or (QUICK if options.quick else USUAL)
    figures = []
    with ExitStack() as stack:
        path = options.log or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log.sqlite"
        world = make_world(entries) if path.exists() else grow_log(path, entries)
        for name in options.only or GROUPS:
            for figure in GROUPS[name](path, world, options.quick):
                figures.append(figure)
                if not options.json:
                    print(json.dumps(figure), flush=True)
    report: dict[str, object] = {"benchmark": "report", "entries": entries, "figures": figures}
    if options.json:
        print(json.dumps(report, indent=2))
    return report


if __name__ == "__main__":
    main()
