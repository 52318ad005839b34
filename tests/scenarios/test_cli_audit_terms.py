"""`mlgov audit hold` and `erase`: what is kept, for how long."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from governance.audit.entry import EntryKind
from tests.audit_tools import Clock, body
from tests.scenarios.audit_keeper import Keeper


def test_what_is_over_its_term_is_erased_unless_it_is_held(keeper: Keeper) -> None:
    old = datetime.now(UTC) - timedelta(days=800)
    with closing(keeper.log(Clock(old))) as log:
        for name in ("a", "b"):
            facts = f"facts of {name}".encode()
            more = {"note": f"sha256:{hashlib.sha256(facts).hexdigest()}"}
            log.append(
                EntryKind.OUTCOME, body(**more), subject=f"models/{name}", correlation="c", evidence=[facts]
            )
    assert keeper.run("hold", "models/a", "--reason", "a dispute").code == 0
    done = keeper.run("erase", "outcome", "--older-than", "730d", "--dry-run")
    assert (done.code, "1 document(s) would be erased" in done.out) == (0, True)
    assert (
        "1 document(s) were erased"
        in keeper.run("erase", "outcome", "--older-than", "730d", "--reason", "term").out
    )
    with closing(keeper.log()) as log:
        assert sorted(info.is_erased for info in log.store.evidence_list()) == [False, True]
    assert keeper.run("hold", "models/a", "--reason", "settled", "--lift").code == 0
    assert keeper.run("hold", "models/a", "--reason", "settled", "--lift").code == 2
    assert (
        "1 document(s) were erased"
        in keeper.run("erase", "outcome", "--older-than", "730d", "--reason", "term").out
    )
    assert keeper.run("verify").code == 0
    assert keeper.run("export", "out").code == 0
    assert keeper.run("verify", "out").code == 0
    assert "no reason is given" in keeper.run("erase", "outcome", "--older-than", "730d").err
    assert keeper.run("erase", "outcome", "--older-than", "soon", "--reason", "term").code == 2
    assert keeper.run("erase", "gossip", "--older-than", "1d", "--reason", "term").code == 2


def test_a_hold_on_what_is_not_on_record_is_warned_about(keeper: Keeper) -> None:
    keeper.fill(3)
    assert keeper.run("hold", "models/a", "--reason", "case 7").err == ""
    done = keeper.run("hold", "models/aa", "--reason", "case 7")
    assert (done.code, "no entry is about `models/aa` so far: look at its spelling" in done.err) == (0, True)
    assert (
        "no entry is about" in keeper.run("hold", "models/aa", "--reason", "case 7").err
    )  # its hold is not about it


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("", "x"),
        ("a\x1b[31mb", "x"),
        ("a\nb", "x"),
        ("a" * 5_000, "x"),
        ("models/a", " "),
        ("models/\udce9", "x"),
        ("models/a", "caf\udce9"),
        ("models/a", "x" * 100_000),
    ],
)
def test_a_hold_that_cannot_be_recorded_is_refused_in_words(
    keeper: Keeper, subject: str, reason: str
) -> None:
    keeper.fill(1)
    done = keeper.run("hold", subject, "--reason", reason)
    assert (done.code, "what to do: " in done.err) == (2, True)
    assert "unexpected" not in done.err


@pytest.mark.parametrize("reason", ["caf\udce9", "x" * 100_000])
def test_nothing_is_erased_for_a_reason_that_cannot_be_recorded(keeper: Keeper, reason: str) -> None:
    with closing(keeper.log(Clock(datetime.now(UTC) - timedelta(days=800)))) as log:
        facts = b"facts"
        more = {"note": f"sha256:{hashlib.sha256(facts).hexdigest()}"}
        log.append(EntryKind.OUTCOME, body(**more), subject="models/a", correlation="c", evidence=[facts])
    done = keeper.run("erase", "outcome", "--older-than", "730d", "--reason", reason)
    assert (done.code, "what to do: " in done.err and "unexpected" not in done.err) == (2, True)
    with closing(keeper.log()) as log:
        assert [info.is_erased for info in log.store.evidence_list()] == [False]
