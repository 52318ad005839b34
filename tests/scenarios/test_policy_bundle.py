"""A signed policy bundle on its way: made by the command line, taken from a file, from Artifactory and from a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import chdir
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from governance.cli.main import main
from governance.devserver.server import DevServer
from governance.errors import PolicyInvalidError, SettingsError
from governance.settings import Settings
from governance.wiring import build_assembly
from tests.full_disk import full_above
from tests.mlflow_tools import environment
from tests.scenarios.cli import run_cli

PASSPHRASE = "correct horse"
POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {{name: trial}}
spec: {{match: {{actions: [load]}}, default: allow, rules: []}}
---
apiVersion: mlgov/v1
kind: PolicySet
metadata: {{name: acme, revision: {revision}}}
spec: {{bindings: [{{policies: ["*"], environments: ["*"], mode: enforce}}]}}
"""


def mlgov(home: Path, *words: str) -> None:
    with environment({"MLGOV_HOME": str(home), "MLGOV_KEY_PASSPHRASE": PASSPHRASE}), chdir(home):
        assert main(list(words)) == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a key, its trust file, and two revisions of a bundle."""
    home = tmp_path_factory.mktemp("home")
    mlgov(home, "keys", "init")
    for revision in (1, 2):
        folder = home / f"policies-{revision}"
        folder.mkdir()
        (folder / "trial.yaml").write_text(POLICY.format(revision=revision))
        mlgov(
            home, "policy", "bundle", str(folder), "--name", "acme", "--revision", str(revision),
            "--output", str(home / f"bundle-{revision}.tar"),
        )  # fmt: skip
    return home


def settings(home: Path, tmp_path: Path, location: str, **more: object) -> Settings:
    (tmp_path / "home").mkdir(exist_ok=True)
    return Settings(
        home=tmp_path / "home",
        trust=home / "trust.json",
        policy_bundle=location,
        policy_bundle_name="acme",
        **more,  # type: ignore[arg-type]
    )


def revision(found: Settings) -> int | None:
    return build_assembly(found).policies.current().revision


@pytest.mark.parametrize(
    ("folder", "output", "message"),
    [
        (
            "policies-1",
            "nowhere/b.tar",
            "`{home}/nowhere/b.tar` cannot be written: No such file or directory",
        ),
        ("policies-1/trial.yaml", "b.tar", "`{home}/policies-1/trial.yaml` is not a folder"),
    ],
)
def test_what_cannot_be_packed_says_why(home: Path, folder: str, output: str, message: str) -> None:
    done = run_cli(
        "policy", "bundle", str(home / folder), "--name", "acme", "--revision", "1", "--output", str(home / output),
        variables={"MLGOV_HOME": str(home), "MLGOV_KEY_PASSPHRASE": PASSPHRASE},
    )  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert message.format(home=home) in done.err


def test_from_a_file(home: Path, tmp_path: Path) -> None:
    assert revision(settings(home, tmp_path, str(home / "bundle-1.tar"))) == 1


def test_one_that_a_full_disk_cannot_take_leaves_the_one_that_is_in_use(home: Path, tmp_path: Path) -> None:
    """Whoever starts next would be without a policy, which refuses everything."""
    output = tmp_path / "bundle.tar"
    output.write_bytes((home / "bundle-1.tar").read_bytes())
    output.chmod(0o640)
    words = ("policy", "bundle", str(home / "policies-2"), "--name", "acme", "--revision", "2", "--output")
    with environment({"MLGOV_HOME": str(home), "MLGOV_KEY_PASSPHRASE": PASSPHRASE}), full_above(1_000):
        assert main([*words, str(output)]) == 2
    assert revision(settings(home, tmp_path, str(output))) == 1
    mlgov(home, *words, str(output))
    assert revision(settings(home, tmp_path, str(output))) == 2
    assert output.stat().st_mode & 0o777 == 0o640
    (tmp_path / "link.tar").symlink_to(output)
    mlgov(home, *words, str(tmp_path / "link.tar"))
    assert (tmp_path / "link.tar").is_symlink()


def test_in_place_of_files(home: Path, tmp_path: Path) -> None:
    """`MLGOV_POLICY_PATH` names a folder, or a signed bundle."""
    (tmp_path / "home").mkdir()
    found = Settings(home=tmp_path / "home", trust=home / "trust.json", policy_path=home / "bundle-1.tar")
    with pytest.raises(SettingsError, match="without the name of the set"):
        revision(found)
    assert revision(found.model_copy(update={"policy_bundle_name": "acme"})) == 1
    variables = {"MLGOV_HOME": str(tmp_path / "home"), "MLGOV_POLICY_PATH": str(home / "bundle-1.tar")}
    done = run_cli("policy", "test", variables=variables)
    assert (done.code, done.out) == (2, "")
    assert "bundle-1.tar` is a signed bundle, and this reads policy files" in done.err
    variables |= {"MLGOV_POLICY_BUNDLE_NAME": "acme", "MLGOV_TRUST": str(home / "trust.json")}
    done = run_cli("doctor", "--offline", variables=variables)
    assert "from signed bundle" in done.out, done.out + done.err


def test_policy_files_beside_a_bundle_are_refused_and_not_left_out(home: Path, tmp_path: Path) -> None:
    found = settings(home, tmp_path, str(home / "bundle-1.tar"))
    both = found.model_copy(update={"policy_path": home / "policies-1"})
    with pytest.raises(SettingsError, match="both `MLGOV_POLICY_BUNDLE` and `MLGOV_POLICY_PATH` are set"):
        revision(both)
    variables = {"MLGOV_HOME": str(tmp_path / "home"), "MLGOV_TRUST": str(home / "trust.json")}
    variables |= {"MLGOV_POLICY_BUNDLE": str(home / "bundle-1.tar"), "MLGOV_POLICY_BUNDLE_NAME": "acme"}
    variables |= {"MLGOV_POLICY_PATH": str(home / "policies-1")}
    done = run_cli("doctor", "--offline", variables=variables)
    assert "the policy comes from one place" in " ".join(done.out.split()), done.out + done.err
    assert run_cli("policy", "check", variables=variables).code == 0, (
        "files are checked before they are packed"
    )


def test_an_older_one_is_a_rollback_also_after_a_restart(home: Path, tmp_path: Path) -> None:
    assert revision(settings(home, tmp_path, str(home / "bundle-2.tar"))) == 2
    with pytest.raises(PolicyInvalidError, match="rollback"):
        revision(settings(home, tmp_path, str(home / "bundle-1.tar")))


def test_another_one_under_the_same_number_is_refused_also_after_a_restart(
    home: Path, tmp_path: Path
) -> None:
    assert revision(settings(home, tmp_path, str(home / "bundle-2.tar"))) == 2
    (tmp_path / "policies").mkdir()
    swapped = POLICY.format(revision=2).replace("actions: [load]", "actions: [delete]")
    (tmp_path / "policies/trial.yaml").write_text(swapped)
    mlgov(
        home, "policy", "bundle", str(tmp_path / "policies"), "--name", "acme", "--revision", "2",
        "--output", str(tmp_path / "bundle.tar"),
    )  # fmt: skip
    with pytest.raises(PolicyInvalidError, match="others under the same number"):
        revision(settings(home, tmp_path, str(tmp_path / "bundle.tar")))


def test_a_changed_one_is_refused(home: Path, tmp_path: Path) -> None:
    data = (home / "bundle-1.tar").read_bytes()
    (tmp_path / "changed.tar").write_bytes(data.replace(b"default: allow", b"default: block"))
    with pytest.raises(PolicyInvalidError):
        revision(settings(home, tmp_path, str(tmp_path / "changed.tar")))


def test_the_key_must_have_the_role(home: Path, tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    text = (home / "trust.json").read_text()
    assert '"policy"' in text
    trust.write_text(text.replace('"policy"', '"waiver"'))
    trust.chmod(0o600)
    found = settings(home, tmp_path, str(home / "bundle-1.tar")).model_copy(update={"trust": trust})
    with pytest.raises((PolicyInvalidError, SettingsError)):
        revision(found)


def test_from_artifactory(home: Path, tmp_path: Path, devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "policy/bundle.tar", (home / "bundle-1.tar").read_bytes())
    host = f"127.0.0.1:{devserver.port}"
    found = settings(
        home,
        tmp_path,
        f"artifactory://{host}/artifactory/{repo}/policy/bundle.tar",
        artifactory_url=f"http://{host}",
        ARTIFACTORY_AUTH_TOKEN=devserver.token("admin"),
    )
    assert revision(found) == 1


@pytest.fixture
def app(home: Path) -> Iterator[str]:
    """A server that answers as the tracking server's app does."""
    data = (home / "bundle-1.tar").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/gov/policy" and (self.headers["Authorization"] or "").startswith("Basic ")
            self.send_response(200 if found else 401)
            self.send_header("Content-Length", str(len(data) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_from_the_tracking_server_with_the_callers_login(home: Path, tmp_path: Path, app: str) -> None:
    login = {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": "secret"}
    assert revision(settings(home, tmp_path, app, **login)) == 1


def test_without_anything_to_fall_back_on_there_is_no_policy(home: Path, tmp_path: Path, app: str) -> None:
    with pytest.raises(PolicyInvalidError, match="401"):
        revision(settings(home, tmp_path, app))


@pytest.mark.parametrize("location", ["ftp://example.org/x", "none.tar"])
def test_other_places(home: Path, tmp_path: Path, location: str) -> None:
    with pytest.raises((SettingsError, PolicyInvalidError)):
        revision(settings(home, tmp_path, location))


def test_the_set_must_be_named(home: Path, tmp_path: Path) -> None:
    found = settings(home, tmp_path, "x").model_copy(update={"policy_bundle_name": None})
    with pytest.raises(SettingsError, match="name of the set"):
        revision(found)


@pytest.mark.parametrize(
    ("name", "status"), [("bundle-1.tar", 200), ("", 404), ("https://elsewhere.example", 404)]
)
def test_the_server_app_hands_out_the_file_it_was_given(
    home: Path, tmp_path: Path, name: str, status: int
) -> None:
    from plugin.server import policy_bundle

    location = str(home / name) if name.endswith(".tar") else name
    with environment({"MLGOV_HOME": str(tmp_path), "MLGOV_POLICY_BUNDLE": location}):
        answer = policy_bundle()
    assert answer.status_code == status
    assert status != 200 or answer.data == (home / "bundle-1.tar").read_bytes()
