"""The packages that models declare, each once in a bill.

Promises: a package URL that cannot be read makes no component of another name: the package stands there by the name in the facts.
Does not: resolve what the declared packages need in turn.
"""

from __future__ import annotations

import hashlib

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.component import Component, ComponentType
from packageurl import PackageURL

from governance.report.bill.trees import reference
from governance.report.fields import Fields
from governance.report.showing import shown

MOST_PACKAGES = 50_000


class Packages:
    """All packages of a bill."""

    def __init__(self, *, most: int = MOST_PACKAGES) -> None:
        self._most = most
        self._known: dict[str, Component] = {}
        self._licences = LicenseFactory()
        self.omitted = 0

    @property
    def components(self) -> list[Component]:
        """Each of them."""
        return list(self._known.values())

    def of(self, facts: Fields) -> tuple[Component, ...] | None:
        """The packages that one model declares. None where nobody found out."""
        fact = facts.sub("dependencies")
        if not isinstance(fact.body.get("items"), list):
            return None
        licences = {item.word("component"): item.word("spdx") for item in facts.sub("licences").subs("items")}
        found = (self._package(item, licences) for item in fact.subs("items"))
        return tuple({reference(each): each for each in found if each is not None}.values())

    def _package(self, item: Fields, licences: dict[str, str]) -> Component | None:
        name, number, text = item.word("name"), item.text("version"), item.text("purl")
        key = text or f"{name}@{number}"
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most:
                self.omitted += 1
                return None
            purl = _purl(text)
            known = self._known[key] = Component(
                type=ComponentType.LIBRARY,
                bom_ref=f"package-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}",
                name=shown(purl.name if purl else name) or "?",
                version=shown(number) if number else None,
                purl=purl,
            )
        spdx = licences.get(f"{known.purl.type if known.purl else 'pypi'}://{name}:{number}")
        if spdx is not None and not len(known.licenses):
            known.licenses.add(self._licences.make_from_string(shown(spdx)))
        return known


def _purl(text: str | None) -> PackageURL | None:
    try:
        return PackageURL.from_string(text) if text else None
    except ValueError:
        return None
