"""`mlgov audit` as those use it who keep a log or check one."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.audit_tools import fill, tamper
from tests.full_disk import full_above
from tests.scenarios.audit_keeper import ORIGIN, Keeper
from tests.scenarios.cli import Cli


def test_the_whole_log_and_a_part_of_it(keeper: Keeper) -> None:
    keeper.fill(30)
    done = keeper.run("verify")
    assert (done.code, "proves itself: 31 entries" in done.out) == (0, True)
    done = keeper.run("verify", "--entries", "10:20")
    assert (done.code, "entries 10 to 19" in done.out) == (0, True)
    for wrong in ("20:10", "x", "0:99"):
        assert keeper.run("verify", "--entries", wrong).code == 2
    tamper(
        keeper.file,
        "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'd-14', 'd-41') AS BLOB) WHERE seq = 15",
    )
    assert keeper.run("verify", "--entries", "0:15").code == 0
    done = keeper.run("verify", "--entries", "10:20")
    assert (done.code, "entry 15: its bytes are not those" in done.err) == (4, True)
    assert keeper.run("verify").code == 4


def test_an_exported_folder_is_checked_without_the_log(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(300)
    assert keeper.run("export", "out", "--tiles").code == 0
    (keeper.home / "audit.sqlite").unlink()
    done = keeper.run("verify", "out", "--key", vkey)
    assert done.code == 0, done.err
    assert f"303 entries and 0 documents of the log `{ORIGIN}`" in done.out
    assert (tmp_path / "out/tile/entries/000").stat().st_size > 256 * 100
    assert len((tmp_path / "out/tile/0/000").read_bytes()) == 256 * 32
    # The one command that the folder names, as an auditor runs it.
    alone = [sys.executable, "out/verify_log.py", "out", "--key", vkey]
    assert "Good: 303 entries" in subprocess.run(alone, capture_output=True, text=True, check=True).stdout
    other = vkey.replace("team.example", "other.example")
    assert keeper.run("verify", "out", "--key", other).code == 2
    lines = (tmp_path / "out/entries.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out/entries.jsonl").write_bytes(b"".join([*lines[:7], lines[8], lines[7], *lines[9:]]))
    done = keeper.run("verify", "out")
    assert (done.code, "entry 7" in done.err) == (4, True)
    assert keeper.run("verify", "home").code == 2


def test_the_head_seen_last_is_remembered(keeper: Keeper) -> None:
    """The log is held against it, and a copy from before is no longer the log."""
    keeper.fill(5)
    shutil.copy(keeper.home / "audit.sqlite", keeper.home / "old.sqlite")
    keeper.fill(5)
    for compared in (0, 1):
        result = json.loads(keeper.run("verify", "--json").out)
        assert (result["size"], result["compared"]) == (12, compared)
    for name in ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"):
        (keeper.home / name).unlink(missing_ok=True)
    shutil.copy(keeper.home / "old.sqlite", keeper.home / "audit.sqlite")
    done = keeper.run("verify")
    assert (done.code, "a remembered tree had 12 entries; the log now ends at 6" in done.err) == (4, True)
    done = keeper.run("checkpoint", "--print")
    assert (done.code, "it was rolled back: it had 12 entries and has 6" in done.err) == (4, True)


def _roll_back(keeper: Keeper) -> None:
    """A log of 6 entries in place of one of 12, of which this machine remembers the head."""
    keeper.fill(5)
    shutil.copy(keeper.home / "audit.sqlite", keeper.home / "old.sqlite")
    keeper.fill(5)
    assert keeper.run("verify").code == 0
    for name in ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"):
        (keeper.home / name).unlink(missing_ok=True)
    shutil.copy(keeper.home / "old.sqlite", keeper.home / "audit.sqlite")


def test_a_log_that_was_rolled_back_is_handed_out_by_nobody(keeper: Keeper, tmp_path: Path) -> None:
    _roll_back(keeper)
    before = (keeper.home / "audit.sqlite").read_bytes()
    for verb in (
        ("export", "out"), ("export", "tiles", "--tiles"), ("prove", "3", "-o", "proof"),
        ("hold", "models/a", "--reason", "CASE-1"), ("erase", "outcome", "--older-than", "1d", "--reason", "old"),
    ):  # fmt: skip
        done = keeper.run(*verb)
        assert (done.code, "it was rolled back: it had 12 entries and has 6" in done.err) == (4, True), verb
    assert not [name for name in ("out", "tiles", "proof") if (tmp_path / name).exists()]
    assert (keeper.home / "audit.sqlite").read_bytes() == before, "and nothing is added to it"


def test_what_is_read_from_a_log_that_was_rolled_back_is_shown_and_is_an_error(keeper: Keeper) -> None:
    _roll_back(keeper)
    for verb in (
        ("search",),
        ("search", "--scan"),
        ("tail",),
        ("show", "3"),
        ("who-loaded", "models/a"),
        ("replay", "--all"),
    ):
        done = keeper.run(*verb)
        said = "what follows cannot be trusted: the audit log is not the one seen before: it was rolled back"
        assert (done.code, said in done.err) == (4, True), (verb, done.err)
        assert done.out, "somebody has to look into it"


def test_a_report_for_which_the_disk_has_no_room_leaves_the_one_before(
    keeper: Keeper, tmp_path: Path
) -> None:
    words = ("report", "-o", "r", "--format", "jsonl")
    keeper.fill(300)
    assert keeper.cli(*words).code == 0
    before = (tmp_path / "r/report.jsonl").read_bytes()
    with full_above(len(before) // 2):
        done = keeper.cli(*words)
    assert (done.code, "`r` cannot be written: File too large" in done.err) == (3, True), done.err
    assert (tmp_path / "r/report.jsonl").read_bytes() == before
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["report.jsonl"]


def test_a_receipt_for_which_the_disk_has_no_room_can_be_asked_for_again(
    keeper: Keeper, tmp_path: Path
) -> None:
    words = ("prove", "2", "-o", "proof")
    with closing(keeper.log()) as log:  # open, so that the log's own files are there whole
        fill(log, 3)
        with full_above(50):
            done = keeper.run(*words)
    assert (done.code, "cannot export to `proof`: File too large" in done.err) == (3, True), done.err
    assert not (tmp_path / "proof").exists()
    assert keeper.run(*words).code == 0
    assert sorted(path.name for path in (tmp_path / "proof").iterdir()) == [
        "entry.json",
        "receipt.tlog-proof",
    ]


def test_a_report_on_a_log_that_was_rolled_back_says_so_first(keeper: Keeper, tmp_path: Path) -> None:
    _roll_back(keeper)
    for words, page in (
        (["report", "-o", "plain"], "plain/report.html"),
        (["report", "compliance", "-o", "whole"], "whole/report.html"),
    ):
        done = keeper.cli(*words)
        assert (done.code, "a remembered tree had 12 entries; the log now ends at 6" in done.err) == (
            4,
            True,
        ), done.err
        assert "entry 6: a remembered tree" in done.err, "the first entry that is missing"
        assert "does not prove itself" in (tmp_path / page).read_text()
    assert "NOT PROVED" in (tmp_path / "whole/README.txt").read_text()
    assert b'"kind":"export"' not in (keeper.home / "audit.sqlite").read_bytes(), "nothing is added to it"


def test_a_report_is_held_against_heads_as_the_verification_is(keeper: Keeper, tmp_path: Path) -> None:
    keeper.fill(5)
    (tmp_path / "kept").mkdir()
    head = keeper.run("checkpoint", "--print").out
    (tmp_path / "kept" / "1.checkpoint").write_text(head)
    keeper.fill(3)
    assert keeper.cli("report", "compliance", "--earlier", "kept", "-o", "r1").code == 0
    (tmp_path / "empty").write_text("")
    name, size, _ = head.splitlines()
    (tmp_path / "other").write_text(head.replace(name, "another.example/audit"))
    for wrong in ("empty", "other", "nowhere"):
        for words in (["report", "compliance", "-o", "r2"], ["audit", "verify"]):
            done = keeper.cli(*words, "--earlier", wrong)
            assert (done.code, "what to do:" in done.err, f"`{wrong}`" in done.err) == (2, True, True), (
                done.err
            )
    assert not (tmp_path / "r2").exists()
    (tmp_path / "kept" / "2.checkpoint").write_text(
        f"{name}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n"
    )
    done = keeper.cli("report", "compliance", "--earlier", "kept", "-o", "r3")
    assert (done.code, "it was rewritten" in done.err) == (4, True), done.err
    assert "does not prove itself" in (tmp_path / "r3/report.html").read_text()


def test_a_damaged_head_in_an_anchors_folder_is_named(keeper: Keeper, tmp_path: Path) -> None:
    keeper.settings(f'audit_anchors = ["{tmp_path}/kept"]')
    keeper.fill(5)
    assert keeper.run("checkpoint").code == 0
    (path,) = (tmp_path / "kept").iterdir()
    path.write_text("acme\n")
    for verb in ("verify", "checkpoint"):
        done = keeper.run(verb)
        assert (done.code, f"`{path}` is damaged" in done.err, "what to do:" in done.err) == (
            4,
            True,
            True,
        ), done.err


def test_kept_checkpoints_are_what_the_log_must_continue(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(5)
    (tmp_path / "head").write_text(keeper.run("checkpoint", "--print").out)
    keeper.fill(5)
    assert keeper.run("verify", "--earlier", "head", "--key", vkey).code == 0
    other = keeper.log()
    shutil.move(keeper.home / "audit.sqlite", keeper.home / "aside.sqlite")
    shutil.rmtree(keeper.home / "audit-heads")
    other.close()
    keeper.fill(11, subject="models/b")
    done = keeper.run("verify", "--earlier", "head")
    assert (done.code, "not the one remembered with 6 entries: it was rewritten" in done.err) == (4, True)
    assert keeper.run("verify", "--earlier", "nowhere").code == 2


def test_heads_that_are_none_are_not_passed_over(keeper: Keeper, tmp_path: Path) -> None:
    """Whoever names a head wants the log held against it: an empty folder, an empty file and a wrong one are no reason to say
    that all is well, and a head from before the key is no break of the log."""
    keeper.fill(5)
    (tmp_path / "unsigned").write_text(keeper.run("checkpoint", "--print").out)
    vkey = keeper.key()
    assert keeper.run("export", "out").code == 0
    (tmp_path / "none").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "other").write_text("export A=1\n")
    (tmp_path / "large").write_bytes(b"x" * 200_000)
    for folder in ([], ["out"]):
        for name in ("none", "empty", "other", "large"):
            done = keeper.run("verify", *folder, "--earlier", name)
            assert (done.code in {2, 3}, f"`{name}`" in done.err) == (True, True), done.err
    done = keeper.run("verify", "--earlier", "unsigned", "--key", vkey)
    assert (done.code, "`unsigned`: a checkpoint that is not a signed note" in done.err) == (4, True)
    done = keeper.run("verify", "out", "--earlier", "unsigned", "--json")
    assert (done.code, json.loads(done.out)["compared"], json.loads(done.out)["good"]) == (0, 1, True)
    (tmp_path / "out/entries.jsonl").write_bytes((tmp_path / "out/entries.jsonl").read_bytes()[:-9])
    done = keeper.run("verify", "out", "--json")
    assert (done.code, json.loads(done.out)["good"]) == (4, False)
    (tmp_path / "out/leaves.txt").unlink()
    done = keeper.run("verify", "out")
    assert (done.code, "leaves.txt` cannot be read" in done.err) == (2, True)


def test_what_was_changed_is_neither_exported_nor_proven(keeper: Keeper, tmp_path: Path) -> None:
    """The tree still has the hash of what was recorded, so that both would be made, and fail at whoever checks them."""
    keeper.key()
    keeper.fill(30)
    tamper(
        keeper.file,
        "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'd-14', 'd-41') AS BLOB) WHERE seq = 15",
    )
    done = keeper.run("export", "out")
    assert (done.code, "entry 15: its bytes are not those of its hash" in done.err) == (4, True)
    done = keeper.run("prove", "15", "--output", "proof")
    assert (done.code, "entry 15 cannot be proven" in done.err) == (4, True)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "proof").exists()
    assert keeper.run("prove", "16", "--output", "proof").code == 0


def test_the_single_file_tells_a_wrong_argument_from_a_bad_log(keeper: Keeper, tmp_path: Path) -> None:
    keeper.key()
    keeper.fill(3)
    assert keeper.run("export", "out").code == 0
    (tmp_path / "empty").write_text("")
    for given in (
        ["--key", ""],
        ["--key", "typo"],
        ["--key", "a+b+"],
        ["--witness", "typo"],
        ["--earlier", "empty"],
    ):
        done = subprocess.run(
            [sys.executable, "out/verify_log.py", "out", *given], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.startswith("Could not be checked: ")) == (2, True), done


def test_a_key_has_a_passphrase_or_says_that_it_has_none(keeper: Keeper) -> None:
    assert keeper.run("key").code == 2
    keeper.settings(f'audit_key_passphrase_file = "{keeper.home}/secret"')
    path = keeper.home / "keys/audit.pem"
    (keeper.home / "secret").write_text("\n")
    assert (keeper.run("key").code, path.exists()) == (2, False)  # and is not left there without one
    (keeper.home / "secret").write_text("a long passphrase\n")
    assert keeper.run("key", "--unencrypted").code == 2
    done = keeper.run("key")
    assert (done.code, ORIGIN in done.out) == (0, True)
    assert "ENCRYPTED" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    keeper.fill(1)
    assert f"— {ORIGIN} " in keeper.run("checkpoint", "--print").out
    assert keeper.run("key").code == 2  # no key is overwritten
    keeper.settings("")
    assert keeper.run("checkpoint", "--print").code == 2  # a key that cannot be used is not left out


def test_a_receipt_is_checked_without_the_log(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    ids = keeper.fill(20)
    done = keeper.run("prove", ids[7], "-o", "proof")
    assert done.code == 0, done.err
    assert keeper.run("prove", "8", "-o", "again").code == 0
    assert (tmp_path / "proof/receipt.tlog-proof").read_bytes() == (
        tmp_path / "again/receipt.tlog-proof"
    ).read_bytes()
    (keeper.home / "audit.sqlite").unlink()
    done = keeper.run("receipt", "proof", "--key", vkey)
    assert (done.code, "number 8 of the 21" in done.out, "outcome about models/a" in done.out) == (
        0,
        True,
        True,
    )
    entry = tmp_path / "proof/entry.json"
    entry.write_bytes(entry.read_bytes().replace(b"d-7", b"d-8"))
    assert keeper.run("receipt", "proof", "--key", vkey).code == 4
    for wrong in (["99", "-o", "x"], [ids[0][:-1] + "0", "-o", "x"], ["1", "-o", "proof"]):
        assert keeper.run("prove", *wrong).code in {2, 4}


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
    changed = "CAST(replace(CAST(data AS TEXT), 'made', 'lost') AS BLOB)"
    tamper(tmp_path / "home/audit.sqlite", f"UPDATE entry SET data = {changed} WHERE seq = 1")
    done = cli("audit", "verify")
    assert done.code == 4
    assert "entry 1" in done.err
    assert cli("report").code == 4
    assert cli("doctor", "--offline").code == 4
