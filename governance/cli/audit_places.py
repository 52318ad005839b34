"""What the verbs that look into the audit log share: the log with its index, times on the command line, entries as lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import typer

from governance.cli.audit import read_assembly, summary
from governance.cli.exits import exit_code
from governance.cli.output import Mark, err, harmless_json, sign, styled, writing
from governance.errors import AuditBrokenError, NewerLogError, SettingsError

if TYPE_CHECKING:
    from governance.audit.log import AuditLog, Stored
    from governance.audit.verification import Problem
    from governance.report.index.lookup import Index
    from governance.report.selection import Selection

_SPAN = re.compile(r"([0-9]{1,5})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MANY = 50_000
_MOST_NAMED = 20


@contextmanager
def searched_log(*, scan: bool) -> Iterator[tuple[AuditLog, Index | None]]:
    """The log, and its index caught up; without one where none is wanted or can be."""
    from governance.report.index.file import NoIndexError
    from governance.report.index.lookup import Index

    with read_assembly() as assembly:
        log, file = assembly.log, assembly.settings.audit_file
        if scan:
            yield log, None
            return
        path = file.with_name(file.name + ".index")
        index = None
        try:
            with err().status("looking at the index") as status:

                def progress(done: int, size: int) -> None:
                    if size - done > _MANY:
                        status.update(f"indexing: {done:,} of {size:,} entries")

                index = Index(log.store, path, progress=progress)
        except NoIndexError as error:
            note(f"no index can be kept at `{path}` ({error}): every entry is read instead")
        try:
            yield log, index
        finally:
            if index is not None:
                for each in index.notes:
                    note(each)
                index.close()


def with_pseudonyms(log: AuditLog, selection: Selection) -> Selection:
    """The selection, in which whoever is named is also meant under the pseudonym that this log's key gives them: some of what they
    did stands under the one, from before there was a key, and all else under the other."""
    names = log.pseudonyms
    if names is None or not selection.actors:
        return selection
    more = (names.of(name) for name in selection.actors if not name.startswith("p:"))
    return replace(selection, actors=(*selection.actors, *more))


def note(text: str) -> None:
    """Something the user should know, and that changes nothing about the answer."""
    err().print(sign(Mark.WARN), styled(text))


def require_period(since: datetime, until: datetime) -> None:
    """Raise `SettingsError` for a period that holds no moment: it would be answered by nothing at all, as if all were well."""
    if since >= until:
        raise SettingsError(
            "the period ends before it begins",
            hint="The second time is the first moment that is no longer in it.",
        )


def moment(text: str, now: datetime) -> datetime:
    """A time on the command line: RFC 3339 in full or in part, or a span back from now such as `90d`."""
    from governance.report.selection_text import SelectionError, parse_moment

    span = _SPAN.fullmatch(text)
    if span is not None:
        return now - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
    try:
        return parse_moment(text)
    except SelectionError as error:
        raise SelectionError(
            error.message, hint=f"{error.hint} How far back is `90d`, `12h` or `30m`."
        ) from None


def cells(stored: Stored) -> tuple[str, ...]:
    """An entry as a row."""
    entry = stored.entry
    number = "" if stored.index is None else str(stored.index)
    return (number, f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.kind.value, entry.subject, summary(entry))


def write_lines(lines: Iterable[str]) -> None:
    """Lines of JSON to standard output, quickly, and with nothing in them that a terminal would obey."""
    for line in lines:
        with writing():
            sys.stdout.write(harmless_json(line) + "\n")


def entry_line(stored: Stored) -> str:
    """An entry as a line of JSON: its number, leaf hash, and itself as it was hashed."""
    from governance.audit.merkle import leaf_hash

    number = "null" if stored.index is None else stored.index
    return f'{{"index":{number},"leaf":"{leaf_hash(stored.data).hex()}","entry":{stored.data.decode()}}}'


def end_broken(broken: Iterable[Problem]) -> None:
    """Name the entries that cannot be trusted, and exit with 4 where there are any; with 3 where this program is too old for all of
    them."""
    problems = list(broken)
    for problem in problems[:_MOST_NAMED]:
        err().print(sign(Mark.WARN if problem.is_newer else Mark.FAIL), styled(str(problem)))
    if problems and all(problem.is_newer for problem in problems):
        raise NewerLogError(
            f"this program is too old for {len(problems)} of the log's entries: nobody can tell whether they are meant"
        )
    if problems:
        more = f", the first {_MOST_NAMED} are named above" if len(problems) > _MOST_NAMED else ""
        err().print(
            styled(
                f"{len(problems)} entries cannot be trusted{more}: nobody can tell whether they are meant. "
                "`mlgov audit verify` looks at the whole log."
            )
        )
        raise typer.Exit(exit_code(AuditBrokenError("broken entries")))
