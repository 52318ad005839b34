"""`mlgov policy check`: what does not load, what is probably not meant, what is new since a revision."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli import policy_cases
from governance.cli.output import Mark, err, out, print_rows, sign, styled
from governance.errors import PolicyInvalidError, SettingsError

if TYPE_CHECKING:
    from governance.policy.checking import Finding
    from governance.policy.documents import PolicyBundle
    from governance.policy.lint_rules import Level
    from governance.policy.load import Written

_MARKS = {"error": Mark.FAIL, "warning": Mark.WARN, "note": Mark.SKIP}


class Format(enum.StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


class FailOn(enum.StrEnum):
    """From which level on findings fail the check."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of it. `written` is None where the files do not load; `known` counts findings that were there before."""

    findings: tuple[Finding, ...]
    written: Written | None
    files: tuple[str, ...]
    against: str | None = None
    known: int = 0


def check(
    paths: policy_cases.Paths = None,
    *,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            metavar="LEVEL", help="Exit with 1 from this level on: `error`, `warning`, `note` or `never`."
        ),
    ] = FailOn.ERROR,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="A git revision: only what is new since then counts, and what became looser is told.",
        ),
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(
            metavar="SINCE",
            help="Also name rules that matched nothing in the audit log since then, such as `90d`.",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="`text`, `json`, `sarif` or `junit`.")
    ] = Format.TEXT,
    output: policy_cases.Output = None,
) -> None:
    """Read policy files, and report every mistake at once and what is probably not meant, each with its place and what to do.

    Exits with 1 where something is found at the level of `--fail-on` or above it, 2 where a file does not load. A comment
    `# mlgov: accept ID` on a finding's line, or alone on the line above, accepts it.
    """
    policy_cases.require_format(form, output)
    files = policy_cases.policy_paths_here(paths)
    checked = _checked(files, against, idle)
    if form is Format.TEXT or output is not None:
        _tell(checked, fail_on)
    if form is not Format.TEXT:
        policy_cases.write_format(lambda: _formatted(form, checked, fail_on), output)
    if checked.written is None:
        raise typer.Exit(2)
    raise typer.Exit(1 if any(one.counts and _fails(one.level, fail_on) for one in checked.findings) else 0)


def _checked(paths: Sequence[Path], against: str | None, idle: str | None) -> Checked:
    from governance.collect.extensions import catalogue
    from governance.policy import checking
    from governance.policy.load import load_written, policy_paths

    names = tuple(map(str, policy_paths(paths, [])))
    try:
        written = load_written(paths, catalogue=catalogue())
    except PolicyInvalidError as error:
        return Checked(findings=checking.mistakes(error.problems), written=None, files=names, against=against)
    quiet = _idle_rules(written, idle) if idle is not None else ()
    findings = checking.check(written, at=datetime.now(UTC), idle=quiet)
    if against is None:
        return Checked(findings=findings, written=written, files=names)
    return _compared(paths, written, findings, against, names)


def _compared(
    paths: Sequence[Path],
    written: Written,
    findings: tuple[Finding, ...],
    against: str,
    names: tuple[str, ...],
) -> Checked:
    from governance.cli.policy_versions import git_files, require_revision
    from governance.policy import checking
    from governance.policy.compile import compile_bundle
    from governance.policy.load import documents_among, written_files

    require_revision(against)
    files: dict[str, bytes] = {}
    for path in paths:
        files |= git_files(against, os.path.relpath(path), may_be_absent=True)
    if not documents_among(files):
        err().print(
            styled(f"there is no policy file at these paths in `{against}`: everything counts as new")
        )
        return Checked(findings=findings, written=written, files=names, against=against)
    try:
        before = written_files(files, catalogue=written.bundle.catalogue)
    except PolicyInvalidError as error:
        count = len(error.problems)
        err().print(
            styled(f"the policy of `{against}` does not load ({count} mistakes): everything counts as new")
        )
        return Checked(findings=findings, written=written, files=names, against=against)
    known = checking.check(before, at=datetime.now(UTC))
    fresh = checking.new_findings(known, findings)
    looser = checking.looser(compile_bundle(before.bundle), compile_bundle(written.bundle), written)
    ordered = tuple(sorted((*fresh, *looser), key=lambda one: (one.source, one.line, one.column, one.code)))
    return Checked(
        findings=ordered, written=written, files=names, against=against, known=len(findings) - len(fresh)
    )


def _idle_rules(written: Written, since: str) -> tuple[str, ...]:
    """Rules that fired in no recorded decision of the period."""
    from governance.audit.entry import EntryKind
    from governance.cli.audit import open_log
    from governance.cli.policy_backtest import parse_since

    begin = parse_since(since, datetime.now(UTC))
    fired: set[str] = set()
    decisions = 0
    with open_log() as log:
        for stored in log.find(kind=EntryKind.DECISION, since=begin):
            decisions += 1
            verdict = stored.entry.body.get("verdict")
            names = verdict.get("fired") if isinstance(verdict, Mapping) else None
            if isinstance(names, list | tuple):
                fired.update(map(str, names))
    if not decisions:
        raise SettingsError(
            f"the audit log holds no decision since {begin:%Y-%m-%d}, so no rule can be called idle",
            hint="Leave `--idle` out, or name a longer time.",
        )
    rules = (f"{policy.name}/{rule.id}" for policy in written.bundle.policies for rule in policy.rules)
    return tuple(name for name in rules if name not in fired)


def _fails(level: Level, fail_on: FailOn) -> bool:
    from governance.policy.lint_rules import Level

    return fail_on is not FailOn.NEVER and level >= Level[fail_on.name]


def _formatted(form: Format, checked: Checked, fail_on: FailOn) -> str:
    import orjson

    from governance.policy.lint_rules import Level
    from governance.report.policy_findings import findings_json, findings_junit, findings_sarif

    if form is Format.JUNIT:
        least = Level.ERROR if fail_on is FailOn.NEVER else Level[fail_on.name]
        return findings_junit(checked.findings, checked.files, fail_on=least)
    document = (
        findings_sarif(checked.findings, root=Path.cwd(), against=checked.against)
        if form is Format.SARIF
        else findings_json(checked.findings, against=checked.against, known=checked.known)
    )
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"


def _tell(checked: Checked, fail_on: FailOn) -> None:
    console = out()
    if checked.written is not None:
        _describe(checked.written.bundle)
    for one in checked.findings:
        if one.accepted:
            continue
        place = f"{one.source}:{one.line}:{one.column}"
        console.print(
            sign(_MARKS[one.level.word]), styled(place, "bold"), styled(f"{one.level.word} [{one.code}]")
        )
        console.print(
            styled(f"    {one.message}" if one.code == "invalid" else f"    {one.subject}: {one.message}")
        )
        if one.code != "invalid":
            console.print(styled(f"    why: {one.rule.why}", "dim"))
        console.print(styled(f"    what to do: {one.rule.mend}", "dim"))
    _conclude(checked, fail_on)


def _conclude(checked: Checked, fail_on: FailOn) -> None:
    from governance.policy.compile import compile_bundle
    from governance.policy.lint_rules import Level

    console = out()
    counted = [one for one in checked.findings if one.counts]
    if checked.written is None:
        console.print(
            sign(Mark.FAIL), styled(f"{len(counted)} mistakes: no process takes up these files", "bold")
        )
        return
    counts = {level: sum(one.level is level for one in counted) for level in reversed(Level)}
    words = ", ".join(_counted(count, level.word) for level, count in counts.items() if count)
    accepted = len(checked.findings) - len(counted)
    extra = f"; {accepted} accepted in the files" if accepted else ""
    if checked.against is not None:
        extra += f"; {checked.known} stood in `{checked.against}` already"
    digest = compile_bundle(checked.written.bundle).digest[:16]
    failed = any(_fails(one.level, fail_on) for one in counted)
    state = "not in order" if failed else "in order"
    number = len(checked.written.bundle.policies)
    found = f": {words}" if words else ""
    console.print(
        sign(Mark.FAIL if failed else Mark.OK),
        styled(f"{number} policies {state}, digest {digest}{found}{extra}", "bold"),
    )


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _describe(bundle: PolicyBundle) -> None:
    rows = (
        (policy.name, str(len(policy.rules)), policy.default.word, policy.title or "")
        for policy in bundle.policies
    )
    print_rows(("policy", "rules", "default", "title"), rows)
