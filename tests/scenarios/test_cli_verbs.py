"""Every verb of `mlgov` against the embedded server, with the exit codes that pipelines rely on."""

from __future__ import annotations

import base64
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import keyring
import pytest
import requests
from keyring.backend import KeyringBackend

from governance.cli.keys import known_passphrase
from governance.devserver import DevServer
from governance.errors import KeyFileError
from governance.settings import Settings
from tests.audit_tools import database_of
from tests.scenarios.cli import Cli, Done, run_cli

MODEL = {
    "MLmodel": b"flavors: {}\n",
    "requirements.txt": b"scikit-learn==1.5.0\n",
    "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}
VULNERABLE = MODEL | {"requirements.txt": b"PyYAML==5.3\n"}
PICKLE = MODEL | {"model.pkl": b"cposix\nsystem\n(S'true'\ntR."}


def store(devserver: DevServer, repo: str, path: str, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        devserver.put(repo, f"{path}/{name}", data)
    return f"{repo}/{path}"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


# -- check


@pytest.mark.parametrize(
    ("files", "environment", "code", "says"),
    [
        (MODEL, "production", 0, "load of"),
        (VULNERABLE, "production", 1, "CVE-2020-14343"),
        (PICKLE, "production", 1, "posix.system"),
        (VULNERABLE, "development", 0, "would be refused; the binding is in observe mode"),
    ],
    ids=["good", "vulnerable", "malicious", "observed"],
)
def test_check(
    cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes], environment: str, code: int, says: str
) -> None:
    done = cli("check", store(devserver, repo, "m", files), MLGOV_ENVIRONMENT=environment)
    assert done.code == code
    assert says in done.out


def test_check_takes_whole_addresses_and_parts_of_a_model(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", VULNERABLE)
    done = cli("check", f"artifactory://{devserver.host}/artifactory/{ref}/weights.safetensors", "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert document["artifact"]["ref"] == ref  # the part is judged as its whole
    assert document["decision"] == "block"
    assert document["refused"] is True
    assert [finding["rule"] for finding in document["findings"]] == ["baseline-models/critical-vulnerability"]


def test_check_names_the_lists_of_which_more_may_be_missing(
    cli: Cli, devserver: DevServer, repo: str
) -> None:
    loose = store(devserver, repo, "m", MODEL | {"requirements.txt": b"numpy\n"})
    document = json.loads(cli("check", loose, "--json").out)
    assert document["incomplete"]["vulnerabilities"] == "`numpy` declared without a version"
    assert "vulnerabilities" not in document["unknown"]
    assert "xray.max_cvss" in document["unknown"]


def test_check_of_a_folder_with_several_models(cli: Cli, devserver: DevServer, repo: str) -> None:
    store(devserver, repo, "all/good", MODEL)
    store(devserver, repo, "all/bad", VULNERABLE)
    documents = json.loads(cli("check", f"{repo}/all", "--json").out)
    assert {row["artifact"]["ref"]: row["refused"] for row in documents} == {
        f"{repo}/all/good": False,
        f"{repo}/all/bad": True,
    }


def test_check_leaves_no_record(cli: Cli, devserver: DevServer, repo: str, tmp_path: Path) -> None:
    cli("check", store(devserver, repo, "m", MODEL))
    assert cli("audit", "tail", "--json").out == ""


def test_explain_of_what_is_stored_now(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", VULNERABLE)
    done = cli("policy", "explain", ref)
    assert done.code == 0
    assert "baseline-models/critical-vulnerability (block): matches" in done.out
    assert "if vulnerabilities were complete and empty" in done.out
    assert "mlgov waiver request --decision ID" in done.out
    assert cli("audit", "tail", "--json").out == ""
    document = json.loads(cli("policy", "explain", ref, "--json").out)
    assert (document["id"], document["recorded"], document["decision"]) == (None, None, "block")


@pytest.mark.parametrize(
    ("reference", "variables", "code", "says"),
    [
        ("nowhere-local/m", {}, 3, "not found"),
        ("x/y", {"MLGOV_ARTIFACTORY_URL": ""}, 2, "MLGOV_ARTIFACTORY_URL"),
        ("models:/m/1", {}, 2, "only its tracking server can resolve"),
        ("artifactory://other.example/artifactory/r/p", {}, 2, "not one of the Artifactory hosts"),
        ("s3://bucket/x", {}, 2, "artifactory://"),
        ("r/../x", {}, 2, "`..` part"),
        ("/etc/passwd/x", {}, 3, "not found"),
        ("x/y", {"ARTIFACTORY_AUTH_TOKEN": "wrong"}, 3, "HTTP 401"),
        ("x/y", {"MLGOV_ARTIFACTORY_URL": "http://127.0.0.1:9/artifactory"}, 3, "no connection"),
        ("x/y", {"MLGOV_POLICY_PATH": "/nowhere"}, 3, "not found"),
    ],
)
def test_check_cannot_decide(
    cli: Cli, reference: str, variables: dict[str, str], code: int, says: str
) -> None:
    done = cli("check", reference, **variables)
    assert done.code == code, done.err
    assert says in done.err + done.out
    assert "what to do: " in done.err


def test_a_broken_policy_is_named_with_its_place(
    cli: Cli, devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    policy = tmp_path / "broken.yaml"
    policy.write_text("apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: x}\nspec: {default: perhaps}\n")
    done = cli("check", store(devserver, repo, "m", MODEL), MLGOV_POLICY_PATH=str(policy))
    assert done.code == 2
    assert f"{policy}:4:" in done.err


# -- keys, sign, verify


def test_keys_from_first_to_last(cli: Cli, tmp_path: Path) -> None:
    assert "no key is trusted" in cli("keys", "list").err
    made = cli("keys", "init", "--name", "me")
    assert made.code == 0
    (row,) = json.loads(cli("keys", "list", "--json").out)
    assert (row["name"], row["standing"]) == ("me", "trusted")
    assert cli("keys", "init").code == 2  # never written over
    pem = cli("keys", "export").out
    assert pem == (tmp_path / "home/keys/signing.pub").read_text()
    assert cli("keys", "export", row["key_id"][:16], "--output", "key.pem").code == 0
    assert (tmp_path / "key.pem").read_text() == pem
    assert cli("keys", "rotate", "--algorithm", "p384").code == 0
    first, second = json.loads(cli("keys", "list", "--json").out)
    assert first["key_id"] == row["key_id"] != second["key_id"]
    assert (first["algorithm"], second["algorithm"]) == ("ecdsa-p256-sha256", "ecdsa-p384-sha384")
    assert cli("keys", "revoke", first["key_id"][:8], "--compromised").code == 0
    assert "compromised" in cli("keys", "list").out
    assert cli("keys", "revoke", "00000000").code == 2
    events = [
        json.loads(line)["body"]["event"]
        for line in cli("audit", "tail", "--kind", "key", "--json").out.splitlines()
    ]
    assert events == ["made", "rotated", "revoked"]


def test_a_key_is_revoked_from_when_it_may_have_been_stolen(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    (row,) = json.loads(cli("keys", "list", "--json").out)
    later = cli("keys", "revoke", row["key_id"], "--compromised", "--since", "2999-01-01")
    assert (later.code, "when it may have begun" in later.err) == (2, True)
    assert cli("keys", "revoke", row["key_id"]).code == 0
    done = cli("keys", "revoke", row["key_id"], "--compromised", "--since", "2026-01-01T10:00:00")
    assert "as compromised from 2026-01-01 10:00" in done.out
    (key,) = json.loads((tmp_path / "home/trust.json").read_text())["keys"]
    assert key["revoked"] == {"at": "2026-01-01T10:00:00.000000Z", "why": "compromised"}
    assert (
        '"reason":"compromised from 2026-01-01 10:00"' in cli("audit", "tail", "--kind", "key", "--json").out
    )


def test_a_key_that_is_no_file_is_trusted_by_what_is_exported_of_it(cli: Cli, tmp_path: Path) -> None:
    """As the key of a token or a service is, which nobody has a `.pub` of."""
    cli("keys", "init")
    private = (tmp_path / "home/keys/signing.pem").read_text()
    (tmp_path / "home/trust.json").unlink()
    elsewhere = {"MLGOV_KEY": "env:THE_KEY", "THE_KEY": private}
    for verb in ("init", "rotate"):
        refused = cli("keys", verb, **elsewhere)
        assert refused.code == 2
        assert "mlgov trust add" in refused.err
    assert cli("keys", "export", "--output", "key.pem", **elsewhere).code == 0
    assert cli("trust", "add", "key.pem", "--name", "me", "--role", "artifact", **elsewhere).code == 0
    write(tmp_path / "m", MODEL)
    assert cli("sign", "m", **elsewhere).code == 0
    assert cli("verify", "m", **elsewhere).code == 0


def test_no_key_is_trusted_that_a_log_which_cannot_be_opened_does_not_know(cli: Cli, tmp_path: Path) -> None:
    """A first key, its successor and somebody else's: each was trusted, and on record nowhere."""
    log = tmp_path / "home/audit.sqlite"
    log.parent.mkdir(exist_ok=True)
    log.write_text("no log")
    log.chmod(0o600)
    assert cli("keys", "init").code == 4
    assert not (tmp_path / "home/keys").exists()
    log.unlink()
    assert cli("keys", "init").code == 0
    trusted = (tmp_path / "home/trust.json").read_bytes()
    for path in log.parent.glob("audit.sqlite*"):
        path.unlink()
    log.write_text("no log")
    assert cli("keys", "rotate").code == 4
    assert cli("trust", "add", "home/keys/signing.pub", "--name", "bob", "--role", "waiver").code == 4
    assert (tmp_path / "home/trust.json").read_bytes() == trusted


def test_a_key_needs_a_passphrase(cli: Cli, tmp_path: Path) -> None:
    done = cli("keys", "init", MLGOV_KEY_PASSPHRASE="")
    assert done.code == 2
    assert "MLGOV_KEY_PASSPHRASE_FILE" in done.err
    assert not (tmp_path / "home/keys").exists()
    (tmp_path / "secret").write_text("from a file\n")
    (tmp_path / "secret").chmod(0o600)
    assert cli("keys", "init", "--passphrase-file", "secret", MLGOV_KEY_PASSPHRASE="").code == 0
    wrong = cli("sign", str(write(tmp_path / "m", MODEL)), MLGOV_KEY_PASSPHRASE="wrong")
    assert wrong.code == 2
    assert "passphrase" in wrong.err
    assert "wrong" not in wrong.err.replace("is wrong", "")


KEYRING = """
import json, os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Backend(KeyringBackend):
    priority = 1
    file = Path(os.environ["TEST_KEYRING"])

    def _read(self):
        if os.environ.get("TEST_LOCKED"):
            raise KeyringLocked("secret text")
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get_password(self, service, username):
        return self._read().get(f"{service}:{username}")

    def set_password(self, service, username, password):
        if not os.environ.get("TEST_FORGETFUL"):
            self.file.write_text(json.dumps(self._read() | {f"{service}:{username}": password}))
"""


def test_a_passphrase_in_the_keyring(tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text(KEYRING)
    folder = write(tmp_path / "m", MODEL)
    settings = {
        "MLGOV_HOME": str(tmp_path / "home"),
        "MLGOV_KEY_PASSPHRASE_KEYRING": "mlgov/signing",
        "PYTHON_KEYRING_BACKEND": "ring.Backend",
        "PYTHONPATH": str(tmp_path),
        "TEST_KEYRING": str(tmp_path / "ring.json"),
    }

    def run(*arguments: str, **more: str) -> Done:
        return run_cli(*arguments, cwd=tmp_path, variables=settings | more)

    for trouble in ({"TEST_LOCKED": "1"}, {"TEST_FORGETFUL": "1"}, {"MLGOV_KEY_PASSPHRASE_KEYRING": "mlgov"}):
        failed = run("keys", "init", **trouble)
        assert (failed.code, "secret" in failed.err) == (2, False)
        assert not (tmp_path / "home/keys").exists()
    made = run("keys", "init")
    assert (made.code, "under `mlgov/signing`" in made.out) == (0, True), made.err
    (passphrase,) = json.loads((tmp_path / "ring.json").read_text()).values()
    assert len(passphrase) >= 32
    assert passphrase not in made.out + made.err
    assert run("sign", str(folder)).code == 0
    assert run("keys", "rotate").code == 0
    assert run("sign", str(folder)).code == 0
    locked = run("sign", str(folder), TEST_LOCKED="1")
    assert (locked.code, "KeyringLocked" in locked.err, "secret" in locked.err) == (2, True, False)
    (tmp_path / "ring.json").unlink()
    assert run("sign", str(folder)).code == 2


class TogetherRing(KeyringBackend):
    """Keeps a passphrase once a second one is about to be kept, if one comes within half a second, and that one after it."""

    priority = 1

    def __init__(self) -> None:
        self.kept: str | None = None
        self.both, self.read_back = threading.Barrier(2), threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        if self.kept is not None:
            self.read_back.set()
        return self.kept

    def set_password(self, service: str, username: str, password: str) -> None:
        with suppress(threading.BrokenBarrierError):
            if self.both.wait(timeout=0.5):
                self.read_back.wait(timeout=10)
        self.kept = password


def test_of_two_who_make_a_key_at_once_none_makes_it_under_a_passphrase_that_is_not_kept(
    tmp_path: Path,
) -> None:
    """The other's passphrase in its place would be a key that nobody can open again."""
    ring, before = TogetherRing(), keyring.get_keyring()
    settings = Settings(home=tmp_path / "home", key_passphrase_keyring="mlgov/signing")

    def make(_: int) -> bytes | str:
        try:
            return known_passphrase(settings, confirm=True)
        except KeyFileError as error:
            return error.message

    keyring.set_keyring(ring)
    try:
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(make, range(2)))
    finally:
        keyring.set_keyring(before)
    assert ring.kept is not None
    assert {each for each in made if isinstance(each, bytes)} == {ring.kept.encode()}


def test_sign_and_verify_a_folder(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", MODEL)
    assert cli("sign", str(folder)).code == 2  # no key
    cli("keys", "init")
    assert cli("verify", str(folder)).code == 1
    assert cli("sign", str(folder)).code == 0
    assert (folder / "model.sig").exists()
    assert cli("verify", str(folder)).code == 0
    (folder / "weights.safetensors").write_bytes(b"other")
    (folder / "more").touch()
    (folder / "MLmodel").unlink()
    assert "refused at step 10 of 10, files" in cli("verify", str(folder)).out
    report = json.loads(cli("verify", str(folder), "--json").out)
    assert report["step"] == 10
    assert (report["valid"], report["changed"], report["unsigned"], report["missing"]) == (
        False, ["weights.safetensors"], ["more"], ["MLmodel"],
    )  # fmt: skip


def test_a_signature_is_not_written_through_what_lies_in_its_place(cli: Cli, tmp_path: Path) -> None:
    """A model from elsewhere may bring a link as its `model.sig`, and signing it wrote over the file at its other end."""
    folder = write(tmp_path / "m", MODEL)
    lone = write(tmp_path / "lone", {"weights.bin": b"x"}) / "weights.bin"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (folder / "model.sig").symlink_to(precious)
    lone.with_name("weights.bin.mlgov.sig").symlink_to(precious)
    cli("keys", "init")
    for signed in (folder, lone):
        done = cli("sign", str(signed))
        assert done.code == 3
        assert "is a symbolic link, and the signature is to lie there" in done.err
    assert precious.read_text() == "precious"
    (folder / "model.sig").unlink()
    os.mkfifo(folder / "model.sig")  # nobody reads from it, so that writing never ended
    assert "is no file" in cli("sign", str(folder)).err
    (folder / "model.sig").unlink()
    assert cli("sign", str(folder)).code == 0
    assert {path.name for path in folder.iterdir()} == {*MODEL, "model.sig"}


@pytest.mark.parametrize("verb", ["sign", "verify"])
def test_nothing_and_what_is_too_long_are_no_local_folder(cli: Cli, tmp_path: Path, verb: str) -> None:
    """Nothing is what is left of a variable that was not set, and not the folder that one stands in."""
    cli("keys", "init", "--name", "team")
    (tmp_path / "m").write_bytes(b"x")
    for named in ("", "x" * 5_000):
        done = cli(verb, named)
        assert done.code == 2
        assert "neither a local folder nor `REPOSITORY/PATH`" in done.err
    assert not list(tmp_path.glob("*.sig"))


def test_signature_and_key_elsewhere(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", MODEL)
    cli("keys", "init")
    assert cli("sign", str(folder), "--output", "m.sig").code == 0
    assert not (folder / "model.sig").exists()
    cli("keys", "export", "--output", "key.pem")
    elsewhere = {"MLGOV_HOME": str(tmp_path / "elsewhere")}
    assert (
        cli("verify", str(folder), "--signature", "m.sig", **elsewhere).code == 1
    )  # nobody is trusted there
    assert (
        cli("verify", str(folder), "--signature", "m.sig", "--public-key", "key.pem", **elsewhere).code == 0
    )
    assert cli("verify", str(folder), "--signature", "none.sig").code == 3
    assert cli("sign", str(folder), "--output", "m/own.sig").code == 0
    assert cli("verify", str(folder), "--signature", "m/own.sig").code == 0  # it is no part of the model
    (folder / "other.sig").touch()
    assert cli("verify", str(folder), "--signature", "m/own.sig").code == 1
    assert cli("verify", str(folder), "--public-key", "none.pem").code == 2


def test_sign_and_verify_in_artifactory(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init")
    assert cli("verify", ref).code == 1
    assert cli("sign", ref).code == 0
    assert cli("verify", ref).code == 0
    assert "mlgov.signature" in devserver.item(repo, "m").properties
    devserver.put_bytes_behind_the_scenes(repo, "m/MLmodel", b"other")
    assert cli("verify", ref).code == 1
    # A server that goes on telling the old checksum is not believed either.
    devserver.put_bytes_behind_the_scenes(repo, "m/MLmodel", b"yet another", keep_checksums=True)
    assert cli("verify", ref).code == 1


def _signed_resources(devserver: DevServer, repo: str, path: str) -> dict[str, bool]:
    """Which files a signature names, and whether it says that their digest was taken over."""
    envelope = json.loads(devserver.read(repo, path))["dsseEnvelope"]
    resources = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["resources"]
    return {row["name"]: "mlgov.digest-from" in row.get("annotations", {}) for row in resources}


def _downloads(devserver: DevServer, token: str, ref: str) -> int:
    response = requests.get(
        f"{devserver.artifactory_url}/api/storage/{ref}?stats",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    return int(response.json()["downloadCount"])


def test_signing_again_reads_only_what_changed(
    cli: Cli, devserver: DevServer, repo: str, alice_token: str
) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init")
    cli("sign", ref)
    assert set(_signed_resources(devserver, repo, "m/model.sig").values()) == {False}
    devserver.put(repo, "m/requirements.txt", b"scikit-learn==1.5.1\n")
    before = {name: _downloads(devserver, alice_token, f"{ref}/{name}") for name in MODEL}
    done = cli("sign", ref)
    assert (done.code, "3, of which 1 hashed" in done.out) == (0, True)
    read = {name for name in MODEL if _downloads(devserver, alice_token, f"{ref}/{name}") > before[name]}
    assert read <= {"requirements.txt", "MLmodel"}  # the gate looks at `MLmodel` for any upload
    taken_over = {"MLmodel": True, "requirements.txt": False, "weights.safetensors": True}
    assert _signed_resources(devserver, repo, "m/model.sig") == taken_over
    assert cli("verify", ref).code == 0
    # What is carried is the signed digest: bytes that were exchanged under the old checksum are not signed away.
    devserver.put_bytes_behind_the_scenes(repo, "m/weights.safetensors", b"evil", keep_checksums=True)
    assert cli("sign", ref).code == 0
    assert cli("verify", ref).code == 1
    assert cli("sign", ref, "--every-file").code == 1  # the bytes are not what the server says
    devserver.put(repo, "m/weights.safetensors", MODEL["weights.safetensors"])
    assert cli("sign", ref, "--every-file").code == 0
    assert set(_signed_resources(devserver, repo, "m/model.sig").values()) == {False}
    # A signature that nobody trusts gives nothing to take over.
    (row,) = json.loads(cli("keys", "list", "--json").out)
    cli("keys", "rotate")
    cli("keys", "revoke", row["key_id"][:16], "--compromised")
    Path("other.toml").write_text('audit_path = "other.sqlite"\n')
    assert cli("sign", ref, MLGOV_CONFIG="other.toml").code == 0
    assert set(_signed_resources(devserver, repo, "m/model.sig").values()) == {False}


def test_the_log_is_trusted_time_for_keys_out_of_use(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init")
    assert cli("sign", ref).code == 0
    (row,) = json.loads(cli("keys", "list", "--json").out)
    Path("other.toml").write_text('audit_path = "other.sqlite"\n')
    elsewhere = {"MLGOV_CONFIG": "other.toml"}
    assert cli("keys", "revoke", row["key_id"][:16]).code == 0
    report = json.loads(cli("verify", ref, "--json").out)
    assert report["valid"]
    assert report["signed_at"] is not None
    assert "trusted time" in cli("verify", ref).out
    # Where nothing is on record, it counts as signed now.
    assert "superseded" in cli("verify", ref, **elsewhere).out
    # The gate judges as the command does, here and where the model is copied to.
    for name, data in MODEL.items():
        devserver.put(repo, f"copy/{name}", data)
    devserver.put(repo, "copy/model.sig", devserver.read(repo, "m/model.sig"))
    for where in (ref, f"{repo}/copy"):
        assert cli("verify", where).code == 0
        assert cli("check", where).code == 0
    refused = cli("check", ref, **elsewhere)
    assert (refused.code, "superseded" in refused.out + refused.err) == (1, True)
    assert cli("keys", "revoke", row["key_id"][:16], "--compromised").code == 0
    assert cli("verify", ref).code == 0  # signed before the revocation, as the log shows
    assert "compromised" in cli("verify", ref, **elsewhere).out


def test_sign_a_lone_file_and_only_wholes(cli: Cli, devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "notes/a.txt", b"a")
    cli("keys", "init")
    assert cli("sign", f"{repo}/notes/a.txt").code == 0
    assert cli("verify", f"{repo}/notes/a.txt").code == 0
    ref = store(devserver, repo, "m", MODEL)
    done = cli("sign", f"{ref}/MLmodel")
    assert done.code == 3
    assert f"`mlgov sign {ref}`" in done.err


# -- audit, report


def test_audit(cli: Cli, tmp_path: Path) -> None:
    assert cli("audit", "verify").code == 4
    cli("keys", "init")
    good = json.loads(cli("audit", "verify", "--json").out)
    assert (good["good"], good["size"]) == (True, 2)
    assert "made" in cli("audit", "tail", "-n", "1").out
    assert cli("audit", "tail", "--kind", "gossip").code == 2
    assert cli("audit", "export", "out").code == 0
    assert (tmp_path / "out/verify_log.py").exists()
    assert cli("audit", "export", "out").code == 2  # a folder that exists is not written into


def test_a_changed_log_is_found(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    with database_of(tmp_path / "home/audit.sqlite") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        changed = "CAST(replace(CAST(data AS TEXT), 'made', 'lost') AS BLOB)"
        database.execute(f"UPDATE entry SET data = {changed} WHERE seq = 1")
    done = cli("audit", "verify")
    assert done.code == 4
    assert "entry 1" in done.err
    assert cli("report").code == 4
    assert cli("doctor", "--offline").code == 4


@pytest.mark.parametrize(
    ("options", "files"), [((), ["report.html", "report.jsonl"]), (("--format", "jsonl"), ["report.jsonl"])]
)
def test_report(cli: Cli, tmp_path: Path, options: tuple[str, ...], files: list[str]) -> None:
    cli("keys", "init")
    assert cli("report", "-o", "r", *options, "--since", "2026-01-01").code == 0
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == files
    assert cli("report", "--format", "pptx").code == 2


def test_a_report_reads_times_as_all_other_verbs_do(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    now = datetime.now(UTC)
    for zone in (timedelta(hours=-11), timedelta(), timedelta(hours=14)):
        for around, count in ((timedelta(hours=-1), 1), (timedelta(hours=1), 0)):
            text = (now + around).astimezone(timezone(zone)).isoformat()
            assert cli("report", "--format", "jsonl", "-o", "r", "--since", text).code == 0
            lines = (tmp_path / "r" / "report.jsonl").read_text().splitlines()
            keys = [line for line in lines if '"kind":"key"' in line]
            assert len(keys) == count, (text, "the zone counts")
    assert cli("report", "--format", "jsonl", "-o", "r", "--since", "90d").code == 0
    for wrong in ("soon", "\u0665d", "2016-12-31T23:59:60Z", "0001-01-01T00:00+05:00"):
        done = cli("report", "--since", wrong)
        assert (done.code, "what to do:" in done.err) == (2, True), done.err
        assert cli("policy", "backtest", "--since", wrong).code == 2


# -- waiver


def refuse(cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes]) -> str:
    """Have something refused on record, and return the decision's id."""
    cli("keys", "init")
    ref = store(devserver, repo, "m", files)
    load_and_fail(cli, ref)
    line = cli("audit", "tail", "--kind", "decision", "-n", "1", "--json").out
    identifier: str = json.loads(line)["id"]
    return identifier


def load_and_fail(cli: Cli, ref: str) -> None:
    from governance.cli.reference import locate, parse_reference
    from governance.errors import RefusedError
    from governance.model.request import Action, Request, new_id
    from governance.settings import load_settings
    from governance.wiring import build_assembly
    from plugin.context import local_user

    settings = load_settings()
    place = parse_reference(ref, settings)
    assembly = build_assembly(settings)
    (part,) = locate(assembly.artifactory(place.host), place)
    at = assembly.now()
    request = Request(
        action=Action.LOAD, artifact=part.artifact, actor=local_user(), environment=settings.environment, at=at,
        correlation=new_id(at),
    )  # fmt: skip
    with pytest.raises(RefusedError), assembly.gate.admit(request):
        pass
    assembly.close()


@pytest.mark.parametrize(
    ("files", "says"), [(PICKLE, "`baseline-models/malicious`"), (MODEL, "no rule that objected")]
)
def test_what_cannot_be_waived(
    cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes], says: str
) -> None:
    if files is PICKLE:
        decision = refuse(cli, devserver, repo, files)
    else:
        cli("keys", "init")
        cli("sign", store(devserver, repo, "m", files))
        decision = json.loads(cli("audit", "tail", "--kind", "decision", "-n", "1", "--json").out)["id"]
    done = cli("waiver", "request", "--decision", decision)
    assert done.code == 2
    assert says in done.err


def test_a_waiver_for_nothing(cli: Cli) -> None:
    cli("keys", "init")
    done = cli("waiver", "request", "--decision", "01a20586-5b30-7a37-9ee5-ff2ba3226591")
    assert done.code == 2
    assert "holds no decision" in done.err


# -- policy


def test_policy(cli: Cli, tmp_path: Path) -> None:
    import policies as packs

    checked = cli("policy", "check", str(packs.path("baseline")), str(packs.path("strict")))
    assert checked.code == 0
    assert "baseline-models" in checked.out
    assert cli("policy", "check").code == 0  # what is in force where nothing is said
    assert cli("policy", "check", "nowhere.yaml").code == 2
    tested = cli("policy", "test", str(packs.path("baseline")), str(packs.cases("baseline")))
    assert tested.code == 0, tested.out
    assert "cases as expected" in tested.out
    assert cli("policy", "test", str(packs.path("baseline"))).code == 2  # no case proves nothing


@pytest.mark.parametrize("kind", ["Policy", "PolicySet", "Waiver", "PolicyTest"])
def test_policy_schema(cli: Cli, kind: str) -> None:
    assert json.loads(cli("policy", "schema", kind).out)["type"] == "object"
    assert cli("policy", "schema", "Opinion").code == 2
