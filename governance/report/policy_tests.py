"""What `mlgov policy test` found, as JSON and as JUnit XML.

Promises: every case, every rule's coverage and every mutant that survived is in both. Does not: run anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.model.canonical import Json
from governance.model.facts import FactSpec
from governance.policy.case_difference import diff_lines
from governance.policy.cases import CaseResult, CasesReport, RuleCoverage
from governance.policy.fixtures import facts_tree, flow_text
from governance.policy.killing import Telling
from governance.policy.load import Written
from governance.policy.mutation import MutationReport, Survivor
from governance.report.junit import JunitCase, JunitSuite, junit_xml


def tests_json(written: Written, report: CasesReport, mutation: MutationReport | None) -> dict[str, Json]:
    """The results as a document."""
    document: dict[str, Json] = {
        "cases": [_case_json(written, one) for one in report.results],
        "coverage": [_coverage_json(one) for one in report.coverage],
        "counts": {
            "cases": len(report.results),
            "failed": len(report.failed),
            "rules": len(report.coverage),
            "covered": sum(not one.missing for one in report.coverage),
        },
    }
    if mutation is not None:
        document["mutation"] = _mutation_json(mutation, written.bundle.catalogue)
    return document


def tests_junit(
    written: Written, report: CasesReport, mutation: MutationReport | None, *, strict: bool
) -> str:
    """The results as JUnit XML: a suite for each `PolicyTest`, one for coverage, one for the mutants of each rule. A rule that
    is not covered is skipped, or fails where `strict` says so."""
    names = dict.fromkeys(one.suite for one in report.results)
    suites = [
        JunitSuite(
            name=name, cases=tuple(_case_junit(written, one) for one in report.results if one.suite == name)
        )
        for name in names
    ]
    coverage = tuple(_coverage_junit(one, strict=strict) for one in report.coverage)
    suites.append(JunitSuite(name="coverage", cases=coverage))
    if mutation is not None:
        suites.append(
            JunitSuite(name="mutants", cases=tuple(_mutants_junit(mutation, written.bundle.catalogue)))
        )
    return junit_xml(suites, name="mlgov policy test")


def telling_text(telling: Telling, catalogue: Mapping[str, FactSpec]) -> str:
    """The case that would notice a mutant, in words."""
    changes = [*(f"{key}: {value}" for key, value in telling.request.items())]
    if telling.facts:
        changes.append(f"set: {flow_text(facts_tree(telling.facts, catalogue))}")
    with_what = f" with {', '.join(changes)}" if changes else ""
    expected = f"{{verdict: {telling.verdict.word}, rules: [{', '.join(telling.rules)}]}}"
    instead = f"{telling.instead.word} by {', '.join(telling.instead_rules) or 'no rule'}"
    if (telling.verdict, telling.rules) == (telling.instead, telling.instead_rules):
        matched = f"{expected[:-1]}, matched: {flow_text(list(telling.matched))}}}"
        return f"like `{telling.like}`{with_what}; expect {matched}, where the mutant names other items"
    return f"like `{telling.like}`{with_what}; expect {expected}, where the mutant says {instead}"


def _case_json(written: Written, one: CaseResult) -> dict[str, Json]:
    return {
        "suite": one.suite,
        "case": one.case,
        "file": one.source,
        "line": _case_line(written, one),
        "passed": one.is_passed,
        "verdict": one.verdict.decision.word,
        "expected": one.stated.expect.verdict.word,
        "differences": list(one.differences),
        "diff": [str(line) for line in diff_lines(one.stated, one.verdict)] if not one.is_passed else [],
    }


def _coverage_json(one: RuleCoverage) -> dict[str, Json]:
    return {
        "rule": one.rule,
        "matched": one.matched,
        "not_matched": one.not_matched,
        "unknown": one.unknown,
    }


def _mutation_json(mutation: MutationReport, catalogue: Mapping[str, FactSpec]) -> dict[str, Json]:
    return {
        "tried": mutation.tried,
        "noticed": mutation.noticed,
        "same": mutation.same,
        "survived": len(mutation.survivors),
        "untested": list(mutation.untested),
        "rules": {
            name: {"noticed": tally.noticed, "same": tally.same, "survived": tally.survived}
            for name, tally in mutation.tallies.items()
        },
        "survivors": [_survivor_json(one, catalogue) for one in mutation.survivors],
    }


def _survivor_json(one: Survivor, catalogue: Mapping[str, FactSpec]) -> dict[str, Json]:
    telling: dict[str, Any] | None = None
    if one.telling is not None:
        told = one.telling
        telling = {
            "like": told.like,
            "set": facts_tree(told.facts, catalogue),
            "request": dict(told.request),
            "expect": {"verdict": told.verdict.word, "rules": list(told.rules)},
            "mutant": {"verdict": told.instead.word, "rules": list(told.instead_rules)},
        }
    return {
        "rule": one.mutant.subject,
        "sort": one.mutant.sort,
        "change": one.mutant.words,
        "file": one.source,
        "line": one.line,
        "column": one.column,
        "case": telling,
    }


def _case_junit(written: Written, one: CaseResult) -> JunitCase:
    lines = "\n".join(str(line) for line in diff_lines(one.stated, one.verdict))
    return JunitCase(
        name=one.case,
        group=one.suite,
        file=one.source,
        line=_case_line(written, one),
        failure=None if one.is_passed else "; ".join(one.differences),
        details=lines,
    )


def _coverage_junit(one: RuleCoverage, *, strict: bool) -> JunitCase:
    missing = f"no case in which it is {', '.join(one.missing)}" if one.missing else None
    return JunitCase(
        name=one.rule,
        group="coverage",
        failure=missing if strict else None,
        sort="coverage",
        skipped=None if strict else missing,
    )


def _mutants_junit(mutation: MutationReport, catalogue: Mapping[str, FactSpec]) -> list[JunitCase]:
    by_subject: dict[str, list[Survivor]] = {}
    for one in mutation.survivors:
        by_subject.setdefault(one.mutant.subject, []).append(one)
    found = []
    for name in mutation.tallies:
        survivors = by_subject.get(name, [])
        details = "\n".join(_survivor_text(one, catalogue) for one in survivors)
        found.append(
            JunitCase(
                name=name,
                group="mutants",
                file=survivors[0].source if survivors else None,
                line=survivors[0].line if survivors else None,
                failure=f"{len(survivors)} mutant(s) that no case notices" if survivors else None,
                details=details,
                sort="mutant",
            )
        )
    return found + [
        JunitCase(name=name, group="mutants", failure="no suite tests this policy", sort="mutant")
        for name in mutation.untested
    ]


def _survivor_text(one: Survivor, catalogue: Mapping[str, FactSpec]) -> str:
    text = f"{one.source}:{one.line}:{one.column} {one.mutant.words}"
    return text if one.telling is None else f"{text}\n    {telling_text(one.telling, catalogue)}"


def _case_line(written: Written, one: CaseResult) -> int:
    return written.documents["PolicyTest", one.suite].place(("spec", "cases", one.number))[0]
