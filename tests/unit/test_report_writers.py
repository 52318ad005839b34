"""A compliance report on a log of several writers: which systems wrote, and whose policies changed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from tests.audit_tools import START, StillClock, make_log
from tests.report_tools import DAY, decide, figure, note_policy, report_on, rows
from tests.unit import policy_kit as kit

SERVER, LAPTOP = kit.policy(kit.rule("{fact: publisher, is: evil}")), kit.policy(name="own")
SERVER_NEXT = kit.policy(kit.rule("{fact: publisher, is: evil}", effect="warn"))


@pytest.fixture(name="clock")
def make_clock() -> StillClock:
    return StillClock()


@pytest.fixture(name="writers")
def make_writers(clock: StillClock) -> tuple[AuditLog, AuditLog]:
    """A server and a client, whose entries lie in one log."""
    store = MemoryStore()
    return make_log(store, now=clock, instance="server"), make_log(store, now=clock, instance="ann/laptop")


def use(log: AuditLog, policy: str, source: str | None = None) -> None:
    """A process begins under this policy."""
    compiled = kit.compiled(policy)
    note_policy(log, compiled.document, compiled.digest, source=source)


def test_a_policy_is_compared_with_the_one_that_its_writer_used_before(
    writers: tuple[AuditLog, AuditLog], clock: StillClock
) -> None:
    server, laptop = writers
    use(server, SERVER)
    clock.at += DAY
    for _ in range(3):  # as processes start again
        use(laptop, LAPTOP)
        use(server, SERVER)
    use(server, SERVER_NEXT)
    use(laptop, LAPTOP)
    with report_on(server) as made:
        changes = [(row["writer"], row["state"]) for row in rows(made, "policy-changes")]
        told = [(row["direction"], row["rule"]) for row in rows(made, "policy-differences")]
        assert figure(made, "policies", "Changes that loosened something") == 1
    assert changes == [
        ("server", "first on record"),
        ("ann/laptop", "first of this writer"),
        ("server", "changed"),
    ]
    assert [row for row in told if row[1] == "p/r"] == [("looser", "p/r")], (
        "and not the laptop's for the server's"
    )


def test_processes_of_one_writer_with_policies_of_their_own_are_no_changes_back_and_forth(
    writers: tuple[AuditLog, AuditLog], clock: StillClock
) -> None:
    server, _ = writers
    use(server, SERVER)  # by an earlier version, which did not say where it comes from
    for _ in range(3):
        use(server, SERVER, source="a")
        use(server, LAPTOP, source="b")
    use(server, SERVER_NEXT, source="a")
    use(server, LAPTOP, source="b")
    use(server, SERVER, source="a")
    with report_on(server) as made:
        assert [row["state"] for row in rows(made, "policy-changes")] == [
            "first on record",
            "changed",  # the earlier version may have gone by either
            "changed",
            "changed",
        ]
        told = [(row["direction"], row["rule"]) for row in rows(made, "policy-differences")]
    assert [row for row in told if row[1] == "p/r"][-2:] == [("looser", "p/r"), ("stricter", "p/r")]


def test_every_system_that_wrote_is_named_also_one_that_had_started_before(clock: StillClock) -> None:
    store = MemoryStore()
    server = make_log(store, now=clock, instance="server")
    decide(server)
    clock.at += DAY
    decide(server)
    decide(make_log(store, now=clock, instance="ann/laptop"), status=None)
    with report_on(server, since=START + timedelta(hours=1)) as made:
        named = [
            (row["instance"], row["software"] is None, row["entries"], row["starts"])
            for row in rows(made, "writers")
        ]
        assert figure(made, "population", "Entries in the period") == 4
    assert named == [("ann/laptop", False, 2, 1), ("server", True, 2, 0)]
