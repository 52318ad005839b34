"""Section 4 of the compliance report: who was refused, on what grounds, and what became of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.audit.bodies import waiver_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.model.request import Action
from governance.model.verdict import Effect, Mode
from governance.report.selection import parse_selection
from tests.audit_tools import StillClock
from tests.report_tools import (
    decide,
    figure,
    refuse_by_default,
    report_on,
    rows,
    signed_log,
)


@pytest.fixture(name="clock")
def make_clock() -> StillClock:
    return StillClock()


@pytest.fixture(name="log")
def make_log_(clock: StillClock) -> AuditLog:
    return signed_log(clock)


def test_what_happened_next(log: AuditLog, clock: StillClock) -> None:
    def later(**more: object) -> str:
        clock.at += timedelta(hours=1)
        return decide(log, **more)  # type: ignore[arg-type]

    decide(log, name="mended", decision=Effect.BLOCK)
    good = later(name="mended", content=3)
    later(name="same", decision=Effect.QUARANTINE)
    later(name="same")
    later(name="stuck", decision=Effect.BLOCK)
    again = later(name="stuck", decision=Effect.BLOCK)
    later(name="waived", decision=Effect.BLOCK)
    body = waiver_body(event="requested", waiver="W-1", more={"by": "ann", "rule": "p/waived", "terms": "t"})
    log.append(EntryKind.WAIVER, body, subject="models/waived", correlation="c")
    later(name="waived", waiver="W-1")
    later(name="elsewhere", decision=Effect.BLOCK)
    later(name="elsewhere", environment="staging")
    with report_on(log) as made:
        told = [(row["artifact"], row["next"], row["next_id"]) for row in rows(made, "refused")]
        assert told[0] == ("models/mended", "let through 1 hour later, other bytes", good)
        assert told[1][1] == "let through 1 hour later, the same bytes"
        assert told[2] == ("models/stuck", "refused again 1 time, the last 1 hour later", again)
        assert told[3] == ("models/stuck", "not asked for again", None)
        assert told[4][1] == "let through 1 hour later by waiver W-1, the same bytes; 1 waiver asked for"
        assert told[5] == ("models/elsewhere", "not asked for again", None), (
            "another environment says nothing"
        )


def test_what_was_let_through_against_the_verdict_was_not_refused_again(
    log: AuditLog, clock: StillClock
) -> None:
    decide(log, decision=Effect.BLOCK)
    clock.at += timedelta(hours=1)
    opened = decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    clock.at += timedelta(hours=1)
    good = decide(log, action=Action.DOWNLOAD, content=3)
    with report_on(log) as made:
        refused, trial = rows(made, "refused")
    against, then = (
        "let through against the verdict 1 hour later, the same bytes",
        "let through {} later, other bytes",
    )
    assert (refused["next"], refused["next_id"]) == (f"{against}; download {then.format('2 hours')}", good)
    assert (trial["next"], trial["id"]) == (f"download {then.format('1 hour')}", opened)


def test_a_refusal_by_default_has_its_grounds(log: AuditLog) -> None:
    refuse_by_default(log)
    with report_on(log) as made:
        (refused,) = rows(made, "refused")
        assert (refused["rules"], refused["message"]) == (
            "(default), p/unsigned",
            "no rule allows it, and the policy's default is to refuse",
        )
        assert {(row["rule"], row["effect"]) for row in rows(made, "rules")} == {
            ("(default)", "block"),
            ("p/unsigned", "warn"),
        }


def test_what_a_trial_let_through_is_not_refused_again(log: AuditLog) -> None:
    decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    refused = decide(log, decision=Effect.BLOCK)
    with report_on(log) as made:
        told = [(row["result"], row["next"], row["next_id"]) for row in rows(made, "refused")]
    assert told == [
        ("would-block", "refused 1 time, the last 0 seconds later", refused),
        ("refused", "not asked for again", None),
    ]


def test_the_deletion_of_a_refused_model_is_no_use_of_it(log: AuditLog) -> None:
    decide(log, decision=Effect.BLOCK)
    decide(log, action=Action.DELETE)
    decide(log, action=Action.UPLOAD, decision=Effect.BLOCK)
    good = decide(log, action=Action.UPLOAD)
    with report_on(log) as made:
        told = [(row["action"], row["next"], row["next_id"]) for row in rows(made, "refused")]
    assert told == [
        ("load", "not asked for again", None),
        ("upload", "let through 0 seconds later, the same bytes", good),
    ]


def test_what_happened_next_is_told_whatever_was_selected(log: AuditLog) -> None:
    decide(log, decision=Effect.BLOCK)
    asked = waiver_body(event="requested", waiver="W-1", more={"by": "ann", "rule": "p/wine", "terms": "t"})
    log.append(EntryKind.WAIVER, asked, subject="models/wine", correlation="c")
    good = decide(log)
    with report_on(log, selection=parse_selection("refused:yes")) as made:
        (row,) = rows(made, "refused")
        assert figure(made, "population", "Decisions") == 1
    assert (row["next"], row["next_id"]) == (
        "let through 0 seconds later, the same bytes; 1 waiver asked for",
        good,
    )


def test_a_trial_is_no_refusal(log: AuditLog) -> None:
    decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, decision=Effect.BLOCK)
    with report_on(log) as made:
        assert [row["result"] for row in rows(made, "refused")] == ["would-block", "refused"]
        assert figure(made, "refusals", "of these refused or quarantined") == 1
        assert figure(made, "inventory", "against the verdict") == 1
