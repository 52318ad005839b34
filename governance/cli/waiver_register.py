"""`mlgov waiver list`, `expiring` and `show`: the register, from the files and the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_json, print_pairs, print_rows, sign, styled
from governance.cli.waiver_steps import Name, Where
from governance.cli.waiver_terms import print_glass, print_terms

if TYPE_CHECKING:
    from governance.cli.waiver_people import Desk
    from governance.model.canonical import Json
    from governance.waivers.settling import Register, Settled
    from governance.waivers.standing import Findings, LogView

AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def list_waivers(
    path: Where = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where a waiver of the files does not count, for CI.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every waiver with where it stands, the expired, revoked and unused ones too, and what waits for a review."""
    from governance.cli.waiver_people import desk
    from governance.waivers.standing import State, state_of, view_log

    with desk(path) as at:
        register = at.register()
        view = view_log(at.log(), register, trust=at.assembly.trust, now=at.now)
        if as_json:
            print_json(_document(at, register, view))
        else:
            _print(at, register, view)
        bad = [
            each
            for each in register.waivers
            if state_of(each, at.now) in {State.PENDING, State.VOID} or each.problems
        ]
    if strict and (bad or register.orphans):
        raise typer.Exit(1)


def expiring(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Within how many days.")] = 14,
    path: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show the waivers in force that end soon, the next one first."""
    from governance.cli.waiver_people import desk
    from governance.waivers.standing import Findings, State, state_of

    with desk(path) as at:
        soon = sorted(
            (
                each
                for each in at.register().waivers
                if state_of(each, at.now) in {State.LIVE, State.SCHEDULED}
                and each.waiver.expires <= at.now + timedelta(days=days)
            ),
            key=lambda each: each.waiver.expires,
        )
        if as_json:
            standing = Findings(at.log())
            print_json([_row(at, each, standing) for each in soon])
            return
        if not soon:
            err().print(f"no waiver in force ends within {days} days")
            return
        rows = (
            (each.waiver.name, _left(each.waiver.expires - at.now), each.waiver.rule, each.waiver.ref, each.waiver.requested_by)
            for each in soon
        )  # fmt: skip
        print_rows(("waiver", "ends in", "rule", "artifact", "asked by"), rows)


def show(waiver: Name, path: Where = None, as_json: AsJson = False) -> None:
    """Show one waiver: what it says, who signed what, where it stands, and what it let through."""
    from governance.cli.waiver_people import desk
    from governance.waivers.standing import Findings, uses_of

    with desk(path) as at:
        settled = at.find(waiver)
        standing = Findings(at.log())
        if as_json:
            print_json(_row(at, settled, standing))
            return
        print_terms(settled)
        use = uses_of(at.log(), settled)
        print_pairs({
            "  stands": standing.state_of(settled, at.now).value,
            "  why": settled.waiver.void,
            "  revoked": _revocation(settled),
            "  let through": f"{use.count} decision(s)" + (f", last {use.last:%Y-%m-%d %H:%M}" if use.last else ""),
        })  # fmt: skip
    for step in settled.steps:
        line = f"{step.step} by {step.by}, key {step.key_id[:16]}, {step.at:%Y-%m-%d %H:%M}"
        out().print(sign(Mark.OK), styled(line))
    for problem in settled.problems:
        out().print(sign(Mark.FAIL), styled(problem))


def _print(at: Desk, register: Register, view: LogView) -> None:
    from governance.waivers.standing import Findings, uses_of

    standing = Findings(at.log())
    if not register.waivers:
        err().print("there is no waiver among the policy files")
    else:
        rows = []
        for each in register.waivers:
            waiver, use = each.waiver, uses_of(at.log(), each)
            rows.append((
                waiver.name, standing.state_of(each, at.now).value, waiver.rule, waiver.ref, f"{waiver.expires:%Y-%m-%d}",
                f"{len(waiver.approved_by)} of {each.needed}", str(use.count) if use.count else "unused",
            ))  # fmt: skip
        print_rows(("waiver", "stands", "rule", "artifact", "until", "approvals", "used"), rows)
    for each in register.waivers:
        lines = each.problems or ((each.waiver.void,) if each.waiver.void else ())
        for line in lines:
            out().print(sign(Mark.WARN), styled(f"{each.waiver.name}: {line}"))
    for file in register.orphans:
        out().print(
            sign(Mark.WARN), styled(f"`{file.name}` is a step of `{file.waiver}`, which is not there")
        )
    for gone in view.removed:
        what = (
            "was signed with other terms than the file has"
            if register.find(gone.name)
            else "removed from the files"
        )
        line = f"{gone.name}: {what}, {', '.join(gone.events)} on record ({gone.rule}, {gone.ref})"
        out().print(sign(Mark.WARN), styled(line))
    for copied in view.copied:
        body = copied.entry.body
        until = f" until {body['expires']}" if body.get("expires") else ""
        out().print(
            sign(Mark.SKIP), styled(f"{body['waiver']}: copied from Xray{until}: {body.get('reason') or '-'}")
        )
    if view.glass:
        print_glass(view.glass)
    if at.assembly.settings.audit_url is not None:
        err().print("what was used, deleted or waits for a review is in the audit log of the tracking server")


def _document(at: Desk, register: Register, view: LogView) -> Json:
    from governance.waivers.standing import Findings

    standing = Findings(at.log())
    return {
        "waivers": [_row(at, each, standing) for each in register.waivers],
        "orphans": [file.name for file in register.orphans],
        "removed": [
            {"waiver": gone.name, "rule": gone.rule, "artifact": gone.ref, "events": list(gone.events)}
            for gone in view.removed
        ],
        "copied": [dict(each.entry.body) for each in view.copied],
        "breakGlass": [
            {**each.entry.body, "artifact": each.entry.subject, "at": each.entry.at.isoformat()}
            for each in view.glass
        ],
    }


def _row(at: Desk, settled: Settled, standing: Findings) -> Json:
    from governance.model.request import utc_text
    from governance.waivers.standing import uses_of
    from governance.waivers.steps import terms_of

    use = uses_of(at.log(), settled)
    return {
        **terms_of(settled.waiver),
        "state": standing.state_of(settled, at.now).value,
        "approvedBy": list(settled.waiver.approved_by),
        "approvalsNeeded": settled.needed,
        "void": settled.waiver.void,
        "revoked": _revocation(settled),
        "problems": list(settled.problems),
        "steps": [
            {"step": each.step.value, "by": each.by, "keyId": each.key_id, "at": utc_text(each.at), "reason": each.reason}
            for each in settled.steps
        ],
        "uses": use.count,
        "lastUse": None if use.last is None else utc_text(use.last),
    }  # fmt: skip


def _revocation(settled: Settled) -> str | None:
    waiver = settled.waiver
    if waiver.revoked_at is None:
        return None
    why = f": {waiver.revoked_reason}" if waiver.revoked_reason else ""
    return f"{_day(waiver.revoked_at)} by {waiver.revoked_by}{why}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _left(left: timedelta) -> str:
    return f"{left.days} day(s)" if left.days else f"{left.seconds // 3600} hour(s)"
