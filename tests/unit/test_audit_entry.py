"""Entries: one byte form, closed kinds, and bodies that fit whatever comes from outside."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from governance.audit.bodies import (
    OutcomeStatus,
    decision_body,
    key_body,
    moved_documents,
    moved_files,
    outcome_body,
    signature_body,
    text,
)
from governance.audit.entry import MAX_ENTRY, Entry, EntryKind, Writer, evidence_digest, numbered, parse_entry
from governance.errors import AuditBrokenError
from governance.model.artifact import Artifact, Kind, parse_repository_key
from governance.model.canonical import Json, canonical_bytes
from governance.model.digest import Sha256
from governance.model.request import Action, Actor, MlflowContext, Request, new_id
from governance.model.verdict import Effect, Evidence, Finding, Mode, RuleResult, Severity, Truth, Verdict
from tests.audit_tools import START, body, file_entry, sha

HOSTILE = "\ud800\u202e<script>\x00'\"\\`\U0001f980" * 400


def entry(**more: object) -> Entry:
    fields: dict[str, object] = {
        "id": "01a2055f-2dc1-7ad1-bb49-8f5dcc180d49", "at": START, "kind": EntryKind.KEY,
        "writer": Writer(instance="i", boot="b", n=1), "correlation": "c", "subject": "s",
        "body": key_body(event="made", key_id="k"),
    }  # fmt: skip
    return Entry(**(fields | more))  # type: ignore[arg-type]


def request(**more: object) -> Request:
    artifact = Artifact(
        kind=Kind.MODEL, host="acme.jfrog.io", repository=parse_repository_key("models-local"), path="a/b", name="wine",
        files=(file_entry("MLmodel", 1), file_entry("model.pkl", 2)),
    )  # fmt: skip
    fields: dict[str, object] = {
        "action": Action.LOAD, "artifact": artifact, "actor": Actor(name="ana", authentication="token"),
        "environment": "production", "at": datetime(2026, 1, 1, tzinfo=UTC), "correlation": "c",
    }  # fmt: skip
    return Request(**(fields | more))  # type: ignore[arg-type]


def verdict(decision: Effect = Effect.BLOCK, **more: object) -> Verdict:
    fields: dict[str, object] = {"decision": decision, "policy_digest": sha(1), "facts_digest": sha(2)}
    return Verdict(**(fields | more))  # type: ignore[arg-type]


def test_the_bytes_are_these() -> None:
    assert entry().to_bytes() == (
        b'{"at":"2026-03-01T12:00:00.000000Z","body":{"event":"made","key_id":"k"},"correlation":"c",'
        b'"id":"01a2055f-2dc1-7ad1-bb49-8f5dcc180d49","kind":"key","subject":"s","v":1,'
        b'"writer":{"boot":"b","instance":"i","n":1}}'
    )
    assert parse_entry(entry().to_bytes(), strict=True) == entry()


def test_a_number_can_be_given_to_the_bytes_later() -> None:
    unnumbered = entry(writer=Writer(instance="i", boot="b", n=0)).to_bytes()
    assert numbered(unnumbered, 1) == entry().to_bytes()
    with pytest.raises(ValueError, match="numbered 0"):
        numbered(entry().to_bytes(), 2)


@pytest.mark.parametrize("subject", ["", "x" * 5_000, "a\nb", "a\x00", "\ud800"])
def test_a_subject_that_cannot_be_filed_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        entry(subject=subject).to_bytes()
    with pytest.raises(ValueError, match=r"."):
        entry(correlation=subject).to_bytes()


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_demands_its_form(kind: EntryKind) -> None:
    with pytest.raises(ValueError, match=f"body of a {kind} entry lacks"):
        entry(kind=kind, body={}).to_bytes()


def test_an_entry_has_a_largest_size() -> None:
    room = MAX_ENTRY - len(entry(body=key_body(event="made", key_id="k") | {"x": ""}).to_bytes())
    whole = entry(body=key_body(event="made", key_id="k") | {"x": "y" * room}).to_bytes()
    assert len(whole) == MAX_ENTRY
    with pytest.raises(ValueError, match="at most 65535"):
        entry(body=key_body(event="made", key_id="k") | {"x": "y" * (room + 1)}).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"null", b"\xff", b'{"v":2}', entry().to_bytes().replace(b'"v":1', b'"v":2'),
        entry().to_bytes().replace(b'"kind":"key"', b'"kind":"lock"'), entry().to_bytes().replace(b"2026-03", b"2026-13"),
        entry().to_bytes().replace(b'"n":1', b'"n":"x"'),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_said_so(data: bytes) -> None:
    for strict in (True, False):
        with pytest.raises(AuditBrokenError):
            parse_entry(data, strict=strict)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [('"kind":"key"', '"kind":"lock"', "of kind `lock`"), ('"v":1', '"v":2', "of version 2")],
)
def test_an_entry_of_a_newer_program_is_called_so(ours: str, theirs: str, said: str) -> None:
    """It said `not an entry: KeyError: 'lock'`, which reads as damage to a log that only needs a newer reader."""
    data = entry().to_bytes().replace(ours.encode(), theirs.encode())
    with pytest.raises(
        AuditBrokenError, match=f"{said}, which this program does not know: a newer one"
    ) as caught:
        parse_entry(data)
    assert caught.value.hint is not None
    assert "newest version" in caught.value.hint


def test_strict_reading_demands_the_canonical_form() -> None:
    loose = json.dumps(json.loads(entry().to_bytes())).encode()
    assert parse_entry(loose) == entry()
    with pytest.raises(AuditBrokenError, match="canonical"):
        parse_entry(loose, strict=True)


def test_a_decision_says_everything_about_itself() -> None:
    finding = Finding(
        rule="p/r", effect=Effect.BLOCK, severity=Severity.HIGH, message="no", remediation="do", waivable=False,
        evidence=(Evidence(fact="f", value="v", source="xray", observed_at="2026-01-01T00:00:00.000000Z"),),
    )  # fmt: skip
    rules = (
        RuleResult(rule="p/r", effect=Effect.BLOCK, truth=Truth.TRUE, fired=True),
        RuleResult(rule="p/w", effect=Effect.BLOCK, truth=Truth.TRUE, fired=False, waiver="W-1"),
        RuleResult(rule="p/u", effect=Effect.WARN, truth=Truth.UNKNOWN, fired=False),
    )
    made = decision_body(
        request=request(mlflow=MlflowContext(run_id="r1", flavors=("sklearn",)), selection=("MLmodel",)),
        verdict=verdict(findings=(finding,), rules=rules, policies=("p",), policy_revision=3),
        mode=Mode.ENFORCE,
        refused=True,
    )
    assert made["artifact"] == {
        "host": "acme.jfrog.io", "repository": "models-local", "path": "a/b", "kind": "model", "name": "wine",
        "version": None, "digest": request().artifact.digest, "size": 20, "files": 2,
    }  # fmt: skip
    assert made["actor"] == {"name": "ana", "kind": "unknown", "groups": [], "authentication": "token"}
    assert made["policy"] == {"digest": sha(1), "revision": 3, "names": ["p"]}
    assert made["mlflow"] == {"run_id": "r1", "flavors": ["sklearn"]}
    assert (made["facts"], made["selection"], made["action"]) == (sha(2), 1, "load")
    assert made["verdict"] == {
        "decision": "block", "mode": "enforce", "refused": True, "would_block": False, "fired": ["p/r"], "rules": 3,
        "waived": [{"rule": "p/w", "waiver": "W-1"}], "findings_omitted": 0, "retry_after": None, "degraded": None,
        "findings": [{
            "rule": "p/r", "effect": "block", "severity": "high", "message": "no", "remediation": "do", "waivable": False,
            "evidence": [{"fact": "f", "value": "v", "source": "xray", "at": "2026-01-01T00:00:00.000000Z"}],
        }],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("decision", "refused", "would_block"),
    [(Effect.BLOCK, False, True), (Effect.QUARANTINE, False, True), (Effect.BLOCK, True, False), (Effect.WARN, False, False)],
)  # fmt: skip
def test_what_would_have_been_blocked_is_marked(decision: Effect, refused: bool, would_block: bool) -> None:
    made = decision_body(request=request(), verdict=verdict(decision), mode=Mode.OBSERVE, refused=refused)
    assert made["verdict"]["would_block"] is would_block  # type: ignore[index,call-overload]


def test_no_text_from_outside_keeps_a_decision_off_the_record() -> None:
    evidence = tuple(Evidence(fact=HOSTILE, value=HOSTILE, source=HOSTILE) for _ in range(40))
    findings = tuple(
        Finding(
            rule=f"{number}{HOSTILE}", effect=Effect.BLOCK, severity=Severity.LOW, message=HOSTILE, remediation=HOSTILE,
            evidence=evidence,
        )
        for number in range(200)
    )  # fmt: skip
    rules = tuple(
        RuleResult(
            rule=f"{number}{HOSTILE}", effect=Effect.BLOCK, truth=Truth.TRUE, fired=True, waiver=HOSTILE
        )
        for number in range(500)
    )
    asked = request(
        actor=Actor(name=HOSTILE, groups=(HOSTILE,) * 99, authentication=HOSTILE),
        mlflow=MlflowContext(run_id=HOSTILE, model_name=HOSTILE, flavors=(HOSTILE,) * 99),
    )
    made = decision_body(
        request=asked,
        verdict=verdict(findings=findings, rules=rules, policies=(HOSTILE,) * 99, degraded=HOSTILE),
        mode=Mode.ENFORCE,
        refused=True,
    )
    data = entry(kind=EntryKind.DECISION, body=made, subject="s" * 4_400).to_bytes()
    assert len(data) <= MAX_ENTRY
    shown = made["verdict"]["findings"]  # type: ignore[index,call-overload]
    assert made["verdict"]["findings_omitted"] == 200 - len(shown) > 0  # type: ignore[index,call-overload,arg-type]
    assert shown, "some findings fit"


def test_cut_text_says_that_it_was_cut() -> None:
    assert text("abcdef", 4) == "abc…"
    assert text("abcd", 4) == "abcd"
    assert text("\ud800") == "\\ud800"


def test_one_moved_file_is_named_and_more_are_evidence() -> None:
    one, two = file_entry("MLmodel", 1), file_entry("data/model.pkl", 2, 30)
    for moved in ((), (one,), (two, one)):
        made = outcome_body(decision="d", action="upload", status=OutcomeStatus.DONE, moved=moved)
        documents = {evidence_digest(document): document for document in moved_documents(moved)}
        assert set(moved_files(made, documents.__getitem__)) == set(moved)
        assert made["moved"]["count"] == len(moved)  # type: ignore[index,call-overload]
    assert made["moved"]["bytes"] == 40  # type: ignore[index,call-overload]
    assert str(made["moved"]["digest"]).startswith("dirhash1:")  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    "moved",
    [
        None, {}, {"files": 3}, {"files": [1]}, {"files": [{"path": "../x", "sha256": None, "size": 1}]},
        {"files": [{"path": "x", "sha256": "y", "size": 1}]}, {"manifest": "x"}, {"manifest": "ab" * 32},
    ],
)  # fmt: skip
def test_moved_files_that_cannot_be_read_are_an_error(moved: Json) -> None:
    def evidence(_: Sha256) -> bytes:
        return canonical_bytes([{"path": 3}])

    with pytest.raises((AuditBrokenError, Exception), match=r"."):
        moved_files({"moved": moved}, evidence)


def test_an_outcome_keeps_of_an_error_its_type_alone() -> None:
    made = outcome_body(
        decision="d", action="load", status=OutcomeStatus.FAILED, error=RuntimeError("token=secret"),
        signature=signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="k", bundle=sha(1)),
    )  # fmt: skip
    assert made["error"] == "RuntimeError"
    assert b"secret" not in canonical_bytes(made)
    assert made["signature"]["bundle"] == sha(1)  # type: ignore[index,call-overload]


def test_ids_sort_by_time() -> None:
    assert new_id(START) < new_id(START.replace(year=2027))
    assert body()["status"] == "done"
