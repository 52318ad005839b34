"""The collectors against the embedded server: what they say, and that not knowing never reads as good news."""

from __future__ import annotations

from typing import Any

import pytest

from governance.artifactory.address import parse_uri
from governance.collect.collector import gather
from governance.collect.contents import ContentsCollector
from governance.collect.dependencies import DependenciesCollector, DependencyReader
from governance.collect.request import request_facts
from governance.collect.scan import ScanCollector
from governance.collect.signature import SignatureCollector
from governance.collect.storage import StorageCollector
from governance.devserver import Fault
from governance.model.artifact import (
    Artifact,
    FileEntry,
    Kind,
    parse_relative_path,
    parse_repository_key,
)
from governance.model.facts import CATALOGUE, OUT_OF_REACH, UNREACHABLE, Unknown, find_spec
from governance.model.request import Action
from plugin.location import lone_file
from tests.unit.collect_kit import CLEAN, NOW, Edge, asking, is_an_hour
from tests.unit.signing_kit import trust


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
    assert is_an_hour(found["artifact.age"])
    assert found["artifact.origin"] == "local"
    assert found["property.*"] is True
    assert found["property.stage"] == "gold"
    assert found["property.teams"] == ("a", "b")
    assert found["publisher"] is None


def test_a_single_file_is_described_without_a_listing(edge: Edge) -> None:
    edge.put({"notes.txt": b"x"})
    info = edge.artifactory.info(edge.repo, "m/notes.txt")
    file = lone_file(
        parse_uri(f"artifactory://{edge.server.host}/artifactory/{edge.repo}/m/notes.txt"),
        FileEntry(path=parse_relative_path("notes.txt"), size=info.size, sha256=info.sha256),
    )
    listed = edge.server.faults.add(Fault(query="*list*", delay=0.0, times=None))
    found = edge.collectors()["storage"].collect(asking(file, Action.DOWNLOAD))
    age, author = found["artifact.age"], found["artifact.created_by"]
    assert isinstance(age, int)
    assert is_an_hour(age)
    assert author == "alice"
    assert listed.hits == 0
    edge.server.faults.add(Fault(path="*/notes.txt", times=None, status=403, message="not for you"))
    assert isinstance(
        edge.collectors()["storage"].collect(asking(file, Action.DOWNLOAD))["artifact.age"], Unknown
    )


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


def test_each_fact_of_the_catalogue_has_a_source(edge: Edge) -> None:
    """A rule about a fact that nobody supplies would be judged on nothing for ever."""
    edge.put(CLEAN)
    supplied = {name for each in edge.collectors().values() for name in each.supplies}
    stated = set(request_facts(edge.request()))
    assert set(CATALOGUE) - supplied - stated == {UNREACHABLE, OUT_OF_REACH}


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
