"""`mlgov audit`: the log verified, read and handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_json, print_pairs, print_rows, sign, styled
from governance.errors import AuditUnavailableError, SettingsError

if TYPE_CHECKING:
    from governance.audit.entry import Entry, EntryKind
    from governance.audit.log import AuditLog
    from governance.model.canonical import Json

app = typer.Typer(no_args_is_help=True, help="Verify, read and export the audit log.")

_MOST_SHOWN = 20


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
    for problem in result.problems[:_MOST_SHOWN]:
        err().print(sign(Mark.FAIL), styled(str(problem)))
    result.require_good()
    if result.notes and not as_json:
        more = f" (and {len(result.notes) - 1} more; `--json` lists them)" if len(result.notes) > 1 else ""
        err().print(sign(Mark.WARN), styled(f"no break, but odd: {result.notes[0]}{more}"))
    if not as_json:
        out().print(sign(Mark.OK), f"the audit log proves itself: {result.size} entries")
        print_pairs({"  tree root": result.root.hex()})


@app.command("tail")
def tail(
    count: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many entries.")] = 20,
    kind: Annotated[
        str | None, typer.Option(help="Only entries of this kind, such as `decision` or `outcome`.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the entries as they are stored, one a line.")
    ] = False,
) -> None:
    """Show the last entries."""
    from governance.audit.entry import parse_entry

    with open_log() as log:
        if kind is None:
            size = log.store.frontier().size
            rows = [(row.seq, row.data) for row in log.store.rows(max(0, size - count), size)]
        else:
            found = deque(log.find(kind=_kind(kind)), maxlen=count)
            rows = [(stored.index, stored.data) for stored in found]
    if as_json:
        for _, data in rows:
            out().print(styled(data.decode("utf-8")), soft_wrap=True)
        return
    entries = ((index, parse_entry(data)) for index, data in rows)
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


def _kind(text: str) -> EntryKind:
    from governance.audit.entry import EntryKind

    try:
        return EntryKind(text)
    except ValueError as error:
        raise SettingsError(
            f"`{text}` is not a kind of entry", hint=f"There are: {', '.join(EntryKind)}."
        ) from error


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
    words = [
        body[name]
        for name in ("event", "names", "name", "waiver", "size", "origin", "reason")
        if body.get(name)
    ]
    return " ".join(", ".join(map(str, word)) if isinstance(word, list) else str(word) for word in words)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
