"""Two people sign one model, where the trust file asks for two: `mlgov sign --add`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.devserver import DevServer
from tests.scenarios.cli import Cli

MODEL = {"MLmodel": b"flavors: {}\n", "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}"}


@pytest.fixture
def bob(cli: Cli, tmp_path: Path) -> dict[str, str]:
    """The settings of a second person with a key of their own. One trust file asks for both."""
    variables = {"MLGOV_HOME": str(tmp_path / "bob")}
    for name, more in (("alice", {}), ("bob", variables)):
        assert cli("keys", "init", "--name", name, **more).code == 0
        assert cli("keys", "export", "--output", f"{name}.pem", **more).code == 0
    assert cli("trust", "add", "bob.pem", "--name", "bob", "--role", "artifact").code == 0
    trust = tmp_path / "home/trust.json"
    trust.write_text(json.dumps(json.loads(trust.read_text()) | {"thresholds": {"artifact": 2}}))
    return variables | {"MLGOV_TRUST": str(trust)}


@pytest.mark.parametrize("place", ["a folder", "a file", "in Artifactory", "a file in Artifactory"])
def test_a_second_person_adds_their_signature(
    cli: Cli, bob: dict[str, str], devserver: DevServer, repo: str, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name, data in MODEL.items():
        (folder / name).write_bytes(data)
        devserver.put(repo, f"m/{name}", data)
    devserver.put(repo, "lone/weights.bin", b"x")
    (tmp_path / "weights.bin").write_bytes(b"x")
    ref = {"a folder": "m", "a file": "weights.bin", "in Artifactory": f"{repo}/m"}.get(
        place, f"{repo}/lone/weights.bin"
    )
    assert "has no signature to which one could be added" in cli("sign", ref, "--add", **bob).err
    first = cli("sign", ref)
    assert first.code == 0, first.err
    assert "1 trusted signer(s) of 2" in cli("verify", ref).out
    again = cli("sign", ref, "--add")
    assert (again.code, "has signed it already" in again.err) == (1, True)
    added = cli("sign", ref, "--add", **bob)
    assert (added.code, added.err) == (0, "")
    assert "alice" in added.out
    report = json.loads(cli("verify", ref, "--json").out)
    assert (report["valid"], report["signers"]) == (True, ["alice", "bob"])


def test_nothing_is_added_to_a_signature_that_is_not_good(
    cli: Cli, bob: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "MLmodel").write_bytes(b"flavors: {}\n")
    assert cli("sign", "m").code == 0
    alone = (folder / "model.sig").read_bytes()
    (folder / "more").touch()
    changed = cli("sign", "m", "--add", **bob)
    assert (changed.code, "1 not signed" in changed.err) == (1, True)
    (folder / "more").unlink()
    stranger = {**bob, "MLGOV_TRUST": str(tmp_path / "bob/trust.json")}
    assert "no trusted key made this signature" in cli("sign", "m", "--add", **stranger).err
    assert (folder / "model.sig").read_bytes() == alone
    assert cli("sign", "m", "--add", "--output", "both.sig", **bob).code == 0
    assert (folder / "model.sig").read_bytes() == alone
    assert cli("verify", "m", "--signature", "both.sig").code == 0


def test_a_signer_of_several_is_in_order_and_told_how_the_next_one_signs(
    cli: Cli, bob: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/MLmodel").write_bytes(b"flavors: {}\n")
    assert "does not count alone: `artifact` needs 2 distinct signers" in cli("sign", "m", **bob).err
    seen = " ".join(cli("doctor", **bob).out.split())
    assert "`artifact` needs 2 distinct signers, and this is one" in seen
    assert "`mlgov sign --add`" in seen
    assert "so what it signs is refused" not in seen
