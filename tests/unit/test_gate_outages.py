"""The gate where sources of facts do not answer: what the set's rule for outages says, and never more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Event
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
from governance.model.digest import parse_sha256
from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Collection, Facts, FactValue, Unknown
from governance.model.request import Action, Actor, MlflowContext, Request
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_policies
from governance.policy.waiver import findings_digest
from governance.report.recorded import PolicyCache
from governance.report.replay import replay
from tests.audit_server import audit_server
from tests.audit_tools import START, make_log
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


def test_a_decision_that_is_used_again_stands_no_longer_than_the_verdict_that_it_rests_on(
    tmp_path: Path,
) -> None:
    """The files of a model are fetched under one decision, for half a minute."""
    b = bench(tmp_path, policy=graced(tmp_path))
    advise(b)
    load(b, request())
    b.clock[0] = 100.0
    silence(b)
    asked = [load(b, request(at=NOON + timedelta(seconds=seconds))) for seconds in (3, 4)]
    assert len(set(asked)) == 1
    with pytest.raises(BlockedError):
        load(b, request(at=NOON + timedelta(seconds=5)))  # the grace has ended
    now = [NOON]
    gate = Gate(
        policies=Fixed(compiled(tmp_path)),
        collectors=[b.world],
        log=b.log,
        now=lambda: now[0],
        clock=lambda: b.clock[0],
    )
    aged = replace(b, gate=gate)
    b.world.error, b.world.supplies = None, frozenset({"xray.malicious", "scan.complete"})
    b.world.facts = {"xray.malicious": False, "scan.complete": True}
    load(aged, request())
    silence(b)
    b.clock[0], now[0] = 200.0, NOON + timedelta(hours=12)
    load(aged, request(at=now[0]))
    with pytest.raises(BlockedError):
        load(aged, request(at=now[0] + timedelta(seconds=20)))  # it is older than `maxAge`


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


POLICY_SET = (
    "---\napiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: s}\nspec:\n"
    "  bindings: [{policies: ['*'], environments: ['*'], mode: enforce}]\n"
    "  outage: {development: {action: last-verdict, maxAge: 12h}}\n"
)


def bench_of(
    policy: CompiledPolicy, scan: World, *others: World, log: AuditLog | None = None, seconds: float = 30.0
) -> Bench:
    """A gate with several sources, of which `scan` can be silenced."""
    clock = [0.0]
    log = log or AuditLog(MemoryStore(), now=lambda: NOON, instance="test")
    gate = Gate(
        policies=Fixed(policy),
        collectors=[scan, *others],
        log=log,
        now=lambda: NOON,
        clock=lambda: clock[0],
        gather_seconds=seconds,
    )
    return Bench(gate=gate, log=log, world=scan, clock=clock)


TRUSTED = {"signature.valid": True}
BROKEN = {"signature.valid": Unknown("the trust file cannot be read")}


@pytest.mark.parametrize(
    ("rule", "keys", "stands"),
    [
        ("when: {fact: scan.complete, is: false}", TRUSTED, True),
        ("when: {fact: signature.valid, is: false}", BROKEN, False),
        ("when: {any: [{fact: scan.complete, is: false}, {fact: signature.valid, is: false}]}", TRUSTED, True),
        ("when: {any: [{fact: scan.complete, is: false}, {fact: signature.valid, is: false}]}", BROKEN, False),
        # Were the scan known to be complete, the signature would not matter.
        ("when: {all: [{fact: scan.complete, is: false}, {fact: signature.valid, is: false}]}", BROKEN, True),
        ("when: {not: {all: [{fact: scan.complete, is: true}, {fact: signature.valid, is: true}]}}", TRUSTED, True),
        ("when: {not: {all: [{fact: scan.complete, is: true}, {fact: signature.valid, is: true}]}}", BROKEN, False),
        ("when: {any: [{fact: scan.age, gt: 7d}, {fact: signature.valid, is: false}]}", TRUSTED, False),
        ("condition: '!scan.complete'", TRUSTED, True),
        ("condition: '!scan.complete || !signature.valid'", BROKEN, False),
        ("condition: '!signature.valid'", BROKEN, False),
    ],
)  # fmt: skip
def test_an_outage_excuses_only_what_it_accounts_for(
    tmp_path: Path, rule: str, keys: dict[str, Any], stands: bool
) -> None:
    """`scan.age` is unknown with every source in reach: its rule refuses, outage or not."""
    file = tmp_path / "rule.yaml"
    file.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: one}\nspec:\n  default: allow\n"
        f"  rules: [{{id: r, effect: block, message: no, {rule}}}]\n{POLICY_SET}"
    )
    scan = World(name="scan", facts={"scan.complete": True}, supplies=frozenset({"scan.complete"}))
    signature = World(name="keys", facts=TRUSTED, supplies=frozenset({"signature.valid"}))
    b = bench_of(compile_bundle(load_policies([file])), scan, signature)
    if "scan.age" not in rule:
        load(b, request())
    silence(b)
    b.clock[0], signature.facts = 100.0, keys
    if stands:
        load(b, later(request()))
    else:
        with pytest.raises(BlockedError):
            load(b, later(request()))
    last = b.entries(EntryKind.DECISION)[-1].entry
    verdict = last.body["verdict"]
    assert isinstance(verdict, Mapping)
    assert (verdict["degraded"] is not None) is stands
    assert replay(b.log, last, policies=PolicyCache(b.log)).is_same


UNSCANNED = {"fact": "scan.complete", "is": False}
LISTED = {"some": "vulnerabilities", "where": {"fact": "severity", "is": "critical"}}


def at_least(known: Any) -> Unknown:
    return Unknown("no answer about the rest", out_of_reach=True, at_least=known)


def advisories(*severities: str, **more: Any) -> Collection:
    return Collection(tuple({"id": f"X-{word}", "severity": word} for word in severities), **more)


@pytest.mark.parametrize(
    ("also", "then", "now", "asked", "stands"),
    [
        ({"fact": "mlflow.alias", "is": "champion"}, {}, {}, {"mlflow": MlflowContext(alias="champion")}, False),
        ({"fact": "mlflow.alias", "is": "champion"}, {}, {}, {"mlflow": MlflowContext(alias="other")}, True),
        ({"fact": "artifact.age", "gt": "30d"}, {"artifact.age": 5}, {"artifact.age": 2_700_000}, {}, False),
        ({"fact": "artifact.age", "gt": "30d"}, {"artifact.age": 5}, {"artifact.age": 6}, {}, True),
        ({"fact": "property.stage", "is": "prod"}, {"property.*": True, "property.stage": "dev"},
         {"property.*": True, "property.stage": "prod"}, {}, False),
        ({"fact": "property.stage", "is": "prod"}, {"property.*": True, "property.stage": "prod-2"},
         {"property.*": Unknown("no answer", out_of_reach=True)}, {}, True),
        (LISTED, {"vulnerabilities": advisories("low")},
         {"vulnerabilities": advisories("critical", missing="no answer", out_of_reach=True)}, {}, False),
        (LISTED, {"vulnerabilities": advisories("low")},
         {"vulnerabilities": advisories(missing="no answer", out_of_reach=True)}, {}, True),
        ({"fact": "xray.max_cvss", "gte": 9}, {"xray.max_cvss": 3.0}, {"xray.max_cvss": at_least(9.8)}, {}, False),
        ({"fact": "xray.max_cvss", "gte": 9}, {"xray.max_cvss": 3.0}, {"xray.max_cvss": at_least(5.0)}, {}, True),
        ({"fact": "xray.max_severity", "gte": "high"}, {"xray.max_severity": "none"},
         {"xray.max_severity": at_least("high")}, {}, False),
        ({"fact": "xray.max_severity", "gte": "high"}, {"xray.max_severity": "medium"},
         {"xray.max_severity": at_least("low")}, {}, True),
        ({"some": "xray.watches", "where": {"fact": "value", "is": "x"}}, {"xray.watches": ("y",)},
         {"xray.watches": at_least(("x",))}, {}, False),
        ({"some": "xray.watches", "where": {"fact": "value", "is": "x"}}, {"xray.watches": ("y",)},
         {"xray.watches": at_least(("z",))}, {}, True),
    ],
)  # fmt: skip
def test_the_last_verdict_stands_for_what_it_looked_at_alone(
    tmp_path: Path,
    also: dict[str, Any],
    then: dict[str, FactValue],
    now: dict[str, FactValue],
    asked: dict[str, Any],
    stands: bool,
) -> None:
    """Nobody asked for the scan of a model without the alias, and so no verdict speaks for that of one with it."""
    file = tmp_path / "both.json"
    spec = {"default": "allow", "rules": [{"id": "r", "effect": "block", "message": "no", "when": {"all": [also, UNSCANNED]}}]}  # fmt: skip
    policy = {"apiVersion": "mlgov/v1", "kind": "Policy", "metadata": {"name": "both"}, "spec": spec}
    file.write_text(json.dumps(policy))
    (tmp_path / "set.yaml").write_text(POLICY_SET.removeprefix("---\n"))
    scan = World(name="scan", facts={"scan.complete": False}, supplies=frozenset({"scan.complete"}))
    other = World(name="other", facts=then, supplies=frozenset(then) - {"property.stage"})
    b = bench_of(compile_bundle(load_policies([file, tmp_path / "set.yaml"])), scan, other)
    load(b, request(mlflow=MlflowContext(alias="first")))
    silence(b)
    b.clock[0], other.facts = 100.0, now
    again = later(request(), **{"mlflow": MlflowContext(alias="first"), **asked})
    if stands:
        load(b, again)
    else:
        with pytest.raises(BlockedError, match="rested on what is not so any more"):
            load(b, again)
    for stored in b.entries(EntryKind.DECISION):
        assert replay(b.log, stored.entry, policies=PolicyCache(b.log)).is_same


def test_the_last_verdict_does_not_stand_for_news_about_what_nobody_knew_then(tmp_path: Path) -> None:
    """Its facts stand for those out of reach, and had no list that the news of now could be added to."""
    file = tmp_path / "two.json"
    skipped = {
        "id": "a",
        "effect": "block",
        "message": "no",
        "onUnknown": "skip",
        "when": {"all": [LISTED, UNSCANNED]},
    }
    refusing = {"id": "b", "effect": "block", "message": "no", "when": {"fact": "xray.indexed", "is": False}}
    spec = {"default": "allow", "rules": [skipped, refusing]}
    policy = {"apiVersion": "mlgov/v1", "kind": "Policy", "metadata": {"name": "two"}, "spec": spec}
    file.write_text(json.dumps(policy))
    (tmp_path / "set.yaml").write_text(POLICY_SET.removeprefix("---\n"))
    facts: dict[str, FactValue] = {"scan.complete": False, "xray.indexed": True}
    scan = World(name="scan", facts=facts, supplies=frozenset(facts))
    then: dict[str, FactValue] = {"vulnerabilities": Unknown("Xray refuses the request")}
    other = World(name="other", facts=then, supplies=frozenset(then))
    b = bench_of(compile_bundle(load_policies([file, tmp_path / "set.yaml"])), scan, other)
    load(b, request())
    silence(b)
    b.clock[0] = 100.0
    other.facts = {"vulnerabilities": advisories(missing="no answer", out_of_reach=True)}
    load(b, later(request()))
    b.clock[0] = 200.0
    other.facts = {"vulnerabilities": advisories("critical", missing="no answer", out_of_reach=True)}
    with pytest.raises(BlockedError, match="rested on what is not so any more"):
        load(b, later(request()))
    for stored in b.entries(EntryKind.DECISION):
        assert replay(b.log, stored.entry, policies=PolicyCache(b.log)).is_same


@dataclass
class Late(World):
    """A source that has said what is bad in `facts`, and comes to no end."""

    is_late: bool = False
    over: Event = field(default_factory=Event)

    def ask(self, request: Request) -> Late:
        return self

    def answer(self) -> Mapping[str, FactValue]:
        if self.is_late:
            self.over.wait(10)
        return self.facts

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        return self.answer()

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        found = self.facts["vulnerabilities"]
        assert isinstance(found, Collection)
        return {"vulnerabilities": replace(found, missing=rest.reason, out_of_reach=rest.out_of_reach)}


@pytest.mark.parametrize("outage", ["{action: block}", "{action: last-verdict, maxAge: 12h}"])
@pytest.mark.parametrize("otherwise", ["skip", "match"])
def test_bad_news_refuses_although_the_rest_is_late(tmp_path: Path, outage: str, otherwise: str) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: one}\nspec:\n  default: allow\n  rules:\n"
        f"    - {{id: r, effect: block, message: '{{matched.id}}', onUnknown: {otherwise},\n"
        "       when: {some: vulnerabilities, where: {fact: severity, is: critical}}}\n"
        + POLICY_SET.replace("{action: last-verdict, maxAge: 12h}", outage)
    )
    supplies = frozenset({"vulnerabilities", "scan.complete"})
    late = Late(supplies=supplies, facts={"vulnerabilities": advisories("low"), "scan.complete": True})
    policy = compile_bundle(load_policies([file]))
    before = bench_of(policy, late)
    load(before, request())
    b = bench_of(policy, late, log=before.log, seconds=0.1)
    late.facts = {"vulnerabilities": advisories("low", "critical"), "scan.complete": True}
    late.is_late = True
    with pytest.raises(BlockedError, match="X-critical") as error:
        load(b, later(request()))
    late.over.set()
    assert "in an outage" not in str(error.value)


@pytest.mark.parametrize(("outage", "stands"), [("{action: block}", False), ("{action: last-verdict, maxAge: 12h}", True)])  # fmt: skip
def test_a_waived_finding_is_no_ground_of_its_own_where_the_rest_is_silent(
    tmp_path: Path, outage: str, stands: bool
) -> None:
    """What is known is waived, so that it is the silence alone that refuses; news is not waived, and refuses whatever was said before."""
    file, model = tmp_path / "rule.yaml", request().artifact
    rules = (
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: one}\nspec:\n  default: allow\n  rules:\n"
        "    - {id: r, effect: block, message: no, when: {some: vulnerabilities, where: {fact: severity, is: critical}}}\n"
        + POLICY_SET.replace("{action: last-verdict, maxAge: 12h}", outage)
    )
    file.write_text(rules)
    whole = advisories("critical")
    found = evaluate(compile_bundle(load_policies([file])), request(), Facts({"vulnerabilities": whole}))
    known = findings_digest(found.rules[0])
    file.write_text(
        f"{rules}---\napiVersion: mlgov/v1\nkind: Waiver\nmetadata: {{name: W-1}}\nspec:\n"
        f'  rule: one/r\n  artifact: {{ref: {model.ref}, digest: "{model.digest}"}}\n  findings: "{known}"\n'
        "  reason: read by hand\n  requestedBy: ann\n  approvedBy: [bob]\n"
        "  starts: 2026-11-22T00:00:00Z\n  expires: 2026-11-25T00:00:00Z\n"
    )
    scan = World(name="scan", facts={"vulnerabilities": whole}, supplies=frozenset({"vulnerabilities"}))
    b = bench_of(compile_bundle(load_policies([file])), scan)
    load(b, request())
    b.clock[0] = 100.0
    scan.facts = {"vulnerabilities": replace(whole, missing="no answer", out_of_reach=True)}
    if stands:
        load(b, later(request()))
    else:
        with pytest.raises(BlockedError, match="no answer from scan; refused"):
            load(b, later(request()))
    b.clock[0] = 200.0
    news = Collection(
        (*whole.items, {"id": "X-news", "severity": "critical"}), "no answer", out_of_reach=True
    )
    scan.facts = {"vulnerabilities": news}
    with pytest.raises(BlockedError) as error:
        load(b, later(request()))
    assert "in an outage" not in str(error.value)
    for stored in b.entries(EntryKind.DECISION):
        assert replay(b.log, stored.entry, policies=PolicyCache(b.log)).is_same


def test_no_verdict_stands_whose_facts_a_tracking_server_keeps(tmp_path: Path) -> None:
    """It hands out a client's entries, and not what these rest on."""
    with audit_server() as server:
        log = make_log(server.client("alice"), now=lambda: START, instance="laptop")
        b = bench(tmp_path, log=log)
        alice = Actor(name="alice", authentication="basic-auth")
        load(b, request(at=START, actor=alice))
        b.clock[0] = 100.0
        silence(b)
        with pytest.raises(
            BlockedError,
            match=r"no answer from world; the verdict of decision .* kept by a server that hands out none",
        ):
            load(b, request(at=START + timedelta(hours=1), actor=alice))
        log.close()


def test_no_verdict_stands_whose_facts_are_not_kept_any_more(tmp_path: Path) -> None:
    b = bench(tmp_path)
    load(b, request())
    (made,) = b.entries(EntryKind.DECISION)
    b.log.store.erase([parse_sha256(str(made.entry.body["facts"]))])
    b.clock[0] = 100.0
    silence(b)
    with pytest.raises(BlockedError, match=f"the verdict of decision {made.entry.id}, .* are erased"):
        load(b, later(request()))
    assert replay(b.log, b.entries(EntryKind.DECISION)[-1].entry, policies=PolicyCache(b.log)).is_same


@pytest.mark.parametrize("reason", [Unknown("who knows"), Unknown("no answer", out_of_reach=True)])
def test_a_source_speaks_of_an_outage_for_its_own_facts_alone(tmp_path: Path, reason: Unknown) -> None:
    """A collector of another package that claims one excuses nobody else, nor by a fact that it may not supply."""
    known: dict[str, FactValue] = {"xray.malicious": False, "scan.complete": True}
    b = bench(tmp_path)
    load(b, request())
    other = World(name="acme", supplies=frozenset({"acme.says"}), facts={"acme.says": reason})
    gate = Gate(
        policies=Fixed(compiled(tmp_path)),
        collectors=[b.world, other],
        log=b.log,
        now=lambda: NOON,
        reuse_seconds=0,
    )
    elsewhere = replace(b, gate=gate)
    b.world.facts = known | {"xray.malicious": Unknown("an answer that nobody can read")}
    with pytest.raises(BlockedError):
        load(elsewhere, later(request()))
    other.facts = {"acme.says": reason, UNREACHABLE: ("world",), OUT_OF_REACH: ("xray.malicious",)}
    with pytest.raises(BlockedError):
        load(elsewhere, later(request()))


def test_an_outage_does_not_open_a_default_that_no_allow_rule_opens_any_more(tmp_path: Path) -> None:
    """The scan that is silent says nothing of the signature, and without that nothing is allowed."""
    file = tmp_path / "signed.yaml"
    file.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: signed}\nspec:\n  default: block\n  rules:\n"
        "    - {id: signed, effect: allow, when: {fact: signature.valid, is: true}}\n"
        "    - {id: coverage, effect: quarantine, when: {fact: scan.complete, is: false}, message: not scanned}\n"
        f"{POLICY_SET}"
    )
    scan = World(name="scan", facts={"scan.complete": True}, supplies=frozenset({"scan.complete"}))
    signature = World(name="keys", facts={"signature.valid": True}, supplies=frozenset({"signature.valid"}))
    b = bench_of(compile_bundle(load_policies([file])), scan, signature)
    load(b, request())
    silence(b)
    b.clock[0] = 100.0
    load(b, later(request()))
    b.clock[0] = 200.0
    signature.facts = {"signature.valid": False}
    with pytest.raises(QuarantinedError):
        load(b, later(request()))
