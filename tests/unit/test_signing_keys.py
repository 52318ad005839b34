"""Keys on disk and in the environment: encrypted, private, and each refusal with its own words."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from governance.errors import KeyFileError
from governance.signing.keys import generate_key, load_signer
from governance.signing.publickey import Algorithm, parse_public_key

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
BEST = serialization.BestAvailableEncryption(b"pass")


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_key_is_made_private_and_opens_again(tmp_path: Path, algorithm: Algorithm) -> None:
    path = tmp_path / "keys" / "signing.pem"
    public = generate_key(path, "pass", algorithm=algorithm)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for location in (path, str(path), f"file:{path}", f"file://{path}"):
        signer = load_signer(location, b"pass")
        assert (signer.key_id, signer.algorithm) == (public.key_id, algorithm)
    assert public.has_signed(b"m", signer.sign(b"m"))
    assert not public.has_signed(b"n", signer.sign(b"m"))


def test_a_key_opens_from_the_environment_that_is_handed_in(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "k", "pass")
    environment = {"KEY": (tmp_path / "k").read_text()}
    assert load_signer("env:KEY", "pass", environment=environment).key_id == public.key_id
    nothing: dict[str, str] = {}
    for given in (None, nothing):
        with pytest.raises(KeyFileError, match="holds no key"):
            load_signer("env:KEY", "pass", environment=given)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_openssl_reads_our_key_and_we_read_openssls(tmp_path: Path) -> None:
    generate_key(tmp_path / "ours", "pass")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", "ours", "-passin", "pass:pass", "-pubout"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout == load_signer(tmp_path / "ours", "pass").public_pem
    script = (
        "openssl ecparam -name prime256v1 -genkey -noout | "
        "openssl pkcs8 -topk8 -scrypt -passout pass:pass -out theirs && chmod 600 theirs"
    )
    subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    assert load_signer(tmp_path / "theirs", "pass").algorithm is Algorithm.P256


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, how: object = BEST) -> bytes:
    return key.private_bytes(PEM, PKCS8, how)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of root's")
def test_a_key_that_root_hands_to_this_users_group_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    generate_key(key, "pass")
    key.chmod(0o440)
    with pytest.raises(KeyFileError, match="open to other users"):
        load_signer(key, "pass")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load_signer(key, "pass").algorithm is Algorithm.P256


def test_every_bad_key_file_has_its_own_words(tmp_path: Path) -> None:
    good = tmp_path / "good"
    generate_key(good, "pass")
    pem = good.read_bytes()
    bare = private(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption())
    curve = private(ec.generate_private_key(ec.SECP256K1()))
    cases = {
        "there is no key file": (tmp_path / "nowhere", b"pass"),
        "open to other users (mode 0644)": (put(tmp_path / "open", pem, 0o644), b"pass"),
        "open to other users (mode 0620)": (put(tmp_path / "group", pem, 0o620), b"pass"),
        "is not encrypted": (put(tmp_path / "bare", bare), b"pass"),
        "holds no private key": (put(tmp_path / "text", b"hello"), b"pass"),
        "no passphrase is given": (good, None),
        "passphrase for": (good, b"wrong"),
        "or the file is damaged": (put(tmp_path / "cut", pem[:120] + pem[150:]), b"pass"),
        "neither ECDSA nor Ed25519": (
            put(tmp_path / "rsa", private(rsa.generate_private_key(65537, 2048))),
            b"pass",
        ),
        "not ECDSA P-256": (put(tmp_path / "k1", curve), b"pass"),
        "too large": (put(tmp_path / "big", b"x" * (65 << 10)), b"pass"),
        "cannot be read": (tmp_path, b"pass"),
    }
    said = set()
    for words, (path, passphrase) in cases.items():
        with pytest.raises(KeyFileError) as caught:
            load_signer(path, passphrase)
        assert words in caught.value.message
        assert "wrong" not in caught.value.message or words in {"passphrase for", "or the file is damaged"}
        said.add(caught.value.message)
    assert len(said) == len(cases)


def test_an_address_of_another_scheme_is_refused_by_name() -> None:
    with pytest.raises(KeyFileError, match="`ftp:` is not one of file, env, awskms"):
        load_signer("ftp:x")


def test_a_key_is_never_written_over_and_never_made_without_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="without a passphrase"):
        generate_key(tmp_path / "k", "")
    assert not (tmp_path / "k").exists()
    generate_key(tmp_path / "k", "pass")
    with pytest.raises(KeyFileError, match="never written over"):
        generate_key(tmp_path / "k", "pass")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="cannot be written"):
        generate_key(tmp_path / "file" / "k", "pass")


def test_no_secret_shows_in_a_repr_or_a_message(tmp_path: Path) -> None:
    generate_key(tmp_path / "k", "s3cret-pass")
    signer = load_signer(tmp_path / "k", "s3cret-pass")
    assert "s3cret" not in repr(signer)
    with pytest.raises(KeyFileError) as caught:
        load_signer(tmp_path / "k", "s3cret-other")
    assert "s3cret" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"


def test_public_keys_are_equal_however_they_are_written() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    parsed = parse_public_key(pem.replace(b"\n", b"\r\n"))
    assert parsed == parse_public_key(pem)
    assert parsed.pem == pem.decode()
    assert parsed.key_id in parsed.hints
    for bad in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "ü"):
        with pytest.raises(KeyFileError, match="not a public key"):
            parse_public_key(bad)
