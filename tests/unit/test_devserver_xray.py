"""Xray's side: real scans, scan states, policies that block, ignore rules, searches."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import cloudpickle
import pytest
import requests

from governance.devserver import DevServer, DevServerConfig, Status
from governance.devserver.advisories import Package, shipped
from governance.devserver.scanner import quiet, scan


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


EVIL = pickle.dumps(Malicious())
NUMBERS = count(1)


@pytest.fixture
def post(devserver: DevServer, repo: str) -> Iterator[Any]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {devserver.token('admin')}"

        def call(path: str, body: object, *, method: str = "POST", status: int = 200) -> Any:
            answer = session.request(method, f"{devserver.xray_url}{path}", json=body, timeout=10)
            assert answer.status_code == status, answer.text
            is_json = answer.headers.get("Content-Type", "").startswith("application/json")
            return answer.json() if is_json else answer.content

        yield call


def summary(post: Any, *paths: str) -> Any:
    return post("/api/v2/summary/artifact", {"paths": list(paths)})


# -- scans


def test_a_malicious_pickle_is_a_critical_issue_without_cve(
    devserver: DevServer, repo: str, post: Any
) -> None:
    devserver.put(repo, "m/model.pkl", EVIL)
    (artifact,) = summary(post, f"default/{repo}/m/model.pkl")["artifacts"]
    (issue,) = artifact["issues"]
    assert (issue["severity"], issue["cves"]) == ("Critical", [])
    assert "malicious" in issue["summary"].lower()
    assert artifact["general"]["sha256"] == devserver.item(repo, "m/model.pkl").content.sha256


def test_a_function_of_ones_own_is_no_malice_until_it_calls_for_some(
    devserver: DevServer, repo: str, post: Any
) -> None:
    """cloudpickle builds it anew from its code, which only looks dangerous."""
    for name, payload in (("good.pkl", lambda row: row), ("bad.pkl", [lambda row: row, os.system])):
        devserver.put(repo, name, cloudpickle.dumps(payload))
    good, bad = summary(post, f"{repo}/good.pkl", f"{repo}/bad.pkl")["artifacts"]
    assert good["issues"] == []
    assert "system" in bad["issues"][0]["summary"]


def test_pins_are_matched_with_advisories(devserver: DevServer, repo: str, post: Any) -> None:
    devserver.put(
        repo,
        "requirements.txt",
        b"# pins\nPyYAML==5.3.1  # old\nscikit_learn == 1.9.0\n-r other.txt\nnumpy>=1\n",
    )
    (artifact,) = summary(post, f"{repo}/requirements.txt")["artifacts"]
    (issue,) = artifact["issues"]
    assert issue["cves"][0]["cve"] == "CVE-2020-14343"
    assert issue["cves"][0]["cvss_v3"].startswith("9.8/CVSS:3.1/")
    assert issue["components"] == [
        {"component_id": "pyyaml", "version": "5.3.1", "pkg_type": "Pypi", "fixed_versions": ["[5.4]"]}
    ]
    assert {row["name"] for row in artifact["licenses"]} == {"MIT", "BSD-3-Clause"}


CONDA = b"""
channels: [conda-forge]
dependencies:
- python=3.11.7
- joblib=1.1.0
- pip<=23
- pip:
  - mlflow==2.2.0
name: mlflow-env
"""


def test_conda_files_are_read_without_the_interpreter(devserver: DevServer, repo: str, post: Any) -> None:
    devserver.put(repo, "conda.yaml", CONDA)
    (artifact,) = summary(post, f"{repo}/conda.yaml")["artifacts"]
    cves = {cve["cve"] for issue in artifact["issues"] for cve in issue["cves"]}
    assert cves == {"CVE-2022-21797", "CVE-2023-1177", "CVE-2024-27132"}


def test_zip_archives_are_looked_into(devserver: DevServer, repo: str, post: Any) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", EVIL)
    devserver.put(repo, "model.pt", held.getvalue())
    (artifact,) = summary(post, f"{repo}/model.pt")["artifacts"]
    assert len(artifact["issues"]) == 1


def test_the_first_summary_lacks_components_and_checksums_are_looked_up(
    devserver: DevServer, repo: str, post: Any
) -> None:
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1")
    sha256 = devserver.item(repo, "requirements.txt").content.sha256
    (artifact,) = post("/api/v1/summary/artifact", {"checksums": [sha256]})["artifacts"]
    assert "components" not in artifact["issues"][0]
    post("/api/v1/summary/artifact", {}, status=400)


def test_what_is_not_there_or_not_indexed_has_an_error_and_no_entry(
    devserver: DevServer, repo: str, post: Any
) -> None:
    unindexed = devserver.create_repository(f"{repo}-unindexed", xray_index=False)
    devserver.put(unindexed, "m.pkl", EVIL)
    paths = [f"{repo}/missing", f"{unindexed}/m.pkl", f"{repo}/folder"]
    answer = summary(post, *paths)
    assert answer["artifacts"] == []
    assert [row["identifier"] for row in answer["errors"]] == paths
    status = post("/api/v1/artifact/status", {"repo": unindexed, "path": "m.pkl"})
    assert status["overall"]["status"] == "NOT_SCANNED"


def test_component_summaries_need_nothing_stored(post: Any) -> None:
    details = [
        {"component_id": each} for each in ("pypi://PyYAML:5.3", "pypi://pyyaml:6.0", "npm://left-pad:1", "x")
    ]
    answer = post("/api/v1/summary/component", {"component_details": details})
    assert [len(row["issues"]) for row in answer["artifacts"]] == [2, 0]
    assert [row["identifier"] for row in answer["errors"]] == ["npm://left-pad:1", "x"]


def test_only_readable_files_are_summarised(devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "m.pkl", EVIL)
    token = devserver.add_user(f"blind-{next(NUMBERS)}", "x")
    headers = {"Authorization": f"Bearer {token}"}
    body = {"paths": [f"{repo}/m.pkl"]}
    answer = requests.post(
        f"{devserver.xray_url}/api/v2/summary/artifact", json=body, headers=headers, timeout=10
    )
    assert answer.json()["artifacts"] == []
    status = {"repo": repo, "path": "m.pkl"}
    answer = requests.post(
        f"{devserver.xray_url}/api/v1/artifact/status", json=status, headers=headers, timeout=10
    )
    assert answer.status_code == 403


def test_bodies_that_are_no_json(devserver: DevServer, admin_token: str) -> None:
    url, headers = f"{devserver.xray_url}/api", {"Authorization": f"Bearer {admin_token}"}
    answer = requests.post(f"{url}/v2/summary/artifact", data=b"{", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()) == (415, {"error": "Failed to parse json."})
    assert requests.post(f"{url}/v1/violations", data=b"[]", headers=headers, timeout=10).status_code == 400


# -- states


@pytest.mark.parametrize("status", [Status.PENDING, Status.FAILED, Status.NOT_SUPPORTED])
def test_held_scans(devserver: DevServer, repo: str, post: Any, status: Status) -> None:
    devserver.put(repo, "held/m.pkl", EVIL)
    devserver.put(repo, "free/m.pkl", EVIL)
    devserver.hold_scans(repo, "held", status=status)
    body = {"repo": repo, "path": "held/m.pkl"}
    assert post("/api/v1/artifact/status", body)["overall"]["status"] == status
    assert summary(post, f"{repo}/held/m.pkl")["artifacts"] == []
    assert len(summary(post, f"{repo}/free/m.pkl")["artifacts"]) == 1
    devserver.release_scans(repo)
    assert post("/api/v1/artifact/status", body)["overall"]["status"] == "DONE"
    assert len(summary(post, f"{repo}/held/m.pkl")["artifacts"]) == 1


def test_scans_take_their_time_if_told() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with DevServer.start(DevServerConfig(scan_delay=60, now=lambda: now[0])) as server:
        server.put("models-local", "m.bin", b"x")
        headers = {"Authorization": f"Bearer {server.token('admin')}"}

        def status() -> str:
            body = {"repo": "models-local", "path": "m.bin"}
            answer = requests.post(
                f"{server.xray_url}/api/v1/artifact/status", json=body, headers=headers, timeout=10
            )
            return str(answer.json()["overall"]["status"])

        assert status() == "SCANNING"
        now[0] += timedelta(seconds=61)
        assert status() == "DONE"


def test_scans_are_about_the_bytes_that_are_served(devserver: DevServer, repo: str, post: Any) -> None:
    devserver.put(repo, "m.pkl", pickle.dumps({"a": 1}))
    assert summary(post, f"{repo}/m.pkl")["artifacts"][0]["issues"] == []
    devserver.put_bytes_behind_the_scenes(repo, "m.pkl", EVIL, keep_checksums=True)
    assert len(summary(post, f"{repo}/m.pkl")["artifacts"][0]["issues"]) == 1


def test_a_file_that_cannot_be_read_to_its_end_is_partial(devserver: DevServer, repo: str, post: Any) -> None:
    broken = b"\x80\x04\x8c\x08builtins\x8c\x05print\x93" + b"\xff\xff"
    devserver.put(repo, "m.pkl", broken)
    assert post("/api/v1/artifact/status", {"repo": repo, "path": "m.pkl"})["overall"]["status"] == "PARTIAL"
    assert summary(post, f"{repo}/m.pkl")["artifacts"] == []


def test_status_of_a_missing_file_and_older_forms(devserver: DevServer, repo: str, post: Any) -> None:
    answer = post("/api/v1/artifact/status", {"repo": repo, "path": "no"}, status=404)
    assert answer == {"error": f"artifact at path {repo}/no does not exist in Artifactory"}
    devserver.put(repo, "m.bin", b"x")
    assert post("/api/v1/scan/status/artifact", {"path": f"{repo}/m.bin"})["status"] == "scanned"
    sent = post("/api/v2/index", {"repo_path": f"{repo}/m.bin"})
    assert sent["sent_to_reindex"]["artifacts"][0]["path"] == "m.bin"
    failed = post("/api/v1/forceReindex", {"artifacts": [{"repository": repo, "path": "no"}]})
    assert failed["failed_send_to_reindex"]["artifacts"][0]["path"] == "no"
    assert "in progress" in post("/api/v1/scanArtifact", {"componentID": "pypi://a:1"})["info"]


def test_graph_scans(post: Any) -> None:
    tree = {"component_id": "root", "nodes": [{"component_id": "pypi://mlflow:3.0", "nodes": []}]}
    tree["nodes"][0]["nodes"] = [{"component_id": "pypi://pyyaml:5.3.1"}]  # type: ignore[index]
    scan_id = post("/api/v1/scan/graph?scan_type=dependency", tree, status=201)["scan_id"]
    result = post(f"/api/v1/scan/graph/{scan_id}", None, method="GET")
    (found,) = result["vulnerabilities"]
    place = found["components"]["pypi://pyyaml:5.3.1"]
    assert found["cves"][0]["cvss_v3_score"] == "9.8"
    assert [step["component_id"] for step in place["impact_paths"][0]] == [
        "root",
        "pypi://mlflow:3.0",
        "pypi://pyyaml:5.3.1",
    ]


# -- policies


def policy(name: str, criteria: dict[str, object], *, unscanned: bool = False) -> dict[str, object]:
    actions = {"block_download": {"active": True, "unscanned": unscanned}}
    return {
        "name": name,
        "type": "security",
        "rules": [{"name": "r1", "priority": 1, "criteria": criteria, "actions": actions}],
    }


def watch(name: str, repo: str, policy_name: str) -> dict[str, object]:
    resources = [{"type": "repository", "bin_mgr_id": "default", "name": repo, "repo_type": "local"}]
    return {
        "general_data": {"name": name, "active": True},
        "project_resources": {"resources": resources},
        "assigned_policies": [{"name": policy_name, "type": "security"}],
    }


@pytest.fixture
def watched(repo: str, post: Any) -> Iterator[Any]:
    """Puts a policy with some criteria on the repository."""
    made: list[str] = []

    def put(criteria: dict[str, object], *, unscanned: bool = False) -> str:
        name = f"p-{next(NUMBERS)}"
        post("/api/v2/policies", policy(name, criteria, unscanned=unscanned), status=201)
        post("/api/v2/watches", watch(f"w-{name}", repo, name), status=201)
        made.append(name)
        return name

    yield put
    for name in made:
        post(f"/api/v2/watches/w-{name}", None, method="DELETE")
        post(f"/api/v2/policies/{name}", None, method="DELETE")


def download(devserver: DevServer, repo: str, path: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {devserver.token('alice')}", "If-None-Match": "*"}
    return requests.get(f"{devserver.artifactory_url}/{repo}/{path}", headers=headers, timeout=10)


@pytest.mark.parametrize(
    ("criteria", "blocked"),
    [
        ({"min_severity": "High"}, {"evil.pkl", "requirements.txt"}),
        ({"malicious_package": True}, {"evil.pkl"}),
        ({"cvss_range": {"from": 9.0, "to": 10}}, {"requirements.txt"}),
        ({"cvss_range": {"from": 0.1, "to": 5}}, set()),
        ({"vulnerability_ids": ["CVE-2020-14343"]}, {"requirements.txt"}),
        (
            {"package_name": "pyyaml", "package_type": "pypi", "package_versions": ["[5.3.1]"]},
            {"requirements.txt"},
        ),
        ({"package_name": "pyyaml", "package_type": "pypi", "package_versions": ["6.0"]}, set()),
        ({"min_severity": "High", "fix_version_dependant": True}, {"requirements.txt"}),
        ({}, set()),
    ],
)
def test_blocking_rules(
    devserver: DevServer, repo: str, watched: Any, criteria: dict[str, object], blocked: set[str]
) -> None:
    devserver.put(repo, "evil.pkl", EVIL)
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1")
    devserver.put(repo, "clean.bin", b"x")
    watched(criteria)
    answers = {path: download(devserver, repo, path) for path in devserver.paths(repo)}
    assert {path for path, answer in answers.items() if answer.status_code == 403} == blocked
    for path in blocked:
        assert answers[path].json()["errors"][0]["message"] == (
            f"Artifact download request rejected: {path} was not downloaded due to the download blocking policy"
            f" configured in Xray for {repo}."
        )


@pytest.mark.parametrize(("unscanned", "status"), [(True, 403), (False, 200)])
def test_unscanned_files_are_blocked_only_if_a_rule_says_so(
    devserver: DevServer, repo: str, watched: Any, unscanned: bool, status: int
) -> None:
    devserver.put(repo, "clean.bin", b"x")
    devserver.hold_scans(repo)
    watched({"min_severity": "Critical"}, unscanned=unscanned)
    assert download(devserver, repo, "clean.bin").status_code == status


def test_violations_and_ignore_rules(devserver: DevServer, repo: str, post: Any, watched: Any) -> None:
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1\nflask==2.0\n")
    name = watched({"min_severity": "High"})
    filters = {"filters": {"resources": {"artifacts": [{"repo": repo, "path": "requirements.txt"}]}}}
    found = post("/api/v1/violations", {**filters, "pagination": {"limit": 2**63 - 1, "offset": 1}})
    assert found["total_violations"] == 2
    first = next(row for row in found["violations"] if "CVE-2020-14343" in row["issue_id"])
    assert first["impacted_artifacts"] == first["impact_artifacts"] == [f"default/{repo}/requirements.txt"]
    (match,) = first["matched_policies"]
    assert (match["policy"], match["rule"], match["is_blocking"]) == (name, "r1", True)
    assert (
        len(post("/api/v1/violations", {**filters, "pagination": {"limit": 1, "offset": 2}})["violations"])
        == 1
    )
    post("/api/v1/ignore_rules", {"notes": "?", "ignore_filters": {}}, status=400)
    rule = {"notes": "accepted", "ignore_filters": {"cves": ["CVE-2020-14343"], "watches": [f"w-{name}"]}}
    info = post("/api/v1/ignore_rules", rule, status=201)["info"]
    rule_id = info.rpartition("id: ")[2]
    assert post("/api/v1/violations", filters)["total_violations"] == 1
    ignored = post(f"/api/v1/violations/ignored/w-{name}?limit=500&offset=1", None, method="GET")
    assert [row["issue_id"] for row in ignored["data"]] == [first["issue_id"]]
    assert ignored["data"][0]["ignore_rule_details"]["id"] == rule_id
    post("/api/v1/violations", {"filters": {"watch_name": "no such watch"}}, status=400)
    post(f"/api/v1/ignore_rules/{rule_id}", None, method="DELETE", status=204)
    assert post("/api/v1/violations", filters)["total_violations"] == 2


@pytest.mark.parametrize(
    ("ignore_filters", "blocked"),
    [
        ({"components": [{"name": "pyyaml", "version": "5.3.1"}]}, False),
        ({"components": [{"name": "pypi://pyyaml"}]}, False),
        ({"components": [{"name": "pyyaml", "version": "6.0"}]}, True),
        ({"artifacts": [{"name": "requirements.txt"}]}, False),
        ({"artifacts": [{"name": "other.txt"}]}, True),
        ({"vulnerabilities": ["DEV-CVE-2020-14343"], "policies": ["another"]}, True),
        ({"docker-layers": ["x"]}, True),
    ],
)
def test_what_ignore_rules_cover(
    devserver: DevServer, repo: str, post: Any, watched: Any, ignore_filters: dict[str, object], blocked: bool
) -> None:
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1")
    watched({"min_severity": "High"})
    info = post("/api/v1/ignore_rules", {"ignore_filters": ignore_filters}, status=201)["info"]
    assert (download(devserver, repo, "requirements.txt").status_code == 403) is blocked
    post(f"/api/v1/ignore_rules/{info.rpartition('id: ')[2]}", None, method="DELETE", status=204)


@pytest.mark.parametrize(
    ("patterns", "blocked"),
    [
        ({"IncludePatterns": ["m/**"]}, True),
        ({"IncludePatterns": ["other/**"]}, False),
        ({"IncludePatterns": ["**"], "ExcludePatterns": ["**/*.txt"]}, False),
    ],
)
def test_watches_on_a_part_of_a_repository(
    devserver: DevServer, repo: str, post: Any, watched: Any, patterns: dict[str, object], blocked: bool
) -> None:
    devserver.put(repo, "m/requirements.txt", b"PyYAML==5.3.1")
    name = watched({"min_severity": "High"})
    body = watch(f"w-{name}", repo, name)
    body["project_resources"]["resources"][0]["filters"] = [{"type": "ant-patterns", "value": patterns}]  # type: ignore[index]
    post(f"/api/v2/watches/w-{name}", body, method="PUT")
    assert (download(devserver, repo, "m/requirements.txt").status_code == 403) is blocked


def test_ignore_rules_end(devserver: DevServer, repo: str, post: Any, watched: Any) -> None:
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1")
    watched({"min_severity": "High"})
    rule = {"expires_at": "2020-01-01T00:00:00Z", "ignore_filters": {"cves": ["any"]}}
    post("/api/v1/ignore_rules", rule, status=201)
    assert download(devserver, repo, "requirements.txt").status_code == 403


def test_policies_and_watches_are_kept_as_sent(repo: str, post: Any, watched: Any) -> None:
    name = watched({"min_severity": "Low"})
    post("/api/v2/policies", policy(name, {}), status=409)
    assert post(f"/api/v2/policies/{name}", None, method="GET")["rules"][0]["criteria"] == {
        "min_severity": "Low"
    }
    post(f"/api/v2/policies/{name}", None, method="DELETE", status=409)
    changed = watch("", repo, name) | {"general_data": {"name": "", "active": False}}
    post(f"/api/v2/watches/w-{name}", changed, method="PUT")
    assert post(f"/api/v2/watches/w-{name}", None, method="GET")["general_data"] == {
        "name": f"w-{name}",
        "active": False,
    }
    post("/api/v2/watches", watch("w-x", repo, "no such policy"), status=400)
    post("/api/v2/watches/none", None, method="GET", status=404)


# -- searches


def test_searches_and_export(devserver: DevServer, repo: str, post: Any) -> None:
    devserver.put(repo, "requirements.txt", b"PyYAML==5.3.1")
    (row,) = post("/api/v1/component/searchByCves", {"cves": ["CVE-2020-14343"]})
    found = [(each["name"], each.get("version")) for each in row["components"]]  # of the whole server
    assert ("pyyaml", "5.3.1") in found
    rows = post(
        "/api/v1/component/searchCvesByComponents", {"components_id": ["pypi://joblib:1.0", "gav://a:b:1"]}
    )
    assert rows[0]["cves"] == ["CVE-2022-21797"]
    assert "error" in rows[1]
    impacted = post("/api/v2/search/impactedResources?vulnerability=CVE-2020-14343", None, method="GET")
    assert f"{repo}/requirements.txt" in {each["path"] for each in impacted["result"]}
    body = {"component_name": "x", "path": f"default/{repo}/requirements.txt", "cyclonedx": True}
    with zipfile.ZipFile(io.BytesIO(post("/api/v2/component/exportDetails", body))) as archive:
        sbom = json.loads(archive.read("cyclonedx.json"))
    assert sbom["components"][0]["purl"] == "pkg:pypi/pyyaml@5.3.1"


# -- the advisories themselves


def test_shipped_advisories_are_well_formed() -> None:
    rows = shipped()
    known = [row for package in ("pyyaml", "mlflow", "torch", "urllib3") for row in rows._by_package[package]]
    assert all(row.cve.startswith("CVE-") and row.url.startswith("https://") and row.fixed for row in known)
    assert [row.cve for row in rows.about(Package.of("PyYAML", "5.3.1"))] == ["CVE-2020-14343"]
    assert rows.about(Package.of("pyyaml", "5.4")) == []
    assert rows.about(Package.of("urllib3", "1.26.18"))[0].cve == "CVE-2024-37891"
    assert rows.about(Package.of("pyyaml", "not a version")) == []


def test_a_clean_file_is_clean_whatever_it_is_called(tmp_path: Any) -> None:
    quiet()
    for name in ("model.pkl", "data.npy", "weights.bin", "notes.txt"):
        (tmp_path / name).write_bytes(pickle.dumps([1, 2, 3]) if name == "model.pkl" else b"plain text")
        assert scan(tmp_path / name, name, shipped()).malice == ()
