"""A small log with a history, made by a real gate: for tests of what is told from a log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.audit.memory import MemoryStore
from governance.audit.store import AuditStore
from governance.errors import RefusedError, VerificationError
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.digest import Sha256
from governance.model.facts import Collection, FactValue
from governance.model.request import Action, Actor, MlflowContext
from tests.unit import gate_kit as gate

NUMPY = "pkg:pypi/numpy@1.26.4"
CVE = "CVE-2025-32434"
HOSTILE = Actor(name="mal\x1b[31mory\u202e\x9b2J<script>", authentication="basic-auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The gate's bench, and the names of what happened."""

    bench: gate.Bench
    weights: tuple[Sha256, ...]
    clock: Ticking

    @property
    def log(self) -> AuditLog:
        return self.bench.log

    def entries(self, kind: EntryKind) -> list[Stored]:
        return self.bench.entries(kind)


class Ticking:
    """A clock that goes on by a millisecond each time it is asked."""

    def __init__(self) -> None:
        self.at = gate.NOON

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at


def tell(tmp_path: Path, store: AuditStore | None = None) -> Story:
    """Model `fraud` of two files in two versions, loaded by alice, refused to mallory, one with an advisory later on."""
    clock = Ticking()
    log = AuditLog(store or MemoryStore(), now=clock, instance="serve-1")
    bench = gate.bench(tmp_path, log=log)
    weights = (Sha256("1" * 64), Sha256("2" * 64), Sha256("3" * 64))
    good: dict[str, FactValue] = {"xray.malicious": False, "scan.complete": True}
    packages = Collection(
        ({"purl": NUMPY, "name": "numpy"}, {"purl": "pkg:pypi/Evil_Pkg", "name": "evil-pkg"})
    )
    advisory = Collection(
        (
            {
                "id": "XRAY-77",
                "cve": CVE,
                "component": "torch",
                "ecosystem": "pypi",
                "component_version": "2.5",
            },
        )
    )
    bench.world.facts = good
    ask(story := Story(bench=bench, weights=weights, clock=clock), 1, "early")
    bench.world.facts = good | {"dependencies": packages}
    ask(story, 1, "alice")
    bench.world.facts = good | {"dependencies": packages, "vulnerabilities": advisory}
    ask(story, 1, "alice", environment="prod")
    bench.world.facts = good
    ask(story, 2, "bob", action=Action.PROMOTE)
    bench.world.facts = {"xray.malicious": True, "scan.complete": True}
    ask(story, 2, HOSTILE, environment="production")
    return story


def ask(
    story: Story,
    version: int,
    who: str | Actor,
    *,
    action: Action = Action.LOAD,
    environment: str = "development",
    fails: bool = False,
) -> None:
    """One request about a version of the model, and the act where it is let through, which with `fails` breaks off."""
    story.bench.clock[0] += 100.0
    story.bench.world.supplies = frozenset(story.bench.world.facts)
    files = tuple(
        FileEntry(path=parse_relative_path(path), sha256=sha256, size=10)
        for path, sha256 in (("MLmodel", story.weights[0]), ("weights.bin", story.weights[version]))
    )
    plain = gate.request()
    number = len(story.bench.entries(EntryKind.DECISION))
    story.clock.at = at = gate.NOON + timedelta(minutes=number)
    asked = replace(
        plain,
        action=action,
        artifact=replace(plain.artifact, path=f"fraud/{version}", name="fraud-net", files=files),
        actor=who if isinstance(who, Actor) else Actor(name=who, authentication="basic-auth"),
        environment=environment,
        at=at,
        correlation=f"c-{number}",
        mlflow=MlflowContext(model_name="fraud", model_version=str(version)),
    )
    try:
        with story.bench.gate.admit(asked) as permit:
            for file in files[:1] if fails else files:
                permit.moved(str(file.path), file.sha256)  # type: ignore[arg-type]  # all have one
    except (RefusedError, VerificationError):
        pass
