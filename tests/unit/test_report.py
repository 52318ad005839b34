"""The audit report: what it counts, what it shows, and that nothing in the log can act on the page."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from governance.audit.entry import (
    EntryKind,
    OutcomeStatus,
    decision_body,
    evidence_digest,
    key_body,
    outcome_body,
    signature_body,
)
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import leaf_hash
from governance.model.artifact import Artifact, Kind, parse_repository_key
from governance.model.canonical import Json, parse_canonical
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Effect, Evidence, Finding, Mode, RuleResult, Severity, Truth, Verdict
from governance.report.fields import Fields
from governance.report.format import FORMATS
from governance.report.query import Report, build_report
from governance.report.showing import human_size, marked, shown
from tests.audit_tools import START, Clock, file_entry, make_log, sha, signer

HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\u2066\u200b&amp;{{ 7*7 }}"


def decide(
    log: AuditLog,
    *,
    name: str = "wine",
    action: Action = Action.LOAD,
    decision: Effect = Effect.ALLOW,
    mode: Mode = Mode.ENFORCE,
    waiver: str | None = None,
    message: str = "not good",
    status: OutcomeStatus | None = OutcomeStatus.DONE,
    signature: dict[str, Json] | None = None,
    facts: bytes | None = None,
) -> None:
    artifact = Artifact(
        kind=Kind.MODEL, host="h", repository=parse_repository_key("models"), path=name, name=name,
        files=(file_entry("MLmodel", 1), file_entry("model.pkl", 2)),
    )  # fmt: skip
    request = Request(
        action=action,
        artifact=artifact,
        actor=Actor(name=name),
        environment="production",
        at=START,
        correlation="c",
    )
    findings: tuple[Finding, ...] = ()
    if decision >= Effect.WARN:
        evidence = (Evidence(fact="x", value=message, source=message),)
        findings = (
            Finding(rule=f"p/{name}", effect=decision, severity=Severity.HIGH, message=message, remediation=message, evidence=evidence),
        )  # fmt: skip
    rules = (
        (RuleResult(rule="p/w", effect=Effect.BLOCK, truth=Truth.TRUE, fired=False, waiver=waiver),)
        if waiver
        else ()
    )
    verdict = Verdict(
        decision=decision,
        findings=findings,
        rules=rules,
        policies=("p",),
        policy_digest=sha(1),
        facts_digest=sha(2) if facts is None else evidence_digest(facts),
    )
    refused = mode is Mode.ENFORCE and decision >= Effect.QUARANTINE
    body = decision_body(request=request, verdict=verdict, mode=mode, refused=refused)
    documents = () if facts is None else (facts,)
    receipt = log.append(EntryKind.DECISION, body, subject=artifact.ref, correlation="c", evidence=documents)
    if status is not None:
        ended = OutcomeStatus.REFUSED if refused else status
        moved = artifact.files if ended is OutcomeStatus.DONE else ()
        outcome = outcome_body(
            decision=receipt.id, action=action.value, status=ended, moved=moved, signature=signature
        )
        log.append(EntryKind.OUTCOME, outcome, subject=artifact.ref, correlation="c")


@pytest.fixture(name="log")
def make_story() -> AuditLog:
    log = make_log(signers=[signer()])
    log.append(EntryKind.KEY, key_body(event="made", key_id="k1"), subject="keys", correlation="c")
    decide(log)
    decide(log, decision=Effect.WARN)
    decide(log, name="evil", decision=Effect.BLOCK)
    decide(log, name="unscanned", decision=Effect.QUARANTINE)
    decide(log, name="trial", decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, name="waived", waiver="W-1")
    made = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="key-at-once", bundle=sha(3))
    decide(log, name="signed", action=Action.UPLOAD, signature=made)
    decide(log, name="parts", action=Action.UPLOAD)
    later = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="key-later", bundle=sha(3))
    log.append(EntryKind.SIGNATURE, later, subject="models/parts", correlation="c")
    decide(log, name="unsigned", action=Action.UPLOAD)
    decide(log, name="broken", action=Action.UPLOAD, status=OutcomeStatus.FAILED)
    decide(log, name="gone", status=None)
    return log


def report(log: AuditLog, **more: object) -> Report:
    return build_report(log, now=START, **more)  # type: ignore[arg-type]


def render(made: Report, name: str = "html") -> str:
    out = io.BytesIO()
    FORMATS[name]().write(made, out)
    return out.getvalue().decode()


def test_everything_is_counted_once(log: AuditLog) -> None:
    made = report(log)
    assert made.counts == {
        "decisions": 11, "allowed": 6, "warned": 1, "refused": 1, "quarantined": 1, "would-block": 1, "waived": 1,
        "unfinished": 1, "uploads": 3, "signed": 2, "failed": 1,
    }  # fmt: skip
    assert [row.name for row in made.unfinished] == ["gone"]
    assert made.decisions[0].name == "gone", "newest first"
    assert sum(sum(slot.values()) for _, slot in made.timeline) == 11
    assert {event.kind for event in made.events} == {"key", "signature"}


def test_a_period_and_a_subject_narrow_it(log: AuditLog) -> None:
    times = [stored.entry.at for stored in log.find(kind=EntryKind.DECISION)]
    assert report(log, since=times[3]).counts["decisions"] == 8
    assert report(log, until=times[3]).counts["decisions"] == 3
    assert report(log, subject="models/evil").counts["refused"] == 1
    assert report(log, subject="models/none").counts["decisions"] == 0
    assert "No decision was recorded" in render(report(log, subject="models/none"))


def test_a_cut_list_says_so(log: AuditLog) -> None:
    made = report(log, most=4)
    assert (len(made.decisions), made.omitted, made.counts["decisions"]) == (4, 7, 11)
    assert "7 older ones are counted above" in render(made)


def test_the_page_tells_the_story(log: AuditLog) -> None:
    page = render(report(log, vkey=signer().key.vkey, command="python x/verify_log.py x"))
    for part in (
        "The log proves itself", "would have been blocked", "allowed by waiver", "W-1", "Decisions without an outcome",
        "key-at-once", "key-later", "not signed", "python x/verify_log.py x", log.checkpoint().root.hex(), signer().key.vkey,
        "remembered from before: a log rewritten as a whole would not show",
    ):  # fmt: skip
        assert part in page, part


def test_a_broken_log_cannot_look_good(log: AuditLog) -> None:
    store = log.store
    assert isinstance(store, MemoryStore)
    store._rows[1] = store._rows[1]._replace(subject="elsewhere")
    page = render(report(log))
    assert "entry 1: it is filed under another subject" in page, "the report is written, and says so"
    store._rows[1] = store._rows[1]._replace(subject="keys", correlation="elsewhere")
    page = render(report(log))
    assert "The log does not prove itself" in page
    assert "proves itself" not in page.replace("does not prove itself", "")
    assert "entry 1: it is filed under another correlation" in page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in {"href", "src", "action", "data"}]


def test_nothing_in_the_log_can_act_on_the_page() -> None:
    log = make_log(origin="acme.example/audit")
    hostile = HOSTILE.replace("/", "|")
    for decision in (Effect.BLOCK, Effect.ALLOW):
        decide(log, name=hostile, decision=decision, message=HOSTILE, waiver=HOSTILE, action=Action.UPLOAD)
    log.append(
        EntryKind.KEY, key_body(event=HOSTILE, key_id=HOSTILE, name=HOSTILE), subject=HOSTILE, correlation="c"
    )
    page = render(report(log, subject=None, command=HOSTILE, vkey=HOSTILE))
    seen = Tags()
    seen.feed(page)
    assert not seen.tags & {"script", "img", "iframe", "object", "link", "base", "form", "embed"}
    assert not {name for name in seen.attributes if name.startswith("on")} | seen.attributes & {
        "style",
        "srcdoc",
    }
    assert seen.urls == []
    assert not re.search("[\u202e\u2066\u200b]", page)
    assert "{{" in page, "shown as text"
    assert "49" not in re.findall(r"amp;(\w+)", page)


def test_the_page_allows_its_own_style_and_nothing_else(log: AuditLog) -> None:
    page = render(report(log))
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)
    assert style is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert (
        policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "http" not in style[1]
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_the_lines_are_the_very_bytes_of_the_log(log: AuditLog) -> None:
    head, *lines = render(report(log), "jsonl").encode().splitlines()
    summary = parse_canonical(head)
    assert summary["integrity"]["good"] is True  # type: ignore[index,call-overload]
    assert summary["counts"]["decisions"] == 11  # type: ignore[index,call-overload]
    rows = list(log.store.rows(0, 100))
    assert lines == [row.data for row in rows]
    assert [leaf_hash(line) for line in lines] == [row.leaf for row in rows]


def test_an_entry_of_another_program_version_is_shown_all_the_same() -> None:
    log = make_log()
    odd: dict[str, Json] = {
        "action": 3, "artifact": [], "actor": None, "environment": {}, "verdict": {"findings": [1, {}]}, "policy": 0, "facts": 0,
    }  # fmt: skip
    receipt = log.append(EntryKind.DECISION, odd, subject="s", correlation="c")
    body: dict[str, Json] = {"decision": receipt.id, "action": 0, "status": 0, "moved": {"files": [{}]}}
    log.append(EntryKind.OUTCOME, body, subject="s", correlation="c")
    assert report(log).counts["decisions"] == 1
    assert "<!doctype html>" in render(report(log))


@pytest.mark.parametrize(
    "span", [timedelta(0), timedelta(seconds=9), timedelta(hours=5), timedelta(days=3), timedelta(days=3000)]
)
def test_the_timeline_has_a_bounded_number_of_equal_steps(span: timedelta) -> None:
    clock = Clock()
    log = make_log(now=clock)
    decide(log)
    clock.at += span
    decide(log)
    timeline = report(log).timeline
    assert 1 <= len(timeline) <= 96
    assert sum(sum(slot.values()) for _, slot in timeline) == 2


@pytest.mark.parametrize(
    ("count", "words"), [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 50, "1024.0 TiB")]
)  # fmt: skip
def test_sizes_for_people(count: int | None, words: str) -> None:
    assert human_size(count) == words


def test_text_is_shown_and_marked() -> None:
    assert shown("a\u202eb\x00") == "a\\u202eb\\u0000"
    assert str(marked("`<b>` is & was")) == "<code>&lt;b&gt;</code> is &amp; was"
    assert str(marked("a ` <b>")) == "a ` &lt;b&gt;"


def test_fields_never_raise() -> None:
    fields = Fields({"a": 1, "b": True, "c": ["x", 1], "d": {"e": "f"}, "g": [{"h": 1}, 2]})
    assert (fields.text("a"), fields.word("a"), fields.number("b"), fields.is_set("a")) == (
        None,
        "?",
        None,
        False,
    )
    assert (fields.texts("c"), fields.texts("a"), fields.sub("c").body) == (("x",), (), {})
    assert fields.sub("d").text("e") == "f"
    assert len(fields.subs("g")) == 1
    assert json.dumps(dict(fields.body))


def test_a_broken_entry_is_left_out_and_told() -> None:
    store = MemoryStore()
    log = make_log(store)
    decide(log, name="good")
    decide(log, name="evil", decision=Effect.BLOCK)
    place = next(at for at, row in enumerate(store._rows) if row.kind == "decision" and b'"evil"' in row.data)
    store._rows[place] = store._rows[place]._replace(data=store._rows[place].data.replace(b"block", b"allow"))
    made = report(log)
    assert [row.name for row in made.decisions] == ["good"]
    assert not made.verification.is_good
    assert "does not prove itself" in render(made)
