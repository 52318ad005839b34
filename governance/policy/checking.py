"""Everything that is wrong, or probably not meant, in policy files: findings with a place, whatever found them.

Promises: what does not load, what lint notes, what no case reaches and what became looser are findings of one form, in the
order of files and lines; a finding that its file accepts by a comment is kept and marked. Does not: read files, ask git or a
clock; the caller hands over what was read, and the time.

A comment `# mlgov: accept ID` (several ids with commas between them) on the line of a finding, or alone on the line above,
accepts it. What does not load cannot be accepted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from governance.policy.cases import run_cases
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.difference import Change, Direction, compare
from governance.policy.environments import environments_in, meant_environment
from governance.policy.lint import Note, lint
from governance.policy.lint_rules import LINT_RULES, Level, LintRule
from governance.policy.load import Written
from governance.policy.mistakes import Path, Problem
from governance.policy.places import rule_path

_ACCEPT = re.compile(r"#\s*mlgov:\s*accept\s+([a-z, -]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding. `accepted` says that its file accepts it; such a finding counts for nothing."""

    code: str
    level: Level
    subject: str
    message: str
    source: str
    line: int
    column: int
    accepted: bool = False

    @property
    def rule(self) -> LintRule:
        """Why it matters, and how to mend it."""
        return LINT_RULES[self.code]

    @property
    def counts(self) -> bool:
        """Whether it counts for the exit code."""
        return not self.accepted

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column} {self.level.word}: {self.subject}: {self.message} [{self.code}]"


def check(written: Written, *, at: datetime, idle: Iterable[str] = ()) -> tuple[Finding, ...]:
    """What lint and coverage find in files that loaded. `at` is the time at which waivers are looked at; `idle` are rules that
    matched nothing in some log."""
    compiled = compile_bundle(written.bundle)
    notes = [
        *lint(written.bundle, at=at, policy=compiled),
        *_untested(written),
        *(_rule_note("idle-rule", name) for name in idle),
    ]
    placed = (_placed(note, written) for note in notes)
    return _sorted(_accepted((*placed, *_misspelt(written)), written))


def mistakes(problems: Iterable[str]) -> tuple[Finding, ...]:
    """The findings of files that did not load."""
    return tuple(map(_mistake, problems))


def looser(before: CompiledPolicy, after: CompiledPolicy, written: Written) -> tuple[Finding, ...]:
    """What became looser since another revision, or cannot be shown not to have become so."""
    changes = [change for change in compare(before, after) if change.may_loosen]
    return _sorted(_accepted((_change(change, written) for change in changes), written))


def new_findings(before: Iterable[Finding], after: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that were not there before, wherever they stood."""
    known = Counter((one.code, one.subject, one.message) for one in before)
    fresh: list[Finding] = []
    for one in after:
        key = (one.code, one.subject, one.message)
        if known[key]:
            known[key] -= 1
        else:
            fresh.append(one)
    return tuple(fresh)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (one.source, one.line, one.column, one.code, one.subject)))


def _untested(written: Written) -> Iterator[Note]:
    """Rules that cases do not reach, where there are cases at all: files without any are judged by `mlgov policy test`."""
    if not written.bundle.suites:
        return
    for row in run_cases(written.bundle).coverage:
        if len(row.missing) == _OUTCOMES:
            yield _rule_note("untested-rule", row.rule)
        elif row.missing:
            yield _rule_note("half-tested-rule", row.rule, more=f": {', '.join(row.missing)}")


def _rule_note(code: str, name: str, *, more: str = "") -> Note:
    policy, _, rule = name.partition("/")
    meaning = LINT_RULES[code].meaning
    return Note(
        code=code,
        subject=name,
        message=meaning + more,
        level=LINT_RULES[code].level,
        kind="Policy",
        document=policy,
        rule=rule,
    )


def _misspelt(written: Written) -> Iterator[Finding]:
    """Names of environments, looked for in the documents as written: a policy's own normal form has lost their places."""
    row = LINT_RULES["misspelt-environment"]
    for (_, name), document in written.documents.items():
        for path, environment in environments_in(document.data):
            meant = meant_environment(environment)
            if meant is not None:
                line, column = document.place(path)
                yield Finding(
                    code=row.id, level=row.level, subject=name, source=document.source, line=line, column=column,
                    message=f"{row.meaning}: `{environment}`, did you mean `{meant}`?",
                )  # fmt: skip


_OUTCOMES = 3


def _placed(note: Note, written: Written) -> Finding:
    document = _document(note, written)
    path = note.key
    if note.rule is not None:
        at = rule_path(document.data, note.rule)
        path = (*at, *note.key) if at[:2] == ("spec", "rules") else at
    line, column = document.place(path)
    return Finding(
        code=note.code,
        level=note.level,
        subject=note.subject,
        message=note.message,
        source=document.source,
        line=line,
        column=column,
    )


def _document(note: Note, written: Written) -> Any:
    if note.kind != "PolicySet":
        return written.documents[note.kind, note.document]
    sets = [document for (kind, _), document in written.documents.items() if kind == "PolicySet"]
    return next((one for one in sets if _has(one.data, note.key)), sets[0])


def _has(tree: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _mistake(problem: str) -> Finding:
    placed = problem if isinstance(problem, Problem) else Problem("(policy)", 1, 1, problem)
    return Finding(
        code="invalid",
        level=Level.ERROR,
        subject="file",
        message=placed.message,
        source=placed.source,
        line=placed.line,
        column=placed.column,
    )


def _change(change: Change, written: Written) -> Finding:
    policy, _, rule = change.rule.partition("/")
    document, position = _changed_document(change, policy, written)
    is_rule = ("Policy", policy) in written.documents and bool(rule)
    there = is_rule and any(
        one.id == rule for p in written.bundle.policies if p.name == policy for one in p.rules
    )
    # A policy's own lines are named by their path, such as `spec.default`; what is not there falls back on its parent.
    path: Path = rule_path(document.data, rule) if there else tuple(position.split("."))
    line, column = document.place(path) if position else (1, 1)
    return Finding(
        code="loosened",
        level=LINT_RULES["loosened"].level,
        subject=change.rule,
        message=("looser: " if change.direction is Direction.LOOSER else "may be looser: ") + change.words,
        source=document.source,
        line=line,
        column=column,
    )


def _changed_document(change: Change, policy: str, written: Written) -> tuple[Any, str]:
    """Where a change stands, and its path there; that of what was removed is empty, and any document has to stand for it."""
    documents = written.documents
    sort, _, name = change.rule.partition(" ")
    place, _, path = change.position.rpartition(": ")
    if sort == "waiver":
        found = documents.get(("Waiver", name))
    elif sort == "set" or place == "set":
        found = next((one for (kind, _), one in documents.items() if kind == "PolicySet"), None)
    else:
        found = documents.get(("Policy", policy))
    return (next(iter(documents.values())), "") if found is None else (found, path)


def _accepted(findings: Iterable[Finding], written: Written) -> Iterator[Finding]:
    """The findings, those marked that a comment accepts."""
    texts = {document.source: getattr(document, "text", "") for document in written.documents.values()}
    lines = {source: text.splitlines() for source, text in texts.items()}
    for finding in findings:
        accepted = finding.code in _ids_accepted(lines.get(finding.source, []), finding.line)
        yield replace(finding, accepted=True) if accepted else finding


def _ids_accepted(lines: Sequence[str], line: int) -> set[str]:
    here = lines[line - 1] if line <= len(lines) else ""
    above = lines[line - 2].lstrip() if 1 < line <= len(lines) else ""
    comments = [here, above if above.startswith("#") else ""]
    return {name.strip() for text in comments for found in _ACCEPT.findall(text) for name in found.split(",")}
