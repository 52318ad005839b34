"""`mlgov audit who-loaded`: the blast radius of a file, model, package or advisory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from governance.cli.audit_places import end_broken, note, searched_log
from governance.cli.output import err, out, print_json, print_pairs, print_rows, styled

if TYPE_CHECKING:
    from governance.model.canonical import Json
    from governance.report.acts import Act
    from governance.report.who_loaded import Radius

_MOST_ROWS = 1_000_000
_LISTS = {"package": "declared packages", "advisory": "advisories"}
_SHORT = 21
"""As much of a digest as tells it from others; the whole stands among the artifacts."""
T = TypeVar("T")


def who_loaded(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="DIGEST|MODEL|PURL|CVE",
            help="`sha256:HEX` of a file or `dirhash1:HEX` of a model, a model's name with or without `/VERSION`, `REPOSITORY/PATH`, "
            "`pkg:pypi/NAME` with or without `@VERSION`, or the id of an advisory.",
        ),
    ],
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="At most so many rows of each table; 0 is all.")
    ] = 50,
    scan: Annotated[bool, typer.Option("--scan", help="Read every entry, and use no index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with all rows.")] = False,
) -> None:
    """Tell who downloaded and loaded what contains it, when and where, and which registered models and promotions do.

    A load counts where the bytes are the same, also where it came before the advisory or asked for no facts.
    """
    from governance.report.question import parse_question
    from governance.report.who_loaded import who_loaded as ask

    question = parse_question(wanted)
    with searched_log(scan=scan) as (log, index):
        made = ask(log, question, index, ended=None if as_json else limit or _MOST_ROWS)
        if as_json:
            print_json(_tree(made))
        else:
            _print(made, limit or _MOST_ROWS)
        for sentence in _unknown(made):
            note(sentence)
    end_broken(made.broken)


def _print(made: Radius, limit: int) -> None:
    fetched, failed = made.fetched, made.failed
    out().print(styled(f"{made.question.what.value} {made.question.normal}", "bold"))
    people = {act.actor for act in fetched}
    print_pairs({
        "  artifacts": str(len(made.artifacts)),
        "  registered": str(len(made.registered)),
        "  loads and downloads": f"{len(fetched)} by {len(people)} actors",
        "  let through, and failed": str(len(failed)),
        "  refused": str(sum(act.result == "refused" for act in made.acts)),
        "  promotions": str(len(made.promotions)),
    })  # fmt: skip
    if not made.acts:
        err().print("no decision on record is known to be about anything that contains it")
    _table(
        "artifacts that contain it",
        ("digest", "where"),
        [(digest, ", ".join(sorted(refs))) for digest, refs in made.artifacts.items()],
        tuple,
        limit,
    )
    _table(
        "registered model versions",
        ("model", "registered", "by", "aliases", "fetches of its bytes", "digest"),
        [*_registered(made)],
        tuple,
        limit,
    )
    _table("promotions", _HEADINGS, made.promotions, _row, limit)
    _table("who fetched it", _HEADINGS, fetched, _row, limit)
    _table("who was let through, and failed", _HEADINGS, failed, _row, limit)


def _registered(made: Radius) -> Iterator[tuple[str, ...]]:
    """One row for each version. Who loads by name asks for bytes, so what is counted are the bytes."""
    fetched = Counter(act.digest or "?" for act in made.fetched)
    versions = made.versions
    for name, digests in sorted(made.registered.items()):
        known = versions.get(name)
        at = "" if known is None or known.at is None else known.at[:19].replace("T", " ")
        if known is not None and known.deleted is not None:
            at = f"{at}, deleted {known.deleted[:19].replace('T', ' ')}".removeprefix(", ")
        marks = (
            []
            if known is None
            else [*sorted(known.aliases), *([f"stage {known.stage}"] if known.stage else [])]
        )
        count = str(sum(fetched[digest] for digest in digests))
        shown = ", ".join(
            f"{digest[:_SHORT]}…" if len(digest) > _SHORT else digest for digest in sorted(digests)
        )
        yield name, at, (known and known.by) or "", ", ".join(marks), count, shown


_HEADINGS = ("#", "at", "who", "did", "environment", "on", "what", "known by")


def _row(act: Act) -> tuple[str, ...]:
    who = act.actor if act.is_authenticated else f"{act.actor} (claimed)"
    did = f"{act.action}: {act.result}" + (f", {_ends(act.ended)}" if act.ended else ", no outcome")
    what = act.registered or act.ref
    if act.alias is not None:
        what += f" @{act.alias}"
    return (
        str(act.seq),
        act.at[:19].replace("T", " "),
        who,
        did,
        act.environment,
        act.instance,
        what,
        act.because,
    )


def _ends(ended: tuple[str, ...]) -> str:
    """How often it ended how: one decision stands for all files of a model that are fetched one by one."""
    counts = Counter(ended)
    return ", ".join(status if count == 1 else f"{count} {status}" for status, count in counts.items())


def _table(
    title: str, headings: tuple[str, ...], every: Sequence[T], row: Callable[[T], tuple[str, ...]], limit: int
) -> None:
    if not every:
        return
    out().print()
    out().print(styled(title, "bold"))
    print_rows(headings, list(map(row, every[:limit])))
    if len(every) > limit:
        err().print(f"{len(every) - limit:,} more; `--limit 0` prints all")


def _unknown(made: Radius) -> Iterator[str]:
    """What the log cannot tell."""
    from governance.report.who_loaded import LIMITS

    if made.question.may_be_called_otherwise:
        yield (
            f"`{made.question.normal}` is known where a scanner named it so: Xray names advisories by `CVE-...` and `XRAY-...`, "
            "so ask for its CVE too"
        )
    if made.not_looked_at:
        yield f"{made.not_looked_at:,} older candidates were not looked at: ask for something narrower, or with `--scan`"
    open_ended = sum(act.ended is None for act in made.fetched)
    if open_ended:
        yield f"how {open_ended:,} older loads and downloads ended was not looked up, and some may have failed: `--limit 0` does"
    if made.unchecked:
        yield f"{made.unchecked} documents of the evidence are gone, so that what they named could not be looked at again"
    if made.unknown:
        yield f"{made.unknown:,} decisions rest on facts that were gone when they were indexed: what they named is not known"
    if made.incomplete:
        lists = _LISTS[made.question.what.value]
        yield f"whether {made.incomplete:,} other loads and downloads contain it is not known: their {lists} were not known to the last"
    if made.since is not None:
        yield f"the log begins at {made.since[:19]}Z, and knows nothing from before"
    yield from LIMITS


def _tree(made: Radius) -> Mapping[str, Json]:
    return {
        "question": {
            "what": made.question.what.value,
            "text": made.question.text,
            "normal": made.question.normal,
        },
        "artifacts": {digest: sorted(refs) for digest, refs in made.artifacts.items()},
        "registered": {name: sorted(digests) for name, digests in made.registered.items()},
        "registrations": [asdict(each) for each in made.registrations],
        "promotions": [_act_tree(act) for act in made.promotions],
        "acts": [_act_tree(act) for act in made.acts],
        "not_known": [*_unknown(made)],
        "broken": [{"index": each.index, "what": each.what} for each in made.broken],
    }


def _act_tree(act: Act) -> Mapping[str, Json]:
    told = act._asdict()
    return {"index": told.pop("seq"), **told, "ended": list(act.ended or ()), "failed": act.has_failed}
