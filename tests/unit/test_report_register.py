"""The exception register: where each waiver stands at the end of a period, and what it was applied to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from governance.audit.bodies import waiver_body
from governance.audit.entry import EntryKind
from governance.audit.intake import Intake
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.parcel import pack
from governance.audit.store import draft_of
from governance.model.canonical import Json
from governance.model.request import new_id
from governance.model.verdict import Effect
from governance.report.selection import parse_selection
from governance.waivers.settling import terms_digest
from tests.audit_tools import BOB, StillClock, clients_entry
from tests.report_tools import DAY, decide, figure, note_policy, report_on, rows, signed_log
from tests.unit import policy_kit as kit

POLICY = kit.policy(kit.rule("{fact: publisher, is: evil}", name="w"))
WAIVER = kit.waiver(rule="p/w", artifact=f'{{ref: models/wine, digest: "{kit.DIGEST}"}}')
NOW = kit.NOON + 10 * DAY


@pytest.fixture(name="clock")
def make_clock() -> StillClock:
    return StillClock(kit.NOON)


@pytest.fixture(name="log")
def make_log_(clock: StillClock) -> AuditLog:
    return signed_log(clock)


def use(log: AuditLog, *texts: str) -> None:
    """A process begins under this policy."""
    compiled = kit.compiled(POLICY, *texts)
    note_policy(log, compiled.document, compiled.digest)


def clients(store: MemoryStore, body: Mapping[str, Json], number: int) -> None:
    """An entry about a waiver that bob sends from his laptop."""
    sent = clients_entry(
        number, id=new_id(kit.NOON), at=kit.NOON, kind=EntryKind.WAIVER, subject="models/wine", body=body
    )
    Intake(store, now=lambda: kit.NOON).receive(pack([draft_of(sent)]), BOB)


def revoke(log: AuditLog) -> None:
    (waiver,) = kit.bundle(POLICY, WAIVER).waivers
    more = {"terms": terms_digest(waiver), "rule": "p/w", "by": "carol", "reason": "mended"}
    body = waiver_body(event="revoked", waiver="W-1", more=more)
    log.append(EntryKind.WAIVER, body, subject="models/wine", correlation="c")


def test_a_revocation_holds_also_where_no_gate_has_loaded_policies_since(
    log: AuditLog, clock: StillClock
) -> None:
    use(log, WAIVER)
    clock.at += DAY
    revoke(log)
    with report_on(log, now=NOW) as made:
        (row,) = rows(made, "waivers")
        assert (row["state"], row["revoked"]) == ("revoked", "2026-11-23T12:00:00.000000Z by carol: mended")
    with report_on(log, now=NOW, until=clock.at) as made:
        (row,) = rows(made, "waivers")
        assert (row["state"], row["revoked"]) == ("live", None), (
            "it was revoked at the moment after the period"
        )
    with report_on(log, now=NOW, selection=parse_selection("kind:policy")) as made:
        (row,) = rows(made, "waivers")
        assert row["state"] == "revoked", "whatever was selected"


def test_a_waiver_that_is_in_the_policies_no_more_does_not_stand_as_live(
    log: AuditLog, clock: StillClock
) -> None:
    use(log, WAIVER)
    clock.at += DAY
    use(log)
    with report_on(log, now=NOW) as made:
        assert [row["state"] for row in rows(made, "waivers")] == ["live; not in the newest policy"]
    clock.at += DAY
    use(log, WAIVER)
    with report_on(log, now=NOW) as made:
        assert [row["state"] for row in rows(made, "waivers")] == ["live"]


def test_the_waivers_of_a_process_that_runs_since_before_the_period_are_in_it(
    log: AuditLog, clock: StillClock
) -> None:
    compiled = kit.compiled(POLICY, WAIVER)
    note_policy(log, compiled.document, compiled.digest)
    use(log)
    clock.at += DAY
    decide(log, policy=compiled.digest)
    with report_on(log, now=NOW, since=clock.at - timedelta(hours=1)) as made:
        assert [row["waiver"] for row in rows(made, "waivers")] == ["W-1"]


def test_a_waiver_that_did_not_help_let_nothing_through(log: AuditLog) -> None:
    decide(log, waiver="W-1")
    decide(log, waiver="W-1", decision=Effect.BLOCK)
    with report_on(log, now=NOW) as made:
        assert [row["result"] for row in rows(made, "waiver-uses")] == ["waived", "refused"]
        assert figure(made, "waivers", "Decisions in which one was applied") == 2
        assert figure(made, "waivers", "of these refused by another rule") == 1


def test_uses_are_counted_for_the_terms_that_were_in_force(log: AuditLog, clock: StillClock) -> None:
    """A waiver may be renewed under its old name for the same bytes, with a later end and signed anew."""
    known = log.get(decide(log))
    assert known is not None
    bytes_of = known.entry.body["artifact"]
    assert isinstance(bytes_of, Mapping)
    more = {"rule": "p/w", "artifact": f'{{ref: models/wine, digest: "{bytes_of["digest"]}"}}'}
    first, renewed = (
        kit.compiled(POLICY, kit.waiver(expires=end, **more))
        for end in ("2026-11-23T00:00:00Z", "2026-12-23T00:00:00Z")
    )
    for compiled in (first, renewed):
        note_policy(log, compiled.document, compiled.digest)
    decide(log, waiver="W-1", policy=first.digest)
    decide(log, waiver="W-1", policy=first.digest)
    with report_on(log, now=NOW) as made:
        found = {row["expires"][:10]: (row["uses"], row["last_use"]) for row in rows(made, "waivers")}
        assert found["2026-12-23"] == (0, None)
        assert found["2026-11-23"][0] == 2
        assert figure(made, "waivers", "Unused in the period") == 1


def test_uses_are_counted_for_the_bytes_that_a_waiver_is_for(log: AuditLog) -> None:
    """A waiver may be granted anew, under its old name, for what became of the model."""
    decide(log, waiver="W-1")
    decide(log, waiver="W-1", content=3)
    decide(log, waiver="W-1", content=3)
    with report_on(log, now=NOW) as made:
        uses = [row["uses"] for row in rows(made, "waivers")]
        assert sorted(uses) == [1, 2]
        assert figure(made, "waivers", "Unused in the period") == 0


def test_a_client_cannot_review_what_it_did_in_an_emergency(clock: StillClock) -> None:
    """Whoever is logged in may write entries of his own: also one that says that somebody reviewed them."""
    store = MemoryStore()
    log = signed_log(clock, store)
    used = waiver_body(event="break-glass", waiver="d-1", more={"by": "bob", "needed": True, "opened": True})
    clients(store, used, 1)
    clients(store, waiver_body(event="reviewed", waiver="d-1", more={"by": "ann"}), 2)
    with report_on(log, now=NOW) as made:
        (row,) = rows(made, "break-glass")
        assert (row["by"], row["reviewed_by"]) == ("bob", "nobody yet")
        assert figure(made, "break-glass", "without a review") == 1
    for by in ("BOB ", "ann"):
        log.append(
            EntryKind.WAIVER, waiver_body(event="reviewed", waiver="d-1", more={"by": by, "reason": "closed"}),
            subject="models/wine", correlation="c",
        )  # fmt: skip
    with report_on(log, now=NOW) as made:
        assert [row["reviewed_by"] for row in rows(made, "break-glass")] == ["ann"], "and not he who used it"


def test_a_step_of_a_waiver_by_a_clients_word_is_called_that(clock: StillClock) -> None:
    store = MemoryStore()
    approved = waiver_body(event="approved", waiver="W-9", more={"by": "ann", "rule": "p/w", "terms": "t"})
    clients(store, approved, 1)
    with report_on(signed_log(clock, store), now=NOW) as made:
        assert [row["approved_by"] for row in rows(made, "waivers")] == ["ann (by the word of bob/laptop)"]
        assert [row["writer"] for row in rows(made, "waiver-steps")] == ["bob/laptop"]
