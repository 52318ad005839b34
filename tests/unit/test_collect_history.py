"""Since when advisories are known: counted from the log, shared through it, and never from a dry run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.collect.history import AdvisoryHistory
from governance.errors import AuditUnavailableError
from governance.model.artifact import Artifact, Kind, parse_repository_key
from governance.model.facts import Collection, Facts, Unknown
from governance.model.request import Action, Actor, Request, utc_text
from tests.audit_tools import StillClock

DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)


def request(at: datetime) -> Request:
    return Request(
        action=Action.LOAD,
        artifact=Artifact(
            kind=Kind.MODEL, host="h", repository=parse_repository_key("models"), path="m", name="m"
        ),
        actor=Actor(name="ann"),
        environment="production",
        at=at,
        correlation="c",
    )


def facts(*advisories: str) -> Facts:
    return Facts({"vulnerabilities": Collection(tuple({"id": each} for each in advisories))})


def test_an_advisory_is_new_until_a_decision_about_it_is_recorded_and_then_keeps_its_day() -> None:
    clock = StillClock(DAY)
    log = AuditLog(MemoryStore(), now=clock, instance="test")
    history = AdvisoryHistory(lambda: log)
    assert history.first_seen(frozenset({"X-1"}), request(DAY)) == {"X-1": utc_text(DAY)}
    later = DAY + timedelta(days=3)
    assert history.first_seen(frozenset({"X-1"}), request(later)) == {"X-1": utc_text(later)}, (
        "a dry run leaves no trace"
    )
    history.record(request(DAY), facts("X-1", "X-2"))
    history.record(request(DAY), facts("X-1", "X-2"))
    assert history.first_seen(frozenset({"X-1", "X-2"}), request(later)) == dict.fromkeys(
        ["X-1", "X-2"], utc_text(DAY)
    )
    (entry,) = log.find(kind=EntryKind.ADVISORY)
    assert list(entry.entry.body["advisories"]) == ["X-1", "X-2"]  # type: ignore[arg-type]


def test_another_process_reads_the_day_from_the_log_and_so_does_one_that_knew_it_first() -> None:
    clock = StillClock(DAY)
    log = AuditLog(MemoryStore(), now=clock, instance="test")
    mine, theirs = AdvisoryHistory(lambda: log), AdvisoryHistory(lambda: log)
    assert mine.first_seen(frozenset({"X-1"}), request(DAY)) == {"X-1": utc_text(DAY)}
    theirs.record(request(DAY), facts("X-1"))
    clock.at = DAY + timedelta(days=9)
    mine.record(request(clock.at), facts("X-1"))
    assert mine.first_seen(frozenset({"X-1"}), request(clock.at)) == {"X-1": utc_text(DAY)}
    assert len(list(log.find(kind=EntryKind.ADVISORY))) == 1


def test_the_earliest_entry_counts_and_none_lies_in_the_future_of_who_asks() -> None:
    clock = StillClock(DAY)
    log = AuditLog(MemoryStore(), now=clock, instance="test")
    for days in (5, 0, 9):
        clock.at = DAY + timedelta(days=days)
        AdvisoryHistory(lambda: _Deaf(log)).record(request(clock.at), facts("X-1"))  # type: ignore[arg-type, return-value]
    assert len(list(log.find(kind=EntryKind.ADVISORY))) == 3, (
        "written by processes that did not see each other"
    )
    history = AdvisoryHistory(lambda: log)
    assert history.first_seen(frozenset({"X-1"}), request(DAY + timedelta(days=20))) == {"X-1": utc_text(DAY)}
    early = DAY - timedelta(seconds=1)
    assert history.first_seen(frozenset({"X-1"}), request(early)) == {"X-1": utc_text(early)}


class _Deaf:
    """A log as it was for a process that read it before anything was in it."""

    def __init__(self, log: AuditLog) -> None:
        self.append = log.append

    def find(self, **_: object) -> list[object]:
        return []


def test_a_log_that_cannot_be_read_leaves_the_age_unknown_and_the_decision_to_be_recorded() -> None:
    def broken() -> AuditLog:
        raise AuditUnavailableError("no answer")

    history = AdvisoryHistory(broken)
    (value,) = history.first_seen(frozenset({"X-1"}), request(DAY)).values()
    assert isinstance(value, Unknown)
    assert "no answer" in value.reason
    history.record(request(DAY), facts("X-1"))


@pytest.mark.parametrize(
    "known",
    [Facts({}), Facts({"vulnerabilities": Unknown("silent")}), facts(), Facts({"vulnerabilities": 3})],
)
def test_without_advisories_no_log_is_opened(known: Facts) -> None:
    def nobody() -> AuditLog:
        raise AssertionError("opened")

    AdvisoryHistory(nobody).record(request(DAY), known)
    assert AdvisoryHistory(nobody).first_seen(frozenset(), request(DAY)) == {}


def test_many_advisories_are_written_in_entries_that_fit() -> None:
    log = AuditLog(MemoryStore(), now=StillClock(DAY), instance="test")
    history = AdvisoryHistory(lambda: log)
    names = [f"XRAY-{number:06}-{chr(0x1F600) * 200}" for number in range(250)]
    history.record(request(DAY), facts(*names))
    assert [len(row.entry.body["advisories"]) for row in log.find(kind=EntryKind.ADVISORY)] == [100, 100, 50]  # type: ignore[arg-type]
    assert log.verify().is_good
    AdvisoryHistory(lambda: log).record(request(DAY), facts(*names))
    assert len(list(log.find(kind=EntryKind.ADVISORY))) == 3, "a long id is known again"
