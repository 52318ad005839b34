"""`mlgov audit`: the log read. Its other verbs have files of their own (`audit_check`, `audit_proof`, `audit_retention`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from governance.cli.output import Mark, err, sign, styled
from governance.errors import AuditBrokenError, AuditUnavailableError, NewerLogError, SettingsError

if TYPE_CHECKING:
    from governance.audit.entry import Entry, EntryKind
    from governance.audit.log import AuditLog
    from governance.audit_wiring import AuditAssembly
    from governance.model.canonical import Json
    from governance.settings import Settings
    from governance.wiring import Assembly

app = typer.Typer(no_args_is_help=True, help="Verify, read and export the audit log.")

_SETTLE_SECONDS = 5.0
_NUMBER = re.compile(r"[0-9]{1,15}")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@contextmanager
def open_log() -> Iterator[AuditLog]:
    """The configured log to be read, which must exist: reading is no reason to make one.

    What is read from a log that was rolled back or rewritten since this machine saw it last is shown, since somebody has to look
    into it, and is an `AuditBrokenError` in the end.
    """
    with read_assembly() as assembly:
        yield assembly.log


@contextmanager
def read_assembly() -> Iterator[AuditAssembly]:
    """`open_assembly` for those who read; see `open_log`."""
    with open_assembly(only_reads=True) as assembly:
        broken = None
        try:
            assembly.compare_head()
        except NewerLogError:  # nothing of it follows, since nothing of it can be read
            raise
        except AuditBrokenError as error:
            broken = error
            first = error.message.partition("\n")[0]
            err().print(sign(Mark.FAIL), styled(f"what follows cannot be trusted: {first}"))
        yield assembly
        if broken is not None:
            raise broken


@contextmanager
def open_assembly(*, only_reads: bool = False) -> Iterator[AuditAssembly]:
    """The log and its parts. It must exist and lie here, where this user may write unless the verb `only_reads`."""
    from governance.audit_wiring import AuditAssembly

    with closing(AuditAssembly(_settings_of_keeper(), only_reads=only_reads)) as assembly:
        _require_log(assembly)
        _settle(assembly)
        yield assembly


@contextmanager
def open_all() -> Iterator[Assembly]:
    """`open_assembly`, for a verb that needs the policy too."""
    from governance.wiring import build_assembly

    with closing(build_assembly(_settings_of_keeper())) as assembly:
        _require_log(assembly)
        _settle(assembly)
        yield assembly


def unplaced(assembly: AuditAssembly) -> AuditUnavailableError | None:
    """Has the entries of processes that were killed given their places. What to say where that cannot be: nothing else tells of them."""
    from governance.audit.store import PlacedLater

    if not assembly.settings.has_log_file and isinstance(assembly.log.store, PlacedLater):
        try:
            assembly.log.store.settle(timeout=_SETTLE_SECONDS)
        except AuditUnavailableError as error:
            return error
    return None


def _settle(assembly: AuditAssembly) -> None:
    if (error := unplaced(assembly)) is not None:
        err().print(sign(Mark.WARN), styled(f"{error.message}. {error.hint}"))


def _settings_of_keeper() -> Settings:
    from governance.settings import load_settings

    settings = load_settings()
    if settings.audit_url is not None:
        raise AuditUnavailableError(
            f"the audit log is kept by the server at `{settings.audit_url}`, and read there",
            hint="Run this where that server runs.",
        )
    return settings


def _require_log(assembly: AuditAssembly) -> None:
    if not assembly.has_log:
        raise AuditUnavailableError(
            f"there is no audit log at `{assembly.settings.audit_file}`",
            hint="`audit_path` in the settings file or `MLGOV_HOME` says where it is; the first decision makes one. What a "
            "tracking server decided is in its log: run this where it runs.",
        )


def is_entry(text: str) -> bool:
    """Whether a text looks like what names an entry: a number, as tables show it, or an id."""
    return _NUMBER.fullmatch(text) is not None or _ID.fullmatch(text.lower()) is not None


def entry_id(log: AuditLog, text: str) -> str:
    """The id of the entry of that number; an id in lower case; anything else as it is. Raises `SettingsError`."""
    if not _NUMBER.fullmatch(text):
        return text.lower() if _ID.fullmatch(text.lower()) else text
    for row in log.store.rows(int(text), int(text) + 1):
        return row.id
    raise SettingsError(f"there is no entry {text}", hint="`mlgov audit tail` shows numbers.")


def decision_entry(log: AuditLog, text: str) -> Entry:
    """The decision of that number or id. Raises `SettingsError` where there is none, and for an entry that is something else."""
    from governance.audit.entry import EntryKind

    stored = log.get(entry_id(log, text))
    hint = "`mlgov audit tail --kind decision` lists the last decisions."
    if stored is None:
        raise SettingsError(f"there is no entry `{text[:200]}` in the audit log", hint=hint)
    if stored.entry.kind is not EntryKind.DECISION:
        raise SettingsError(
            f"entry `{text[:200]}` records `{stored.entry.kind.value}`, not a decision", hint=hint
        )
    return stored.entry


def entry_kind(text: str) -> EntryKind:
    """The kind of that name. Raises `SettingsError`."""
    from governance.audit.entry import EntryKind

    try:
        return EntryKind(text)
    except ValueError as error:
        raise SettingsError(
            f"`{text}` is not a kind of entry", hint=f"There are: {', '.join(EntryKind)}."
        ) from error


def summary(entry: Entry) -> str:
    """One line that says what an entry records, whatever its body holds."""
    from governance.audit.entry import EntryKind

    body: Mapping[str, Json] = _object(entry.body)
    if entry.kind is EntryKind.DECISION:
        verdict = _object(body.get("verdict"))
        word = f"{body.get('action')}: {verdict.get('decision')}"
        if verdict.get("would_block"):
            word += " (would have been blocked)"
        elif verdict.get("refused"):
            word += " (refused)"
        return f"{word} by {_object(body.get('actor')).get('name')}"
    if entry.kind is EntryKind.OUTCOME:
        moved = _object(body.get("moved"))
        failed = f", {body['error']}" if body.get("error") else ""
        return f"{body.get('action')} {body.get('status')}, {moved.get('count')} file(s){failed}"
    if entry.kind is EntryKind.REGISTRATION:
        from governance.report.fields import Fields
        from governance.report.registered import registration_words

        return registration_words(Fields(body))
    words = [
        body[name]
        for name in ("event", "names", "name", "waiver", "size", "origin", "reason")
        if body.get(name)
    ]
    return " ".join(", ".join(map(str, word)) if isinstance(word, list) else str(word) for word in words)


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
