"""`mlgov report`: the audit log as a page for people and as lines for machines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled
from governance.errors import SettingsError, TransferError

if TYPE_CHECKING:
    from governance.report.query import Report

app = typer.Typer(help="Write what happened, for people and for auditors.")

_FORMATS = ("html", "jsonl")


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Option("--folder", "-o", help="Where to write. Made if need be.")] = Path(
        "mlgov-report"
    ),
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="`html`, `jsonl` or `ocsf`; may be given several times. Default: `html` and `jsonl`.",
        ),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="From this UTC time on.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Up to, and without, this UTC time.")] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="REPOSITORY/PATH", help="This artifact alone.")
    ] = None,
) -> None:
    """Write what happened: decisions, refusals, what would have been blocked, signatures, and whether the log is whole.

    Exits with 4 where the log does not prove itself; the report is written all the same, and says so.
    """
    if context.invoked_subcommand is not None:
        return
    from governance.cli.audit import open_log
    from governance.report.query import build_report
    from governance.wiring import utc_now

    with open_log() as log, err().status("reading the log"):
        made = build_report(log, now=utc_now(), since=_utc(since), until=_utc(until), subject=artifact)
        paths = write_report(made, folder, tuple(formats or _FORMATS))
    for path in paths:
        out().print(sign(Mark.OK), styled(f"wrote `{path}`"))
    made.verification.require_good()


def write_report(made: Report, folder: Path, formats: tuple[str, ...] = _FORMATS) -> list[Path]:
    """Write a report in each format. Raises `SettingsError` for a format that is not known, `TransferError`."""
    from governance.report.format import FORMATS

    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise SettingsError(
            f"`{unknown[0]}` is not a report format", hint=f"There are: {', '.join(sorted(FORMATS))}."
        )
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(formats):
            renderer = FORMATS[name]()
            path = folder / f"report{renderer.suffix}"
            with path.open("wb") as file:
                renderer.write(made, file)
            written.append(path)
    except OSError as error:
        raise TransferError(f"`{folder}` cannot be written: {error.strerror}") from error
    return written


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
