"""A gate with a scripted source of facts, and what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.audit.memory import MemoryStore
from governance.errors import (
    AuditUnavailableError,
    UnreachableError,
)
from governance.gate import Gate
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import Sha256, parse_sha256
from governance.model.facts import Collection, FactValue
from governance.model.request import Action, Actor, Request
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.load import load_policies

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


ONE, TWO = parse_sha256("1" * 64), parse_sha256("2" * 64)


POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {{name: trial}}
spec:
  match: {{actions: [download, load, upload, delete], repositories: ["*"]}}
  default: allow
  rules:
    - id: malicious
      effect: block
      severity: critical
      when: {{fact: xray.malicious, is: true}}
      message: "{{artifact.ref}} is reported malicious"
    - id: coverage
      effect: quarantine
      when: {{fact: scan.complete, is: false}}
      message: "not scanned yet"
---
apiVersion: mlgov/v1
kind: PolicySet
metadata: {{name: trial-set, revision: 7}}
spec:
  layers: [{{name: org, policies: [trial]}}]
  bindings: [{{policies: ["*"], environments: ["*"], mode: {mode}}}]
  outage:
    production: {{action: block}}
    development: {{action: last-verdict, maxAge: 12h}}
"""


@dataclass
class World:
    """A scripted source of facts, which counts how often it is asked."""

    facts: Mapping[str, FactValue] = field(
        default_factory=lambda: {"xray.malicious": False, "scan.complete": True}
    )
    asked: int = 0
    delay: float = 0.0
    error: Exception | None = None
    name: str = "world"
    on_demand: bool = False
    supplies: frozenset[str] = frozenset({"xray.malicious", "scan.complete"})

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        self.asked += 1
        time.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return self.facts


@dataclass
class Fixed:
    policy: CompiledPolicy

    def current(self) -> CompiledPolicy:
        return self.policy


@dataclass
class Bench:
    """A gate with everything around it in reach."""

    gate: Gate
    log: AuditLog
    world: World
    clock: list[float]

    def entries(self, kind: EntryKind) -> list[Stored]:
        return list(self.log.find(kind=kind))

    def kept(self, sha256: Sha256) -> bytes:
        document = self.log.evidence(sha256)
        assert document is not None
        return document

    def statuses(self) -> list[Any]:
        return [stored.entry.body["status"] for stored in self.entries(EntryKind.OUTCOME)]


def compiled(tmp_path: Path, mode: str = "enforce") -> CompiledPolicy:
    file = tmp_path / f"{mode}.yaml"
    file.write_text(POLICY.format(mode=mode))
    return compile_bundle(load_policies([file]))


def bench(
    tmp_path: Path, mode: str = "enforce", log: AuditLog | None = None, policy: CompiledPolicy | None = None
) -> Bench:
    world, clock = World(), [0.0]
    log = log or AuditLog(MemoryStore(), now=lambda: NOON, instance="test")
    gate = Gate(
        policies=Fixed(policy or compiled(tmp_path, mode)),
        collectors=[world],
        log=log,
        now=lambda: NOON,
        clock=lambda: clock[0],
        policy_source="5c" * 8,
    )
    return Bench(gate=gate, log=log, world=world, clock=clock)


def request(action: Action = Action.LOAD, sha256: str | None = ONE, **more: Any) -> Request:
    entry = FileEntry(
        path=parse_relative_path("model.pkl"), size=3, sha256=parse_sha256(sha256) if sha256 else None
    )
    artifact = Artifact(
        kind=Kind.MODEL,
        host="127.0.0.1",
        repository=parse_repository_key("models"),
        path="1/m",
        name="m",
        files=(entry,),
    )
    asked = Request(
        action=action,
        artifact=artifact,
        actor=Actor(name="alice"),
        environment="development",
        at=NOON,
        correlation="c",
    )
    return replace(asked, **more)


ELSEWHERE = replace(request().artifact, host="other.example")


class Unwritable(AuditLog):
    """A log whose appends fail from the n-th on."""

    good = 0

    def append(self, kind: EntryKind, *args: Any, **kwargs: Any) -> Any:
        if self.good <= 0:
            raise AuditUnavailableError("disk full")
        self.good -= 1
        return super().append(kind, *args, **kwargs)


def load(b: Bench, asked: Request) -> str:
    with b.gate.admit(asked) as permit:
        for entry in asked.artifact.files:
            assert entry.sha256 is not None
            permit.moved(entry.path, entry.sha256)
    return permit.decision.id


def silence(b: Bench) -> None:
    b.world.error = UnreachableError("no answer", service="Xray", method="GET", path="/x")


def waived(tmp_path: Path) -> CompiledPolicy:
    """The policy with a waiver for malicious bytes of `request()`, which ends ten seconds after noon."""
    file, model = tmp_path / "waived.yaml", request().artifact
    file.write_text(
        f"{POLICY.format(mode='enforce')}---\napiVersion: mlgov/v1\nkind: Waiver\nmetadata: {{name: W-1}}\nspec:\n"
        f'  rule: trial/malicious\n  artifact: {{ref: {model.ref}, digest: "{model.digest}"}}\n'
        "  reason: read by hand\n  requestedBy: ann\n  approvedBy: [bob]\n"
        "  starts: 2026-11-22T00:00:00Z\n  expires: 2026-11-22T12:00:10Z\n"
    )
    return compile_bundle(load_policies([file]))


def graced(tmp_path: Path) -> CompiledPolicy:
    """A policy that lets advisories of severity high pass for an hour. `advise` reports one."""
    file = tmp_path / "graced.yaml"
    rest = POLICY.format(mode="enforce").partition("---\n")[2]
    file.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: trial}\nspec:\n  default: allow\n  rules:\n"
        "    - {id: high, effect: block, grace: {development: 1h, production: 1h}, message: old,\n"
        f"       when: {{some: vulnerabilities, where: {{fact: severity, is: high}}}}}}\n---\n{rest}"
    )
    return compile_bundle(load_policies([file]))


def advise(b: Bench) -> None:
    """An advisory that is known for an hour five seconds after noon."""
    item = {"id": "X-1", "severity": "high", "first_seen": "2026-11-22T11:00:05.000000Z"}
    b.world.facts = {"vulnerabilities": Collection((item,))}
    b.world.supplies = frozenset({"vulnerabilities"})
