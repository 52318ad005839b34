"""The vulnerabilities known of models and their packages, each once in a bill, with all that it affects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation

from cyclonedx.model import Property
from cyclonedx.model.component import Component
from cyclonedx.model.vulnerability import (
    BomTarget,
    Vulnerability,
    VulnerabilityRating,
    VulnerabilityScoreSource,
    VulnerabilitySeverity,
    VulnerabilitySource,
)  # fmt: skip

from governance.report.bill.trees import reference
from governance.report.fields import Fields
from governance.report.showing import shown

MOST_VULNERABILITIES = 20_000
_SEVERITIES = {each.value: each for each in VulnerabilitySeverity}


class Vulnerabilities:
    """All vulnerabilities of a bill."""

    def __init__(self, *, most: int = MOST_VULNERABILITIES) -> None:
        self._most = most
        self._known: dict[tuple[str, str], Vulnerability] = {}
        self.omitted = 0

    @property
    def found(self) -> list[Vulnerability]:
        """Each of them."""
        return list(self._known.values())

    def add(self, facts: Fields, model: str, packages: Iterable[Component]) -> None:
        """What the facts of one model say; `model` is its reference."""
        by_name = {(each.name, each.version): each for each in packages}
        fact = facts.sub("vulnerabilities")
        for item in fact.subs("items"):
            name = item.text("cve") or item.word("id")
            component, number = item.word("component"), item.text("component_version")
            key = (name, f"{component} {number}")
            told = _vulnerability(key, item, fact.text("source"))
            known = self._known.get(key)
            if known is None:
                if len(self._known) >= self._most:
                    self.omitted += 1
                    continue
                known = self._known[key] = told
            # Facts are as old as each model's last use: what was found since, or known then, is told beside the other.
            known.ratings.update(told.ratings)
            known.properties.update(told.properties)
            known.recommendation = known.recommendation or told.recommendation
            affected = by_name.get((component, number))
            for each in (model, *([reference(affected)] if affected is not None else [])):
                known.affects.add(BomTarget(ref=each))


def _vulnerability(key: tuple[str, str], item: Fields, source: str | None) -> Vulnerability:
    fixed = item.texts("fixed_in")
    properties = {
        "mlgov:component": key[1] if item.text("component_version") else item.word("component"),
        "mlgov:issue": item.text("id"),
        "mlgov:malicious": "yes" if item.is_set("malicious") else None,
        "mlgov:applicable": _answer(item.body.get("applicable")),
    }
    digest = hashlib.sha256("\0".join(key).encode("utf-8", "replace")).hexdigest()
    return Vulnerability(
        bom_ref=f"vulnerability-{digest[:32]}",
        id=shown(key[0]),
        source=VulnerabilitySource(name=shown(source)) if source else None,
        ratings=[_rating(item)],
        published=_time(item.text("published")),
        recommendation=f"use {shown(', '.join(fixed))}" if fixed else None,
        properties=[Property(name=name, value=shown(value)) for name, value in properties.items() if value],
    )


def _rating(item: Fields) -> VulnerabilityRating:
    score = _number(item.sub("cvss").text("decimal"))
    return VulnerabilityRating(
        score=score,
        severity=_SEVERITIES.get(item.word("severity"), VulnerabilitySeverity.UNKNOWN),
        method=None if score is None else VulnerabilityScoreSource.CVSS_V3,
    )


def _answer(value: object) -> str | None:
    return ("yes" if value else "no") if isinstance(value, bool) else None


def _number(text: str | None) -> Decimal | None:
    try:
        number = Decimal(text) if text else None
    except InvalidOperation:
        return None
    return number if number is not None and 0 <= number <= 10 else None


def _time(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
