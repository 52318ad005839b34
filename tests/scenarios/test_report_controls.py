"""The control matrix over a log that holds every kind of event: each query of each framework finds records."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.audit_wiring import utc_now
from governance.report.controls import ControlStatus
from governance.report.framework_files import load_frameworks, shipped
from governance.report.making import Asked, make_report
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


def test_section_14_has_the_counts_of_all_frameworks(log: AuditLog) -> None:
    asked = Asked(controls=ControlTally(load_frameworks()))
    with make_report(log, asked, now=utc_now()) as report:
        section = report.section("controls")
        tables = {table.name: table for table in section.tables}
        assert set(tables) == {*(f"controls-{name}" for name in shipped()), "dates-eu-ai-act"}
        act = tables["controls-eu-ai-act"]
        assert "fulfils none of them alone" in (act.note or "")
        assert {row[3] for row in act.rows()} == {"records found"}
        assert [row[:3:2] for row in tables["dates-eu-ai-act"].rows()] == [
            ("2027-12-02", "no"),
            ("2028-08-02", "no"),
        ]
        counts = {
            row[5]: row[4]
            for table in section.tables
            if table is not tables["dates-eu-ai-act"]
            for row in table.rows()
        }
        assert counts["kind:decision"] == sum(1 for _ in report.decisions())


def test_an_empty_period_has_no_record_for_any_control(log: AuditLog) -> None:
    asked = Asked(
        since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime(2020, 2, 1, tzinfo=UTC), controls=ControlTally(load_frameworks())
    )  # fmt: skip
    with make_report(log, asked, now=utc_now()) as report:
        (section,) = [each for each in report.sections if each.number == 14]
        words = {
            row[3] for table in section.tables if table.name.startswith("controls") for row in table.rows()
        }
        assert words == {"no record in the period"}
