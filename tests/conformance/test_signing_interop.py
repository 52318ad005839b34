"""Both ways with `model_signing` 1.1.1, the reference implementation, and by hand with `openssl`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from governance.signing.envelope import pae
from governance.signing.hashing import hash_folder
from governance.signing.keys import LocalSigner, generate_key, load_signer
from governance.signing.publickey import Algorithm
from governance.signing.reason import Reason
from governance.signing.sign import sign_manifest
from governance.signing.trust import TrustStore
from governance.signing.verify import verify_folder
from tests.unit.signing_kit import NOW, payload_of, signer

pytest.importorskip("model_signing", reason="model_signing is the other side of these tests")
hashing = pytest.importorskip(
    "model_signing.hashing", reason="model_signing 1.1.1 needs pyOpenSSL to be imported"
)
from model_signing import signing, verifying

CURVES = [Algorithm.P256, Algorithm.P384, Algorithm.P521]
ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "MLmodel": b"flavors: {}\n",
    "sub-x": b"1",
    "sub/b.bin": b"22" * 50_000,
    "empty": b"",
    "with space + % # ü ☃.txt": b"names",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def key_files(tmp_path: Path, made: LocalSigner) -> tuple[Path, Path]:
    """The key as `model_signing` wants it: both halves in PEM, the private one bare."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(
        made._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_text(made.public_pem)
    return private, public


def they_verify(path: Path, signature: Path, public: Path) -> None:
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(path, signature)


@pytest.mark.parametrize("algorithm", CURVES)
def test_they_verify_what_we_sign(algorithm: Algorithm, model: Path, tmp_path: Path) -> None:
    made = signer("interop", algorithm)
    _, public = key_files(tmp_path, made)
    signature = model / "model.sig"
    signature.write_bytes(
        sign_manifest(hash_folder(model), name="model", signer=made, annotations={"mlgov.uploader": "ann"})
    )
    they_verify(model, signature, public)


def test_their_command_line_verifies_what_we_sign(model: Path, tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    public.write_text(generate_key(tmp_path / "key.pem", "pass").pem)
    made = load_signer(tmp_path / "key.pem", "pass")
    (model / "model.sig").write_bytes(sign_manifest(hash_folder(model), name="model", signer=made))
    command = [
        sys.executable, "-m", "model_signing", "verify", "key",
        "--public_key", str(public), "--signature", str(model / "model.sig"), str(model),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout


def test_they_verify_a_lone_file_as_a_folder_of_one(tmp_path: Path) -> None:
    made = signer()
    _, public = key_files(tmp_path, made)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"p")
    signature = tmp_path / "model.pkl.mlgov.sig"
    signature.write_bytes(sign_manifest(hash_folder(folder / "model.pkl"), name="model.pkl", signer=made))
    they_verify(folder, signature, public)


CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "files sha256": lambda: hashing.Config().use_file_serialization(hashing_algorithm="sha256"),
    "files blake2b": lambda: hashing.Config().use_file_serialization(hashing_algorithm="blake2"),
    "files blake3": lambda: hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
    "shards sha256": lambda: hashing.Config().use_shard_serialization(shard_size=30_000),
    "shards blake2b": lambda: hashing.Config().use_shard_serialization(
        hashing_algorithm="blake2", shard_size=50_000
    ),
    "shards blake3": lambda: hashing.Config().use_shard_serialization(hashing_algorithm="blake3"),
}


def they_sign(path: Path, signature: Path, private: Path, how: Any) -> bytes:
    # The caller's list must name the signature; their API has no default for it.
    configuration = how.set_ignored_paths(paths=["model.sig"], ignore_git_paths=True)
    signing.Config().set_hashing_config(configuration).use_elliptic_key_signer(private_key=private).sign(
        path, signature
    )
    return signature.read_bytes()


@pytest.mark.parametrize("algorithm", CURVES)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_we_verify_what_they_sign(
    algorithm: Algorithm, configuration: str, model: Path, tmp_path: Path
) -> None:
    if "blake3" in configuration:
        pytest.importorskip("blake3")
    if "shards" in configuration and "blake3" not in configuration:
        (model / "empty").unlink()  # shards do not list empty files, and what is not listed is not signed
    made = signer("interop", algorithm)
    private, _ = key_files(tmp_path, made)
    bundle = they_sign(model, model / "model.sig", private, CONFIGURATIONS[configuration]())
    store = TrustStore.of_key(made.public)
    report = verify_folder(bundle, model, store, at=NOW)
    assert report.valid, report.detail
    (model / "sub/b.bin").write_bytes(b"22" * 49_999 + b"23")
    assert verify_folder(bundle, model, store, at=NOW).changed == ("sub/b.bin",)
    (model / "sub/b.bin").write_bytes(b"22" * 60_000)
    assert verify_folder(bundle, model, store, at=NOW).changed == ("sub/b.bin",)
    (model / "sub/b.bin").unlink()
    assert verify_folder(bundle, model, store, at=NOW).missing == ("sub/b.bin",)


def test_an_empty_file_beside_their_shards_is_seen(model: Path, tmp_path: Path) -> None:
    # They accept it: their list of shards says nothing about a file without bytes, such as `__init__.py`.
    private, _ = key_files(tmp_path, signer())
    bundle = they_sign(model, model / "model.sig", private, CONFIGURATIONS["shards sha256"]())
    assert verify_folder(bundle, model, TrustStore.of_key(signer().public), at=NOW).unsigned == ("empty",)


def test_we_verify_their_single_file(tmp_path: Path) -> None:
    private, _ = key_files(tmp_path, signer())
    (tmp_path / "model.pkl").write_bytes(b"p")
    bundle = they_sign(tmp_path / "model.pkl", tmp_path / "x.sig", private, CONFIGURATIONS["files sha256"]())
    store = TrustStore.of_key(signer().public)
    assert verify_folder(bundle, tmp_path / "model.pkl", store, at=NOW).valid
    (tmp_path / "model.pkl").write_bytes(b"q")
    assert not verify_folder(bundle, tmp_path / "model.pkl", store, at=NOW).valid


def spoil_extra(model: Path) -> None:
    (model / "evil.pkl").write_bytes(b"x")


def spoil_missing(model: Path) -> None:
    (model / "sub-x").unlink()


def spoil_rename(model: Path) -> None:
    (model / "sub-x").rename(model / "sub-y")


def spoil_bit(model: Path) -> None:
    (model / "sub-x").write_bytes(b"0")


def spoil_swap(model: Path) -> None:
    (model / "MLmodel").write_bytes(FILES["sub-x"])
    (model / "sub-x").write_bytes(FILES["MLmodel"])


@pytest.mark.parametrize("spoil", [spoil_extra, spoil_missing, spoil_rename, spoil_bit, spoil_swap])
def test_both_refuse_the_same_damage(spoil: Callable[[Path], None], model: Path, tmp_path: Path) -> None:
    _, public = key_files(tmp_path, signer())
    bundle = sign_manifest(hash_folder(model), name="model", signer=signer())
    (model / "model.sig").write_bytes(bundle)
    spoil(model)
    assert verify_folder(bundle, model, TrustStore.of_key(signer().public), at=NOW).reason is Reason.FILES
    with pytest.raises(ValueError, match="mismatch"):
        they_verify(model, model / "model.sig", public)


def test_they_accept_a_signer_who_hides_files_and_we_do_not(model: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path, signer())
    configuration = hashing.Config().set_ignored_paths(paths=["model.sig", "sub"], ignore_git_paths=True)
    signing.Config().set_hashing_config(configuration).use_elliptic_key_signer(private_key=private).sign(
        model, model / "model.sig"
    )
    (model / "sub/evil.pkl").write_bytes(b"x")
    they_verify(model, model / "model.sig", public)
    bundle = (model / "model.sig").read_bytes()
    report = verify_folder(bundle, model, TrustStore.of_key(signer().public), at=NOW)
    assert report.reason is Reason.IGNORE_LIST


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_openssl_verifies_by_hand(model: Path, tmp_path: Path) -> None:
    """The commands of `docs/signatures.md`."""
    bundle = sign_manifest(hash_folder(model), name="model", signer=signer())
    envelope = json.loads(bundle)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "signed").write_bytes(pae(envelope["payloadType"], payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "key.pub").write_text(signer().public_pem)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "signed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "Verified OK"


@pytest.mark.skipif(
    not all(shutil.which(name) for name in ("openssl", "jq", "sha256sum")),
    reason="openssl or jq is not there",
)
def test_the_commands_of_the_documentation_verify_by_hand(tmp_path: Path) -> None:
    blocks = (ROOT / "docs/signatures.md").read_text().split("```")
    (commands,) = [block.removeprefix("sh\n") for block in blocks if "openssl dgst" in block]
    folder = tmp_path / "FOLDER"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (tmp_path / "key.pub").write_text(signer().public_pem)
    bundle = sign_manifest(hash_folder(folder), name="m", signer=signer())
    (folder / "model.sig").write_bytes(bundle)
    (tmp_path / "model.sig").write_bytes(bundle)

    def by_hand() -> tuple[int, list[str]]:
        done = subprocess.run(
            ["sh", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout.split("\n")

    assert by_hand() == (0, ["Verified OK", str(len(FILES)), str(len(FILES)), ""])
    (folder / "sub-x").write_bytes(b"2")
    assert by_hand()[0] != 0


def test_the_hint_is_the_sha256_of_the_key_file(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(signer().public_pem)
    done = subprocess.run(["sha256sum", "key.pub"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == signer().key_id


def test_dirhash1_is_what_sha256sum_and_sort_say(model: Path) -> None:
    (
        model / "with space + % # ü ☃.txt"
    ).unlink()  # sha256sum escapes nothing here either; kept plain for `sort`
    script = "find . -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort -k 2 | sha256sum"
    done = subprocess.run(["sh", "-c", script], cwd=model, capture_output=True, text=True, check=True)
    manifest = hash_folder(model)
    assert manifest.dirhash1 == f"dirhash1:{done.stdout.split()[0]}"
    digests = payload_of(sign_manifest(manifest, name="m", signer=signer()))["subject"][0]["digest"]
    assert digests["dirHash1"] == done.stdout.split()[0]
