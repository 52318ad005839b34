"""`mlgov waiver`: exceptions to recorded refusals, asked for, approved and revoked by people who sign.

A request is a file for people to review and approve, where the policies live. Nothing is waived by writing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli import waiver_register, waiver_steps
from governance.cli.output import Mark, err, out, sign, styled
from governance.errors import ConfigurationError

if TYPE_CHECKING:
    from governance.cli.waiver_people import Desk
    from governance.policy.documents import Waiver
    from governance.waivers.drafting import Refused

app = typer.Typer(no_args_is_help=True, help="Ask for, approve, revoke and list dated exceptions to rules.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for, as it was given."""

    reason: str | None
    ticket: str | None
    days: int
    author: str | None


@app.command("request")
def request(
    *,
    decision: Annotated[str | None, typer.Option(help="The decision's id, as the refusal names it.")] = None,
    waiver: Annotated[
        str | None, typer.Option(help="Instead: a request among the policy files that is not signed yet.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why the exception is acceptable. Mandatory.")] = None,
    ticket: Annotated[str | None, typer.Option(help="Where it is being discussed. Mandatory.")] = None,
    days: Annotated[
        int, typer.Option(min=1, help="For how long it is asked; the policy set has a limit.")
    ] = 30,
    author: Annotated[
        str | None, typer.Option(help="Who made the artifact, where Artifactory did not say.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; `-` prints the documents unsigned. Default: beside the policies."
        ),
    ] = None,
) -> None:
    """Write a signed request for a waiver of a recorded decision, for others to approve.

    One document for each rule that objected, tied to the artifact's digest, the environment and what was found. Exits
    with 2 where a rule cannot be waived.
    """
    from governance.cli.waiver_people import desk

    if waiver is not None:
        with desk() as at:
            written = _sign(at, waiver)
        out().print(sign(Mark.OK), styled(f"wrote `{written}`"))
        return
    if decision is None:
        raise ConfigurationError(
            "no decision is named for which the waiver is asked",
            hint="`--decision ID`; the refusal names it.",
        )
    _request(decision, Wanted(reason=reason, ticket=ticket, days=days, author=author), output)


def _request(decision: str, wanted: Wanted, output: Path | None) -> None:
    from governance.cli.audit import entry_id, open_log
    from governance.cli.waiver_people import desk
    from governance.waivers.drafting import read_refused
    from governance.waivers.writing import waiver_folder, waiver_yaml
    from plugin.context import local_user

    with open_log() as log:
        refused = read_refused(log, entry_id(log, decision))
    refused.objections()  # what can never be waived is said before anybody is asked for a reason
    with desk() as at:
        if str(output) == "-":
            drafted = drafts(at, refused, wanted, by=local_user().name)
            out().print(styled("".join(map(waiver_yaml, drafted))), soft_wrap=True, end="")
            return
        _, by = at.signer()
        drafted = drafts(at, refused, wanted, by=by)
        for path in ask(at, drafted, output or waiver_folder(at.paths, Path.cwd())):
            out().print(sign(Mark.OK), styled(f"wrote `{path}`: {wanted.days} days, signed by {by}"))
    err().print(
        f"  commit it with its `.sig.json`; it takes effect with {refused.rules.approvals} approval(s): "
        "`mlgov waiver approve`"
    )


def _sign(at: Desk, name: str) -> Path:
    """Sign a request that was drafted where the decision is on record, and brought here."""
    from governance.cli.waiver_people import WaiverError
    from governance.waivers.steps import Step

    settled = at.find(name)
    if settled.request is not None:
        raise WaiverError(f"`{name}` is signed by {settled.request.by} already")
    return at.take(settled, Step.REQUEST, reason=None)


def drafts(
    at: Desk, refused: Refused, wanted: Wanted, *, by: str, only: Sequence[str] | None = None
) -> list[Waiver]:
    """The waivers to ask for. Raises `ConfigurationError` where something mandatory is missing."""
    from governance.model.people import is_same_person
    from governance.waivers.drafting import NotWaivableError, draft

    for name, value, hint in (
        ("reason", wanted.reason, "Say why it is acceptable and what was done to be sure: `--reason TEXT`."),
        ("ticket", wanted.ticket, "Say where it is discussed: `--ticket SEC-4711`."),
    ):
        if not (value or "").strip():
            raise ConfigurationError(f"a waiver needs a {name}", hint=hint)
    known, author = refused.author, wanted.author
    if known is not None and author is not None and not is_same_person(known, author):
        raise NotWaivableError(f"the record says that `{known}` made the artifact, not `{author}`")
    if known is None and author is None:
        raise NotWaivableError(
            "it is not on record who made the artifact, who may not approve the waiver",
            hint="`--author NAME`, as the trust file calls them.",
        )
    return draft(
        refused,
        reason=str(wanted.reason),
        ticket=str(wanted.ticket),
        requester=by,
        author=str(known or author),
        starts=at.now,
        days=wanted.days,
        only=only,
    )


def ask(at: Desk, waivers: Sequence[Waiver], folder: Path) -> list[Path]:
    """Sign the requests, write them with their documents into `folder`, and record them."""
    from governance.waivers.memory import record_step
    from governance.waivers.settling import Settled
    from governance.waivers.steps import Step, StepFile, open_step, sign_step, step_name, terms_of
    from governance.waivers.writing import check_document, waiver_yaml, write_new, write_step

    signer, by = at.signer()
    for waiver in waivers:
        check_document(waiver)
        if (folder / f"{waiver.name}.yaml").exists():
            raise ConfigurationError(f"`{folder / waiver.name}.yaml` exists; this was asked for already")
    written = []
    for waiver in waivers:
        terms = terms_of(waiver)
        data = sign_step(terms, Step.REQUEST, signer=signer, by=by, at=at.now)
        name = step_name(waiver.name, Step.REQUEST, signer.key_id)
        file = StepFile(name=name, waiver=waiver.name, step=Step.REQUEST, data=data)
        # As a reader will: a key that may not vouch for waivers here is found out now.
        step = open_step(file, terms, at.assembly.trust, repository=waiver.ref.partition("/")[0], now=at.now)
        path = folder / f"{waiver.name}.yaml"
        with ExitStack() as undoing:  # or it would have been asked for already
            # The file first: of two who ask at once only one is on record.
            write_new(path, waiver_yaml(waiver).encode())
            undoing.callback(path.unlink, missing_ok=True)
            undoing.callback(write_step(folder, file).unlink, missing_ok=True)
            record_step(at.assembly.log, Settled(waiver=waiver, steps=(step,)), step, now=at.now)
            undoing.pop_all()
        written.append(path)
    return written


app.command("approve")(waiver_steps.approve)
app.command("revoke")(waiver_steps.revoke)
app.command("review")(waiver_steps.review)
app.command("list")(waiver_register.list_waivers)
app.command("expiring")(waiver_register.expiring)
app.command("show")(waiver_register.show)
