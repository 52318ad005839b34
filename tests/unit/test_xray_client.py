"""Xray: what its words mean, in the forms that its documents contradict each other about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from governance.devserver import DevServer, Status
from governance.errors import ProtocolError, UnauthenticatedError
from governance.model.verdict import Severity
from governance.transport import Credentials, Transport
from governance.xray import wire
from governance.xray.client import XrayClient
from governance.xray.items import ScanState
from governance.xray.meaning import cvss, issue, normal_name, parse_component, severity
from tests.rawserver import RawServer, Script, answer, raw_server


@contextmanager
def talking_to(*script: Script) -> Iterator[tuple[XrayClient, RawServer]]:
    with raw_server(*script) as server:
        client = XrayClient(Transport(base_url=server.url, service="Xray", credentials=None))
        yield client, server
        client.close()


def json_answer(document: object, status: int = 200) -> bytes:
    return answer(status, json.dumps(document).encode())


SEVERITIES = [
    ("Critical", Severity.CRITICAL), ("HIGH", Severity.HIGH), ("medium", Severity.MEDIUM), ("Low", Severity.LOW),
    ("Information", Severity.NONE), ("Unknown", Severity.UNKNOWN), ("Normal", Severity.UNKNOWN),
    ("Pending", Severity.UNKNOWN), ("", Severity.UNKNOWN), ("Scanned - No Issues", Severity.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("word", "meaning"), SEVERITIES)
def test_severities(word: str, meaning: Severity) -> None:
    assert severity(word) is meaning


SCORES = [
    ({"cvss_v3": "7.5/CVSS:3.1/AV:N/AC:L"}, 7.5),
    ({"cvss_v3_score": "9.8", "cvss_v3": ""}, 9.8),
    ({"cvss_v3": "10"}, 10.0),
    ({"cvss_v3": "", "cvss_v2": "5.0/CVSS:2.0"}, None),
    ({"cvss_v3": "NaN/x"}, None),
    ({"cvss_v3": "11.0/x"}, None),
    ({"cvss_v3": "-1/x"}, None),
    ({"cvss_v3": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("row", "score"), SCORES)
def test_scores(row: dict[str, str], score: float | None) -> None:
    assert cvss(wire.CveRow.model_validate(row)) == score


COMPONENTS = [
    ("pypi://Django_Rest:2.2.1", ("pypi", "django-rest", "2.2.1")),
    ("gav://org.x:lib:1.0", ("gav", "org.x:lib", "1.0")),
    ("npm://left-pad:1", ("npm", "left-pad", "1")),
    ("pypi://demo", ("pypi", "demo", None)),
    ("huggingfaceml://Org/Model:abc", ("huggingfaceml", "org/model", "abc")),
    ("generic://sha256:abcd/file.bin", ("generic", "file.bin", None)),
]


@pytest.mark.parametrize(("text", "parts"), COMPONENTS)
def test_component_ids(text: str, parts: tuple[str, str, str | None]) -> None:
    found = parse_component(text)
    assert found is not None
    assert (found.ecosystem, found.name, found.version) == parts


def test_names_have_one_spelling() -> None:
    assert normal_name("Evil_Pkg", "PyPI") == normal_name("evil.pkg", "pypi") == "evil-pkg"
    assert parse_component("nonsense") is None


MALICE = [
    ({"severity": "Critical", "summary": "Malicious package evil-pkg"}, True),
    ({"severity": "Critical", "summary": "x", "description": "is malicious code"}, True),
    ({"severity": "Low", "summary": "x", "issue_type": "malicious"}, True),
    ({"severity": "High", "summary": "lets a malicious server do things"}, False),
    ({"severity": "Critical", "summary": "a malicious actor", "cves": [{"cve": "CVE-2020-1"}]}, False),
    ({"severity": "Critical", "summary": "maliciousness is not a word we look for"}, False),
]


@pytest.mark.parametrize(("row", "is_malicious"), MALICE)
def test_malice_is_told_from_mistakes(row: dict[str, object], is_malicious: bool) -> None:
    found = issue(wire.IssueRow.model_validate({"issue_id": "X", **row}), "pypi://a:1")
    assert found.is_malicious is is_malicious


def test_an_issue_without_components_is_about_its_subject() -> None:
    found = issue(wire.IssueRow.model_validate({"issue_id": "X", "components": None}), "pypi://A_b:1")
    assert [(each.name, each.version) for each in found.components] == [("a-b", "1")]


APPLICABLE = [
    ([{"result": "applicable"}, {"result": "not_applicable"}], True),
    ([{"result": "not_applicable"}], False),
    ([{"result": "not_applicable"}, {"result": "undetermined"}], None),
    ([], None),
    (None, None),
]


@pytest.mark.parametrize(("rows", "meaning"), APPLICABLE)
def test_applicability_is_unknown_until_somebody_says(rows: object, meaning: bool | None) -> None:
    found = issue(wire.IssueRow.model_validate({"applicability_details": rows}), "")
    assert found.applicable is meaning


def test_fixed_versions_lose_their_brackets_but_not_their_meaning() -> None:
    row = {
        "component_id": "a",
        "version": "1",
        "pkg_type": "Pypi",
        "fixed_versions": ["[2.2.18]", "[1,2)", "3"],
    }
    found = issue(wire.IssueRow.model_validate({"components": [row]}), "")
    assert found.components[0].fixed_in == ("2.2.18", "[1,2)", "3")


STATES = [
    ({"overall": {"status": "DONE", "time": "2026-01-01T00:00:00Z"}}, ScanState.DONE),
    ({"overall": {"status": "done", "time": ""}, "details": None}, ScanState.DONE),
    ({"overall": {"status": "PENDING"}, "details": {"sca": {"status": "DONE"}}}, ScanState.PENDING),
    ({"overall": {"status": "SOMETHING_NEW"}}, ScanState.FAILED),
    ({"overall": {}}, ScanState.FAILED),
]


@pytest.mark.parametrize(("document", "state"), STATES)
def test_states(document: object, state: ScanState) -> None:
    with talking_to(json_answer(document)) as (client, server):
        assert client.status("r", "a/b").state is state
    assert json.loads(server.seen[0].body) == {"repo": "r", "path": "a/b"}


@pytest.mark.parametrize("engines", [[f"engine-{number}" for number in range(51)], ["x" * 101]])
def test_engines_without_end_are_no_status(engines: list[str]) -> None:
    """Megabytes of names were kept for each of thousands of files."""
    said = {"overall": {"status": "DONE"}, "details": {key: {"status": "DONE"} for key in engines}}
    with talking_to(json_answer(said)) as (client, _), pytest.raises(ProtocolError, match="details"):
        client.status("r", "a")


def test_a_file_that_xray_has_never_heard_of_is_absent() -> None:
    with talking_to(json_answer({"error": "artifact at path r/a does not exist"}, 404)) as (client, _):
        assert client.status("r", "a").state is ScanState.ABSENT


def test_summaries_are_asked_for_in_batches_and_joined() -> None:
    part = json_answer({"artifacts": None, "errors": [{"identifier": "x", "error": "not indexed"}]})
    with talking_to(part) as (client, server):
        assert list(client.summary([f"r/{number}" for number in range(120)])) == []
    asked = [path for seen in server.seen for path in json.loads(seen.body)["paths"]]
    assert asked == [f"default/r/{number}" for number in range(120)]


ODD = [
    b"[]",
    b'{"artifacts": 5}',
    b'{"artifacts": [{}]}',
    b'{"artifacts": [{"general": {}, "issues": {}}]}',
    b"null",
]


def test_an_answer_of_more_objects_than_can_be_kept_is_refused_unread() -> None:
    """A megabyte of `{}` takes hundreds of megabytes once it is read."""
    objects, members = b"[" + b"{}," * 1_300_000 + b"{}]", b"[" + b"0," * 11_000_000 + b"0]"
    for body, said in ((objects, "1,300,001 objects and 1,300,000"), (members, "0 objects and 11,000,000")):
        with (
            talking_to(answer(body=body)) as (client, _),
            pytest.raises(ProtocolError, match=f"an answer of {said} members"),
        ):
            client.policies()


def test_what_many_answers_come_to_together_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    part = json_answer({"artifacts": [{"general": {"path": "default/r/1"}}]})
    monkeypatch.setattr("governance.xray.client.MOST_WEIGHT", 4_000)
    with talking_to(part) as (client, server):
        found = client.components(f"pypi://a:{number}" for number in range(1_000))
        assert next(found).path == "r/1"
        with pytest.raises(ProtocolError, match="more answers than can be kept"):
            list(found)
    assert len(server.seen) == 4


def test_what_many_violations_come_to_together_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.xray.client.MOST_WEIGHT", 4_000)
    with talking_to(page("1", "2", total=10**9)) as (client, server):
        found = client.violations("r", ["a"])
        assert next(found).id == "1"
        with pytest.raises(ProtocolError, match="more answers than can be kept"):
            list(found)
    assert len(server.seen) == 3


@pytest.mark.parametrize("body", ODD)
def test_summaries_of_another_form_are_refused(body: bytes) -> None:
    with talking_to(answer(body=body)) as (client, _), pytest.raises(ProtocolError):
        list(client.summary(["r/a"]))


def page(*ids: str, total: int) -> bytes:
    rows = [{"violation_id": each, "watch_name": "w", "severity": "High", "type": "Security"} for each in ids]
    return json_answer({"total_violations": total, "violations": rows})


def test_violations_are_read_to_the_last_page() -> None:
    with talking_to(page("1", "2", total=3), page("3", total=3)) as (client, server):
        assert [found.id for found in client.violations("r", ["a"])] == ["1", "2", "3"]
    assert [json.loads(seen.body)["pagination"]["offset"] for seen in server.seen] == [1, 2]
    assert json.loads(server.seen[0].body)["filters"]["resources"] == {
        "artifacts": [{"repo": "r", "path": "a"}]
    }


def test_violations_that_are_announced_and_not_listed_are_an_error() -> None:
    with talking_to(page(total=3)) as (client, _), pytest.raises(ProtocolError, match="3 violations"):
        list(client.violations("r", ["a"]))


@pytest.fixture(scope="module")
def xray(devserver: DevServer, alice_token: str) -> Iterator[XrayClient]:
    client = XrayClient(
        Transport(base_url=devserver.xray_url, service="Xray", credentials=Credentials(token=alice_token))
    )
    yield client
    client.close()


def test_the_embedded_server_is_understood(xray: XrayClient, devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "a/clean.txt", b"text")
    devserver.put(repo, "a/evil.pkl", b"cos\nsystem\n(S'echo'\ntR.")
    assert xray.version()
    assert xray.status(repo, "a/evil.pkl").state is ScanState.DONE
    found = {each.path: each for each in xray.summary([f"{repo}/a/clean.txt", f"{repo}/a/evil.pkl"])}
    assert not any(each.is_malicious for each in found[f"{repo}/a/clean.txt"].issues)
    assert any(each.is_malicious for each in found[f"{repo}/a/evil.pkl"].issues)
    devserver.hold_scans(repo, "a/evil.pkl", status=Status.SCANNING)
    assert xray.status(repo, "a/evil.pkl").state is ScanState.SCANNING
    assert list(xray.summary([f"{repo}/a/evil.pkl", f"{repo}/nothing"])) == []
    assert xray.status(repo, "nothing").state is ScanState.ABSENT
    assert list(xray.violations(repo, ["a/clean.txt"])) == []


def test_packages_need_not_be_stored(xray: XrayClient) -> None:
    (found,) = xray.components(["pypi://pyyaml:5.3"])
    assert found.component_id == "pypi://pyyaml:5.3"
    assert "CVE-2020-14343" in {cve.id for each in found.issues for cve in each.cves}


def test_a_wrong_token(devserver: DevServer) -> None:
    client = XrayClient(
        Transport(base_url=devserver.xray_url, service="Xray", credentials=Credentials(token="nonsense"))
    )
    with pytest.raises(UnauthenticatedError, match="Xray"):
        list(client.summary(["r/a"]))
    client.close()
