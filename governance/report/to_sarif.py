"""Blocks and quarantines as SARIF 2.1.0 (OASIS, errata 01), for the code hosts and dashboards that read it.

Promises: one result for each rule (`(default)` where none allowed it), artifact and environment, with how often it objected and when first and last; what a waiver set
aside is a result of its own, suppressed, so that it hides no refusal; a result's fingerprint stays the same from report to report. Texts of the log are
plain: neither a link nor a placeholder (section 3.11) can come from them. Does not: hold more than `most` results, which is what the
largest reader takes (GitHub: 25,000 a run); those over it, seen longest ago, are counted in a notification.

A log that does not prove itself is a tool error in `invocations`, with `executionSuccessful` false.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote

import orjson

from governance import __version__
from governance.model.canonical import Json
from governance.report.book import Report
from governance.report.entries import REFUSING, DecisionRow, FindingRow
from governance.report.sarif import sarif_document, sarif_text
from governance.report.showing import shown

MOST_RESULTS = 25_000
_BASE = "ARTIFACTORY"
_MOST_TEXT = 3_000
_LEVELS = {"block": "error", "quarantine": "warning", "warn": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}
"""GitHub's `security-severity`, in the middle of each of its ranges."""


@dataclass(slots=True, kw_only=True)
class _Result:
    """One rule's objection to one artifact in one environment, with a waiver or without one."""

    row: DecisionRow
    finding: FindingRow
    waiver: str | None
    count: int
    first: str
    last: str


@dataclass(slots=True)
class _Gathered:
    """All results, at most so many: where there are more, those that were seen last."""

    most: int
    results: dict[str, _Result] = field(default_factory=dict)
    omitted: int = 0

    def add(self, row: DecisionRow, finding: FindingRow, waiver: str | None) -> None:
        """Count one objection. The newest refusal tells the rest, or the newest decision where nothing was refused."""
        key = _fingerprint(row, finding.rule, is_waived=waiver is not None)
        known = self.results.pop(key, None)
        if known is None:
            known = _Result(row=row, finding=finding, waiver=waiver, count=0, first=row.at, last=row.at)
        elif row.refused or not known.row.refused:
            known.row, known.finding, known.waiver = row, finding, waiver
        known.count += 1
        known.last = row.at
        self.results[key] = known  # at the end: the first is the one that was seen longest ago
        if len(self.results) > self.most:
            self.omitted += self.results.pop(next(iter(self.results))).count


class SarifFormat:
    """One run with its results."""

    name = "report.sarif"

    def __init__(self, *, most: int = MOST_RESULTS) -> None:
        self._most = most

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        found = _Gathered(self._most)
        for row in report.decisions():
            for finding, waiver in _objections(row):
                found.add(row, finding, waiver)
        rules = {
            each: place
            for place, each in enumerate(sorted({one.finding.rule for one in found.results.values()}))
        }
        run: dict[str, Json] = {
            "tool": {"driver": _driver(found, rules)},
            "automationDetails": {"id": f"mlgov/{quote(report.origin, safe='')}/"},
            "originalUriBaseIds": {_BASE: {"description": {"text": "the Artifactory that holds the models"}}},
            "columnKind": "unicodeCodePoints",
            "invocations": [_invocation(report, found)],
            "results": [_result(key, each, rules) for key, each in sorted(found.results.items())],
            "properties": _properties(report),
        }
        out.write(orjson.dumps(_plain(sarif_document(run)), option=orjson.OPT_INDENT_2) + b"\n")


def _text(value: object) -> str:
    return sarif_text(str(value)[:_MOST_TEXT])


def _plain(value: Json) -> Json:
    """The same with nothing in any text that hides or turns text, in names and ids too."""
    match value:
        case str():
            return shown(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case _:
            return value


def _objections(row: DecisionRow) -> Iterator[tuple[FindingRow, str | None]]:
    """The findings that say no, or the policy's default where none of them does, and the ones that a waiver set aside, of which
    only the rule is on record."""
    for finding in row.objections:
        if finding.effect in REFUSING:
            yield finding, None
    for rule, waiver in row.waived:
        message = f"the objection of {rule} was set aside by waiver {waiver}"
        yield (
            FindingRow(
                rule=rule, effect="block", severity="unknown", message=message, remediation=None, waivable=True, evidence=()
            ),
            waiver,
        )  # fmt: skip


def _fingerprint(row: DecisionRow, rule: str, *, is_waived: bool) -> str:
    """What makes an objection the same one later: the rule, the bytes, the place, the environment, and whether a waiver set it aside."""
    parts = (rule, row.ref, row.digest or "", row.environment, *(("waived",) if is_waived else ()))
    return hashlib.sha256(b"\0".join(part.encode("utf-8", "replace") for part in parts)).hexdigest()


def _driver(found: _Gathered, rules: Mapping[str, int]) -> dict[str, Json]:
    worst: dict[str, FindingRow] = {}
    for each in found.results.values():
        known = worst.get(each.finding.rule)
        if known is None or _score(each.finding) > _score(known):
            worst[each.finding.rule] = each.finding
    return {
        "name": "mlflow-governance",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule, worst[rule]) for rule in rules],
    }


def _rule(rule: str, finding: FindingRow) -> dict[str, Json]:
    return {
        "id": rule,
        "shortDescription": {"text": _text(f"policy rule {rule}")},
        "defaultConfiguration": {"level": _LEVELS.get(finding.effect, "warning")},
        "properties": {"tags": ["security", "ml-model"]} | _severity(finding),
    }


def _result(key: str, each: _Result, rules: Mapping[str, int]) -> dict[str, Json]:
    row, finding = each.row, each.finding
    message = f"{row.action} of {row.ref} in {row.environment}: {finding.message}"
    if finding.remediation:
        message += f"\n\nWhat to do: {finding.remediation}"
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules[finding.rule],
        "kind": "fail",
        "level": _LEVELS[finding.effect] if row.refused and each.waiver is None else "note",
        "message": {"text": _text(message)},
        "locations": [_location(row)],
        "partialFingerprints": {"mlgovObjection/v1": key},
        "occurrenceCount": each.count,
        "suppressions": []
        if each.waiver is None
        else [{"kind": "external", "status": "accepted", "justification": _text(f"waiver {each.waiver}")}],
        "properties": {
            "decision": row.id,
            "verdict": row.decision,
            "mode": row.mode,
            "applied": row.result,
            "environment": row.environment,
            "digest": row.digest,
            "actor": row.actor,
            "policy": row.policy_digest,
            "policyRevision": row.policy_revision,
            "firstSeen": each.first,
            "lastSeen": each.last,
            "evidence": [list(item) for item in finding.evidence],
        },
    }  # fmt: skip


def _location(row: DecisionRow) -> dict[str, Json]:
    return {
        "physicalLocation": {"artifactLocation": {"uri": _uri(row.ref), "uriBaseId": _BASE}},
        "logicalLocations": [
            {
                "name": row.name,
                "fullyQualifiedName": f"{row.ref}@{row.digest or 'unknown'}",
                "kind": "resource",
            }
        ],
    }


def _uri(ref: str) -> str:
    """A relative reference (RFC 3986) below the repository's base that cannot leave it: dots alone are no path segment."""
    parts = [quote(part, safe="") for part in ref.split("/")]
    return "/".join("%2E" * len(part) if set(part) == {"."} else part for part in parts)


def _invocation(report: Report, found: _Gathered) -> dict[str, Json]:
    notes: list[Json] = []
    if not report.is_good:
        text = "The log does not prove itself; do not rely on these results."
        notes += [
            _notification("error", each) for each in (text, *map(str, report.verification.problems[:20]))
        ]
    if found.omitted:
        notes.append(
            _notification(
                "warning", f"{found.omitted} objections to other artifacts, seen longest ago, were left out."
            )
        )
    return {
        "executionSuccessful": report.is_good,
        "endTimeUtc": report.made_at,
        "toolExecutionNotifications": notes,
    }


def _notification(level: str, text: str) -> dict[str, Json]:
    return {"level": level, "message": {"text": _text(text)}}


def _properties(report: Report) -> dict[str, Json]:
    """What the results rest on."""
    head = report.checkpoints.head
    return {
        "log": report.origin,
        "since": report.since,
        "until": report.until,
        "selection": report.filter,
        "checkpoint": head.to_bytes().decode("utf-8", "replace"),
        "logKey": report.vkey,
        "verify": report.command,
    }


def _severity(finding: FindingRow) -> dict[str, Json]:
    score = _SCORES.get(finding.severity)
    return {} if score is None else {"security-severity": score}


def _score(finding: FindingRow) -> float:
    return float(_SCORES.get(finding.severity, "0"))
