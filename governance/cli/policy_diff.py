"""`mlgov policy diff`: two versions of a policy, looser or stricter, rule by rule."""

from __future__ import annotations

from typing import Annotated

import typer

from governance.cli.output import out, print_json, print_rows, styled

_SIGNS = {"looser": "−", "stricter": "+", "other": "~"}  # noqa: RUF001 - a minus as wide as the plus
_STYLES = {"looser": "bold red", "stricter": "green", "other": "yellow"}
_VERSION = "A file, a folder, `REVISION:path` of git, or a digest from the audit log."


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=_VERSION)],
    after: Annotated[str, typer.Argument(metavar="B", help="The version to compare with it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Tell what is looser and what is stricter in B, rule by rule, in words.

    Exits with 0 where nothing is looser, 1 where something is.
    """
    from governance.cli.policy_versions import policy_version
    from governance.policy.difference import Direction, compare

    one, other = policy_version(before), policy_version(after)
    changes = compare(one, other)
    looser = [change for change in changes if change.direction is Direction.LOOSER]
    if as_json:
        print_json({
            "a": {"name": before, "digest": one.digest, "revision": one.revision},
            "b": {"name": after, "digest": other.digest, "revision": other.revision},
            "changes": [
                {
                    "rule": change.rule,
                    "direction": change.direction.value,
                    "words": change.words,
                    "position": change.position,
                }
                for change in changes
            ],
            "counts": {way.value: sum(change.direction is way for change in changes) for way in Direction},
        })  # fmt: skip
    elif not changes:
        out().print("no difference: both give the same verdicts in the same words")
    else:
        rule = None
        for change in changes:
            if change.rule != rule:
                rule = change.rule
                out().print(styled(rule, "bold"))
            way = change.direction.value
            out().print(styled(f"  {_SIGNS[way]} {way:8}", _STYLES[way]), styled(f"{change.words}"))
            out().print(styled(f"             at {change.position}", "dim"))
        counts = [(way.value, str(sum(change.direction is way for change in changes))) for way in Direction]
        print_rows(("direction", "changes"), counts)
    raise typer.Exit(1 if looser else 0)
