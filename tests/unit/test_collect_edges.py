"""The collectors against the embedded server: what they say, and that not knowing never reads as good news."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.artifactory.client import ArtifactoryClient
from governance.collect.collector import UNREACHABLE, Collector, gather
from governance.collect.contents import ContentsCollector
from governance.collect.dependencies import DependenciesCollector, DependencyReader
from governance.collect.ecosystems import ecosystem_of
from governance.collect.request import request_facts
from governance.collect.scan import ScanCollector
from governance.collect.signature import SignatureCollector
from governance.collect.storage import StorageCollector
from governance.devserver import DevServer, Fault, Status
from governance.errors import RemoteError
from governance.model.artifact import (
    FOLDER_SIGNATURE,
    Artifact,
    FileEntry,
    Kind,
    parse_relative_path,
    parse_repository_key,
)
from governance.model.facts import CATALOGUE, Collection, Facts, FactValue, Unknown, find_spec
from governance.model.request import Action, Actor, Request
from governance.report.contents import packages_in
from governance.signing.manifest import Manifest
from governance.signing.sign import sign_manifest
from governance.signing.trust import TrustStore
from governance.transport import Credentials, Transport
from governance.xray.client import XrayClient
from tests.unit.signing_kit import signer, trust

NOW = datetime.now(UTC) + timedelta(hours=1)
EVIL = b"cos\nsystem\n(S'echo'\ntR."
CLEAN = {
    "MLmodel": b"flavors:\n  python_function: {env: {virtualenv: python_env.yaml}}\n",
    "python_env.yaml": b"python: 3.11.4\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": b"numpy==1.26.4\ncloudpickle==3.0.0\n",
    "model.pkl": pickle.dumps({"a": [1, 2]}),
}


@dataclass
class Edge:
    """One repository of the embedded server, seen through every collector."""

    server: DevServer
    repo: str
    artifactory: ArtifactoryClient
    xray: XrayClient
    trust: Callable[[], TrustStore]

    def put(self, files: Mapping[str, bytes], root: str = "m") -> None:
        for name, data in files.items():
            self.server.put(self.repo, f"{root}/{name}", data, by="alice")

    def request(self, root: str = "m", action: Action = Action.LOAD, repo: str | None = None) -> Request:
        tree = self.artifactory.tree(repo or self.repo, root)
        entries = [FileEntry(path=each.path, size=each.size, sha256=each.sha256) for each in tree.files]
        artifact = Artifact(
            kind=Kind.MODEL,
            host=self.server.host,
            repository=parse_repository_key(repo or self.repo),
            path=root,
            name="m",
            files=tuple(entry for entry in entries if entry.path != FOLDER_SIGNATURE),
            signature=next((entry for entry in entries if entry.path == FOLDER_SIGNATURE), None),
        )
        return asking(artifact, action)

    def collectors(self) -> dict[str, Collector]:
        reader = DependencyReader(lambda _: self.artifactory)
        return {
            "storage": StorageCollector(lambda _: self.artifactory, now=lambda: NOW),
            "contents": ContentsCollector(lambda _: self.artifactory),
            "dependencies": DependenciesCollector(reader),
            "xray": ScanCollector(lambda _: self.xray, dependencies=reader, now=lambda: NOW),
            "signature": SignatureCollector(lambda _: self.artifactory, trust=self.trust, now=lambda: NOW),
        }

    def facts(self, name: str, root: str = "m", repo: str | None = None) -> dict[str, Any]:
        collector = self.collectors()[name]
        found = dict(collector.collect(self.request(root, repo=repo)))
        assert all(each in collector.supplies or each.startswith("property.") for each in found)
        return found


def _is_an_hour(age: int) -> bool:
    """Whether an age is the hour by which `NOW` is ahead, less what passed since this file was read."""
    passed = (datetime.now(UTC) + timedelta(hours=1) - NOW).total_seconds()
    return 3500 - passed < age <= 3600


def asking(artifact: Artifact, action: Action) -> Request:
    return Request(
        action=action,
        artifact=artifact,
        actor=Actor(name="ann"),
        environment="development",
        at=NOW,
        correlation="c",
    )


@pytest.fixture
def edge(devserver: DevServer, repo: str, alice_token: str) -> Iterator[Edge]:
    def transport(url: str, service: str) -> Transport:
        credentials = Credentials(token=alice_token)
        return Transport(base_url=url, service=service, credentials=credentials, sleep=lambda _: None)

    made = Edge(
        server=devserver,
        repo=repo,
        artifactory=ArtifactoryClient(transport(devserver.artifactory_url, "Artifactory")),
        xray=XrayClient(transport(devserver.xray_url, "Xray")),
        trust=trust,
    )
    yield made
    made.artifactory.close()
    made.xray.close()


def test_every_fact_is_of_the_catalogue_and_supplied_once(edge: Edge) -> None:
    supplied = [name for each in edge.collectors().values() for name in each.supplies]
    assert len(set(supplied)) == len(supplied)
    assert all(find_spec(name) or name in CATALOGUE for name in supplied)


def test_nothing_is_known_of_what_is_still_to_be_uploaded_and_nobody_is_asked() -> None:
    def nobody(_: object) -> Any:
        raise AssertionError("a collector asked")

    artifact = Artifact(
        kind=Kind.MODEL,
        host="h",
        repository=parse_repository_key("r"),
        path="m",
        name="m",
        files=(FileEntry(path=parse_relative_path("x")),),
    )
    reader = DependencyReader(nobody)
    for collector in (
        StorageCollector(nobody, now=lambda: NOW),
        ContentsCollector(nobody),
        DependenciesCollector(reader),
        ScanCollector(nobody, dependencies=reader, now=lambda: NOW),
        SignatureCollector(nobody, trust=trust, now=lambda: NOW),
    ):
        found = collector.collect(asking(artifact, Action.UPLOAD))
        assert set(found) == set(collector.supplies)
        assert set(found.values()) == {Unknown("not stored yet")}


def test_all_together_and_nothing_thrown(edge: Edge) -> None:
    edge.put(CLEAN)
    facts = gather(list(edge.collectors().values()), edge.request(), deadline=20, now=lambda: NOW)
    assert facts.get("xray.malicious") is False
    assert facts.get("content.verdict") == "clean"
    assert facts.get("signature.present") is False
    assert facts.get("artifact.created_by") == "alice"
    assert facts.to_json()


# storage


def test_storage(edge: Edge) -> None:
    edge.put(CLEAN)
    edge.artifactory.set_properties(edge.repo, "m", {"stage": "gold", "teams": ["b", "a"]})
    found = edge.facts("storage")
    assert _is_an_hour(found["artifact.age"])
    assert found["artifact.origin"] == "local"
    assert found["property.*"] is True
    assert found["property.stage"] == "gold"
    assert found["property.teams"] == ("a", "b")
    assert found["publisher"] is None


COMMIT = "0123456789abcdef0123456789abcdef01234567"
LAYOUT = [
    (f"models/Google/bert/{COMMIT}_2026-01-01T00:00:00.000Z/files", ("google", COMMIT, True, COMMIT)),
    ("models/acme/net/main_2026-01-01T00:00:00.000Z/files", ("acme", "main", False, Unknown)),
    ("models/acme/net/my_branch_2026-01-01T00:00:00.000Z/files", ("acme", "my_branch", False, Unknown)),
    ("elsewhere/google/bert", (None, None, None, None)),
]


@pytest.mark.parametrize(("root", "expected"), LAYOUT)
def test_the_hugging_face_layout(edge: Edge, root: str, expected: tuple[Any, ...]) -> None:
    edge.server.put("hf-remote", f"{root}/config.json", b"{}")
    found = edge.facts("storage", root, repo="hf-remote")
    names = ("publisher", "revision.ref", "revision.pinned", "revision.resolved")
    for name, value in zip(names, expected, strict=True):
        assert isinstance(found[name], Unknown) if value is Unknown else found[name] == value
    assert found["artifact.origin"] == "remote"


def test_a_path_in_an_ordinary_repository_makes_nobody_a_publisher(edge: Edge) -> None:
    root = f"models/google/bert/{COMMIT}_2026-01-01T00:00:00.000Z/files"
    edge.put(CLEAN, root)
    assert edge.facts("storage", root)["publisher"] is None


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("*/api/repositories/*", {"artifact.ecosystem", "artifact.origin", "publisher", "revision.pinned"}),
        ("*/api/storage/*", {"artifact.age", "artifact.created_by", "property.*"}),
    ],
)
def test_what_one_question_fails_to_answer_is_unknown_alone(edge: Edge, path: str, names: set[str]) -> None:
    edge.put(CLEAN)
    request = edge.request()
    edge.server.faults.add(Fault(path=path, times=None, status=403, message="not for you"))
    found = edge.collectors()["storage"].collect(request)
    unknown = {name for name, value in found.items() if isinstance(value, Unknown)}
    assert names <= unknown
    assert unknown != set(found)


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
    assert _is_an_hour(found["scan.age"])
    assert found["xray.violations"] == 0
    assert found["scan.engines"]


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


# contents


def test_contents_of_a_clean_model(edge: Edge) -> None:
    edge.put(
        {**CLEAN, "big.bin": b"\x00" * 200_000, "w.safetensors": (8).to_bytes(8, "little") + b'{"a":1} '}
    )
    found = edge.facts("contents")
    formats = {row["path"]: row["format"] for row in found["files"].items}
    assert formats == {
        "MLmodel": "yaml",
        "big.bin": "other",
        "model.pkl": "pickle",
        "python_env.yaml": "yaml",
        "requirements.txt": "text",
        "w.safetensors": "safetensors",
    }
    assert found["content.verdict"] == "clean"
    assert (found["content.files_scanned"], found["content.files_skipped"]) == (6, 0)
    assert found["content.unsafe_imports"] == ()


def test_a_malicious_pickle_is_seen_under_any_name(edge: Edge) -> None:
    edge.put({**CLEAN, "notes.txt": EVIL})
    found = edge.facts("contents")
    assert found["content.verdict"] == "malicious"
    assert found["content.unsafe_imports"] == ("os.system",)
    (row,) = [row for row in found["files"].items if row["path"] == "notes.txt"]
    assert (row["format"], row["imports"]) == ("pickle", ("os.system",))


def test_what_is_too_large_to_look_into_is_counted_and_not_clean(edge: Edge) -> None:
    edge.put({**CLEAN, "huge.pkl": pickle.dumps(b"\x00" * (17 << 20))})
    found = edge.facts("contents")
    assert found["content.files_skipped"] == 1
    assert isinstance(found["content.verdict"], Unknown)
    assert isinstance(found["content.unsafe_imports"], Unknown)
    edge.put({"evil.pkl": EVIL})
    assert edge.facts("contents")["content.verdict"] == "malicious"


@pytest.mark.parametrize("name", ["contents", "dependencies", "signature"])
def test_bytes_that_are_not_the_listed_ones_are_refused(edge: Edge, name: str) -> None:
    edge.put({**CLEAN, FOLDER_SIGNATURE: b"{}"})
    request = edge.request()
    for path in ("model.pkl", "requirements.txt", FOLDER_SIGNATURE):
        edge.server.put_bytes_behind_the_scenes(edge.repo, f"m/{path}", b"other")
    facts = gather([edge.collectors()[name]], request, deadline=20, now=lambda: NOW)
    collector = edge.collectors()[name]
    for each in collector.supplies:
        value = facts.get(each)
        assert isinstance(value, Unknown)
        assert "expected" in value.reason


# dependencies


def test_dependencies(edge: Edge) -> None:
    edge.put({**CLEAN, "conda.yaml": b"dependencies: [python=3.11, {pip: [Evil_Pkg==1.0, loose]}]\n"})
    found = edge.facts("dependencies")["dependencies"]
    assert found.missing is None
    assert [row["purl"] for row in found.items] == [
        "pkg:pypi/cloudpickle@3.0.0",
        "pkg:pypi/evil-pkg@1.0",
        "pkg:pypi/loose",
        "pkg:pypi/numpy@1.26.4",
    ]
    assert found.items[2]["version"] == Unknown("not pinned")


def test_a_model_that_declares_nothing_is_not_a_model_without_dependencies(edge: Edge) -> None:
    edge.put({"MLmodel": b"flavors: {}\n"})
    assert edge.facts("dependencies")["dependencies"] == Collection((), "the model declares no package")


def test_a_declaration_that_cannot_be_read_leaves_the_list_open(edge: Edge) -> None:
    edge.put({**CLEAN, "conda.yaml": b"dependencies: [a"})
    assert "conda.yaml" in (edge.facts("dependencies")["dependencies"].missing or "")


def test_a_reference_cannot_lead_out_of_the_model(edge: Edge) -> None:
    edge.put({"secret.txt": b"private==1\n"}, root="")
    edge.put({"MLmodel": b"{}", "requirements.txt": b"-r ../secret.txt\n-r /etc/passwd\n"})
    found = edge.facts("dependencies")["dependencies"]
    assert found.items == ()
    assert "not there" in found.missing


def test_requirements_are_fetched_once_for_all_who_ask(edge: Edge) -> None:
    edge.put(CLEAN)
    request = edge.request()
    count = edge.server.faults.add(Fault(method="GET", path="*/requirements.txt", times=None))
    collectors = edge.collectors()
    both = [collectors["dependencies"], collectors["xray"]]
    gather(both, request, deadline=20, now=lambda: NOW)
    gather(both, request, deadline=20, now=lambda: NOW)
    assert count.hits == 1


def test_a_failure_is_not_remembered(edge: Edge) -> None:
    edge.put(CLEAN)
    request = edge.request()
    collector = edge.collectors()["dependencies"]
    edge.server.faults.add(Fault(method="GET", path="*/requirements.txt", status=403))
    with pytest.raises(RemoteError):
        collector.collect(request)
    assert collector.collect(request)["dependencies"] != Unknown("")


# signature


def sign(edge: Edge, name: str = "alice") -> None:
    manifest = Manifest.of(edge.request().artifact.files)
    bundle = sign_manifest(manifest, name="m", signer=signer(name))
    edge.artifactory.upload(edge.repo, f"m/{FOLDER_SIGNATURE}", io.BytesIO(bundle), size=len(bundle))


def test_a_good_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge)
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (True, True)
    assert (found["signature.signer"], found["signature.reason"]) == ("alice", None)
    assert found["manifest.unsigned_files"] == ()


def test_no_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, False)
    assert found["signature.reason"] == "missing"
    assert isinstance(found["manifest.changed_files"], Unknown)


def test_a_stranger_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge, "mallory")
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, True)
    assert found["signature.signer"] is None


def test_files_that_differ_from_the_signed_ones(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge)
    edge.put({"model.pkl": b"other", "new.bin": b"new"})
    edge.artifactory.delete(edge.repo, "m/requirements.txt")
    found = edge.facts("signature")
    assert found["signature.valid"] is False
    assert found["manifest.changed_files"] == ("model.pkl",)
    assert found["manifest.unsigned_files"] == ("new.bin",)
    assert found["manifest.missing_files"] == ("requirements.txt",)


def test_a_file_logged_alone_has_its_signature_beside_it(edge: Edge) -> None:
    edge.put({"x.bin": b"123"})
    (entry,) = edge.request().artifact.files
    artifact = Artifact(
        kind=Kind.FILE,
        host=edge.server.host,
        repository=parse_repository_key(edge.repo),
        path="m",
        name="x.bin",
        files=(entry,),
    )
    bundle = sign_manifest(Manifest.of([entry]), name="x.bin", signer=signer())
    edge.artifactory.upload(edge.repo, "m/x.bin.mlgov.sig", io.BytesIO(bundle), size=len(bundle))
    found = edge.collectors()["signature"].collect(asking(artifact, Action.DOWNLOAD))
    assert found["signature.valid"] is True


def test_junk_in_place_of_a_signature(edge: Edge) -> None:
    edge.put({**CLEAN, FOLDER_SIGNATURE: b"\x00junk"})
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, True)
    assert found["signature.reason"]


def test_each_fact_of_the_catalogue_has_a_source(edge: Edge) -> None:
    """A rule about a fact that nobody supplies would be judged on nothing for ever."""
    edge.put(CLEAN)
    supplied = {name for each in edge.collectors().values() for name in each.supplies}
    stated = set(request_facts(edge.request()))
    assert set(CATALOGUE) - supplied - stated == {UNREACHABLE}


@pytest.mark.parametrize(
    ("package_type", "ecosystem"),
    [("generic", "generic"), ("pypi", "pypi"), ("docker", "oci"), ("huggingfaceml", "huggingface"), ("go", "golang")],
)  # fmt: skip
def test_the_repository_says_how_names_are_spelled(edge: Edge, package_type: str, ecosystem: str) -> None:
    key = edge.server.create_repository(f"kind-{package_type}-local", package_type=package_type)
    try:
        edge.server.put(key, "m/x", b"x")
        assert edge.facts("storage", repo=key)["artifact.ecosystem"] == ecosystem
    finally:
        edge.server.remove_repository(key)


def staged(edge: Edge, folder: Path, files: Mapping[str, bytes], *, whole: bool = True) -> Request:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    artifact = Artifact(
        kind=Kind.MODEL,
        host=edge.server.host,
        repository=parse_repository_key(edge.repo),
        path="m",
        name="m",
        files=tuple(FileEntry(path=parse_relative_path(n), size=len(d)) for n, d in files.items()),
    )
    asked = asking(artifact, Action.UPLOAD)
    return replace(asked, staged={name: folder / name for name in files} if whole else {})


def test_an_upload_is_looked_into_before_it_is_sent(edge: Edge, tmp_path: Path) -> None:
    asked = staged(edge, tmp_path, CLEAN | {"bad.pkl": b"cposix\nsystem\n(S'true'\ntR."})
    found = edge.collectors()["contents"].collect(asked)
    assert found["content.verdict"] == "malicious"
    assert found["content.unsafe_imports"] == ("posix.system",)
    rows = found["files"]
    assert isinstance(rows, Collection)
    by_path = {row["path"]: row for row in rows.items}
    assert by_path["bad.pkl"]["sha256"] == hashlib.sha256(b"cposix\nsystem\n(S'true'\ntR.").hexdigest()
    assert edge.server.paths(edge.repo) == ()


def test_the_packages_of_an_upload_are_asked_about(edge: Edge, tmp_path: Path) -> None:
    asked = staged(edge, tmp_path, CLEAN | {"requirements.txt": b"PyYAML==5.3\n"})
    found = gather(list(edge.collectors().values()), asked, deadline=20, now=lambda: NOW)
    advisories, declared = found.get("vulnerabilities"), found.get("dependencies")
    assert isinstance(advisories, Collection)
    assert "CVE-2020-14343" in {row["cve"] for row in advisories.items}
    assert advisories.missing == "not stored yet"
    assert isinstance(declared, Collection)
    assert "pkg:pypi/pyyaml@5.3" in {row["purl"] for row in declared.items}
    assert found.get("xray.malicious") == Unknown("not stored yet")
    assert found.get("scan.complete") == Unknown("not stored yet")


def test_a_piece_of_a_model_does_not_pass_for_the_whole(edge: Edge, tmp_path: Path) -> None:
    asked = staged(edge, tmp_path, {"requirements.txt": b"numpy==2.0.0\n"})
    declared = edge.collectors()["dependencies"].collect(asked)["dependencies"]
    assert isinstance(declared, Collection)
    assert declared.missing == "more of the model may be uploaded later"


@pytest.mark.parametrize("way", ["gone", "link", "not named"])
def test_an_upload_that_cannot_be_read_is_not_clean(edge: Edge, tmp_path: Path, way: str) -> None:
    asked = staged(edge, tmp_path, CLEAN, whole=way != "not named")
    name = next(iter(CLEAN))
    if way == "gone":
        (tmp_path / name).unlink()
    elif way == "link":
        (tmp_path / name).rename(tmp_path / "elsewhere")
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    found = gather([edge.collectors()["contents"]], asked, deadline=20, now=lambda: NOW)
    assert isinstance(found.get("content.verdict"), Unknown)
    assert isinstance(found.get("files"), Unknown)


def test_a_large_file_of_an_upload_is_known_by_its_head(edge: Edge, tmp_path: Path) -> None:
    weights = b"\x02\0\0\0\0\0\0\0{}" + bytes(100_000)
    asked = staged(edge, tmp_path, {"w.safetensors": weights, "big.pkl": pickle.dumps(bytes(100_000))})
    rows = edge.collectors()["contents"].collect(asked)["files"]
    assert isinstance(rows, Collection)
    assert {row["path"]: row["format"] for row in rows.items} == {
        "w.safetensors": "safetensors",
        "big.pkl": "pickle",
    }
