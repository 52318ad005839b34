"""`mlgov sign` and `mlgov verify`: folders, lone files, and models in Artifactory."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
import requests

from governance.devserver import DevServer
from tests.scenarios.cli import Cli
from tests.scenarios.models import MODEL, store, write


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
