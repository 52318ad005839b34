"""`mlgov waiver approve`, `revoke` and `review`: what people sign about a waiver after it was asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled
from governance.cli.waiver_terms import print_glass, print_terms
from governance.errors import ConfigurationError

if TYPE_CHECKING:
    from governance.audit.log import Stored
    from governance.cli.waiver_people import Desk

Name = Annotated[str, typer.Argument(metavar="WAIVER", help="The waiver's name.")]
Where = Annotated[
    Path | None, typer.Option("--path", help="Policy file or folder. Default: the policy in force here.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before signing.")]


def approve(waiver: Name, path: Where = None, yes: Yes = False) -> None:
    """Approve a waiver: read what it says, sign it with your key, and commit the file that is written.

    Whoever asked for it and whoever made the artifact may not. Exits with 2 where the approval would not count, and where
    there is no terminal to ask on and no `--yes`.
    """
    from governance.cli.waiver_people import WaiverError, desk
    from governance.waivers.standing import State, state_of
    from governance.waivers.steps import Step

    with desk(path) as at:
        settled = at.find(waiver)
        state = state_of(settled, at.now)
        if state in {State.REVOKED, State.EXPIRED}:
            raise WaiverError(
                f"`{waiver}` is {state} and cannot be approved any more", hint="Ask for a new one."
            )
        if settled.request is None:
            why = f": {settled.problems[0]}" if settled.problems else ""
            raise WaiverError(
                f"`{waiver}` has no good signature of {settled.waiver.requested_by}, who is to have asked{why}"
            )
        print_terms(settled)
        _confirm("sign this approval?", yes=yes)
        written = at.take(settled, Step.APPROVE, reason=None)
        after = at.find(waiver)
        have, needed = len(after.waiver.approved_by), after.needed
    more = "it counts from `starts`" if have >= needed else f"{needed - have} more needed"
    out().print(sign(Mark.OK), styled(f"approved, {have} of {needed}: {more}; commit `{written}`"))


def revoke(
    waiver: Name,
    reason: Annotated[str, typer.Option(help="Why it is taken back.")],
    path: Where = None,
    yes: Yes = False,
) -> None:
    """Take a waiver back from now on. It stays in the register."""
    from governance.cli.waiver_people import ANY, WaiverError, desk
    from governance.waivers.standing import State, state_of
    from governance.waivers.steps import Step

    if not reason.strip():
        raise ConfigurationError("a revocation says why", hint="`--reason TEXT`; it stands in the register.")
    with desk(path) as at:
        settled = at.find(waiver, revoked=ANY)
        if state_of(settled, at.now) is State.REVOKED:
            raise WaiverError(f"`{waiver}` was revoked by {settled.waiver.revoked_by} already")
        print_terms(settled)
        _confirm("revoke it?", yes=yes)
        written = at.take(settled, Step.REVOKE, reason=reason)
    out().print(sign(Mark.OK), styled(f"revoked; commit `{written}`, and do not delete the others"))


def review(
    decisions: Annotated[
        list[str] | None, typer.Argument(metavar="[DECISION]...", help="Decisions made under break-glass.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that nobody reviewed yet.")] = False,
    reason: Annotated[str, typer.Option(help="What came of it.")] = "",
) -> None:
    """Sign that break-glass uses were looked at; until then `mlgov waiver list` shows them.

    Nobody reviews what they did themselves. Without arguments it lists what there is to review.
    """
    from governance.cli.waiver_people import WaiverError, desk

    with desk() as at:
        uses = {str(use.entry.body["waiver"]): use for use in _waiting(at)}
        if not decisions and not everything:
            print_glass(list(uses.values()))
            return
        unknown = [each for each in decisions or () if each not in uses]
        if unknown:
            raise WaiverError(f"no break-glass use of decision `{unknown[0]}` waits for a review")
        if not reason.strip():
            raise ConfigurationError("a review says what came of it", hint="`--reason TEXT`")
        for decision in uses if everything else decisions or ():
            _review(at, uses[decision], reason)
            out().print(sign(Mark.OK), styled(f"reviewed `{decision}`"))


def _review(at: Desk, use: Stored, reason: str) -> None:
    from governance.audit.bodies import waiver_body
    from governance.audit.entry import EntryKind
    from governance.audit.pseudonyms import may_be_same
    from governance.cli.waiver_people import WaiverError
    from governance.model.people import is_same_person
    from governance.model.request import new_id, utc_text
    from governance.waivers.memory import EVENTS, review_terms
    from governance.waivers.steps import Step, StepFile, open_step, sign_step

    signer, by = at.signer()
    body = use.entry.body
    decision = str(body["waiver"])
    names, used_by = at.assembly.log.pseudonyms, str(body.get("by"))
    recorded_by = by if names is None else names.of(by)
    if is_same_person(recorded_by, used_by) or is_same_person(by, used_by):
        raise WaiverError(f"{by} used break-glass for `{decision}`, so somebody else must review it")
    if may_be_same(recorded_by, used_by):
        raise WaiverError(
            f"whether {by} used break-glass for `{decision}` cannot be told: one of the two names is a pseudonym",
            hint="Review it with the `audit_pseudonym_key` under which it was recorded.",
        )
    terms = review_terms(use)
    data = sign_step(terms, Step.REVIEW, signer=signer, by=by, at=at.now, reason=reason)
    file = StepFile(name="the review", waiver=decision, step=Step.REVIEW, data=data)
    step = open_step(
        file, terms, at.assembly.trust, repository=use.entry.subject.partition("/")[0], now=at.now
    )
    at.assembly.log.append(
        EntryKind.WAIVER,
        waiver_body(
            event=EVENTS[Step.REVIEW],
            waiver=decision,
            envelope=file.sha256,
            more={"by": by, "key_id": step.key_id, "signed_at": utc_text(step.at), "reason": reason},
        ),
        subject=use.entry.subject,
        correlation=new_id(at.now),
        evidence=(data,),
    )


def _confirm(question: str, *, yes: bool) -> None:
    """Ask a person. Raises `ConfigurationError` where there is nobody to ask: a signature that nobody meant to give, such as in
    a shell's loop over a list, is worse than none."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nothing was signed: there is no terminal on which to ask you",
            hint="Read the terms above; `--yes` signs them without asking.",
        )
    if not typer.confirm(question, err=True):
        err().print("nothing was signed")
        raise typer.Exit(1)


def _waiting(at: Desk) -> tuple[Stored, ...]:
    """The break-glass uses that wait for a review."""
    from governance.audit.entry import EntryKind
    from governance.cli.waiver_people import WaiverError
    from governance.waivers.memory import unreviewed

    if at.assembly.settings.audit_url is not None:
        raise WaiverError(
            "break-glass uses are reviewed where the audit log lies, at the tracking server",
            hint="Run this there, with the settings that name its log.",
        )
    log = at.log()
    if log is None:
        return ()
    return unreviewed(log, list(log.find(kind=EntryKind.WAIVER)), at.assembly.trust, at.now)
