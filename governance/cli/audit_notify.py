"""`mlgov audit notify`: news in the log, told to people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.audit import open_all
from governance.cli.audit_stream import run_pumps, stop_on_signals
from governance.cli.output import Mark, err, sign, styled
from governance.errors import SettingsError

if TYPE_CHECKING:
    from governance.settings import Settings


def notify(
    channels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHANNEL]...", help="Channels of the settings file. Default: all that rules name."
        ),
    ] = None,
    *,
    rules: Annotated[
        Path | None, typer.Option(help="The file with the rules. Default: `MLGOV_NOTIFY_PATH`.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when there is no more news. Default: follow the log.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds without success after which `--once` gives up.")
    ] = 60.0,
    trial: Annotated[
        bool, typer.Option("--trial", help="Send a trial notice to each channel, and nothing else.")
    ] = False,
) -> None:
    """Tell of new blocks, changed verdicts and waivers that end, by rules, to webhooks and mailboxes.

    Each channel has a cursor in the log, as a stream has, and remembers what it was told. Exits with 3 where a channel did
    not take a notice.
    """
    from governance.notifying import build_notifiers
    from governance.settings import load_settings

    settings = load_settings()
    if trial:
        _try_out(settings, channels or [each.name for each in settings.channels])
        return
    file = rules or settings.notify_path
    if file is None:
        raise SettingsError(
            "no rules of notification are named", hint="Set `MLGOV_NOTIFY_PATH`, or give `--rules FILE`."
        )
    with stop_on_signals() as stop, open_all() as assembly:
        pumps = build_notifiers(assembly, file, channels or (), stop=stop, patience=patience)
        run_pumps(list(pumps.items()), follow=not once, verb="notifying")


def _try_out(settings: Settings, names: list[str]) -> None:
    from governance.audit_wiring import utc_now
    from governance.notifying import build_carrier, trial_notice

    known = {each.name: each for each in settings.channels}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        listed = (
            f"There are: {', '.join(known)}."
            if known
            else "Declare it as `[[channels]]` in the settings file."
        )
        raise SettingsError(
            f"there is no channel `{unknown[0]}`" if unknown else "no channel is declared", hint=listed
        )
    for name in names:
        build_carrier(settings, known[name], utc_now).send(trial_notice(utc_now()))
        err().print(sign(Mark.OK), styled(f"`{name}` ({known[name].shown}) accepted a trial notice"))
