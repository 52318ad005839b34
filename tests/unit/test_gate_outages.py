"""The gate where sources of facts do not answer: what the set's rule for outages says, and never more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.errors import (
    BlockedError,
    QuarantinedError,
    UnreachableError,
)
from governance.gate import Gate
from governance.model.facts import Unknown
from governance.model.request import Action, Actor, Request
from governance.policy.compile import compile_bundle
from governance.policy.load import load_policies
from tests.unit.gate_kit import (
    ELSEWHERE,
    NOON,
    TWO,
    Bench,
    Fixed,
    World,
    advise,
    bench,
    compiled,
    graced,
    load,
    request,
    silence,
    waived,
)


def later(asked: Request, **more: Any) -> Request:
    return replace(asked, at=asked.at + timedelta(hours=1), **more)


@pytest.mark.parametrize("pseudonyms", [None, Pseudonyms(b"k" * 32)], ids=["names", "pseudonyms"])
def test_in_an_outage_the_last_verdict_stands_where_the_set_says_so(
    tmp_path: Path, pseudonyms: Pseudonyms | None
) -> None:
    b = bench(tmp_path, log=AuditLog(MemoryStore(), now=lambda: NOON, instance="test", pseudonyms=pseudonyms))
    first = load(b, request())
    b.clock[0] = 100.0
    silence(b)
    load(b, later(request()))
    last = b.entries(EntryKind.DECISION)[-1].entry.body["verdict"]
    assert isinstance(last, Mapping)
    assert last["decision"] == "allow"
    assert first in str(last["degraded"])
    b.clock[0] = 200.0
    with pytest.raises(BlockedError):
        load(b, later(request(actor=Actor(name="bob"))))


def test_in_an_outage_no_verdict_outlives_the_waiver_that_it_rested_on(tmp_path: Path) -> None:
    b = bench(tmp_path, policy=waived(tmp_path))
    b.world.facts = {"xray.malicious": False, "scan.complete": True}
    load(b, request())
    b.clock[0] = 100.0
    b.world.facts = {"xray.malicious": True, "scan.complete": True}
    load(b, request(at=NOON + timedelta(seconds=1)))  # the last word: malicious, and waived
    b.clock[0] = 200.0
    silence(b)
    load(b, request(at=NOON + timedelta(seconds=9)))
    b.clock[0] = 300.0
    with pytest.raises(BlockedError):
        load(b, request(at=NOON + timedelta(seconds=10)))


def test_in_an_outage_no_verdict_outlives_the_grace_that_it_rested_on(tmp_path: Path) -> None:
    b = bench(tmp_path, policy=graced(tmp_path))
    advise(b)
    load(b, request())
    verdict = b.entries(EntryKind.DECISION)[-1].entry.body["verdict"]
    assert isinstance(verdict, Mapping)
    assert (verdict["decision"], verdict["grace_until"]) == ("warn", "2026-11-22T12:00:05.000000Z")
    b.clock[0] = 100.0
    silence(b)
    load(b, request(at=NOON + timedelta(seconds=4)))
    b.clock[0] = 200.0
    with pytest.raises(BlockedError):
        load(b, request(at=NOON + timedelta(seconds=5)))


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
    silence(b)
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
    silence(b)
    with pytest.raises(BlockedError):
        load(b, later(request()))


def test_a_degraded_verdict_is_not_fallen_back_on(tmp_path: Path) -> None:
    b = bench(tmp_path)
    load(b, request())
    silence(b)
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


def test_an_outage_does_not_open_a_default_that_no_allow_rule_opens_any_more(tmp_path: Path) -> None:
    """The scan that is silent says nothing of the signature, and without that nothing is allowed."""
    file = tmp_path / "signed.yaml"
    file.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: signed}\nspec:\n  default: block\n  rules:\n"
        "    - {id: signed, effect: allow, when: {fact: signature.valid, is: true}}\n"
        "    - {id: coverage, effect: quarantine, when: {fact: scan.complete, is: false}, message: not scanned}\n"
        "---\napiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: s}\nspec:\n"
        "  bindings: [{policies: [signed], environments: ['*'], mode: enforce}]\n"
        "  outage: {development: {action: last-verdict, maxAge: 12h}}\n"
    )
    scan = World(name="scan", facts={"scan.complete": True}, supplies=frozenset({"scan.complete"}))
    signature = World(name="keys", facts={"signature.valid": True}, supplies=frozenset({"signature.valid"}))
    clock = [0.0]
    log = AuditLog(MemoryStore(), now=lambda: NOON, instance="test")
    gate = Gate(
        policies=Fixed(compile_bundle(load_policies([file]))),
        collectors=[scan, signature],
        log=log,
        now=lambda: NOON,
        clock=lambda: clock[0],
    )
    b = Bench(gate=gate, log=log, world=scan, clock=clock)
    load(b, request())
    silence(b)
    clock[0] = 100.0
    load(b, later(request()))
    clock[0] = 200.0
    signature.facts = {"signature.valid": False}
    with pytest.raises(QuarantinedError):
        load(b, later(request()))
