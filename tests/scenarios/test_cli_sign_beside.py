"""Two people sign one model, where the trust file asks for two: `mlgov sign --add`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from governance.cli.sign_beside import add_local
from governance.devserver import DevServer
from governance.devserver.faults import Fault
from governance.settings import load_settings
from governance.signing.keys import LocalSigner
from governance.wiring import build_assembly
from tests.scenarios.cli import Cli
from tests.scenarios.together import Together

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


@pytest.fixture
def carol(cli: Cli, bob: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The settings of a third person."""
    variables = {"MLGOV_HOME": str(tmp_path / "carol")}
    assert cli("keys", "init", "--name", "carol", **variables).code == 0
    assert cli("keys", "export", "--output", "carol.pem", **variables).code == 0
    assert cli("trust", "add", "carol.pem", "--name", "carol", "--role", "artifact").code == 0
    return bob | variables


def test_of_two_who_add_theirs_to_a_folder_at_once_none_is_lost(
    cli: Cli, bob: dict[str, str], carol: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "MLmodel").write_bytes(b"flavors: {}\n")
    assert cli("sign", "m").code == 0
    both = threading.Barrier(2)

    def add(person: dict[str, str]) -> None:
        settings = load_settings(home=Path(person["MLGOV_HOME"]), trust=Path(person["MLGOV_TRUST"]))
        with closing(build_assembly(settings)) as assembly:
            assert isinstance(assembly.signer, LocalSigner)
            add_local(folder, Together(assembly.signer, both), assembly, None)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, (bob, carol)))
    assert capsys.readouterr().out.count("added a signature") == 2
    report = json.loads(cli("verify", "m", "--json").out)
    assert (report["valid"], sorted(report["signers"])) == (True, ["alice", "bob", "carol"])
    assert sorted(path.name for path in folder.iterdir()) == ["MLmodel", "model.sig"]


def added_in_artifactory(
    cli: Cli, devserver: DevServer, repo: str, carol: dict[str, str]
) -> tuple[str, bytes]:
    """A model that alice signed, and its signature file as carol's would make it."""
    devserver.put(repo, "m/MLmodel", b"flavors: {}\n")
    assert cli("sign", f"{repo}/m").code == 0
    assert cli("sign", f"{repo}/m", "--add", "--output", "carols.sig", **carol).code == 0
    return f"{repo}/m", Path("carols.sig").read_bytes()


def test_a_signature_that_came_while_another_was_made_is_not_overwritten(
    cli: Cli,
    bob: dict[str, str],
    carol: dict[str, str],
    devserver: DevServer,
    repo: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ref, carols = added_in_artifactory(cli, devserver, repo, carol)
    sign: Callable[[LocalSigner, bytes], bytes] = LocalSigner.sign

    def overtaken(signer: LocalSigner, message: bytes) -> bytes:
        devserver.put(repo, "m/model.sig", carols)
        return sign(signer, message)

    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", overtaken)
        late = cli("sign", ref, "--add", **bob)
    assert (late.code, "another signature was stored" in late.err) == (3, True)
    assert "Run `mlgov sign --add` again" in late.err
    assert devserver.read(repo, "m/model.sig") == carols
    assert cli("sign", ref, "--add", **bob).code == 0
    assert json.loads(cli("verify", ref, "--json").out)["signers"] == ["alice", "carol", "bob"]


@pytest.mark.parametrize("is_kept", [False, True])
def test_whoever_adds_a_signature_is_told_whether_it_was_kept(
    cli: Cli, bob: dict[str, str], carol: dict[str, str], devserver: DevServer, repo: str, *, is_kept: bool
) -> None:
    """Artifactory takes no upload on condition: of two at once, the later one replaces the earlier."""
    ref, carols = added_in_artifactory(cli, devserver, repo, carol)

    def overtaken(answer: bytes) -> bytes:
        stored, theirs = json.loads(devserver.read(repo, "m/model.sig")), json.loads(carols)
        if is_kept:  # carol had read what bob wrote
            stored["dsseEnvelope"]["signatures"].append(theirs["dsseEnvelope"]["signatures"][-1])
            theirs = stored
        devserver.put(repo, "m/model.sig", json.dumps(theirs).encode())
        return answer

    devserver.faults.add(Fault(method="PUT", path=f"*/{repo}/m/model.sig", rewrite=overtaken))
    added = cli("sign", ref, "--add", **bob)
    assert (added.code, "another signature was stored" in added.err) == ((0, False) if is_kept else (3, True))
    assert ("bob" in json.loads(cli("verify", ref, "--json").out)["signers"]) is is_kept


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
