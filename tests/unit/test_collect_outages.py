"""Which failures of a source are an outage, over HTTP: no answer at all, and none that is not to be had now. And what is known all the same."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.collect import scan
from governance.collect.collector import gather
from governance.collect.dependencies import DependencyReader
from governance.collect.scan import ScanCollector
from governance.collect.threads import NobodyWaitsError, Threads, limit_thread
from governance.devserver import Fault
from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Collection, Facts, Unknown
from governance.model.request import Action
from governance.transport import Credentials, Transport
from governance.xray.client import XrayClient
from tests.unit.collect_kit import CLEAN, EVIL, NOW, Edge

SILENT: Mapping[str, dict[str, Any]] = {
    "the server is down": {"status": 503},
    "the server fails": {"status": 500},
    "a gateway waits in vain": {"status": 504},
    "too many requests": {"status": 429},
    "the connection is dropped": {"drop": True},
}
ANSWERED: Mapping[str, dict[str, Any]] = {
    "the token expired": {"status": 401},
    "the token lacks a right": {"status": 403},
    "there is no such place": {"status": 404},
    "the answer is cut short": {"truncate_at": 5},
    "the answer is of another form": {"rewrite": lambda _: b"[]"},
}


def gathered(edge: Edge, *names: str, deadline: float = 20) -> Facts:
    return gather(
        [edge.collectors()[name] for name in names], edge.request(), deadline=deadline, now=lambda: NOW
    )


def out_of_reach(facts: Facts) -> set[str]:
    found = facts.get(OUT_OF_REACH)
    assert isinstance(found, tuple)
    return set(found)


@pytest.mark.parametrize("fault", SILENT.values(), ids=SILENT.keys())
def test_a_source_that_gives_no_answer_is_out_of_reach(edge: Edge, fault: dict[str, Any]) -> None:
    edge.put(CLEAN)
    request = edge.request()
    edge.server.faults.add(Fault(path="/xray/*", times=None, **fault))
    edge.server.faults.add(Fault(path="/artifactory/*", times=None, **fault))
    facts = gather(list(edge.collectors().values()), request, deadline=20, now=lambda: NOW)
    assert facts.get(UNREACHABLE) == ("contents", "dependencies", "storage", "xray")
    others = [each for each in edge.collectors().values() if each.name != "signature"]
    assert out_of_reach(facts) == {name for each in others for name in each.supplies}


def test_a_signature_that_cannot_be_fetched_is_no_outage(edge: Edge) -> None:
    """The last verdict would stand for a key that was revoked since."""
    edge.put(CLEAN)
    request = edge.request()
    for fault, deadline, words in (
        ({"drop": True}, 20, "no connection"),
        ({"delay": 1}, 0.1, "no answer within 0.1 s"),
    ):
        edge.server.faults.clear()
        edge.server.faults.add(Fault(path="*/model.sig", times=None, **fault))
        facts = gather([edge.collectors()["signature"]], request, deadline=deadline, now=lambda: NOW)
        assert isinstance(facts.get("signature.valid"), Unknown)
        assert words in str(facts.get("signature.valid"))
        assert facts.get(UNREACHABLE) == facts.get(OUT_OF_REACH) == ()


@pytest.mark.parametrize("fault", ANSWERED.values(), ids=ANSWERED.keys())
def test_an_answer_that_is_of_no_use_is_no_outage(edge: Edge, fault: dict[str, Any]) -> None:
    edge.put(CLEAN)
    request = edge.request()
    edge.server.faults.add(Fault(path="/xray/*", times=None, **fault))
    edge.server.faults.add(Fault(path="/artifactory/*", times=None, **fault))
    facts = gather(list(edge.collectors().values()), request, deadline=20, now=lambda: NOW)
    assert facts.get(UNREACHABLE) == facts.get(OUT_OF_REACH) == ()
    assert isinstance(facts.get("xray.malicious"), Unknown)
    assert isinstance(facts.get("artifact.age"), Unknown)


def test_a_host_without_an_address_is_out_of_reach(edge: Edge) -> None:
    edge.put(CLEAN)
    transport = Transport(
        base_url="http://xray.invalid/xray", service="Xray", credentials=Credentials(), sleep=lambda _: None
    )
    reader = DependencyReader(lambda _: edge.artifactory)
    collector = ScanCollector(lambda _: XrayClient(transport), dependencies=reader, now=lambda: NOW)
    facts = gather([collector], edge.request(), deadline=20, now=lambda: NOW)
    assert facts.get(UNREACHABLE) == ("xray",)
    assert "no connection" in str(facts.get("scan.complete"))


def test_a_source_that_is_late_is_out_of_reach(edge: Edge) -> None:
    edge.put(CLEAN)
    request = edge.request()
    edge.server.faults.add(Fault(path="/xray/*/summary/artifact", delay=2))
    facts = gather([edge.collectors()["xray"]], request, deadline=0.1, now=lambda: NOW)
    assert out_of_reach(facts) == set(ScanCollector.supplies)


def test_of_several_questions_those_without_an_answer_are_out_of_reach(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="*/api/repositories/*", times=None, status=503))
    edge.server.faults.add(Fault(path="*/violations", times=None, status=503))
    facts = gathered(edge, "storage", "xray")
    assert facts.get(UNREACHABLE) == ("storage", "xray")
    assert {"artifact.origin", "publisher", "xray.violations", "xray.watches"} <= out_of_reach(facts)
    assert not {"artifact.age", "property.*", "xray.malicious", "scan.complete"} & out_of_reach(facts)


def test_a_property_counts_although_other_answers_of_artifactory_are_late(edge: Edge) -> None:
    """In an outage the last verdict would stand, by the properties of its time."""
    edge.put(CLEAN)
    edge.artifactory.set_properties(edge.repo, "m", {"quarantined": ["yes"]})
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):  # however slow the rest is
        edge.server.faults.clear()
        edge.server.faults.add(Fault(path="*/api/repositories/*", times=None, delay=5))
        facts = gather([edge.collectors()["storage"]], request, deadline=deadline, now=lambda: NOW)
        if facts.get("property.quarantined") == "yes" and not isinstance(facts.get("artifact.age"), Unknown):
            break
    assert facts.get("property.quarantined") == "yes"
    assert facts.get("property.other") is None
    late = out_of_reach(facts)
    assert {"artifact.origin", "artifact.ecosystem", "publisher"} <= late
    assert not {"property.*", "property.quarantined", "artifact.age", "artifact.created_by"} & late


def test_packages_that_could_not_be_asked_about_leave_the_list_open_for_an_outage(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=503))
    facts = gathered(edge, "xray")
    assert {"vulnerabilities", "licences", "xray.max_cvss", "xray.max_severity"} <= out_of_reach(facts)
    edge.server.faults.clear()
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=403))
    assert out_of_reach(gathered(edge, "xray")) == set()


def malicious_packages(body: bytes) -> bytes:
    issue = {
        "issue_id": "XRAY-1",
        "summary": "Malicious package",
        "issue_type": "malicious",
        "severity": "Critical",
    }
    answer = json.loads(body)
    return json.dumps({"artifacts": [{**each, "issues": [issue]} for each in answer["artifacts"]]}).encode()


@pytest.mark.parametrize("status", [403, 503])
def test_packages_that_could_not_be_asked_about_are_not_known_to_be_harmless(edge: Edge, status: int) -> None:
    edge.put(CLEAN)
    assert edge.facts("xray")["xray.malicious"] is False
    edge.server.faults.add(Fault(path="*/summary/component", rewrite=malicious_packages))
    assert edge.facts("xray")["xray.malicious"] is True
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=status))
    facts = gathered(edge, "xray")
    assert isinstance(facts.get("xray.malicious"), Unknown)
    assert ("xray.malicious" in out_of_reach(facts)) is (status == 503)
    assert facts.get("scan.complete") is True


def test_what_is_not_scanned_is_so_whatever_else_gives_no_answer(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.hold_scans(edge.repo, "m/model.pkl")
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=503))
    facts = gathered(edge, "xray")
    assert facts.get("scan.complete") is False
    assert isinstance(facts.get("scan.age"), Unknown)
    assert out_of_reach(facts) == set()


@pytest.mark.parametrize("status", [403, 503])
def test_the_scanners_of_some_files_are_not_those_of_all(edge: Edge, status: int) -> None:
    edge.put({f"{number}.pkl": CLEAN["model.pkl"] for number in range(4)})
    whole = edge.facts("xray")["scan.engines"]
    assert whole
    edge.server.faults.add(Fault(path="*/artifact/status", times=None, skip=1, status=status))
    facts = gathered(edge, "xray")
    assert getattr(facts.get("scan.engines"), "at_least", None) == whole
    assert ("scan.engines" in out_of_reach(facts)) is (status == 503)


def test_malice_counts_although_xray_fell_silent(edge: Edge) -> None:
    edge.put({**CLEAN, "evil.pkl": EVIL})
    assert edge.facts("xray")["xray.malicious"] is True
    edge.server.faults.add(Fault(path="*/artifact/status", times=None, status=503))
    facts = gathered(edge, "xray")
    assert facts.get("xray.malicious") is True
    assert {"scan.complete", "scan.age", "scan.engines"} <= out_of_reach(facts)
    assert "xray.malicious" not in out_of_reach(facts)


def test_a_bad_package_counts_although_xray_says_nothing_of_the_files(edge: Edge) -> None:
    edge.put({**CLEAN, "requirements.txt": b"torch==2.5.1\n"})
    known = edge.facts("xray")
    assert known["xray.max_cvss"] == 9.8
    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, status=503))
    facts = gathered(edge, "xray")
    found = facts.get("vulnerabilities")
    assert isinstance(found, Collection)
    assert [row["id"] for row in found.items] == [row["id"] for row in known["vulnerabilities"].items]
    assert {"vulnerabilities", "xray.malicious", "scan.complete"} <= out_of_reach(facts)


MANY = {f"part-{number:02}.bin": b"\xff" for number in range(60)}
"""More files than Xray is asked about at once."""


def ids(facts: Facts) -> set[object]:
    found = facts.get("vulnerabilities")
    assert isinstance(found, Collection)
    return {row["cve"] for row in found.items}


@pytest.mark.parametrize("status", [503, 403])
def test_what_xray_said_of_the_first_files_counts_although_the_next_answer_fails(
    edge: Edge, status: int
) -> None:
    edge.put({**MANY, "evil.pkl": EVIL, "a/torch-2.5.1-py3-none-any.whl": b"x"})
    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, skip=1, status=status))
    facts = gathered(edge, "xray")
    assert facts.get("xray.malicious") is True
    assert "CVE-2025-32434" in ids(facts)
    assert getattr(facts.get("xray.max_cvss"), "at_least", None) == 9.8
    assert isinstance(facts.get("scan.complete"), Unknown)
    assert ("scan.complete" in out_of_reach(facts)) is (status == 503)


def test_good_news_of_the_first_files_does_not_count_where_the_next_answer_fails(edge: Edge) -> None:
    edge.put(MANY)
    assert edge.facts("xray")["xray.malicious"] is False
    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, skip=1, status=503))
    facts = gathered(edge, "xray")
    assert out_of_reach(facts) == set(ScanCollector.supplies)
    assert ids(facts) == set()


def test_what_xray_said_of_the_first_packages_counts_although_the_next_answer_fails(edge: Edge) -> None:
    pins = ", ".join(["torch==2.5.1", *(f"zzz-{number}==1" for number in range(60))])
    edge.put({**CLEAN, "python_env.yaml": f"dependencies: [{pins}]\n".encode()})
    edge.server.faults.add(Fault(path="*/summary/component", times=None, skip=1, status=503))
    facts = gathered(edge, "xray")
    assert "CVE-2025-32434" in ids(facts)
    assert {"vulnerabilities", "licences", "xray.max_cvss"} <= out_of_reach(facts)
    assert "not known to the last" in getattr(facts.get("vulnerabilities"), "missing", "")


def of_a_package_at_risk(body: bytes) -> bytes:
    answer = json.loads(body)
    rows = [
        {**each, "operational_risks": [{"risk": "High"}], "issues": [{"issue_id": "X-1", "severity": "High"}]}
        for each in answer["artifacts"]
    ]
    return json.dumps({"artifacts": rows}).encode()


@pytest.mark.parametrize("action", [Action.LOAD, Action.UPLOAD])
def test_the_worst_that_xray_said_before_it_failed_is_known_to_be_no_better(
    edge: Edge, tmp_path: Path, action: Action
) -> None:
    pins = ", ".join(f"zzz-{number}==1" for number in range(60))
    declared = f"dependencies: [{pins}]\n".encode()
    edge.put({"python_env.yaml": declared})
    staged = tmp_path / "python_env.yaml"
    staged.write_bytes(declared)
    request = edge.request(action=action)
    if action is Action.UPLOAD:
        request = replace(request, staged={"python_env.yaml": staged})
    edge.server.faults.add(Fault(path="*/summary/component", rewrite=of_a_package_at_risk))
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=503))
    facts = gather([edge.collectors()["xray"]], request, deadline=20, now=lambda: NOW)
    for name in ("operational_risk", "xray.max_severity"):
        assert getattr(facts.get(name), "at_least", None) == "high"
    assert getattr(facts.get("xray.max_cvss"), "at_least", 0) is None  # no advisory has a score
    is_scanned = action is Action.LOAD  # an upload is not yet
    assert ("operational_risk" in out_of_reach(facts)) is is_scanned


def hundred_violations(_body: bytes) -> bytes:
    rows = [{"violation_id": f"V-{number}", "watch_name": "production"} for number in range(100)]
    return json.dumps({"total_violations": 101, "violations": rows}).encode()


@pytest.mark.parametrize("status", [503, 403])
def test_the_violations_of_the_first_page_count_although_the_next_one_fails(edge: Edge, status: int) -> None:
    """A rule on a watch of production that skips what is unknown let the model out."""
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="*/violations", rewrite=hundred_violations))
    edge.server.faults.add(Fault(path="*/violations", times=None, status=status))
    facts = gathered(edge, "xray")
    assert getattr(facts.get("xray.violations"), "at_least", None) == 100
    assert getattr(facts.get("xray.watches"), "at_least", None) == ("production",)
    assert ({"xray.violations", "xray.watches"} <= out_of_reach(facts)) is (status == 503)


def test_xray_is_asked_nothing_when_nobody_waits_any_more(edge: Edge) -> None:
    edge.put(CLEAN)
    inquiry, asked = edge.collectors()["xray"].ask(edge.request()), list[bytes]()  # type: ignore[attr-defined]

    def note(body: bytes) -> bytes:
        asked.append(body)
        return body

    def late() -> None:
        limit_thread(time.monotonic() - 1)
        inquiry.answer()

    edge.server.faults.add(Fault(path="/xray/*", times=None, rewrite=note))
    with Threads(1, "late") as pool, pytest.raises(NobodyWaitsError):
        pool.submit(late).result()
    assert asked == []
    inquiry.answer()
    assert asked


def heard_in_time(edge: Edge, late: str, known: str, value: type) -> Facts:
    """The facts where an answer is late and those behind the fact `known` are not, however busy this machine is."""
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):
        edge.server.faults.clear()
        edge.server.faults.add(Fault(path=late, times=None, delay=5))
        facts = gather([edge.collectors()["xray"]], request, deadline=deadline, now=lambda: NOW)
        if isinstance(facts.get(known), value):
            break
    return facts


def test_that_files_are_not_scanned_counts_where_xray_has_said_nothing_else_when_time_is_up(
    edge: Edge,
) -> None:
    """An outage excused it, and the last verdict stood."""
    edge.put(CLEAN)
    for name in CLEAN:
        edge.server.hold_scans(edge.repo, f"m/{name}")
    facts = heard_in_time(edge, "*/summary/component", "scan.complete", bool)
    assert facts.get("scan.complete") is False
    assert "scan.complete" not in out_of_reach(facts)


@pytest.mark.parametrize("late", ["*/artifact/status", "*/violations", "*/summary/component"])
def test_what_xray_has_said_when_time_is_up_counts(edge: Edge, late: str) -> None:
    edge.put({**CLEAN, "evil.pkl": EVIL, "torch-2.5.1-py3-none-any.whl": b"x"})
    facts = heard_in_time(edge, late, "xray.malicious", bool)
    assert facts.get("xray.malicious") is True
    assert "CVE-2025-32434" in ids(facts)
    late_facts = {"*/artifact/status": "scan.complete", "*/violations": "xray.watches"}
    assert late_facts.get(late, "vulnerabilities") in out_of_reach(facts)


def test_no_good_news_is_made_of_what_xray_has_said_when_time_is_up(edge: Edge) -> None:
    edge.put(CLEAN)
    facts = heard_in_time(edge, "*/artifact/status", "vulnerabilities", Collection)
    assert out_of_reach(facts) == ScanCollector.supplies - {"xray.indexed"}
    facts = heard_in_time(edge, "*/summary/component", "scan.complete", bool)
    assert facts.get("scan.complete") is True
    assert {"xray.malicious", "xray.max_severity", "vulnerabilities", "licences"} <= out_of_reach(facts)


def test_xray_is_asked_about_a_package_although_another_file_that_declares_some_is_late(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`baseline`, which skips what is unknown, let out a model with a critical advisory for a slow `requirements.txt` beside it."""
    monkeypatch.setattr(scan, "_PATIENCE", 0.02)
    edge.put({**CLEAN, "python_env.yaml": b"dependencies: [torch==2.5.1, -r requirements.txt]\n"})
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):  # however slow the rest is
        edge.server.faults.clear()
        edge.server.faults.add(Fault(method="GET", path="*/m/requirements.txt", delay=5))
        facts = gather([edge.collectors()["xray"]], request, deadline=deadline, now=lambda: NOW)
        if ids(facts):
            break
    assert "CVE-2025-32434" in ids(facts)
    assert getattr(facts.get("xray.max_cvss"), "at_least", None) == 9.8
    assert {"vulnerabilities", "xray.max_cvss", "xray.malicious"} <= out_of_reach(facts)


def test_each_package_is_asked_about_once(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(body: bytes) -> bytes:
        asked.extend(row["general"]["component_id"] for row in json.loads(body)["artifacts"])
        return body

    edge.put({**CLEAN, "python_env.yaml": b"dependencies: [torch==2.5.1, -r requirements.txt]\n"})
    edge.server.faults.add(Fault(path="*/summary/component", times=None, rewrite=note))
    for patience in (10, 0.02):
        monkeypatch.setattr(scan, "_PATIENCE", patience)
        edge.server.faults.add(Fault(method="GET", path="*/m/requirements.txt", delay=0.2))
        assert edge.facts("xray")["vulnerabilities"].missing is None
        assert sorted(asked) == ["pypi://cloudpickle:3.0.0", "pypi://numpy:1.26.4", "pypi://torch:2.5.1"]
        asked.clear()


@pytest.mark.parametrize(("late", "known"), [("requirements.txt", {"evil-pkg"}), ("MLmodel", {"evil-pkg", "numpy", "cloudpickle"})])  # fmt: skip
def test_a_package_counts_although_another_file_that_declares_some_is_late(
    edge: Edge, late: str, known: set[str]
) -> None:
    """A rule that denies it and skips what is unknown let the model out, and in an outage the last verdict stood."""
    edge.put({**CLEAN, "python_env.yaml": b"dependencies: [evil-pkg==1, -r requirements.txt]\n"})
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):  # however slow the rest is
        edge.server.faults.clear()
        edge.server.faults.add(Fault(method="GET", path=f"*/m/{late}", delay=5))
        facts = gather([edge.collectors()["dependencies"]], request, deadline=deadline, now=lambda: NOW)
        declared = facts.get("dependencies")
        if isinstance(declared, Collection) and len(declared.items) == len(known):
            break
    assert isinstance(declared, Collection)
    assert {row["name"] for row in declared.items} == known
    assert "pkg:pypi/evil-pkg@1" in {row["purl"] for row in declared.items}
    assert declared.missing == f"dependencies gave no answer within {deadline:g} s"
    assert declared.out_of_reach
    assert out_of_reach(facts) == {"dependencies"}
