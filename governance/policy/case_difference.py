"""What a case expected and what it got, as lines of a difference, with the facts that made it so.

Promises: a line with `-` for each thing expected that did not come, one with `+` for each that came instead; below a rule,
how it came out and the facts it rests on. Does not: decide whether a case passed; see `cases`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from governance.model.verdict import Effect, RuleResult, Truth, Verdict
from governance.policy.cases import deciding_rules
from governance.policy.documents import Case

_TRUTHS = {Truth.TRUE: "matched", Truth.FALSE: "not matched", Truth.UNKNOWN: "unknown"}
_MOST_FACTS = 12


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: `-` expected, `+` got, or a blank for what explains the line above."""

    sign: str
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


def diff_lines(case: Case, verdict: Verdict) -> Iterator[DiffLine]:
    """The difference between what the case expects and the verdict; nothing where there is none."""
    expect = case.expect
    if verdict.decision is not expect.verdict:
        yield DiffLine("-", f"verdict {expect.verdict.word}")
        yield DiffLine("+", f"verdict {verdict.decision.word}")
    yield from _rules(case, verdict)
    matched = {text for row in deciding_rules(verdict) for text in row.matched}
    yield from _sets("matched", expect.matched, matched)
    waived = {row.rule for row in verdict.rules if row.waiver is not None}
    if expect.waived is not None:
        named = _full(expect.waived, verdict)
        yield from _sets("waived", named, waived)
    retryable = verdict.decision is Effect.QUARANTINE
    if expect.retryable is not None and expect.retryable is not retryable:
        yield DiffLine("-", f"retryable {str(expect.retryable).lower()}")
        yield DiffLine("+", f"retryable {str(retryable).lower()}")
    messages = [one.message for one in verdict.findings]
    if expect.message is not None and not any(expect.message in one for one in messages):
        yield DiffLine("-", f"a message with `{expect.message}`")
        for message in messages or ["no message"]:
            yield DiffLine("+", message)


def _rules(case: Case, verdict: Verdict) -> Iterator[DiffLine]:
    fired = {row.rule: row for row in deciding_rules(verdict)}
    expected = case.expect.rules
    named = _full(expected, verdict) if expected is not None else frozenset(fired)
    known = {row.rule: row for row in verdict.rules}
    for name in sorted(named - fired.keys()):
        yield DiffLine("-", f"rule {name}")
        if name in known:
            yield from _account(known[name])
        else:
            yield DiffLine(" ", "  no policy that binds this request has such a rule")
    # Where only the verdict was expected, the rules behind the other one are what a reader wants to see.
    shown = fired.keys() - named if expected is not None else fired.keys()
    if expected is not None or verdict.decision is not case.expect.verdict:
        for name in sorted(shown):
            yield DiffLine("+", f"rule {name}")
            yield from _account(fired[name])


def _account(row: RuleResult) -> Iterator[DiffLine]:
    fired = "it fires" if row.fired else "it does not fire"
    yield DiffLine(" ", f"  {row.effect.word}; {_TRUTHS[row.truth]}, so {fired}")
    for evidence in row.evidence[:_MOST_FACTS]:
        yield DiffLine(" ", f"  {evidence.fact}: {evidence.value}")


def _sets(what: str, expected: frozenset[str] | None, got: set[str]) -> Iterator[DiffLine]:
    if expected is None or expected == got:
        return
    for text in sorted(expected - got):
        yield DiffLine("-", f"{what} {text}")
    for text in sorted(got - expected):
        yield DiffLine("+", f"{what} {text}")


def _full(names: frozenset[str], verdict: Verdict) -> frozenset[str]:
    """Names of rules with their policy, where a case named the id alone."""
    known: dict[str, list[str]] = {}
    for row in verdict.rules:
        known.setdefault(row.rule.partition("/")[2], []).append(row.rule)
    return frozenset(
        known[name][0] if "/" not in name and len(known.get(name, ())) == 1 else name for name in names
    )
