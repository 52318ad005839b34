"""The gate: record before act, one maker of permits, digests compared, nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from governance.audit.bodies import moved_files
from governance.audit.entry import EntryKind
from governance.audit.memory import MemoryStore
from governance.errors import (
    AuditError,
    AuditUnavailableError,
    BlockedError,
    DigestMismatchError,
    QuarantinedError,
    VerificationError,
)
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.digest import parse_sha256
from governance.model.facts import Unknown
from governance.permit import Permit
from tests.unit.gate_kit import NOON, ONE, TWO, Unwritable, bench, request


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
    assert policy.entry.body["source"] == "5c" * 8
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


def test_a_quarantine_that_waiting_does_not_lift_says_so_and_names_no_time(tmp_path: Path) -> None:
    made = bench(tmp_path)
    for is_lasting in (False, True):
        made.world.facts = {
            "xray.malicious": False,
            "scan.complete": Unknown("too many files", is_lasting=is_lasting),
        }
        with pytest.raises(QuarantinedError) as caught, made.gate.admit(request()):
            pass
        assert (caught.value.refusal.retry_after is None) is is_lasting
        assert ("trying again does not help" in str(caught.value)) is is_lasting
        assert ("not final: try again in" in str(caught.value)) is not is_lasting


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


def test_nobody_else_makes_a_permit(tmp_path: Path) -> None:
    decision = bench(tmp_path).gate.decide(request())
    with pytest.raises(TypeError):
        Permit(object(), decision)


def test_what_is_too_long_for_the_record_is_refused_in_words_and_nothing_acts(tmp_path: Path) -> None:
    b = bench(tmp_path)
    b.world.facts = {"xray.malicious": False, "scan.complete": Unknown("x" * (33 << 20))}
    with (
        pytest.raises(AuditError, match=r"facts about `models/1/m` are 33 MiB.* at most 32 MiB"),
        b.gate.admit(request()),
    ):
        pytest.fail("it acted")
    assert b.entries(EntryKind.DECISION) == []


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
