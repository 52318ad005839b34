"""Trust files: what they may say, who may change them, and that none goes back in time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from governance.errors import KeyFileError
from governance.signing import keyring
from governance.signing.keys import LocalSigner, load_signer
from governance.signing.publickey import parse_public_key
from governance.signing.roots import (
    PAYLOAD_TYPE,
    SignedTrust,
    accept_next,
    open_signed_trust,
    sign_trust,
)
from governance.signing.sign import sign_manifest, sign_payload
from governance.signing.trust import Revocation, Role, TrustStore, verifier_id
from governance.signing.trustfile import Roots, TrustDocument, parse_trust, render_trust
from governance.signing.verify import verify_bundle
from tests.full_disk import full_above
from tests.unit.signing_kit import NOW, manifest_of, signer, trust, trusted

DAY = timedelta(days=1)


def rich() -> TrustStore:
    return trust(
        trusted(not_before=NOW, not_after=NOW + DAY, repositories=("dev-*", "lab"), verifiers=("urn:x",)),
        trusted("bob", roles=frozenset({Role.WAIVER}), revoked_at=NOW, revocation=Revocation.COMPROMISED),
        expires=NOW + 30 * DAY,
        thresholds=((Role.ARTIFACT, 1), (Role.WAIVER, 2)),
    )


def roots(*names: str, threshold: int = 2) -> Roots:
    return Roots(keys=tuple(signer(name).public for name in names), threshold=threshold)


def test_a_trust_document_is_read_as_it_was_written() -> None:
    for document in (
        TrustDocument(store=rich(), roots=None),
        TrustDocument(store=rich(), roots=roots("r1", "r2")),
    ):
        assert parse_trust(render_trust(document)) == document


def spoiled(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(render_trust(TrustDocument(store=rich(), roots=None)))
    change(document)
    return json.dumps(document).encode()


MISTAKES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "another format": ("`format`", lambda d: d.update(format="x")),
    "a stray member": ("`extra`", lambda d: d.update(extra=1)),
    "neither signed nor marked": ("unsigned", lambda d: d.pop("unsigned")),
    "both": ("not both", lambda d: d.update(roots={"threshold": 1, "keys": [signer().public_pem]})),
    "no version": ("$.version", lambda d: d.pop("version")),
    "version zero": ("$.version", lambda d: d.update(version=0)),
    "a version that is true": ("$.version", lambda d: d.update(version=True)),
    "a time of another form": ("$.expires", lambda d: d.update(expires="2026-01-01")),
    "keys that are no list": ("$.keys", lambda d: d.update(keys={})),
    "a key that is text": ("$.keys[0]", lambda d: d.update(keys=["x"])),
    "a key without pem": ("$.keys[0].pem", lambda d: d["keys"][0].pop("pem")),
    "a key that is none": ("not a public key", lambda d: d["keys"][0].update(pem="x")),
    "a key twice": ("listed twice", lambda d: d["keys"].append(d["keys"][0])),
    "no name": ("$.keys[0].name", lambda d: d["keys"][0].update(name="")),
    "no roles": ("$.keys[0].roles", lambda d: d["keys"][0].update(roles=[])),
    "an unknown role": ("`admin`", lambda d: d["keys"][0].update(roles=["admin"])),
    "a role that is a list": ("is not one of", lambda d: d["keys"][0].update(roles=[[]])),
    "no scope": ("$.keys[0].repositories", lambda d: d["keys"][0].pop("repositories")),
    "an odd pattern": ("is not a pattern", lambda d: d["keys"][0].update(repositories=["a/b"])),
    "half a revocation": ("$.keys[0].revoked", lambda d: d["keys"][0].update(revoked={"why": "superseded"})),
    "a revocation for no reason": (
        "$.keys[1].revoked",
        lambda d: d["keys"][1]["revoked"].update(why=[]),
    ),
    "a threshold for nobody": ("is not one of", lambda d: d.update(thresholds={"x": 1})),
    "a threshold of zero": ("$.thresholds.artifact", lambda d: d.update(thresholds={"artifact": 0})),
    "thresholds that are a list": ("$.thresholds", lambda d: d.update(thresholds=[])),
    "an authority without certificate": (
        "not a certificate",
        lambda d: d.update(authorities=[{"name": "a", "roles": ["artifact"], "repositories": ["*"], "pem": "x"}]),
    ),
    "an identity without issuer": (
        "$.identities[0].issuer",
        lambda d: d.update(identities=[{"name": "a", "roles": ["artifact"], "repositories": ["*"], "identity": "x"}]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_trust_file_is_named_with_its_place(case: str) -> None:
    words, change = MISTAKES[case]
    with pytest.raises(KeyFileError) as caught:
        parse_trust(spoiled(change))
    assert words in caught.value.message


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b" " * (1 << 20) + b"{}"])
def test_a_trust_file_that_is_no_document_at_all(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        parse_trust(data)


# Signed, and renewed --------------------------------------------------------------------------------------------------

ROOTS = roots("r1", "r2", "r3")


def version(number: int, by: Roots = ROOTS, **more: Any) -> TrustDocument:
    return TrustDocument(store=replace(rich(), version=number, **more), roots=by)


def by(*names: str) -> list[LocalSigner]:
    return [signer(name) for name in names]


def test_a_signed_trust_file_needs_a_threshold_of_its_own_roots() -> None:
    found = open_signed_trust(sign_trust(version(1), by("r1", "r3")))
    assert found.document.store.is_signed
    for signers in (by("r1"), by("r1", "r1"), by("r1", "mallory")):
        with pytest.raises(KeyFileError, match="1 of its own root keys, and 2 are needed"):
            sign_trust(version(1), signers)


def test_signatures_that_fit_another_text_do_not_count() -> None:
    envelope = json.loads(sign_trust(version(1), by("r1", "r2")))
    other = json.loads(sign_trust(version(2), by("r1", "r2")))
    envelope["payload"] = other["payload"]
    with pytest.raises(KeyFileError, match="0 of its own"):
        open_signed_trust(json.dumps(envelope).encode())
    envelope["payloadType"] = "application/json"
    with pytest.raises(KeyFileError, match="carries"):
        open_signed_trust(json.dumps(envelope).encode())


def test_a_signed_file_must_expire_some_day() -> None:
    with pytest.raises(KeyFileError, match="expires"):
        sign_trust(version(1, expires=None), by("r1", "r2"))


def test_the_next_version_is_signed_by_the_old_roots_and_its_own() -> None:
    new = roots("n1", "n2")
    good = sign_trust(version(2, new), by("n1", "n2", "r1", "r2"))
    assert accept_next(ROOTS, 1, good).roots == new
    with pytest.raises(KeyFileError, match="0 of the current version's"):
        accept_next(ROOTS, 1, sign_trust(version(2, new), by("n1", "n2")))
    with pytest.raises(KeyFileError, match="1 of the current version's"):
        accept_next(ROOTS, 1, sign_trust(version(2, new), by("n1", "n2", "r1")))
    with pytest.raises(KeyFileError, match="1 of its own"):
        sign_trust(version(2, new), by("n1", "r1", "r2", "r3"))


def test_rollback_and_skipped_versions_are_refused() -> None:
    with pytest.raises(KeyFileError, match="version 3 was seen before"):
        accept_next(ROOTS, 3, sign_trust(version(2), by("r1", "r2")))
    with pytest.raises(KeyFileError, match="version 3 was seen before"):
        accept_next(ROOTS, 3, sign_trust(version(3), by("r1", "r2")))
    with pytest.raises(KeyFileError, match="does not follow"):
        accept_next(ROOTS, 3, sign_trust(version(5), by("r1", "r2")))


def test_an_expired_version_is_a_link_in_the_chain_and_vouches_for_nobody() -> None:
    old = sign_trust(version(1, expires=NOW - DAY), by("r1", "r2"))
    store = open_signed_trust(old).document.store
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())
    assert (
        verify_bundle(bundle, manifest_of(), store, at=NOW, repository="lab").reason == "trust-file-expired"
    )
    assert accept_next(ROOTS, 1, sign_trust(version(2), by("r1", "r2"))).version == 2


# On disk --------------------------------------------------------------------------------------------------------------


def test_installed_trust_remembers_and_refuses_to_go_back(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    files = [sign_trust(version(number), by("r1", "r2")) for number in (1, 2, 3)]
    assert keyring.install_trust(path, files[:2]).version == 2
    assert keyring.load_trust(path).is_signed
    path.write_bytes(files[0])
    with pytest.raises(KeyFileError, match="version 2 was seen before"):
        keyring.load_trust(path)
    path.write_bytes(sign_trust(version(2, expires=NOW + 99 * DAY), by("r1", "r2")))
    with pytest.raises(KeyFileError, match="not the one that was seen"):
        keyring.load_trust(path)
    path.write_bytes(render_trust(TrustDocument(store=rich(), roots=None)))
    with pytest.raises(KeyFileError, match="a signed one was seen before"):
        keyring.load_trust(path)
    path.write_bytes(files[2])
    assert keyring.load_trust(path).version == 3
    path.write_bytes(files[1])
    with pytest.raises(KeyFileError, match="version 3 was seen before"):
        keyring.load_trust(path)


def test_who_reads_a_version_while_the_next_is_installed_forgets_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a slow reader remembered would let the version before, in which a key is not revoked yet, come back."""
    path = tmp_path / "trust.json"
    first, second, third = (sign_trust(version(number), by("r1", "r2")) for number in (1, 2, 3))

    def meanwhile(data: bytes) -> SignedTrust:
        monkeypatch.undo()
        keyring.install_trust(path, [first, second])
        return open_signed_trust(data)

    path.write_bytes(first)
    monkeypatch.setattr(keyring, "open_signed_trust", meanwhile)
    assert keyring.load_trust(path).version == 1
    path.write_bytes(first)
    with pytest.raises(KeyFileError, match="version 2 was seen before"):
        keyring.load_trust(path)
    path.write_bytes(third)
    assert keyring.load_trust(path).version == 3


def test_an_installation_is_no_rollback_for_those_who_read_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trust.json"
    files = [sign_trust(version(number), by("r1", "r2")) for number in (1, 2, 3)]
    keyring.install_trust(path, files[:1])
    read = keyring._read

    def meanwhile(which: Path) -> bytes:
        data = read(which)
        monkeypatch.undo()
        keyring.install_trust(path, files[1:])
        return data

    monkeypatch.setattr(keyring, "_read", meanwhile)
    assert keyring.load_trust(path).version == 3


def test_trust_is_read_where_nothing_may_be_written_and_the_log_says_what_that_costs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(sign_trust(version(1), by("r1", "r2")))
    (tmp_path / f"{path.name}.seen.lock").mkdir()  # what cannot be written, also for root
    assert keyring.load_trust(path).version == 1
    assert "rollback" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of root's")
def test_a_service_in_whose_home_root_looked_first_still_notices_a_rollback(tmp_path: Path) -> None:
    """It could not take the lock that root had made, and went on without a memory."""
    nobody, path = 65_534, tmp_path / "trust.json"
    os.chown(tmp_path, nobody, nobody)
    path.write_bytes(sign_trust(version(1), by("r1", "r2")))
    assert keyring.load_trust(path).version == 1
    lock = tmp_path / "trust.json.seen.lock"
    assert (lock.stat().st_uid, lock.stat().st_gid, lock.stat().st_mode & 0o777) == (nobody, nobody, 0o600)
    (tmp_path / "theirs").write_bytes(b"")
    (tmp_path / "trust.json.lock").symlink_to(tmp_path / "theirs")
    (tmp_path / "other.lock").symlink_to(tmp_path / "made")
    for name in ("trust.json", "other"):  # what a link leads to is given to nobody
        with keyring.trust_turn(tmp_path / name):
            pass
    assert {(tmp_path / name).stat().st_uid for name in ("theirs", "made")} == {0}


def test_a_trust_file_that_never_stays_the_same_is_not_read_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, numbers = tmp_path / "trust.json", count()
    monkeypatch.setattr(keyring, "_read", lambda _: str(next(numbers)).encode())
    with pytest.raises(KeyFileError, match="another one each time"):
        keyring.load_trust(path)


def test_a_bad_update_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    keyring.install_trust(path, [sign_trust(version(1), by("r1", "r2"))])
    mallory = roots("m1", threshold=1)
    with pytest.raises(KeyFileError):
        keyring.install_trust(path, [sign_trust(version(2, mallory), by("m1"))])
    assert keyring.load_trust(path).version == 1
    (tmp_path / "trust.json.seen").write_bytes(b"{}")
    with pytest.raises(KeyFileError, match="damaged"):
        keyring.load_trust(path)


def test_a_trust_file_that_others_may_write_or_that_is_stripped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with pytest.raises(KeyFileError, match="no trust file"):
        keyring.load_trust(path)
    path.write_bytes(render_trust(TrustDocument(store=rich(), roots=ROOTS)))
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="names root keys and is not signed"):
        keyring.load_trust(path)
    path.write_bytes(render_trust(TrustDocument(store=rich(), roots=None)))
    with pytest.raises(KeyFileError, match="is not signed"):
        keyring.load_trust(path, must_be_signed=True)
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="may be written by others"):
        keyring.load_trust(path)
    path.chmod(0o644)
    path.write_bytes(b"x" * ((2 << 20) + 1))
    with pytest.raises(KeyFileError, match="too large"):
        keyring.load_trust(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        keyring.load_trust(tmp_path)


def test_the_life_of_a_key(tmp_path: Path) -> None:
    key_path, trust_path = tmp_path / "keys/signing.pem", tmp_path / "trust.json"
    first = keyring.init_key(key_path, trust_path, "pass", name="ci team", at=NOW)
    assert first.grant.verifiers == (verifier_id("ci team"),) == ("urn:mlgov:verifier:ci%20team",)
    assert parse_public_key(key_path.with_suffix(".pub").read_bytes()).key_id == first.key_id
    old_bundle = sign_manifest(manifest_of(), name="m", signer=load_signer(key_path, "pass"))
    with pytest.raises(KeyFileError, match="never written over"):
        keyring.init_key(key_path, trust_path, "pass", name="x", at=NOW)

    second = keyring.rotate_key(
        key_path, trust_path, "pass2", old=first.public, at=NOW, supersede_at=NOW + 7 * DAY
    )
    store = keyring.load_trust(trust_path)
    assert (store.version, [key.name for key in store.keys]) == (2, ["ci team", "ci team"])
    assert load_signer(key_path, "pass2").key_id == second.key_id
    kept = key_path.with_name(f"signing-{first.key_id[:16]}.pem")
    assert load_signer(kept, "pass").key_id == first.key_id
    with pytest.raises(KeyFileError, match="is set aside already"):  # two who rotate it at once
        keyring.rotate_key(key_path, trust_path, "pass3", old=first.public, at=NOW)
    assert load_signer(kept, "pass").key_id == first.key_id
    assert verify_bundle(old_bundle, manifest_of(), store, at=NOW + DAY).valid
    assert verify_bundle(old_bundle, manifest_of(), store, at=NOW + 8 * DAY).reason == "key-superseded"

    revoked = keyring.revoke(store, second.key_id[:12], why=Revocation.COMPROMISED, at=NOW)
    keyring.save_trust(trust_path, revoked)
    new_bundle = sign_manifest(manifest_of(), name="m", signer=load_signer(key_path, "pass2"))
    loaded = keyring.load_trust(trust_path)
    assert loaded.version == 3
    assert verify_bundle(new_bundle, manifest_of(), loaded, at=NOW).reason == "key-compromised"
    with pytest.raises(KeyFileError, match="already"):
        keyring.revoke(loaded, second.key_id, why=Revocation.SUPERSEDED, at=NOW)


def test_a_revocation_only_ever_takes_away() -> None:
    """A compromise found after the key was superseded made good again what was signed between the two."""
    bundle = sign_manifest(manifest_of(), name="m", signer=signer())

    def counts(store: TrustStore, days: int) -> bool:
        return verify_bundle(bundle, manifest_of(), store, at=NOW, signed_at=NOW - days * DAY).valid

    def revoked(store: TrustStore, why: Revocation, days: int) -> TrustStore:
        return keyring.revoke(store, signer().key_id, why=why, at=NOW - days * DAY)

    store = revoked(trust(), Revocation.SUPERSEDED, 100)
    for why in (Revocation.SUPERSEDED, Revocation.COMPROMISED):
        store = revoked(store, why, 0)
        assert (counts(store, 50), counts(store, 101)) == (False, True)
    earlier = revoked(store, Revocation.COMPROMISED, 200)
    assert (counts(earlier, 101), counts(earlier, 201)) == (False, True)
    for why, days in ((Revocation.SUPERSEDED, 300), (Revocation.COMPROMISED, 199)):
        with pytest.raises(KeyFileError, match="already"):
            revoked(earlier, why, days)


def test_a_trust_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="cannot be written"):
        keyring.save_trust(tmp_path / "file" / "trust.json", rich())


def test_what_is_no_signed_trust_file_is_refused() -> None:
    unsigned = render_trust(TrustDocument(store=rich(), roots=None))
    made = sign_payload(unsigned, signers=[signer()], payload_type=PAYLOAD_TYPE)
    envelope = json.dumps(json.loads(made)["dsseEnvelope"]).encode()
    with pytest.raises(KeyFileError, match="says that nobody signed it"):
        open_signed_trust(envelope)
    with pytest.raises(KeyFileError, match="bytes"):
        open_signed_trust(b" " * ((2 << 20) + 1))


def test_keys_are_named_by_enough_of_their_id() -> None:
    store = trust()
    key_id = store.keys[0].key_id
    assert keyring.get_key(store, key_id[:8]) is store.keys[0]
    for prefix in (key_id[:7], "", "0123456789abcdef"):
        with pytest.raises(KeyFileError, match="no key"):
            keyring.get_key(store, prefix)
    with pytest.raises(KeyFileError, match="trusted already"):
        keyring.add_key(store, store.keys[0])


def test_a_signed_trust_file_is_changed_with_its_roots_only(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    keyring.save_trust(path, version(1).store, roots=ROOTS, signers=by("r1", "r2"))
    with pytest.raises(KeyFileError, match="needs its root keys"):
        keyring.save_trust(path, version(2).store)
    with pytest.raises(KeyFileError, match="is signed"):
        keyring.init_key(tmp_path / "k", path, "pass", name="x", at=NOW)
    with pytest.raises(KeyFileError, match="is signed"):
        keyring.rotate_key(tmp_path / "k", path, "pass", old=signer().public, at=NOW)
    keyring.save_trust(path, version(2).store, roots=ROOTS, signers=by("r2", "r3"))
    assert keyring.load_trust(path).version == 2
    assert PAYLOAD_TYPE in path.read_text()


def test_a_key_that_cannot_be_trusted_for_want_of_room_can_be_made_again(tmp_path: Path) -> None:
    key_path, trust_path = tmp_path / "signing.pem", tmp_path / "trust.json"
    with full_above(500), pytest.raises(KeyFileError, match="File too large"):  # which the key itself fits
        keyring.init_key(key_path, trust_path, "pass", name="ci", at=NOW)
    key = keyring.init_key(key_path, trust_path, "pass", name="ci", at=NOW)
    assert keyring.load_trust(trust_path).find(key.key_id) is not None


@pytest.mark.parametrize(
    "moment", ["before it is trusted", "before the old one is aside", "before it is in use"]
)
def test_a_rotation_that_was_interrupted_leaves_a_key_that_signs_and_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    key_path, trust_path = tmp_path / "signing.pem", tmp_path / "trust.json"
    first = keyring.init_key(key_path, trust_path, "pass", name="ci", at=NOW)
    where = {
        "before it is trusted": (keyring, "save_trust"),
        "before the old one is aside": (keyring, "_set_aside"),
        "before it is in use": (Path, "replace"),
    }
    replace_path = Path.replace

    def interrupted(path: object, *others: object, **_: object) -> object:
        if moment == "before it is in use" and not str(path).endswith(".next"):
            return replace_path(Path(str(path)), Path(str(others[0])))
        raise KeyboardInterrupt

    monkeypatch.setattr(*where[moment], interrupted)
    with pytest.raises(KeyboardInterrupt):
        keyring.rotate_key(key_path, trust_path, "pass", old=first.public, at=NOW)
    monkeypatch.undo()
    assert load_signer(str(key_path), "pass").key_id == first.key_id
    second = keyring.rotate_key(key_path, trust_path, "pass", old=first.public, at=NOW)
    assert load_signer(str(key_path), "pass").key_id == second.key_id
    aside = tmp_path / f"signing-{first.key_id[:16]}.pem"
    assert load_signer(str(aside), "pass").key_id == first.key_id
    assert sorted(path.name for path in tmp_path.glob("*.pem*")) == sorted([aside.name, "signing.pem"])
    assert keyring.load_trust(trust_path).find(second.key_id) is not None
