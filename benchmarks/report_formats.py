"""A compliance report of a large log: `python -m benchmarks.report_formats [--json] [--entries N] [--log FILE]`.

All formats are made by one process, for a log of N entries and for one of a tenth: memory is constant where both take the same.
The pass is what comes before any format: the whole log verified, each entry read and joined, each decision's facts read.
Rates count CPU seconds of one process, so that another's work on the machine does not show. Without `--log` a log is grown first.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.audit import ROOT, Figure
from benchmarks.report_log import World, grow_log
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.report.folder import write_folder
from governance.report.making import Asked, make_report

FORMATS = ("html", "csv", "jsonl")
_SAME = 1.3  # how much more memory ten times the entries may take, for what an allocator does


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one process took. Seconds are of CPU."""

    entries: int
    decisions: int
    verify: float
    pass_: float
    write: dict[str, float]
    size: dict[str, int]
    peak: float
    """MiB."""


def make(log: Path, folder: Path) -> Made:
    """The report of a whole log in each format, in this process."""
    write: dict[str, float] = {}
    size: dict[str, int] = {}
    with closing(SqliteStore(log, may_create=False)) as store:
        audit = AuditLog(store, now=lambda: datetime.now(UTC), instance="bench")
        started = time.process_time()
        audit.verify().require_good()
        verified = time.process_time()
        with make_report(audit, Asked(), now=datetime.now(UTC)) as report:
            passed = time.process_time()
            for name in FORMATS:
                begun = time.process_time()
                write_folder(report, audit, folder / name, [name])
                write[name] = time.process_time() - begun
                size[name] = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
            entries, decisions = report.extent.entries, dict(report.section("population").pairs)["Decisions"]
    return Made(
        entries=entries,
        decisions=int(decisions or 0),
        verify=verified - started,
        pass_=passed - verified,
        write=write,
        size=size,
        peak=peak_memory(),
    )


def peak_memory() -> float:
    """MiB of this program at most. What `getrusage` says includes the process that started it, before it became another."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(log: Path) -> Made:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.report_formats", "--worker", "--log", str(log)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Made(**json.loads(done.stdout))


def figures(large: Path, small: Path) -> Iterator[Figure]:
    """Rates for the large log, and memory beside that for the small one."""
    made, less = apart(large), apart(small)
    rate = made.entries / made.pass_
    yield Figure(
        figure=f"compliance report, the pass over {made.entries} entries",
        value=round(rate),
        unit="entries/CPU s",
    )
    for name in FORMATS:
        rate = made.entries / made.write[name]
        wanted = name == "jsonl"
        yield Figure(
            figure=f"{name}, {made.size[name] / 2**20:.0f} MiB written", value=round(rate), unit="entries/CPU s",
            target=">= 50000" if wanted else None, met=rate >= 50_000 if wanted else None,
        )  # fmt: skip
    ratio = made.peak / less.peak
    yield Figure(
        figure=f"memory for all of it, beside {less.entries} entries", value=round(made.peak), unit="MiB", peer=round(less.peak),
        ratio=round(ratio, 2), target=f"<= {_SAME}x", met=ratio <= _SAME,
    )  # fmt: skip


def format_figures(path: Path, world: World, quick: bool) -> Iterator[dict[str, Any]]:
    """The group of figures for `benchmarks.report`."""
    with tempfile.TemporaryDirectory(prefix="mlgov-bench-") as name:
        small = Path(name) / "small.sqlite"
        grow_log(small, max(1_000, world.entries // (50 if quick else 10)))
        for figure in figures(path, small):
            yield asdict(figure)


def run(entries: int, folder: Path, log: Path | None = None) -> Iterator[Figure]:
    """All figures. Grows what logs are missing."""
    small = folder / "small.sqlite"
    grow_log(small, entries // 10)
    if log is None:
        log = folder / "large.sqlite"
        grow_log(log, entries)
    yield from figures(log, small)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlgov-bench-") as name:
        folder = Path(name)
        if options.worker:
            print(json.dumps(asdict(make(options.log, folder))))
            return
        found: list[Figure] = []
        for figure in run(options.entries, folder, options.log):
            found.append(figure)
            if not options.json:
                print(_line(figure), flush=True)
        if options.json:
            told: list[dict[str, Any]] = [asdict(figure) for figure in found]
            print(json.dumps({"benchmark": "report_formats", "figures": told}))


def _line(figure: Figure) -> str:
    peer = f"   small {figure.peer:g}: {figure.ratio:g}x" if figure.peer is not None else ""
    verdict = {True: "   met", False: "   NOT met", None: ""}[figure.met]
    return f"{figure.figure:55} {figure.value:>10g} {figure.unit}{peer}{f'   target {figure.target}' if figure.target else ''}{verdict}"


if __name__ == "__main__":
    main()
