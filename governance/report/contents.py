"""What the documents beside the log name: packages and advisories in the facts of a decision, files in lists of moved files.

Promises: total on JSON of any shape, since evidence may have been written by another version; packages and advisory ids
come out in the one form in which they are compared. Does not: read evidence, or check it against its digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from urllib.parse import quote

from governance.collect.collector import NOT_GATHERED
from governance.policy.names import parse_purl
from governance.policy.versions import version_spellings
from governance.report.fields import Fields

ADVISORY = re.compile(
    r"(?:CVE-\d{4}-\d{4,9}|XRAY-\d{1,12}|GHSA(?:-[0-9a-z]{4}){3}|(?:PYSEC|MAL|OSV|JFSA)-\d{4}-\d{1,12})",
    re.IGNORECASE | re.ASCII,
)
"""Ids of advisories as they stand in texts."""

_NORMAL_PURL = re.compile(r"(pkg:pypi/[a-z0-9]+(?:-[a-z0-9]+)*)@(?:(?:0|[1-9][0-9]{0,8})\.)*[1-9][0-9]{0,8}")
"""What would come out as it is: a version without zeros at its end. Most package URLs of models are such."""

_CACHE = 65_536


def normal_advisory(text: str) -> str:
    """The one form in which ids of advisories are compared."""
    return text.strip().upper()


def purl_forms(text: str) -> tuple[str, ...]:
    """A package URL in normal form, with its version where it has one, and without: equal versions (`1.0`, `1.0.0`) have one
    form, and a build (`2.1.0+cu118`) has that of its release too. Nothing for what is none."""
    usual = _NORMAL_PURL.fullmatch(text)
    return (text, usual[1]) if usual is not None else _other_forms(text)


@lru_cache(maxsize=_CACHE)
def _other_forms(text: str) -> tuple[str, ...]:
    purl = parse_purl(text)
    if purl is None:
        return ()
    plain = f"pkg:{purl.package}"
    if not purl.version:
        return (plain,)
    return (*(f"{plain}@{each}" for each in version_spellings(purl.type, purl.version)), plain)


def packages_in(facts: object) -> frozenset[str]:
    """Every package that the facts name, as `purl_forms` gives them: declared, with an advisory, or judged itself."""
    return normal_packages(purls(facts))


def normal_packages(texts: Iterable[str]) -> frozenset[str]:
    """The forms of many package URLs."""
    return frozenset(form for text in texts for form in purl_forms(text))


def advisories_in(facts: object) -> frozenset[str]:
    """Every advisory that the facts name, by each of its ids."""
    return normal_advisories(advisories(facts))


def normal_advisories(texts: Iterable[str]) -> frozenset[str]:
    """The form of many ids."""
    return frozenset(map(normal_advisory, texts))


def files_in(facts: object) -> frozenset[str]:
    """SHA-256 of the files that the facts name."""
    return frozenset(files(facts))


def may_have_more_packages(facts: object) -> bool:
    """Whether the declared packages were asked for and are not known to the last."""
    return _has_gap(facts, "dependencies")


def may_have_more_advisories(facts: object) -> bool:
    """Whether the advisories were asked for and are not known to the last."""
    return _has_gap(facts, "vulnerabilities")


def purls(facts: object) -> tuple[str, ...]:
    """Package URLs as the facts spell them."""
    declared, advised = _items(facts, "dependencies"), _items(facts, "vulnerabilities")
    found = [_purl_of(row, "name", "version") for row in declared]
    found += [_purl_of(row, "component", "component_version") for row in advised]
    if _value(facts, "artifact.kind") == "package":
        names = ("ecosystem", "name", "version")
        found.append(_purl_of({name: _value(facts, f"artifact.{name}") for name in names}, "name", "version"))
    return tuple(filter(None, found))


def advisories(facts: object) -> tuple[str, ...]:
    """Ids of advisories as the facts spell them."""
    rows = _items(facts, "vulnerabilities")
    found = [row.get(name) for row in rows for name in ("id", "cve")]
    return tuple([text for text in found if isinstance(text, str) and text])


def files(facts: object) -> tuple[str, ...]:
    """SHA-256 of files as the facts spell them."""
    found = [row.get("sha256") for row in _items(facts, "files")]
    return tuple([text for text in found if isinstance(text, str) and text])


def moved_in(rows: object) -> frozenset[str]:
    """SHA-256 of the files in a list of moved files."""
    found = [row.get("sha256") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return frozenset(text for text in found if isinstance(text, str) and text)


def advisories_said(verdict: Fields) -> frozenset[str]:
    """Ids of advisories in the findings of a verdict, wherever they stand in them."""
    return frozenset(normal_advisory(found) for text in _said(verdict) for found in ADVISORY.findall(text))


def packages_said(verdict: Fields) -> frozenset[str]:
    """Packages in the findings of a verdict, where a whole value is a package URL."""
    return frozenset(form for text in _said(verdict) if text.startswith("pkg:") for form in purl_forms(text))


def _said(verdict: Fields) -> Iterator[str]:
    for finding in verdict.subs("findings"):
        yield finding.text("message") or ""
        for item in finding.subs("evidence"):
            yield item.text("value") or ""


def _items(facts: object, name: str) -> Sequence[dict[str, object]]:
    fact = facts.get(name) if isinstance(facts, dict) else None
    items = fact.get("items") if isinstance(fact, dict) else None
    return [row for row in items if isinstance(row, dict)] if isinstance(items, list) else ()


def _has_gap(facts: object, name: str) -> bool:
    fact = facts.get(name) if isinstance(facts, dict) else None
    if not isinstance(fact, dict):
        return False
    return "missing" in fact or fact.get("unknown", NOT_GATHERED) != NOT_GATHERED


def _value(facts: object, name: str) -> object:
    fact = facts.get(name) if isinstance(facts, dict) else None
    return fact.get("value") if isinstance(fact, dict) else None


def _purl_of(row: dict[str, object], name: str, version: str) -> str:
    """The package URL of a row, which says it whole or in parts."""
    whole = row.get("purl")
    if isinstance(whole, str):
        return whole
    ecosystem, called, pinned = row.get("ecosystem"), row.get(name), row.get(version)
    if not (isinstance(ecosystem, str) and isinstance(called, str) and ecosystem and called):
        return ""
    at = f"@{quote(pinned, safe='.-_~')}" if isinstance(pinned, str) and pinned else ""
    return f"pkg:{ecosystem}/{quote(called, safe='/@')}{at}"
