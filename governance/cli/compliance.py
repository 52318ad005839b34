"""`mlgov report compliance`: the fourteen sections for an auditor, in a folder that proves itself."""

from __future__ import annotations

import platform
import secrets
import shlex
import socket
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_pairs, sign, styled
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.audit_wiring import AuditAssembly
    from governance.report.book import Report
    from governance.report.making import Asked
    from governance.report.selection import Selection

_FORMATS = ("html", "csv", "jsonl")
_MOMENT = "A day or a time in RFC 3339, with or without a zone; UTC where none is given."


def compliance(
    *,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"From this time on. {_MOMENT}")] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Up to, and without, this time. For March: `--from 2026-03-01 --to 2026-04-01`."),
    ] = None,
    frameworks: Annotated[
        list[str] | None,
        typer.Option("--framework", metavar="NAME", help="A framework of the control matrix, or a YAML file of your own; may be repeated. Default: all that come with the program."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="FORMAT", help="May be repeated; see `docs/reports.md`. Default: html, csv, jsonl."),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, max=1_000, help="How many decisions to draw for the sampling annex.")] = 25,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Seed of the draw, as the auditor gives it. Default: a random one, which the report states.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--folder", "-o", help="Where to write. Must not be there yet, or be empty.")
    ] = Path("mlgov-compliance"),
    selection: Annotated[
        str | None, typer.Option("--filter", metavar="SELECTION", help="Only entries of this selection, such as `environment:production`.")
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="CHECKPOINT", help="A checkpoint of this log kept from before, to be compared with. Several times, or a folder of them."),
    ] = None,
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Have the witnesses of `audit_anchors` sign the checkpoint.")
    ] = False,
) -> None:  # fmt: skip
    """Write a compliance report for a period: 14 sections, with proofs, a sample and control matrices.

    The log says first that it is handed out. Exits with 4 where the log does not prove itself; the report is written all the
    same, and says so on its first page.
    """
    from governance.audit.export import require_free
    from governance.audit_wiring import utc_now
    from governance.cli.audit import open_assembly
    from governance.report.folder import check_formats, write_folder
    from governance.report.making import make_report

    asked_formats = check_formats(formats or _FORMATS)
    require_free(folder)  # before the log says that it was handed out
    with open_assembly() as assembly:
        log = assembly.log
        asked = _asked(
            assembly, since=since, until=until, frameworks=tuple(frameworks or ()), formats=asked_formats, sample=sample,
            seed=secrets.token_hex(8) if seed is None else seed, selection=selection, earlier=earlier or [],
            cosigned=cosigned,
        )  # fmt: skip
        with (
            err().status("verifying and reading the log") as status,
            make_report(log, asked, now=utc_now()) as made,
        ):
            status.update("writing")
            files = write_folder(made, log, folder, asked_formats)
            _tell(made, folder, files)
            made.require_good()


def _asked(
    assembly: AuditAssembly,
    *,
    since: str | None,
    until: str | None,
    frameworks: tuple[str, ...],
    formats: tuple[str, ...],
    sample: int,
    seed: str,
    selection: str | None,
    earlier: list[Path],
    cosigned: bool,
) -> Asked:
    from governance.cli.audit_places import with_pseudonyms
    from governance.cli.kept_heads import kept_heads, roots_against
    from governance.report.framework_files import load_frameworks
    from governance.report.making import Asked
    from governance.report.matrix import ControlTally

    start, end = _moment(since, "--from"), _moment(until, "--to")
    if start is not None and end is not None and start >= end:
        raise SettingsError(
            "the period ends before it begins", hint="`--to` is the first moment that is no longer in it."
        )
    if not seed.isprintable() or not 0 < len(seed) <= 64:
        raise SettingsError("a seed has 1 to 64 printable characters")
    by = made_by()
    asked_for, names = _selection(selection), assembly.log.pseudonyms
    recorded = selection
    if names is not None:  # the log keeps no names, and no joint of a name and its pseudonym either
        known = tuple(each if each.startswith("p:") else names.of(each) for each in asked_for.actors)
        recorded = str(replace(asked_for, actors=known)) or None
    vkey = assembly.log.key.vkey if assembly.log.key is not None else None
    witnesses = tuple(each.key for each in assembly.witnesses) if cosigned else ()
    keys = [
        *(("--key", vkey) if vkey else ()),
        *(word for key in witnesses for word in ("--witness", key.vkey)),
    ]
    return Asked(
        since=start,
        until=end,
        selection=with_pseudonyms(assembly.log, asked_for),
        sample=sample,
        seed=seed,
        made_by=by,
        software=software(),
        vkey=vkey,
        command=shlex.join(("python", "verify_log.py", ".", *keys)),
        roots=roots_against(assembly.log, kept_heads(assembly, earlier)),
        controls=ControlTally(load_frameworks(frameworks)),
        cosign=assembly.cosigner() if cosigned else None,
        witnesses=witnesses,
        record={
            "what": "compliance report",
            "by": by if names is None else names.of(by),
            "since": since,
            "until": until,
            "filter": recorded,
            "seed": seed,
            "formats": list(formats),
        },
    )


def _moment(text: str | None, option: str) -> datetime | None:
    from governance.report.selection_text import SelectionError, parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text)
    except SelectionError as error:
        raise SettingsError(f"{option}: {error.message}", hint=error.hint) from error


def _selection(text: str | None) -> Selection:
    from governance.report.selection import Selection, parse_selection

    found = Selection() if text is None else parse_selection(text)
    if found.since is not None or found.until is not None:
        raise SettingsError("a filter without times is expected", hint="`--from` and `--to` say the period.")
    return found


def made_by() -> str:
    """Who makes a report, as it says."""
    from plugin.context import local_user

    return f"{local_user().name} on {socket.gethostname()}"


def software() -> tuple[tuple[str, str], ...]:
    """What a report is made with, as it says."""
    from importlib.metadata import version

    return (
        ("Made with", f"mlflow-governance {version('mlflow-governance')}"),
        ("Made on", f"Python {platform.python_version()}, {platform.system()} {platform.release()}"),
    )


def _tell(made: Report, folder: Path, files: tuple[str, ...]) -> None:
    for name in files:
        out().print(sign(Mark.OK), styled(f"wrote `{folder / name}`"))
    seed = dict(made.section("sample").pairs)["Seed"]
    population = dict(made.section("population").pairs)
    entries = f"{population['Entries in the period']:,} entries"
    if made.filter is not None:
        entries = f"{population['of these selected and whole']:,} of {entries} in the period"
    print_pairs({
        "  period": f"{made.since or 'the first entry'} to {made.until or made.made_at}",
        "  population": f"{entries}, {population['Decisions']:,} decisions",
        "  sample": f"{len(made.sample)} decisions, seed {seed}",
        "  check it with": f"cd {shlex.quote(str(folder))} && {made.command}",
    })  # fmt: skip
