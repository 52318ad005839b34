"""Reading the cases of a `PolicyTest`: fixtures become facts, each value checked by the type of its fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from governance.model.artifact import parse_repository_key
from governance.model.facts import Collection, FactSpec, FactType, Item, Unknown, find_spec
from governance.model.verdict import Effect
from governance.policy.documents import Case, Expectation, Suite
from governance.policy.literals import LiteralError, has_bounds, is_free, parse_literal, parse_time
from governance.policy.mistakes import Mistakes, Path
from governance.policy.schema import CaseShape, ExpectShape, TestShape


def read_suite(shape: TestShape, source: str, catalogue: Mapping[str, FactSpec], mistakes: Mistakes) -> Suite:
    """The suite; mistakes in fixtures and cases are noted."""
    spec = shape.spec
    reader = FactReader(catalogue, mistakes)
    fixtures = {name: reader.facts(tree, ("spec", "fixtures", name)) for name, tree in spec.fixtures.items()}
    at = _time(spec.at, ("spec", "at"), mistakes)
    cases = []
    seen: set[str] = set()
    for place, one in enumerate(spec.cases):
        path: Path = ("spec", "cases", place)
        if one.name in seen:
            mistakes.add((*path, "name"), "a name that no other case has", got=one.name)
        seen.add(one.name)
        when = _time(one.at, (*path, "at"), mistakes) if one.at is not None else at
        case = _case(one, path, fixtures, reader, when)
        cases.append(replace(case, environment=one.environment or spec.environment))
    return Suite(
        name=shape.metadata.name,
        source=source,
        policies=None if spec.policies is None else tuple(spec.policies),
        cases=tuple(cases),
    )


def _case(
    shape: CaseShape, path: Path, fixtures: Mapping[str, dict[str, Any]], reader: FactReader, at: datetime
) -> Case:
    facts: dict[str, Any] = {}
    if shape.from_ is not None:
        if shape.from_ not in fixtures:
            reader.mistakes.add((*path, "from"), "the name of a fixture", got=shape.from_, among=fixtures)
        facts |= fixtures.get(shape.from_, {})
    facts |= reader.facts(shape.set, (*path, "set"))
    for place, name in enumerate(shape.unset):
        if find_spec(name, reader.catalogue) is None:
            at_unset = (*path, "unset", place)
            reader.mistakes.add(at_unset, "a fact of the catalogue", got=name, among=reader.catalogue)
        facts.pop(name, None)
    return Case(
        name=shape.name,
        facts=facts,
        action=shape.action,
        kind=shape.kind,
        environment="",
        at=at,
        expect=_expectation(shape.expect),
        actor=shape.actor,
        groups=tuple(shape.groups),
    )


def _expectation(shape: ExpectShape) -> Expectation:
    return Expectation(
        verdict=Effect[shape.verdict.upper()],
        rules=None if shape.rules is None else frozenset(shape.rules),
        matched=None if shape.matched is None else frozenset(shape.matched),
        waived=None if shape.waived is None else frozenset(shape.waived),
        retryable=shape.retryable,
        message=shape.message,
    )


def _time(text: str, path: Path, mistakes: Mistakes) -> datetime:
    try:
        return parse_time(text)
    except LiteralError as error:
        mistakes.add(path, error.expected, got=text)
        return datetime.fromtimestamp(0, UTC)


class FactReader:
    """Reads written facts: `{fact: value}`, collections as lists, `{unknown: why}`, with `atLeast` where that much is known of it, and
    `{items: [...], missing: why}` for a collection that may be incomplete. A null is a fact that is known to be absent.
    """

    def __init__(self, catalogue: Mapping[str, FactSpec], mistakes: Mistakes) -> None:
        self.catalogue = catalogue
        self.mistakes = mistakes

    def facts(self, tree: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Facts by name."""
        found: dict[str, Any] = {}
        for name, value in tree.items():
            if name == "property.*":  # whether all properties were read
                found[name] = True if value is True else Unknown("the properties were not read")
                continue
            spec = find_spec(name, self.catalogue)
            if spec is None:
                self.mistakes.add(
                    (*path, name), "a fact of the catalogue", got=name, among=self.catalogue, key=True
                )
                continue
            found[name] = self._fact(spec, value, (*path, name))
            if name in {"artifact.ref", "artifact.repository"} and isinstance(value, str):
                self._repository(name, value, (*path, name))
        return found

    def _repository(self, name: str, value: str, path: Path) -> None:
        """The request of a case is for a place that there can be."""
        key = value.partition("/")[0] if name == "artifact.ref" else value
        try:
            parse_repository_key(key)
        except ValueError:
            expected = "a repository key (letters, digits, `.`, `_` and `-`, at most 64)"
            more = " and a path, `repository/path`" if name == "artifact.ref" else ""
            self.mistakes.add(path, f"{expected}{more}", got=value)

    def _fact(self, spec: FactSpec, value: Any, path: Path) -> Any:
        """One fact: a value, or what is known of one."""
        if has_bounds(spec) and isinstance(value, dict) and value.keys() == {"unknown", "atLeast"}:
            known = self.value(spec, value["atLeast"], (*path, "atLeast"))
            return Unknown(str(value["unknown"]), at_least=None if isinstance(known, Unknown) else known)
        return self.value(spec, value, path)

    def value(self, spec: FactSpec, value: Any, path: Path) -> Any:
        """One value."""
        if value is None:
            return None
        if isinstance(value, dict) and value.keys() == {"unknown"}:
            return Unknown(str(value["unknown"]))
        if spec.type is FactType.COLLECTION:
            return self._collection(spec, value, path)
        if spec.type is FactType.STRINGS:
            return self._strings(value, path)
        return value if is_free(spec) and isinstance(value, str) else self._literal(spec, value, path)

    def _strings(self, value: Any, path: Path) -> tuple[str, ...] | None:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        self.mistakes.add(path, "a list of texts", got=value)
        return None

    def _literal(self, spec: FactSpec, value: Any, path: Path) -> Any:
        try:
            return parse_literal(spec, value)
        except LiteralError as error:
            self.mistakes.add(path, error.expected, got=value, among=error.among)
            return None

    def _collection(self, spec: FactSpec, value: Any, path: Path) -> Any:
        missing: str | None = None
        rows = value
        if isinstance(value, dict) and value.keys() == {"items", "missing"}:
            rows, missing = value["items"], str(value["missing"])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            self.mistakes.add(path, "a list of items, or `{items: [...], missing: why}`", got=value)
            return None
        fields = {field.name: field for field in spec.fields}
        items: list[Item] = []
        for place, row in enumerate(rows):
            item: dict[str, Any] = {}
            for name, member in row.items():
                at = (*path, place, name)
                if name not in fields:
                    self.mistakes.add(at, "a field of the item", got=name, among=fields, key=True)
                    continue
                item[name] = self.value(fields[name], member, at)
            items.append(item)
        return Collection(tuple(items), missing)
