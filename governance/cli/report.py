"""`mlgov report`: the audit log as a page for people and as lines for machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled
from governance.errors import SettingsError, TransferError

if TYPE_CHECKING:
    from governance.report.book import Report
    from governance.report.format import ReportFormat

app = typer.Typer(help="Write what happened, for people and for auditors.")

_FORMATS = ("html", "jsonl")
_CHECK = "mlgov audit export FOLDER && python FOLDER/verify_log.py FOLDER"


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
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on (UTC without a zone), or how far back: `90d`."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to, and without, this time.")] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="REPOSITORY/PATH", help="This artifact alone.")
    ] = None,
) -> None:
    """Write what happened: decisions, refusals, what would have been blocked, signatures, and whether the log is whole.

    Exits with 4 where the log does not prove itself; the report is written all the same, and says so.
    """
    if context.invoked_subcommand is not None:
        return
    from governance.audit_wiring import utc_now
    from governance.cli.audit import open_assembly
    from governance.cli.audit_places import moment, require_period
    from governance.cli.compliance import made_by, software
    from governance.cli.kept_heads import kept_heads, roots_against
    from governance.report.editions import AUDIT
    from governance.report.making import Asked, make_report
    from governance.report.selection import Selection

    renderers = [_renderer(name) for name in dict.fromkeys(formats or _FORMATS)]
    now = utc_now()
    first, last = (None if text is None else moment(text, now) for text in (since, until))
    if first is not None and last is not None:
        require_period(first, last)
    with open_assembly(only_reads=True) as assembly:
        log = assembly.log
        asked = Asked(
            outline=AUDIT,
            since=first,
            until=last,
            selection=Selection(subjects=() if artifact is None else (artifact,)),
            sample=0,
            made_by=made_by(),
            software=software(),
            vkey=log.key.vkey if log.key is not None else None,
            command=_CHECK,
            roots=roots_against(log, kept_heads(assembly, ())),
        )
        with (
            err().status("verifying and reading the log"),
            make_report(log, asked, now=now) as made,
        ):
            for path in _write(made, folder, renderers):
                out().print(sign(Mark.OK), styled(f"wrote `{path}`"))
            made.require_good()


def _renderer(name: str) -> ReportFormat:
    from governance.report.format import AUDIT_FORMATS

    if name not in AUDIT_FORMATS:
        raise SettingsError(
            f"`{name[:80]}` is not a report format", hint=f"There are: {', '.join(sorted(AUDIT_FORMATS))}."
        )
    return AUDIT_FORMATS[name]()


def _write(made: Report, folder: Path, renderers: list[ReportFormat]) -> list[Path]:
    from governance.places import written_whole

    paths = [folder / renderer.name for renderer in renderers]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for renderer, path in zip(renderers, paths, strict=True):
            with written_whole(path, mode=0o666) as file:
                renderer.write(made, file)
    except OSError as error:
        raise TransferError(f"`{folder}` cannot be written: {error.strerror}") from error
    return paths
