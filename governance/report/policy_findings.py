"""What `mlgov policy check` found, as JSON, SARIF 2.1.0 and JUnit XML.

Promises: every finding is in each of them, those that a comment accepts marked as suppressed; SARIF that validates against
the schema of the standard, with a fingerprint that outlives a moved line. Does not: find anything.

SARIF: OASIS, Static Analysis Results Interchange Format 2.1.0; section numbers in comments are its.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from governance import __version__
from governance.model.canonical import Json
from governance.policy.checking import Finding
from governance.policy.lint_rules import LINT_RULES, Level, LintRule
from governance.report.junit import JunitCase, JunitSuite, junit_xml
from governance.report.sarif import sarif_document, sarif_text


def findings_json(findings: Sequence[Finding], *, against: str | None, known: int) -> dict[str, Json]:
    """The findings as a document. `against` is the revision they are compared with, `known` how many it had already."""
    document: dict[str, Json] = {
        "findings": [
            {
                "id": one.code,
                "level": one.level.word,
                "subject": one.subject,
                "message": one.message,
                "file": one.source,
                "line": one.line,
                "column": one.column,
                "why": one.rule.why,
                "mend": one.rule.mend,
                "accepted": one.accepted,
            }
            for one in findings
        ],
        "counts": {level.word: sum(one.level is level and one.counts for one in findings) for level in Level}
        | {"accepted": sum(one.accepted for one in findings)},
    }
    if against is not None:
        document |= {"against": against, "known": known}
    return document


def findings_sarif(findings: Sequence[Finding], *, root: Path, against: str | None = None) -> dict[str, Json]:
    """The findings as a SARIF log with one run. Files below `root` are named from there."""
    rules = tuple(LINT_RULES.values())
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    run: dict[str, Json] = {
        "tool": {
            "driver": {
                "name": "mlgov policy check",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",  # 3.14.27: as the YAML reader counts
        "results": [_result(one, numbers[one.code], root, is_new=against is not None) for one in findings],
    }
    if against is not None:
        run["properties"] = {"against": against}
    return sarif_document(run)


def findings_junit(findings: Sequence[Finding], files: Sequence[str], *, fail_on: Level) -> str:
    """The findings as JUnit XML: a test for each file without findings that count, one that fails for each that does. Those
    below `fail_on`, and those that are accepted, are skipped."""
    cases = [_case(one, fail_on) for one in findings]
    named = {one.source for one in findings if one.counts and one.level >= fail_on}
    cases += [
        JunitCase(name=f"{name}: in order", group=name, file=name) for name in files if name not in named
    ]
    return junit_xml([JunitSuite(name="mlgov policy check", cases=tuple(cases))], name="mlgov policy check")


def _case(one: Finding, fail_on: Level) -> JunitCase:
    fails = one.counts and one.level >= fail_on
    why_not = "accepted in the file" if one.accepted else f"a {one.level.word}: {one.message}"
    return JunitCase(
        name=f"{one.code}: {one.subject} (line {one.line})",
        group=one.source,
        file=one.source,
        line=one.line,
        failure=f"{one.subject}: {one.message}" if fails else None,
        details=f"{one}\nwhy: {one.rule.why}\nwhat to do: {one.rule.mend}",
        sort=one.level.word,
        skipped=None if fails else why_not,
    )


def _rule(rule: LintRule) -> dict[str, Json]:
    """3.49: reportingDescriptor."""
    text = f"{rule.why} {rule.mend}"
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": _sentence(rule.meaning)},
        "fullDescription": {"text": f"{_sentence(rule.meaning)} {rule.why}"},
        "help": {"text": text, "markdown": f"**Why:** {rule.why}\n\n**What to do:** {rule.mend}"},
        "defaultConfiguration": {"level": rule.level.word},
    }


def _result(one: Finding, number: int, root: Path, *, is_new: bool) -> dict[str, Json]:
    """3.27: result."""
    result: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": number,
        "level": one.level.word,
        "message": {"text": sarif_text(f"{one.subject}: {_stopped(one.message)} {one.rule.mend}")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(one.source, root)},
                    "region": {"startLine": max(one.line, 1), "startColumn": max(one.column, 1)},
                },
                "logicalLocations": [{"fullyQualifiedName": one.subject}],
            }
        ],
        "partialFingerprints": {"mlgovFinding/v1": _fingerprint(one)},
    }
    if one.accepted:
        result["suppressions"] = [{"kind": "inSource"}]
    if is_new:
        result["baselineState"] = "new"
    return result


def _uri(source: str, root: Path) -> str:
    """3.4: a file below the root from there, another one by its whole path; percent-encoded, with slashes."""
    path = PurePath(source)
    if path.is_absolute():
        whole = Path(source)
        try:
            return quote(whole.relative_to(root).as_posix())
        except ValueError:
            return whole.as_uri()
    return quote(path.as_posix())


def _fingerprint(one: Finding) -> str:
    """What the finding is about, wherever it stands."""
    about = f"{one.code}\0{one.subject}\0{one.message}"
    return hashlib.sha256(about.encode("utf-8", "replace")).hexdigest()


def _stopped(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
