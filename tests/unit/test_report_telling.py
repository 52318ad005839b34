"""What is told from a log: sequences, blast radius, and many decisions replayed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from governance.audit.bodies import waiver_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, checked
from governance.audit.sqlite import SqliteStore
from governance.audit.store import draft_of
from governance.collect.collector import NOT_GATHERED
from governance.errors import SettingsError
from governance.model.digest import Sha256
from governance.model.facts import Collection, FactValue, Unknown
from governance.report.index.lookup import Index
from governance.report.question import What, parse_question
from governance.report.replay_bulk import BulkReplay
from governance.report.selection import Selection, SelectionError, parse_selection
from governance.report.timeline import timeline
from governance.report.who_loaded import who_loaded
from tests.audit_tools import database_of, tamper
from tests.story import CVE, NUMPY, Story, ask, tell


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = tell(tmp_path, SqliteStore(tmp_path / "audit.sqlite"))
    yield made
    made.log.close()


def radius(story: Story, text: str, tmp_path: Path | None) -> Any:
    index = None if tmp_path is None else Index(story.log.store, tmp_path / "i")
    return who_loaded(story.log, parse_question(text), index)


def told(made: Any) -> list[tuple[str, str, str, str]]:
    return [(act.actor[:5], act.action, act.result, act.because) for act in made.acts]


EARLY = ("early", "load", "allow", "the same bytes")
ALICE = ("alice", "load", "allow", "the same bytes")


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(("text", "acts"), [
    (NUMPY, [(*ALICE[:3], "the facts"), (*ALICE[:3], "the facts"), EARLY]),
    ("pkg:PyPI/NumPy", [(*ALICE[:3], "the facts"), (*ALICE[:3], "the facts"), EARLY]),
    ("pkg:pypi/numpy@2.0", []),
    ("pkg:pypi/numpy@1.26.4.0", [(*ALICE[:3], "the facts"), (*ALICE[:3], "the facts"), EARLY]),
    ("pkg:pypi/numpy@v1.26.04", [(*ALICE[:3], "the facts"), (*ALICE[:3], "the facts"), EARLY]),
    ("pkg:pypi/numpy@1.26.4+cu1", []),
    ("pkg:pypi/torch@2.5.0", [(*ALICE[:3], "the facts"), ALICE, EARLY]),
    ("pkg:pypi/torch@2.5.0rc1", []),
    ("pkg:pypi/evil.pkg", [(*ALICE[:3], "the facts"), (*ALICE[:3], "the facts"), EARLY]),
    ("pkg:pypi/torch@2.5", [(*ALICE[:3], "the facts"), ALICE, EARLY]),
    (CVE.lower(), [(*ALICE[:3], "the facts"), ALICE, EARLY]),
    ("XRAY-77", [(*ALICE[:3], "the facts"), ALICE, EARLY]),
    ("CVE-2020-0001", []),
    ("2" * 64, [(*ALICE[:3], "a file that was moved")] * 2 + [(*EARLY[:3], "a file that was moved")]),
    ("sha256:" + "3" * 64, [("mal\x1b[", "load", "refused", "the same bytes"), ("bob", "promote", "warn", "a file that was moved")]),
    ("fraud/2", [("mal\x1b[", "load", "refused", "its name"), ("bob", "promote", "warn", "its name")]),
    ("fraud-net/2", []),
    ("models:/fraud/2", [("mal\x1b[", "load", "refused", "its name"), ("bob", "promote", "warn", "its name")]),
    ("models/fraud/2", [("mal\x1b[", "load", "refused", "its place"), ("bob", "promote", "warn", "its place")]),
    ("models/fraud/2/", [("mal\x1b[", "load", "refused", "its place"), ("bob", "promote", "warn", "its place")]),
])  # fmt: skip
def test_who_loaded_what_contains_it(
    story: Story, tmp_path: Path, text: str, acts: list[tuple[str, str, str, str]], scan: bool
) -> None:
    made = radius(story, text, None if scan else tmp_path)
    assert told(made) == acts
    assert made.broken == []


@pytest.mark.parametrize("scan", [False, True])
def test_a_build_is_a_build_of_its_release(tmp_path: Path, scan: bool) -> None:
    """`torch==2.1.0` of an advisory means the wheels `2.1.0+cu118` too, which is what people of this field have installed."""
    made = tell(tmp_path, SqliteStore(tmp_path / "audit.sqlite"))
    torch = Collection(
        ({"purl": "pkg:pypi/torch@2.1.0%2Bcu118", "name": "torch"}, {"purl": "pkg:npm/left@v1.2?a=b"})
    )
    made.bench.world.facts = {"xray.malicious": False, "scan.complete": True, "dependencies": torch}
    ask(made, 1, "cuda")
    for text, found in (
        ("pkg:pypi/torch@2.1.0+cu118", True), ("pkg:pypi/torch@2.1", True), ("pkg:pypi/torch@2.1.0", True),
        ("pkg:pypi/torch@2.1.0+cu121", False), ("pkg:pypi/torch@2.1.1", False), ("pkg:pypi/torch", True),
        ("pkg:npm/left@1.2.0", True), ("pkg:npm/left@1.2.0-rc.1", False),
    ):  # fmt: skip
        acts = told(radius(made, text, None if scan else tmp_path))
        assert (("cuda", "load", "allow", "the facts") in acts) is found, text
    made.log.close()


def test_an_advisory_by_another_id_is_not_answered_as_if_nothing_were_known(story: Story) -> None:
    for text in ("GHSA-8q59-q68h-6hv4", "pysec-2021-142", "MAL-2024-1", "JFSA-2023-000123456"):
        asked = parse_question(text)
        assert (asked.what, asked.may_be_called_otherwise) == (What.ADVISORY, True), text
    assert not parse_question(CVE).may_be_called_otherwise
    for wrong in (
        "artifactory://h/models/fraud",
        "https://h/x",
        "CVE-\u0662\u0660\u0662\u0660-1234",
        "XRAY-x",
    ):
        with pytest.raises(SelectionError):
            parse_question(wrong)


def test_a_radius_names_models_promotions_places_and_outcomes(story: Story, tmp_path: Path) -> None:
    made = radius(story, "1" * 64, tmp_path)  # the file that both versions have
    assert {*made.registered} == {"fraud/1", "fraud/2"}
    assert sorted(ref for refs in made.artifacts.values() for ref in refs) == [
        "models/fraud/1",
        "models/fraud/2",
    ]
    assert [act.actor for act in made.promotions] == ["bob"]
    assert [(act.actor, act.environment, act.instance, act.ended) for act in made.fetched] == [
        ("alice", "prod", "serve-1", ("done",)), ("alice", "development", "serve-1", ("done",)),
        ("early", "development", "serve-1", ("done",)),
    ]  # fmt: skip
    assert all(act.host == "127.0.0.1" for act in made.acts)


def test_a_folders_digest_finds_what_was_done_with_it(story: Story, tmp_path: Path) -> None:
    digest = str(story.entries(EntryKind.DECISION)[0].entry.body["artifact"]["digest"])  # type: ignore[call-overload,index]
    made = radius(story, digest, tmp_path)
    assert [act.because for act in made.acts] == ["its digest"] * 3


def test_the_facts_of_a_sequence_are_told_with_how_many_are_incomplete(story: Story) -> None:
    story.bench.world.facts = {
        "xray.malicious": Unknown("Xray: the server failed"),
        "xray.watches": Unknown("Xray: the server failed", at_least=("production",)),
        "vulnerabilities": Collection((), "Xray: the server failed"),
    }
    ask(story, 1, "dora")
    made = timeline(story.log, story.entries(EntryKind.DECISION)[-1].entry.id)
    (told,) = [step for step in made.steps if step.what == "facts"]
    assert re.fullmatch(r"\d+ facts gathered, \d+ unknown, 1 incomplete", told.title)
    rows = {name: text for name, text, *_ in told.facts}
    assert rows["xray.malicious"] == "unknown: Xray: the server failed"
    assert rows["xray.watches"] == 'at least ["production"]: Xray: the server failed'


def test_what_evidence_named_that_is_gone_is_said_to_be_gone(story: Story, tmp_path: Path) -> None:
    index = Index(story.log.store, tmp_path / "i")
    facts = [Sha256(str(each.entry.body["facts"])) for each in story.entries(EntryKind.DECISION)]
    story.log.store.erase(facts)
    after = who_loaded(story.log, parse_question(NUMPY), index)
    assert (after.acts, after.unchecked) == ([], 2)
    anew = who_loaded(story.log, parse_question(NUMPY), Index(story.log.store, tmp_path / "other"))
    assert (anew.acts, anew.unknown) == ([], 5)


@pytest.mark.parametrize("scan", [False, True])
def test_who_loaded_counts_those_of_whom_nobody_knows(story: Story, tmp_path: Path, scan: bool) -> None:
    """A list of which more may be missing tells what is in it, and never what is not."""
    some = Collection(({"purl": "pkg:pypi/here@1", "name": "here"},), "`conda.yaml`: no answer")
    news = Collection(({"id": "XRAY-9", "cve": "CVE-2026-0009"},), "Xray: the server failed")
    good: dict[str, FactValue] = {"xray.malicious": False, "scan.complete": True}
    story.bench.world.facts = good | {"dependencies": some, "vulnerabilities": news}
    ask(story, 1, "in part")
    story.bench.world.facts = good | dict.fromkeys(("dependencies", "vulnerabilities"), Unknown("no answer"))
    ask(story, 2, "nothing")
    story.bench.world.facts |= {"xray.malicious": True}
    ask(story, 2, "refused")
    story.bench.world.facts = good | dict.fromkeys(("dependencies", "vulnerabilities"), Unknown(NOT_GATHERED))
    ask(story, 2, "not asked")

    def found(text: str) -> tuple[bool, int]:
        made = radius(story, text, None if scan else tmp_path)
        return "in part" in {act.actor for act in made.acts}, made.incomplete

    assert found("pkg:pypi/here@1") == found("CVE-2026-0009") == (True, 1), (
        "the other one, of which nothing is known"
    )
    assert found("pkg:pypi/elsewhere@1") == found("CVE-2026-0010") == (False, 2)
    assert found("fraud") == (True, 0)


@pytest.mark.parametrize("scan", [False, True])
def test_outcomes_may_be_looked_up_for_the_newest_alone(story: Story, tmp_path: Path, scan: bool) -> None:
    index = None if scan else Index(story.log.store, tmp_path / "i")
    whole = who_loaded(story.log, parse_question("1" * 64), index)
    made = who_loaded(story.log, parse_question("1" * 64), index, ended=1)
    assert [act._replace(ended=None) for act in made.acts] == [act._replace(ended=None) for act in whole.acts]
    assert [act.ended for act in made.fetched] == [whole.fetched[0].ended, None, None]
    assert [act.ended for act in made.promotions] == [act.ended for act in whole.promotions]
    assert [act.ended for act in made.acts if act.result == "refused"] == [()]


def test_a_changed_outcome_is_named(story: Story, tmp_path: Path) -> None:
    index = Index(story.log.store, tmp_path / "i")
    fetched = who_loaded(story.log, parse_question("1" * 64), index).fetched[-1]
    number = next(
        each.index for each in story.entries(EntryKind.OUTCOME) if each.entry.body["decision"] == fetched.id
    )
    tamper(
        tmp_path / "audit.sqlite",
        "UPDATE entry SET data = CAST(replace(data, 'done', 'down') AS BLOB) WHERE seq = ?",
        values=(number,),
    )
    made = who_loaded(story.log, parse_question("1" * 64), index)
    assert number in [problem.index for problem in made.broken]
    assert made.fetched[-1].ended == ()


def test_at_most_so_many_candidates_are_looked_at(story: Story, tmp_path: Path) -> None:
    made = who_loaded(story.log, parse_question("fraud"), Index(story.log.store, tmp_path / "i"), most=2)
    assert len(made.acts) == 2
    assert made.not_looked_at > 0


def test_changed_evidence_is_named(story: Story, tmp_path: Path) -> None:
    index = Index(story.log.store, tmp_path / "i")
    tamper(
        tmp_path / "audit.sqlite", "UPDATE evidence SET body = CAST('{}' AS BLOB) WHERE category = 'decision'"
    )
    made = who_loaded(story.log, parse_question(NUMPY), index)
    assert made.acts == []
    assert "was changed" in made.broken[0].what


def test_an_entry_that_nobody_can_read_is_named_whatever_is_asked(story: Story, tmp_path: Path) -> None:
    number = story.entries(EntryKind.DECISION)[2].index
    tamper(
        tmp_path / "audit.sqlite",
        "UPDATE entry SET data = CAST('{}' AS BLOB) WHERE seq = ?",
        values=(number,),
    )
    for text in ("CVE-1999-0001", "nobody", CVE):
        made = radius(story, text, tmp_path)
        assert [problem.index for problem in made.broken] == [number]


@pytest.mark.parametrize(("text", "what", "normal"), [
    ("SHA256:" + "AB" * 32, What.DIGEST, "ab" * 32), ("Dirhash1:" + "ab" * 32, What.DIGEST, "ab" * 32),
    ("AB" * 32, What.DIGEST, "ab" * 32), ("dirhash1:" + "ab" * 32, What.DIGEST, "ab" * 32), ("cve-2025-32434", What.ADVISORY, CVE),
    ("GHSA-abcd-ef01-2345", What.ADVISORY, "GHSA-ABCD-EF01-2345"), ("pkg:pypi/A_b@1", What.PACKAGE, "pkg:pypi/a-b@1"),
    ("fraud/1", What.MODEL, "fraud/1"), ("cvedetails", What.MODEL, "cvedetails"),
])  # fmt: skip
def test_a_question_says_what_it_is_about(text: str, what: What, normal: str) -> None:
    asked = parse_question(text)
    assert (asked.what, asked.normal) == (what, normal)


@pytest.mark.parametrize(
    "text",
    ["sha256:12", "sha512:" + "a" * 128, "MD5:" + "a" * 32, "pkg:", "pkg:pypi/", "CVE-1", "GHSA-x", ""],
)
def test_a_question_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SelectionError):
        parse_question(text)


def test_a_sequence_is_told_from_request_to_outcome(story: Story) -> None:
    decision = story.entries(EntryKind.DECISION)[2].entry
    for wanted in (decision.id, decision.correlation, story.entries(EntryKind.OUTCOME)[2].entry.id):
        made = timeline(story.log, wanted)
        assert [step.what for step in made.steps] == [
            "request",
            "facts",
            "verdict",
            "permit",
            "outcome",
            "replay",
        ]
        assert made.steps[-1].title == "replayed now: the same verdict, byte for byte"
        assert made.others == 0
    tree = json.loads(orjson.dumps(made.to_json()))
    facts = {row["name"]: row for row in tree["steps"][1]["facts"]}
    assert facts["vulnerabilities"] == {
        "name": "vulnerabilities",
        "value": "1 items",
        "source": "world",
        "age": "0:02:00",
    }
    assert ("  weights.bin", "sha256:" + "2" * 64) in made.steps[4].details


def test_a_refusal_says_why(story: Story) -> None:
    made = timeline(story.log, story.entries(EntryKind.DECISION)[-1].entry.id)
    verdict, door = made.steps[2], made.steps[3]
    assert ("block trial/malicious", "[critical] models/fraud/2 is reported malicious") in verdict.details
    assert (door.what, door.title, door.is_bad) == ("refusal", "refused: the door stayed shut", True)


def test_break_glass_and_its_review_belong_to_the_decision(story: Story) -> None:
    decision = story.entries(EntryKind.DECISION)[0].entry
    more: dict[str, str | bool | None] = {"by": "alice", "reason": "the site is down"}
    for event, correlation in (("break-glass", decision.correlation), ("reviewed", "another")):
        story.log.append(
            EntryKind.WAIVER, waiver_body(event=event, waiver=decision.id, more=more), subject=decision.subject,
            correlation=correlation,
        )  # fmt: skip
    made = timeline(story.log, decision.id)
    assert [step.title for step in made.steps if step.what == "waiver"] == [
        "waiver: break-glass the site is down", "waiver: reviewed the site is down",
    ]  # fmt: skip


def test_erased_facts_are_told_with_their_erasure(story: Story) -> None:
    decision = story.entries(EntryKind.DECISION)[0].entry
    facts = str(decision.body["facts"])
    story.log.append(
        EntryKind.ERASURE, {"digests": [facts], "reason": "retention"}, subject="s", correlation="x"
    )
    story.log.store.erase([Sha256(facts)])
    made = timeline(story.log, decision.id)
    assert [step.what for step in made.steps] == [
        "request",
        "facts",
        "verdict",
        "permit",
        "outcome",
        "erasure",
        "replay",
    ]
    assert "not in the evidence any more" in made.steps[1].title
    assert made.steps[-1].title.startswith("cannot be replayed now")


def test_other_decisions_of_a_sequence_are_counted(story: Story) -> None:
    decision = story.entries(EntryKind.DECISION)[1].entry
    story.log.append(
        EntryKind.KEY, {"event": "made", "key_id": "k"}, subject="key k", correlation=decision.correlation
    )
    assert timeline(story.log, decision.id).others == 1
    assert "key: made" in [step.title for step in timeline(story.log, decision.correlation).steps]


def test_an_id_that_nothing_has_is_refused(story: Story) -> None:
    with pytest.raises(SettingsError, match="no entry and no sequence has the id `nothing`"):
        timeline(story.log, "nothing")


def everything(log: AuditLog) -> range:
    return range(log.store.frontier().size)


def test_all_decisions_come_out_the_same(story: Story) -> None:
    made = BulkReplay(story.log, Selection()).run(everything(story.log))
    assert (made.same, made.decisions) == (5, 5)
    assert BulkReplay(story.log, parse_selection("decision:block")).run(everything(story.log)).decisions == 1


def test_each_decision_is_in_one_count(story: Story, tmp_path: Path) -> None:
    decisions = story.entries(EntryKind.DECISION)
    story.log.store.erase([Sha256(str(decisions[0].entry.body["facts"]))])
    forged = orjson.loads(decisions[1].data)
    forged["body"]["verdict"]["decision"] = "block"
    row = next(story.log.store.rows(decisions[1].index or 0, (decisions[1].index or 0) + 1))
    entry = checked(row).entry
    made_up = draft_of(replace(entry, body=forged["body"]))
    with database_of(tmp_path / "audit.sqlite") as connection:
        connection.execute("DROP TRIGGER entry_update")
        connection.execute(
            "UPDATE entry SET data = ?, leaf = ? WHERE seq = ?",
            (made_up.data, made_up.leaf, decisions[1].index),
        )
        connection.execute("UPDATE entry SET data = CAST('{}' AS BLOB) WHERE seq = ?", (decisions[2].index,))
    made = BulkReplay(story.log, Selection()).run(everything(story.log))
    assert (made.same, made.different, made.gone, made.broken) == (2, 1, 1, 1)
    assert made.differences[0].what == '`verdict.decision` was "block" and is now "allow"'
    assert made.differences[0].index == decisions[1].index
    assert "is not in the evidence" in made.not_replayable[0].what
    assert made.problems[0].index == decisions[2].index
    twice = BulkReplay(story.log, Selection()).run(everything(story.log))
    made.add(twice)
    assert (made.decisions, len(made.problems)) == (10, 2)
