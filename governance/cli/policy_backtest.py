"""`mlgov policy backtest`: a policy over the recorded decisions, with the facts as they were."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.exits import INTERRUPTED
from governance.cli.output import Mark, err, out, print_json, print_problem, print_rows, sign, styled
from governance.errors import AuditBrokenError, SettingsError, TransferError

if TYPE_CHECKING:
    from governance.audit.log import AuditLog
    from governance.policy.compile import CompiledPolicy
    from governance.report.backtest import Backtest, Side

_TOP = 10


def backtest(
    policy: Annotated[
        str | None,
        typer.Argument(
            metavar="[POLICY]",
            help="A file, a folder, `REVISION:path` of git, or a recorded digest. Default: the policy in force here.",
        ),
    ] = None,
    since: Annotated[str, typer.Option(help="How far back, such as `90d` or `12h`, or a UTC date.")] = "90d",
    until: Annotated[str | None, typer.Option(help="Up to, and without, this UTC date or span ago.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with a chart to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Tell what a policy would have newly blocked and newly allowed among the recorded decisions.

    What counts is the verdict; in which mode it is bound decides what is then done.
    Exits with 0 where nothing is newly blocked or allowed, 1 where something is, 3 where entries of another version were skipped,
    4 where an entry is broken. The others are judged all the same.
    """
    from governance.audit_wiring import utc_now
    from governance.cli.audit import open_log
    from governance.cli.audit_places import require_period

    now = utc_now()
    first, last = parse_since(since, now), None if until is None else parse_since(until, now)
    if last is not None:
        require_period(first, last)
    with open_log() as log:
        made = run_over(log, _policy(policy, log, now), first, last)
    if html is not None:
        _write(made, html)
    if as_json:
        from governance.report.backtest_page import backtest_tree

        print_json(backtest_tree(made))
    else:
        _show(made)
    _conclude(made)


def run_over(log: AuditLog, policy: CompiledPolicy, since: datetime, until: datetime | None) -> Backtest:
    """The whole backtest. On Ctrl-C it says how far it came, and exits."""
    from governance.report.backtest import run_backtest

    made = None
    try:
        with err().status("judging recorded decisions"):
            for made in run_backtest(log, policy, since=since, until=until):  # noqa: B007 - the last one counts
                pass
    except KeyboardInterrupt:
        done = made.decisions if made is not None else 0
        print_problem(
            f"the backtest was interrupted after {done} decisions; nothing was written",
            hint="Run it again, with a shorter `--since` if need be: it changes nothing and keeps nothing.",
        )
        raise typer.Exit(INTERRUPTED) from None
    assert made is not None  # the last one is always given
    return made


def _policy(text: str | None, log: AuditLog, now: datetime) -> CompiledPolicy:
    """The policy to judge by. Waivers among files count by their signatures, as where they are in force: what they let through
    was not stopped."""
    from contextlib import closing

    from governance.cli.policy_versions import policy_version
    from governance.collect.extensions import catalogue
    from governance.errors import KeyFileError
    from governance.policy.compile import compile_bundle
    from governance.policy.load import load_policies
    from governance.policy_wiring import policy_files
    from governance.settings import load_settings
    from governance.signing.trust import TrustStore
    from governance.waivers.files import read_steps
    from governance.waivers.memory import memory_of
    from governance.waivers.settling import settle
    from governance.wiring import build_assembly

    if text is not None and not Path(text).exists():
        return policy_version(text)
    settings = load_settings()
    paths = policy_files(settings) if text is None else (Path(text),)
    bundle = load_policies(paths, catalogue=catalogue())
    if not bundle.waivers:
        return compile_bundle(bundle)
    with closing(build_assembly(settings)) as assembly:
        try:
            trust = assembly.trust
        except KeyFileError as error:
            print_problem(f"no waiver counts: {error}")
            trust = TrustStore.empty()
    settled = settle(bundle, read_steps(paths), trust=trust, now=now, memory=memory_of(log))
    return compile_bundle(settled.bundle)


def parse_since(text: str, now: datetime) -> datetime:
    """The beginning of a period: a span before now, or a date. Raises `SettingsError`."""
    from governance.cli.audit_places import moment
    from governance.report.selection_text import SelectionError

    try:
        return moment(text, now)
    except SelectionError as error:
        raise SettingsError(
            f"`{text[:80]}` is neither a span of time nor a date", hint=f"{error.message}. {error.hint}"
        ) from error


def _write(made: Backtest, path: Path) -> None:
    """The page, whole or not at all."""
    from governance.places import write_output
    from governance.report.backtest_page import backtest_page

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_output(path, backtest_page(made))
    except OSError as error:
        raise TransferError(f"`{path}` cannot be written: {error.strerror}") from error
    err().print(sign(Mark.OK), styled(f"wrote `{path}`"))


def _show(made: Backtest) -> None:
    console = out()
    named = ", ".join(made.names) or "no policy"
    console.print(styled(f"{named} ({made.policy[:16]}) over {made.decisions} recorded decisions", "bold"))
    console.print(
        f"  as recorded: {made.same}; newly blocked: {made.blocked.count}; newly allowed: {made.allowed.count}"
    )
    for words, count in sorted(made.shifted.items()):
        still = "let through" if words.endswith(("allow", "warn")) else "refused"
        console.print(styled(f"  {words}: {count}, still {still}"))
    if made.gone:
        console.print(
            sign(Mark.WARN), f"{made.gone} could not be judged: their evidence was erased or never kept"
        )
    for title, side in (("newly blocked", made.blocked), ("newly allowed", made.allowed)):
        if side.count:
            _side(title, side)
    for fact, count in made.blind.most_common(_TOP):
        console.print(
            sign(Mark.WARN),
            styled(f"{fact}: read by the policy, and not gathered for {count} of the newly blocked"),
        )


def _side(title: str, side: Side) -> None:
    out().print(styled(f"\n{title}: {side.count}", "bold"))
    tables = (
        ("rule", side.rules),
        ("actor", side.actors),
        ("artifact", side.artifacts),
        ("environment", side.environments),
    )
    rows = [(name, key, str(count)) for name, table in tables for key, count in table.most_common(_TOP)]
    print_rows(("by", "name", "decisions"), rows)
    for one in side.examples[:3]:
        out().print(
            styled(
                f"  {one.at[:19]}Z {one.id} {one.action} by {one.actor}: {one.before} to {one.after}", "dim"
            )
        )


def _conclude(made: Backtest) -> None:
    if made.broken_count:
        raise AuditBrokenError(
            f"{made.broken_count} of {made.decisions} decisions are broken, and the figures lack them: {made.broken[0]}",
            hint="`mlgov audit verify` names every one. Keep the log as it is, and compare it with an earlier export.",
        )
    if made.versions:
        for version, count in sorted(made.versions.items()):
            print_problem(
                f"{count} decisions are entries of version {version}, which this program does not read; the figures lack them",
                hint="Run the backtest with the program version that wrote them.",
            )
        raise typer.Exit(3)
    raise typer.Exit(1 if made.changed else 0)
