"""Selections: what each word means on real entries, the text form, and how bad text is refused."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.entry import Entry, EntryKind, Writer
from governance.errors import GovernanceError
from governance.report.selection import WORDS, Selection, SelectionError, parse_selection
from governance.report.selection_text import moment_text, parse_moment
from tests.unit.test_report_replay import story

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HEX = "ab" * 32


def entry(kind: EntryKind, body: Any, **more: Any) -> Entry:
    fields = {
        "id": "e-1",
        "at": AT,
        "kind": kind,
        "writer": Writer(instance="i", boot="b", n=1),
        "correlation": "c-1",
        "subject": "models/a",
        "body": body,
    }
    return Entry(**(fields | more))


DECISION = {
    "action": "load",
    "artifact": {"digest": f"dirhash1:{HEX}", "name": "fraud-net", "version": "7"},
    "actor": {"name": "J. Doe"},
    "environment": "Prod",
    "mlflow": {"model_name": "fraud", "model_version": "3"},
    "policy": {"digest": "cd" * 32, "revision": 12, "names": ["base", "teams"]},
    "verdict": {
        "decision": "block", "mode": "enforce", "refused": False, "would_block": True, "degraded": "no answer",
        "fired": ["base/no-pickle"], "findings": [{"rule": "base/malware"}],
        "waived": [{"rule": "base/signed", "waiver": "w-1"}],
    },
}  # fmt: skip
OUTCOME = {
    "action": "load", "status": "done", "decision": "d",
    "moved": {"digest": "dirhash1:" + "11" * 32, "files": [{"sha256": "22" * 32}]},
    "signature": {"digest": "dirhash1:" + "33" * 32, "key_id": "k-1"},
}  # fmt: skip


@pytest.mark.parametrize("text", [
    "kind:decision", f"digest:dirhash1:{HEX}", f"digest:{HEX.upper()}", "model:fraud", "model:fraud/3", "model:fraud-net/7",
    "subject:models/a", 'actor:"J. Doe"', "rule:base/malware", "rule:base/no-pickle", "rule:base/signed", "policy:base",
    f"policy:{'cd' * 32}", f"policy:sha256:{'cd' * 32}", "revision:12", "decision:allow,block", "mode:enforce", "refused:no",
    "would-block:yes", "degraded:yes", "waived:yes", "break-glass:yes", "action:load", "environment:production",
    "environment:PROD", "waiver:w-1", "correlation:c-1", "since:2026-03-01T12:00Z", "until:2026-03-01T12:00:00.000001Z",
    "since:2026-03-01T13:00+01:00", "", "kind:decision decision:block environment:prod refused:no since:2026-03-01",
])  # fmt: skip
def test_words_of_a_decision(text: str) -> None:
    assert parse_selection(text).matches(entry(EntryKind.DECISION, DECISION))


@pytest.mark.parametrize("text", [
    "kind:outcome", f"digest:{'ac' * 32}", "model:fraud/4", "model:fraud-net/3", "subject:models", "actor:J.", "rule:base",
    "policy:bas", "revision:1", "decision:allow", "mode:warn", "refused:yes", "would-block:no", "degraded:no", "waived:no",
    "break-glass:no", "action:download", "environment:staging", "outcome:done", "event:made", "waiver:w-2", "key:k-1",
    "correlation:c", "since:2026-03-01T12:00:00.000001Z", "until:2026-03-01T12:00Z", "kind:decision decision:allow",
])  # fmt: skip
def test_other_words_of_a_decision(text: str) -> None:
    assert not parse_selection(text).matches(entry(EntryKind.DECISION, DECISION))


@pytest.mark.parametrize(("text", "kind", "body"), [
    (f"digest:{'11' * 32}", EntryKind.OUTCOME, OUTCOME),
    (f"digest:sha256:{'22' * 32}", EntryKind.OUTCOME, OUTCOME),
    (f"digest:{'33' * 32}", EntryKind.OUTCOME, OUTCOME),
    ("outcome:done key:k-1 action:load", EntryKind.OUTCOME, OUTCOME),
    (f"event:rejected key:k digest:{HEX}", EntryKind.SIGNATURE, {"event": "rejected", "key_id": "k", "digest": f"sha256:{HEX}"}),
    ("event:revoked key:k", EntryKind.KEY, {"event": "revoked", "key_id": "k"}),
    (f"event:approved waiver:w rule:p/r actor:ann digest:{HEX} break-glass:no", EntryKind.WAIVER,
     {"event": "approved", "waiver": "w", "rule": "p/r", "by": "ann", "digest": f"sha256:{HEX}"}),
    ("break-glass:yes", EntryKind.WAIVER, {"event": "break-glass", "waiver": "d"}),
    ("event:held", EntryKind.HOLD, {"held": True}), ("event:lifted", EntryKind.HOLD, {"held": False}),
    ("policy:base revision:0", EntryKind.POLICY, {"digest": HEX, "revision": 0, "names": ["base"]}),
])  # fmt: skip
def test_words_of_other_entries(text: str, kind: EntryKind, body: Any) -> None:
    assert parse_selection(text).matches(entry(kind, body))


@pytest.mark.parametrize(
    "text", ["refused:no", "degraded:no", "break-glass:no", "decision:allow", "environment:production"]
)
def test_what_is_said_of_decisions_is_said_of_nothing_else(text: str) -> None:
    odd = {**DECISION, "moved": {}, "decision": "d"}
    assert not parse_selection(text).matches(entry(EntryKind.OUTCOME, odd))


def test_selections_of_a_real_log_agree_with_a_plain_look(tmp_path: Path) -> None:
    entries = [stored.entry for stored in story(tmp_path).log.find()]
    blocked = [
        one for one in entries if parse_selection("decision:block environment:production").matches(one)
    ]
    plain = [
        one for one in entries
        if one.kind is EntryKind.DECISION and one.body["verdict"]["decision"] == "block"  # type: ignore[index,call-overload]
        and one.body["environment"] == "production"
    ]  # fmt: skip
    assert blocked == plain
    assert blocked
    refused = {one.id for one in entries if parse_selection("refused:yes").matches(one)}
    ended = {one.body["decision"] for one in entries if parse_selection("outcome:refused").matches(one)}
    assert refused == ended
    assert refused


@pytest.mark.parametrize(("text", "message", "hint"), [
    ("kidn:decision", "`kidn` is not a word of a selection, did you mean `kind`? (at position 1)", "There are: kind, digest"),
    ("kind:decison", "`decison` is not a kind of entry, did you mean `decision`? (at position 6)", "There are: start"),
    ("kind:decision decision:blok", "`blok` is not a decision, did you mean `block`? (at position 24)", "allow, warn"),
    ("kind:", "`kind:` lacks its value (at position 6)", 'An empty value is written `""`'),
    ("decision", "expected `word:value`, got `decision` (at position 1)", "Such as"),
    ('actor:"x', "the quoted value of `actor` has no end (at position 7)", None),
    (r'actor:"\x"', "the quoted value of `actor` is not a JSON string (at position 7)", "Inside quotes"),
    ('actor:"a"b', "expected a blank after the value of `actor`, got `b` (at position 10)", None),
    ('actor:""', "an empty value matches nothing (at position 7)", None),
    ("refused:maybe", "`refused` is `yes` or `no`, got `maybe` (at position 9)", None),
    ("refused:yes refused:no", "`refused` is given twice (at position 13)", None),
    ("refused:yes,no", "`refused` is given twice", None),
    ("digest:abc", "`abc` is not a SHA-256 in hex (at position 8)", "`sha256:HEX`"),
    ("digest:md5:abc", "`md5:abc` does not start with", "`sha256:HEX`"),
    ("revision:1.5", "`1.5` is not a revision (at position 10)", "whole number"),
    ("since:2016-12-31T23:59:60Z", "`2016-12-31T23:59:60Z` is a leap second", "ask for `:59`"),
    ("since:2026-02-30", "`2026-02-30` is not a time: day is out of range for month", None),
    ("since:2026-03-01T24:00", "`2026-03-01T24:00` is not a time: hour must be in 0..23", None),
    ("since:2026-03-01T12:00+24:00", "is not a time: there is no zone `+24:00`", None),
    ("since:0001-01-01T00:00+05:00", "is not a time: date value out of range", None),
    ("since:yesterday", "`yesterday` is not a time", "Such as `2026-03-01`"),
    ("kind:decision " * 2_000, "a selection of 28000 characters", None),
])  # fmt: skip
def test_bad_text_is_refused_with_its_place(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(SelectionError) as caught:
        parse_selection(text)
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert isinstance(caught.value, GovernanceError)


def test_values_given_in_code_are_checked_too() -> None:
    with pytest.raises(SelectionError, match="`decison` is not a kind of entry"):
        Selection(kinds=("decison",))
    with pytest.raises(SelectionError, match="a time without a zone"):
        Selection(since=datetime(2026, 1, 1))
    with pytest.raises(SelectionError, match="`actor` has 201 values"):
        Selection(actors=tuple(map(str, range(201))))
    assert Selection(environments=("PROD", "production")).environments == ("production",)
    assert Selection(kinds=(EntryKind.DECISION,)) == parse_selection("kind:decision")


def test_the_command_is_a_line_for_a_shell() -> None:
    selection = Selection(kinds=("decision",), actors=('J. "the $(rm)" O\'Neil\x1b[31m',))
    words = shlex.split(selection.as_command())
    assert words[:3] == ["mlgov", "audit", "search"]
    assert parse_selection(" ".join(words[3:])) == selection
    assert selection.as_command().isprintable()


def test_times_survive_their_text() -> None:
    for at in (AT, AT + timedelta(microseconds=1), datetime(1, 1, 1, tzinfo=UTC)):
        assert parse_moment(moment_text(at)) == at
    assert parse_moment("2026-03-01t12:00:30.1234567z") == datetime(2026, 3, 1, 12, 0, 30, 123456, tzinfo=UTC)
    assert parse_moment("2026-03-01 12:00-05:30") == datetime(2026, 3, 1, 17, 30, tzinfo=UTC)


def test_every_word_says_what_it_means() -> None:
    assert all(meaning for meaning in WORDS.values())
    assert replace(Selection(), kinds=("decision",)).matches(entry(EntryKind.DECISION, {}))


def test_a_models_address_is_its_name() -> None:
    for text in ("models:/wine/3", "models://wine/3", "wine/3"):
        assert parse_selection(f"model:{text}").models == ("wine/3",)
    assert Selection(models=("models:/wine@champion",)).models == ("wine@champion",)
    assert Selection(models=("models:/",)).models == ("models:/",)
