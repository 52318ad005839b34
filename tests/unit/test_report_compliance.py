"""The compliance report: what each section says about a log, with broken entries, at the edges of a period, and of nothing."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from governance.audit.bodies import OutcomeStatus, key_body, signature_body, waiver_body
from governance.audit.entry import EntryKind, Writer, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.errors import SettingsError
from governance.model.facts import Collection, Facts, Unknown
from governance.model.request import Action, utc_text
from governance.model.verdict import Effect, Mode
from governance.policy.compile import compile_bundle
from governance.policy.load import load_files
from governance.report.book import Report
from governance.report.entries import RESULTS
from governance.report.folder import check_formats, format_names
from governance.report.sections.context import span_words, steps_between
from governance.report.selection import parse_selection
from tests.audit_tools import START, StillClock, draft, sha
from tests.report_tools import (
    DAY,
    conclude,
    decide,
    figure,
    note_policy,
    report_on,
    rows,
    signed_log,
)

NAMES = (
    "scope", "integrity", "population", "refusals", "waivers", "break-glass", "degraded", "policies", "coverage", "inventory",
    "keys", "reevaluation", "sample", "controls",
)  # fmt: skip


@pytest.fixture(name="clock")
def make_clock() -> StillClock:
    return StillClock()


@pytest.fixture(name="log")
def make_log_(clock: StillClock) -> AuditLog:
    return signed_log(clock)


def every_table_reads(made: Report) -> None:
    for section in made.sections:
        for each in section.tables:
            for _ in range(2):  # rows come anew each time
                listed = list(each.rows())
                assert len(listed) == each.count, each.name
                assert all(len(row) == len(each.columns) for row in listed), each.name
        for chart in section.charts:
            assert all(len(series.values) == len(chart.labels) for series in chart.series), chart.name


def test_fourteen_sections_in_their_order(log: AuditLog) -> None:
    decide(log)
    with report_on(log) as made:
        assert tuple(each.name for each in made.sections) == NAMES
        assert [each.number for each in made.sections] == list(range(1, 15))
        every_table_reads(made)
        assert made.is_good
        assert made.vkey is not None
        assert figure(made, "integrity", "Signed by") == made.vkey


def test_an_empty_period_is_said_to_be_empty(log: AuditLog, clock: StillClock) -> None:
    decide(log)
    clock.at += 30 * DAY
    decide(log)
    with report_on(log, since=START + 10 * DAY, until=START + 20 * DAY) as made:
        every_table_reads(made)
        assert figure(made, "population", "Entries in the period") == 0
        assert any("Nothing was recorded in this period" in line for line in made.section("scope").lead)
        points = made.checkpoints
        assert (points.first, points.last) == (points.last, points.first)
        assert points.first.size == 3, "start, decision, outcome come before it"


def test_a_log_without_entries_makes_a_report(log: AuditLog) -> None:
    with report_on(log) as made:
        every_table_reads(made)
        assert made.checkpoints.head.size == 0


def test_sums_add_up_in_each_table_of_the_population(log: AuditLog) -> None:
    for effect in Effect:
        for mode in Mode:
            decide(log, decision=effect, mode=mode, environment=mode.value)
    decide(log, waiver="W-1")
    decide(log, status=None)
    with report_on(log) as made:
        total = figure(made, "population", "Decisions")
        assert total == 14
        for name in ("by-action", "by-environment", "by-mode", "by-decision"):
            *parts, last = rows(made, name)
            assert last["sum"] == sum(int(str(row["sum"])) for row in parts) == total, name
            for result in RESULTS:
                assert last[result] == sum(int(str(row[result])) for row in parts), (name, result)
        *kinds, last = rows(made, "by-kind")
        assert last["entries"] == sum(int(str(row["entries"])) for row in kinds) == made.extent.entries
        assert rows(made, "by-outcome")[-1]["decisions"] == total
        assert len(rows(made, "decisions")) == len(list(made.decisions())) == total


def test_an_outcome_after_the_period_belongs_to_its_decision(log: AuditLog, clock: StillClock) -> None:
    lost = decide(log, name="lost", status=None)
    late = decide(log, name="late", status=None)
    clock.at += DAY
    conclude(log, late, name="late")
    with report_on(log, until=START + DAY) as made:
        assert [row["id"] for row in rows(made, "unfinished")] == [lost]
        assert [[out.status for out in row.outcomes] for row in made.decisions()] == [[], ["done"]]
        kinds = {row["kind"]: row["entries"] for row in rows(made, "by-kind")}
        assert kinds == {"decision": 2, "start": 1, "Sum": 3}, "the outcome itself lies outside"


def test_an_upload_that_was_signed_after_the_period_is_not_called_unsigned(
    log: AuditLog, clock: StillClock
) -> None:
    def sign(digit: str) -> None:
        made = signature_body(
            event="made", digest="dirhash1:" + digit * 64, key_id="k" + digit, bundle=sha(3)
        )
        log.append(EntryKind.SIGNATURE, made, subject="models/wine", correlation="c")

    decide(log, action=Action.UPLOAD)
    decide(log, action=Action.UPLOAD, name="never")
    clock.at += DAY
    sign("1")
    with report_on(log, until=START + DAY) as made:
        assert [(row["artifact"], row["signed"], row["key_id"]) for row in rows(made, "uploads")] == [
            ("models/wine", "as a whole, after the period", "k1"),
            ("models/never", "not signed", None),
        ]
        assert rows(made, "signatures") == [], "it lies outside"
        assert figure(made, "keys", "Signatures made") == 0
    clock.at += DAY
    sign("2")
    with report_on(log, until=START + 2 * DAY) as made:
        assert [row["signed"] for row in rows(made, "uploads")] == ["as a whole", "not signed"]


def test_an_outcome_whose_clock_was_set_back_before_the_period_belongs_to_its_decision(
    log: AuditLog, clock: StillClock
) -> None:
    early = decide(log, name="early", status=None)
    clock.at += DAY
    late, lost = decide(log, name="late", status=None), decide(log, name="lost", status=None)
    clock.at -= DAY
    conclude(log, early, name="early")
    conclude(log, late, name="late")
    with report_on(log, since=START + DAY) as made:
        assert [row["id"] for row in rows(made, "unfinished")] == [lost]
        assert [[out.status for out in row.outcomes] for row in made.decisions()] == [["done"], []]
        assert [row["artifact"] for row in rows(made, "inventory")] == ["models/late"]
        assert figure(made, "population", "Entries in the period") == 2, "the outcome itself lies outside"
    with report_on(log) as made:
        assert rows(made, "by-outcome")[-1]["decisions"] == 3


def test_an_outcome_of_a_decision_before_the_period_tells_its_artifact(
    log: AuditLog, clock: StillClock
) -> None:
    before = decide(log, status=None)
    clock.at += 10 * DAY
    conclude(log, before, status=OutcomeStatus.FAILED)
    with report_on(log, since=START + 5 * DAY) as made:
        (row,) = rows(made, "failed")
    assert (row["artifact"], row["id"], row["actor"]) == ("models/wine", before, None)


def test_a_review_is_found_whatever_was_selected(log: AuditLog) -> None:
    used = waiver_body(event="break-glass", waiver="d-1", more={"by": "bob", "needed": True, "opened": True})
    log.append(EntryKind.WAIVER, used, subject="models/wine", correlation="c")
    reviewed = waiver_body(event="reviewed", waiver="d-1", more={"by": "ann", "reason": "closed"})
    log.append(EntryKind.WAIVER, reviewed, subject="models/wine", correlation="c")
    with report_on(log, selection=parse_selection("event:break-glass")) as made:
        (row,) = rows(made, "break-glass")
        assert figure(made, "break-glass", "without a review") == 0
    assert row["reviewed_by"] == "ann"


@pytest.mark.parametrize("spoil", ["bytes", "id"])
def test_a_broken_entry_is_named_first_and_counted_nowhere_else(clock: StillClock, spoil: str) -> None:
    store = MemoryStore()
    log = signed_log(clock, store)
    decide(log, name="good")
    decide(log, name="evil", decision=Effect.BLOCK)
    place, row = next(
        (at, row) for at, row in enumerate(store._rows) if row.kind == "decision" and b'"evil"' in row.data
    )
    store._rows[place] = row._replace(
        **{"data": row.data.replace(b"block", b"allow")} if spoil == "bytes" else {"id": "other"}
    )
    with report_on(log) as made:
        every_table_reads(made)
        assert not made.is_good
        assert made.broken == 1
        assert "does not prove itself" in made.section("integrity").lead[0]
        assert [row["entry"] for row in rows(made, "broken")] == [place]
        assert [row.name for row in made.decisions()] == ["good"]
        assert figure(made, "population", "Decisions") == 1
        *kinds, last = rows(made, "by-kind")
        assert last["entries"] == made.extent.entries
        assert {"kind": "(broken)", "entries": 1} in kinds


def test_a_selection_narrows_all_of_it(log: AuditLog) -> None:
    decide(log, environment="staging")
    decide(log, name="evil", decision=Effect.BLOCK)
    with report_on(log, selection=parse_selection("environment:staging kind:decision")) as made:
        every_table_reads(made)
        assert made.filter == "kind:decision environment:staging"
        assert [row["environment"] for row in rows(made, "decisions")] == ["staging"]
        assert rows(made, "decisions")[0]["outcome"] == "done", (
            "whatever the selection, an outcome belongs to its decision"
        )
        assert [each.entry.kind for each in made.entries] == [EntryKind.DECISION]
        assert figure(made, "population", "of these not in the selection") == 4
        selection = made.section("population").selection
        assert selection == "mlgov audit search kind:decision environment:staging"


@pytest.mark.parametrize(
    ("selected", "uses"), [("environment:production", 1), ("environment:staging", 0), ("", 1)]
)
def test_a_use_of_break_glass_belongs_to_its_decision_whatever_was_selected(
    log: AuditLog, selected: str, uses: int
) -> None:
    decide(log, environment="staging")
    opened = decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    body = waiver_body(event="break-glass", waiver=opened, more={"by": "bob", "needed": True, "opened": True})
    log.append(EntryKind.WAIVER, body, subject="models/wine", correlation="c")
    with report_on(log, selection=parse_selection(selected)) as made:
        assert [row["id"] for row in rows(made, "break-glass")] == [opened] * uses
        names = ("Uses", "that opened the door", "without a review")
        assert [figure(made, "break-glass", name) for name in names] == [uses] * 3
        assert made.counts["break-glass"] == uses


def test_a_selection_denies_nothing_that_it_leaves_out(log: AuditLog) -> None:
    decide(log, waiver="W-1")
    note_policy(log, b"{}", evidence_digest(b"{}"))
    with report_on(log, selection=parse_selection("environment:staging")) as made:
        narrowed = [section for section in made.sections if section.name not in {"scope", "integrity"}]
        assert all(
            "`environment:staging`, and says nothing of the others" in each.lead[0] for each in narrowed
        )
        empty = {
            table.name: table.empty
            for section in made.sections
            for table in section.tables
            if not table.count
        }
    of_the_log = (
        "Nothing is broken.",
        "No clock went backwards, and nothing else was odd.",
        "No entry of the period is broken.",
    )
    assert tuple(empty.pop(name) for name in ("problems", "oddities", "broken")) == of_the_log
    assert set(empty.values()) == {"Nothing of this kind is among the selected entries."}


def test_a_gap_in_a_clients_numbers_is_not_denied() -> None:
    store = MemoryStore()
    log = signed_log(StillClock(), store)
    decide(log)
    store.append(
        [draft(number, writer=Writer(instance="ann/laptop", boot="b", n=number)) for number in (1, 3)]
    )
    with report_on(log) as made:
        assert made.is_good
        (odd,) = rows(made, "oddities")
        assert "ann/laptop, run b, lacks number 2" in str(odd["what"])
        said = made.section("integrity").lead[0]
    assert "each writer beside the log has no gap" in said
    assert "gaps in that are their word, and among the oddities below" in said


def test_the_sample_can_be_drawn_again_by_hand(log: AuditLog) -> None:
    ids = [decide(log, name=f"m{number}") for number in range(40)]
    with report_on(log, sample=7, seed="2026-Q1") as made:
        by_hand = sorted(ids, key=lambda one: hashlib.sha256(f"2026-Q1:{one}".encode()).hexdigest())[:7]
        assert list(made.sample) == by_hand == [row["id"] for row in rows(made, "sample")]
        first = rows(made, "sample")[0]
        assert first["rank"] == hashlib.sha256(f"2026-Q1:{by_hand[0]}".encode()).hexdigest()
        stored = log.get(by_hand[0])
        assert stored is not None
        assert first["record"] == stored.data.decode()
    with report_on(log, sample=0) as made:
        assert made.sample == ()


def test_policies_that_came_into_force_with_what_changed(log: AuditLog, clock: StillClock) -> None:
    def policy(effect: str) -> tuple[bytes, object]:
        text = f"""apiVersion: mlgov/v1
kind: Policy
metadata: {{name: p}}
spec:
  default: allow
  rules:
    - {{id: bad, effect: {effect}, severity: high, when: {{fact: xray.malicious, is: true}}, message: bad}}
"""
        compiled = compile_bundle(load_files({"p.yaml": text.encode()}))
        return compiled.document, compiled.digest

    hard, soft = policy("block"), policy("warn")
    note_policy(log, *hard)  # type: ignore[arg-type]
    clock.at += 2 * DAY
    note_policy(log, *hard)  # type: ignore[arg-type]  # another process begins under the same
    note_policy(log, *soft)  # type: ignore[arg-type]
    note_policy(log, *hard)  # type: ignore[arg-type]
    note_policy(log, b"{}", sha(9))
    with report_on(log, since=START + DAY) as made:
        changes = rows(made, "policy-changes")
        assert [row["state"] for row in changes] == ["changed", "changed", "changed"]
        assert {row["author"] for row in changes} == {"not recorded"}
        told = [(row["direction"], row["rule"]) for row in rows(made, "policy-differences")]
        assert told == [("looser", "p/bad"), ("stricter", "p/bad"), ("unknown", "(all)")]
        assert "could not be compared" in str(rows(made, "policy-differences")[-1]["words"])
        assert figure(made, "policies", "Changes that loosened something") == 1
    with report_on(log) as made:
        assert rows(made, "policy-changes")[0]["state"] == "first on record"


def scanned(**more: object) -> Facts:
    values: dict[str, object] = {
        "scan.complete": True, "scan.age": 7200, "scan.database_age": 86_400, "scan.engines": ("sca",),
        "content.files_total": 4, "content.files_scanned": 3, "content.files_skipped": 1, "signature.valid": True,
        "signature.present": True, "sources.unreachable": (),
    }  # fmt: skip
    return Facts(values | more)  # type: ignore[arg-type]


def test_coverage_counts_unknown_as_unknown(log: AuditLog) -> None:
    decide(log, facts=scanned())
    decide(
        log,
        facts=scanned(**{"scan.complete": Unknown("xray gave no answer"), "sources.unreachable": ("xray",)}),
    )
    decide(
        log,
        facts=scanned(
            **{
                "scan.complete": False,
                "scan.age": 3600 * 90,
                "signature.valid": False,
                "signature.present": False,
            }
        ),
    )
    decide(log, kept=False)
    with report_on(log) as made:
        (day,) = rows(made, "freshness")
        split = [
            day[name] for name in ("complete", "incomplete", "unknown", "not_asked", "gone", "decisions")
        ]
        assert split == [1, 1, 1, 0, 1, 4]
        assert figure(made, "coverage", "Scan not known") == 1, "as in the table"
        assert (day["scan_age"], day["files"], day["skipped"]) == (3600 * 90, 12, 3)
        assert rows(made, "engines") == [
            {
                "engine": "sca",
                "decisions": 3,
                "first": day["day"] + "T12:00:00.000000Z",
                "last": day["day"] + "T12:00:00.000000Z",
            }
        ]
        assert [(row["fact"], row["reason"]) for row in rows(made, "unknown-facts")] == [
            ("scan.complete", "xray gave no answer")
        ]
        assert {row["signature"]: row["decisions"] for row in rows(made, "signature-checks")} == {
            "valid": 2,
            "absent": 1,
            "facts gone": 1,
        }
        assert [(row["sources"], row["decisions"]) for row in rows(made, "unreachable")] == [("xray", 1)]
        charts = {chart.name: chart for chart in made.section("coverage").charts}
        assert max(value or 0 for value in charts["freshness"].series[0].values) == 90


def test_what_is_missing_of_a_list_could_not_be_found_out(log: AuditLog) -> None:
    some = Collection(({"id": "X-1"},), "Xray: the server failed")
    for _ in range(2):
        decide(log, facts=scanned(vulnerabilities=some, files=Collection(())))
    with report_on(log) as made:
        assert [(row["fact"], row["reason"], row["times"]) for row in rows(made, "unknown-facts")] == [
            ("vulnerabilities", "incomplete: Xray: the server failed", 2)
        ]


def test_changed_facts_are_no_coverage(clock: StillClock) -> None:
    store = MemoryStore()
    log = signed_log(clock, store)
    decide(log, facts=scanned())
    digest = scanned().digest()
    store._evidence[digest] = (store._evidence[digest][0], b"{}")
    with report_on(log) as made:
        assert figure(made, "coverage", "Decisions whose facts were read") == 0
        assert "those of 1 are not what was recorded" in made.section("coverage").lead[0]


def test_a_verdict_that_turned_is_told_with_the_time_it_took(log: AuditLog, clock: StillClock) -> None:
    published = utc_text(START + timedelta(hours=2))
    news = Collection(({"id": "X-1", "cve": "CVE-2026-1", "published": published},))
    decide(log, facts=scanned())
    clock.at += timedelta(hours=5)
    decide(log, decision=Effect.BLOCK, facts=scanned(vulnerabilities=news))
    clock.at += DAY
    decide(log, content=9)
    decide(log)
    with report_on(log) as made:
        worse, better = rows(made, "turned")
        assert (worse["before"], worse["after"], worse["advisory"]) == ("allow", "block", "CVE-2026-1")
        assert worse["seconds"] == 3 * 3600
        assert (better["before"], better["after"], better["seconds"]) == ("block", "allow", None)
        assert figure(made, "reevaluation", "Harder than before") == 1
        assert (worse["policy"], better["policy"]) == ("no", "no")
    decide(log, decision=Effect.WARN, facts=scanned(vulnerabilities=news), policy=sha(2))
    with report_on(log) as made:
        assert [row["policy"] for row in rows(made, "turned")] == ["no", "no", "yes"], (
            "and not the advisory alone"
        )


def test_the_inventory_is_what_was_let_through_and_done(log: AuditLog) -> None:
    deps = Collection(({"purl": "pkg:pypi/numpy@2.1.0", "name": "numpy", "version": "2.1.0"},))
    decide(log, facts=scanned(dependencies=deps))
    decide(log)
    decide(log, environment="staging", action=Action.DOWNLOAD)
    decide(log, name="refused", decision=Effect.BLOCK)
    decide(log, name="failed", status=OutcomeStatus.FAILED)
    decide(log, name="put", action=Action.UPLOAD)
    with report_on(log) as made:
        listed = list(made.inventory())
        assert [(row.environment, row.ref, row.uses) for row in listed] == [
            ("production", "models/wine", 2),
            ("staging", "models/wine", 1),
        ]
        assert len(rows(made, "inventory")) == 2
    log.append(EntryKind.KEY, key_body(event="made", key_id="k"), subject="keys", correlation="c")
    decide(log, facts=scanned(dependencies=deps))
    with report_on(log) as made:
        assert [row["package"] for row in rows(made, "dependencies")] == ["pkg:pypi/numpy@2.1.0"]


def test_the_inventory_tells_what_was_refused_since_its_last_use(log: AuditLog) -> None:
    decide(log)
    decide(log, name="good", decision=Effect.BLOCK)
    decide(log, name="good")
    decide(log, decision=Effect.BLOCK, content=3)
    decide(log, decision=Effect.BLOCK, environment="staging")
    decide(log, decision=Effect.BLOCK, action=Action.UPLOAD)
    for _ in range(2):
        decide(log, decision=Effect.BLOCK)
    with report_on(log) as made:
        told = {row["artifact"]: (row["result"], row["refused"]) for row in rows(made, "inventory")}
        assert told == {"models/wine": ("allowed", 2), "models/good": ("allowed", 0)}
        assert figure(made, "inventory", "refused since the last use") == 1
        assert {row.ref: row.refused_since for row in made.inventory()} == {
            "models/wine": 2,
            "models/good": 0,
        }


def test_waivers_keys_and_break_glass_from_the_log(log: AuditLog, clock: StillClock) -> None:
    log.append(EntryKind.KEY, key_body(event="made", key_id="k1"), subject="keys", correlation="c")
    steps = {"rule": "p/w", "terms": "t1", "ticket": "T-1", "expires": utc_text(START + 90 * DAY)}
    for event, by in (("requested", "zoe"), ("approved", "ann"), ("revoked", "bob")):
        log.append(
            EntryKind.WAIVER, waiver_body(event=event, waiver="W-1", more=steps | {"by": by, "reason": "because"}),
            subject="models/wine", correlation="c",
        )  # fmt: skip
    clock.at += 10 * DAY
    decide(log, waiver="W-1")
    broken = decide(log, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    more: dict[str, str | bool | None] = {
        "by": "bob",
        "justification": "production is down",
        "needed": True,
        "opened": True,
    }
    log.append(
        EntryKind.WAIVER,
        waiver_body(event="break-glass", waiver=broken, more=more),
        subject="models/wine",
        correlation="c",
    )
    made_body = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="k1", bundle=sha(3))
    log.append(EntryKind.SIGNATURE, made_body, subject="models/wine", correlation="c")
    with report_on(log, since=START + DAY) as made:
        (waiver,) = rows(made, "waivers")
        assert (waiver["waiver"], waiver["requested_by"], waiver["approved_by"], waiver["uses"]) == (
            "W-1",
            "zoe",
            "ann",
            1,
        )
        assert str(waiver["state"]) == "revoked"
        assert str(waiver["revoked"]).endswith("by bob")
        assert rows(made, "waiver-steps") == [], "they came before the period"
        (use,) = rows(made, "break-glass")
        assert (use["by"], use["opened"], use["reviewed_by"]) == ("bob", "yes", "nobody yet")
        assert figure(made, "break-glass", "without a review") == 1
        (key,) = rows(made, "key-events")
        assert key["period"] == "before the period"
        assert figure(made, "keys", "Signatures made") == 1


def test_formats_that_are_not_known_are_refused() -> None:
    assert set(check_formats(["csv", "csv", "jsonl"])) == {"csv", "jsonl"}
    assert {"html", "csv", "jsonl"} <= set(format_names())
    with pytest.raises(SettingsError, match="`docx` is not a format"):
        check_formats(["docx"])


def test_steps_of_charts_hold_every_time() -> None:
    first = datetime(2020, 1, 1, 3, 4, 5, tzinfo=UTC)
    for span in (timedelta(), timedelta(seconds=30), timedelta(hours=5), 40 * DAY, 400 * DAY, 5000 * DAY):
        steps = steps_between(utc_text(first), utc_text(first + span))
        assert 1 <= steps.count <= 97
        assert steps.place(utc_text(first)) == 0
        assert steps.place(utc_text(first + span)) == steps.count - 1
        assert len(steps.labels()) == steps.count


def test_stretches_of_time_in_words() -> None:
    told = [span_words(seconds) for seconds in (0, 1, 119, 120, 3600, 86_400, 3 * 86_400)]
    assert told == ["0 seconds", "1 second", "119 seconds", "2 minutes", "1 hour", "1 day", "3 days"]
