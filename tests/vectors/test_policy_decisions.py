"""The engine against the decision vectors of `tests/vectors/policy`, whose README says what they mean.

The files are read without making dates, numbers of versions or booleans of anything that YAML 1.2 does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import parse_sha256
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle, from_document
from governance.policy.evaluate import evaluate
from governance.policy.literals import parse_time
from governance.policy.load import load_files
from governance.policy.strict_yaml import parse_yaml

FOLDER = Path(__file__).parent / "policy"
LEAST = 200
OPERATORS = (
    "is", "in", "lt", "lte", "gt", "gte", "exists", "glob", "regex", "purl", "versions", "requires",
    "all", "any", "not", "some", "every",
)  # fmt: skip
DECISIONS = {"true": "block", "false": "allow", "unknown": "quarantine"}


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One vector, whatever file it comes from."""

    name: str
    documents: list[Any]
    facts: Mapping[str, Any]
    expect: Mapping[str, Any]
    request: Mapping[str, Any] = field(default_factory=dict)
    operator: str | None = None
    truth: str | None = None


def read(pattern: str) -> Iterator[tuple[str, Any]]:
    for path in sorted(FOLDER.glob(pattern)):
        (document,) = parse_yaml(path.read_bytes(), path.name)
        yield path.stem, document.data


def condition_vectors() -> Iterator[Vector]:
    for stem, tree in read("conditions-*.yaml"):
        for row in tree["vectors"]:
            for truth, decision in DECISIONS.items():
                for place, facts in enumerate(row[truth]):
                    yield Vector(
                        name=f"{stem}: {row['name']}: {truth} {place}",
                        documents=documents_for(row),
                        facts=facts,
                        expect={"decision": decision, "rules": {"p/known": truth, "p/perhaps": truth}},
                        operator=row["operator"],
                        truth=truth,
                    )


def documents_for(row: Mapping[str, Any]) -> list[Any]:
    """The policy that the README puts around a condition."""
    common = {"message": "m", "when": row["when"]}
    rules = [
        {"id": "known", "effect": "block", "onUnknown": "skip", **common},
        {"id": "perhaps", "effect": "quarantine", "onUnknown": "match", **common},
    ]
    policy = document("Policy", "p", {"default": "allow", "rules": rules})
    return [policy, document("PolicySet", "s", {"lists": row.get("lists", {})})]


def document(kind: str, name: str, spec: Any) -> Any:
    return {"apiVersion": "mlgov/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def decision_vectors() -> Iterator[Vector]:
    for stem, tree in read("decisions-*.yaml"):
        for group in tree["groups"]:
            for place, case in enumerate(group["cases"]):
                yield Vector(
                    name=f"{stem}: {group['name']}: {case.get('name', place)}",
                    documents=group["documents"],
                    facts=case["facts"],
                    expect=case["expect"],
                    request=case.get("request", {}),
                )


CONDITIONS, DECIDED = list(condition_vectors()), list(decision_vectors())
VECTORS = {vector.name: vector for vector in (*CONDITIONS, *DECIDED)}


def request_for(given: Mapping[str, Any]) -> Request:
    """The README's request, with what the case says otherwise."""
    actor, sha256 = given.get("actor", {}), given.get("sha256", "a" * 64)
    entry = FileEntry(
        path=parse_relative_path("model.bin"), sha256=None if sha256 is None else parse_sha256(sha256)
    )
    return Request(
        action=Action(given.get("action", "load")),
        artifact=Artifact(
            kind=Kind(given.get("kind", "model")),
            host="repo.example.org",
            repository=parse_repository_key(given.get("repository", "models-local")),
            path=given.get("path", "speech/tiny"),
            name="tiny",
            files=(entry,),
        ),
        actor=Actor(name=actor.get("name", "alice"), groups=tuple(actor.get("groups", ()))),
        environment=given.get("environment", "production"),
        at=parse_time(given.get("at", "2026-11-20T12:00:00Z")),
        correlation="c",
    )


def compiled(documents: list[Any]) -> CompiledPolicy:
    files = {f"{place}.yaml": json.dumps(tree).encode() for place, tree in enumerate(documents)}
    return compile_bundle(load_files(files))


def said(policy: CompiledPolicy, request: Request, verdict: Verdict) -> dict[str, Any]:
    """The verdict, in the words of the vectors."""
    return {
        "decision": verdict.decision.word,
        "rules": {row.rule: row.truth.value for row in verdict.rules},
        "fired": sorted(row.rule for row in verdict.rules if row.fired),
        "waived": {row.rule: row.waiver for row in verdict.rules if row.waiver is not None},
        "grace": sorted(row.rule for row in verdict.rules if row.grace is not None),
        "policies": {name: decision.word for name, decision in verdict.by_policy},
        "mode": policy.mode_for(request).value,
    }


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    vector = VECTORS[name]
    policy, request = compiled(vector.documents), request_for(vector.request)
    facts = facts_from_json(vector.facts)
    for judge in (policy, from_document(policy.document)):
        found = said(judge, request, evaluate(judge, request, facts))
        assert {key: found[key] for key in vector.expect} == dict(vector.expect)


def test_there_are_enough_and_no_name_stands_twice() -> None:
    assert len(VECTORS) == len(CONDITIONS) + len(DECIDED)
    assert len(VECTORS) >= LEAST, len(VECTORS)


@pytest.mark.parametrize("truth", DECISIONS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_has_each_truth_value(operator: str, truth: str) -> None:
    assert any(vector.operator == operator and vector.truth == truth for vector in CONDITIONS)


def test_no_vector_is_of_an_operator_that_the_matrix_does_not_know() -> None:
    assert {vector.operator for vector in CONDITIONS} == set(OPERATORS)
