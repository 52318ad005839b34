"""A policy over recorded decisions: what is counted, what is left out and said, and what the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson
import pytest
import typer

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import leaf_hash
from governance.audit.sqlite import SqliteStore
from governance.audit.store import Query, Row
from governance.cli.policy_backtest import run_over
from governance.errors import RefusedError
from governance.model.facts import Unknown
from governance.model.request import Actor
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.load import load_files
from governance.report.backtest import OTHERS, Backtest, Side, backtest, run_backtest
from governance.report.backtest_page import backtest_page, backtest_tree
from tests.audit_tools import tamper
from tests.unit import gate_kit as gate

HOSTILE = "<script>alert(1)</script>\u202e"


def recorded(tmp_path: Path, count: int = 24, log: AuditLog | None = None) -> gate.Bench:
    """Decisions of three actors in two environments, a third of them refused."""
    b = gate.bench(tmp_path, log=log)
    r = Random(1)
    for number in range(count):
        b.clock[0] += 100.0
        b.world.facts = {
            "xray.malicious": number % 3 == 0,
            "scan.complete": r.random() < 0.9 or Unknown("down"),
        }
        asked = gate.request(
            actor=Actor(name=("alice", "bob", HOSTILE)[number % 3]),
            environment=("production", "development")[number % 2],
            at=gate.NOON.replace(day=1 + number % 20),
        )
        try:
            with b.gate.admit(asked) as permit:
                permit.moved("model.pkl", gate.ONE)
        except RefusedError:
            pass
    return b


def policy(*, malicious: bool = True, more: str = "") -> CompiledPolicy:
    text = (
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: next}\nspec:\n  default: allow\n  rules:\n"
        f"    - {{id: malicious, effect: block, when: {{fact: xray.malicious, is: {str(malicious).lower()}}}, message: m}}\n{more}"
    )
    return compile_bundle(load_files({"next.yaml": text.encode()}))


def test_the_same_policy_changes_nothing(tmp_path: Path) -> None:
    b = recorded(tmp_path)
    made = backtest(b.log, gate.compiled(tmp_path), since=None)
    assert (made.decisions, made.same, made.changed) == (24, 24, 0)


def test_everything_is_counted_once_by_actor_artifact_and_environment(tmp_path: Path) -> None:
    b = recorded(tmp_path)
    made = backtest(b.log, policy(malicious=False), since=None)
    assert made.decisions == made.judged == 24
    assert made.same + made.changed + sum(made.shifted.values()) == 24
    for side in (made.blocked, made.allowed):
        assert side.count > 0
        for table in (side.actors, side.artifacts, side.environments):
            assert sum(table.values()) == side.count
    assert set(made.blocked.rules) == {"next/malicious"}
    assert set(made.blocked.environments) == {"production", "development"}
    assert sum(map(sum, made.days.values())) == 24


def test_a_period_narrows_it(tmp_path: Path) -> None:
    b = recorded(tmp_path)
    assert backtest(b.log, policy(), since=gate.NOON.replace(year=2030)).decisions == 0


def test_facts_that_nobody_gathered_are_named(tmp_path: Path) -> None:
    more = "    - {id: risk, effect: block, when: {fact: operational_risk, gte: high}, message: m}\n"
    made = backtest(recorded(tmp_path).log, policy(more=more), since=None)
    assert made.blind == {"operational_risk": made.blocked.count}


class Changed(MemoryStore):
    """A store whose rows come out as somebody changed them."""

    def __init__(self, of: MemoryStore) -> None:
        super().__init__()
        self._of = of
        self.evidence = of.evidence  # type: ignore[method-assign]
        self.get = of.get  # type: ignore[method-assign]

    def change(self, number: int, row: Row) -> Row:
        raise NotImplementedError

    def find(self, query: Query) -> Iterator[Row]:
        for number, row in enumerate(self._of.find(query)):
            yield self.change(number, row)


class Broken(Changed):
    def change(self, number: int, row: Row) -> Row:
        if number == 3:
            return row._replace(data=row.data.replace(b"alice", b"mallo"), leaf=leaf_hash(b"x"))
        return row._replace(data=b"\xff") if number == 5 else row


class Older(Changed):
    def change(self, number: int, row: Row) -> Row:
        if number % 2:
            return row
        data = orjson.dumps({**orjson.loads(row.data), "v": 0})
        return row._replace(data=data, leaf=leaf_hash(data))


class Interrupted(Changed):
    def change(self, number: int, row: Row) -> Row:
        if number == 10:
            raise KeyboardInterrupt
        return row


def over(tmp_path: Path, store: type[Changed]) -> AuditLog:
    of = recorded(tmp_path).log.store
    assert isinstance(of, MemoryStore)
    return AuditLog(store(of), now=lambda: gate.NOON, instance="test")


def test_a_broken_entry_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    made = backtest(over(tmp_path, Broken), policy(), since=None)
    assert (made.decisions, made.broken_count, made.judged) == (24, 2, 22)
    assert "the entry was changed after it was recorded" in made.broken[0]
    assert "not a JSON object" in made.broken[1]
    assert b"2 entries are broken" in backtest_page(made)


def test_entries_of_an_older_version_are_counted_apart(tmp_path: Path) -> None:
    made = backtest(over(tmp_path, Older), policy(), since=None)
    assert (made.versions, made.broken_count, made.judged) == ({"0": 12}, 0, 12)
    assert b"12 entries are of version 0" in backtest_page(made)


def test_an_interruption_leaves_what_was_counted(tmp_path: Path) -> None:
    seen: list[Backtest] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(run_backtest(over(tmp_path, Interrupted), policy(), since=None, every=1))
    assert seen[-1].decisions == 10


def test_on_ctrl_c_the_command_says_how_far_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        run_over(over(tmp_path, Interrupted), policy(), gate.NOON.replace(year=2020), None)
    assert caught.value.exit_code == 130
    assert "the backtest was interrupted after 10 decisions" in capsys.readouterr().err


def test_erased_evidence_is_counted_apart(tmp_path: Path) -> None:
    b = recorded(tmp_path)
    first = next(iter(b.log.find(kind=EntryKind.DECISION)))
    b.log.store.erase([first.entry.body["facts"]])  # type: ignore[list-item]
    made = backtest(b.log, policy(), since=None)
    assert made.gone >= 1
    assert made.broken_count == 0
    assert b"erased or never kept" in backtest_page(made)


def test_evidence_read_a_page_at_a_time_is_checked(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.sqlite")
    b = recorded(tmp_path, 300, AuditLog(store, now=lambda: gate.NOON, instance="test"))
    asked = policy(malicious=False)
    before = backtest(b.log, asked, since=None)
    assert (before.decisions, before.judged, sum(map(sum, before.days.values()))) == (300, 300, 300)
    digest = list(b.log.find(kind=EntryKind.DECISION))[280].entry.body["facts"]
    tamper(
        tmp_path / "a.sqlite",
        "UPDATE evidence SET body = CAST('{}' AS BLOB) WHERE sha256 = ?",
        values=(digest,),
    )
    made = backtest(b.log, asked, since=None)
    assert (made.decisions, made.broken_count) == (300, 300 - made.judged)
    assert made.broken_count > 0
    assert f"the evidence {digest} was changed" in made.broken[0]
    b.log.close()


def test_tables_do_not_grow_without_bound(tmp_path: Path) -> None:
    made = backtest(recorded(tmp_path).log, policy(malicious=False), since=None)
    moved = made.blocked.examples[0]
    side = Side()
    for number in range(10_500):
        side.actors[f"a{number}" if len(side.actors) < 10_000 else OTHERS] += 1
    side.add(moved)
    assert len(side.actors) <= 10_001
    assert side.actors[OTHERS] == 501


def test_the_page_is_self_contained_and_nothing_in_the_log_acts_on_it(tmp_path: Path) -> None:
    page = backtest_page(backtest(recorded(tmp_path).log, policy(malicious=False), since=None)).decode()
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert ' style="' not in page
    assert "<rect" in page


def test_the_tree_is_json(tmp_path: Path) -> None:
    tree = backtest_tree(backtest(recorded(tmp_path).log, policy(malicious=False), since=None))
    assert orjson.loads(orjson.dumps(tree))["decisions"] == 24
