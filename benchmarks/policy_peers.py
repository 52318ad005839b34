"""The peers of `benchmarks.policy`: the same rules in CEL, Cedar and Rego, each in its own idiom.

Every peer answers with the outcome and the rules that matched; what it needs to turn a Python request into its own
values is part of its time, as reading facts is part of ours. Where a language cannot say a condition, what Python
computes for it beforehand is part of its time too.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.policy_world import NOW, Atom, NeutralRule, severity_rank

Answer = tuple[str, frozenset[str]]
_NOW = int(NOW.timestamp())


class Peer(Protocol):
    """An engine that has loaded the rules. `all_ids` says that it names every rule that matched, not only those of
    the winning effect.
    """

    name: str
    all_ids: bool

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and rules."""
        ...


def combine(matched: list[tuple[str, str]]) -> Answer:
    """Deny overrides; nothing matched is a block."""
    effects = {effect for _, effect in matched}
    outcome = "block" if "block" in effects else "allow" if "allow" in effects else "block"
    return outcome, frozenset(name for name, _ in matched)


class CelPeer:
    """Google's CEL (C++), one program for each rule, one activation for each request."""

    name = "cel-expr-python"
    all_ids = True

    def __init__(self, rules: list[NeutralRule]) -> None:
        self._env, cel = _cel_environment()
        self._programs = [(rule.id, rule.effect, self._env.compile(_cel_rule(rule))) for rule in rules]
        del cel

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and rules."""
        activation = self._env.Activation(_cel_data(facts))
        return combine(
            [(name, effect) for name, effect, program in self._programs if program.eval(activation).value()]
        )


class CelListPeer:
    """The same, all rules in one expression that yields a list of booleans."""

    name = "cel-expr-python, one expression"
    all_ids = True

    def __init__(self, rules: list[NeutralRule]) -> None:
        if len(rules) > 1000:
            raise ValueError("one expression of more than 1,000 rules is beyond CEL's limits")
        self._env, _ = _cel_environment()
        self._rules = [(rule.id, rule.effect) for rule in rules]
        self._program = self._env.compile(f"[{', '.join(_cel_rule(rule) for rule in rules)}]")

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and rules."""
        answers = self._program.eval(data=_cel_data(facts)).plain_value()
        return combine([rule for rule, matched in zip(self._rules, answers, strict=True) if matched])


def _cel_environment() -> tuple[Any, Any]:
    cel = importlib.import_module("cel_expr_python.cel")
    kinds = cel.Type
    rows = kinds.List(kinds.Map(kinds.STRING, kinds.DYN))
    variables = {
        **dict.fromkeys(_CEL_TEXTS, kinds.STRING),
        **dict.fromkeys(_CEL_INTS, kinds.INT),
        **dict.fromkeys(_CEL_BOOLS, kinds.BOOL),
        "xray.max_cvss": kinds.DOUBLE,
        "actor.groups": kinds.List(kinds.STRING),
        "vulnerabilities": rows,
        "licences": rows,
        "files": rows,
    }
    return cel.NewEnv(variables=variables), cel  # fmt: skip


_CEL_TEXTS = ("artifact.ref", "artifact.repository", "artifact.name", "artifact.origin", "artifact.created_by", "publisher", "environment", "content.verdict", "digest")  # fmt: skip
_CEL_INTS = ("artifact.size", "artifact.age", "scan.age", "content.files_skipped", "xray.max_severity", "operational_risk", "now")  # fmt: skip
_CEL_BOOLS = ("revision.pinned", "xray.malicious", "scan.complete", "signature.present", "signature.valid")


def _cel_data(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        **facts,
        "actor.groups": list(facts["actor.groups"]),
        "xray.max_severity": severity_rank(facts["xray.max_severity"]),
        "operational_risk": severity_rank(facts["operational_risk"]),
        "now": _NOW,
    }


def _cel_rule(rule: NeutralRule) -> str:
    parts = [_cel_atom(atom) for atom in rule.atoms]
    if rule.waived is not None:
        until = int(rule.waived.expires.timestamp())
        parts.append(f'!(digest == "{rule.waived.digest}" && now < {until})')
    return " && ".join(parts)


def _cel_atom(atom: Atom) -> str:
    kind, *rest = atom
    if kind == "some_vuln":
        score, fix = rest
        also = "" if fix is None else f" && v.fix_available == {str(fix).lower()}"
        return f"vulnerabilities.exists(v, v.cvss >= {score}{also})"
    if kind == "some_cve":
        return f'vulnerabilities.exists(v, v.cve == "{rest[0]}")'
    if kind == "some_licence":
        return f"licences.exists(l, l.spdx in {json.dumps(list(rest[0]))})"
    if kind == "some_format":
        return f"files.exists(f, f.format in {json.dumps(list(rest[0]))})"
    if kind == "group":
        return f'"{rest[0]}" in actor.groups'
    fact, operand = rest
    if kind == "glob":
        start, end = operand.split("*")
        return f'{fact}.startsWith("{start}")' if start else f'{fact}.endsWith("{end}")'
    if kind == "gte_severity":
        return f"{fact} >= {severity_rank(operand)}"
    if kind == "in":
        return f"{fact} in {json.dumps(list(operand))}"
    sign = {"is": "==", "lt": "<", "gt": ">"}[kind]
    return f"{fact} {sign} {json.dumps(operand)}"


class CedarPeer:
    """Cedar (Rust). It has no quantifier over records and no fractions: sets, flags and tenths stand for them."""

    name = "cedarpy"
    all_ids = False

    def __init__(self, rules: list[NeutralRule]) -> None:
        cedar = importlib.import_module("cedarpy")
        self._ask = cedar.is_authorized
        self._policies = cedar.PolicySet.from_str("\n".join(map(_cedar_rule, rules)))
        self._names = [rule.id for rule in rules]
        self._entities = cedar.Entities.from_json_str("[]")

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and the rules of the winning effect."""
        request = {
            "principal": {"type": "User", "id": "alice"},
            "action": {"type": "Action", "id": "load"},
            "resource": {"type": "Artifact", "id": "a"},
            "context": _cedar_context(facts),
        }
        answer = self._ask(request, self._policies, self._entities)
        outcome = "allow" if answer.allowed else "block"
        return outcome, frozenset(self._names[int(name[6:])] for name in answer.diagnostics.reasons)


def _cedar_context(facts: dict[str, Any]) -> dict[str, Any]:
    advisories = facts["vulnerabilities"]
    flags = []
    if any(one["cvss"] >= 9.0 for one in advisories):
        flags.append("9.0")
    if any(one["cvss"] >= 7.0 and one["fix_available"] for one in advisories):
        flags.append("7.0 fix")
    plain = {
        name.replace(".", "_"): value for name, value in facts.items() if isinstance(value, str | int | bool)
    }
    return plain | {
        "groups": list(facts["actor.groups"]),
        "cves": [one["cve"] for one in advisories],
        "licences": [one["spdx"] for one in facts["licences"]],
        "formats": [one["format"] for one in facts["files"]],
        "flags": flags,
        "xray_max_cvss": round(facts["xray.max_cvss"] * 10),
        "xray_max_severity": severity_rank(facts["xray.max_severity"]),
        "operational_risk": severity_rank(facts["operational_risk"]),
        "now": _NOW,
    }


def _cedar_rule(rule: NeutralRule) -> str:
    parts = [_cedar_atom(atom) for atom in rule.atoms]
    unless = ""
    if rule.waived is not None:
        until = int(rule.waived.expires.timestamp())
        unless = f' unless {{ context.digest == "{rule.waived.digest}" && context.now < {until} }}'
    effect = "forbid" if rule.effect == "block" else "permit"
    return f"{effect} (principal, action, resource) when {{ {' && '.join(parts)} }}{unless};"


def _cedar_atom(atom: Atom) -> str:
    kind, *rest = atom
    if kind == "some_vuln":
        return f'context.flags.contains("{rest[0]}{"" if rest[1] is None else " fix"}")'
    if kind in {"some_cve", "group"}:
        return f'context.{"cves" if kind == "some_cve" else "groups"}.contains("{rest[0]}")'
    if kind in {"some_licence", "some_format"}:
        return f"context.{'licences' if kind == 'some_licence' else 'formats'}.containsAny({json.dumps(list(rest[0]))})"
    fact, operand = rest[0].replace(".", "_"), rest[1]
    if kind == "glob":
        return f'context.{fact} like "{operand}"'
    if kind == "in":
        return f"{json.dumps(list(operand))}.contains(context.{fact})"
    if kind == "gte_severity":
        return f"context.{fact} >= {severity_rank(operand)}"
    if isinstance(operand, float):
        operand = round(operand * 10)
    sign = {"is": "==", "lt": "<", "gt": ">"}[kind]
    return f"context.{fact} {sign} {json.dumps(operand)}"


class RegoPeer:
    """Rego in regorus (Rust), its interpreter."""

    name = "regorus"
    all_ids = True

    def __init__(self, rules: list[NeutralRule]) -> None:
        regorus = importlib.import_module("regorus")
        self._engine = regorus.Engine()
        with_length = getattr(self._engine, "clear_policy_length_config", None)
        if with_length is not None:
            with_length()
        self._engine.add_policy("bench.rego", rego_module(rules))
        self._effects = {rule.id: rule.effect for rule in rules}

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and rules."""
        self._engine.set_input_json(_rego_input(facts))
        names = self._engine.eval_rule("data.bench.matched")
        return combine([(name, self._effects[name]) for name in names])


class RegoVmPeer:
    """Rego in regorus, compiled for its virtual machine."""

    name = "regorus, virtual machine"
    all_ids = True

    def __init__(self, rules: list[NeutralRule]) -> None:
        regorus = importlib.import_module("regorus")
        module = rego_module(rules)
        program = regorus.Program.compile_from_modules("{}", [("bench.rego", module)], ["data.bench.matched"])
        self._machine = regorus.Rvm()
        self._machine.load_program(program)
        self._machine.set_data_json("{}")
        self._effects = {rule.id: rule.effect for rule in rules}

    def decide(self, facts: dict[str, Any]) -> Answer:
        """Outcome and rules."""
        self._machine.set_input_json(_rego_input(facts))
        found = self._machine.execute()
        names = json.loads(found) if isinstance(found, str) else found
        return combine([(name, self._effects[name]) for name in names])


def _rego_input(facts: dict[str, Any]) -> str:
    ranked = {name: severity_rank(facts[name]) for name in ("xray.max_severity", "operational_risk")}
    return json.dumps({**facts, **ranked, "now": _NOW})


def rego_module(rules: list[NeutralRule]) -> str:
    """The rules as a partial set of names."""
    lines = ["package bench", "import rego.v1"]
    for rule in rules:
        body = "\n".join(f"  {_rego_atom(atom)}" for atom in rule.atoms)
        waived = ""
        if rule.waived is not None:
            name = f"waived_{rule.id.replace('-', '_')}"
            until = int(rule.waived.expires.timestamp())
            lines.append(f'{name} if {{ input.digest == "{rule.waived.digest}"; input.now < {until} }}')
            waived = f"\n  not {name}"
        lines.append(f'matched contains "{rule.id}" if {{\n{body}{waived}\n}}')
    return "\n".join(lines)


def _rego_atom(atom: Atom) -> str:
    kind, *rest = atom
    if kind == "some_vuln":
        score, fix = rest
        if fix is None:
            return f"some v in input.vulnerabilities; v.cvss >= {score}"
        return f"some v in input.vulnerabilities; v.cvss >= {score}; v.fix_available == {str(fix).lower()}"
    if kind == "some_cve":
        return f'some v in input.vulnerabilities; v.cve == "{rest[0]}"'
    if kind == "some_licence":
        return f"some l in input.licences; l.spdx in {json.dumps(list(rest[0]))}"
    if kind == "some_format":
        return f"some f in input.files; f.format in {json.dumps(list(rest[0]))}"
    if kind == "group":
        return f'"{rest[0]}" in input["actor.groups"]'
    value, operand = f'input["{rest[0]}"]', rest[1]
    if kind == "glob":
        start, end = operand.split("*")
        return f'startswith({value}, "{start}")' if start else f'endswith({value}, "{end}")'
    if kind == "gte_severity":
        return f"{value} >= {severity_rank(operand)}"
    if kind == "in":
        return f"{value} in {json.dumps(list(operand))}"
    sign = {"is": "==", "lt": "<", "gt": ">"}[kind]
    return f"{value} {sign} {json.dumps(operand)}"


PEERS: tuple[Callable[[list[NeutralRule]], Peer], ...] = (
    CelPeer,
    CelListPeer,
    CedarPeer,
    RegoPeer,
    RegoVmPeer,
)
