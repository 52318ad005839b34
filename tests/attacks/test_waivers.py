"""Attacks on waivers: forged, replayed, self-made and doubled approvals, other bytes, a clock moved back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from governance.audit.bodies import waiver_body
from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.model.request import Actor, new_id
from governance.model.verdict import Effect
from governance.policy.compile import CompiledPolicy, compile_bundle, from_document
from governance.policy.documents import PolicyBundle, Waiver
from governance.policy.evaluate import evaluate
from governance.signing.trust import Revocation, Role
from governance.waivers.guard import WaiverGuard
from governance.waivers.memory import latest_time, memory_of, record_unseen, review_terms, unreviewed
from governance.waivers.settling import Memory
from governance.waivers.steps import Step, StepFile
from tests.unit import policy_kit as kit
from tests.waiver_tools import (
    KNOWN,
    NOW,
    asked,
    bundle,
    changed,
    facts,
    register,
    settled,
    step,
    the_waiver,
    trust,
    waiver_text,
)

W = the_waiver()
Files = Callable[[], Sequence[StepFile]]


def judged(of: PolicyBundle, **changes: object) -> tuple[Effect, list[str]]:
    """The verdict, and why no waiver applies."""
    found = evaluate(compile_bundle(of), kit.request(**changes), facts())
    return found.decision, [
        row.value for each in found.findings for row in each.evidence if row.fact == "waiver"
    ]


def test_an_honest_waiver_counts() -> None:
    found = register([asked(W), step(W, Step.APPROVE, "bob")])
    assert found.waivers[0].waiver.approved_by == ("bob",)
    assert found.waivers[0].problems == ()
    assert judged(found.bundle) == (Effect.ALLOW, [])
    assert judged(bundle()) == (Effect.BLOCK, ["W-1 does not apply: nobody has approved it"])


def forged() -> StepFile:
    """Mallory signs with a key of her own, under bob's name."""
    return step(W, Step.APPROVE, "bob", key="mallory")


def spoiled() -> StepFile:
    """A signature over terms that were changed afterwards."""
    good = step(W, Step.APPROVE, "bob")
    return replace(good, data=good.data.replace(b'"sig":"M', b'"sig":"N', 1))


def other(name: str = "W-2", **terms: object) -> StepFile:
    """Bob's approval of another waiver, laid beside this one."""
    given = step(changed(W, name=name, **terms), Step.APPROVE, "bob")
    return replace(given, name=step(W, Step.APPROVE, "bob").name, waiver=W.name)


def renamed() -> StepFile:
    """Bob's request for the same, passed off as his approval."""
    good = step(W, Step.REQUEST, "bob")
    return replace(good, name=good.name.replace(".request.", ".approve."), step=Step.APPROVE)


@pytest.mark.parametrize(
    ("approvals", "why"),
    [
        (list, "0 of 1 approvals"),
        (lambda: [forged()], "no trusted key made this signature"),
        (lambda: [spoiled()], "its signature does not count"),
        (lambda: [other()], "it was given for another waiver, `W-2`"),
        (lambda: [other("W-1", digest="sha256:" + "0" * 64)], "it was given for other terms (digest changed since)"),
        (lambda: [other("W-1", expires=W.expires - timedelta(1))], "it was given for other terms (expires changed"),
        (lambda: [other("W-1", rule="p/other")], "it was given for other terms (rule changed since)"),
        (lambda: [other("W-1", findings=KNOWN.strip('"'))], "it was given for other terms (findings changed"),
        (lambda: [renamed()], "it is a request, not an approval"),
        (lambda: [step(W, Step.APPROVE, "bob", key="carol")], "it speaks for `bob` and was signed by `carol`"),
        (lambda: [step(W, Step.APPROVE, "alice")], "alice asked for it, and may not approve it as well"),
        (lambda: [step(W, Step.APPROVE, "dave")], "dave made the artifact, and may not approve it"),
        (
            lambda: [step(W, Step.APPROVE, "bob", at=NOW - timedelta(days=2))],
            "it is dated 2026-11-20T12:00:00Z, before the request of 2026-11-21T12:00:00Z",
        ),
        (
            lambda: [step(W, Step.APPROVE, "bob", at=NOW + timedelta(hours=1))],
            "it is dated 2026-11-22T13:00:00Z, which is after now (2026-11-22T12:00:00Z): this clock was moved back",
        ),
        (lambda: [replace(forged(), data=b"{")], "its signature does not count"),
        (lambda: [replace(forged(), data=b" " * 70_000)], "it has 70000 bytes (65536 are allowed)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_approval_that_does_not_count_says_why_and_opens_nothing(approvals: Files, why: str) -> None:
    found = register([asked(W), *approvals()])
    (one,) = found.waivers
    assert one.waiver.approved_by == ()
    assert one.waiver.void is not None
    assert why in one.waiver.void
    decision, reasons = judged(found.bundle)
    assert decision is Effect.BLOCK
    assert reasons == [f"W-1 does not apply: {one.waiver.void}"]


def test_the_same_person_counts_once_whatever_keys_and_files() -> None:
    two = bundle(waivers="{approvals: 2}")
    twice = step(W, Step.APPROVE, "bob", name=f"{W.name}.approve.{'0' * 16}.sig.json")
    one = settled([asked(W), step(W, Step.APPROVE, "bob"), twice], of=two)
    assert one.waiver.approved_by == ("bob",)
    assert "1 of 2 approvals" in str(one.waiver.void)
    assert "bob has approved it already, and counts once" in str(one.waiver.void)
    keys = trust("alice", "bob", "carol")
    renamed_keys = tuple(replace(key, name="Bob") if key.name == "carol" else key for key in keys.keys)
    second = step(W, Step.APPROVE, "Bob", key="carol")
    one = settled(
        [asked(W), step(W, Step.APPROVE, "bob"), second], of=two, trusts=replace(keys, keys=renamed_keys)
    )
    assert len(one.waiver.approved_by) == 1
    assert any("has approved it already" in line for line in one.problems)
    both = settled([asked(W), step(W, Step.APPROVE, "bob"), step(W, Step.APPROVE, "carol")], of=two)
    assert (both.waiver.approved_by, both.waiver.void) == (("bob", "carol"), None)


def test_names_typed_into_the_document_count_for_nothing() -> None:
    typed = bundle(waiver_text(approvedBy="[bob, carol]"))
    one = settled([asked(the_waiver(typed))], of=typed)
    assert one.waiver.approved_by == ()
    assert "0 of 1 approvals" in str(one.waiver.void)


@pytest.mark.parametrize(
    ("request_files", "why"),
    [
        (list, "no good signature of alice under the request"),
        (lambda: [step(W, Step.REQUEST, "carol")], "it is by carol, and alice is to have asked"),
        (lambda: [step(W, Step.REQUEST, "alice", key="mallory")], "no trusted key made this signature"),
    ],
    ids=["none", "somebody else", "forged"],
)
def test_without_a_signed_request_no_approval_helps(request_files: Files, why: str) -> None:
    one = settled([*request_files(), step(W, Step.APPROVE, "bob")])
    assert why in str(one.waiver.void)


@pytest.mark.parametrize("left_out", ["ticket", "author", "findings"])
def test_what_is_mandatory_is_missed(left_out: str) -> None:
    short = bundle(waiver_text(**{left_out: None}))
    one = settled([asked(the_waiver(short)), step(the_waiver(short), Step.APPROVE, "bob")], of=short)
    assert f"it lacks {left_out}" in str(one.waiver.void)


@pytest.mark.parametrize(
    ("grant", "why"),
    [
        ({"roles": frozenset({Role.ARTIFACT})}, "names nobody for the role `waiver`"),
        ({"repositories": ("hf-*",)}, "does not vouch for this place"),
        ({"not_after": NOW - timedelta(days=3)}, "had expired at the time of signing"),
        (
            {"revoked_at": NOW - timedelta(minutes=1), "revocation": Revocation.SUPERSEDED},
            "is superseded, and nothing shows that it signed before that",
        ),
        (
            {"revoked_at": NOW - timedelta(minutes=1), "revocation": Revocation.COMPROMISED},
            "is revoked as compromised",
        ),
    ],
    ids=["role", "scope", "expired", "superseded", "compromised"],
)
def test_a_key_vouches_only_for_what_the_trust_file_says(grant: dict[str, object], why: str) -> None:
    one = settled([asked(W), step(W, Step.APPROVE, "bob")], trusts=trust(**grant))
    assert one.waiver.approved_by == ()
    assert any(why in line for line in one.problems), one.problems


def test_an_approval_that_the_log_saw_in_time_outlives_its_key() -> None:
    files = [asked(W), step(W, Step.APPROVE, "bob")]
    seen = {file.sha256: NOW - timedelta(minutes=50) for file in files}
    later = trust(revoked_at=NOW - timedelta(minutes=1), revocation=Revocation.SUPERSEDED)
    assert settled(files, trusts=later, memory=Memory(seen=seen)).waiver.void is None


def sent(log: AuditLog) -> AuditLog:
    """A server's log, with what is in `log` as a client sends it."""
    server = AuditLog(MemoryStore(), now=lambda: NOW, instance="server")
    mallory = stamp_of(Actor(name="mallory", authentication="basic-auth"))
    for stored in log.find(kind=EntryKind.WAIVER):
        server.store.append([draft_of(mallory.apply(stored.entry, ())[0])])
    return server


def test_no_client_says_when_the_log_saw_an_approval() -> None:
    files = [asked(W), step(W, Step.APPROVE, "bob")]
    log = AuditLog(MemoryStore(), now=lambda: NOW - timedelta(minutes=50), instance="test")
    record_unseen(log, register(files), now=NOW)
    later = trust(revoked_at=NOW - timedelta(minutes=1), revocation=Revocation.SUPERSEDED)
    assert settled(files, trusts=later, memory=memory_of(log)).waiver.void is None
    assert settled(files, trusts=later, memory=memory_of(sent(log))).waiver.void is not None


# -- revocations


def test_no_client_keeps_a_revocation_off_the_record_by_saying_that_it_is_there() -> None:
    files = [asked(W), step(W, Step.APPROVE, "bob")]
    revoked = step(W, Step.REVOKE, "erin", reason="no")
    log = AuditLog(MemoryStore(), now=lambda: NOW, instance="laptop")
    body = waiver_body(event="requested", waiver="W-1", envelope=revoked.sha256)
    log.append(EntryKind.WAIVER, body, subject="m", correlation="c")
    server = sent(log)
    record_unseen(server, register([*files, revoked]), now=NOW)
    assert register(files, memory=memory_of(server)).waivers[0].waiver.revoked_by == "erin"


def test_a_revocation_counts_from_anybody_who_may_vouch_and_even_unchecked() -> None:
    good = [asked(W), step(W, Step.APPROVE, "bob")]
    one = settled([*good, step(W, Step.REVOKE, "erin", reason="found out more")])
    assert (one.waiver.revoked_by, one.waiver.revoked_reason) == ("erin", "found out more")
    one = settled([*good, step(W, Step.REVOKE, "mallory")])
    assert "somebody may have revoked it" in str(one.waiver.void)


def test_a_revocation_that_was_deleted_is_remembered_by_the_log() -> None:
    log = AuditLog(MemoryStore(), now=lambda: NOW, instance="test")
    files = [asked(W), step(W, Step.APPROVE, "bob")]
    record_unseen(log, register([*files, step(W, Step.REVOKE, "erin", reason="no")]), now=NOW)
    assert settled(files).waiver.revoked_at is None  # without the log nobody would know
    again = register(files, memory=memory_of(log))
    assert again.waivers[0].waiver.revoked_by == "erin"
    assert judged(again.bundle)[1] == ["W-1 does not apply: it was revoked on 2026-11-22T11:00:00Z"]
    record_unseen(log, again, now=NOW)
    events = [each.entry.body["event"] for each in log.find(kind=EntryKind.WAIVER)]
    assert events == ["requested", "approved", "revoked"]  # each once, however often it is read


# -- at the engine


def live(**changes: object) -> Waiver:
    return register([asked(W), step(W, Step.APPROVE, "bob")]).waivers[0].waiver


def test_a_waiver_for_another_digest() -> None:
    found = register([asked(W), step(W, Step.APPROVE, "bob")]).bundle
    assert judged(found, sha256="ab" * 32) == (Effect.BLOCK, ["W-1 does not apply: it is for other bytes"])


def test_the_maker_by_artifactory_does_not_count_whatever_the_document_says() -> None:
    """The requester may name anybody as the author; the fact decides."""
    found = register([asked(W), step(W, Step.APPROVE, "bob")]).bundle
    verdict = evaluate(compile_bundle(found), kit.request(), facts(**{"artifact.created_by": "Bob"}))
    assert verdict.decision is Effect.BLOCK
    (reason,) = [row.value for row in verdict.findings[0].evidence if row.fact == "waiver"]
    assert reason == "W-1 does not apply: one of its approvers, Bob, made the artifact"


def test_a_settled_waiver_replays_from_its_record() -> None:
    """Void or not, what was judged can be judged again years later, without any key."""
    for files in ([asked(W)], [asked(W), forged()], [asked(W), step(W, Step.APPROVE, "bob")]):
        compiled = compile_bundle(register(files).bundle)
        again = from_document(compiled.document)
        assert again.digest == compiled.digest
        assert (
            evaluate(again, kit.request(), facts()).decision
            is evaluate(compiled, kit.request(), facts()).decision
        )


# -- the clock


class Source:
    """A policy with one good waiver."""

    def __init__(self) -> None:
        self.policy = compile_bundle(register([asked(W), step(W, Step.APPROVE, "bob")]).bundle)

    def current(self) -> CompiledPolicy:
        return self.policy


def reason(policy: CompiledPolicy) -> str:
    verdict = evaluate(policy, kit.request(), facts())
    return next((row.value for each in verdict.findings for row in each.evidence if row.fact == "waiver"), "")


def test_a_clock_that_stands_before_the_logs_newest_entry_ends_all_waivers() -> None:
    log = AuditLog(MemoryStore(), now=lambda: NOW + timedelta(days=60), instance="test")
    assert latest_time(log) is None
    log.append(EntryKind.EXPORT, {"size": 0, "root": ""}, subject="x", correlation="x")
    guard = WaiverGuard(Source(), now=lambda: NOW, latest=lambda: latest_time(log))
    assert "the clock was moved back: it stands before 2027-01-21T12:00:00Z" in reason(guard.current())
    assert guard.current() is guard.current()
    honest = WaiverGuard(Source(), now=lambda: NOW + timedelta(days=60), latest=lambda: latest_time(log))
    assert reason(honest.current()) == ""


def test_one_decision_recorded_under_the_moved_clock_does_not_help() -> None:
    times = [NOW + timedelta(days=60), NOW]
    log = AuditLog(MemoryStore(), now=lambda: times[0], instance="test")
    for _ in range(2):
        log.append(EntryKind.EXPORT, {"size": 0, "root": ""}, subject="x", correlation="x")
        times.reverse()
    assert latest_time(log) == NOW + timedelta(days=60)


def test_a_clock_moved_back_while_the_process_runs() -> None:
    times = iter([NOW, NOW - timedelta(minutes=4), NOW - timedelta(minutes=6), NOW])
    guard = WaiverGuard(Source(), now=lambda: next(times), latest=lambda: None)
    shut = ["clock was moved back" in reason(guard.current()) for _ in range(4)]
    assert shut == [False, False, True, False]


# -- reviews of break-glass


def broken() -> AuditLog:
    """A log with one break-glass use, by zoe."""
    log = AuditLog(MemoryStore(), now=lambda: NOW, instance="test")
    body = waiver_body(
        event="break-glass", waiver="d-1", more={"by": "zoe", "justification": "INC-7 is burning"}
    )
    log.append(EntryKind.WAIVER, body, subject=kit.REF, correlation="c")
    return log


def review(log: AuditLog, by: str, *, key: str | None = None, **terms: object) -> None:
    (use,) = list(log.find(kind=EntryKind.WAIVER))[:1]
    file = step(
        W,
        Step.REVIEW,
        by,
        key=key,
        at=NOW,
        reason="closed",
        name="review",
        terms={**review_terms(use), **terms},
    )
    body = waiver_body(event="reviewed", waiver="d-1", envelope=file.sha256, more={"by": by})
    log.append(EntryKind.WAIVER, body, subject=kit.REF, correlation="c", evidence=(file.data,))


@pytest.mark.parametrize(
    ("by", "key", "terms", "waits"),
    [
        ("bob", None, {}, 0),
        ("bob", "mallory", {}, 1),
        ("bob", "carol", {}, 1),
        ("zoe", None, {}, 1),
        ("bob", None, {"entry": "another use"}, 1),
        ("bob", None, {"justification": "nothing happened"}, 1),
    ],
    ids=["good", "forged", "somebody else's key", "one's own", "replayed", "of other words"],
)
def test_a_review_counts_only_as_it_was_signed(
    by: str, key: str | None, terms: dict[str, object], waits: int
) -> None:
    log = broken()
    review(log, by, key=key, **terms)
    left = unreviewed(log, list(log.find(kind=EntryKind.WAIVER)), trust("alice", "bob", "carol", "zoe"), NOW)
    assert len(left) == waits


def test_a_client_reviews_no_use_by_naming_a_document_that_is_not_there() -> None:
    """Nothing but its erasure under retention excuses the signed review, and a client sends what it likes."""
    log = broken()
    body = waiver_body(event="reviewed", waiver="d-1", envelope="0" * 64, more={"by": "bob"})
    entry = Entry(
        id=new_id(NOW), at=NOW, kind=EntryKind.WAIVER, writer=Writer(instance="laptop", boot="b", n=1),
        correlation="c", subject=kit.REF, body=body,
    )  # fmt: skip
    stamped, _ = stamp_of(Actor(name="zoe", authentication="basic-auth")).apply(entry, ())
    log.store.append([draft_of(stamped)])
    entries = list(log.find(kind=EntryKind.WAIVER))
    assert len(unreviewed(log, entries, trust("alice", "bob", "zoe"), NOW)) == 1
