"""The inventory in use as a machine-learning bill of materials: CycloneDX 1.6, as JSON.

Promises: one component for each model in use by its bytes, with its files and their hashes, the packages that it declares, the known
vulnerabilities of both, and the last use in each environment with its verdict as properties `mlgov:*`. What nobody established is not left out in
silence: packages that are not known make the model's composition `unknown`. Does not: hold more than `most` models; those over it
are counted in the metadata.

Everything rests on the facts of the newest decision that let the bytes through, so it is as old as that decision, whose id is there.
Each part is made and written by the library, and they are put together here: its own way to put together compares every part with
every other, and it has no classes for model cards and compositions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO
from uuid import UUID, uuid5

import orjson
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository

from governance import __version__
from governance.model.canonical import Json
from governance.report.bill.packages import Packages
from governance.report.bill.trees import as_tree, reference
from governance.report.bill.vulnerabilities import Vulnerabilities
from governance.report.book import InventoryRow, Report
from governance.report.fields import Fields
from governance.report.showing import shown

MOST_MODELS = 5_000
_MOST_FILES = 500
_ROOT = "models-in-use"
_NAMESPACE = UUID("6f5ae3a6-58a5-5c9e-9b0a-3a4a3c1a7d10")
"""Of serial numbers, which are made from what the bill is about, so that the same report has the same."""


@dataclass(slots=True, kw_only=True)
class _Model:
    """A model by its bytes: its newest use, and what is said of each."""

    row: InventoryRow
    uses: list[Property]

    def add(self, row: InventoryRow) -> None:
        """Its use in another environment."""
        self.uses += _uses(row)
        self.row = max(self.row, row, key=lambda each: each.last_used)


class CycloneDxFormat:
    """One bill of materials."""

    name = "report.cdx.json"

    def __init__(self, *, most: int = MOST_MODELS) -> None:
        self._most = most

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        models, omitted = self._models(report)
        packages, vulnerabilities = Packages(), Vulnerabilities()
        components: list[dict[str, Any]] = []
        depends: dict[str, list[str]] = {_ROOT: sorted(models)}
        unproven: dict[str, list[str]] = {"incomplete": [], "unknown": []}
        for key, model in sorted(models.items()):
            facts = _facts(report, model.row)
            declared = packages.of(facts)
            if declared is None:
                unproven["unknown"].append(key)
            elif facts.sub("dependencies").text("missing") is not None:
                unproven["incomplete"].append(key)
            components.append(_model(key, model, facts))
            depends[key] = sorted(reference(each) for each in declared or ())
            vulnerabilities.add(facts, key, declared or ())
        components += sorted(map(as_tree, packages.components), key=_by_reference)
        depends |= {each["bom-ref"]: [] for each in components if each["bom-ref"] not in depends}
        metadata = _metadata(report, omitted, packages.omitted, vulnerabilities.omitted)
        identity = f"{report.origin} {report.checkpoints.head.root.hex()} {report.made_at} {report.filter} {report.since} {report.until}"
        tree = {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": uuid5(_NAMESPACE, identity).urn,
            "version": 1,
            "metadata": as_tree(metadata),
            "components": components,
            "dependencies": [{"ref": key, "dependsOn": on} for key, on in sorted(depends.items())],
            "vulnerabilities": sorted(map(as_tree, vulnerabilities.found), key=_by_reference),
            "compositions": [
                {"aggregate": word, "dependencies": keys} for word, keys in unproven.items() if keys
            ],
        }
        out.write(orjson.dumps(tree, option=orjson.OPT_INDENT_2) + b"\n")

    def _models(self, report: Report) -> tuple[dict[str, _Model], int]:
        models: dict[str, _Model] = {}
        omitted: set[str] = set()
        for row in report.inventory():
            key = _reference(row)
            if key in models:
                models[key].add(row)
            elif len(models) < self._most:
                models[key] = _Model(row=row, uses=_uses(row))
            else:
                omitted.add(key)
        return models, len(omitted)


def _reference(row: InventoryRow) -> str:
    """A reference within the bill: the same for the same bytes at the same place."""
    text = f"{row.ref}\0{row.digest}".encode("utf-8", "replace")
    return f"model-{hashlib.sha256(text).hexdigest()[:32]}"


def _facts(report: Report, row: InventoryRow) -> Fields:
    """The decision's facts; none where their document was erased or cannot be read."""
    document = None if row.facts is None else report.evidence(row.facts)
    try:
        tree = orjson.loads(document) if document is not None else {}
    except ValueError:
        tree = {}
    return Fields(tree if isinstance(tree, dict) else {})


def _model(key: str, model: _Model, facts: Fields) -> dict[str, Any]:
    row = model.row
    digest = row.digest or ""
    properties = {
        "mlgov:repository-path": row.ref, "mlgov:digest": digest, "mlgov:kind": row.kind, "mlgov:facts": row.facts,
        "mlgov:registered": row.registered,
        "mlgov:signature": _signature(facts), "mlgov:packages": _known(facts, "dependencies"),
        "mlgov:vulnerabilities": _known(facts, "vulnerabilities"), "mlgov:files": _known(facts, "files"),
    }  # fmt: skip
    is_model = row.kind == "model"
    tree = as_tree(
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL if is_model else ComponentType.FILE,
            bom_ref=key,
            name=shown(row.name) or "?",
            version=shown(row.version) if row.version else None,
            hashes=_hashes(digest.removeprefix("sha256:")) if digest.startswith("sha256:") else (),
            properties=[*_properties(properties), *model.uses],
        )
    )
    tree["components"] = [as_tree(each) for each in _files(key, facts)]
    if is_model:
        tree["modelCard"] = {"properties": _card(facts)}
    return tree


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
        f"mlgov:{row.environment}:refused-since": str(row.refused_since),
    })  # fmt: skip


def _card(facts: Fields) -> list[Json]:
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
    return rows


def _properties(values: dict[str, str | None]) -> list[Property]:
    return [Property(name=shown(name), value=shown(value)) for name, value in values.items() if value]


def _metadata(report: Report, models: int, packages: int, vulnerabilities: int) -> BomMetaData:
    """What the bill rests on, and how much was left out of it."""
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
        "mlgov:models-left-out": str(models) if models else None,
        "mlgov:packages-left-out": str(packages) if packages else None,
        "mlgov:vulnerabilities-left-out": str(vulnerabilities) if vulnerabilities else None,
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
            bom_ref=_ROOT,
            name=f"models in use, by {shown(report.origin)}",
        ),
        properties=_properties(properties),
    )


def _by_reference(tree: dict[str, Any]) -> str:
    return str(tree["bom-ref"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
