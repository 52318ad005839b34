"""`mlgov waiver`: asking for an exception to a recorded refusal.

A request is a file for people to review and approve, where the policies live. Nothing is waived by writing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled
from governance.errors import ConfigurationError

if TYPE_CHECKING:
    from governance.audit.log import Stored
    from governance.model.canonical import Json

app = typer.Typer(no_args_is_help=True, help="Ask for a dated exception to a rule.")

_TO_FILL_IN = "TODO: why this is acceptable, and what was done to be sure"


class NotWaivableError(ConfigurationError):
    """There is nothing to ask for: the decision is unknown, was no refusal, or a rule cannot be waived."""


@app.callback()
def _root() -> None:
    """Keeps `request` a verb of its own while it is the only one."""


@app.command("request")
def request(
    decision: Annotated[str, typer.Option(help="The decision's id, as the refusal names it.")],
    reason: Annotated[str, typer.Option(help="Why the exception is acceptable.")] = _TO_FILL_IN,
    ticket: Annotated[str | None, typer.Option(help="Where it is being discussed.")] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="For how long it is asked.")] = 30,
    output: Annotated[
        Path | None, typer.Option(help="File to write; `-` is standard output. Default: WAIVER-NAME.yaml")
    ] = None,
) -> None:
    """Write a waiver from a recorded decision, for others to approve.

    One document for each rule that objected, tied to the artifact's digest and the environment. Exits with 2 where a
    rule cannot be waived.
    """
    from governance.cli.audit import open_log
    from governance.wiring import utc_now
    from plugin.context import local_user

    with open_log() as log:
        stored = log.get(decision)
    ref, body = _decision(decision, stored)
    documents = draft(
        decision=decision, ref=ref, body=body, reason=reason, ticket=ticket, requester=local_user().name,
        starts=utc_now(), days=days,
    )  # fmt: skip
    text = _yaml(documents)
    if str(output) == "-":
        out().print(styled(text), soft_wrap=True, end="")
        return
    path = output or Path(f"{_name(decision, 0, len(documents))}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"`{path}` cannot be written: {error.strerror}") from error
    out().print(sign(Mark.OK), styled(f"wrote `{path}`: {len(documents)} rule(s) for {days} days"))
    err().print(
        "  fill in the reason, and hand it to those who approve: it takes effect beside the policies, approved"
    )


def draft(
    *,
    decision: str,
    ref: str,
    body: Mapping[str, Json],
    reason: str,
    ticket: str | None,
    requester: str,
    starts: datetime,
    days: int,
) -> list[dict[str, Json]]:
    """The waiver documents for a decision's body. Raises `NotWaivableError`, naming what stands against it."""
    verdict, artifact = _object(body["verdict"]), _object(body["artifact"])
    objections = [
        finding for finding in _list(verdict["findings"]) if finding["effect"] in {"block", "quarantine"}
    ]
    if verdict["decision"] not in {"block", "quarantine"} or not objections:
        raise NotWaivableError(
            f"decision `{decision}` was `{verdict['decision']}` with no rule that objected",
            hint="A policy's default cannot be waived; the policy has to allow it.",
        )
    fixed = [str(finding["rule"]) for finding in objections if finding["waivable"] is not True]
    if fixed:
        raise NotWaivableError(
            f"{', '.join(f'`{rule}`' for rule in fixed)} cannot be waived",
            hint=next((str(each["remediation"]) for each in objections if each["remediation"]), None),
        )
    if artifact["digest"] is None:
        raise NotWaivableError("the digest of the artifact was not known, and a waiver is tied to one")
    # Whole seconds: the form that people read and write in such files.
    starts = starts.replace(microsecond=0)
    common: dict[str, Json] = {
        "artifact": {"ref": ref, "digest": artifact["digest"]},
        "scope": {"environments": [body["environment"]]},
        "reason": reason,
        **({} if ticket is None else {"ticket": ticket}),
        "requestedBy": requester,
        "approvedBy": [],
        "starts": _time(starts),
        "expires": _time(starts + timedelta(days=days)),
    }
    return [
        {
            "apiVersion": "mlgov/v1",
            "kind": "Waiver",
            "metadata": {"name": _name(decision, index, len(objections))},
            "spec": {"rule": finding["rule"], **common},
        }
        for index, finding in enumerate(objections)
    ]


def _decision(named: str, stored: Stored | None) -> tuple[str, Mapping[str, Json]]:
    from governance.audit.entry import EntryKind

    if stored is None or stored.entry.kind is not EntryKind.DECISION:
        raise NotWaivableError(
            f"this audit log holds no decision `{named}`",
            hint="The log of the side that decided has it: run this where the tracking server runs, or set "
            "`MLGOV_AUDIT_PATH`.",
        )
    return stored.entry.subject, stored.entry.body


def _name(decision: str, index: int, count: int) -> str:
    tail = decision.replace("-", "")[-10:]
    return f"WVR-{tail}" if count == 1 else f"WVR-{tail}-{index + 1}"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _yaml(documents: Sequence[Mapping[str, Json]]) -> str:
    import yaml

    # Default style quotes what a reader of YAML could take for another type, such as a time.
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, explicit_start=True, width=110)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json) -> list[Mapping[str, Json]]:
    rows = value if isinstance(value, list | tuple) else []
    return [_object(row) for row in rows]
