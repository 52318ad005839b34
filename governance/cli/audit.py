"""`mlgov audit`: the log read. Its other verbs have files of their own (`audit_check`, `audit_proof`, `audit_retention`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import out, print_rows, styled
from governance.errors import AuditUnavailableError, SettingsError

if TYPE_CHECKING:
    from governance.audit.entry import Entry, EntryKind
    from governance.audit.log import AuditLog
    from governance.model.canonical import Json
    from governance.wiring import Assembly

app = typer.Typer(no_args_is_help=True, help="Verify, read and export the audit log.")


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
            found = deque(log.find(kind=entry_kind(kind)), maxlen=count)
            rows = [(stored.index, stored.data) for stored in found]
    if as_json:
        for _, data in rows:
            out().print(styled(data.decode("utf-8")), soft_wrap=True)
        return
    entries = ((index, parse_entry(data)) for index, data in rows)
    print_rows(("#", "at", "entry", "about", "what"), (_cells(index, entry) for index, entry in entries))


@contextmanager
def open_log() -> Iterator[AuditLog]:
    """The configured log, which must exist: reading is no reason to make one."""
    with open_assembly() as assembly:
        yield assembly.log


@contextmanager
def open_assembly() -> Iterator[Assembly]:
    """The parts of this process, whose log must exist and lie here."""
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    if settings.audit_url is not None:
        raise AuditUnavailableError(
            f"the audit log is kept by the server at `{settings.audit_url}`, and read there",
            hint="Run this where that server runs.",
        )
    with closing(build_assembly(settings)) as assembly:
        if not assembly.has_log:
            raise AuditUnavailableError(
                f"there is no audit log at `{settings.audit_file}`",
                hint="`audit_path` in the settings file or `MLGOV_HOME` says where it is; the first decision makes one.",
            )
        yield assembly


def entry_kind(text: str) -> EntryKind:
    """The kind of that name. Raises `SettingsError`."""
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
