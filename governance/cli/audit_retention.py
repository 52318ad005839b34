"""`mlgov audit hold|erase`: what is kept, and what is not kept longer than it must be."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from governance.cli.output import Mark, out, sign, styled
from governance.errors import SettingsError


def hold(
    subject: Annotated[
        str, typer.Argument(help="What entries are about, such as models-local/1/m-.../artifacts.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")],
    lift: Annotated[bool, typer.Option("--lift", help="Lift the hold.")] = False,
) -> None:
    """Put everything about a subject under legal hold: none of its evidence is erased until the hold is lifted."""
    from governance.audit.retention import held_subjects, set_hold
    from governance.cli.audit import open_log

    with open_log() as log:
        is_held = subject in held_subjects(log)
        if lift and not is_held:
            raise SettingsError(
                f"`{subject[:200]}` is not under legal hold", hint="The subject's spelling counts."
            )
        set_hold(log, subject, held=not lift, reason=reason)
    out().print(sign(Mark.OK), styled(f"`{subject}` is {'no longer ' if lift else ''}under legal hold"))


def erase(
    kind: Annotated[
        str, typer.Argument(help="Kind of entry whose evidence is over its term, such as decision.")
    ],
    older_than: Annotated[
        str, typer.Option(help="The term, such as 730d, after the last entry that names it.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many documents it would be.")
    ] = False,
) -> None:
    """Erase evidence that is over its term. Its digests, all entries and all proofs stand; held subjects keep theirs."""
    from governance.audit.retention import erase_expired, expired_evidence
    from governance.cli.audit import entry_kind, open_assembly
    from governance.policy.literals import parse_duration

    try:
        term = timedelta(seconds=parse_duration(older_than))
    except ValueError as error:
        raise SettingsError(f"`{older_than[:40]}` is no duration", hint="Write it as 730d or 12h.") from error
    with open_assembly() as assembly:
        terms = {entry_kind(kind): term}
        if dry_run:
            over = expired_evidence(assembly.log, terms, now=assembly.now())
        else:
            over = erase_expired(assembly.log, terms, now=assembly.now(), reason=reason)
    out().print(sign(Mark.OK), f"{len(over)} document(s) {'would be' if dry_run else 'were'} erased")
