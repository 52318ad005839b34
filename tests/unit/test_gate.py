"""The gate: record before act, one maker of permits, digests compared, nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.entry import EntryKind, moved_files
from governance.audit.log import AuditLog, Stored
from governance.audit.memory import MemoryStore
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.errors import (
    AuditUnavailableError,
    BlockedError,
    DigestMismatchError,
    QuarantinedError,
    UnreachableError,
    VerificationError,
)
from governance.gate import Gate
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import Sha256, parse_sha256
from governance.model.facts import FactValue, Unknown
from governance.model.request import Action, Actor, MlflowContext, Request
from governance.permit import Permit
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


def bench(tmp_path: Path, mode: str = "enforce", log: AuditLog | None = None) -> Bench:
    world, clock = World(), [0.0]
    log = log or AuditLog(MemoryStore(), now=lambda: NOON, instance="test")
    gate = Gate(
        policies=Fixed(compiled(tmp_path, mode)),
        collectors=[world],
        log=log,
        now=lambda: NOON,
        clock=lambda: clock[0],
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


def test_an_allowed_act_leaves_a_decision_and_an_outcome(tmp_path: Path) -> None:
    b = bench(tmp_path)
    with b.gate.admit(request()) as permit:
        assert [stored.entry.kind for stored in b.log.find()][-1] is EntryKind.DECISION
        permit.moved("model.pkl", ONE)
    (decision,), (outcome,) = b.entries(EntryKind.DECISION), b.entries(EntryKind.OUTCOME)
    assert outcome.entry.body["decision"] == decision.entry.id == permit.decision.id
    assert outcome.entry.body["status"] == "done"
    assert [entry.path for entry in moved_files(outcome.entry.body, b.kept)] == ["model.pkl"]
    assert decision.entry.body["facts"] == permit.decision.facts.digest()
    assert b.log.evidence(permit.decision.facts.digest())


def test_the_policy_is_on_record_once_with_its_whole_text(tmp_path: Path) -> None:
    b = bench(tmp_path)
    for sha256 in (ONE, TWO):
        with b.gate.admit(request(sha256=sha256)) as permit:
            permit.moved("model.pkl", parse_sha256(sha256))
    (policy,) = b.entries(EntryKind.POLICY)
    assert policy.entry.body["revision"] == 7
    assert b.log.evidence(parse_sha256(str(policy.entry.body["digest"]))) == permit.decision.policy.document


def test_a_block_stops_before_the_body_and_says_which_rule(tmp_path: Path) -> None:
    b = bench(tmp_path)
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    ran = False
    with pytest.raises(BlockedError, match="trial/malicious") as caught, b.gate.admit(request()):
        ran = True
    assert not ran
    assert b.statuses() == ["refused"]
    (decision,) = b.entries(EntryKind.DECISION)
    assert caught.value.refusal.decision_id == decision.entry.id
    assert caught.value.refusal.policy_revision == 7


def test_a_quarantine_may_be_retried_and_is_asked_anew(tmp_path: Path) -> None:
    b = bench(tmp_path)
    b.world.facts = {"xray.malicious": False, "scan.complete": False}
    with pytest.raises(QuarantinedError) as caught, b.gate.admit(request()):
        pass
    assert caught.value.refusal.is_retryable
    b.world.facts = {"xray.malicious": False, "scan.complete": True}
    with b.gate.admit(request()) as permit:
        permit.moved("model.pkl", ONE)


def test_an_unknown_fact_does_not_open_the_door(tmp_path: Path) -> None:
    b = bench(tmp_path)
    b.world.facts = {"xray.malicious": Unknown("Xray is down"), "scan.complete": True}
    with pytest.raises(BlockedError), b.gate.admit(request()):
        pass


@pytest.mark.parametrize("mode", ["observe", "warn"])
def test_without_enforcement_the_verdict_stands_and_the_door_is_open(tmp_path: Path, mode: str) -> None:
    b = bench(tmp_path, mode)
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    with b.gate.admit(request()) as permit:
        permit.moved("model.pkl", ONE)
    (decision,) = b.entries(EntryKind.DECISION)
    verdict = decision.entry.body["verdict"]
    assert isinstance(verdict, Mapping)
    assert (verdict["decision"], verdict["refused"], verdict["would_block"]) == ("block", False, True)
    assert b.statuses() == ["done"]


def _silence(b: Bench) -> None:
    b.world.error = UnreachableError("no answer", service="Xray", method="GET", path="/x")


ELSEWHERE = replace(request().artifact, host="other.example")


def later(asked: Request, **more: Any) -> Request:
    return replace(asked, at=asked.at + timedelta(hours=1), **more)


def test_in_an_outage_the_last_verdict_stands_where_the_set_says_so(tmp_path: Path) -> None:
    b = bench(tmp_path)
    first = load(b, request())
    b.clock[0] = 100.0
    _silence(b)
    load(b, later(request()))
    last = b.entries(EntryKind.DECISION)[-1].entry.body["verdict"]
    assert isinstance(last, Mapping)
    assert last["decision"] == "allow"
    assert first in str(last["degraded"])


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (None, {}),
        ({}, {"environment": "production"}),
        ({}, {"actor": Actor(name="bob")}),
        ({}, {"action": Action.DOWNLOAD}),
        ({}, {"at": NOON + timedelta(hours=13)}),
        ({"sha256": TWO}, {}),
        ({"artifact": ELSEWHERE}, {}),
    ],
    ids=[
        "nothing known",
        "production",
        "another actor",
        "another action",
        "too old",
        "other bytes",
        "another host",
    ],
)
def test_an_outage_refuses_where_there_is_nothing_to_fall_back_on(
    tmp_path: Path, known: dict[str, Any] | None, asked: dict[str, Any]
) -> None:
    b = bench(tmp_path)
    if known is not None:
        load(b, request(**known))
    b.clock[0] = 100.0
    _silence(b)
    with pytest.raises(BlockedError):
        load(b, request(**{"at": NOON + timedelta(hours=1), **asked}))
    last = b.entries(EntryKind.DECISION)[-1].entry.body["verdict"]
    assert isinstance(last, Mapping)
    assert "no answer from world" in str(last["degraded"])


def test_in_an_outage_nothing_rests_on_what_a_client_sent(tmp_path: Path) -> None:
    """Whoever may write to the log could else write down beforehand that what they want was allowed."""
    elsewhere = bench(tmp_path)
    load(elsewhere, request())
    (made,) = elsewhere.entries(EntryKind.DECISION)
    stamped, _ = stamp_of(request().actor).apply(made.entry, ())
    b = bench(tmp_path)
    b.log.store.append([draft_of(stamped)])
    _silence(b)
    with pytest.raises(BlockedError):
        load(b, later(request()))


def test_a_degraded_verdict_is_not_fallen_back_on(tmp_path: Path) -> None:
    b = bench(tmp_path)
    load(b, request())
    _silence(b)
    for hours, clock in ((11, 100.0), (13, 200.0)):
        b.clock[0] = clock
        asked = request(at=NOON + timedelta(hours=hours))
        if hours == 11:
            load(b, asked)
        else:
            with pytest.raises(BlockedError):
                load(b, asked)


@pytest.mark.parametrize("gather_all", [False, True])
@pytest.mark.parametrize(
    ("fact", "on_demand", "is_read"),
    [("xray.malicious", True, True), ("content.verdict", True, False), ("signature.valid", False, False)],
)
def test_facts_on_demand_are_gathered_where_a_rule_reads_them(
    tmp_path: Path, fact: str, on_demand: bool, is_read: bool, gather_all: bool
) -> None:
    world = World(facts={fact: False}, supplies=frozenset({fact}), on_demand=on_demand)
    gate = Gate(
        policies=Fixed(compiled(tmp_path)),
        collectors=[world],
        log=AuditLog(MemoryStore(), now=lambda: NOON, instance="test"),
        now=lambda: NOON,
        gather_all=gather_all,
    )
    found = gate.decide(request()).facts.get(fact)
    is_asked = is_read or gather_all or not on_demand
    assert world.asked == is_asked
    assert found is False if is_asked else found == Unknown("no rule reads it, so it was not gathered")


def test_an_outage_does_not_overrule_what_is_known(tmp_path: Path) -> None:
    b = bench(tmp_path)
    load(b, request())
    b.clock[0] = 100.0
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    other = World(name="other", supplies=frozenset({"signature.valid"}))
    gate = Gate(
        policies=Fixed(compiled(tmp_path)),
        collectors=[b.world, other],
        log=b.log,
        now=lambda: NOON,
        clock=lambda: 0.0,
    )
    other.error = UnreachableError("no answer", service="Artifactory", method="GET", path="/x")
    with pytest.raises(BlockedError, match="malicious"), gate.admit(later(request())):
        pass


def test_other_bytes_than_those_judged_are_an_error_on_record(tmp_path: Path) -> None:
    b = bench(tmp_path)
    with pytest.raises(DigestMismatchError), b.gate.admit(request()) as permit:
        permit.moved("model.pkl", TWO)
    (outcome,) = b.entries(EntryKind.OUTCOME)
    assert (outcome.entry.body["status"], outcome.entry.body["error"]) == ("failed", "DigestMismatchError")


def test_a_file_that_was_not_judged_may_not_be_moved(tmp_path: Path) -> None:
    b = bench(tmp_path)
    with pytest.raises(DigestMismatchError, match=r"extra\.py"), b.gate.admit(request()) as permit:
        permit.moved("extra.py", ONE)


def test_forgetting_a_file_is_an_error(tmp_path: Path) -> None:
    b = bench(tmp_path)
    with pytest.raises(VerificationError, match="were not moved"), b.gate.admit(request()):
        pass
    assert b.statuses() == ["failed"]


def test_only_the_selection_must_be_moved(tmp_path: Path) -> None:
    b = bench(tmp_path)
    with b.gate.admit(request(selection=())):
        pass
    assert b.statuses() == ["done"]


@pytest.mark.parametrize("error", [RuntimeError("disk"), KeyboardInterrupt()])
def test_an_act_that_fails_is_on_record_and_its_error_goes_on(tmp_path: Path, error: BaseException) -> None:
    b = bench(tmp_path)
    with pytest.raises(type(error)), b.gate.admit(request()):
        raise error
    assert b.statuses() == ["failed"]


class Unwritable(AuditLog):
    """A log whose appends fail from the n-th on."""

    good = 0

    def append(self, kind: EntryKind, *args: Any, **kwargs: Any) -> Any:
        if self.good <= 0:
            raise AuditUnavailableError("disk full")
        self.good -= 1
        return super().append(kind, *args, **kwargs)


@pytest.mark.parametrize("good", [0, 1])
def test_without_a_record_nothing_acts(tmp_path: Path, good: int) -> None:
    log = Unwritable(MemoryStore(), now=lambda: NOON, instance="test")
    log.good = good
    ran = False
    with pytest.raises(AuditUnavailableError), bench(tmp_path, log=log).gate.admit(request()):
        ran = True
    assert not ran


def test_an_act_whose_outcome_cannot_be_recorded_is_loud(tmp_path: Path) -> None:
    log = Unwritable(MemoryStore(), now=lambda: NOON, instance="test")
    log.good = 2
    with pytest.raises(AuditUnavailableError), bench(tmp_path, log=log).gate.admit(request()) as permit:
        permit.moved("model.pkl", ONE)


def test_a_refusal_stands_although_its_outcome_cannot_be_recorded(tmp_path: Path) -> None:
    log = Unwritable(MemoryStore(), now=lambda: NOON, instance="test")
    log.good = 2
    b = bench(tmp_path, log=log)
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    with pytest.raises(BlockedError), b.gate.admit(request()):
        pass


def load(b: Bench, asked: Request) -> str:
    with b.gate.admit(asked) as permit:
        for entry in asked.artifact.files:
            assert entry.sha256 is not None
            permit.moved(entry.path, entry.sha256)
    return permit.decision.id


def test_a_decision_stands_for_the_same_bytes_for_a_while(tmp_path: Path) -> None:
    b = bench(tmp_path)
    first = load(b, request())
    assert load(b, request(correlation="other")) == first
    assert b.world.asked == 1
    assert len(b.entries(EntryKind.DECISION)) == 1
    assert len(b.entries(EntryKind.OUTCOME)) == 2
    b.clock[0] = 31.0
    assert load(b, request()) != first


def test_the_same_question_asked_at_once_is_decided_once(tmp_path: Path) -> None:
    b = bench(tmp_path)
    asked = threading.Barrier(8)
    b.world.facts = {"xray.malicious": False, "scan.complete": False}  # a quarantine, which is not remembered
    errors: list[str] = []

    def ask() -> None:
        asked.wait()
        try:
            load(b, request())
        except QuarantinedError as error:
            errors.append(error.refusal.decision_id)

    b.world.delay = 0.2
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 8
    assert len(set(errors)) == len(b.entries(EntryKind.DECISION)) == b.world.asked == 1


def test_waiting_for_a_decision_that_fails_does_not_let_anybody_through(tmp_path: Path) -> None:
    log = Unwritable(MemoryStore(), now=lambda: NOON, instance="test")
    b = bench(tmp_path, log=log)
    b.world.delay = 0.1
    failures: list[Exception] = []

    def ask() -> None:
        try:
            load(b, request())
        except AuditUnavailableError as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 4


def test_other_bytes_actors_and_actions_are_judged_anew(tmp_path: Path) -> None:
    b = bench(tmp_path)
    signed = replace(
        request().artifact, signature=FileEntry(path=parse_relative_path("model.sig"), size=1, sha256=TWO)
    )
    asked = [
        request(),
        request(sha256=TWO),
        request(actor=Actor(name="bob")),
        request(actor=Actor(name="alice", authentication="token")),
        request(action=Action.DOWNLOAD),
        request(artifact=signed),
        request(artifact=ELSEWHERE),
        request(mlflow=MlflowContext(run_id="1" * 32)),
    ]
    assert len({load(b, one) for one in asked}) == len(asked)


def test_uploads_are_never_reused(tmp_path: Path) -> None:
    b = bench(tmp_path)
    asked = request(Action.UPLOAD)
    assert load(b, asked) != load(b, asked)


def test_nobody_else_makes_a_permit(tmp_path: Path) -> None:
    decision = bench(tmp_path).gate.decide(request())
    with pytest.raises(TypeError):
        Permit(object(), decision)


def test_a_dry_decision_leaves_no_trace(tmp_path: Path) -> None:
    b = bench(tmp_path)
    b.gate.decide(request())
    assert not list(b.log.find())


def test_a_permit_may_be_shared_between_threads(tmp_path: Path) -> None:
    b = bench(tmp_path)
    names = [f"part-{number}" for number in range(64)]
    files = tuple(FileEntry(path=parse_relative_path(name), size=1, sha256=ONE) for name in names)
    asked = request(artifact=replace(request().artifact, files=files))
    with b.gate.admit(asked) as permit:
        threads = [threading.Thread(target=permit.moved, args=(name, ONE)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (outcome,) = b.entries(EntryKind.OUTCOME)
    assert len(moved_files(outcome.entry.body, b.kept)) == 64
