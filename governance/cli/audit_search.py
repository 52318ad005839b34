"""`mlgov audit search`: entries by what they say."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from governance.cli.audit_places import (
    cells,
    end_broken,
    entry_line,
    moment,
    require_period,
    searched_log,
    with_pseudonyms,
    write_lines,
)
from governance.cli.output import err, print_rows, styled

if TYPE_CHECKING:
    from governance.report.search import Search
    from governance.report.selection import Selection

Values = list[str] | None
_MOST = 1_000_000_000


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD:VALUE]...",
            help="What must hold, such as `decision:block environment:production`. `mlgov audit words` lists all words.",
            show_default=False,
        ),
    ] = None,
    *,
    digest: Annotated[
        Values, typer.Option(help="Artifact or file: `sha256:HEX`, `dirhash1:HEX` or `HEX`.")
    ] = None,
    model: Annotated[
        Values, typer.Option(help="Registered model or artifact, `NAME` or `NAME/VERSION`.")
    ] = None,
    subject: Annotated[
        Values, typer.Option(metavar="REPOSITORY/PATH", help="What the entry is about.")
    ] = None,
    actor: Annotated[Values, typer.Option(help="Who asked, or who did it.")] = None,
    rule: Annotated[
        Values, typer.Option(metavar="POLICY/RULE", help="Rule that objected, fired or was waived.")
    ] = None,
    policy: Annotated[Values, typer.Option(help="Policy by its digest, or by its name.")] = None,
    revision: Annotated[Values, typer.Option(help="Revision of the policy set.")] = None,
    decision: Annotated[Values, typer.Option(help="`allow`, `warn`, `quarantine` or `block`.")] = None,
    environment: Annotated[
        Values, typer.Option("--environment", "-e", help="Environment of the deciding side.")
    ] = None,
    action: Annotated[
        Values, typer.Option(help="`download`, `load`, `upload`, `delete` or `promote`.")
    ] = None,
    outcome: Annotated[Values, typer.Option(help="`done`, `failed`, `refused` or `incomplete`.")] = None,
    kind: Annotated[Values, typer.Option(help="Kind of entry, such as `decision`.")] = None,
    correlation: Annotated[Values, typer.Option(help="Sequence of entries.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on (UTC without a zone), or how far back: `90d`.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to, and without, this time.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, max=_MOST, help="At most so many entries; 0 is all.")
    ] = 50,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Begin with the oldest entry.")
    ] = False,
    scan: Annotated[bool, typer.Option("--scan", help="Read every entry, and use no index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Find entries by what they say, newest first.

    Different words must all hold, several values of one word are alternatives. Each entry is checked against its hash; one that
    cannot be trusted is named, and the exit code is 4.
    """  # fmt: skip
    from governance.report.search import Search

    options = {
        "kinds": kind, "digests": digest, "models": model, "subjects": subject, "actors": actor, "rules": rule,
        "policies": policy, "revisions": revision, "decisions": decision, "actions": action,
        "environments": environment, "outcomes": outcome, "correlations": correlation,
    }  # fmt: skip
    selection = combined(words, options, since=since, until=until)
    with searched_log(scan=scan) as (log, index):
        found = Search(log, with_pseudonyms(log, selection), index, newest_first=not oldest_first)
        shown = _show(found, limit or None, as_json=as_json)
        _tell_rest(found, shown)
        if shown and not limit:
            err().print(f"{shown:,} {'entry' if shown == 1 else 'entries'}")
    end_broken(found.broken)


def words() -> None:
    """List the words of selections, for `mlgov audit search` and wherever entries are selected by a text."""
    from governance.report.selection import WORDS

    print_rows(("word", "of an entry"), WORDS.items())


def combined(
    words: list[str] | None,
    options: Mapping[str, Values],
    *,
    since: str | None = None,
    until: str | None = None,
) -> Selection:
    """The selection of a command line. Raises `SelectionError`."""
    from dataclasses import replace

    from governance.audit_wiring import utc_now
    from governance.report.selection import SelectionError, parse_selection

    selection = parse_selection(" ".join(words or ()))
    more: dict[str, Any] = {
        name: (*getattr(selection, name), *values) for name, values in options.items() if values
    }
    now = utc_now()
    for name, text in (("since", since), ("until", until)):
        if text is not None and getattr(selection, name) is not None:
            raise SelectionError(
                f"`{name}` is given twice, as a word and as an option",
                hint=f"Leave `--{name}` or `{name}:...` out.",
            )
    more |= {
        name: moment(text, now) for name, text in (("since", since), ("until", until)) if text is not None
    }
    made = replace(selection, **more)
    if made.since is not None and made.until is not None:
        require_period(made.since, made.until)
    for rule in made.rules:
        _require_full_name(rule)
    return made


def _require_full_name(rule: str) -> None:
    """Entries name rules with their policy, so that a rule's name alone would be looked for and nothing found."""
    from governance.report.selection_text import SelectionError

    policy, slash, own = rule.partition("/")
    if not (policy and slash and own):
        raise SelectionError(
            f"`{rule[:80]}` is not the full name of a rule",
            hint=f"Rules are named with their policy: `POLICY/{(own or policy)[:80]}`. `mlgov audit search decision:block` "
            "shows blocks with the full names of their rules.",
        )


def _show(found: Search, limit: int | None, *, as_json: bool) -> int:
    hits = itertools.islice(found, limit)
    shown = 0
    if as_json:
        for shown, stored in enumerate(hits, 1):  # noqa: B007 - the last one counts
            write_lines((entry_line(stored),))
        return shown
    # A table must know its widths, so a long one comes in pieces.
    while rows := [cells(stored) for stored in itertools.islice(hits, 1_000)]:
        shown += len(rows)
        print_rows(("#", "at", "entry", "about", "what"), rows)
    return shown


def _tell_rest(found: Search, shown: int) -> None:
    more, is_exact = found.more()
    if more:
        err().print(styled(f"{'' if is_exact else 'at most '}{more:,} more; `--limit 0` prints all"))
    elif not shown:
        err().print("no entry matches")
