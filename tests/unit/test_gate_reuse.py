"""Decisions that stand for a while: for the very same question alone, and made once where many ask at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind
from governance.audit.memory import MemoryStore
from governance.errors import (
    AuditUnavailableError,
    BlockedError,
    QuarantinedError,
)
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.request import Action, Actor, MlflowContext
from tests.unit.gate_kit import ELSEWHERE, NOON, TWO, Unwritable, advise, bench, graced, load, request, waived


def test_a_decision_stands_for_the_same_bytes_for_a_while(tmp_path: Path) -> None:
    b = bench(tmp_path)
    first = load(b, request())
    assert load(b, request(correlation="other")) == first
    assert b.world.asked == 1
    assert len(b.entries(EntryKind.DECISION)) == 1
    assert len(b.entries(EntryKind.OUTCOME)) == 2
    b.clock[0] = 31.0
    assert load(b, request()) != first


def test_a_decision_from_before_a_sleep_does_not_stand(tmp_path: Path) -> None:
    """What was found malicious while a laptop was shut, or a virtual machine paused, was let through when it woke up: the clock that
    measured the half minute had stood still."""
    b = bench(tmp_path)
    first = load(b, request())
    assert load(b, request(at=NOON + timedelta(seconds=29))) == first
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    with pytest.raises(BlockedError):
        load(b, request(at=NOON + timedelta(hours=8)))


def test_a_decision_that_rests_on_a_waiver_does_not_outlive_it(tmp_path: Path) -> None:
    b = bench(tmp_path, policy=waived(tmp_path))
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    first = load(b, request())
    assert load(b, request(at=NOON + timedelta(seconds=9))) == first
    with pytest.raises(BlockedError):
        load(b, request(at=NOON + timedelta(seconds=10)))


def test_a_decision_does_not_outlive_the_grace_that_it_rests_on(tmp_path: Path) -> None:
    b = bench(tmp_path, policy=graced(tmp_path))
    advise(b)
    first = load(b, request(environment="production"))
    assert load(b, request(environment="production", at=NOON + timedelta(seconds=4))) == first
    with pytest.raises(BlockedError):
        load(b, request(environment="production", at=NOON + timedelta(seconds=5)))


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
