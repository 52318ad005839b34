"""`mlgov audit hold|erase`: what is kept, and what is not kept longer than it must be."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from governance.cli.output import Mark, err, out, sign, styled
from governance.errors import SettingsError

_MAX_REASON = 4_000


def hold(
    subject: Annotated[
        str, typer.Argument(help="What entries are about, such as models-local/1/m-.../artifacts.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it stands in the log.")],
    lift: Annotated[bool, typer.Option("--lift", help="Lift the hold.")] = False,
) -> None:
    """Put everything about a subject under legal hold: none of its evidence is erased until the hold is lifted."""
    from governance.audit.entry import EntryKind
    from governance.audit.retention import held_subjects, set_hold
    from governance.cli.audit import open_assembly
    from governance.cli.compliance import made_by

    _require_reason(reason)
    with open_assembly() as assembly:
        assembly.recall_head()
        log = assembly.log
        is_held = subject in held_subjects(log)
        if lift and not is_held:
            raise SettingsError(
                f"`{subject[:200]}` is not under legal hold", hint="The subject's spelling counts."
            )
        is_known = any(stored.entry.kind is not EntryKind.HOLD for stored in log.find(subject=subject))
        try:
            set_hold(log, subject, held=not lift, reason=reason, by=made_by())
        except ValueError as error:
            raise SettingsError(
                f"this cannot be recorded: {error}", hint="`mlgov audit search` shows what entries are about."
            ) from error
    if not (lift or is_known):  # a hold may come before its subject; a slip of the pen would hold nothing
        err().print(
            sign(Mark.WARN),
            styled(
                f"no entry is about `{subject}` so far: look at its spelling, `mlgov audit search` shows what they are about"
            ),
        )
    out().print(sign(Mark.OK), styled(f"`{subject}` is {'no longer ' if lift else ''}under legal hold"))


def erase(
    kind: Annotated[
        str, typer.Argument(help="Kind of entry whose evidence is over its term, such as decision.")
    ],
    older_than: Annotated[
        str, typer.Option(help="The term, such as 730d, after the last entry that names it.")
    ],
    reason: Annotated[
        str | None, typer.Option(help="Why; it stands in the log. Mandatory but for `--dry-run`.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many documents it would be.")
    ] = False,
) -> None:
    """Erase evidence that is over its term. Its digests, all entries and all proofs stand; held subjects keep theirs."""
    from governance.audit.retention import erase_expired, expired_evidence
    from governance.cli.audit import entry_kind, open_assembly
    from governance.cli.compliance import made_by
    from governance.policy.literals import parse_duration

    try:
        term = timedelta(seconds=parse_duration(older_than))
    except ValueError as error:
        raise SettingsError(
            f"`{older_than[:40]}` is not a duration", hint="Write it as 730d or 12h."
        ) from error
    why = "" if dry_run else _require_reason(reason)
    with open_assembly() as assembly:
        assembly.recall_head()  # another log's holds and terms are not these
        terms = {entry_kind(kind): term}
        if dry_run:
            over = expired_evidence(assembly.log, terms, now=assembly.now())
        else:
            over = erase_expired(assembly.log, terms, now=assembly.now(), reason=why, by=made_by())
        is_database = assembly.settings.audit_dsn is not None
    if over and is_database and not dry_run:
        err().print(
            sign(Mark.WARN),
            "nobody reads them through the database any more; its files keep the bytes until `VACUUM FULL mlgov_audit.evidence`, its "
            "WAL, standbys and backups for as long as these are kept",
        )
    out().print(sign(Mark.OK), f"{len(over)} document(s) {'would be' if dry_run else 'were'} erased")


def _require_reason(reason: str | None) -> str:
    if reason is None or not reason.strip():
        raise SettingsError("no reason is given", hint="`--reason TEXT`; it stands in the log.")
    if len(reason) > _MAX_REASON:
        raise SettingsError(
            f"the reason has {len(reason):,} characters; at most {_MAX_REASON:,} are recorded",
            hint="Say it briefly, and name the document that says the rest.",
        )
    return reason
