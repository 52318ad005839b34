"""`mlgov doctor`: whether everything is in place, and what to do where it is not."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from governance.cli.output import Line, Mark, err, out, print_checklist, print_json
from governance.errors import SettingsError


def doctor(
    repositories: Annotated[
        list[str] | None, typer.Argument(metavar="[REPOSITORY]...", help="Repositories to look at.")
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="Tracking server to look at, where there is one."),
    ] = None,
    write_test: Annotated[
        bool,
        typer.Option("--write-test", help="Deploy, annotate and delete one small file in each repository."),
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Look at this machine alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as JSON.")] = False,
) -> None:
    """Look at settings, policy, keys, audit log, streams, installation, Artifactory, Xray and tracking server.

    Exits with 0 where nothing failed, else with the highest code of what did: 2 settings or files, 3 a service,
    4 the audit log.
    """
    from governance.cli.checkup.check import run_checks
    from governance.cli.checkup.install import install_checks
    from governance.cli.checkup.local import local_checks
    from governance.cli.checkup.streams import stream_checks
    from governance.model.artifact import parse_repository_key
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    for name in repositories or ():
        try:
            parse_repository_key(name)
        except ValueError as error:
            raise SettingsError(
                str(error), hint="Name repositories as Artifactory does, such as `models-local`."
            ) from error
    with closing(build_assembly(load_settings())) as assembly:
        checks = [*local_checks(assembly), *stream_checks(assembly), *install_checks(assembly.settings)]
        if not offline:
            from governance.cli.checkup.remote import remote_checks
            from governance.cli.checkup.tracking import tracking_checks

            checks += remote_checks(assembly, repositories=tuple(repositories or ()), write_test=write_test)
            checks += tracking_checks(tracking_uri, assembly.settings)
        with err().status("looking"):
            results = list(run_checks(checks))
    _show([line for line, _ in results], as_json=as_json)
    raise typer.Exit(max((code for _, code in results), default=0))


def _show(lines: list[Line], *, as_json: bool) -> None:
    if as_json:
        print_json([
            {"mark": line.mark.value, "subject": line.subject, "seen": line.seen, "remedy": line.remedy}
            for line in lines
        ])  # fmt: skip
        return
    print_checklist(lines)
    counts = {mark: sum(line.mark is mark for line in lines) for mark in Mark}
    out().print(
        f"\n{counts[Mark.OK]} in order, {counts[Mark.WARN]} to look at, {counts[Mark.FAIL]} failed, "
        f"{counts[Mark.SKIP]} not looked at"
    )
