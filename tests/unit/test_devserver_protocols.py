"""The Hugging Face and frogml protocols, where the real clients of `tests/conformance` do not reach."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from governance.devserver import DevServer


@pytest.fixture
def call(devserver: DevServer) -> Iterator[Any]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {devserver.token('alice')}"

        def send(method: str, path: str, **options: Any) -> requests.Response:
            return session.request(method, f"{devserver.artifactory_url}{path}", timeout=10, **options)

        yield send


HF = "/api/huggingfaceml"


def test_a_seeded_model_of_a_remote_repository_is_served(devserver: DevServer, call: Any) -> None:
    sha = devserver.add_model("hf-remote", "acme/seeded", {"config.json": b"{}", "sub/w.bin": b"weights"})
    info = call("GET", f"{HF}/hf-remote/api/models/acme/seeded/revision/main").json()
    assert (info["id"], info["sha"]) == ("acme/seeded", sha)
    assert [row["rfilename"] for row in info["siblings"]] == ["config.json", "sub/w.bin"]
    tree = call("GET", f"{HF}/hf-remote/api/models/acme/seeded/tree/{sha}?recursive=true").json()
    assert [(row["type"], row["path"]) for row in tree] == [
        ("file", "config.json"),
        ("directory", "sub"),
        ("file", "sub/w.bin"),
    ]
    below = call("GET", f"{HF}/hf-remote/api/models/acme/seeded/tree/main/sub").json()
    assert [row["path"] for row in below] == ["sub/w.bin"]
    head = call("HEAD", f"{HF}/hf-remote/acme/seeded/resolve/main/sub/w.bin")
    assert (head.headers["X-Repo-Commit"], head.headers["Content-Length"]) == (sha, "7")
    part = call("GET", f"{HF}/hf-remote/acme/seeded/resolve/{sha}/sub/w.bin", headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, b"we")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("acme/none/resolve/main/a", "RepoNotFound"),
        ("acme/known/resolve/v9/a", "RevisionNotFound"),
        ("acme/known/resolve/main/none", "EntryNotFound"),
    ],
)
def test_what_is_missing_is_named(devserver: DevServer, call: Any, path: str, code: str) -> None:
    devserver.add_model("hf-remote", "acme/known", {"a": b"x"})
    answer = call("HEAD", f"{HF}/hf-remote/{path}")
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, code)


def test_uploads_to_a_remote_repository_are_refused(call: Any) -> None:
    answer = call("POST", f"{HF}/hf-remote/api/models/acme/x/preupload/main", json={"files": []})
    assert answer.status_code == 404


def test_large_files_go_through_lfs_and_commits_build_on_each_other(devserver: DevServer, call: Any) -> None:
    root, data = f"{HF}/hf-local", os.urandom(3 << 20)
    oid = hashlib.sha256(data).hexdigest()
    modes = call(
        "POST",
        f"{root}/api/models/acme/lfs/preupload/main",
        json={"files": [{"path": "w", "size": 1 << 30}, {"path": "s", "size": 3}]},
    )
    assert [row["uploadMode"] for row in modes.json()["files"]] == ["lfs", "regular"]
    batch = call(
        "POST",
        f"{root}/acme/lfs.git/info/lfs/objects/batch",
        json={"objects": [{"oid": oid, "size": len(data)}]},
    )
    upload = batch.json()["objects"][0]["actions"]["upload"]
    assert (
        requests.put(upload["href"], data=data[1:], headers=upload["header"], timeout=10).status_code == 400
    )
    assert requests.put(upload["href"], data=data, headers=upload["header"], timeout=10).status_code == 200
    lines = [
        {"key": "header", "value": {"summary": "first"}},
        {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(data)}},
        {
            "key": "file",
            "value": {
                "path": "old/s.txt",
                "content": base64.b64encode(b"abc").decode(),
                "encoding": "base64",
            },
        },
    ]
    assert commit(call, root, lines).status_code == 200
    second = commit(call, root, [{"key": "deletedFolder", "value": {"path": "old"}}]).json()["commitOid"]
    info = call("GET", f"{root}/api/models/acme/lfs").json()
    assert (info["sha"], [row["rfilename"] for row in info["siblings"]]) == (second, ["w.bin"])
    assert call("GET", f"{root}/acme/lfs/resolve/main/w.bin").content == data
    evil = [{"key": "file", "value": {"path": "../../evil", "content": "", "encoding": "base64"}}]
    assert commit(call, root, evil).status_code == 400


def commit(call: Any, root: str, lines: list[dict[str, Any]]) -> requests.Response:
    body = "\n".join(map(json.dumps, lines)).encode()
    answer = call("POST", f"{root}/api/models/acme/lfs/commit/main", data=body)
    assert isinstance(answer, requests.Response)
    return answer


def test_a_blocked_file_tells_hugging_face_users_why(devserver: DevServer, call: Any) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    repo = devserver.create_repository("hf-blocked", package_type="huggingfaceml")
    devserver.add_model(repo, "acme/evil", {"model.pkl": pickle.dumps(Malicious())})
    admin = {"Authorization": f"Bearer {devserver.token('admin')}"}
    rule = {
        "name": "r",
        "criteria": {"malicious_package": True},
        "actions": {"block_download": {"active": True}},
    }
    body: dict[str, Any] = {"name": "hf-policy", "type": "security", "rules": [rule]}
    assert (
        requests.post(
            f"{devserver.xray_url}/api/v2/policies", json=body, headers=admin, timeout=10
        ).status_code
        == 201
    )
    resources = {"resources": [{"type": "repository", "name": repo}]}
    body = {"general_data": {"name": "hf-watch"}, "project_resources": resources}
    body["assigned_policies"] = [{"name": "hf-policy", "type": "security"}]
    assert (
        requests.post(
            f"{devserver.xray_url}/api/v2/watches", json=body, headers=admin, timeout=10
        ).status_code
        == 201
    )
    answer = call("HEAD", f"{HF}/{repo}/acme/evil/resolve/main/model.pkl")
    assert (answer.status_code, answer.headers.get("X-Error-Code")) == (403, None)
    assert "download blocking policy" in answer.headers["X-Error-Message"]


def test_a_frogml_version_appears_when_its_manifest_arrives(devserver: DevServer, call: Any) -> None:
    root = "/api/machinelearning/ml-local/model"
    begun = call("POST", f"{root}/acme/m/start-transaction/v1").json()
    assert begun["filesUploadPath"].startswith("models/acme/m/tmp/v1/")
    assert len(begun["transactionId"]) == 13
    call("PUT", f"/ml-local/{begun['filesUploadPath']}/sub/m.pkl", data=b"weights")
    assert call("GET", f"{root}/entity-manifest/acme/m/v1").status_code == 404
    manifest = {
        "created_date": "2026-01-01T00:00:00.00",
        "model_artifacts": [{"artifact_path": "sub/m.pkl", "size": 7}],
    }
    files = {"modelManifest": json.dumps(manifest), "additionalData": json.dumps({"stage": "dev"})}
    url = f"{root}/entity-manifest/acme/m/v1/{begun['transactionId']}"
    parts = {name: (name, text, "application/octet-stream") for name, text in files.items()}
    assert call("PUT", url, files=parts).status_code == 201
    (row,) = call("GET", f"{root}/entity-manifest/acme/m/v1").json()["model_artifacts"]
    assert row["download_url"] == f"{devserver.artifactory_url}/ml-local/models/acme/m/v1/model/sub/m.pkl"
    assert devserver.item("ml-local", "models/acme/m/v1").properties == {"stage": ("dev",)}
    assert not [path for path in devserver.paths("ml-local") if "models/acme/m/tmp" in path]
    assert call("POST", f"{root}/acme/../../x/start-transaction").status_code in (400, 404)
    assert call("POST", "/api/machinelearning/models-local/model/m/start-transaction").status_code == 404
