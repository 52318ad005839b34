"""`mlgov demo`: the whole story on this machine, without an account or a network."""

from __future__ import annotations

import contextlib
import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from governance.cli.stage.stage import Stage
    from governance.cli.stage.telling import Narrator


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where everything goes. An earlier demo's folder is made anew.")
    ] = Path("mlgov-demo"),
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave both servers up at the end, until Ctrl-C.")
    ] = False,
) -> None:
    """See it work: an Artifactory, a tracking server, a good model, its promotion, five refusals, and the record of it all.

    Starts an embedded Artifactory and a real MLflow server on loopback, and stops both at the end, also on Ctrl-C.
    """
    from governance.cli.stage import scenes
    from governance.cli.stage.policies import write_policies
    from governance.cli.stage.stage import (
        artifactory_server,
        open_stage,
        prepare_folder,
        tracking_server,
        wait_for_tracking,
        write_passphrase,
    )
    from governance.cli.stage.telling import Narrator, narration

    # A terminal that closes, or a supervisor, ends this as Ctrl-C does: with its servers.
    signal.signal(signal.SIGTERM, _interrupt)
    tell = Narrator(narration())
    place = prepare_folder(folder)
    tell.say("Policy-gated MLflow on Artifactory, from end to end.")
    tell.note(f"everything goes into {place}")
    with ExitStack() as running:
        tell.heading("An Artifactory")
        with tell.working("start an Artifactory with Xray (embedded, for trial)"):
            artifactory = running.enter_context(artifactory_server(place))
            write_passphrase(place)
            write_policies(place / "policies")
        stage = running.enter_context(open_stage(place, artifactory))
        tracking = running.enter_context(tracking_server(stage))
        scenes.keys(tell, stage)
        tell.heading("A tracking server")
        with tell.working("start a real MLflow tracking server with the plugin"):
            wait_for_tracking(stage, tracking)
        tell.pairs({"Artifactory": artifactory.artifactory_url, "MLflow": stage.tracking_url})
        trained = scenes.train(tell, stage)
        scenes.stored(tell, stage, trained)
        logged = scenes.suspects(tell, stage)
        scenes.refusals(tell, stage, logged)
        scenes.later(tell, stage, logged)
        scenes.observe(tell, stage, logged)
        scenes.promotion(tell, stage, trained, logged)
        scenes.evidence(tell, stage)
        _end(tell, stage)
        if keep_running:
            _wait(tell, stage)


def _end(tell: Narrator, stage: Stage) -> None:
    tell.heading(f"Done in {tell.seconds():.0f} s")
    tell.pairs({
        "report for people": str(stage.folder / "report" / "report.html"),
        "report for machines": str(stage.folder / "report" / "report.jsonl"),
        "audit log": str(stage.folder / "home" / "audit.sqlite"),
        "audit log, to hand out": str(stage.folder / "audit-export"),
        "policies": str(stage.folder / "policies"),
        "logs of servers and scripts": str(stage.logs),
    })  # fmt: skip


def _wait(tell: Narrator, stage: Stage) -> None:
    """Stay until interrupted, with what a user needs to try their own script."""
    tell.heading("Both servers stay up until Ctrl-C")
    tell.say("In another terminal, set these and run your own script:")
    lines = "\n".join(f"export {name}='{value}'" for name, value in stage.settings.items())
    path = stage.folder / "env.sh"
    path.touch(mode=0o600)
    path.write_text(f"{lines}\n", encoding="utf-8")
    tell.copyable(f"{lines}\n\n(or: source '{path}')")
    tell.done(f"MLflow's pages: {stage.tracking_url}")
    # The way to end this, and no interruption of anything.
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
