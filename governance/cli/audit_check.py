"""`mlgov audit verify|export`: the log checked, and handed out so that others can check it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.audit import open_assembly
from governance.cli.kept_heads import head_files, kept_heads, read_head, roots_of
from governance.cli.output import Mark, err, out, print_json, print_pairs, sign, styled
from governance.errors import AuditBrokenError, AuditUnavailableError, NewerLogError, SettingsError

if TYPE_CHECKING:
    from governance.audit.log import AuditLog
    from governance.audit.verification import Verification
    from governance.audit_wiring import AuditAssembly

_MOST_SHOWN = 20
_RANGE = re.compile(r"([0-9]{1,15}):([0-9]{1,15})")


def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="An exported folder to check, in place of the log of the settings.")
    ] = None,
    *,
    entries: Annotated[
        str | None, typer.Option(help="Only entries START:STOP, without STOP; the rest is not read.")
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            help="A checkpoint kept elsewhere, that the log must continue. Several times, or a folder of them."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The log's public key as it was given to you, for a folder and for checkpoints."),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="Public key of a witness that must have cosigned a folder's checkpoint. Several times."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Recompute every entry's hash and the tree over them. Exits with 4 where the log does not prove itself, with 3 where nothing
    is wrong but this program too old to read all of it.

    The log is also compared with the head that this machine remembers, and with those in folders that `audit_anchors`
    names.
    """
    if folder is not None:
        if entries is not None:
            raise SettingsError(
                "a folder is checked as a whole, by the program in it", hint="Leave `--entries` out."
            )
        _verify_folder(folder, key, earlier or [], witness or [], as_json=as_json)
        return
    if witness:
        raise SettingsError(
            "`--witness` is for a folder", hint="The log's own heads are compared with `audit_anchors`."
        )
    span = None if entries is None else _span(entries)
    with open_assembly(only_reads=True) as assembly:
        with err().status("walking over the log"):
            if span is not None:
                result = _verify_span(assembly.log, *span)
            else:
                result = assembly.log.verify(roots_of(kept_heads(assembly, earlier or [], key)))
        if span is None and result.is_good:
            _remember(assembly)
        is_whole = span is None and result.is_good
        erased = sum(info.is_erased for info in assembly.log.store.evidence_list()) if is_whole else 0
    _show(result, span, erased, as_json=as_json)


def export(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
    tiles: Annotated[
        bool,
        typer.Option(
            "--tiles", help="Also as hash tiles and bundles (c2sp.org/tlog-tiles), for other programs."
        ),
    ] = False,
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Have the witnesses of `audit_anchors` sign the checkpoint.")
    ] = False,
) -> None:
    """Write the whole log to a folder, with what is needed to verify it elsewhere."""
    with open_assembly() as assembly, err().status("exporting"):
        assembly.recall_head()  # what was rolled back or rewritten is not handed out as the log
        cosign = assembly.cosigner() if cosigned else None
        exported = assembly.log.export(folder, with_tiles=tiles, cosign=cosign)
    out().print(sign(Mark.OK), styled(f"exported {exported.checkpoint.size} entries to `{folder}`"))
    print_pairs({
        "  tree root": f"{exported.checkpoint.root.hex()} (keep it elsewhere)",
        "  check it with": exported.command,
    })  # fmt: skip


def _remember(assembly: AuditAssembly) -> None:
    """Remember the head for the next time. Where that cannot be, the log is no worse for it."""
    try:
        assembly.recall_head()
    except AuditUnavailableError as error:
        err().print(sign(Mark.WARN), styled(error.message))


def _show(result: Verification, span: tuple[int, int] | None, erased: int, *, as_json: bool) -> None:
    if as_json:
        print_json({
            "good": result.is_good,
            "size": result.size,
            "root": result.root.hex(),
            "compared": result.compared,
            "problems": [{"index": each.index, "what": each.what} for each in result.problems],
            "notes": [{"index": each.index, "what": each.what} for each in result.notes],
        })  # fmt: skip
    for problem in result.problems[:_MOST_SHOWN]:
        err().print(sign(Mark.WARN if problem.is_newer else Mark.FAIL), styled(str(problem)))
    result.require_good()
    if as_json:
        return
    if result.notes:
        more = f" (and {len(result.notes) - 1} more; `--json` lists them)" if len(result.notes) > 1 else ""
        err().print(sign(Mark.WARN), styled(f"no break, but odd: {result.notes[0]}{more}"))
    if span is not None:
        out().print(sign(Mark.OK), f"entries {span[0]} to {span[1] - 1} are those of the log's tree")
    else:
        out().print(sign(Mark.OK), f"the audit log proves itself: {result.size} entries")
    compared = f"{result.compared}" if result.compared else "none: see `mlgov audit checkpoint`"
    print_pairs({
        "  tree root": result.root.hex(),
        "  earlier heads it was compared with": None if span is not None else compared,
        "  documents erased, as entries say": f"{erased}" if erased else None,
    })  # fmt: skip


def _verify_span(log: AuditLog, start: int, stop: int) -> Verification:
    try:
        return log.verify_range(start, stop)
    except ValueError as error:
        raise SettingsError(str(error), hint="`mlgov audit tail` shows the last numbers.") from error


def _span(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found is None or int(found[1]) >= int(found[2]):
        raise SettingsError(f"`{text[:40]}` names no entries", hint="Write START:STOP, such as 100:200.")
    return int(found[1]), int(found[2])


def _verify_folder(
    folder: Path, key: str | None, earlier: list[Path], witnesses: list[str], *, as_json: bool
) -> None:
    from governance.auditing import public_key, witness_key

    if key is not None:
        public_key(key)
    for text in witnesses:
        witness_key(text)
    if not (folder / "entries.jsonl").is_file():
        raise SettingsError(f"`{folder}` holds no exported log", hint="`mlgov audit export` makes one.")
    kept = [read_head(path).to_bytes() for path in head_files(earlier)]
    try:
        said = _check_folder(folder, key, kept, witnesses)
    except AuditBrokenError as error:
        if as_json:
            print_json({"good": False, "said": [], "compared": len(kept), "problems": [error.message]})
        raise
    if as_json:
        print_json({"good": True, "said": said, "compared": len(kept), "problems": []})
        return
    for mark, line in zip((Mark.OK, Mark.SKIP), said, strict=False):
        out().print(sign(mark), styled(line))
    if kept:
        print_pairs({"  earlier heads it was compared with": str(len(kept))})


def _check_folder(folder: Path, key: str | None, kept: list[bytes], witnesses: list[str]) -> list[str]:
    """By the very program that is exported, as an auditor runs it. Its own copy in the folder is not run: whoever made
    the folder made that too."""
    from governance.audit.verify_log import BadLogError, TooOldError, check

    said = ""
    heads: list[bytes | None] = [*kept] or [None]
    try:
        for head in heads:
            said = check(folder, key, head, witnesses)
    except TooOldError as error:
        raise NewerLogError(f"the exported log could not be checked to the end: {error}") from error
    except (BadLogError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise AuditBrokenError(f"the exported log does not prove itself: {error}") from error
    except OSError as error:
        raise SettingsError(
            f"`{error.filename or folder}` cannot be read: {error.strerror}",
            hint="An export is checked with all its files; ask for the whole folder.",
        ) from error
    return said.splitlines()
