"""What files hold and which packages they declare, as the collectors hand it on, of what is stored and of what is to be sent."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from governance.collect.collector import gather
from governance.collect.contents import ContentsCollector
from governance.devserver import Fault
from governance.errors import RemoteError
from governance.model.artifact import (
    FOLDER_SIGNATURE,
    Artifact,
    FileEntry,
    Kind,
    parse_relative_path,
    parse_repository_key,
)
from governance.model.facts import OUT_OF_REACH, Collection, Unknown
from governance.model.request import Action, Request
from tests.unit.collect_kit import CLEAN, EVIL, NOW, Edge, asking
from tests.unit.test_content_gguf import entry, gguf
from tests.unit.test_content_onnx import OUTSIDE, field, model, tensor

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


@pytest.mark.parametrize(
    ("signature", "verdict"), [(EVIL, "malicious"), (b"PK\x05\x06" + bytes(18), "clean")]
)
def test_what_is_called_a_signature_and_is_none_is_a_file_of_the_model(
    edge: Edge, signature: bytes, verdict: str
) -> None:
    """It is handed out with the model, whose `MLmodel` may call it the weights."""
    edge.put({**CLEAN, FOLDER_SIGNATURE: signature})
    facts = edge.facts("contents")
    assert facts["content.verdict"] == verdict
    assert facts["content.files_total"] == len(CLEAN) + 1
    edge.put({FOLDER_SIGNATURE: b'{"dsseEnvelope": {}}'})
    assert edge.facts("contents")["content.files_total"] == len(CLEAN)


def test_imports_that_speak_for_malice_come_first(edge: Edge) -> None:
    """A refusal names the first few."""
    edge.put({"a.pkl": b"cacme\nNet\n.", "b.pkl": b"cposix\nsystem\n."})
    assert edge.facts("contents")["content.unsafe_imports"] == ("posix.system", "acme.Net")


def test_what_is_too_large_to_look_into_is_counted_and_not_clean(edge: Edge) -> None:
    edge.put({**CLEAN, "huge.pkl": b"N0" + bytes(17 << 20)})
    found = edge.facts("contents")
    assert found["content.files_skipped"] == 1
    assert isinstance(found["content.verdict"], Unknown)
    assert found["content.unsafe_imports"] == found["content.verdict"]
    edge.put({"evil.pkl": EVIL})
    found = edge.facts("contents")
    assert found["content.verdict"] == "malicious"
    assert found["content.unsafe_imports"].at_least == ("os.system",)
    assert found["content.unsafe_imports"].reason == (
        "`huge.pkl` could not be looked into: it is larger than what is looked into"
    )


def test_what_could_not_be_looked_into_is_said_with_what_to_do(edge: Edge) -> None:
    edge.put({**CLEAN, "a.h5": b"\x89HDF\r\n\x1a\n", "b.7z": b"7z\xbc\xaf\x27\x1c", "saved_model.pb": b"\n"})
    (reason,) = {
        edge.facts("contents")[name].reason for name in ("content.verdict", "content.unsafe_imports")
    }
    assert reason == (
        "`a.h5` and 2 more could not be looked into: files of the format keras-h5 are not looked into; ONNX and safetensors are"
    )


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
        if each == "files":
            assert isinstance(value, Collection)
            assert {row["path"] for row in value.items} == {"MLmodel", "python_env.yaml"}
            assert "expected" in (value.missing or "")
        else:
            assert isinstance(value, Unknown)
            assert "expected" in value.reason


@pytest.mark.parametrize("name", ["model.gguf", "weights.bin"])
def test_a_file_that_is_replaced_before_parts_of_it_are_looked_at_is_not_clean(edge: Edge, name: str) -> None:
    """Else who may replace it could have good parts seen, and the bytes that were listed handed out again in the end."""
    harmless = gguf(entry("general.architecture", "llama")).ljust(200_000, b"\0")
    edge.put({name: b"\1" * 200_000})
    request = edge.request()
    edge.put({name: harmless})
    facts = gather([edge.collectors()["contents"]], request, deadline=20, now=lambda: NOW)
    verdict = facts.get("content.verdict")
    assert isinstance(verdict, Unknown)
    assert "expected" in verdict.reason
    assert edge.facts("contents")["content.verdict"] == "clean"


@pytest.mark.parametrize("there", [b"", b"\x00" * 100])
def test_a_file_of_which_less_comes_than_is_listed_is_not_clean(edge: Edge, there: bytes) -> None:
    """A server that answers that there is nothing to see (416) has shown nothing good."""
    edge.put({"weights.bin": b"\x00" * (100 << 10)})
    request = edge.request()
    edge.server.put_bytes_behind_the_scenes(edge.repo, "m/weights.bin", there, keep_checksums=True)
    facts = gather([edge.collectors()["contents"]], request, deadline=20, now=lambda: NOW)
    assert facts.get("content.verdict") == Unknown(
        f"of the 102400 bytes of `weights.bin` only {len(there)} came"
    )


@pytest.mark.parametrize("status", [403, 503])
def test_malice_that_was_found_is_not_lost_for_a_file_that_cannot_be_read(edge: Edge, status: int) -> None:
    """Rules that let pass what is unknown would let pass what is known to be malicious."""
    edge.put({"a.pkl": EVIL, **{f"b{number}.bin": b"\0" * 100 for number in range(8)}})
    edge.server.faults.add(Fault(method="GET", path="*/m/b7.bin", status=status, times=None))
    found = edge.facts("contents")
    assert found["content.verdict"] == "malicious"
    assert found["content.unsafe_imports"].at_least == ("os.system",)
    for name in ("content.files_scanned", "content.files_total"):
        assert isinstance(found[name], Unknown)
        assert found[name].out_of_reach is (status == 503)
    assert ("a.pkl", "pickle") in {(row["path"], row["format"]) for row in found["files"].items}
    assert found["files"].missing == found["content.files_total"].reason
    assert found["files"].out_of_reach is (status == 503)


@pytest.mark.parametrize("bad", ["a.pkl", FOLDER_SIGNATURE])
def test_what_was_seen_of_the_files_when_time_is_up_counts(edge: Edge, bad: str) -> None:
    edge.put({bad: EVIL, **{f"b{number}.bin": b"\0" * 100 for number in range(3)}})
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):  # however busy this machine is
        edge.server.faults.clear()
        edge.server.faults.add(Fault(method="GET", path="*/m/b2.bin", delay=5, times=None))
        facts = gather([edge.collectors()["contents"]], request, deadline=deadline, now=lambda: NOW)
        files = facts.get("files")
        if facts.get("content.verdict") == "malicious" and isinstance(files, Collection):
            break
    assert facts.get("content.verdict") == "malicious"
    assert getattr(facts.get("content.unsafe_imports"), "at_least", None) == ("os.system",)
    assert isinstance(files, Collection)
    assert (bad, "pickle") in {(row["path"], row["format"]) for row in files.items}
    assert "no answer within" in (files.missing or "")
    assert facts.get(OUT_OF_REACH) == (
        "content.files_scanned", "content.files_skipped", "content.files_total", "content.unsafe_imports", "files",
    )  # fmt: skip


def test_files_that_were_looked_into_are_not_clean_for_those_that_come_late(edge: Edge) -> None:
    edge.put(CLEAN)
    request = edge.request()
    for deadline in (0.2, 0.8, 3.2):
        edge.server.faults.clear()
        edge.server.faults.add(Fault(method="GET", path="*/m/model.pkl", delay=5, times=None))
        facts = gather([edge.collectors()["contents"]], request, deadline=deadline, now=lambda: NOW)
        if isinstance(facts.get("files"), Collection):
            break
    assert isinstance(facts.get("files"), Collection)
    assert facts.get(OUT_OF_REACH) == tuple(sorted(ContentsCollector.supplies))


@pytest.mark.parametrize("others", [{}, {"own.pkl": b"cacme\nNet\n."}])
def test_what_could_not_be_looked_into_is_not_called_suspicious_alone(
    edge: Edge, others: dict[str, bytes]
) -> None:
    """A rule against malice blocks what nobody can tell: one more pickle, of unknown names, got it through."""
    edge.put({"model.rds": gzip.compress(b"X\n"), **others})
    found = edge.facts("contents")
    assert isinstance(found["content.verdict"], Unknown)
    assert found["content.files_skipped"] == 1


def test_a_file_of_unknown_size_is_not_clean_by_its_first_bytes(edge: Edge) -> None:
    edge.put({"weights.bin": b"\x00" * 100})
    request = edge.request()
    unsized = replace(
        request.artifact, files=tuple(replace(each, size=None) for each in request.artifact.files)
    )
    facts = gather(
        [edge.collectors()["contents"]], asking(unsized, Action.LOAD), deadline=20, now=lambda: NOW
    )
    assert facts.get("content.verdict") == Unknown(
        "`weights.bin` could not be looked into: its size is not known"
    )


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


@pytest.mark.parametrize("name", ["Requirements.txt", "REQUIREMENTS.TXT", "code/Requirements.Txt"])
def test_packages_are_read_in_any_case_of_the_files_name(edge: Edge, name: str) -> None:
    """MLflow opens it by the small letters, and the disks of macOS and Windows find it."""
    edge.put({"mlMODEL": b"{}", name: b"evil==1.0\n", "Conda.YAML": b"dependencies: [{pip: [worse==2]}]\n"})
    found = edge.facts("dependencies")["dependencies"]
    assert [row["purl"] for row in found.items] == ["pkg:pypi/evil@1.0", "pkg:pypi/worse@2"]


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


@pytest.mark.parametrize("fault", [None, 403, 503])
def test_a_package_is_known_although_another_file_that_declares_some_cannot_be_read(
    edge: Edge, fault: int | None
) -> None:
    """Two MiB of comments in a file beside kept a package out of every rule about it, and out of the question to Xray."""
    pinned = {"MLmodel": CLEAN["MLmodel"], "python_env.yaml": b"dependencies: [torch==2.5.1]\n"}
    edge.put({**pinned, "requirements.txt": b"#" * (9 if fault else 2 << 20)})
    if fault is not None:
        edge.server.faults.add(Fault(method="GET", path="*/m/requirements.txt", times=None, status=fault))
    collectors, request = edge.collectors(), edge.request()
    both = [collectors["dependencies"], collectors["xray"]]
    facts = gather(both, request, deadline=20, now=lambda: NOW)
    declared, advisories = facts.get("dependencies"), facts.get("vulnerabilities")
    assert isinstance(declared, Collection)
    assert isinstance(advisories, Collection)
    assert [row["purl"] for row in declared.items] == ["pkg:pypi/torch@2.5.1"]
    assert "CVE-2025-32434" in {row["cve"] for row in advisories.items}
    assert "requirements.txt" in (declared.missing or "")
    assert "requirements.txt" in (advisories.missing or "")
    assert isinstance(facts.get("xray.malicious"), Unknown)
    assert declared.out_of_reach is advisories.out_of_reach is (fault == 503)
    if fault is not None:
        edge.server.faults.clear()
        declared = gather(both, request, deadline=20, now=lambda: NOW).get("dependencies")
        assert isinstance(declared, Collection)
        assert declared.missing is None, "a failure is not remembered"


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
    files = found.get("files")
    if way == "not named":
        assert isinstance(files, Unknown)
    else:
        assert isinstance(files, Collection)
        assert name not in {row["path"] for row in files.items}
        assert files.missing


def test_a_large_file_of_an_upload_is_known_by_its_head(edge: Edge, tmp_path: Path) -> None:
    weights = b"\x02\0\0\0\0\0\0\0{}" + bytes(100_000)
    asked = staged(edge, tmp_path, {"w.safetensors": weights, "big.pkl": pickle.dumps(bytes(100_000))})
    rows = edge.collectors()["contents"].collect(asked)["files"]
    assert isinstance(rows, Collection)
    assert {row["path"]: row["format"] for row in rows.items} == {
        "w.safetensors": "safetensors",
        "big.pkl": "pickle",
    }


def test_only_parts_are_read_of_what_is_too_large_to_be_held(edge: Edge) -> None:
    weights = field(5, field(9, bytes(3 << 20)))
    escape = entry("tokenizer.chat_template", "{{ ''.__class__.__mro__ }}")
    edge.put({"model.onnx": model(weights * 6 + field(5, tensor(b"../x"))), "b.onnx": model(weights * 6)})
    edge.put({"model.gguf": gguf(escape) + bytes(100_000)})
    found = edge.facts("contents")
    rows = {row["path"]: row["imports"] for row in found["files"].items}
    assert rows["b.onnx"] == ()
    assert rows["model.onnx"] == Unknown(OUTSIDE)
    assert rows["model.gguf"] == ("?template.__class__", "?template.__mro__")
    assert (found["content.files_skipped"], found["content.verdict"]) == (0, "malicious")


def test_where_no_parts_are_handed_out_files_are_read_whole_or_not_clean(edge: Edge) -> None:
    weights = b"\x02\0\0\0\0\0\0\0{}" + bytes(200_000)
    large = weights + bytes(17 << 20)
    edge.put({"w.safetensors": weights, "large.safetensors": large, "evil.pkl": EVIL})
    for name, data in (("w.safetensors", weights), ("large.safetensors", large)):
        edge.server.faults.add(Fault(method="GET", path=f"*/m/{name}", status=200, body=data, times=None))
    found = edge.facts("contents")
    assert found["content.verdict"] == "malicious"
    assert found["content.files_skipped"] == 1
    rows = {row["path"]: row["imports"] for row in found["files"].items}
    assert rows["large.safetensors"] == Unknown("the server hands out no parts of files")
    assert rows["w.safetensors"] == ()
