"""The world of `benchmarks.policy`: rules in a neutral form, requests, and our engine's reading of both.

The rules are plain data, so that each engine gets its own idiom of the same policy. What an engine must answer is the
outcome and the names of all rules that matched; a naive interpreter here says what is right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import Sha256
from governance.model.facts import Collection, Facts, FactValue, Origin
from governance.model.request import Action, Actor, Request

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SEED = 20261122

Atom = tuple[Any, ...]

PACKAGES = [f"{first}-{second}" for first in ("torch", "tensor", "data", "ml", "py", "fast", "deep", "auto") for second in ("kit", "utils", "core", "io", "viz", "serve", "text", "vision")]  # fmt: skip
PUBLISHERS = ["acme", "google", "nvidia", "microsoft", "evilcorp", "someone", "bigscience", "mistralai"]
REPOSITORIES = ["models-local", "hf-remote", "pypi-remote", "models-staging", "team-speech", "team-vision"]
FORMATS = ["safetensors", "onnx", "pickle", "torch-zip", "joblib", "keras-h5", "gguf", "text"]
LICENCES = ["MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0-only", "AGPL-3.0-only", "CC-BY-NC-4.0"]
GROUPS = ["speech", "vision", "platform", "interns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived:
    """A rule is off for one artifact digest until a day."""

    digest: str
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralRule:
    """A rule that matches where all atoms hold."""

    id: str
    effect: str
    atoms: tuple[Atom, ...]
    waived: Waived | None = None


def realistic_rules() -> list[NeutralRule]:
    """27 rules as a team might have them after a year; four of them with a waiver."""

    def block(name: str, *atoms: Atom, waived: int | None = None) -> NeutralRule:
        waiver = (
            None
            if waived is None
            else Waived(digest=digest_of(waived), expires=NOW + timedelta(days=waived % 5 - 1))
        )
        return NeutralRule(id=name, effect="block", atoms=atoms, waived=waiver)

    return [
        block("malicious", ("is", "xray.malicious", True)),
        block("suspicious", ("is", "content.verdict", "malicious")),
        block("unsigned-prod", ("is", "environment", "production"), ("is", "signature.valid", False), waived=3),
        block("changed", ("is", "signature.present", True), ("is", "signature.valid", False)),
        block("critical", ("some_vuln", 9.0, None), waived=12),
        block("fixable-high", ("some_vuln", 7.0, True), ("is", "environment", "production"), waived=24),
        block("log4shell", ("some_cve", "CVE-2021-44228")),
        block("pyyaml", ("some_cve", "CVE-2019-20477")),
        block("torch-rce", ("some_cve", "CVE-2025-32434")),
        block("agpl", ("some_licence", ("AGPL-3.0-only",))),
        block("non-commercial", ("some_licence", ("CC-BY-NC-4.0",)), ("is", "environment", "production")),
        block("pickle-hub", ("some_format", ("pickle", "torch-zip", "joblib", "keras-h5")), ("is", "artifact.repository", "hf-remote"), waived=38),
        block("pickle-interns", ("some_format", ("pickle",)), ("group", "interns")),
        block("evilcorp", ("in", "publisher", ("evilcorp", "mallory"))),
        block("typosquat-torch", ("glob", "artifact.name", "torch-kit*"), ("is", "publisher", "someone")),
        block("internal-name", ("glob", "artifact.name", "acme-*"), ("is", "artifact.origin", "remote")),
        block("moving-revision", ("is", "artifact.repository", "hf-remote"), ("is", "revision.pinned", False)),
        block("too-new", ("lt", "artifact.age", 3 * 86_400), ("is", "artifact.origin", "remote")),
        block("stale-scan", ("gt", "scan.age", 30 * 86_400)),
        block("not-scanned", ("is", "scan.complete", False)),
        block("too-large", ("gt", "artifact.size", 200_000_000_000)),
        block("skipped-files", ("gt", "content.files_skipped", 0), ("is", "environment", "production")),
        block("risky", ("gte_severity", "operational_risk", "critical")),
        block("staging-only", ("is", "artifact.repository", "models-staging"), ("is", "environment", "production")),
        NeutralRule(id="own", effect="allow", atoms=(("is", "artifact.origin", "local"), ("is", "signature.valid", True))),
        NeutralRule(id="trusted", effect="allow", atoms=(("in", "publisher", ("acme", "google", "nvidia", "microsoft")), ("lt", "xray.max_cvss", 7.0))),
        NeutralRule(id="dev", effect="allow", atoms=(("is", "environment", "development"), ("is", "xray.malicious", False))),
    ]  # fmt: skip


def many_rules(count: int) -> list[NeutralRule]:
    """The 27, and deny lists around them: packages, advisories, publishers, repositories, paths, a few thresholds."""
    dice = random.Random(SEED + count)
    rules = realistic_rules()
    while len(rules) < count:
        number = len(rules)
        atoms = _generated(dice, number)
        effect = "allow" if dice.random() < 0.05 else "block"
        rules.append(NeutralRule(id=f"r{number}", effect=effect, atoms=atoms))
    return rules


def _generated(dice: random.Random, number: int) -> tuple[Atom, ...]:
    sort = dice.random()
    if sort < 0.35:
        return (("is", "artifact.name", f"{dice.choice(PACKAGES)}-{number}"),)
    if sort < 0.55:
        return (("some_cve", f"CVE-20{dice.randint(15, 26)}-{dice.randint(1000, 60000)}"),)
    if sort < 0.70:
        return (("is", "publisher", f"org-{number}"), ("some_format", (dice.choice(FORMATS),)))
    if sort < 0.80:
        return (
            ("is", "artifact.repository", f"team-{dice.randint(0, 4000)}"),
            ("gt", "scan.age", dice.randint(1, 60) * 86_400),
        )
    if sort < 0.90:
        return (("glob", "artifact.name", f"{dice.choice(PACKAGES)}-x{number}-*"),)
    if sort < 0.97:
        return (("is", "artifact.created_by", f"user{number}"), ("is", "environment", "production"))
    return (("glob", "artifact.name", f"*-backdoor{number}"), ("gte_severity", "xray.max_severity", "high"))  # fmt: skip


def digest_of(number: int) -> str:
    """The SHA-256 (hex) of the artifact of request `number`."""
    return f"{number:064x}"


def make_requests(count: int) -> list[dict[str, Any]]:
    """Requests as plain facts, all of them known."""
    dice = random.Random(SEED)
    return [_request(dice, number) for number in range(count)]


def _request(dice: random.Random, number: int) -> dict[str, Any]:
    good = dice.random() < 0.55
    origin = dice.choice(["local", "remote"])
    vulnerabilities = [
        {
            "id": f"XRAY-{dice.randint(1, 9999)}",
            "cve": dice.choice(["CVE-2021-44228", "CVE-2019-20477"]) if dice.random() < 0.02 else f"CVE-20{dice.randint(15, 26)}-{dice.randint(1000, 60000)}",
            "severity": dice.choice(["low", "medium", "high", "critical"]),
            "cvss": round(dice.uniform(1, 6.9 if good else 10), 1),
            "component": dice.choice(PACKAGES),
            "fix_available": dice.random() < 0.5,
        }
        for _ in range(dice.choice([0, 0, 1, 2, 3]))
    ]  # fmt: skip
    return {
        "artifact.ref": f"{(repository := dice.choice(REPOSITORIES))}/models/m{number}",
        "artifact.repository": repository,
        "artifact.name": dice.choice(PACKAGES) + dice.choice(["", "-base", f"-{dice.randint(0, 10_000)}"]),
        "artifact.origin": origin,
        "artifact.size": dice.randint(1_000, 10_000_000_000),
        "artifact.age": dice.randint(1 if not good else 5, 400) * 86_400,
        "artifact.created_by": f"user{dice.randint(0, 300)}",
        "publisher": dice.choice(PUBLISHERS[:4] if good else PUBLISHERS),
        "revision.pinned": good or dice.random() < 0.7,
        "environment": dice.choice(["production", "development", "staging"]),
        "xray.malicious": not good and dice.random() < 0.03,
        "xray.max_cvss": max((float(str(one["cvss"])) for one in vulnerabilities), default=0.0),
        "xray.max_severity": dice.choice(["low", "medium", "high"]),
        "scan.complete": good or dice.random() < 0.9,
        "scan.age": dice.randint(0, 40 if not good else 20) * 86_400,
        "content.verdict": "clean" if good or dice.random() < 0.95 else "malicious",
        "content.files_skipped": 0 if good else dice.choice([0, 0, 1]),
        "signature.present": True,
        "signature.valid": good or dice.random() < 0.8,
        "operational_risk": dice.choice(["low", "medium", "high"]) if good else dice.choice(["medium", "critical"]),
        "actor.groups": tuple(dice.sample(GROUPS, 2)),
        "vulnerabilities": vulnerabilities,
        "licences": [{"spdx": one} for one in dice.sample(LICENCES[:3] if good else LICENCES, 2)],
        "files": [{"path": f"f{place}", "format": dice.choice(FORMATS[:2] if good else FORMATS)} for place in range(dice.randint(2, 5))],
        "digest": digest_of(number),
    }  # fmt: skip


_SEVERITIES = ["none", "unknown", "low", "medium", "high", "critical"]


def severity_rank(word: str) -> int:
    """Place in the order of severities."""
    return _SEVERITIES.index(word)


def holds(atom: Atom, facts: dict[str, Any]) -> bool:
    """Whether an atom holds: the meaning that every engine must reproduce."""
    kind, *rest = atom
    if kind == "some_vuln":
        score, fix = rest
        return any(
            one["cvss"] >= score and (fix is None or one["fix_available"] is fix)
            for one in facts["vulnerabilities"]
        )
    if kind == "some_cve":
        return any(one["cve"] == rest[0] for one in facts["vulnerabilities"])
    if kind == "some_licence":
        return any(one["spdx"] in rest[0] for one in facts["licences"])
    if kind == "some_format":
        return any(one["format"] in rest[0] for one in facts["files"])
    if kind == "group":
        return rest[0] in facts["actor.groups"]
    value, operand = facts[rest[0]], rest[1]
    tests: dict[str, Callable[[], Any]] = {
        "is": lambda: value == operand,
        "in": lambda: value in operand,
        "glob": lambda: fnmatchcase(value, operand),
        "lt": lambda: value < operand,
        "gt": lambda: value > operand,
        "gte_severity": lambda: severity_rank(value) >= severity_rank(operand),
    }
    return bool(tests[kind]())  # fmt: skip


def naive(rules: list[NeutralRule], facts: dict[str, Any]) -> tuple[str, frozenset[str]]:
    """Outcome and the names of all rules that matched and were not waived."""
    matched = [
        rule
        for rule in rules
        if all(holds(atom, facts) for atom in rule.atoms) and not is_waived(rule, facts)
    ]
    effects = {rule.effect for rule in matched}
    outcome = "block" if "block" in effects else "allow" if "allow" in effects else "block"
    return outcome, frozenset(rule.id for rule in matched)  # fmt: skip


def is_waived(rule: NeutralRule, facts: dict[str, Any]) -> bool:
    """Whether the rule's waiver covers the artifact now."""
    return rule.waived is not None and rule.waived.digest == facts["digest"] and rule.waived.expires > NOW


def policy_yaml(rules: list[NeutralRule], requests: list[dict[str, Any]]) -> bytes:
    """Our policy file. `requests` name the artifacts that the waivers are for."""
    refs = {facts["digest"]: facts["artifact.ref"] for facts in requests}
    lines = [
        "apiVersion: mlgov/v1",
        "kind: Policy",
        "metadata: {name: bench}",
        "spec:",
        "  default: block",
        "  rules:",
    ]
    for rule in rules:
        lines += [
            f"    - id: {rule.id}",
            f"      effect: {rule.effect}",
            "      severity: high",
            "      when:",
            "        all:",
            *(f"          - {_yaml_atom(atom)}" for atom in rule.atoms),
            f'      message: "{{artifact.ref}} is refused by {rule.id}"',
        ]
    for rule in rules:
        if rule.waived is not None:
            ref = refs.get(rule.waived.digest, "nowhere/none")
            starts = rule.waived.expires - timedelta(days=30)
            lines += [
                "---",
                "apiVersion: mlgov/v1",
                "kind: Waiver",
                f"metadata: {{name: W-{rule.id}}}",
                "spec:",
                f"  rule: bench/{rule.id}",
                f'  artifact: {{ref: {ref}, digest: "sha256:{rule.waived.digest}"}}',
                "  reason: benchmark",
                "  requestedBy: alice",
                "  approvedBy: [bob]",
                f"  starts: {starts:%Y-%m-%dT%H:%M:%SZ}",
                f"  expires: {rule.waived.expires:%Y-%m-%dT%H:%M:%SZ}",
            ]
    return ("\n".join(lines) + "\n").encode()  # fmt: skip


def _yaml_atom(atom: Atom) -> str:
    kind, *rest = atom
    if kind == "some_vuln":
        score, fix = rest
        parts = f"{{fact: cvss, gte: {score}}}" + (
            "" if fix is None else f", {{fact: fix_available, is: {_word(fix)}}}"
        )
        return f"{{some: vulnerabilities, where: {{all: [{parts}]}}}}"
    if kind == "some_cve":
        return f"{{some: vulnerabilities, where: {{fact: cve, is: {rest[0]}}}}}"
    if kind == "some_licence":
        return f"{{some: licences, where: {{fact: spdx, in: [{', '.join(rest[0])}]}}}}"
    if kind == "some_format":
        return f"{{some: files, where: {{fact: format, in: [{', '.join(rest[0])}]}}}}"
    if kind == "group":
        return f"{{some: actor.groups, where: {{fact: value, is: {rest[0]}}}}}"
    fact, operand = rest
    if kind == "glob":
        return f'{{fact: {fact}, matches: {{glob: "{operand}"}}}}'
    if kind == "in":
        return f"{{fact: {fact}, in: [{', '.join(operand)}]}}"
    if kind == "gte_severity":
        return f"{{fact: {fact}, gte: {operand}}}"
    word = f"{operand // 86_400}d" if fact.endswith(".age") else _word(operand)
    return f"{{fact: {fact}, {kind}: {word}}}"  # fmt: skip


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def our_request(facts: dict[str, Any]) -> tuple[Request, Facts]:
    """The request and facts that our engine judges."""
    ref = facts["artifact.ref"]
    repository, _, path = ref.partition("/")
    artifact = Artifact(
        kind=Kind.FILE,
        host="artifactory.example.org",
        repository=parse_repository_key(repository),
        path=path.rpartition("/")[0],
        name=facts["artifact.name"],
        files=(
            FileEntry(
                path=parse_relative_path(path.rpartition("/")[2]), size=1, sha256=Sha256(facts["digest"])
            ),
        ),
    )
    values: dict[str, FactValue] = {
        name: Collection(tuple(value)) if isinstance(value, list) else value
        for name, value in facts.items()
        if name != "digest"
    }
    values["artifact.ecosystem"] = "pypi"
    origin = Origin(source="benchmark", observed_at="2026-11-22T11:59:00.000000Z")
    request = Request(
        action=Action.LOAD,
        artifact=artifact,
        actor=Actor(name="alice"),
        environment=facts["environment"],
        at=NOW,
        correlation="c",
    )
    return request, Facts(values, dict.fromkeys(values, origin))  # fmt: skip
