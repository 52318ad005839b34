"""Notifications: rules read strictly, news told once and not too often."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.entry import EntryKind
from governance.errors import SettingsError, UnreachableError
from governance.model.verdict import Effect, Mode
from governance.notify.notice import LiveWaiver
from governance.notify.rules import RulesInvalidError, parse_rules
from tests.audit_tools import START, make_log
from tests.report_tools import decide, refuse_by_default
from tests.unit.notify_kit import RULES, Desk

WAIVER = LiveWaiver(
    name="w-1", rule="p/r", ref="models/wine", reason="tested by hand", expires=START + timedelta(days=20)
)


def test_a_new_block_is_told_once(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK, message="known to be evil")
    (notice,) = desk.look()
    assert notice.kind == "new-block"
    assert notice.title.startswith("models/wine is blocked in production: ")
    assert "known to be evil" in notice.text()
    for _ in range(3):
        decide(desk.log, decision=Effect.BLOCK)
    assert desk.look() == []
    desk.now += timedelta(hours=13)
    decide(desk.log, decision=Effect.BLOCK)
    assert len(desk.look()) == 1


def test_a_warning_is_not_told_as_what_blocked(desk: Desk) -> None:
    refuse_by_default(desk.log)
    (notice,) = desk.look()
    assert notice.title == "models/wine is blocked in production: no rule allows it"


def test_only_what_the_rule_is_about(desk: Desk) -> None:
    decide(desk.log, decision=Effect.ALLOW)
    decide(desk.log, decision=Effect.QUARANTINE, name="b")
    decide(desk.log, decision=Effect.BLOCK, mode=Mode.OBSERVE, name="c")
    assert desk.look() == []
    more = Desk(
        desk.folder / "more",
        desk.log,
        rules=RULES.replace(b"quiet: 12h", b"quarantine: true, observed: true"),
    )
    decide(desk.log, decision=Effect.QUARANTINE, name="d")
    decide(desk.log, decision=Effect.BLOCK, mode=Mode.OBSERVE, name="e")
    assert [notice.title.partition(" in ")[0] for notice in more.look()] == [
        "models/d is quarantined", "models/e would have been blocked"
    ]  # fmt: skip


def test_another_verdict_on_bytes_in_use_is_told(desk: Desk) -> None:
    decide(desk.log, decision=Effect.ALLOW)
    decide(desk.log, decision=Effect.ALLOW)
    assert desk.look() == []
    decide(desk.log, decision=Effect.WARN)  # a process that starts anew asks the log what was before
    (notice,) = desk.look()
    assert notice.kind == "verdict-changed"
    assert dict(notice.rows)["verdict"] == "allow, now warn"
    assert desk.look() == []
    decide(desk.log, decision=Effect.WARN)
    decide(desk.log, decision=Effect.BLOCK)
    assert {each.kind for each in desk.look()} == {"new-block", "verdict-changed"}


def test_bytes_that_nobody_used_are_no_news(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK)
    desk.look()
    decide(desk.log, decision=Effect.ALLOW)
    assert desk.look() == []


def test_a_waiver_that_ends_is_told_at_each_of_its_times(desk: Desk) -> None:
    desk.waivers = [WAIVER]
    told = []
    for day in range(25):
        desk.now = START + timedelta(days=day)
        told += [(day, notice.title) for notice in desk.look()]
    assert told == [
        (6, "waiver w-1 for p/r ends in 14 days"),
        (17, "waiver w-1 for p/r ends in 3 days"),
    ]


def test_a_flood_is_told_of_in_one_notice(desk: Desk) -> None:
    desk.per_hour = 3
    for number in range(9):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 3
    assert desk.look() == []
    desk.now += timedelta(minutes=61)
    (held,) = desk.look()
    assert held.title.startswith("6 more notices were held back")
    assert "models/m-8" in held.text()
    assert "models/m-5" in json.dumps(held.to_json())
    assert desk.look() == []


def test_what_another_process_held_back_just_before_is_told_of_all_the_same(tmp_path: Path) -> None:
    """A service that is started as the one before it ends was made ready while that one was still at work."""
    desk = Desk(tmp_path, make_log(), per_hour=3)
    successor = desk.pump()
    for number in range(9):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 3
    decide(desk.log, decision=Effect.BLOCK, name="m-9")
    successor.run(follow=False)
    assert len(desk.readers.got) == 3
    desk.now += timedelta(hours=2)
    (held,) = desk.look()
    assert held.title.startswith("7 more notices were held back")


def test_a_clock_that_was_wrong_for_a_while_does_not_silence_a_channel(desk: Desk) -> None:
    desk.per_hour = 2
    now = desk.now
    desk.now += timedelta(days=3_000)
    for number in range(2):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    assert len(desk.look()) == 2
    desk.now = now
    decide(desk.log, decision=Effect.BLOCK, name="m-2")
    assert len(desk.look()) == 1


def test_no_rule_can_say_who_it_was(desk: Desk) -> None:
    """Whoever may send entries may name rules in them as he likes."""
    decide(desk.log, decision=Effect.BLOCK)
    (told,) = (dict(each.entry.body) for each in desk.log.find(kind=EntryKind.DECISION))
    verdict, actor = told["verdict"], told["actor"]
    assert isinstance(verdict, dict)
    assert isinstance(actor, dict)
    findings = [
        {"rule": name, "message": f"forged {n}"}
        for n, name in enumerate(("actor", "title", "decision", "actor"))
    ]
    body = {**told, "verdict": {**verdict, "findings": findings}}
    desk.log.append(EntryKind.DECISION, body, subject="models/other", correlation="c")
    notice = desk.look()[1]
    data: Any = notice.to_json()["data"]
    assert (data["title"], data["actor"]) == (notice.title, actor["name"])
    assert "forged" not in data["decision"]
    assert data["findings"] == findings
    assert not [
        line for line in notice.text().splitlines() if "forged" in line and not line.startswith("rule ")
    ]


def test_a_channel_that_fails_gets_each_notice_once_it_works(desk: Desk) -> None:
    error = UnreachableError("no answer", service="mail", method="SEND", path="x")
    desk.readers.failures = [error, error]
    for number in range(3):
        decide(desk.log, decision=Effect.BLOCK, name=f"m-{number}")
    desk.look()
    assert len(desk.readers.got) == 3
    assert len({notice.key for notice in desk.readers.got}) == 3


def test_what_was_told_is_remembered_before_the_place_in_the_log(desk: Desk) -> None:
    decide(desk.log, decision=Effect.BLOCK, name="a")
    decide(desk.log, decision=Effect.BLOCK, name="b")
    cursor = (desk.folder / "notify-ops.json").read_bytes()
    assert len(desk.look()) == 2
    (desk.folder / "notify-ops.json").write_bytes(cursor)  # as after a crash between the two
    assert desk.look() == []


def test_a_damaged_memory_is_not_taken_for_none(desk: Desk) -> None:
    for text in ("", "{}", '{"v":1,"told":[],"sent":[],"held":0,"titles":[]}', '{"v":9}'):
        (desk.folder / "notify-ops.told").write_text(text)
        with pytest.raises(SettingsError, match="damaged"):
            desk.look()


@pytest.mark.parametrize(("before", "after", "words"), [
    (b"on: new-block", b"on: old-block", "rules.yaml:5:"),
    (b"quiet: 12h", b"quiet: 12", "rules.yaml:5:59 rules.0.quiet: expected a duration such as `12h` or `7d`"),
    (b"quiet: 12h", b"loud: true", "rules.0.loud: Extra inputs are not permitted"),
    (b"channels: [ops], quiet", b"channels: [], quiet", "rules.0.channels"),
    (b"channels: [ops], quiet", b'channels: ["a b"], quiet', "rules.0.channels.0"),
    (b"name: changes", b"name: blocks", "`blocks` twice"),
    (b"kind: Notifications", b"kind: Policy", "rules.yaml:3:"),
    (b"kind: Notifications", b"kind: Notifications\nkind: Notifications", "strict YAML"),
    (b"before: [14d, 3d]", b"before: []", "rules.2.before"),
    (b"rules:", b"rules: &x", "strict YAML"),
    (b"apiVersion: mlgov/v1", b"apiVersion: mlgov/v1\n---\na: 1\n---", "one document"),
])  # fmt: skip
def test_mistakes_in_the_rules_have_a_place(before: bytes, after: bytes, words: str) -> None:
    assert before in RULES
    with pytest.raises(RulesInvalidError) as caught:
        parse_rules(RULES.replace(before, after, 1), "rules.yaml")
    assert words in str(caught.value)
