"""Other people's live tests against our embedded server, unchanged, at pinned versions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from governance.devserver import DevServer, DevServerConfig
from tests.conformance.suites import environment, prepared, python, run_pytest

# Fails on every server whose licence list is not empty: it compares the rows with a class that `licenses.list` does not
# return (jfrog-xray 0.11.0, tests/test_integration.py, `License` for `LicenseName`).
JFROG_XRAY_KNOWN_FAILURES = {"test_licenses_list"}


@pytest.fixture
def devserver() -> Iterator[DevServer]:
    """A server for one suite alone: what it leaves behind, such as an ignore rule, would count in the tests of others."""
    with DevServer.start(DevServerConfig()) as server:
        yield server


def watch_repository(devserver: DevServer, repo: str, admin: dict[str, str]) -> None:
    """A watch with violations, one of them ignored, so that the suite has something to read."""
    rule = {"name": "r", "priority": 1, "criteria": {"min_severity": "Low"}, "actions": {"fail_build": True}}
    resources = [{"type": "repository", "bin_mgr_id": "default", "name": repo, "repo_type": "local"}]
    bodies: list[tuple[str, dict[str, object]]] = [
        ("v2/policies", {"name": "suite-policy", "type": "security", "rules": [rule]}),
        (
            "v2/watches",
            {
                "general_data": {"name": "suite-watch", "active": True},
                "project_resources": {"resources": resources},
                "assigned_policies": [{"name": "suite-policy", "type": "security"}],
            },
        ),
        ("v1/ignore_rules", {"notes": "trial", "ignore_filters": {"cves": ["CVE-2020-1747"]}}),
    ]
    for path, body in bodies:
        answer = requests.post(f"{devserver.xray_url}/api/{path}", json=body, headers=admin, timeout=10)
        assert answer.status_code == 201, answer.text


def test_jfrog_xray_live_tests(devserver: DevServer, repo: str, tmp_path: Path) -> None:
    folder = prepared()
    devserver.put(repo, "app/requirements.txt", b"PyYAML==5.3\nscikit-learn==1.4.0\n")
    admin = {"Authorization": f"Bearer {devserver.token('admin')}"}
    item = devserver.item(repo, "app/requirements.txt")
    watch_repository(devserver, repo, admin)
    artifact = {"name": item.name, "sha256": item.content.sha256, "sha1": item.content.sha1}
    build: dict[str, object] = {"name": "nightly", "number": "7", "started": "2026-11-22T00:00:00.000Z"}
    build["modules"] = [{"id": "m", "artifacts": [artifact]}]
    assert requests.put(f"{devserver.artifactory_url}/api/build", json=build, headers=admin, timeout=10).ok
    found = run_pytest(
        folder,
        "jfrog_xray-0.11.0",
        ["-m", "integration", "tests/test_integration.py"],
        tmp_path,
        {
            "XRAY_URL": devserver.url,
            "XRAY_TOKEN": devserver.token("admin"),
            "XRAY_TEST_ARTIFACT_PATH": f"default/{repo}/app/requirements.txt",
            "XRAY_TEST_ARTIFACT_SHA256": item.content.sha256,
            "XRAY_TEST_REPO": repo,
            "XRAY_TEST_ARTIFACT_SUBPATH": "app/requirements.txt",
            "XRAY_TEST_BUILD_NAME": "nightly",
            "XRAY_TEST_BUILD_NUMBER": "7",
            "XRAY_TEST_CVE": "CVE-2020-14343",
            "XRAY_TEST_WATCH": "suite-watch",
            "XRAY_TEST_EXPORT_COMPONENT": "pyyaml:5.3",
            "XRAY_TEST_EXPORT_PKGTYPE": "pypi",
        },
    )
    assert len(found) == 12
    assert {name for name, outcome in found.items() if outcome != "passed"} == JFROG_XRAY_KNOWN_FAILURES


def test_frogml_storage_integration(devserver: DevServer, tmp_path: Path) -> None:
    folder = prepared()
    found = run_pytest(
        folder,
        "frogml-2.1.152",
        [
            "tests/frogml/frogml_storage/integrations/test_artifactory_integration.py",
            f"--rt_access_token={devserver.token('admin')}",
        ],
        tmp_path,
        {"ARTIFACTORY_URL": devserver.url},
    )
    # The model test is switched off by its authors.
    assert found == {"test_store_load_datasets": "passed", "test_store_load_models": "skipped"}


FROGML_MODELS = """
import sys
from pathlib import Path
from frogml.storage.authentication.models import AuthConfig
from frogml.storage.frog_ml import FrogMLStorage
from frogml.storage.models.serialization_metadata import SerializationMetadata
url, token, source, target, repo = sys.argv[1:]
storage = FrogMLStorage(AuthConfig.by_access_token(url, token))
kind = SerializationMetadata(framework="files", framework_version="", serialization_format="pkl", runtime="python", runtime_version="3.12")
code = Path(source).parent / "code.zip"
code.write_bytes(b"PK")
pins = Path(source).parent / "requirements.txt"
pins.write_text("PyYAML==6.0.2")
stored = storage.upload_model_version(repository=repo, model_name="tiny", namespace="acme", model_path=source, model_type=kind,
    properties={"stage": "trial"}, dependencies_files_paths=[str(pins)], code_archive_file_path=str(code))
manifest = storage.get_entity_manifest("model", repo, "acme", "tiny", stored.version)
assert manifest["dependency_artifacts"][0]["download_url"].endswith("/dependencies/requirements.txt"), manifest
assert manifest["code_artifacts"]["download_url"].endswith("/code/code.zip"), manifest
storage.download_model_version(repository=repo, namespace="acme", model_name="tiny", version=stored.version, target_path=target)
assert (Path(target) / "sub/model.pkl").read_bytes() == (Path(source) / "sub/model.pkl").read_bytes()
print("stored and loaded")
"""


def test_frogml_stores_and_loads_a_model(devserver: DevServer, tmp_path: Path) -> None:
    """The suite's own model test cannot pass from the sdist (it counts on a folder without `__init__.py`)."""
    folder = prepared()
    source, target = tmp_path / "model", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub/model.pkl").write_bytes(b"weights")
    target.mkdir()
    repo = devserver.create_repository("frogml-suite-local", package_type="machinelearning")
    done = subprocess.run(
        [python(folder), "-c", FROGML_MODELS, devserver.url, devserver.token("alice"), source, target, repo],
        env=environment(tmp_path, {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "stored and loaded" in done.stdout, done.stderr[-3000:]
    version = next(path for path in devserver.paths(repo) if path.endswith("model-manifest.json"))
    assert devserver.item(repo, version.rpartition("/")[0]).properties == {"stage": ("trial",)}


HUGGINGFACE = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
folder, target = Path(sys.argv[1]), Path(sys.argv[2])
api = HfApi()
commit = api.upload_folder(repo_id="acme/tiny", folder_path=folder)
again = api.upload_file(path_or_fileobj=b"later", path_in_repo="notes/later.txt", repo_id="acme/tiny")
assert api.model_info("acme/tiny").sha == again.oid
for name, revision in (("branch", "main"), ("commit", commit.oid)):
    got = Path(snapshot_download("acme/tiny", revision=revision, local_dir=target / name))
    for file in ("config.json", "weights/model.safetensors", "README.md"):
        assert (got / file).read_bytes() == (folder / file).read_bytes(), file
    assert (got / "notes/later.txt").exists() == (name == "branch")
for error, repo_id, file, revision in (
    (EntryNotFoundError, "acme/tiny", "missing.txt", "main"),
    (RepositoryNotFoundError, "acme/other", "config.json", "main"),
    (RevisionNotFoundError, "acme/tiny", "config.json", "v9"),
):
    try:
        hf_hub_download(repo_id, file, revision=revision)
    except error:
        continue
    raise SystemExit(f"{error.__name__} expected")
print("snapshots agree")
"""


def test_huggingface_hub_uploads_and_snapshots(devserver: DevServer, tmp_path: Path) -> None:
    folder = prepared()
    source = tmp_path / "model"
    (source / "weights").mkdir(parents=True)
    (source / "config.json").write_text('{"hidden_size": 8}')
    (source / "README.md").write_text("---\nlicense: mit\n---\n# tiny\n")
    (source / "weights/model.safetensors").write_bytes(bytes(range(256)) * 8192)
    done = subprocess.run(
        [python(folder), "-c", HUGGINGFACE, source, tmp_path / "target"],
        env=environment(
            tmp_path,
            {
                "HF_ENDPOINT": f"{devserver.artifactory_url}/api/huggingfaceml/hf-local",
                "HF_TOKEN": devserver.token("alice"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
            },
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "snapshots agree" in done.stdout, done.stderr[-3000:]
