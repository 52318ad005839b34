"""JSON Schema of the documents, for editors: pydantic's for the shapes, and conditions from the fact catalogue.

What a schema cannot say (that a list exists, that a message names a known fact) is left to the loader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.model.canonical import MAX_INT
from governance.model.facts import CATALOGUE, FactSpec, FactType
from governance.policy.condition import MEMBER
from governance.policy.literals import (
    DURATION_PATTERN,
    FORMS,
    MAX_TEXT,
    SEVERITIES,
    TIME_PATTERN,
    WRITTEN_OUT,
    has_bounds,
    is_free,
)
from governance.policy.operators import OPERATORS, Operator
from governance.policy.schema import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BASE = "https://mlgov.dev/schema/v1/"

Tree = dict[str, Any]

_SET_TYPES = frozenset({FactType.STRINGS, FactType.COLLECTION})
_LIST: Tree = {
    "type": "object",
    "properties": {"list": {"type": "string", "description": "name of a list of the policy set"}},
    "required": ["list"],
    "additionalProperties": False,
}


def json_schema(kind: str, catalogue: Mapping[str, FactSpec] = CATALOGUE) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of document. Conditions stand in `$defs`, once for each scope. Raises `KeyError` for
    no kind."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    definitions = schema.setdefault("$defs", {})
    rule = definitions.get("RuleShape")
    if rule is not None:
        definitions |= _condition_definitions(catalogue)
        rule["properties"]["when"] = {"$ref": "#/$defs/Condition"}
        rule["anyOf"] = [{"required": ["when"]}, {"required": ["condition"]}]
        refuses = {"properties": {"effect": {"enum": ["block", "quarantine"]}}, "required": ["effect"]}
        rule |= {"if": refuses, "then": {"required": ["message"]}}
        for short in ("ShorthandShape", "AllowShape"):
            _complete_short(definitions[short], catalogue)
    if kind == "PolicyTest":
        definitions["Fixture"] = _fixture(catalogue)
        named = definitions["TestSpecShape"]["properties"]["fixtures"]["patternProperties"]
        named |= {key: {"$ref": "#/$defs/Fixture"} for key in named}
        case = definitions["CaseShape"]["properties"]
        case["set"] = {"$ref": "#/$defs/Fixture"}
        case["unset"]["items"] = {
            "anyOf": [{"enum": sorted(catalogue)}, {"pattern": r"^property\..+$"}],
            "type": "string",
        }
    for one in definitions.values():
        _close_keys(one)
    return {"$schema": DIALECT, "$id": f"{BASE}{kind}.json", **schema, "title": f"mlgov/v1 {kind}"}


def _close_keys(shape: Tree) -> None:
    """Where keys have a form, a key of another one is none: pydantic says what stands under those that have it alone."""
    for property_ in shape.get("properties", {}).values():
        for one in (property_, *property_.get("anyOf", ())):
            if "patternProperties" in one:
                one["additionalProperties"] = False


def _complete_short(short: Tree, catalogue: Mapping[str, FactSpec]) -> None:
    """The short form says something, and its lists hold what the facts they stand for are compared with."""
    short["minProperties"] = 1
    for key, (fact, field) in _SHORT_LISTS.items():
        if key in short["properties"]:
            spec = catalogue[fact]
            literal = _literal(next((one for one in spec.fields if one.name == field), spec))
            listed = next(one for one in short["properties"][key]["anyOf"] if one["type"] == "array")
            listed["items"] = (
                literal if key != "packages" else {"type": "string", "pattern": "^[pP][kK][gG]:."}
            )


_SHORT_LISTS = {
    "publishers": ("publisher", None),
    "formats": ("files", "format"),
    "licences": ("licences", "spdx"),
    "packages": ("dependencies", "purl"),
}
"""The lists of the short form, and the fact or field of items that each is about."""


def _condition_definitions(catalogue: Mapping[str, FactSpec]) -> Tree:
    """One condition for each scope. What compares facts of the artifact is the same in all of them."""
    roots = list(catalogue.values())
    text = FactSpec(name=MEMBER, type=FactType.STRING, source="", meaning="the text itself")
    definitions: Tree = {
        "OnFacts": {"anyOf": [*_quantifiers(roots), *_comparisons(roots)]},
        "Condition": _condition("Condition", []),
        "ConditionOnText": _condition("ConditionOnText", [text]),
    }
    for spec in roots:
        if spec.type is FactType.COLLECTION:
            definitions[_scope(spec)] = _condition(_scope(spec), spec.fields)
    return definitions


def _scope(spec: FactSpec) -> str:
    return f"ConditionOn{spec.name.title().replace('.', '').replace('_', '')}"


def _condition(scope: str, fields: Sequence[FactSpec]) -> Tree:
    this = {"$ref": f"#/$defs/{scope}"}
    several = {"type": "array", "items": this, "minItems": 1}
    return {
        "description": "a condition: `all`, `any`, `not`, `some` or `every` with `where`, or `fact` with operators",
        "anyOf": [
            _object({"all": several}, ["all"]),
            _object({"any": several}, ["any"]),
            _object({"not": this}, ["not"]),
            *_quantifiers(fields),
            *_comparisons(fields, of_item=True),
            {"$ref": "#/$defs/OnFacts"},
        ],
    }


def _quantifiers(sets: Iterable[FactSpec]) -> Iterable[Tree]:
    texts = sorted(spec.name for spec in sets if spec.type is FactType.STRINGS)
    scopes = [(_scope(spec), [spec.name]) for spec in sets if spec.type is FactType.COLLECTION]
    of_texts = [("ConditionOnText", texts)] if texts else []
    for scope, names in (*scopes, *of_texts):
        for word in ("some", "every"):
            yield _object({word: {"enum": names}, "where": {"$ref": f"#/$defs/{scope}"}}, [word, "where"])


def _comparisons(facts: Iterable[FactSpec], *, of_item: bool = False) -> Iterable[Tree]:
    """One alternative for each type, form and bounds, and one for each fact with closed values."""
    alike: dict[tuple[FactType, str | None, tuple[float, float] | None], list[FactSpec]] = {}
    for spec in facts:
        if spec.values:
            yield _comparison({"const": spec.name, "description": spec.meaning}, spec)
        elif spec.name != "property.*":
            alike.setdefault((spec.type, spec.form, spec.bounds), []).append(spec)
    for specs in alike.values():
        yield _comparison({"enum": sorted(spec.name for spec in specs)}, specs[0])
    if of_item:
        return
    yield _comparison(
        {"type": "string", "pattern": r"^property\..+$"},
        FactSpec(name="", type=FactType.STRING, source="", meaning=""),
    )


def _comparison(name: Tree, spec: FactSpec) -> Tree:
    literal = _literal(spec)
    plain: Tree = {}
    matches: Tree = {}
    for row in OPERATORS.values():
        if spec.type in row.types:
            (matches if row.group else plain)[row.name] = _operand(row, literal)
    if matches:
        plain["matches"] = _object(matches, []) | {"minProperties": 1}
    return _object({"fact": name, **plain}, ["fact"]) | {"minProperties": 2}


def _operand(row: Operator, literal: Tree) -> Tree:
    if row.name == "exists":
        return {"type": "boolean", "description": row.meaning}
    if row.many:
        listed = {"type": "array", "items": literal, "minItems": 1}
        return {"anyOf": [listed, _LIST], "description": row.meaning}
    if row.group:
        return {"type": "string", "minLength": 1, "description": row.meaning}
    return literal | {"description": row.meaning}


def _literal(spec: FactSpec) -> Tree:
    if spec.values:
        return {"enum": list(spec.values)}
    text: Tree = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    if spec.form is not None:
        return text | {"pattern": FORMS[spec.form][0]}
    plain: dict[FactType, Tree] = {
        FactType.BOOLEAN: {"type": "boolean"},
        FactType.INTEGER: {"type": "integer"} | _between((-MAX_INT, MAX_INT)),
        FactType.SCORE: {"type": "number"} | _between(spec.bounds),
        FactType.DURATION: {"type": "string", "pattern": DURATION_PATTERN},
        FactType.SEVERITY: {"enum": list(SEVERITIES)},
        FactType.TIME: {"type": "string", "pattern": TIME_PATTERN},
    }
    return plain.get(spec.type, text | ({"pattern": "^[^*]*$"} if spec.type in WRITTEN_OUT else {}))


def _between(bounds: tuple[float, float] | None) -> Tree:
    return {} if bounds is None else {"minimum": bounds[0], "maximum": bounds[1]}


def _fixture(catalogue: Mapping[str, FactSpec]) -> Tree:
    """Facts of a fixture: any value the type takes, null for absent, `{unknown: why}`, and with `atLeast` what is known of it."""
    one_property = FactSpec(name="", type=FactType.STRING, source="", meaning="")
    return {
        "type": "object",
        "properties": {
            name: _fact_value(spec, in_part=has_bounds(spec))
            | {"description": f"{spec.meaning} ({spec.type.value})"}
            for name, spec in sorted(catalogue.items())
            if name != "property.*"
        }
        | {"property.*": {"description": "whether all properties were read"}},
        "patternProperties": {r"^property\.(?!\*$).+$": _fact_value(one_property)},
        "additionalProperties": False,
    }


def _fact_value(spec: FactSpec, *, in_part: bool = False) -> Tree:
    if spec.type is FactType.COLLECTION:
        item = _object({field.name: _fact_value(field) for field in spec.fields}, [])
        items = {"type": "array", "items": item}
        known = [items, _object({"items": items, "missing": {}}, ["items", "missing"])]
    elif spec.type is FactType.STRINGS:
        known = [{"type": "array", "items": {"type": "string"}}]
    else:
        known = [{"type": "string"} if is_free(spec) else _literal(spec)]
    least = {"atLeast": {"anyOf": known}} if in_part else {}
    return {"anyOf": [*known, {"type": "null"}, _object({"unknown": {}, **least}, ["unknown"])]}


def _object(properties: Tree, required: list[str]) -> Tree:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
