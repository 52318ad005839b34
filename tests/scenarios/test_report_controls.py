"""The control matrix over a log that holds every kind of event: each query of each framework finds records."""

from __future__ import annotations

from collections import Counter

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.report.controls import ControlStatus
from governance.report.framework_files import load_frameworks, shipped
from governance.report.matrix import ControlTally
from governance.report.selection import parse_selection
from tests.audit_tools import Clock
from tests.compliance_log import Demo


@pytest.fixture(name="log", scope="module")
def open_demo(demo_log: Demo) -> AuditLog:
    return AuditLog(SqliteStore(demo_log.log), now=Clock(), instance="test")


def test_the_log_holds_every_kind_of_entry(log: AuditLog) -> None:
    kinds = Counter(each.entry.kind for each in log.find())
    assert set(kinds) == set(EntryKind), "a new kind wants its place in the demo, and in a framework"
    assert log.verify().is_good


@pytest.mark.parametrize("name", shipped())
def test_each_query_of_a_framework_finds_records(log: AuditLog, name: str) -> None:
    (framework,) = load_frameworks([name])
    tally = ControlTally([framework])
    entries = [each.entry for each in log.find()]
    for entry in entries:
        tally.add(entry)
    (found,) = tally.results()
    assert [
        (each.control.id, row.query) for each in found.results for row in each.counts if not row.count
    ] == []
    assert {each.status for each in found.results} == {ControlStatus.RECORDS}
    for each in found.results:
        for row in each.counts:
            selection = parse_selection(row.query)
            assert row.count == sum(map(selection.matches, entries)), row.query
