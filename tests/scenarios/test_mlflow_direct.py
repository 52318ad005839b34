"""MLflow's verbs straight to Artifactory, through MLflow's own registry."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from plugin.errors import BlockedModelError, GovernanceUnavailableError, GovernedStorageError
from tests.mlflow_tools import NASTY_NAMES, NOT_THROUGH_MLFLOW, Home, environment, make_home

MODEL = "m-" + "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(tmp_path_factory.mktemp("home"), devserver)
    with environment(made.env):
        yield made


@pytest.fixture
def uri(devserver: DevServer, home: Home, repo: str) -> str:
    return f"artifactory://{devserver.host}/artifactory/{repo}"


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "MLmodel").write_text("flavors:\n  python_function: {}\n  sklearn: {}\n")
    # Begins as no pickle does: what it is taken for must not be left to chance.
    (path / "model.bin").write_bytes(b"\xff" + os.urandom(3000))
    (path / "data").mkdir()
    (path / "data/empty.txt").write_bytes(b"")
    (path / "hollow/inner").mkdir(parents=True)
    return path


def files_below(path: Path) -> dict[str, bytes | None]:
    return {
        str(item.relative_to(path)): item.read_bytes() if item.is_file() else None
        for item in sorted(path.rglob("*"))
    }


def listed(repository: Any, path: str | None = None) -> list[tuple[str, bool]]:
    return [(info.path, info.is_dir) for info in repository.list_artifacts(path)]


@pytest.mark.parametrize("name", [*NASTY_NAMES, *NOT_THROUGH_MLFLOW])
def test_a_file_with_any_name_comes_back(uri: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(name.encode())
    repository = get_artifact_repository(f"{uri}/run")
    repository.log_artifact(str(tmp_path / name), "some folder;x")
    assert listed(repository, "some folder;x") == [(f"some folder;x/{name}", False)]
    (tmp_path / "out").mkdir()
    found = repository.download_artifacts(f"some folder;x/{name}", str(tmp_path / "out"))
    assert found == str(tmp_path / "out/some folder;x" / name)
    assert Path(found).read_bytes() == name.encode()


@pytest.mark.parametrize("name", ["question?.txt", 'quote".txt', "star*.txt", "checksum.sha256"])
def test_a_name_that_artifactory_does_not_take_is_refused(uri: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(GovernedStorageError):
        get_artifact_repository(uri).log_artifact(str(tmp_path / name), "d")


def test_a_lone_file_is_signed_beside_itself_and_annotated(
    uri: str, repo: str, devserver: DevServer, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    get_artifact_repository(uri).log_artifact(str(tmp_path / "notes.txt"), "r")
    assert devserver.paths(repo) == ("r/notes.txt", "r/notes.txt.mlgov.sig")
    client = home.assembly().artifactory(devserver.host)
    properties = client.properties(repo, "r/notes.txt")
    bundle = client.info(repo, "r/notes.txt.mlgov.sig").sha256
    assert properties["mlgov.digest"] == (f"sha256:{client.info(repo, 'r/notes.txt').sha256}",)
    assert properties["mlgov.signature"] == (bundle,)
    decision = home.assembly().log.get(properties["mlgov.decision"][0])
    assert decision is not None
    assert decision.entry.kind is EntryKind.DECISION
    assert properties["mlgov.user"][0].startswith("claimed:")
    envelope = json.loads(devserver.read(repo, "r/notes.txt.mlgov.sig"))["dsseEnvelope"]
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    assert subject["annotations"]["mlgov.claimed.host"] == platform.node()


def test_under_a_pseudonym_no_document_of_the_log_names_who_uploaded(
    uri: str, devserver: DevServer, tmp_path: Path
) -> None:
    """Nor what is signed, of which the log keeps a copy, nor the facts of whoever reads what this plugin wrote on the file."""
    home = make_home(tmp_path / "home", devserver)
    (tmp_path / "pseudonyms.key").write_bytes(b"k" * 32)
    (home.path / "mlgov.toml").write_text(f'audit_pseudonym_key = "{tmp_path}/pseudonyms.key"\n')
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "out").mkdir()
    with environment({**home.env, "LOGNAME": "zaphod"}):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "notes.txt"), "r")
        get_artifact_repository(uri).download_artifacts("r/notes.txt", str(tmp_path / "out"))
    with contextlib.closing(home.assembly()) as parts:
        names = [info.sha256 for info in parts.log.store.evidence_list()]
        documents = [parts.log.evidence(name) or b"" for name in names]
        documents += [stored.data for stored in parts.log.find()]
    signed = [
        base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"])
        for data in documents
        if b"dsseEnvelope" in data
    ]
    assert any(b'"mlgov.uploader":"p:' in payload for payload in signed)
    assert any(b'"value":"claimed:p:' in data for data in documents)
    own = f'host":"{platform.node()}"'.encode()
    assert [data for data in (*documents, *signed) if b"zaphod" in data or own in data] == []


def test_a_folder_goes_up_whole_and_comes_back_whole(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    source = model_folder(tmp_path / "model")
    root = f"{uri}/1/models/{MODEL}/artifacts"
    get_artifact_repository(root).log_artifacts(str(source))
    assert f"1/models/{MODEL}/artifacts/model.sig" in devserver.paths(repo)
    (tmp_path / "out").mkdir()
    found = get_artifact_repository(root).download_artifacts("", str(tmp_path / "out"))
    assert found == str(tmp_path / "out")
    back = files_below(Path(found))
    assert back.pop("model.sig")
    assert back == files_below(source)


def test_every_way_to_ask_for_a_model_gives_the_same_files(uri: str, tmp_path: Path) -> None:
    source = model_folder(tmp_path / "model")
    model = f"{uri}/1/models/{MODEL}"
    get_artifact_repository(model).log_artifacts(str(source), "artifacts")
    for number, (root, path) in enumerate(
        [
            (f"{model}/artifacts", ""),
            (f"{model}/artifacts", None),
            (model, "artifacts"),
            (uri, f"1/models/{MODEL}/artifacts"),
        ]
    ):
        out = tmp_path / f"out{number}"
        out.mkdir()
        found = Path(get_artifact_repository(root).download_artifacts(path, str(out)))
        assert found == out / (path or "")
        assert files_below(found).keys() - {"model.sig"} == files_below(source).keys()


def test_a_subfolder_alone(uri: str, tmp_path: Path) -> None:
    root = f"{uri}/1/models/{MODEL}/artifacts"
    get_artifact_repository(root).log_artifacts(str(model_folder(tmp_path / "model")))
    (tmp_path / "out").mkdir()
    found = get_artifact_repository(root).download_artifacts("data", str(tmp_path / "out"))
    assert files_below(Path(found)) == {"empty.txt": b""}
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out/data"]


def test_listing(uri: str, tmp_path: Path) -> None:
    repository = get_artifact_repository(f"{uri}/run")
    for name in ("foo/a.txt", "foobar/b.txt", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("12345")
    assert listed(repository) == []
    repository.log_artifacts(str(tmp_path / "foo"), "foo")
    repository.log_artifacts(str(tmp_path / "foobar"), "foobar")
    repository.log_artifact(str(tmp_path / "c.txt"))
    assert listed(repository) == [("c.txt", False), ("foo", True), ("foobar", True)]
    assert listed(repository, "foo") == [("foo/a.txt", False), ("foo/model.sig", False)]
    assert listed(repository, "foo/") == listed(repository, "foo")
    assert listed(repository, "fo") == []
    assert listed(repository, "c.txt") == []
    assert listed(repository, "foo/a.txt") == []
    sizes = {info.path: info.file_size for info in repository.list_artifacts()}
    assert (sizes["c.txt"], sizes["foo"]) == (5, None)


def test_download_into_nowhere_and_into_a_file(uri: str, tmp_path: Path) -> None:
    repository = get_artifact_repository(f"{uri}/run")
    (tmp_path / "f").write_text("x")
    repository.log_artifact(str(tmp_path / "f"))
    with pytest.raises(MlflowException, match="does not exist"):
        repository.download_artifacts("f", str(tmp_path / "no"))
    with pytest.raises(MlflowException, match="must be a directory"):
        repository.download_artifacts("f", str(tmp_path / "f"))
    assert Path(repository.download_artifacts("f")).read_text() == "x"


def test_what_is_not_there(uri: str, tmp_path: Path) -> None:
    repository = get_artifact_repository(f"{uri}/run")
    assert list(Path(repository.download_artifacts("", str(tmp_path))).iterdir()) == []
    with pytest.raises(GovernedStorageError) as caught:
        repository.download_artifacts("no/such", str(tmp_path))
    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_is_not_there_is_a_mistake_and_not_an_empty_run(
    devserver: DevServer, home: Home
) -> None:
    repository = get_artifact_repository(f"artifactory://{devserver.host}/artifactory/no-such-local/run")
    with pytest.raises(GovernedStorageError):
        repository.list_artifacts()


@pytest.mark.parametrize("path", ["/abs", "../x", "a/../../x", ".", "//"])
def test_bad_artifact_paths_are_refused(uri: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("x")
    repository = get_artifact_repository(f"{uri}/run")
    with pytest.raises(MlflowException):
        repository.log_artifact(str(tmp_path / "f"), path)
    with pytest.raises(MlflowException):
        repository.log_artifacts(str(tmp_path), path)


def test_delete(uri: str, repo: str, devserver: DevServer, tmp_path: Path) -> None:
    repository = get_artifact_repository(f"{uri}/run")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x")
        repository.log_artifact(str(tmp_path / name))
    repository.delete_artifacts("a.txt")
    assert devserver.paths(repo) == ("run/b.txt", "run/b.txt.mlgov.sig")
    repository.delete_artifacts("a.txt")
    repository.delete_artifacts()
    assert devserver.paths(repo) == ()
    repository.delete_artifacts()


def test_a_repository_is_never_deleted(uri: str, repo: str, devserver: DevServer, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    repository = get_artifact_repository(uri)
    repository.log_artifact(str(tmp_path / "f"), "d")
    with pytest.raises(GovernedStorageError, match="not deleted"):
        repository.delete_artifacts()
    assert "d/f" in devserver.paths(repo)


@pytest.mark.parametrize("word", ["True", "true", "1", "yes", "TRUE"])
def test_the_skip_switch_keeps_files_and_says_so(
    uri: str,
    repo: str,
    devserver: DevServer,
    home: Home,
    tmp_path: Path,
    word: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "f").write_text("x")
    get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
    with environment({**home.env, "ARTIFACTORY_ARTIFACTS_DELETE_SKIP": word}):
        get_artifact_repository(uri).delete_artifacts("d")
    assert "d/f" in devserver.paths(repo)
    assert "stays in Artifactory" in caplog.text


def test_a_part_is_deleted_and_the_rest_stays_loadable(uri: str, tmp_path: Path) -> None:
    root = f"{uri}/1/models/{MODEL}/artifacts"
    get_artifact_repository(root).log_artifacts(str(model_folder(tmp_path / "model")))
    get_artifact_repository(root).delete_artifacts("data")
    (tmp_path / "out").mkdir()
    found = get_artifact_repository(root).download_artifacts("", str(tmp_path / "out"))
    assert files_below(Path(found)).keys() == {"MLmodel", "model.bin", "model.sig", "hollow", "hollow/inner"}


def test_a_later_edit_is_signed_with_the_rest(uri: str, tmp_path: Path) -> None:
    source = model_folder(tmp_path / "model")
    parent = f"{uri}/1/models/{MODEL}"
    get_artifact_repository(f"{parent}/artifacts").log_artifacts(str(source))
    (source / "MLmodel").write_text("flavors: {python_function: {}}\n")
    # This is how `mlflow.models.set_signature` does it.
    get_artifact_repository(parent).log_artifact(str(source / "MLmodel"), "artifacts")
    (tmp_path / "out").mkdir()
    found = get_artifact_repository(f"{parent}/artifacts").download_artifacts("", str(tmp_path / "out"))
    assert files_below(Path(found))["MLmodel"] == (source / "MLmodel").read_bytes()


def test_an_edit_does_not_sign_what_somebody_else_put_there(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    source = model_folder(tmp_path / "model")
    root = f"{uri}/1/models/{MODEL}/artifacts"
    get_artifact_repository(root).log_artifacts(str(source))
    devserver.put(repo, f"1/models/{MODEL}/artifacts/planted.py", b"import os")
    devserver.put_bytes_behind_the_scenes(repo, f"1/models/{MODEL}/artifacts/model.bin", b"other")
    get_artifact_repository(root).log_artifact(str(source / "MLmodel"))
    with pytest.raises(BlockedModelError, match="files-differ"):
        get_artifact_repository(root).download_artifacts("", str(tmp_path))


def test_an_edit_does_not_sign_a_loss_away(uri: str, repo: str, devserver: DevServer, tmp_path: Path) -> None:
    source = model_folder(tmp_path / "model")
    root = f"{uri}/1/models/{MODEL}/artifacts"
    get_artifact_repository(root).log_artifacts(str(source))
    # Deleted in Artifactory, by somebody who did not ask us.
    import requests

    place = f"{devserver.artifactory_url}/{repo}/1/models/{MODEL}/artifacts/model.bin"
    requests.delete(
        place, headers={"Authorization": f"Bearer {devserver.token('admin')}"}, timeout=10
    ).raise_for_status()
    get_artifact_repository(root).log_artifact(str(source / "MLmodel"))
    with pytest.raises(BlockedModelError, match="files-differ"):
        get_artifact_repository(root).download_artifacts("", str(tmp_path))


def test_plain_folders_beside_older_files_are_signed_file_by_file(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    (tmp_path / "first.txt").write_text("1")
    (tmp_path / "more/sub").mkdir(parents=True)
    (tmp_path / "more/sub/second.txt").write_text("2")
    repository = get_artifact_repository(f"{uri}/run")
    repository.log_artifact(str(tmp_path / "first.txt"))
    repository.log_artifacts(str(tmp_path / "more"))
    assert devserver.paths(repo) == (
        "run/first.txt",
        "run/first.txt.mlgov.sig",
        "run/sub/second.txt",
        "run/sub/second.txt.mlgov.sig",
    )


def test_links_inside_a_folder_are_refused_before_anything_is_sent(
    uri: str, repo: str, devserver: DevServer, tmp_path: Path
) -> None:
    source = model_folder(tmp_path / "model")
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(GovernedStorageError, match="symbolic link"):
        get_artifact_repository(f"{uri}/run").log_artifacts(str(source))
    assert devserver.paths(repo) == ()


@pytest.mark.parametrize("kind", ["a pipe", "links in a circle", "no name at all", "nothing"])
def test_what_cannot_be_read_is_refused_and_nobody_waits_for_it(uri: str, tmp_path: Path, kind: str) -> None:
    """To open a pipe is to wait for whoever writes to it: for ever, where nobody does."""
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "links in a circle").symlink_to("links in a circle")
    name = "a\0b" if kind == "no name at all" else kind
    with pytest.raises(GovernedStorageError):
        get_artifact_repository(uri).log_artifact(str(tmp_path / name), "d")
    assert get_artifact_repository(uri).list_artifacts("d") == []


def test_a_blocked_upload_sends_nothing_and_is_on_record(
    uri: str, repo: str, devserver: DevServer, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "forbidden.txt").write_text("x")
    with pytest.raises(BlockedModelError) as caught:
        get_artifact_repository(uri).log_artifact(str(tmp_path / "forbidden.txt"), "d")
    assert devserver.paths(repo) == ()
    error = caught.value
    assert [finding.rule for finding in error.findings] == ["test-rest/forbidden-name"]
    (outcome,) = [row.entry for row in home.entries(EntryKind.OUTCOME, subject=f"{repo}/d/forbidden.txt")]
    assert (outcome.body["status"], outcome.body["decision"]) == ("refused", error.decision_id)


def test_uploads_without_a_key_are_refused_where_they_must_be_signed(
    uri: str, devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    keyless = make_home(tmp_path / "keyless", devserver, key=False)
    (tmp_path / "f").write_text("x")
    with environment(keyless.env), pytest.raises(GovernanceUnavailableError, match="mlgov keys init"):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
    assert devserver.paths(repo) == ()
    with environment({**keyless.env, "MLGOV_SIGNING": "when-key"}):
        get_artifact_repository(uri).log_artifact(str(tmp_path / "f"), "d")
    assert devserver.paths(repo) == ("d/f",)


def test_a_run_goes_on_with_the_token_that_a_notebook_was_given_since(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x")
    good = os.environ["ARTIFACTORY_AUTH_TOKEN"]
    repository = get_artifact_repository(f"{uri}/run")  # MLflow keeps it for the run
    repository.log_artifact(str(tmp_path / "a.txt"))
    for token in ("no-such-token", good):
        monkeypatch.setenv("ARTIFACTORY_AUTH_TOKEN", token)
        verbs = [
            lambda: repository.log_artifact(str(tmp_path / "a.txt"), "b"),
            lambda: repository.log_artifacts(str(tmp_path), "c"),
            repository.list_artifacts,
            lambda: repository.download_artifacts("a.txt"),
            lambda: repository.delete_artifacts("b"),
        ]
        for verb in verbs:
            if token == good:
                verb()
            else:
                with pytest.raises(GovernedStorageError, match="not authenticated"):
                    verb()


def test_trace_data_goes_both_ways(uri: str) -> None:
    repository = get_artifact_repository(f"{uri}/traces/tr-1/artifacts")
    repository.upload_trace_data(json.dumps({"spans": []}))
    assert repository.download_trace_data() == {"spans": []}


def test_the_repository_takes_what_later_versions_of_mlflow_may_pass(uri: str, home: Home) -> None:
    from plugin.entry import artifactory_repository

    made = artifactory_repository(uri, tracking_uri=None, registry_uri=None, workspace="later")
    assert made.artifact_uri == uri


def test_the_debug_switch_shows_requests_and_no_token(uri: str, home: Home, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository as g\n"
        "g(sys.argv[1]).list_artifacts()\n"
    )
    env = {**home.env, "ARTIFACTORY_DEBUG": "yes", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, uri], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert "GET /artifactory/api/storage/" in done.stderr
    assert done.stdout == ""
    assert home.env["ARTIFACTORY_AUTH_TOKEN"] not in done.stderr
