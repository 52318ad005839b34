"""Attacks and faults on transfers: hostile names, damaged bodies, full disks. Nothing half-written, nothing unrecorded."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.artifactory.address import parse_uri
from governance.audit.entry import EntryKind
from governance.devserver import DevServer, Fault, hostile_listing
from governance.errors import StorageFullError
from plugin.context import DESTINATION_VARIABLE
from plugin.downloads import Downloads
from plugin.errors import (
    BlockedModelError,
    GovernanceUnavailableError,
    GovernedError,
    GovernedStorageError,
    ModelVerificationError,
)
from plugin.listing import Listings
from plugin.transfer import send
from tests.mlflow_tools import POLICIES, Home, environment, make_home


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(tmp_path_factory.mktemp("home"), devserver)
    with environment(made.env):
        yield made


@pytest.fixture
def uri(devserver: DevServer, home: Home, repo: str) -> str:
    return f"artifactory://{devserver.host}/artifactory/{repo}"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def stored(uri: str, tmp_path: Path) -> str:
    """A plain folder with two files; the URI of what holds it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.txt").write_bytes(b"a" * 5000)
    (tmp_path / "src/b.txt").write_bytes(b"b" * 5000)
    get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "folder")
    return uri


@pytest.mark.parametrize(
    "name",
    [
        "../../escape.txt",
        "//etc/cron.d/x",
        "a/../../b",
        "C:/windows/x",
        "a\\..\\b",
        "a/./b",
        "x\x00y",
        "a//b",
    ],
)
def test_a_listing_with_a_hostile_name_writes_nothing(
    devserver: DevServer, stored: str, out: Path, name: str
) -> None:
    devserver.faults.add(hostile_listing(name))
    with pytest.raises(GovernedError):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    with pytest.raises(GovernedError):
        get_artifact_repository(stored).list_artifacts("folder")
    assert list(out.iterdir()) == []
    assert not (out.parent / "escape.txt").exists()


@pytest.mark.parametrize("fault", [{"truncate_at": 1000}, {"corrupt_at": 4000}])
def test_a_damaged_body_releases_nothing_and_is_on_record(
    devserver: DevServer, home: Home, repo: str, stored: str, out: Path, fault: dict[str, int]
) -> None:
    devserver.faults.add(Fault(method="GET", path="*/folder/a.txt", times=None, **fault))  # type: ignore[arg-type]
    with pytest.raises(GovernedError):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    assert list(out.iterdir()) == []
    outcomes = [
        row.entry.body for row in home.entries(EntryKind.OUTCOME, subject=f"{repo}/folder")
        if row.entry.body["action"] == "download"
    ]  # fmt: skip
    assert [body["status"] for body in outcomes] == ["failed"]


def test_what_was_judged_without_a_digest_is_not_handed_out(
    devserver: DevServer, repo: str, home: Home, stored: str, out: Path
) -> None:
    """A server that leaves the SHA-256 out of its listing could hand out any bytes under the decision about it."""
    devserver.faults.add(
        Fault(path=f"*/api/storage/{repo}/*", query="*list*", times=None, rewrite=_without_digests)
    )
    with pytest.raises(ModelVerificationError, match=r"no SHA-256 for `[ab]\.txt`"):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    assert list(out.iterdir()) == []
    (body,) = [
        row.entry.body for row in home.entries(EntryKind.OUTCOME, subject=f"{repo}/folder")
        if row.entry.body["action"] == "download"
    ]  # fmt: skip
    assert (body["status"], body["error"]) == ("failed", "VerificationError")


def _without_digests(body: bytes) -> bytes:
    document = json.loads(body)
    for row in document["files"]:
        row.pop("sha2", None)
    return json.dumps(document).encode()


def test_a_file_swapped_for_a_huge_one_is_cut_off(
    devserver: DevServer, repo: str, stored: str, out: Path
) -> None:
    listing = get_artifact_repository(stored)
    devserver.put_bytes_behind_the_scenes(repo, "folder/a.txt", b"z" * (4 << 20), keep_checksums=True)
    with pytest.raises((ModelVerificationError, BlockedModelError, GovernedStorageError)):
        listing.download_artifacts("folder", str(out))
    assert list(out.iterdir()) == []


class FullDisk(io.FileIO):
    """A disk that is full after 3,000 bytes."""

    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_leaves_nothing(
    devserver: DevServer, home: Home, repo: str, stored: str, out: Path
) -> None:
    def full(place: str) -> BinaryIO:
        return FullDisk(place, "x")

    parts = home.assembly()
    root = parse_uri(stored)
    client = parts.artifactory(root.host)
    downloads = Downloads(
        assembly=parts, client=client, listings=Listings(client, now=parts.now), root=root, opener=full
    )
    with pytest.raises(StorageFullError):
        downloads.into(root / "folder", out)
    assert list(out.iterdir()) == []
    statuses = [
        row.entry.body["status"] for row in parts.log.find(kind=EntryKind.OUTCOME, subject=f"{repo}/folder")
    ]
    assert statuses[-1] == "failed"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "RESOURCE_DOES_NOT_EXIST"),
        (409, "RESOURCE_CONFLICT"),
    ],
)
def test_each_refusal_of_artifactory_has_its_own_code(
    devserver: DevServer, uri: str, tmp_path: Path, status: int, code: str
) -> None:
    devserver.faults.add(Fault(method="PUT", status=status, times=None))
    (tmp_path / "f").write_text("x")
    with pytest.raises(GovernedStorageError) as caught:
        get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
    assert caught.value.error_code == code


def test_wrong_and_expired_tokens(devserver: DevServer, home: Home, uri: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for token in ("not-a-token", devserver.token("alice", expires_in=-10)):
        with (
            environment({**home.env, "ARTIFACTORY_AUTH_TOKEN": token}),
            pytest.raises(GovernedStorageError) as caught,
        ):
            get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
        assert caught.value.error_code == "UNAUTHENTICATED"
        assert token not in str(caught.value)


def test_a_host_that_does_not_answer(home: Home, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    url = "http://127.0.0.1:9"
    with (
        environment({**home.env, "MLGOV_ARTIFACTORY_URL": url}),
        pytest.raises(GovernedStorageError) as caught,
    ):
        get_artifact_repository("artifactory://127.0.0.1:9/artifactory/repo").log_artifact(
            str(tmp_path / "f"), "d"
        )
    assert caught.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_no_right_to_annotate_is_said(
    devserver: DevServer, home: Home, repo: str, uri: str, tmp_path: Path
) -> None:
    token = devserver.add_user(f"plain-{repo}", "x", rights={repo: "rw"})
    (tmp_path / "f").write_text("x")
    with environment({**home.env, "ARTIFACTORY_AUTH_TOKEN": token}), pytest.raises(GovernedStorageError):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")


def test_no_log_no_act(devserver: DevServer, home: Home, repo: str, uri: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    (tmp_path / "blocked.toml").write_text(f'audit_path = "{blocked / "audit.sqlite"}"\n')
    with (
        environment({**home.env, "MLGOV_CONFIG": str(tmp_path / "blocked.toml")}),
        pytest.raises(GovernanceUnavailableError, match="audit_path"),
    ):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
    assert devserver.paths(repo) == ()


def test_a_link_planted_in_the_destination_is_not_followed(stored: str, out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (out / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GovernedStorageError, match="symbolic link"):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_mlmodel_slipped_into_a_subfolder_does_not_narrow_what_is_judged(
    devserver: DevServer, repo: str, uri: str, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / "model"
    (source / "data").mkdir(parents=True)
    (source / "MLmodel").write_text("flavors: {}\n")
    (source / "data/x.bin").write_bytes(b"x")
    get_artifact_repository(uri).log_artifacts(str(source), "model")
    devserver.put(repo, "model/data/MLmodel", b"flavors: {}\n")
    devserver.put_bytes_behind_the_scenes(repo, "model/data/x.bin", b"evil")
    with pytest.raises(BlockedModelError):
        get_artifact_repository(uri).download_artifacts("model/data/x.bin", str(out))


def test_a_single_file_of_a_refused_model_is_refused(
    devserver: DevServer, repo: str, uri: str, tmp_path: Path, out: Path
) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "MLmodel").write_text("flavors: {}\n")
    (source / "weights.bin").write_bytes(b"x")
    get_artifact_repository(uri).log_artifacts(str(source), "model")
    devserver.put_bytes_behind_the_scenes(repo, "model/weights.bin", b"evil")
    for path in ("model/MLmodel", "model/weights.bin", "model"):
        with pytest.raises(BlockedModelError):
            get_artifact_repository(uri).download_artifacts(path, str(out))
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("place", ["model", "box/model", "box"])
def test_a_model_that_is_one_on_other_disks_alone_is_judged_as_one(
    devserver: DevServer, repo: str, uri: str, out: Path, place: str
) -> None:
    """MLflow opens `MLmodel`, and where the disk does not look at case it finds `mlmodel`. As a plain folder it would be no
    business of the rules for models, and go out unsigned."""
    for name in ("mlmodel", "model.pkl"):
        devserver.put(repo, f"{place}{'/model' if place == 'box' else ''}/{name}", b"flavors: {}\n")
    with pytest.raises(BlockedModelError, match="signature is not good"):
        get_artifact_repository(uri).download_artifacts(place, str(out))
    assert list(out.iterdir()) == []


def test_a_signed_model_in_another_ones_place_is_told_by_what_was_signed(
    devserver: DevServer, home: Home, repo: str, uri: str, tmp_path: Path, out: Path
) -> None:
    """The signature holds, since it is about bytes and the key is trusted for the repository; a rule may ask for the name too."""
    places = [f"1/models/m-{digit * 32}/artifacts" for digit in "ab"]
    for place in places:
        source = tmp_path / place
        source.mkdir(parents=True)
        (source / "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {place}\n")
        get_artifact_repository(f"{uri}/{place}").log_artifacts(str(source))
    for name in ("MLmodel", "model.sig"):
        devserver.put(repo, f"{places[1]}/{name}", devserver.read(repo, f"{places[0]}/{name}"))
    get_artifact_repository(f"{uri}/{places[1]}").download_artifacts("", str(out))
    (tmp_path / "strict.yaml").write_text(POLICIES.replace("rules:\n    - id: malicious", _NAMED, 1))
    with environment({**home.env, "MLGOV_POLICY_PATH": str(tmp_path / "strict.yaml")}):
        get_artifact_repository(f"{uri}/{places[0]}").download_artifacts("", str(out))
        with pytest.raises(BlockedModelError, match="signed as `m-aaa"):
            get_artifact_repository(f"{uri}/{places[1]}").download_artifacts("", str(out))


def test_what_holds_the_servers_whole_destination_is_not_deleted(
    devserver: DevServer, home: Home, repo: str, uri: str
) -> None:
    devserver.put(repo, "a/b/1/run/file", b"x")
    with environment({**home.env, DESTINATION_VARIABLE: f"{uri}/a/b"}):
        for place in (uri, f"{uri}/a", f"{uri}/a/b"):
            with pytest.raises(GovernedStorageError, match="root of everything"):
                get_artifact_repository(place).delete_artifacts()
        assert devserver.paths(repo) == ("a/b/1/run/file",)
        get_artifact_repository(f"{uri}/a/b/1").delete_artifacts()
    assert devserver.paths(repo) == ()


_NAMED = """rules:
    - id: another-model
      effect: block
      severity: high
      condition: signature.subject != artifact.name
      onUnknown: match
      message: "signed as `{signature.subject}`"
    - id: malicious"""


@pytest.mark.parametrize("name", ["a.txt", "a.txt/below", "n" * 300])
def test_a_name_that_no_disk_takes_is_a_refusal_and_no_traceback(
    devserver: DevServer, stored: str, out: Path, name: str
) -> None:
    """Named twice, a file and a folder at once, too long."""
    devserver.faults.add(hostile_listing(name))
    with pytest.raises(GovernedStorageError):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    assert list(out.iterdir()) == []


def test_a_size_that_is_not_the_files_own_is_refused(
    devserver: DevServer, repo: str, stored: str, out: Path
) -> None:
    """The policy judged the size, and the record would name it."""
    devserver.faults.add(
        Fault(path=f"*/api/storage/{repo}/*", query="*list*", times=None, rewrite=_one_byte_larger)
    )
    with pytest.raises(ModelVerificationError, match="1 fewer"):
        get_artifact_repository(stored).download_artifacts("folder", str(out))
    assert list(out.iterdir()) == []


def _one_byte_larger(body: bytes) -> bytes:
    document = json.loads(body)
    for row in document["files"]:
        row["size"] += 1
    return json.dumps(document).encode()


def test_an_empty_folder_is_there_when_it_was_fetched(uri: str, out: Path, tmp_path: Path) -> None:
    (tmp_path / "src/empty").mkdir(parents=True)
    get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "folder")
    assert Path(get_artifact_repository(uri).download_artifacts("folder/empty", str(out))).is_dir()


def test_of_two_that_write_one_file_at_once_the_last_one_is_stored_and_signed(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    store = get_artifact_repository(f"{uri}/run")  # one for all threads of a run, as MLflow keeps it
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    slow = devserver.faults.add(Fault(method="PUT", path="*/a.txt.mlgov.sig", delay=0.5))
    with ThreadPoolExecutor(2) as both:
        first = both.submit(store.log_artifact, str(tmp_path / "first/a.txt"))
        while not slow.hits:
            assert not first.done()
            time.sleep(0.01)
        both.submit(store.log_artifact, str(tmp_path / "second/a.txt")).result()
        first.result()
    assert devserver.read(repo, "run/a.txt") == b"second"
    envelope = json.loads(devserver.read(repo, "run/a.txt.mlgov.sig"))["dsseEnvelope"]
    assert hashlib.sha256(b"second").hexdigest() in base64.b64decode(envelope["payload"]).decode()


@pytest.mark.parametrize("after", ["a.txt", "a.txt.mlgov.sig"])
def test_bytes_that_another_process_stored_meanwhile_are_not_taken_for_signed(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path, after: str
) -> None:
    (tmp_path / "a.txt").write_text("ours")

    def overtaken(answer: bytes) -> bytes:
        devserver.put(repo, "run/a.txt", b"theirs", by="bob")
        return answer

    devserver.faults.add(Fault(method="PUT", path=f"*/run/{after}", rewrite=overtaken))
    with pytest.raises(GovernedStorageError, match=r"another upload stored other bytes of `run/a\.txt`"):
        get_artifact_repository(f"{uri}/run").log_artifact(str(tmp_path / "a.txt"))
    assert ("run/a.txt.mlgov.sig" in devserver.paths(repo)) is (after != "a.txt"), (
        "ours would stand over theirs"
    )


@pytest.mark.parametrize("after", ["b.txt", "model.sig"])
def test_a_folder_that_another_process_wrote_to_meanwhile_is_not_taken_for_signed(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path, after: str
) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "src" / name).write_text("ours")

    def overtaken(answer: bytes) -> bytes:
        devserver.put(repo, "run/b.txt", b"theirs", by="bob")
        return answer

    devserver.faults.add(Fault(method="PUT", path=f"*/run/{after}", rewrite=overtaken))
    with pytest.raises(GovernedStorageError, match=r"another upload stored other bytes of `run/b\.txt`"):
        get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "run")


def test_a_folder_is_signed_for_whoever_may_not_list_it(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "src" / name).write_text("ours")
    told = b"This resource is available to authenticated users only."
    devserver.faults.add(Fault(method="GET", path=f"*/{repo}/run", query="list*", status=403, body=told))
    get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "run")
    assert "run/model.sig" in devserver.paths(repo)

    def overtaken(answer: bytes) -> bytes:
        devserver.put(repo, "run/b.txt", b"theirs", by="bob")
        return answer

    devserver.faults.add(Fault(method="PUT", path="*/run/model.sig", rewrite=overtaken))
    with pytest.raises(GovernedStorageError, match=r"another upload stored other bytes of `run/b\.txt`"):
        get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "run")


def test_whose_properties_were_replaced_by_another_upload_is_told_so(
    uri: str, devserver: DevServer, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")

    def others(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["properties"]["mlgov.decision"] = ["of another upload"]
        return json.dumps(answer).encode()

    devserver.faults.add(Fault(method="GET", path="*/m/a.txt", query="properties*", rewrite=others))
    with pytest.raises(GovernedStorageError, match="Those of another upload are there"):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "a.txt"), "m")


LOOKED_INTO = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: looked-into, title: Uploads are looked into, owner: tests@example.org}
spec:
  match: {actions: [upload]}
  default: allow
  rules:
    - id: malicious
      effect: block
      severity: critical
      when: {fact: content.verdict, is: malicious}
      onUnknown: match
      message: "{artifact.ref} is malicious"
      remediation: Do not upload it.
"""


def test_a_file_swapped_after_it_was_looked_into_is_not_stored(
    devserver: DevServer, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused once it lay there, by a server that had not been told what to expect, and the record named it nowhere."""
    (tmp_path / "src").mkdir()
    weights = tmp_path / "src/w.pkl"
    weights.write_bytes(b"\x80\x04].")

    def swapped(*args: Any, **more: Any) -> Any:
        weights.write_bytes(b"cos\n")
        return send(*args, **more)

    monkeypatch.setattr("plugin.uploads.send", swapped)
    home = make_home(tmp_path / "home", devserver, policy=LOOKED_INTO)
    with environment(home.env), pytest.raises(ModelVerificationError, match=r"w\.pkl`: expected"):
        get_artifact_repository(f"artifactory://{devserver.host}/artifactory/{repo}").log_artifacts(
            str(tmp_path / "src"), "m"
        )
    assert devserver.paths(repo) == ()
    (row,) = home.entries(EntryKind.OUTCOME)
    assert (row.entry.body["status"], row.entry.body["error"]) == ("failed", "DigestMismatchError")


def test_a_folder_with_a_name_that_is_not_stored_is_refused_before_anything_is_sent(
    devserver: DevServer, repo: str, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a.txt", "weights.SHA256", "z.txt"):
        (tmp_path / "src" / name).write_text(name)
    with pytest.raises(GovernedStorageError, match="ending of a checksum"):
        get_artifact_repository(uri).log_artifacts(str(tmp_path / "src"), "m")
    assert devserver.paths(repo) == ()


def test_whoever_may_not_annotate_is_told_that_the_files_are_there(
    devserver: DevServer, repo: str, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("a")
    devserver.faults.add(Fault(method="PATCH", path="*/api/metadata/*", status=403))
    with pytest.raises(GovernedStorageError, match="The files are stored"):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "a.txt"), "m")
    assert devserver.paths(repo) == ("m/a.txt", "m/a.txt.mlgov.sig")


def test_whoever_may_not_overwrite_can_go_on_after_an_interrupted_upload(
    devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    model = tmp_path / "src/MLmodel"
    model.write_text("flavors: {}")
    (tmp_path / "src/b.txt").write_text("b")
    home = make_home(tmp_path / "home", devserver, user="ci")
    with environment({**home.env, "MLGOV_TRANSFER_WORKERS": "1"}):
        store = get_artifact_repository(f"artifactory://{devserver.host}/artifactory/{repo}")
        devserver.faults.add(Fault(method="PUT", path="*/b.txt", status=507, times=None))
        with pytest.raises(GovernedStorageError, match="storage is full"):
            store.log_artifacts(str(tmp_path / "src"), "m")
        devserver.faults.clear()
        assert devserver.paths(repo) == ("m/MLmodel",)
        model.write_text("flavors: []")
        with pytest.raises(GovernedStorageError, match="overwrite"):
            store.log_artifacts(str(tmp_path / "src"), "m")
        model.write_text("flavors: {}")
        store.log_artifacts(str(tmp_path / "src"), "m")
    assert devserver.paths(repo) == ("m/MLmodel", "m/b.txt", "m/model.sig")
    bodies = [row.entry.body for row in home.entries(EntryKind.OUTCOME)]
    assert [body["status"] for body in bodies] == ["failed", "failed", "done"]
