"""The syslog form of an entry: nothing in it breaks a message, and no message is too long."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.log import Stored
from governance.model.canonical import canonical_bytes, parse_canonical
from governance.stream.sink import Message
from governance.stream.syslog import SyslogForm, ascii_json, framed, sd_value
from tests.audit_tools import START
from tests.receivers import parse_message
from tests.unit.stream_kit import ROUGH

FORM = SyslogForm(host="host-1", process=7, origin="acme.example/audit")


def stored_with(subject: str, **more: Any) -> Stored:
    entry = Entry(
        id="01a20581-bea4-7915-bee6-e6b6c4a33c2a", at=START, kind=EntryKind.HOLD, correlation="c", subject=subject,
        writer=Writer(instance="host", boot="b", n=1), body={"held": True, "reason": subject, **more},
    )  # fmt: skip
    return Stored(index=12, entry=entry, data=canonical_bytes({"reason": subject, **more}))


@given(ROUGH, ROUGH)
def test_no_name_can_break_a_message(subject: str, origin: str) -> None:
    stored = stored_with(subject or "x")
    raw = replace(FORM, origin=origin, host=subject).message(Message(stored=stored, line=stored.data))
    assert all(0x20 <= byte <= 0x7E for byte in raw)
    found = parse_message(raw)
    assert json.loads(found.text) == json.loads(stored.data)
    assert canonical_bytes(json.loads(found.text)) == stored.data  # so the leaf can be had from it
    assert found.data["index"] == "12"
    assert framed(raw) == str(len(raw)).encode() + b" " + raw


@given(st.integers(2_048, 9_000), st.integers(0, 9_000), st.sampled_from(["\u00fc", "\U0001f600", "a", '"']))
def test_no_message_is_longer_than_the_limit(most: int, size: int, mark: str) -> None:
    stored = stored_with(mark * size)
    raw = replace(FORM, max_message=most, host="h" * 300, origin="\\" * 300).message(
        Message(stored=stored, line=stored.data)
    )
    assert len(raw) <= most
    told = json.loads(parse_message(raw).text)
    assert told.get("omitted_bytes") == len(stored.data) or told == json.loads(stored.data)


def test_severities_tell_what_to_look_at() -> None:
    def severity(kind: EntryKind, **body: Any) -> int:
        stored = stored_with("x")
        stored = replace(stored, entry=replace(stored.entry, kind=kind, body=body))
        return parse_message(FORM.message(Message(stored=stored, line=b"{}"))).priority - 13 * 8

    assert severity(EntryKind.DECISION, verdict={"refused": True}) == 4
    assert severity(EntryKind.DECISION, verdict={"refused": False}) == 6
    assert severity(EntryKind.OUTCOME, status="failed") == 3
    assert severity(EntryKind.SIGNATURE, event="rejected") == 4
    assert severity(EntryKind.WAIVER) == 5
    assert severity(EntryKind.EXPORT) == 6


def test_the_three_characters_are_escaped() -> None:
    assert sd_value('a"b\\c]d\n\x1bé') == 'a\\"b\\\\c\\]d???'
    assert ascii_json('{"a":"é\U0001f600\x7f\x9b"}'.encode()) == '{"a":"\\u00e9\\ud83d\\ude00\\u007f\\u009b"}'
    assert parse_canonical(b'{"a":"x"}') == {"a": "x"}
