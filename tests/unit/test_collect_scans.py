"""What Xray says, as the collector hands it on: a scan that is not done, or of other bytes, is no good news."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.collect import advice
from governance.collect.collector import gather
from governance.collect.ecosystems import ecosystem_of
from governance.collect.scan import ScanCollector
from governance.devserver import Fault, Status
from governance.errors import RemoteError
from governance.model.artifact import parse_relative_path
from governance.model.facts import Collection, Facts, FactValue, Unknown
from governance.report.contents import packages_in
from tests.unit.collect_kit import CLEAN, EVIL, NOW, Edge, is_an_hour

# scan


def test_a_clean_model_is_clean_once_it_is_scanned(edge: Edge) -> None:
    edge.put(CLEAN)
    found = edge.facts("xray")
    assert found["scan.complete"] is True
    assert found["xray.malicious"] is False
    assert found["xray.indexed"] is True
    assert found["xray.max_severity"] == "none"
    assert found["xray.max_cvss"] == 0.0
    assert found["vulnerabilities"] == Collection(())
    assert is_an_hour(found["scan.age"])
    assert found["xray.violations"] == 0
    assert found["scan.engines"]


def test_a_scan_in_the_future_is_not_a_fresh_one(edge: Edge) -> None:
    edge.put(CLEAN)

    def rewrite(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["overall"]["time"] = at.isoformat()
        return json.dumps(answer).encode()

    edge.server.faults.add(Fault(path="*/artifact/status", times=None, rewrite=rewrite))
    at = NOW + timedelta(minutes=5)  # a clock that runs ahead
    assert edge.facts("xray")["scan.age"] == 0
    at = NOW + timedelta(days=365)
    assert isinstance(edge.facts("xray")["scan.age"], Unknown)


NOT_GOOD_NEWS = ("xray.malicious", "xray.max_severity", "xray.max_cvss", "scan.age", "operational_risk")


def assert_unfinished(found: Mapping[str, FactValue]) -> None:
    assert found["scan.complete"] is False
    for name in NOT_GOOD_NEWS:
        assert isinstance(found[name], Unknown), name
    for name in ("vulnerabilities", "licences"):
        value = found[name]
        assert isinstance(value, Collection)
        assert not value.is_complete


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.DONE])
def test_a_scan_that_is_not_done_is_not_clean(edge: Edge, status: Status) -> None:
    edge.put(CLEAN)
    edge.server.hold_scans(edge.repo, "m/model.pkl", status=status)
    assert_unfinished(edge.facts("xray"))


def test_text_that_xray_does_not_scan_counts_as_scanned_and_a_pickle_does_not(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.hold_scans(edge.repo, "m/MLmodel", status=Status.NOT_SUPPORTED)
    assert edge.facts("xray")["scan.complete"] is True
    edge.server.hold_scans(edge.repo, "m/model.pkl", status=Status.NOT_SUPPORTED)
    assert_unfinished(edge.facts("xray"))


def test_a_scan_of_other_bytes_is_no_scan(edge: Edge) -> None:
    edge.put(CLEAN)

    def rewrite(body: bytes) -> bytes:
        answer = json.loads(body)
        for row in answer["artifacts"]:
            row["general"]["sha256"] = "0" * 64
        return json.dumps(answer).encode()

    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, rewrite=rewrite))
    found = edge.facts("xray")
    assert_unfinished(found)
    assert "other bytes" in found["scan.age"].reason


@pytest.mark.parametrize("body", [b'{"artifacts": [], "errors": []}', b'{"artifacts": null}', b"{}"])
def test_an_empty_summary_is_not_a_clean_one(edge: Edge, body: bytes) -> None:
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, rewrite=lambda _: body))
    assert_unfinished(edge.facts("xray"))


def test_malice_counts_although_the_scan_is_not_done(edge: Edge) -> None:
    edge.put({**CLEAN, "evil.pkl": EVIL})
    edge.server.hold_scans(edge.repo, "m/model.pkl")
    found = edge.facts("xray")
    assert found["scan.complete"] is False
    assert found["xray.malicious"] is True
    assert found["xray.max_severity"] == "critical"
    assert [row["component"] for row in found["vulnerabilities"].items if row["malicious"] is True]


def _issue(severity: str = "High", kind: str = "security", **more: object) -> dict[str, object]:
    component = {"component_id": "lib", "version": "1.0", "pkg_type": "Pypi", "fixed_versions": ["[1.1]"]}
    cve = {"cve": "CVE-2026-1", "cvss_v3": "7.5/CVSS:3.1/AV:N"}
    return {
        "issue_id": "XRAY-1", "issue_type": kind, "severity": severity, "cves": [cve], "components": [component], **more
    }  # fmt: skip


def _said(edge: Edge, **issues: dict[str, object]) -> list[Mapping[str, object]]:
    """The advisories, where Xray says this of the files `a.pkl`, `b.pkl` and so on."""
    edge.put({"MLmodel": b"{}", **{f"{name}.pkl": EVIL + name.encode() for name in issues}})

    def rewrite(body: bytes) -> bytes:
        answer = json.loads(body)
        for row in answer["artifacts"]:
            issue = issues.get(row["general"]["path"].rpartition("/")[2].removesuffix(".pkl"))
            row["issues"] = [issue] if issue is not None else []
        return json.dumps(answer).encode()

    edge.server.faults.add(Fault(path="*/summary/artifact", times=None, rewrite=rewrite))
    found = edge.facts("xray")["vulnerabilities"]
    edge.server.faults.clear()
    assert isinstance(found, Collection)
    return list(found.items)


@pytest.mark.parametrize("order", [("applicable", "not_applicable"), ("not_applicable", "applicable")])
def test_what_is_said_of_one_file_does_not_take_back_what_is_said_of_another(
    edge: Edge, order: tuple[str, str]
) -> None:
    """Contextual analysis is about one file; one where a CVE does not apply made it apply nowhere, if it came last."""
    one, other = (_issue(applicability_details=[{"result": each}]) for each in order)
    assert {row["applicable"] for row in _said(edge, a=one, b=other)} == {True, False}


def test_the_higher_of_two_severities_of_one_advisory_is_not_lost(edge: Edge) -> None:
    rows = _said(edge, a=_issue("Critical"), b=_issue("Low"), c=_issue("Low"))
    assert sorted(str(row["severity"]) for row in rows) == ["critical", "low"]


def test_no_name_that_stands_in_each_advisory_takes_memory_without_end(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 18 MB, with names of 60 KB in 300 components with 300 CVEs, there were gigabytes."""
    monkeypatch.setattr(advice, "_MOST_TEXT", 20_000)
    rows = [{"component_id": f"pypi://{'p' * 3000}{number}:1"} for number in range(9)]
    assert 1 < len(_said(edge, a=_issue(components=rows))) < 9


def test_licences_without_end_are_not_told(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "MOST_ADVISORIES", 50)
    edge.put({"model.pkl": CLEAN["model.pkl"]})
    for count, missing in ((50, None), (51, "Xray names more than 50 licences")):

        def rewrite(body: bytes, count: int = count) -> bytes:
            answer = json.loads(body)
            carriers = [f"pypi://p{number}:1" for number in range(count)]
            answer["artifacts"][0]["licenses"] = [{"name": "MIT", "components": carriers}] * 2
            return json.dumps(answer).encode()

        edge.server.faults.add(Fault(path="*/summary/artifact", rewrite=rewrite))
        found = edge.facts("xray")["licences"]
        assert (len(found.items), found.missing) == (50, missing)


def test_no_short_answer_makes_advisories_without_end(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each CVE in each component: 60 KB made a million and a half, and the act waited long after the time to gather."""
    monkeypatch.setattr(advice, "MOST_ADVISORIES", 50)
    edge.put({"model.pkl": CLEAN["model.pkl"]})

    def found(components: int) -> dict[str, Any]:
        named = [{"component_id": f"pypi://p{number}:1"} for number in range(components)] * 2
        cves = [{"cve": f"CVE-1-{number}", "cvss_v3_score": "9.8"} for number in range(10)] * 2

        def rewrite(body: bytes) -> bytes:
            answer = json.loads(body)
            answer["artifacts"][0]["issues"] = [_issue(cves=cves, components=named)]
            return json.dumps(answer).encode()

        edge.server.faults.add(Fault(path="*/summary/artifact", rewrite=rewrite))
        return edge.facts("xray")

    whole, cut = found(5)["vulnerabilities"], found(6)["vulnerabilities"]
    assert (len(whole.items), whole.missing) == (50, None)
    assert (len(cut.items), cut.missing) == (50, "Xray names more than 50 advisories")
    assert not cut.out_of_reach


@pytest.mark.parametrize(("kind", "count"), [("vulnerability", 1), ("", 1), ("Security", 1), ("License", 0)])
def test_an_issue_of_a_type_not_known_here_is_an_advisory(edge: Edge, kind: str, count: int) -> None:
    assert len(_said(edge, a=_issue(kind=kind))) == count


def test_where_xray_names_no_versions_it_is_not_known_whether_one_holds_the_fix(edge: Edge) -> None:
    (row,) = _said(edge, a=_issue(components=[]))
    assert isinstance(row["fix_available"], Unknown)
    (row,) = _said(
        edge, a=_issue(components=[{"component_id": "lib", "version": "1.0", "fixed_versions": None}])
    )
    assert row["fix_available"] is False


@pytest.mark.parametrize(
    ("word", "ecosystem"),
    [
        ("Pypi", "pypi"),
        ("gav", "maven"),
        ("HuggingFaceML", "huggingface"),
        ("Debian", "deb"),
        ("go", "golang"),
    ],
)
def test_the_words_of_jfrog_stand_for_ecosystems(word: str, ecosystem: str) -> None:
    assert ecosystem_of(word) == ecosystem


def test_an_unheard_of_kind_of_package_has_no_ecosystem() -> None:
    assert isinstance(ecosystem_of("Pypi2"), Unknown)
    assert isinstance(ecosystem_of(""), Unknown)


def test_an_advisory_on_a_declared_package_is_found(edge: Edge) -> None:
    edge.put({**CLEAN, "requirements.txt": b"PyYAML==5.3\n"})
    found = edge.facts("xray")
    rows = {row["cve"]: row for row in found["vulnerabilities"].items}
    row = rows["CVE-2020-14343"]
    assert (row["ecosystem"], row["component"], row["component_version"]) == ("pypi", "pyyaml", "5.3")
    assert packages_in(Facts(found).to_json()) == {
        "pkg:pypi/pyyaml@5.3",
        "pkg:pypi/pyyaml",
    }  # `who-loaded` finds it
    assert (row["severity"], row["cvss"], row["fix_available"]) == ("critical", 9.8, True)
    assert row["malicious"] is False
    assert "5.4" in row["fixed_in"]
    assert found["xray.max_severity"] == "critical"
    assert found["scan.complete"] is True
    assert found["xray.malicious"] is False


GAPS = [
    (b"numpy\n", "without a version"),
    (b"https://evil.example/x.whl\n", "not a named package"),
    (b"-r missing.txt\n", "referred to and not there"),
]


@pytest.mark.parametrize(("requirements", "words"), GAPS)
def test_a_package_that_cannot_be_looked_up_leaves_the_list_open(
    edge: Edge, requirements: bytes, words: str
) -> None:
    edge.put({**CLEAN, "requirements.txt": requirements})
    found = edge.facts("xray")
    assert words in (found["vulnerabilities"].missing or "")
    assert isinstance(found["xray.max_cvss"], Unknown)
    assert found["scan.complete"] is True


def test_a_package_that_xray_does_not_know_leaves_the_list_open(edge: Edge) -> None:
    edge.put(CLEAN)
    nothing = b'{"artifacts": [], "errors": [{"identifier": "x", "error": "not found"}]}'
    edge.server.faults.add(Fault(path="*/summary/component", times=None, rewrite=lambda _: nothing))
    assert "unknown to Xray" in (edge.facts("xray")["vulnerabilities"].missing or "")
    edge.server.faults.clear()
    edge.server.faults.add(Fault(path="*/summary/component", times=None, status=500))
    assert "not known" in (edge.facts("xray")["vulnerabilities"].missing or "")


def test_violations_need_a_right_of_their_own(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="*/violations", times=None, status=403))
    found = edge.facts("xray")
    assert isinstance(found["xray.violations"], Unknown)
    assert isinstance(found["xray.watches"], Unknown)
    assert found["scan.complete"] is True


def test_without_xray_everything_it_knows_is_unknown(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.server.faults.add(Fault(path="/xray/*", times=None, status=503))
    with pytest.raises(RemoteError):
        edge.facts("xray")
    facts = gather([edge.collectors()["xray"]], edge.request(), deadline=20, now=lambda: NOW)
    assert all(isinstance(facts.get(name), Unknown) for name in ScanCollector.supplies)


def test_a_remote_repository_is_scanned_in_its_cache(edge: Edge) -> None:
    edge.server.put("hf-remote", "models/a/b/main_2026-01-01T00:00:00.000Z/files/config.json", b"{}")
    found = edge.facts("xray", "models/a/b/main_2026-01-01T00:00:00.000Z/files", repo="hf-remote")
    assert found["scan.complete"] is True


def test_of_more_files_than_are_asked_about_nothing_is_known_now_or_later(edge: Edge) -> None:
    edge.put({"MLmodel": b"flavors: {}\n"})
    asked = edge.request()
    (entry,) = asked.artifact.files

    def facts(name: str, count: int) -> Mapping[str, FactValue]:
        parts = tuple(replace(entry, path=parse_relative_path(f"part-{n:05}")) for n in range(count))
        return edge.collectors()[name].collect(replace(asked, artifact=replace(asked.artifact, files=parts)))

    said = "20,001 files, more than 20,000: trying again does not help, packing them into fewer does"
    for name, fact in (("xray", "scan.complete"), ("contents", "content.verdict")):
        known = facts(name, 20_001)[fact]
        assert known == Unknown(said)
        assert isinstance(known, Unknown)
        assert known.is_lasting
