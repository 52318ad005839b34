"""`mlgov audit`: the log verified, read and handed out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, plain, print_json, print_pairs, print_rows, sign, styled
from governance.errors import AuditUnavailableError

if TYPE_CHECKING:
    from governance.audit.entry import Entry
    from governance.audit.log import AuditLog
    from governance.model.canonical import Json

app = typer.Typer(no_args_is_help=True, help="Verify, read and export the audit log.")

_MOST_NOTES = 20


@app.command("verify")
def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Recompute every entry's hash and the tree over them. Exits with 4 where the log does not prove itself."""
    with open_log() as log, err().status("walking over the log"):
        result = log.verify()
    if as_json:
        print_json({
            "good": result.is_good,
            "size": result.size,
            "root": result.root.hex(),
            "problems": [{"index": each.index, "what": each.what} for each in result.problems],
            "notes": [{"index": each.index, "what": each.what} for each in result.notes],
        })  # fmt: skip
    for note in result.notes[:_MOST_NOTES]:
        err().print(sign(Mark.WARN), styled(str(note)))
    for problem in result.problems[:_MOST_NOTES]:
        err().print(sign(Mark.FAIL), styled(str(problem)))
    result.require_good()
    if not as_json:
        out().print(sign(Mark.OK), f"the audit log proves itself: {result.size} entries")
        print_pairs({"  tree root": result.root.hex()})


@app.command("tail")
def tail(
    count: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many entries.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the entries as they are stored, one a line.")
    ] = False,
) -> None:
    """Show the last entries."""
    from governance.audit.entry import parse_entry

    with open_log() as log:
        size = log.store.frontier().size
        rows = list(log.store.rows(max(0, size - count), size))
    if as_json:
        for row in rows:
            out().print(styled(row.data.decode("utf-8")), soft_wrap=True)
        return
    entries = [(row.seq, parse_entry(row.data)) for row in rows]
    print_rows(("#", "at", "entry", "about", "what"), (_cells(index, entry) for index, entry in entries))


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Write the whole log to a folder, with what is needed to verify it elsewhere."""
    with open_log() as log, err().status("exporting"):
        exported = log.export(folder)
    out().print(sign(Mark.OK), styled(f"exported {exported.checkpoint.size} entries to `{folder}`"))
    print_pairs({
        "  tree root": f"{exported.checkpoint.root.hex()} (keep it elsewhere)",
        "  check it with": exported.command,
    })  # fmt: skip


@contextmanager
def open_log() -> Iterator[AuditLog]:
    """The configured log, which must exist: reading is no reason to make one."""
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    if not settings.audit_file.exists():
        raise AuditUnavailableError(
            f"there is no audit log at `{settings.audit_file}`",
            hint="`MLGOV_AUDIT_PATH` or `MLGOV_HOME` says where it is; the first decision makes one.",
        )
    with closing(build_assembly(settings)) as assembly:
        yield assembly.log


def _cells(index: int | None, entry: Entry) -> tuple[str, ...]:
    at = entry.at.strftime("%Y-%m-%d %H:%M:%S")
    return ("" if index is None else str(index), at, entry.kind.value, entry.subject, summary(entry))


def summary(entry: Entry) -> str:
    """One line that says what an entry records."""
    from governance.audit.entry import EntryKind

    body = entry.body
    if entry.kind is EntryKind.DECISION:
        verdict = _object(body["verdict"])
        word = f"{body['action']}: {verdict['decision']}"
        if verdict["would_block"]:
            word += " (would have been blocked)"
        elif verdict["refused"]:
            word += " (refused)"
        return f"{word} by {_object(body['actor'])['name']}"
    if entry.kind is EntryKind.OUTCOME:
        moved = _object(body["moved"])
        failed = f", {body['error']}" if body.get("error") else ""
        return f"{body['action']} {body['status']}, {moved['count']} file(s){failed}"
    words = [str(body[name]) for name in ("event", "waiver", "size", "origin", "reason") if body.get(name)]
    return plain(" ".join(words))


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
