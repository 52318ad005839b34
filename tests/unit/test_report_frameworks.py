"""Framework files: strict reading with all mistakes at once, and what the shipped ones hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.model.verdict import Effect, Mode
from governance.report.controls import ControlStatus
from governance.report.framework_files import (
    FrameworkInvalidError,
    load_frameworks,
    parse_framework,
    shipped,
)
from governance.report.matrix import STATUS_WORDS, ControlTally
from governance.report.selection import parse_selection
from tests.audit_tools import make_log
from tests.report_tools import decide

GOOD = """
apiVersion: mlgov/v1
kind: Framework
metadata: {name: ours, version: "1", title: Our own rules}
note: What it is for.
dates: [{what: it begins, on: 2027-12-02, certain: false, source: hearsay}]
controls:
  - {id: A.1, title: one, shown: some, queries: ["kind:decision", "kind:decision refused:yes"], notShown: most}
  - {id: A.2, title: two, shown: some, queries: ["kind:hold"], notShown: most}
"""
EXPECTED = {  # the ids that the source names, by framework
    "soc-2": "CC4.1 CC5.2 CC6.1 CC6.8 CC6.8.1 CC6.8.5 CC7.1 CC7.1.4 CC7.1.5 CC7.2 CC7.3 CC7.4 CC8.1 CC8.1.2 CC8.1.7 CC8.1.8 "
    "CC8.1.9 CC8.1.13 CC9.2",
    "iso-27001": "A.5.7 A.5.9 A.5.19 A.5.20 A.5.21 A.5.22 A.5.23 A.5.28 A.5.32 A.5.33 A.5.36 A.8.7 A.8.8 A.8.9 A.8.15 A.8.16 "
    "A.8.17 A.8.19 A.8.24 A.8.25 A.8.28 A.8.29 A.8.30 A.8.31 A.8.32",
    "iso-42001": "A.4.4 A.6.2.4 A.6.2.5 A.6.2.6 A.6.2.7 A.6.2.8 A.7.5 A.8.4 A.10.3",
    "nist-800-218a": "PO.3.3 PO.5.1.R3 PO.5.1.R4 PS.1.1 PS.1.3 PS.2.1.R1 PS.2.1.R2 PS.3.1 PS.3.2.R1 PW.4.4.R1 PW.4.4.R2 "
    "PW.7.2.R1 PW.4.1 PW.9.1 RV.1.1.R3 RV.1.2.R1 RV.1.2.R3 RV.2.2.R2",
    "nist-800-53": "AU-2 AU-3 AU-5 AU-6 AU-7 AU-8 AU-9 AU-9(2) AU-9(3) AU-10 AU-11 AU-12 CM-3 CM-5 CM-7(5) CM-10 CM-14 RA-5 "
    "SI-2 SI-3 SI-7 SI-7(1) SI-7(15) SR-3 SR-4 SR-5 SR-6 SR-11",
    "nist-ai-rmf": "GOVERN_1.4 GOVERN_1.6 GOVERN_4.3 GOVERN_6.1 GOVERN_6.2 MAP_4.1 MAP_4.2 MEASURE_2.7 MANAGE_2.4 MANAGE_3.1 "
    "MANAGE_3.2 MANAGE_4.1 MANAGE_4.3",
    "eu-ai-act": "Art._12 Art._15(5) Art._17(1) Art._18 Art._19 Art._25(4) Art._26(6) Art._72 Art._73",
}


def test_the_shipped_frameworks_are_the_seven_of_the_report() -> None:
    assert set(shipped()) == set(EXPECTED)
    assert [each.name for each in load_frameworks()] == sorted(EXPECTED)
    assert [each.name for each in load_frameworks(["soc-2", "soc-2", "iso-42001"])] == ["soc-2", "iso-42001"]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_shipped_framework_holds_its_controls_and_claims_nothing_more(name: str) -> None:
    (framework,) = load_frameworks([name])
    assert not {each.replace("_", " ") for each in EXPECTED[name].split()} - {
        each.id for each in framework.controls
    }
    for control in framework.controls:
        assert all(str(parse_selection(query)) == query for query in control.queries)
        words = f"{control.title} {control.claim}".lower()
        assert not re.search(r"\b(compliant|complies|fulfils|satisf\w+|ensures|guarantees)\b", words), words
        assert not re.search(r"\b(shall|must be)\b", control.title), "the standard's own words"


def test_the_ai_act_is_read_narrowly() -> None:
    (act,) = load_frameworks(["eu-ai-act"])
    assert all(each.claim.startswith("Contributes: ") for each in act.controls)
    (logs,) = [each for each in act.controls if each.id == "Art. 12"]
    assert "does not satisfy the article" in logs.not_shown
    assert [(each.on, each.certain) for each in act.dates] == [("2027-12-02", False), ("2028-08-02", False)]
    for path in Path(str(Path(__file__).parents[2] / "governance/report")).glob("*.py"):
        assert "2027-12-02" not in path.read_text().replace("a day such as 2027-12-02", ""), "dates are data"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(GOOD)
    (ours,) = load_frameworks([str(path)])
    assert (ours.name, ours.version, len(ours.controls), ours.dates[0].on) == ("ours", "1", 2, "2027-12-02")
    assert ours.controls[0].queries == ("kind:decision", "kind:decision refused:yes")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: ours", "name: Our Own"), "x:4:18 metadata.name: expected lower-case words joined by hyphens"),
        (("note:", "remark:"), "x:5:1 remark: expected a key that is known here"),
        (("2027-12-02", "2027-13-02"), "x:6:31 dates[0].on: expected a day such as 2027-12-02, got '2027-13-02'"),
        (("certain: false", "certain: maybe"), "dates[0].certain: expected a valid boolean, got 'maybe'"),
        (("id: A.1", "id: 1"), "x:8:10 controls[0].id: expected a valid string, got the number 1"),
        (("id: A.2", "id: A.1"), "x:9:10 controls[1].id: expected an id that no other control has, got 'A.1'"),
        (('["kind:hold"]', "[]"), "controls[1].queries: expected at least one, got a list"),
        (("kind:hold", "kind:hodl"), "expected a selection: `hodl` is not a kind of entry, did you mean `hold`?"),
        (("kind:hold", "refused:yes"), "expected a selection that names a kind of entry"),
        (("kind:hold", "kind:hold since:2026-01-01"), "expected no time, since the report's period applies"),
        (("kind:decision refused:yes", "kind:decision"), "expected a query that does not stand above already"),
        (("title: one", 'title: " one"'), "controls[0].title: expected one line of text, without blanks"),
        (("title: one", f"title: {'x' * 401}"), "expected at most 400 characters"),
        (('shown: some, queries: ["kind:hold"]', 'queries: ["kind:hold"]'), "expected the key `shown`"),
        (("kind: Framework", "kind: Policy"), "x:3:7 kind: expected 'Framework', got 'Policy'"),
        (("note:", "note: &a"), "expected strict YAML, got an anchor"),
        (("controls:", "---\ncontrols:"), "expected one document, got 2"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place(change: tuple[str, str], says: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(FrameworkInvalidError) as caught:
        parse_framework(text.encode(), "x")
    assert says in str(caught.value)


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(GOOD.replace("A.2", "A.1").replace("kind:hold", "hold"))
    with pytest.raises(FrameworkInvalidError) as caught:
        load_frameworks([str(path), "soc-3", str(tmp_path / "none.yaml"), "iso-42001"])
    listed = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "`soc-3` is not a framework that comes with the program, did you mean `soc-2`?" in listed
    assert "none.yaml` cannot be read: No such file" in listed
    assert caught.value.hint is not None
    assert "eu-ai-act" in caught.value.hint


def tally(log: AuditLog, text: str = GOOD) -> ControlTally:
    made = ControlTally([parse_framework(text.encode(), "x")])
    for stored in log.find():
        made.add(stored.entry)
    return made


def test_records_are_counted_and_no_more_is_said() -> None:
    log = make_log()
    decide(log)
    decide(log, decision=Effect.BLOCK)
    decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    (found,) = tally(log).results()
    first, second = found.results
    assert [(each.query, each.count) for each in first.counts] == [
        ("kind:decision", 3),
        ("kind:decision refused:yes", 1),
    ]
    assert (first.status, second.status) == (ControlStatus.RECORDS, ControlStatus.NOTHING)
    assert STATUS_WORDS[second.status] == "no record in the period"
    assert not any(re.search("compl|satisf|pass|met", words) for words in STATUS_WORDS.values())
    log = make_log()
    decide(log)
    (found,) = tally(log).results()
    assert found.results[0].status is ControlStatus.PARTLY


@pytest.mark.parametrize(
    ("framework", "control", "counts"),
    [
        ("iso-42001", "A.6.2.5", (1, 2)),  # let into production, and not
        ("iso-27001", "A.5.9", (2, 0, 0)),  # let through to use
        ("nist-ai-rmf", "GOVERN 1.6", (0, 2)),
        ("nist-800-53", "SI-7(1)", (2, 2)),
    ],
)
def test_what_is_said_to_be_let_through_or_kept_out_of_a_place_is_counted_as_that(
    framework: str, control: str, counts: tuple[int, ...]
) -> None:
    log = make_log()
    decide(log, environment="production")
    decide(log, environment="staging")
    for environment in ("production", "production", "staging", "staging"):
        decide(log, environment=environment, decision=Effect.BLOCK)
    made = ControlTally(load_frameworks([framework]))
    for stored in log.find():
        made.add(stored.entry)
    (found,) = made.results()
    (result,) = (each for each in found.results if each.control.id == control)
    assert tuple(each.count for each in result.counts) == counts


def test_an_empty_period_has_no_record() -> None:
    made = ControlTally(load_frameworks())
    results = [row for each in made.results() for row in each.results]
    assert len(results) == sum(len(each.controls) for each in load_frameworks())
    assert {row.status for row in results} == {ControlStatus.NOTHING}
    assert ControlTally([]).results() == ()


def test_the_command_repeats_the_query_within_the_reports_limits() -> None:
    made, since = tally(make_log()), datetime(2026, 1, 1, tzinfo=UTC)

    def commands(within: str) -> list[str]:
        found = made.results(within=parse_selection(within), since=since, until=None)
        return [row.command for each in found[0].results for row in each.counts]

    start = "mlgov audit search kind:decision"
    assert commands("environment:production") == [
        f"{start} environment:production since:2026-01-01T00:00:00Z --limit 0",
        f"{start} refused:yes environment:production since:2026-01-01T00:00:00Z --limit 0",
        "mlgov audit search kind:hold environment:production since:2026-01-01T00:00:00Z --limit 0",
    ]
    assert commands("kind:decision,hold refused:no") == [
        f"{start} refused:no since:2026-01-01T00:00:00Z --limit 0",
        "",  # nothing is refused and not refused
        "mlgov audit search kind:hold refused:no since:2026-01-01T00:00:00Z --limit 0",
    ]


def test_an_entry_of_another_program_version_is_counted_by_what_it_says() -> None:
    log = make_log()
    odd = {
        "action": 3,
        "artifact": [],
        "actor": None,
        "environment": {},
        "verdict": 1,
        "policy": 0,
        "facts": 0,
    }
    log.append(EntryKind.DECISION, odd, subject="s", correlation="c")  # type: ignore[arg-type]
    (found,) = tally(log).results()
    assert [row.count for row in found.results[0].counts] == [1, 0]
