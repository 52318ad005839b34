"""Break-glass at the gate: where the set allows it, on record in any case, and never without a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.store import Draft
from governance.errors import AuditUnavailableError, BlockedError, SettingsError
from governance.gate import Gate
from governance.model.digest import parse_sha256
from governance.policy.compile import CompiledPolicy
from governance.settings import load_settings
from tests.unit.policy_kit import NOON, compiled, policy, policy_set, request, rule

EVERYTHING = rule("{fact: actor.name, exists: true}", more="  severity: high\n")
NEVER = rule("{fact: actor.name, exists: true}", name="n", more="  waivable: never\n")
WHY = "production is down, INC-7"


@dataclass
class Fixed:
    policy: CompiledPolicy

    def current(self) -> CompiledPolicy:
        return self.policy


class Narrow(MemoryStore):
    """A store that has no room for entries of one kind."""

    def append(self, drafts: Any) -> Any:
        if any(isinstance(draft, Draft) and draft.kind == EntryKind.WAIVER for draft in drafts):
            raise AuditUnavailableError("no room")
        return super().append(drafts)


def gate(
    *texts: str, why: str | None = WHY, allowed: str = "[production]", store: MemoryStore | None = None
) -> tuple[Gate, AuditLog]:
    log = AuditLog(store or MemoryStore(), now=lambda: NOON, instance="test")
    body = f"  breakGlass: {{environments: {allowed}}}\n" if allowed else "  waivers: {approvals: 1}\n"
    made = Gate(
        policies=Fixed(compiled(policy("".join(texts) or EVERYTHING), policy_set(body))),
        collectors=[],
        log=log,
        now=lambda: NOON,
        break_glass=why,
    )
    return made, log


def act(made: Gate, **changes: Any) -> None:
    with made.admit(request(**changes)) as permit:
        permit.moved("model.bin", parse_sha256("7d" * 32))


def uses(log: AuditLog) -> list[tuple[Any, ...]]:
    names = ("event", "by", "justification", "needed", "opened", "reason")
    return [tuple(each.entry.body[name] for name in names) for each in log.find(kind=EntryKind.WAIVER)]


def test_it_opens_a_refusal_and_the_record_says_so() -> None:
    made, log = gate()
    act(made)
    assert uses(log) == [("break-glass", "alice", WHY, True, True, WHY)]
    (decision,) = log.find(kind=EntryKind.DECISION)
    (use,) = log.find(kind=EntryKind.WAIVER)
    assert use.entry.body["waiver"] == decision.entry.id
    verdict_body: Any = decision.entry.body["verdict"]
    assert (verdict_body["decision"], verdict_body["refused"], verdict_body["would_block"]) == (
        "block",
        False,
        True,
    )


@pytest.mark.parametrize(
    ("texts", "allowed", "why_not"),
    [
        ((), "", "the policy set allows no break-glass in production"),
        ((), "[staging]", "the policy set allows no break-glass in production"),
        ((EVERYTHING, NEVER), "[prod]", "p/n can never be waived"),
    ],
    ids=["no word of it", "elsewhere", "never"],
)
def test_it_does_not_open_and_the_refusal_says_why(
    texts: tuple[str, ...], allowed: str, why_not: str
) -> None:
    made, log = gate(*texts, allowed=allowed)
    with pytest.raises(BlockedError) as caught:
        act(made)
    assert f"break-glass does not help: {why_not}" in str(caught.value)
    assert uses(log) == [("break-glass", "alice", WHY, True, False, why_not)]


def test_it_is_on_record_even_when_not_needed() -> None:
    made, log = gate(rule("{fact: actor.name, is: nobody}"))
    act(made)
    assert uses(log) == [("break-glass", "alice", WHY, False, False, WHY)]


def test_without_a_justification_nothing_changes() -> None:
    made, log = gate(why=None)
    with pytest.raises(BlockedError):
        act(made)
    assert uses(log) == []


def test_what_cannot_be_recorded_is_not_let_through() -> None:
    made, _ = gate(store=Narrow())
    with pytest.raises(AuditUnavailableError):
        act(made)


def test_a_child_set_can_only_close() -> None:
    def both(parent: str, child: str) -> frozenset[str] | None:
        found = compiled(
            policy(EVERYTHING),
            policy_set(f"  waivers: {{}}\n{parent}", name="a"),
            policy_set(f"  extends: a\n{child}", name="b"),
        ).bundle.set
        assert found is not None
        return found.break_glass

    wide, narrow = (
        "  breakGlass: {environments: [prod, dev]}\n",
        "  breakGlass: {environments: [dev, staging]}\n",
    )
    assert both("", wide) is None
    assert both(wide, "") == frozenset({"production", "development"})
    assert both(wide, narrow) == frozenset({"development"})


def test_a_justification_justifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGOV_BREAK_GLASS", "because")
    with pytest.raises(SettingsError, match="MLGOV_BREAK_GLASS"):
        load_settings()
