"""Random policies, requests and facts: one generator, driven by a seed or by Hypothesis.

Small pools of values on purpose, so that conditions come out true, false and unknown about equally often. The pool of
nasty values holds what a broken or hostile collector could supply; every operator must stay total over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import yaml
from hypothesis import strategies as st

from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import parse_sha256
from governance.model.facts import (
    CATALOGUE,
    Collection,
    Facts,
    FactSpec,
    FactType,
    FactValue,
    Origin,
    Unknown,
)
from governance.model.request import Action, Actor, ActorKind, Request, utc_text
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files

Tree = dict[str, Any]
T = FactType

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
BYTES = ("a" * 64, "b" * 64)
REPOSITORIES = ("hf-remote", "models-local")
ENVIRONMENTS = ("production", "prod", "Staging", "development", "dev")
POLICIES = ("alpha", "beta", "gamma")
LISTS = {"names": ["acme", "Google"], "licences": ["MIT", "Apache-2.0"], "texts": ["pickle", "onnx", "alice"]}

SCALARS = (
    "artifact.name", "artifact.version", "artifact.origin", "artifact.age", "artifact.size", "artifact.created_by",
    "publisher", "revision.pinned", "property.team", "xray.malicious", "xray.max_cvss", "xray.max_severity",
    "scan.complete", "scan.age", "content.verdict", "content.files_skipped", "signature.valid", "operational_risk",
)  # fmt: skip
SETS = ("actor.groups", "scan.engines", "content.unsafe_imports")
COLLECTIONS = ("files", "vulnerabilities", "licences", "dependencies")

TEXTS = ("alice", "bob", "pickle", "a.b*c", "[x]")
VALUES: Mapping[FactType, Sequence[Any]] = {
    T.STRING: TEXTS,
    T.NAME: ("acme", "Acme", "google", "evil_pkg", "Evil.Pkg", "evil-pkg-2"),
    T.INTEGER: (0, 1, 7, 1000),
    T.SCORE: (0.0, 5.0, 7.0, 9.8, 7),
    T.BOOLEAN: (True, False),
    T.DURATION: (0, 3600, 43200, 604800, 604801),
    T.SEVERITY: ("none", "low", "medium", "high", "critical", "unknown"),
    T.VERSION: ("1.0", "1.0.0", "1.0.0rc1", "1.0.0-rc.1", "1.10.0", "1.9.0", "2.0.0", "1!0.1", "1.0+local", "new", "1.0-1",
                "1.9.0~rc1"),
    T.LICENCE: ("MIT", "mit", "GPL-3.0", "GPL-3.0-only", "MIT OR GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0",
                "(MIT OR Apache-2.0) AND AGPL-3.0-only", "NOASSERTION", "MIT OR", "MIT AND NOASSERTION",
                "AGPL-3.0-only AND NOASSERTION", "(AGPL-3.0-only OR noassertion)", "GPL-2.0-only WITH Classpath-exception-2.0",
                "AGPLv3", "AGPL-3.0-or-later", "GPL-2.0-or-later OR AGPL-3.0+", "LicenseRef-acme", "MIT WITH x-exception"),
    T.PURL: ("pkg:pypi/evil_pkg@1.0", "pkg:pypi/Evil-Pkg@2.0", "pkg:pypi/evil-pkg@1.0.0", "pkg:cargo/Evil-Pkg@1.0.0", "pkg:pypi/requests", "pkg:npm/%40acme/tool@1.0.0",
             "pkg:npm/tool@1.0.0", "pypi/evil"),
    T.TIME: ("2026-11-20T00:00:00Z", "2026-11-01T00:00:00.000000Z", "2026-11-21T00:00:00Z", "2026-13-01T00:00:00Z"),
    T.STRINGS: ((), ("alice",), ("alice", "bob"), ("pickle", "a.b*c")),
}  # fmt: skip
LITERALS: Mapping[FactType, Sequence[Any]] = {
    **VALUES,
    T.SCORE: (0.0, 5, 7.0, 9.8),
    T.DURATION: ("0s", "1h", "12h", "7d", "1w", "604801s"),
    T.SEVERITY: ("none", "low", "medium", "high", "critical"),
    T.LICENCE: (
        "MIT",
        "GPL-3.0-only",
        "Apache-2.0",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "GPL-2.0-only",
        "GPL-2.0-only WITH Classpath-exception-2.0",
    ),
    T.PURL: (
        "pkg:pypi/evil-pkg",
        "pkg:pypi/evil_pkg@1.0",
        "pkg:cargo/evil_pkg@1.0.0",
        "pkg:npm/%40acme/tool",
        "pkg:npm/tool",
    ),
    T.TIME: ("2026-11-20T00:00:00Z", "2026-11-15T00:00:00Z"),
}
GLOBS = ("*", "a*", "*e", "?lice", "a.b*c", "[x]", "Evil_*", "e*pkg*", "1.0*", "pick?e")
REGEXES = ("alice|bob", "[a-z]+", ".*", "Evil[._-]?Pkg", "evil.*", "a\\.b.*", "\\d+(\\.\\d+)*")
PURLS = (
    "pkg:pypi/evil-*",
    "pkg:pypi/*",
    "pkg:npm/%40acme/*",
    "pkg:npm/*",
    "pkg:pypi/*@1.*",
    "pkg:pypi/Evil_Pkg",
    "pkg:pypi/Evil_Pkg@1.0.0",
)
RANGES = (">=1.0,<2", "==1.0", "!=1.0", "~=1.9", "vers:npm/>=1.0.0|<2.0.0", "vers:pypi/<=1.0|>=2.0.0", "vers:npm/1.0.0|1.9.0",
          "vers:pypi/!=1.0.0", "vers:pypi/*", "vers:deb/>=1.0-1|<2.0.0", "vers:rpm/<=1.0", "vers:maven/>1.0|<1.10.0", "vers:conda/*")  # fmt: skip
NASTY: Sequence[Any] = (
    "", " ", "\u0000", "\U0001f600", "ﬁ", "İ", "true", "1.0", "null", "None", 0, -1, 2**53 - 1, True, 0.1, float("nan"),
    float("inf"), (), ("x",), "A" * 3000, "../../etc/passwd", "{artifact.ref}", "%00", "\n", "unknown",
)  # fmt: skip
_ORDERED = {T.INTEGER, T.SCORE, T.DURATION, T.SEVERITY, T.VERSION, T.TIME}


# Documents


def documents(r: Random) -> list[Tree]:
    """Policies, and perhaps a set and waivers, that load."""
    policies = [policy(r, name) for name in POLICIES[: r.randint(1, 3)]]
    found = [*policies, policy_set(r, [one["metadata"]["name"] for one in policies])]
    rules = [
        (one["metadata"]["name"], rule)
        for one in policies
        for rule in one["spec"]["rules"]
        if rule["effect"] != "allow" and rule.get("waivable") != "never"
    ]
    if rules:
        found.extend(waiver(r, number, r.choice(rules)) for number in range(r.randint(0, 3)))
    return found


def policy(r: Random, name: str) -> Tree:
    match: Tree = {}
    if r.random() < 0.3:
        match["actions"] = r.sample([one.value for one in Action], r.randint(2, 4))
    if r.random() < 0.2:
        match["repositories"] = [r.choice(["hf-*", "*", "models-local"])]
    if r.random() < 0.15:
        match["environments"] = [r.choice(["prod", "production", "d*", "staging"])]
    if r.random() < 0.15:
        match["actors"] = [r.choice(["group:speech", "user:alice", "b*", "group:*"])]
    if r.random() < 0.1:
        match["kinds"] = ["model", "file"]
    spec: Tree = {"default": r.choice(["allow", "warn", "quarantine", "block"])}
    spec["rules"] = [rule(r, f"r{number}") for number in range(r.randint(1, 4))]
    if match:
        spec["match"] = match
    return {"apiVersion": "mlgov/v1", "kind": "Policy", "metadata": {"name": name}, "spec": spec}


def rule(r: Random, id_: str, effect: str | None = None) -> Tree:
    effect = effect or r.choice(["allow", "warn", "quarantine", "block", "block"])
    found: Tree = {"id": id_, "effect": effect, "message": "because of {artifact.ref}"}
    found["when"] = condition(r, 3)
    if r.random() < 0.4:
        found["onUnknown"] = r.choice(["match", "skip"])
    if effect in {"quarantine", "block"} and r.random() < 0.3:
        found["when"] = graced(r, found["when"])
        found["grace"] = {
            one: r.choice(["1d", "7d", "30d"]) for one in r.sample(["prod", "staging", "development"], 2)
        }
    if effect != "allow" and r.random() < 0.15:
        found["waivable"] = "never"
    return found


def graced(r: Random, when: Tree) -> Tree:
    some = {"some": "vulnerabilities", "where": {"fact": "cvss", "gte": r.choice([5, 7.0])}}
    return r.choice([some, {"any": [some, when]}, {"all": [when, some]}])


def policy_set(r: Random, names: Sequence[str]) -> Tree:
    spec: Tree = {"lists": deepcopy(LISTS)}
    if r.random() < 0.3:
        spec["layers"] = [{"name": "org", "policies": [r.choice([*names, "*"])]}]
        if r.random() < 0.5:
            spec["layers"].append({"name": "team", "extends": "org", "policies": [r.choice([*names, "*a"])]})
    if r.random() < 0.5:
        spec["bindings"] = [
            {
                "policies": [r.choice([*names, "*"])],
                "environments": r.sample(["prod", "staging", "dev*", "*"], 2),
                "mode": r.choice(["observe", "warn", "enforce"]),
            }
            for _ in range(r.randint(1, 3))
        ]
    return {
        "apiVersion": "mlgov/v1",
        "kind": "PolicySet",
        "metadata": {"name": "acme", "revision": 7},
        "spec": spec,
    }


def waiver(r: Random, number: int, covered: tuple[str, Tree]) -> Tree:
    starts = NOW + timedelta(days=r.choice([-30, -1, 0, 1]))
    spec: Tree = {
        "rule": f"{covered[0]}/{covered[1]['id']}",
        "artifact": {"ref": r.choice(["hf-remote/acme/tiny", "models-local/acme/tiny"]),
                     "digest": r.choice([request(Random(0)).artifact.digest, f"sha256:{'c' * 64}"])},
        "reason": "looked at by hand",
        "requestedBy": "alice",
        "approvedBy": ["bob", "carol"],
        "starts": utc_text(starts),
        "expires": utc_text(starts + timedelta(days=r.choice([1, 30, 60]))),
    }  # fmt: skip
    scope: Tree = {}
    if r.random() < 0.3:
        scope["environments"] = [r.choice(["prod", "d*", "staging"])]
    if r.random() < 0.3:
        scope["actors"] = [r.choice(["group:speech", "alice", "user:b*"])]
    if r.random() < 0.2:
        spec["revoked"] = {"at": utc_text(NOW + timedelta(days=r.choice([-1, 0, 1]))), "by": "carol"}
    if scope:
        spec["scope"] = scope
    return {"apiVersion": "mlgov/v1", "kind": "Waiver", "metadata": {"name": f"WVR-{number}"}, "spec": spec}


# Conditions


def condition(r: Random, depth: int, fields: Sequence[FactSpec] | None = None) -> Tree:
    roll = r.random()
    if depth > 0 and roll < 0.3:
        head = r.choice(["all", "any"])
        return {head: [condition(r, depth - 1, fields) for _ in range(r.randint(1, 3))]}
    if depth > 0 and roll < 0.42:
        return {"not": condition(r, depth - 1, fields)}
    if depth > 0 and roll < 0.65:
        return quantified(r, depth, fields)
    return comparison(r, fields)


def quantified(r: Random, depth: int, fields: Sequence[FactSpec] | None) -> Tree:
    inner = [one.name for one in fields or () if one.type is T.STRINGS]
    name = r.choice(inner) if inner and r.random() < 0.6 else r.choice([*COLLECTIONS, *COLLECTIONS, *SETS])
    spec = next((one for one in fields or () if one.name == name), None) or CATALOGUE[name]
    below = MEMBERS if spec.type is T.STRINGS else spec.fields
    return {r.choice(["some", "every"]): name, "where": condition(r, depth - 1, below)}


MEMBERS = (FactSpec(name="value", type=T.STRING, source="", meaning=""),)


def comparison(r: Random, fields: Sequence[FactSpec] | None) -> Tree:
    if fields is not None and r.random() < 0.85:
        spec = r.choice(fields)
        name = spec.name
    else:
        name = r.choice([*SCALARS, *SCALARS, *SETS, *COLLECTIONS])
        spec = CATALOGUE["property.*" if name.startswith("property.") else name]
    found: Tree = {"fact": name}
    for _ in range(2 if r.random() < 0.15 else 1):
        key, operand = operation(r, spec)
        if key not in found:
            found[key] = operand
    return found


def operation(r: Random, spec: FactSpec) -> tuple[str, Any]:
    kind = spec.type
    choices = ["exists"]
    if kind not in {T.STRINGS, T.COLLECTION}:
        choices += ["is", "is"] + ([] if kind is T.BOOLEAN else ["in", "in"])
    if kind in _ORDERED:
        choices += ["lt", "lte", "gt", "gte"]
    if kind in {T.STRING, T.NAME}:
        choices += ["glob", "regex"]
    choices += {
        T.VERSION: ["versions", "versions", "glob"],
        T.PURL: ["purl", "purl"],
        T.LICENCE: ["requires"],
    }.get(kind, [])
    operator = r.choice(choices)
    if operator == "exists":
        return "exists", r.random() < 0.5
    if operator == "in":
        named = {T.NAME: "names", T.LICENCE: "licences", T.STRING: "texts"}.get(kind)
        if named and not spec.values and spec.form is None and r.random() < 0.4:
            return "in", {"list": named}
        return "in", [literal(r, spec) for _ in range(r.randint(1, 3))]
    patterns = {"glob": GLOBS, "regex": REGEXES, "purl": PURLS, "versions": RANGES}
    if operator in patterns:
        return "matches", {operator: r.choice(patterns[operator])}
    if operator == "requires":
        return "matches", {"requires": [literal(r, spec) for _ in range(r.randint(1, 2))]}
    return operator, literal(r, spec)


def literal(r: Random, spec: FactSpec) -> Any:
    if spec.form is not None:
        return r.choice([f"sha256:{one}" if spec.form == "digest" else one for one in BYTES])
    if spec.bounds is not None and spec.bounds[1] < 10:
        return r.choice((0.0, 0.5, 1))
    return r.choice(spec.values or LITERALS[spec.type])


# Requests and facts


def request(r: Random) -> Request:
    files = [
        FileEntry(path=parse_relative_path(name), size=3, sha256=parse_sha256(BYTES[r.random() < 0.1]))
        for name in ("config.json", "model.bin")
    ]
    if r.random() < 0.05:
        files[0] = FileEntry(path=files[0].path, size=3)
    return Request(
        action=r.choice([Action.DOWNLOAD, Action.LOAD, Action.UPLOAD]),
        artifact=Artifact(
            kind=Kind.MODEL if r.random() < 0.9 else Kind.DATASET,
            host="repo.example.org",
            repository=parse_repository_key(r.choice(REPOSITORIES)),
            path="acme/tiny",
            name="tiny",
            files=tuple(files),
        ),
        actor=Actor(
            name=r.choice(["alice", "bob"]),
            kind=ActorKind.HUMAN,
            groups=r.choice([(), ("speech",), ("vision", "speech")]),
        ),
        environment=r.choice(ENVIRONMENTS),
        at=NOW + timedelta(seconds=r.choice([0, 0, 0, 1, 86_400, -86_400])),
        correlation="c",
    )


def facts(r: Random, nasty: float = 0.06) -> Facts:
    values: dict[str, FactValue] = {"artifact.ref": "hf-remote/acme/tiny"}
    for name in (*SCALARS, *SETS):
        spec = CATALOGUE["property.*" if name.startswith("property.") else name]
        _put(r, values, name, _in_part(r, spec) if r.random() < 0.1 else _scalar(r, spec, nasty), absent=0.12)
    if r.random() < 0.7:
        values["artifact.ecosystem"] = r.choice(["pypi", "npm", "huggingface", "generic"])
    for name in COLLECTIONS:
        _put(r, values, name, _collection(r, CATALOGUE[name], nasty), absent=0.1)
    origins = {name: Origin(source="test", observed_at="2026-11-20T00:00:00.000000Z") for name in values}
    return Facts(values, origins)


def _put(r: Random, values: dict[str, FactValue], name: str, value: FactValue, *, absent: float) -> None:
    if r.random() >= absent:
        values[name] = value


def _in_part(r: Random, spec: FactSpec) -> Unknown:
    """What is known to be at least something, now and then of another sort than it should be."""
    known = r.choice(NASTY) if r.random() < 0.1 else r.choice(spec.values or VALUES[spec.type])
    return Unknown("the scanner fell silent in the middle", at_least=known)


def _scalar(r: Random, spec: FactSpec, nasty: float) -> Any:
    roll = r.random()
    if roll < nasty:
        return r.choice(NASTY)
    if roll < nasty + 0.1:
        return Unknown("the scanner did not answer")
    if roll < nasty + 0.2:
        return None
    return r.choice(spec.values or VALUES[spec.type])


def _collection(r: Random, spec: FactSpec, nasty: float) -> Any:
    roll = r.random()
    if roll < 0.08:
        return Unknown("the scanner did not answer")
    if roll < 0.08 + nasty / 2:
        return r.choice([None, "text", 7, ("a", "b"), True])
    items = [_item(r, spec, nasty) for _ in range(r.choice([0, 1, 1, 2, 3]))]
    return Collection(tuple(items), "one page of answers is missing" if r.random() < 0.2 else None)


def _item(r: Random, spec: FactSpec, nasty: float) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for one in spec.fields:
        if r.random() < 0.9:
            item[one.name] = _scalar(r, one, nasty)
    if "first_seen" in item and r.random() < 0.7:
        item["first_seen"] = utc_text(NOW - timedelta(days=r.choice([0, 1, 5, 7, 20, 40, -1])))
    return item


# Loading, and Hypothesis


def text_of(tree: Tree, *, as_json: bool = False) -> bytes:
    """The document as a file. JSON is YAML too."""
    if as_json:
        return json.dumps(tree).encode()
    return yaml.dump(tree, Dumper=_Plain, sort_keys=False).encode()


class _Plain(yaml.SafeDumper):
    """Writes shared values out: anchors are refused."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load(trees: Sequence[Tree]) -> PolicyBundle:
    """The bundle behind the documents, each in a file of its own."""
    return load_files(
        {f"{number}.yaml": text_of(tree, as_json=number % 2 == 0) for number, tree in enumerate(trees)}
    )


def _built(build: Any) -> Any:
    return st.randoms(use_true_random=False).map(build)


document_lists: st.SearchStrategy[list[Tree]] = _built(documents)
requests: st.SearchStrategy[Request] = _built(request)
fact_sets: st.SearchStrategy[Facts] = _built(facts)
