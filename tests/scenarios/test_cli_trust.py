"""The trust file in the hands of people who hold root keys: signed one after the other, installed in order."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from governance.cli.trust import sign_document
from governance.signing import keys
from governance.signing.keyholder import KeyHolder
from governance.signing.keyring import add_key, load_trust, save_trust, trust_turn
from governance.signing.keys import LocalSigner, load_signer
from governance.signing.publickey import parse_public_key
from governance.signing.trust import TrustedKey
from tests.scenarios.cli import Cli, run_cli
from tests.scenarios.together import Together

EXPIRES = "2099-01-01T00:00:00.000000Z"


@pytest.fixture
def roots(cli: Cli, tmp_path: Path) -> dict[str, str]:
    """Three people's root keys: name to public key."""
    found = {}
    for name in ("ann", "bob", "eve"):
        assert cli("trust", "root", f"{name}.pem").code == 0
        found[name] = (tmp_path / f"{name}.pub").read_text()
    return found


def document(tmp_path: Path, roots: list[str], *, version: int, threshold: int = 2, **more: Any) -> str:
    """The next version of the trust file that is there, as somebody would write it."""
    plain = tmp_path / "home/plain.json"
    if not plain.exists():
        plain.write_text((tmp_path / "home/trust.json").read_text())
    tree = json.loads(plain.read_text())
    del tree["unsigned"]
    tree |= {"version": version, "expires": EXPIRES, "roots": {"threshold": threshold, "keys": roots}} | more
    path = tmp_path / f"v{version}.json"
    path.write_text(json.dumps(tree, indent=2))
    return path.name


def signed(cli: Cli, name: str, *people: str) -> str:
    output = name.replace(".json", ".signed.json")
    for person in people:
        done = cli("trust", "sign", name, "--root", f"{person}.pem", "--output", output)
        assert done.code == 0, done.err
        name = output
    return output


def test_somebody_elses_key_is_trusted_for_what_is_said_and_no_more(
    cli: Cli, roots: dict[str, str], tmp_path: Path
) -> None:
    add = ("trust", "add", "bob.pub", "--name", "bob")
    assert "--role" in cli(*add).err
    done = cli(*add, "--role", "waiver", "--repository", "models-*")
    assert done.code == 0, done.err
    (row,) = json.loads(cli("keys", "list", "--json").out)
    assert (row["name"], row["roles"], row["repositories"]) == ("bob", ["waiver"], ["models-*"])
    (entry,) = [json.loads(line) for line in cli("audit", "tail", "--kind", "key", "--json").out.splitlines()]
    assert (entry["body"]["event"], entry["body"]["key_id"], entry["body"]["name"]) == (
        "trusted",
        row["key_id"],
        "bob",
    )
    for arguments, said in (
        ((*add, "--role", "waiver"), "is trusted already"),
        (
            ("trust", "add", "nowhere.pem", "--name", "x", "--role", "waiver"),
            "there is no public key `nowhere.pem`",
        ),
        (("trust", "add", "bob.pem", "--name", "x", "--role", "waiver"), "public key"),  # the private half
        (("trust", "add", "ann.pub", "--name", " ", "--role", "waiver"), "needs the name of its owner"),
        (
            ("trust", "add", "ann.pub", "--name", "ann\u200b", "--role", "waiver"),
            "the name of the key's owner holds U+200B, which cannot be seen",
        ),
        (
            ("trust", "add", "ann.pub", "--name", "an\x07n", "--role", "waiver"),
            "holds U+0007, which cannot be seen",
        ),
        (("trust", "add", "ann.pub", "--name", "x", "--role", "timestamp"), "--role"),
    ):
        done = cli(*arguments)
        assert (done.code, said in done.err) == (2, True), done.err
    assert len(json.loads(cli("keys", "list", "--json").out)) == 1
    name = signed(cli, document(tmp_path, [roots["ann"]], version=3, threshold=1), "ann")
    assert cli("trust", "install", name).code == 0
    done = cli("trust", "add", "ann.pub", "--name", "ann", "--role", "waiver")
    assert (done.code, "is signed, so changing it needs its root keys" in done.err) == (2, True)


def test_of_two_who_sign_one_document_at_once_none_loses_the_others_signature(
    cli: Cli, roots: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("keys", "init")
    half = tmp_path / signed(cli, document(tmp_path, list(roots.values()), version=2), "ann")
    both = threading.Barrier(2)

    def signer_of(path: str, *_: object, **__: object) -> KeyHolder:
        found = load_signer(path, b"correct horse")
        assert isinstance(found, LocalSigner)
        return Together(found, both)

    monkeypatch.setenv("MLGOV_KEY_PASSPHRASE", "correct horse")
    monkeypatch.setattr(keys, "load_signer", signer_of)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda who: sign_document(half, str(tmp_path / f"{who}.pem"), half), ("bob", "eve")))
    assert len(json.loads(half.read_bytes())["signatures"]) == 3
    assert cli("trust", "install", half.name).code == 0


def test_from_the_first_version_to_new_roots(cli: Cli, roots: dict[str, str], tmp_path: Path) -> None:
    cli("keys", "init")
    assert "nobody signed it" in cli("trust", "show").out
    ann, bob, eve = roots.values()
    first = document(tmp_path, [ann, bob], version=2)
    half = signed(cli, first, "ann")
    refused = cli("trust", "install", half)
    assert (refused.code, "1 of its own root keys" in refused.err) == (2, True)
    first = signed(cli, first, "ann", "bob")
    done = cli("trust", "install", first)
    assert (done.code, "version 2 is in use" in done.out) == (0, True), done.err
    assert "expires" in cli("trust", "show").out
    # From now on it is changed where the roots are, and nowhere else.
    for command in (("keys", "rotate"), ("keys", "revoke", "0" * 8)):
        assert cli(*command).code == 2
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a").write_text("a")
    assert cli("sign", str(folder)).code == 0
    assert cli("verify", str(folder)).code == 0
    # New roots need the old ones' word; a version that only new ones signed is a takeover.
    second = document(tmp_path, [bob, eve], version=3)
    takeover = signed(cli, second, "eve", "bob")
    refused = cli("trust", "install", takeover)
    assert (refused.code, "the current version's root keys" in refused.err) == (2, True)
    second = signed(cli, second, "eve", "bob", "ann")
    third = signed(cli, document(tmp_path, [bob, eve], version=4), "bob", "eve")
    assert cli("trust", "install", second, third).code == 0
    # Neither back nor ahead, nor unsigned.
    assert "was seen before" in cli("trust", "install", second).err
    later = signed(cli, document(tmp_path, [bob, eve], version=6), "bob", "eve")
    assert "does not follow version 4" in cli("trust", "install", later).err
    (tmp_path / "home/trust.json").write_text((tmp_path / "home/plain.json").read_text())
    assert "is not signed, and a signed one was seen before" in cli("verify", str(folder)).err
    events = [
        json.loads(line)["body"]["event"]
        for line in cli("audit", "tail", "--kind", "key", "--json").out.splitlines()
    ]
    assert events == ["made", *["trust-installed"] * 3]


def test_one_person_who_signs_twice_is_one(cli: Cli, roots: dict[str, str], tmp_path: Path) -> None:
    cli("keys", "init")
    first = document(tmp_path, [roots["ann"], roots["bob"]], version=2)
    assert cli("trust", "install", signed(cli, first, "ann", "ann", "eve")).code == 2


def test_an_expired_version_vouches_for_nobody(cli: Cli, roots: dict[str, str], tmp_path: Path) -> None:
    cli("keys", "init")
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a").write_text("a")
    cli("sign", str(folder))
    old = document(tmp_path, [roots["ann"]], version=2, threshold=1, expires="2026-01-01T00:00:00.000000Z")
    assert cli("trust", "install", signed(cli, old, "ann")).code == 0
    refused = cli("verify", str(folder))
    assert (refused.code, "the trust file has expired" in refused.out) == (1, True)


def test_what_is_no_trust_document(cli: Cli, roots: dict[str, str], tmp_path: Path) -> None:
    cli("keys", "init")
    for name, text in {
        "unsigned": (tmp_path / "home/trust.json").read_text(),
        "nothing": "{}",
        "other": json.dumps({"payloadType": "x", "payload": "", "signatures": []}),
    }.items():
        (tmp_path / name).write_text(text)
        assert cli("trust", "sign", name, "--root", "ann.pem", "-o", "x").code == 2
        assert cli("trust", "install", name).code == 2
    assert cli("trust", "sign", "none", "--root", "ann.pem", "-o", "x").code == 2
    assert cli("trust", "install", "none").code == 2
    assert cli("trust", "root", "ann.pem").code == 2  # never written over


@pytest.mark.parametrize("what", ["named pipe", "folder", "device"])
@pytest.mark.parametrize(
    ("variable", "name"),
    [("MLGOV_KEY", "key"), ("MLGOV_TRUST", "trust"), ("MLGOV_KEY_PASSPHRASE_FILE", "passphrase")],
)
def test_no_key_and_no_trust_is_waited_for(variable: str, name: str, what: str, tmp_path: Path) -> None:
    """A pipe into which nobody writes would hold a process for ever, and a device never ends."""
    home = {"MLGOV_HOME": str(tmp_path / "home")}
    phrase = {"MLGOV_KEY_PASSPHRASE": "correct horse"}
    assert run_cli("keys", "init", variables=home | phrase).code == 0
    place = Path("/dev/zero") if what == "device" else tmp_path / "place"
    if what == "named pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("1")
    settings = home | ({} if name == "passphrase" else phrase) | {variable: str(place)}
    verb = "verify" if name == "trust" else "sign"
    if name == "trust":
        assert run_cli("sign", str(tmp_path / "model"), variables=home | phrase).code == 0
    done = run_cli(verb, str(tmp_path / "model"), variables=settings)
    assert (done.code, done.out) == (2, "")
    assert f"the {name} file `{place}` cannot be read: it is a {what}, not a file" in done.err
    assert "what to do: Fix" in done.err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"not_after": "2026-01-02T00:00:00.000000Z", "not_before": None}, "has expired"),
        ({"revoked": {"at": "2026-01-02T00:00:00.000000Z", "why": "superseded"}}, "is superseded"),
        ({"roles": ["waiver"]}, "may not vouch for models"),
    ],
)
def test_who_signs_in_vain_is_told(cli: Cli, tmp_path: Path, change: dict[str, Any], why: str) -> None:
    assert cli("keys", "init").code == 0
    path = tmp_path / "home/trust.json"
    document = json.loads(path.read_text())
    document["keys"][0] |= change
    path.write_text(json.dumps(document))
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("1")
    done = cli("sign", "model")
    assert done.code == 0  # elsewhere another trust file may count
    assert "by the trust file of this machine it does not count" in done.err
    assert why in done.err
    assert cli("verify", "model").code == 1
    seen = cli("doctor").out
    assert f"{why}, so what it signs is refused" in " ".join(seen.split())


def test_who_signs_alone_where_two_are_needed_is_told(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    path = tmp_path / "home/trust.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"thresholds": {"artifact": 2}}))
    (tmp_path / "m").mkdir()
    (tmp_path / "m/MLmodel").write_text("flavors: {}")
    done = cli("sign", "m")
    assert done.code == 0
    assert "`artifact` needs 2 distinct signers, and this is one" in done.err


def test_who_signs_for_good_is_told_nothing_else(cli: Cli, tmp_path: Path) -> None:
    assert cli("keys", "init").code == 0
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("1")
    assert cli("sign", "model").err == ""


def test_what_another_changes_meanwhile_is_kept(cli: Cli, roots: dict[str, str], tmp_path: Path) -> None:
    """A revocation that is overwritten would be a key that everybody goes on trusting."""
    path = tmp_path / "home/trust.json"
    assert cli("trust", "add", "bob.pub", "--name", "bob", "--role", "waiver").code == 0
    with ThreadPoolExecutor(1) as pool:
        with trust_turn(path):
            store = load_trust(path)
            revoking = pool.submit(cli, "keys", "revoke", store.keys[0].key_id, "--compromised")
            with suppress(TimeoutError):
                revoking.result(timeout=0.5)
            ann = TrustedKey(name="ann", public=parse_public_key(roots["ann"]), grant=store.keys[0].grant)
            save_trust(path, add_key(store, ann))
        done = revoking.result(timeout=30)
    assert (done.code, done.err) == (0, "")
    standing = {row["name"]: row["standing"] for row in json.loads(cli("keys", "list", "--json").out)}
    assert standing["ann"] == "trusted"
    assert standing["bob"].startswith("compromised from")
