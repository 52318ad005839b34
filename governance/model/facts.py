"""Facts: observations with source and time, and the catalogue of all facts there are.

A fact is a scalar, a tuple of scalars, a `Collection` of items, `None` (known to be absent: nobody set this property)
or `Unknown(reason)`. Unknown is never false, zero or absent, and is carried to every report.

The catalogue below is the one table from which validation, JSON Schema, lint and `docs/facts.md` come.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import quote

from governance.model.canonical import MAX_INT, Json, canonical_bytes
from governance.model.digest import Sha256


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that nobody could establish, and why. `is_lasting` says that asking again will not help; it is told to who asks, and is
    no part of the record. `out_of_reach` where whom we asked gave no answer, and no other reason is known.

    `at_least` is what is known of it all the same: of a fact with an order that it is no less, of a set that it holds these texts
    and maybe more; None where nothing is. A field of an item has none."""

    reason: str
    is_lasting: bool = field(default=False, compare=False)
    out_of_reach: bool = field(default=False, compare=False)
    at_least: str | int | float | tuple[str, ...] | None = None


Scalar: TypeAlias = "str | int | float | bool"
ItemValue: TypeAlias = "Scalar | tuple[str, ...] | Unknown | None"
Item: TypeAlias = "Mapping[str, ItemValue]"


@dataclass(frozen=True, slots=True)
class Collection:
    """Items of one kind. `missing` says why there may be more of them than are known; None means complete. `out_of_reach` as of
    `Unknown`, about what is missing.

    Raises `TypeError` for an item that is no mapping, so that nobody who reads a collection has to look.
    """

    items: tuple[Item, ...]
    missing: str | None = None
    out_of_reach: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        for item in self.items:
            if item.__class__ is not dict and not isinstance(item, Mapping):
                raise TypeError(f"an item of a collection is a mapping, not a {type(item).__name__}")

    @classmethod
    def on_record(cls, items: tuple[Item, ...], missing: str | None) -> Collection:
        """A collection of items that are known to be mappings, without another look at them."""
        made = object.__new__(cls)
        object.__setattr__(made, "items", items)
        object.__setattr__(made, "missing", missing)
        object.__setattr__(made, "out_of_reach", False)
        return made

    @property
    def is_complete(self) -> bool:
        """True where no further item can exist."""
        return self.missing is None


FactValue: TypeAlias = "Scalar | tuple[str, ...] | Collection | Unknown | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a fact came from: the collector or service, and when it was observed (RFC 3339, UTC)."""

    source: str
    observed_at: str


UNREACHABLE, OUT_OF_REACH = "sources.unreachable", "sources.out_of_reach"
"""The facts that `gather` itself supplies: the collectors that got no answer, and the facts that are unknown or incomplete since."""


class FactType(enum.StrEnum):
    """The types of the policy language."""

    STRING = "string"
    NAME = "name"  # a string that its ecosystem spells in several ways
    INTEGER = "integer"
    SCORE = "score"  # a number with one decimal, such as CVSS
    BOOLEAN = "boolean"
    DURATION = "duration"  # whole seconds
    SEVERITY = "severity"  # one of the words of `Severity`
    VERSION = "version"
    LICENCE = "licence"  # an SPDX expression
    PURL = "purl"
    TIME = "time"  # RFC 3339, UTC
    STRINGS = "strings"  # a set of strings
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSpec:
    """One row of the catalogue. `fields` are the members of a collection's items. `ecosystem` fixes how a name or a
    version is compared; where it is None, the fact `artifact.ecosystem` or the item's `ecosystem` or `purl` says. `form` is
    what a text looks like that is no name (`sha256`, `digest`, `commit`), `bounds` where a score lies."""

    name: str
    type: FactType
    source: str
    meaning: str
    unit: str | None = None
    values: tuple[str, ...] = ()
    fields: tuple[FactSpec, ...] = ()
    ecosystem: str | None = None
    form: str | None = None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known for one decision. Names that start with `property.` are open: see `get`. `record` holds the
    same values, to be read and never written.
    """

    values: Mapping[str, FactValue]
    origins: Mapping[str, Origin] = field(default_factory=dict)
    record: Mapping[str, FactValue] = field(init=False, repr=False, compare=False)
    _digest: Sha256 | None = field(default=None, init=False, repr=False, compare=False)
    _document: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # `record` is `values` without the proxy around it: rules look up dozens of facts within microseconds.
        object.__setattr__(self, "record", dict(self.values))
        object.__setattr__(self, "values", MappingProxyType(self.record))
        object.__setattr__(self, "origins", MappingProxyType(dict(self.origins)))

    @classmethod
    def on_record(cls, record: dict[str, FactValue], origins: Mapping[str, Origin], digest: Sha256) -> Facts:
        """Facts made of what nobody else holds, without another copy of it, and with a digest that is known."""
        made = object.__new__(cls)
        setting = object.__setattr__
        setting(made, "record", record)
        setting(made, "values", MappingProxyType(record))
        setting(made, "origins", origins)
        setting(made, "_digest", digest)
        setting(made, "_document", None)
        return made

    def get(self, name: str) -> FactValue:
        """The value of `name`. A name nobody supplied is unknown; a property not set on an artifact whose properties
        were all read (`property.*` is True) is known to be absent."""
        value = self.values.get(name, _MISSING)
        if value is not _MISSING:
            return value
        if name.startswith("property."):
            whole = self.values.get("property.*", _NO_COLLECTOR)
            return whole if isinstance(whole, Unknown) else None
        return _NO_COLLECTOR

    def to_json(self) -> dict[str, Json]:
        """The canonical record: `{name: {value|unknown|items, source, at}}`. `recorded_facts.facts_from_json` is its inverse."""
        document: dict[str, Json] = {}
        for name in sorted(self.values):
            row: dict[str, Json] = dict(_value_to_json(self.values[name]))
            origin = self.origins.get(name)
            if origin is not None:
                row |= {"source": origin.source, "at": origin.observed_at}
            document[written_name(name)] = row
        return document

    def document(self) -> bytes:
        """The canonical bytes of the record. Made once: a model of thousands of files has a long one."""
        if self._document is None:
            object.__setattr__(self, "_document", canonical_bytes(self.to_json()))
        return self._document  # type: ignore[return-value]  # set in the line above

    def digest(self) -> Sha256:
        """SHA-256 of `document`, which is its name in the evidence. Computed once."""
        if self._digest is None:
            object.__setattr__(self, "_digest", Sha256(hashlib.sha256(self.document()).hexdigest()))
        return self._digest  # type: ignore[return-value]  # set in the line above


_NO_COLLECTOR = Unknown("no collector supplies it")
_MISSING = Unknown("")


_BOUNDS = (str, int, float, tuple)


def _value_to_json(value: FactValue) -> dict[str, Json]:
    if isinstance(value, Unknown):
        doubt: dict[str, Json] = {"unknown": written_text(value.reason)}
        known = value.at_least
        return doubt | {"at_least": _member_to_json(known)} if isinstance(known, _BOUNDS) else doubt
    if isinstance(value, Collection):
        rows: dict[str, Json] = {
            "items": [
                {written_name(key): _member_to_json(member) for key, member in item.items()}
                for item in value.items
            ],
        }
        return rows if value.missing is None else rows | {"missing": written_text(value.missing)}
    return {"value": _member_to_json(value)}


def _member_to_json(value: object) -> Json:
    if isinstance(value, Unknown):
        return {"unknown": written_text(value.reason)}
    if isinstance(value, str):
        return written_text(value)
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > MAX_INT):
        return {"decimal": repr(value)}
    if isinstance(value, tuple):
        return [written_text(str(one)) for one in value]
    # A collector from outside may return anything; what is no value of a fact is judged as unknown and recorded so.
    return (
        value
        if value is None or isinstance(value, int)
        else {"unknown": f"a {type(value).__name__} is no value"}
    )


def written_text(text: str) -> str:
    """Text without lone surrogates, which a collector may hand over and canonical JSON may not hold: they must not keep a
    decision off the record. Messages show the same sign in their place, so that what is on record gives the same verdict."""
    return text if text.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


_SURROGATE = re.compile("[\ud800-\udfff]")


def written_name(name: str) -> str:
    """A name as a key of canonical JSON, which is ASCII. Anyone who may annotate an artifact may call a property as he
    likes; that must not keep a decision off the record either."""
    return name if name.isascii() and "%" not in name else quote(name, safe=_NAME_SIGNS, errors="replace")


_NAME_SIGNS = "".join(chr(code) for code in range(32, 127) if chr(code) != "%")


def _fact(name: str, type_: FactType, source: str, meaning: str, **more: object) -> FactSpec:
    return FactSpec(name=name, type=type_, source=source, meaning=meaning, **more)  # type: ignore[arg-type]


_STORAGE, _SCAN, _CONTENTS, _SIGNATURE, _REQUEST = "storage", "xray", "contents", "signature", "request"
_S, _I, _B, _D = FactType.STRING, FactType.INTEGER, FactType.BOOLEAN, FactType.DURATION

ECOSYSTEMS = (
    "pypi", "huggingface", "npm", "cargo", "golang", "maven", "nuget", "conda", "deb", "rpm", "oci", "mlflow", "generic",
)  # fmt: skip

FORMATS = (
    "pickle", "torch-zip", "joblib", "keras-h5", "keras-v3", "npy", "npy-object", "safetensors", "onnx", "gguf", "skops",
    "r-objects", "java-objects", "julia-objects", "tensorflow", "text", "json", "yaml", "python", "native", "archive", "other",
)  # fmt: skip

FORMS = ("sha256", "digest", "commit")
"""What a text of a fact may look like that is no name; see `governance.policy.literals`."""

_FACTS = (
    _fact("artifact.ref", _S, _REQUEST, "repository and path"),
    _fact("artifact.repository", _S, _REQUEST, "repository key"),
    _fact("artifact.path", _S, _REQUEST, "path of the root below the repository"),
    _fact("artifact.name", FactType.NAME, _REQUEST, "name of the model, package or file"),
    _fact("artifact.ecosystem", _S, _STORAGE, "whose rules spell the artifact's name and version", values=ECOSYSTEMS),
    _fact("artifact.version", FactType.VERSION, _REQUEST, "version, where the artifact has one"),
    _fact("artifact.kind", _S, _REQUEST, "sort of artifact",
          values=("model", "file", "folder", "dataset", "package", "image")),
    _fact("artifact.size", _I, _REQUEST, "all files together", unit="bytes"),
    _fact("artifact.digest", _S, _REQUEST, "`sha256:` of a file or `dirhash1:` of a folder", form="digest"),
    _fact("artifact.age", _D, _STORAGE, "time since the newest file was last modified", unit="seconds"),
    _fact("artifact.created_by", _S, _STORAGE, "Artifactory user who created the root"),
    _fact("artifact.origin", _S, _STORAGE, "class of the repository", values=("local", "remote", "virtual", "federated")),
    _fact("publisher", FactType.NAME, _STORAGE,
          "organisation part of a hub name such as `google` in `google/bert`, lower case", ecosystem="huggingface"),
    _fact("revision.ref", _S, _STORAGE, "revision asked for"),
    _fact("revision.pinned", _B, _STORAGE, "whether the revision asked for is a full commit"),
    _fact("revision.resolved", _S, _STORAGE, "full commit that the revision stands for", form="commit"),
    _fact("property.*", _S, _STORAGE, "an Artifactory property, by its key; anyone with the annotate right may change it"),
    _fact("files", FactType.COLLECTION, _CONTENTS, "the artifact's files", fields=(
        _fact("path", _S, _REQUEST, "name below the root"),
        _fact("format", _S, _CONTENTS, "what the file is", values=FORMATS),
        _fact("size", _I, _REQUEST, "bytes", unit="bytes"),
        _fact("sha256", _S, _REQUEST, "SHA-256 in hex", form="sha256"),
        _fact("imports", FactType.STRINGS, _CONTENTS, "names a pickle or YAML tag would import when loaded, a template or graph reaches for, or a configuration fetches"),
    )),
    _fact("xray.malicious", _B, _SCAN, "whether a scanner reports malicious content"),
    _fact("xray.max_cvss", FactType.SCORE, _SCAN, "highest CVSS v3 base score of any advisory; where `vulnerabilities` is incomplete, at least that of those known", bounds=(0, 10)),
    _fact("xray.max_severity", FactType.SEVERITY, _SCAN, "highest severity of any issue; where `vulnerabilities` is incomplete, at least that of those known"),
    _fact("xray.indexed", _B, _SCAN, "whether Xray indexes the repository and knows every file"),
    _fact("xray.watches", FactType.STRINGS, _SCAN, "watches with a violation on the artifact"),
    _fact("xray.violations", _I, _SCAN, "violations that Xray's own policies report"),
    _fact("scan.complete", _B, _SCAN, "whether every file was scanned to the end, with the digest it has now"),
    _fact("scan.age", _D, _SCAN, "time since the oldest scan of any file", unit="seconds"),
    _fact("scan.engines", FactType.STRINGS, _SCAN, "scanners that took part"),
    _fact("scan.database_age", _D, _SCAN, "time since the scanner's advisories were last renewed", unit="seconds"),
    _fact("vulnerabilities", FactType.COLLECTION, _SCAN, "advisories on the artifact and its declared dependencies", fields=(
        _fact("id", _S, _SCAN, "scanner's issue id"),
        _fact("cve", _S, _SCAN, "CVE id, where there is one"),
        _fact("severity", FactType.SEVERITY, _SCAN, "severity"),
        _fact("cvss", FactType.SCORE, _SCAN, "CVSS v3 base score", bounds=(0, 10)),
        _fact("epss", FactType.SCORE, _SCAN, "EPSS probability", bounds=(0, 1)),
        _fact("component", FactType.NAME, _SCAN, "name of the component"),
        _fact("ecosystem", _S, _SCAN, "whose rules spell the component's name and version", values=ECOSYSTEMS),
        _fact("component_version", FactType.VERSION, _SCAN, "version of the component"),
        _fact("fix_available", _B, _SCAN, "whether a fixed version exists"),
        _fact("fixed_in", FactType.STRINGS, _SCAN, "versions that hold the fix"),
        _fact("malicious", _B, _SCAN, "whether it reports malicious content rather than a weakness"),
        _fact("applicable", _B, _SCAN, "whether contextual analysis found it reachable"),
        _fact("published", FactType.TIME, _SCAN, "publication of the advisory"),
        _fact("first_seen", FactType.TIME, _SCAN, "when the advisory first reached this log"),
    )),
    _fact("licences", FactType.COLLECTION, _SCAN, "licences of the artifact and its components", fields=(
        _fact("spdx", FactType.LICENCE, _SCAN, "SPDX expression"),
        _fact("component", _S, _SCAN, "component that carries it"),
    )),
    _fact("dependencies", FactType.COLLECTION, "dependencies", "packages the model declares", fields=(
        _fact("purl", FactType.PURL, "dependencies", "package URL"),
        _fact("name", FactType.NAME, "dependencies", "name"),
        _fact("ecosystem", _S, "dependencies", "whose rules spell name and version; else the purl's type says",
              values=ECOSYSTEMS),
        _fact("version", FactType.VERSION, "dependencies", "pinned version"),
        _fact("direct", _B, "dependencies", "whether the model names it itself"),
    )),
    _fact("operational_risk", FactType.SEVERITY, _SCAN, "worst operational risk of any component; where `vulnerabilities` is incomplete, at least that of those known"),
    _fact("content.verdict", _S, _CONTENTS, "what our own look inside the files says",
          values=("clean", "suspicious", "malicious")),
    _fact("content.files_scanned", _I, _CONTENTS, "files looked into"),
    _fact("content.files_skipped", _I, _CONTENTS, "files that could not be looked into"),
    _fact("content.files_total", _I, _CONTENTS, "files of the artifact"),
    _fact("content.unsafe_imports", FactType.STRINGS, _CONTENTS, "what pickles and YAML tags would import, templates and graphs reach for, and models fetch, on no allow list; at least those of the files that were looked into, where `content.files_skipped` is not 0"),
    _fact("signature.valid", _B, _SIGNATURE, "whether a trusted key signed exactly these bytes"),
    _fact("signature.present", _B, _SIGNATURE, "whether there is a signature at all"),
    _fact("signature.signer", _S, _SIGNATURE, "name of the trusted key's owner"),
    _fact("signature.key_id", _S, _SIGNATURE, "key id"),
    _fact("signature.reason", _S, _SIGNATURE, "why the signature is not valid"),
    _fact("signature.subject", _S, _SIGNATURE, "what the signer named as signed: a logged model's id, else the folder or file"),
    _fact("signature.bundle", _S, _SIGNATURE, "SHA-256 of the signature file that was looked at, in hex", form="sha256"),
    _fact("signature.age", _D, _SIGNATURE, "time since the signature was made", unit="seconds"),
    _fact("manifest.unsigned_files", FactType.STRINGS, _SIGNATURE, "files present and not in the signature"),
    _fact("manifest.missing_files", FactType.STRINGS, _SIGNATURE, "files in the signature and not present"),
    _fact("manifest.changed_files", FactType.STRINGS, _SIGNATURE, "files whose bytes are not the signed ones"),
    _fact(UNREACHABLE, FactType.STRINGS, "gather", "collectors that got no answer, so that this may be an outage"),
    _fact(OUT_OF_REACH, FactType.STRINGS, "gather", "facts that are unknown or incomplete since a source gave no answer"),
    _fact("actor.name", _S, _REQUEST, "who asks"),
    _fact("actor.authenticated", _B, _REQUEST, "whether somebody vouches for the name"),
    _fact("actor.groups", FactType.STRINGS, _REQUEST, "groups of the actor"),
    _fact("actor.kind", _S, _REQUEST, "sort of actor", values=("human", "service", "ci", "unknown")),
    _fact("environment", _S, _REQUEST, "environment of the deciding side"),
    _fact("mlflow.run_id", _S, _REQUEST, "MLflow run"),
    _fact("mlflow.experiment_id", _S, _REQUEST, "MLflow experiment"),
    _fact("mlflow.model_name", _S, _REQUEST, "registered model"),
    _fact("mlflow.model_version", _S, _REQUEST, "version of the registered model"),
    _fact("mlflow.alias", _S, _REQUEST, "alias by which the model was asked for, or that a promotion sets"),
    _fact("mlflow.flavors", FactType.STRINGS, _REQUEST, "flavors of the model"),
)  # fmt: skip

CATALOGUE: Mapping[str, FactSpec] = MappingProxyType({spec.name: spec for spec in _FACTS})


def find_spec(name: str, catalogue: Mapping[str, FactSpec] = CATALOGUE) -> FactSpec | None:
    """The catalogue row of a fact, with any `property.<key>` under `property.*`. None for a name that is not there."""
    if name.startswith("property.") and len(name) > len("property."):
        return catalogue["property.*"]
    return catalogue.get(name)


def extended(specs: Iterable[FactSpec], base: Mapping[str, FactSpec] = CATALOGUE) -> Mapping[str, FactSpec]:
    """The catalogue with the facts of collectors from outside (entry point `governance.facts`) added.

    Raises `ValueError` for a name that is taken, or that has no dot: names without a namespace are ours, and the
    fields of items are looked up before them; and for a form that nobody can read.
    """
    rows = dict(base)
    for spec in specs:
        namespace, dot, _ = spec.name.partition(".")
        if not dot or namespace == "property":
            raise ValueError(f"fact `{spec.name}` needs a namespace of its own, such as `acme.{spec.name}`")
        if spec.name in rows:
            raise ValueError(f"fact `{spec.name}` is in the catalogue already")
        for one in (spec, *spec.fields):
            if one.form is not None and one.form not in FORMS:
                raise ValueError(
                    f"fact `{spec.name}` has the form `{one.form}`; there are {', '.join(FORMS)}"
                )
        rows[spec.name] = spec
    return MappingProxyType(rows)
