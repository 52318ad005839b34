"""`mlgov audit stream`: entries on their way to a file, a syslog receiver or a webhook."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.audit import open_log
from governance.cli.output import Mark, err, sign, styled
from governance.errors import GovernanceError, SettingsError

if TYPE_CHECKING:
    from governance.stream.destination import Destination
    from governance.stream.pump import Pump, Target

logger = logging.getLogger(__name__)

_MAX_DIGITS = 18


def stream(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Declared destinations. Default: all of them."),
    ] = None,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DESTINATION",
            help="One that is not declared: `file:PATH`, `syslog+tls://HOST[:PORT]`, `syslog+tcp://...`, "
            "`syslog+udp://...` or `https://...`.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--as", metavar="FORM", help="`jsonl` (entries as they are) or `ocsf`.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="START",
            help="Where to begin without a cursor: `start`, `now` or an entry's number. Default: `start`.",
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when everything is delivered. Default: follow the log.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds without success after which `--once` gives up.")
    ] = 60.0,
    secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret that webhooks are signed with.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="Certificate authority (PEM) of the receiver, in place of the usual ones."),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="Our own certificate (PEM).")] = None,
    certificate_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    max_message: Annotated[
        int | None, typer.Option(help="Longest syslog message in bytes. Default: 8192.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the cursor. Default: made from the destination.")
    ] = None,
) -> None:
    """Deliver entries, in order and at least once, from where the destination's cursor stands.

    Tries again for as long as it takes, and waits for new entries, unless `--once` is given. Exits with 3 where the
    destination did not take everything, and with 4 where the log is not the one that the cursor belongs to.
    """
    from governance.outbound import build_pump, destinations, parse_destination
    from governance.settings import load_settings
    from governance.stream.destination import name_of

    settings = load_settings()
    if to is None:
        alone = (form, start, secret_file, ca, certificate, certificate_key, max_message, name)
        if any(value is not None for value in alone):
            raise SettingsError(
                "these options describe a destination, and `--to` is not given",
                hint="Declared destinations have them in the settings file.",
            )
        chosen: Sequence[Destination] = destinations(settings, names or ())
    elif names:
        raise SettingsError(
            "`--to` and names of declared destinations exclude each other", hint="Give one of them."
        )
    else:
        fields = {"as": form, "from": _start(start), "secret_file": secret_file, "ca": ca, "certificate": certificate,
                  "certificate_key": certificate_key, "max_message": max_message}  # fmt: skip
        chosen = (parse_destination(to=to, name=name or name_of(to), **fields),)
    with stop_on_signals() as stop, open_log() as log:
        pumps = [(each, build_pump(settings, log, each, stop=stop, patience=patience)) for each in chosen]
        run_pumps(pumps, follow=not once)


def run_pumps(pumps: Sequence[tuple[Target, Pump]], *, follow: bool, verb: str = "streaming") -> None:
    """Run all of them, each in a thread. When all have ended, raises the first error that one ended with, whatever it is."""
    failures: list[Exception] = []

    def run(destination: Target, pump: Pump) -> None:
        if follow:
            err().print(styled(f"{verb}: `{destination.name}` ({destination.shown})"))
        try:
            done = pump.run(follow=follow)
        except Exception as error:  # noqa: BLE001 - none may end a thread unseen; the first is raised below
            if len(pumps) > 1:
                what = error if isinstance(error, GovernanceError) else f"unexpected {type(error).__name__}"
                logger.error("`%s` ENDED: %s", destination.name, what)  # noqa: TRY400 - raised below, with all it says
            failures.append(error)
            return
        word = "read" if verb == "notifying" else "delivered"
        told = f"`{destination.name}`: {done.entries} entries {word}, up to entry {done.index}"
        err().print(sign(Mark.OK), styled(told))

    if len(pumps) == 1:
        run(*pumps[0])
    else:
        _run_threads([threading.Thread(target=run, args=pair, daemon=True) for pair in pumps])
    if failures:
        raise failures[0]


def _run_threads(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # short waits, so that a signal is seen to
            thread.join(0.5)


def _start(text: str | None) -> str | int | None:
    if text is None or text in {"start", "now"}:
        return text
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    raise SettingsError(
        f"`--from` cannot be `{text[:40]}`", hint="It is `start`, `now`, or the number of an entry."
    )


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that is set when the end is asked for: the batch at hand is finished, and its place remembered. Afterwards signals do what
    they did before."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
