"""From what Xray says to the facts of the catalogue. Pure.

Promises: a number or a word that is not known stays unknown, and so does everything that depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from governance.collect.ecosystems import ecosystem_of
from governance.collect.scanned import foremost
from governance.model.facts import Collection, FactValue, Item, ItemValue, Unknown
from governance.model.request import utc_text
from governance.model.verdict import Severity
from governance.xray.items import Affected, Cve, Issue, Summary

MOST_ADVISORIES: Final = 100_000
"""One issue of a few KiB, with a hundred CVEs in a hundred components, makes ten thousand rows. No log keeps more."""
_MOST_TEXT: Final = 64 << 20
"""Letters of all rows. The same long name may stand in each."""
_NO_LICENCE: Final = frozenset({"", "unknown", "none", "n/a"})
_NO_KNOWN: Final = Unknown("Xray found no licence")
_SILENT: Final = Unknown("Xray does not say")


def vulnerabilities(
    summaries: Iterable[Summary],
    missing: Unknown | None,
    *,
    first_seen: Callable[[frozenset[str]], Mapping[str, ItemValue]],
) -> Collection:
    """Every advisory for each component and CVE, up to a number and a size; where Xray says different things about it, of two files or
    twice of one, each counts. `missing` says why there may be more, `first_seen` since when issues are known here.
    """
    issues = dict.fromkeys(_security(summaries))
    seen = first_seen(frozenset(issue.id for issue in issues))
    pairs = (
        (issue, component, cve)
        for issue in issues
        for component in dict.fromkeys(issue.components) or (None,)
        for cve in dict.fromkeys(issue.cves) or (None,)
    )
    rows: dict[str, Item] = {}
    room = _MOST_TEXT
    for issue, component, cve in islice(pairs, MOST_ADVISORIES):
        row = _row(issue, component, cve, seen[issue.id])
        key = repr(row)
        room -= len(key)
        if room < 0:
            break
        rows[key] = row
    if room < 0 or next(pairs, None) is not None:
        missing = foremost(missing, Unknown(f"Xray names more than {len(rows):,} advisories"))
    return Collection(tuple(rows[key] for key in sorted(rows)), *_gap(missing))


def malicious(summaries: Iterable[Summary], missing: Unknown | None) -> FactValue:
    """True as soon as anything is reported malicious; false only where nothing can be missing."""
    if any(issue.is_malicious for summary in summaries for issue in summary.issues):
        return True
    return False if missing is None else missing


def max_severity(summaries: Iterable[Summary], missing: Unknown | None) -> FactValue:
    """The highest severity of any issue. Unknown where a higher one may be missing, and at least the highest that is known."""
    severities = [issue.severity for summary in summaries for issue in summary.issues]
    graded = Unknown("an issue has no severity") if Severity.UNKNOWN in severities else None
    return _highest_severity(severities, foremost(missing, graded)) or Severity.NONE.word


def max_cvss(summaries: Iterable[Summary], missing: Unknown | None) -> FactValue:
    """The highest CVSS v3 base score. Unknown where a higher one may be missing, and at least the highest that is known."""
    issues = list(_security(summaries))
    scores = [cve.cvss for issue in issues for cve in issue.cves]
    highest = max((score for score in scores if score is not None), default=None)
    unscored = [issue.id for issue in issues if not any(cve.cvss is not None for cve in issue.cves)]
    doubt = foremost(missing, Unknown(f"{unscored[0]} has no CVSS v3 score") if unscored else None)
    if doubt is None or (highest is not None and highest >= 10.0):
        return highest or 0.0
    return replace(doubt, at_least=highest)


def licences(files: Sequence[Summary], packages: Sequence[Summary], missing: Unknown | None) -> Collection:
    """Every licence with each component that carries it. A package without any has one that is not known; a file of a
    model need not have one of its own."""
    rows: dict[tuple[str, str], Item] = {
        ("", summary.component_id): {"spdx": _NO_KNOWN, "component": summary.component_id}
        for summary in packages
        if not summary.licences
    }
    pairs = (
        (licence.name.strip(), component)
        for summary in (*files, *packages)
        for licence in summary.licences
        for component in licence.components or (summary.component_id,)
    )
    for named, component in pairs:
        if len(rows) >= MOST_ADVISORIES and (named, component) not in rows:
            missing = foremost(missing, Unknown(f"Xray names more than {len(rows):,} licences"))
            break
        spdx: ItemValue = _NO_KNOWN if named.lower() in _NO_LICENCE else named
        rows[named, component] = {"spdx": spdx, "component": component}
    return Collection(tuple(rows[key] for key in sorted(rows)), *_gap(missing))


def operational_risk(summaries: Sequence[Summary], missing: Unknown | None) -> FactValue:
    """The worst risk of any component. Unknown where a worse one may be missing, and at least the worst that is known."""
    risks = [summary.operational_risk for summary in summaries if summary.operational_risk is not None]
    graded = Unknown("a risk without a grade") if Severity.UNKNOWN in risks else None
    worst = _highest_severity(risks, foremost(missing, graded))
    return Unknown("Xray reports no operational risks here") if worst is None else worst


def _highest_severity(severities: Sequence[Severity], doubt: Unknown | None) -> str | Unknown | None:
    """The highest of these, or what is known of it where there may be a higher one, for the reason `doubt`. None where there is none."""
    known = [each for each in severities if each is not Severity.UNKNOWN]
    highest = max(known).word if known else None
    if doubt is None or highest == Severity.CRITICAL.word:
        return highest
    return replace(doubt, at_least=highest)


def _gap(missing: Unknown | None) -> tuple[str | None, bool]:
    return (None, False) if missing is None else (missing.reason, missing.out_of_reach)


def _security(summaries: Iterable[Summary]) -> Iterable[Issue]:
    return (issue for summary in summaries for issue in summary.issues if issue.is_security)


def _row(issue: Issue, component: Affected | None, cve: Cve | None, seen: ItemValue) -> Item:
    score = cve.cvss if cve is not None else None
    fixed_in = component.fixed_in if component is not None else None
    return {
        "id": issue.id,
        "cve": cve.id if cve is not None else None,
        "malicious": issue.is_malicious,
        "severity": issue.severity.word,
        "cvss": score if score is not None else Unknown("no CVSS v3 score"),
        "epss": _SILENT,
        "component": component.name if component is not None else _SILENT,
        "ecosystem": ecosystem_of(component.ecosystem) if component is not None else _SILENT,
        "component_version": (component.version if component is not None else None) or _SILENT,
        "fix_available": bool(fixed_in) if fixed_in is not None else _SILENT,
        "fixed_in": fixed_in or (),
        "applicable": issue.applicable if issue.applicable is not None else Unknown("no contextual analysis"),
        "published": utc_text(issue.created) if issue.created is not None else _SILENT,
        "first_seen": seen,
    }
