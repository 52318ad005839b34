"""The inventory in use as a machine-learning bill of materials: CycloneDX 1.6, as JSON.

Promises: one component for each model in use by its bytes, with its files and their hashes, the packages that it declares, the known
vulnerabilities of both, and the newest verdict in each environment as properties `mlgov:*`. What nobody established is not left out in
silence: packages that are not known make the model's composition `unknown`. Does not: hold more than `most` models; those over it
are counted in the metadata.

Everything rests on the facts of the newest decision that let the bytes through, so it is as old as that decision, whose id is there.
The library has no classes for model cards and compositions; they are added to what it writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO
from uuid import UUID, uuid5

import orjson
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6

from governance import __version__
from governance.model.canonical import Json
from governance.report.bill.packages import Packages
from governance.report.bill.vulnerabilities import Vulnerabilities
from governance.report.book import ComplianceReport, InventoryRow
from governance.report.fields import Fields
from governance.report.showing import shown

MOST_MODELS = 5_000
_MOST_FILES = 500
_NAMESPACE = UUID("6f5ae3a6-58a5-5c9e-9b0a-3a4a3c1a7d10")
"""Of serial numbers, which are made from what the bill is about, so that the same report has the same."""


@dataclass(slots=True, kw_only=True)
class _Model:
    """A model by its bytes, and its uses by environment."""

    component: Component
    facts: Fields
    card: dict[str, Json]
    uses: list[Property] = field(default_factory=list)


class CycloneDxFormat:
    """One bill of materials."""

    name = "report.cdx.json"

    def __init__(self, *, most: int = MOST_MODELS) -> None:
        self._most = most

    def write(self, report: ComplianceReport, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        models, omitted = self._models(report)
        packages, vulnerabilities = Packages(), Vulnerabilities()
        bom = Bom(
            serial_number=uuid5(_NAMESPACE, f"{report.origin} {report.checkpoints.head.root.hex()} {report.made_at}"),
            metadata=_metadata(report, omitted),
        )  # fmt: skip
        unknown: list[str] = []
        for model in models.values():
            model.component.properties.update(model.uses)
            bom.components.add(model.component)
            declared = packages.of(model.facts)
            if declared is None:
                unknown.append(str(model.component.bom_ref.value))
            bom.register_dependency(model.component, declared or ())
            vulnerabilities.add(model.facts, model.component, declared or ())
        bom.components.update(packages.components)
        bom.vulnerabilities.update(vulnerabilities.found)
        assert bom.metadata.component is not None
        bom.register_dependency(bom.metadata.component, [each.component for each in models.values()])
        bom.metadata.properties.update(_left_out(packages.omitted, vulnerabilities.omitted))
        tree = json.loads(JsonV1Dot6(bom).output_as_string())
        _complete(tree, models, unknown)
        out.write(orjson.dumps(tree, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")

    def _models(self, report: ComplianceReport) -> tuple[dict[str, _Model], int]:
        models: dict[str, _Model] = {}
        omitted = 0
        for row in report.inventory():
            key = _reference(row)
            if key not in models:
                if len(models) >= self._most:
                    omitted += 1
                    continue
                models[key] = _model(key, row, _facts(report, row))
            models[key].uses += _uses(row)
        return models, omitted


def _reference(row: InventoryRow) -> str:
    """A reference within the bill: the same for the same bytes at the same place."""
    text = f"{row.ref}\0{row.digest}".encode("utf-8", "replace")
    return f"model-{hashlib.sha256(text).hexdigest()[:32]}"


def _facts(report: ComplianceReport, row: InventoryRow) -> Fields:
    """The decision's facts; none where their document was erased or cannot be read."""
    document = None if row.facts is None else report.evidence(row.facts)
    try:
        tree = orjson.loads(document) if document is not None else {}
    except ValueError:
        tree = {}
    return Fields(tree if isinstance(tree, dict) else {})


def _model(key: str, row: InventoryRow, facts: Fields) -> _Model:
    digest = row.digest or ""
    properties = {
        "mlgov:repository-path": row.ref, "mlgov:digest": digest, "mlgov:kind": row.kind, "mlgov:facts": row.facts,
        "mlgov:signature": _signature(facts), "mlgov:packages": _known(facts, "dependencies"),
        "mlgov:vulnerabilities": _known(facts, "vulnerabilities"),
    }  # fmt: skip
    component = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if row.kind == "model" else ComponentType.FILE,
        bom_ref=key,
        name=shown(row.name) or "?",
        version=shown(row.version) if row.version else None,
        hashes=_hashes(digest.removeprefix("sha256:")) if digest.startswith("sha256:") else (),
        properties=_properties(properties),
        components=_files(key, facts),
    )
    return _Model(component=component, facts=facts, card=_card(facts))


def _files(key: str, facts: Fields) -> Iterator[Component]:
    """The model's files as its parts."""
    for place, item in enumerate(islice(facts.sub("files").subs("items"), _MOST_FILES)):
        path, sha256 = item.text("path"), item.text("sha256")
        if path:
            yield Component(
                type=ComponentType.FILE,
                bom_ref=f"{key}-file-{place}",
                name=shown(path),
                hashes=_hashes(sha256),
                properties=_properties({"mlgov:format": item.text("format")}),
            )


def _hashes(value: str | None) -> list[HashType]:
    is_one = value is not None and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return [HashType(alg=HashAlgorithm.SHA_256, content=str(value))] if is_one else []


def _signature(facts: Fields) -> str:
    valid = facts.sub("signature.valid")
    if valid.is_set("value"):
        return f"valid, by {facts.sub('signature.signer').text('value') or 'an unnamed key'}"
    return "not valid" if valid.body.get("value") is False else "not known"


def _known(facts: Fields, name: str) -> str:
    """Whether the items of a fact are all there are, so that an empty list does not pass for a good one."""
    fact = facts.sub(name)
    if not isinstance(fact.body.get("items"), list):
        return f"not known: {fact.text('unknown') or 'no facts are kept'}"
    missing = fact.text("missing")
    return "known" if missing is None else f"incomplete: {missing}"


def _uses(row: InventoryRow) -> list[Property]:
    """What the newest decision in an environment said, and how often the bytes were used there."""
    return _properties({
        f"mlgov:{row.environment}:verdict": row.result,
        f"mlgov:{row.environment}:decision": row.decision,
        f"mlgov:{row.environment}:uses": str(row.uses),
        f"mlgov:{row.environment}:first-used": row.first_used,
        f"mlgov:{row.environment}:last-used": row.last_used,
    })  # fmt: skip


def _card(facts: Fields) -> dict[str, Json]:
    """What is known of the model itself: what MLflow said of it."""
    names = (
        "mlflow.model_name",
        "mlflow.model_version",
        "mlflow.run_id",
        "mlflow.experiment_id",
        "publisher",
        "revision.resolved",
    )
    rows: list[Json] = [
        {"name": f"mlgov:{name}", "value": shown(value)}
        for name in names
        if (value := facts.sub(name).text("value"))
    ]
    rows += [
        {"name": "mlgov:mlflow.flavor", "value": shown(each)}
        for each in facts.sub("mlflow.flavors").texts("value")
    ]
    return {"properties": rows} if rows else {}


def _properties(values: dict[str, str | None]) -> list[Property]:
    return [Property(name=shown(name), value=shown(value)) for name, value in values.items() if value]


def _left_out(packages: int, vulnerabilities: int) -> list[Property]:
    counts = {"mlgov:packages-left-out": packages, "mlgov:vulnerabilities-left-out": vulnerabilities}
    return [Property(name=name, value=str(count)) for name, count in counts.items() if count]


def _metadata(report: ComplianceReport, omitted: int) -> BomMetaData:
    head = report.checkpoints.head
    properties = {
        "mlgov:log": report.origin,
        "mlgov:log-proves-itself": "yes" if report.is_good else "NO: do not rely on this bill",
        "mlgov:log-size": str(head.size),
        "mlgov:log-root": head.root.hex(),
        "mlgov:log-key": report.vkey,
        "mlgov:since": report.since,
        "mlgov:until": report.until,
        "mlgov:selection": report.filter,
        "mlgov:verify": report.command,
        "mlgov:models-left-out": str(omitted) if omitted else None,
    }
    return BomMetaData(
        timestamp=_time(report.made_at),
        tools=ToolRepository(
            components=[
                Component(
                    type=ComponentType.APPLICATION,
                    name="mlflow-governance",
                    version=__version__,
                )
            ]
        ),
        component=Component(
            type=ComponentType.PLATFORM,
            bom_ref="models-in-use",
            name=f"models in use, by {shown(report.origin)}",
        ),
        properties=_properties(properties),
    )


def _complete(tree: dict[str, Any], models: dict[str, _Model], unknown: list[str]) -> None:
    """Add what the library has no classes for."""
    for component in tree.get("components", ()):
        model = models.get(component.get("bom-ref", ""))
        if model is not None and model.card and component["type"] == "machine-learning-model":
            component["modelCard"] = model.card
    if unknown:
        tree["compositions"] = [{"aggregate": "unknown", "dependencies": sorted(unknown)}]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
