"""Signing: the same bytes every time, accepted by the verifier, and with everything in them that is promised."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from governance.errors import SignatureError
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.request import Actor, MlflowContext
from governance.signing.envelope import pae
from governance.signing.hashing import hash_folder
from governance.signing.keys import LocalSigner
from governance.signing.manifest import Manifest
from governance.signing.publickey import Algorithm
from governance.signing.reason import Reason
from governance.signing.sign import add_signature, attribution, plan_resigning, sign_manifest
from governance.signing.statement import MAX_RESOURCES
from governance.signing.trust import Revocation, TrustStore
from governance.signing.verify import verify_bundle, verify_folder
from tests.unit.signing_kit import (
    FILES,
    NOW,
    closed,
    manifest_of,
    opened,
    payload_of,
    seal,
    signed,
    signer,
    statement_of,
    trust,
    trusted,
)

DAY = timedelta(days=1)


def test_pae_is_the_one_of_the_specification() -> None:
    # dsse/protocol.md, "Test Vectors".
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_ecdsa_signature_is_that_of_rfc_6979() -> None:
    # RFC 6979, A.2.5: P-256 with SHA-256, message "sample".
    number = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    made = LocalSigner(ec.derive_private_key(number, ec.SECP256R1())).sign(b"sample")
    assert "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" in made.hex()
    assert "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8" in made.hex()


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_signing_twice_gives_the_same_bytes_and_they_verify(algorithm: Algorithm) -> None:
    made = signer("twice-" + algorithm.value, algorithm)
    first = sign_manifest(manifest_of(), name="model", signer=made)
    again = sign_manifest(manifest_of(dict(reversed(FILES.items()))), name="model", signer=made)
    assert first == again
    report = verify_bundle(first, manifest_of(), TrustStore.of_key(made.public), at=NOW)
    assert report.valid
    assert report.key_id == made.key_id
    assert report.manifest == manifest_of()


def test_the_profile_is_written_to_the_letter() -> None:
    bundle = sign_manifest(manifest_of(), name="model", signer=signer())
    document = opened(bundle)
    assert not bundle.endswith(b"\n")
    assert document["verificationMaterial"] == {"publicKey": {"hint": signer().key_id}, "tlogEntries": []}
    assert [row["keyid"] for row in document["dsseEnvelope"]["signatures"]] == [""]
    payload = payload_of(bundle)
    assert payload["predicate"]["serialization"] == {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore", "model.sig"],
    }
    # By code point of the whole name: `-` comes before `/`.
    assert [row["name"] for row in payload["predicate"]["resources"]] == [
        "MLmodel",
        "empty",
        "sub-x",
        "sub/b.bin",
    ]
    assert set(payload["subject"][0]["digest"]) == {"sha256", "dirHash1"}


def test_a_git_file_that_belongs_to_the_model_is_signed_and_not_ignored() -> None:
    files = FILES | {".gitattributes": b"*.bin lfs"}
    bundle = sign_manifest(manifest_of(files), name="m", signer=signer())
    assert ".gitattributes" not in payload_of(bundle)["predicate"]["serialization"]["ignore_paths"]
    assert verify_bundle(bundle, manifest_of(files), trust(), at=NOW).valid
    assert verify_bundle(bundle, manifest_of(), trust(), at=NOW).missing == (".gitattributes",)


def test_the_signature_itself_is_no_part_of_the_manifest() -> None:
    digest = manifest_of().entries[0].sha256
    files = [
        FileEntry(path=parse_relative_path(name), sha256=digest) for name in ("a", "model.sig", "b/model.sig")
    ]
    assert [entry.name for entry in Manifest.of(files).entries] == ["a", "b/model.sig"]
    with pytest.raises(ValueError, match="not known"):
        Manifest.of([FileEntry(path=parse_relative_path("a"))])


def test_nothing_is_not_signed() -> None:
    with pytest.raises(ValueError, match="without files"):
        sign_manifest(Manifest(()), name="m", signer=signer())


def test_who_uploaded_is_signed_and_a_claim_is_called_one() -> None:
    context = MlflowContext(run_id="r1", source_commit="c0ffee")
    proved = attribution(Actor(name="ann", authentication="basic-auth"), context, host="h1")
    assert proved["mlgov.uploader.authentication"] == "basic-auth"
    claimed = attribution(Actor(name="ann"), MlflowContext())
    assert claimed == {"mlgov.uploader": "ann", "mlgov.uploader.authentication": "claimed"}
    bundle = sign_manifest(manifest_of(), name="m", signer=signer(), annotations=proved)
    assert verify_bundle(bundle, manifest_of(), trust(), at=NOW).annotations == proved


def test_trusted_time_keeps_what_a_revoked_key_signed_before() -> None:
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())
    for why in Revocation:
        store = trust(trusted(revoked_at=NOW - DAY, revocation=why))
        assert verify_bundle(bundle, manifest_of(), store, at=NOW, signed_at=NOW - 2 * DAY).valid


def test_scopes_and_windows_let_through_what_they_name() -> None:
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())
    store = trust(trusted(repositories=("dev-*", "lab"), not_before=NOW, not_after=NOW))
    for repository in ("dev-models", "lab"):
        assert verify_bundle(bundle, manifest_of(), store, at=NOW, repository=repository).valid


def test_signing_again_reads_only_what_changed_and_says_so() -> None:
    before, after = manifest_of(), manifest_of(FILES | {"MLmodel": b"changed", "new": b"n"})
    plan = plan_resigning(before, after)
    assert plan.to_hash == ("MLmodel", "new")
    hashed = {entry.name: entry for entry in after.entries if entry.name in plan.to_hash}
    bundle = sign_manifest(plan.manifest(hashed), name="m", signer=signer())
    rows = {row["name"]: row for row in payload_of(bundle)["predicate"]["resources"]}
    assert [name for name, row in rows.items() if "annotations" in row] == ["empty", "sub-x", "sub/b.bin"]
    report = verify_bundle(bundle, after, trust(), at=NOW)
    assert report.valid
    assert report.manifest is not None
    assert {entry.name for entry in report.manifest.entries if entry.carried} == {
        "empty",
        "sub-x",
        "sub/b.bin",
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_local_folder_verifies_with_its_signature_inside(tmp_path: Path) -> None:
    write(tmp_path, FILES | {".git/config": b"[core]"})
    bundle = sign_manifest(hash_folder(tmp_path), name="m", signer=signer())
    (tmp_path / "model.sig").write_bytes(bundle)
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).valid
    (tmp_path / ".git" / "config").write_bytes(b"changed, and no part of the model")
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).valid
    (tmp_path / "other.sig").write_bytes(bundle)
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).unsigned == ("other.sig",)
    assert verify_folder(bundle, tmp_path, trust(), at=NOW, left_out=frozenset({"other.sig"})).valid
    (tmp_path / "other.sig").unlink()
    (tmp_path / "evil.pkl").write_bytes(b"")
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).unsigned == ("evil.pkl",)


def test_a_signed_git_file_is_looked_at_in_a_local_folder(tmp_path: Path) -> None:
    files = FILES | {".gitattributes": b"x"}
    bundle = sign_manifest(manifest_of(files), name="m", signer=signer())
    write(tmp_path, files)
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).valid
    (tmp_path / ".gitattributes").write_bytes(b"y")
    assert verify_folder(bundle, tmp_path, trust(), at=NOW).changed == (".gitattributes",)


def test_a_lone_file_is_signed_as_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"p")
    (tmp_path / "other").write_bytes(b"o")
    manifest = hash_folder(tmp_path / "model.pkl")
    assert [entry.name for entry in manifest.entries] == ["model.pkl"]
    bundle = sign_manifest(manifest, name="model.pkl", signer=signer())
    assert verify_folder(bundle, tmp_path / "model.pkl", trust(), at=NOW).valid
    (tmp_path / "model.pkl").rename(tmp_path / "renamed.pkl")
    assert not verify_folder(bundle, tmp_path / "renamed.pkl", trust(), at=NOW).valid


def test_a_hash_whose_package_is_missing_is_a_reason_and_not_an_error(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    document = statement_of()
    document["predicate"]["serialization"]["hash_type"] = "blake3"
    for row in document["predicate"]["resources"]:
        row["algorithm"] = "blake3"
    report = verify_folder(signed(seal(document)), tmp_path, trust(), at=NOW)
    # With the package the digests are compared, and are not BLAKE3's.
    assert report.reason in {Reason.HASH, Reason.FILES}
    assert (
        verify_bundle(signed(seal(document)), manifest_of(), trust(), at=NOW).reason is Reason.NOT_COMPARABLE
    )


def test_a_manifest_has_a_limit() -> None:
    entry = manifest_of().entries[0]
    many = Manifest(
        tuple(replace(entry, name=parse_relative_path(str(number))) for number in range(MAX_RESOURCES + 1))
    )
    with pytest.raises(SignatureError, match="100001 files, of which a signature names at most 100000"):
        sign_manifest(many, name="m", signer=signer())
    with pytest.raises(ValueError, match="twice"):
        Manifest((entry, entry))


def test_a_signature_that_nobody_would_read_is_not_made() -> None:
    """Long names made one of more than 16 MiB, which was uploaded, and with it the model could never be loaded."""
    entry = manifest_of().entries[0]
    long = Manifest(
        tuple(
            replace(entry, name=parse_relative_path("/".join(["n" * 250] * 12 + [str(number)])))
            for number in range(5_000)
        )
    )
    with pytest.raises(SignatureError, match="of which 16777216 are read") as caught:
        sign_manifest(long, name="m", signer=signer())
    assert "archive" in (caught.value.hint or "")


def test_both_base64_alphabets_are_read() -> None:
    document = opened(sign_manifest(manifest_of(), name="\U0010ffff?>~", signer=signer()))
    envelope = document["dsseEnvelope"]
    for key, row in (("payload", envelope), ("sig", envelope["signatures"][0])):
        row[key] = row[key].replace("+", "-").replace("/", "_")
    bundle = json.dumps(document).encode()
    assert verify_bundle(bundle, manifest_of(), trust(), at=NOW).valid


def test_what_is_added_to_is_signed_by_keys_and_keeps_all_that_it_holds() -> None:
    document = opened(sign_manifest(manifest_of(), name="m", signer=signer()))
    document["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": "QQ=="}]
    }
    document["dsseEnvelope"]["signatures"][0]["keyid"] = "a hint"
    both = opened(add_signature(closed(document), signer("bob")))
    (first, second) = both["dsseEnvelope"].pop("signatures")
    assert [first] == document["dsseEnvelope"].pop("signatures")
    assert second["keyid"] == ""
    assert both == document
    chained = sign_manifest(manifest_of(), name="m", signer=signer(), certificates=(b"DER",))
    with pytest.raises(SignatureError, match="no room for others"):
        add_signature(chained, signer("bob"))
    full = sign_manifest(
        manifest_of(), name="m", signer=signer(), also=tuple(signer(f"signer {n}") for n in range(15))
    )
    with pytest.raises(SignatureError, match="has 16 signatures"):
        add_signature(full, signer("bob"))
