"""What makes a replay quick changes no answer: what is remembered has a bound, and short ways end where long ones do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.sqlite import SqliteStore
from governance.errors import AuditBrokenError, UnsafePathError
from governance.model.artifact import Artifact, FileEntry, Kind, artifact_on_record, parse_relative_path
from governance.model.artifact import parse_repository_key as key
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.facts import Collection
from governance.model.recorded_facts import _decimal, _origin, facts_from_json
from governance.model.verdict import fired_in, waived_in
from governance.report import evidence_page, recorded
from governance.report.evidence_page import PageOfEvidence
from governance.report.replay import PolicyCache, replay, verdict_again
from governance.report.replay_bulk import BulkReplay
from governance.report.selection import Selection
from tests.audit_tools import body as audit_body
from tests.audit_tools import make_log
from tests.unit.test_report_replay import decisions, story


@pytest.mark.parametrize("table", [_decimal, _origin, recorded._artifact, recorded._actor])
def test_what_is_remembered_has_a_bound(table: Any) -> None:
    assert table.cache_parameters()["maxsize"] == 4_096


def test_long_texts_are_read_and_not_remembered() -> None:
    long, before = "0." + "1" * 10_000, (_decimal.cache_info().currsize, _origin.cache_info().currsize)
    row: dict[str, Json] = {
        "at": "2026-11-22T12:00:00.000000Z",
        "source": "s" * 10_000,
        "value": {"decimal": long},
    }
    facts = facts_from_json({"xray.max_cvss": row})
    assert facts.values["xray.max_cvss"] == float(long)
    assert facts.origins["xray.max_cvss"].source == "s" * 10_000
    assert (_decimal.cache_info().currsize, _origin.cache_info().currsize) == before


def test_a_name_that_is_no_fact_has_no_origin() -> None:
    facts = facts_from_json({"": {"at": "x", "source": "y", "value": 1}, "a": {"value": 1}})
    assert facts.origins.get("b") is None
    assert facts.origins.get("a") is None


@given(st.text(alphabet="aZ09_-./\\: \n\0é", max_size=12))
def test_a_plain_name_is_one_that_the_long_look_takes(name: str) -> None:
    try:
        taken = parse_relative_path(name) == name
    except UnsafePathError:
        taken = False
    parts = name.split("/")
    is_safe = not any(part in {"", ".", ".."} for part in parts) and not set(name) & set("\\\n\0")
    assert taken is (is_safe and not (name[1:2] == ":" and name[0].isascii() and name[0].isalpha()))


def test_an_artifact_on_record_is_the_one_that_is_made() -> None:
    made = artifact_on_record(
        kind=Kind.FILE,
        host="h",
        ref="r/a/b.bin",
        repository="r",
        path="a",
        name="n",
        version=None,
        digest=None,
    )
    own = Artifact(
        kind=Kind.FILE,
        host="h",
        repository=key("r"),
        path="a",
        name="n",
        files=(FileEntry(path=parse_relative_path("b.bin")),),
    )
    assert (made, made.ref, made.digest) == (own, "r/a/b.bin", None)


def test_a_collection_on_record_is_the_one_that_is_made() -> None:
    assert Collection.on_record(({"a": 1},), "more") == Collection(({"a": 1},), "more")


def test_what_results_have_at_hand_is_what_they_say(tmp_path: Path) -> None:
    b = story(tmp_path)
    policies, seen = PolicyCache(b.log), set()
    for entry in decisions(b):
        one = recorded.read_decision(b.log, entry)
        rules = verdict_again(b.log, one, policies.get(one.policy_digest)).rules
        assert list(fired_in(rules)) == list(fired_in(tuple(rules)))
        assert list(waived_in(rules)) == list(waived_in(tuple(rules)))
        seen |= set(fired_in(rules))
    assert seen


_FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a number for a truth": lambda verdict: verdict.update(refused=int(verdict["refused"])),
    "a fraction for a number": lambda verdict: verdict.update(rules=float(verdict["rules"])),
    "one name more": lambda verdict: verdict.update(more=None),
    "one name less": lambda verdict: verdict.pop("degraded"),
    "another word": lambda verdict: verdict.update(decision="warn"),
}


@pytest.mark.parametrize("forge", _FORGED.values(), ids=_FORGED)
def test_what_is_equal_and_has_other_bytes_is_different(
    tmp_path: Path, forge: Callable[[dict[str, Any]], object]
) -> None:
    b = story(tmp_path)
    policies = PolicyCache(b.log)
    for stored in b.entries(EntryKind.DECISION):
        document = orjson.loads(stored.data)
        forge(document["body"]["verdict"])
        forged = recorded.read_decision(b.log, stored.entry).entry
        assert replay(b.log, forged, policies=policies).is_same
        changed = _With(stored.entry, document["body"])
        assert not replay(b.log, changed, policies=policies).is_same


class _With:
    """An entry with another body."""

    def __init__(self, entry: Any, body: dict[str, Any]) -> None:
        self.id, self.kind, self.subject, self.correlation = (
            entry.id,
            entry.kind,
            entry.subject,
            entry.correlation,
        )
        self.body = body


def test_the_order_of_the_keys_makes_no_difference(tmp_path: Path) -> None:
    b = story(tmp_path)
    entry = decisions(b)[0]
    body: dict[str, Any] = dict(reversed(orjson.loads(orjson.dumps(dict(entry.body))).items()))
    body["verdict"] = dict(reversed(body["verdict"].items()))
    assert replay(b.log, _With(entry, body), policies=PolicyCache(b.log)).is_same


def test_every_document_of_a_page_is_checked(tmp_path: Path) -> None:
    b = story(tmp_path)
    size, digest = b.log.store.frontier().size, Sha256(str(decisions(b)[0].body["facts"]))
    made = BulkReplay(b.log, Selection()).run(range(size))
    assert made.same == made.decisions == len(decisions(b))
    page = PageOfEvidence(b.log)
    page._known = {digest: b"changed"}
    with pytest.raises(AuditBrokenError, match="was changed"):
        page.evidence(digest)


def test_a_page_of_large_documents_is_not_held_whole_and_yet_read_whole(tmp_path: Path) -> None:
    large = [bytes([n]) * (evidence_page._MOST_HELD // 2) for n in range(5)]
    names = [evidence_digest(body) for body in large]
    with contextlib.closing(make_log(SqliteStore(tmp_path / "audit.sqlite"))) as log:
        log.append(
            kind=EntryKind.OUTCOME, subject="s", correlation="c", body=audit_body(), evidence=tuple(large)
        )
        page = PageOfEvidence(log)
        page.load(names)
        assert len(page._known) == 2
        assert [page.evidence(name) for name in names] == large
        page.load(names[:1])
        assert list(page._known) == names[:1]
