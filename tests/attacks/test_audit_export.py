"""An exported log against somebody who changes it: every byte, and every way to drop, double, swap and insert."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.audit import verify_log
from governance.audit.checkpoint import Checkpoint
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.export import new_folder
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import Frontier, leaf_hash
from governance.audit.note import sign_note
from governance.errors import AuditBrokenError, SettingsError, TransferError
from tests.audit_tools import ORIGIN, body, fill, make_log, signer
from tests.report_tools import rest

KEY = signer().key.vkey
# The program and the text for people are not covered by the checkpoint: take the program from where you trust it.
UNCOVERED = {"verify_log.py", "README.txt"}


def make_export(folder: Path, *, signed: bool = True, count: int = 5) -> AuditLog:
    log = make_log(MemoryStore(), signers=[signer()] if signed else [])
    fill(log, count)
    log.append(EntryKind.OUTCOME, body(), subject="models/é", correlation="c", evidence=[b"facts", b"more"])
    log.export(folder)
    return log


@pytest.fixture(name="folder")
def export_folder(tmp_path: Path) -> Path:
    make_export(tmp_path / "export")
    return tmp_path / "export"


def is_refused(folder: Path, key: str | None = KEY) -> str | None:
    """What is wrong with the folder, if the verifier sees it, in the words it prints."""
    try:
        verify_log.check(folder, key)
    except (verify_log.BadLogError, ValueError, KeyError, TypeError, OSError) as error:
        return str(error) or type(error).__name__
    return None


def edit(folder: Path, change: Callable[[list[bytes]], list[bytes]], name: str = "entries.jsonl") -> None:
    path = folder / name
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_an_untouched_export_is_good(folder: Path) -> None:
    assert verify_log.check(folder, KEY).startswith(
        "Good: 8 entries and 2 documents of the log `acme.example/audit`"
    )
    assert "compare acme" in verify_log.check(folder)


def test_the_exported_program_runs_alone(folder: Path, tmp_path: Path) -> None:
    """With no package of ours in reach, and isolated from the environment."""
    command = [sys.executable, "-I", str(folder / "verify_log.py"), str(folder), "--key", KEY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout.splitlines()[0][:5]) == (0, "Good:")
    edit(folder, lambda lines: lines[:-1])
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("BAD: entry 7: missing")
    command[3] = str(tmp_path / "nowhere")
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 2


@pytest.mark.parametrize("signed", [True, False])
def test_every_byte_flipped_in_turn_is_detected(tmp_path: Path, signed: bool) -> None:
    folder = tmp_path / "export"
    make_export(folder, signed=signed, count=2)
    missed = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in UNCOVERED:
            continue
        whole = path.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << (place % 8)
            path.write_bytes(changed)
            # Without `--key` the key that came with the export is used, so that its own bytes count too.
            if is_refused(folder, None) is None:
                missed.append((path.name, place))
        path.write_bytes(whole)
    assert missed == []
    assert is_refused(folder, None) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:2] + lines[3:], "entry 2: it is missing; entry 3 stands in its place"),
        (lambda lines: lines[:3] + lines[2:], "entry 3: it is entry 2 again"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "entry 1: it is missing; entry 2 stands in its place"),
        (lambda lines: [*lines[:4], b"{}\n", *lines[4:]], "entry 4: it was inserted; the recorded one follows it"),
        (lambda lines: lines[:5], "entry 5: missing, as are all after it"),
        (lambda _: [], "entry 0: missing, as are all after it"),
        (lambda lines: [*lines, lines[0]], "entry 8: it is entry 0 again"),
        (lambda lines: [*lines, b'{"new":1}\n'], "entry 8: its bytes were changed after it was recorded, or it was added"),
        (lambda lines: [lines[0].replace(b"START", b"start") and lines[0].replace(b"test", b"best"), *lines[1:]], "entry 0: its bytes"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "the last line is cut short"),
        (lambda lines: [line.replace(b"\n", b"\r\n") for line in lines], "entry 0: its bytes"),
    ],
)  # fmt: skip
def test_what_was_done_to_the_entries_is_named(
    folder: Path, change: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    edit(folder, change)
    assert said in str(is_refused(folder))


def forge(folder: Path, change: Callable[[list[bytes]], list[bytes]], *, by: int | None) -> None:
    """Rewrite the log as its owner could: entries, leaves and checkpoint agree again, signed by key `by`."""
    edit(folder, change)
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    leaves = [leaf_hash(line) for line in lines]
    (folder / "leaves.txt").write_text("".join(f"{leaf.hex()}\n" for leaf in leaves))
    head = Checkpoint(origin=ORIGIN, size=len(leaves), root=Frontier().extend(leaves).root())
    (folder / "checkpoint").write_text(head.text if by is None else sign_note(head.text, [signer(by)]))


def test_a_rewritten_log_fails_for_want_of_the_key(folder: Path) -> None:
    forge(folder, lambda lines: [line.replace(b'"done"', b'"failed"') for line in lines], by=2)
    assert is_refused(folder) == "checkpoint: not signed by acme.example/audit"
    forge(folder, lambda lines: lines, by=None)
    assert is_refused(folder)


@pytest.mark.parametrize("packed", [b"", b"\x01", b"\x04" + b"k" * 32, b"\x01" + b"k" * 33])
def test_a_key_of_another_form_is_no_key(folder: Path, packed: bytes) -> None:
    name = "acme.example/audit"
    key_id = hashlib.sha256(name.encode() + b"\n" + packed).digest()[:4].hex()
    (folder / "log.vkey").write_text(f"{name}+{key_id}+{base64.b64encode(packed).decode()}\n")
    assert "not the key of a log" in (is_refused(folder, None) or "")


def test_a_log_rewritten_with_the_key_fails_against_an_earlier_checkpoint(folder: Path) -> None:
    earlier = (folder / "checkpoint").read_bytes()
    forge(folder, lambda lines: [*lines[:3], lines[3].replace(b'"done"', b'"failed"'), *lines[4:]], by=1)
    assert is_refused(folder) is None, (
        "consistent with itself, which is why checkpoints must leave the machine"
    )
    with pytest.raises(
        verify_log.BadLogError, match="entry 7: up to here this is not the log of the earlier"
    ):
        verify_log.check(folder, KEY, earlier)


def test_a_rolled_back_log_fails_against_an_earlier_checkpoint(folder: Path) -> None:
    earlier = (folder / "checkpoint").read_bytes()
    forge(folder, lambda lines: lines[:6], by=1)
    with pytest.raises(verify_log.BadLogError, match="entry 6: missing; the earlier checkpoint had 8"):
        verify_log.check(folder, KEY, earlier)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:3], *lines[4:]], "its entry number 4 is not in the log"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "entry 3: its id was used before"),
        (lambda lines: [*lines[:3], lines[3].replace(b'"n":4', b'"n":3'), *lines[4:]], "used the number 3 twice"),
        (lambda lines: [*lines[:3], lines[3].replace(b'{"at"', b'{ "at"'), *lines[4:]], "entry 3: not in canonical form"),
        (lambda lines: [*lines[:3], lines[3].replace(b'"v":1', b'"v":1,"v":1'), *lines[4:]], "a key stands twice"),
    ],
)  # fmt: skip
def test_even_with_the_key_the_entries_must_make_sense(
    folder: Path, change: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    forge(folder, change, by=1)
    assert said in str(is_refused(folder))


def test_documents_are_what_their_names_say(folder: Path) -> None:
    document = folder / "evidence" / evidence_digest(b"facts")
    document.write_bytes(b"other")
    assert "not the document" in str(is_refused(folder))
    document.unlink()
    assert "missing" in str(is_refused(folder))
    edit(folder, lambda lines: [line.replace(b"false", b"true") for line in lines], "evidence.jsonl")
    assert is_refused(folder)
    (folder / "evidence" / evidence_digest(b"more")).unlink()
    assert "no entry in the log says so" in str(is_refused(folder))


@pytest.mark.parametrize("kind", ["decision", "outcome", "policy"])
def test_a_document_removed_from_the_list_too_is_missed(tmp_path: Path, kind: str) -> None:
    log = make_log(MemoryStore(), signers=[signer()])
    name = rest(log, kind)
    log.export(tmp_path / "out")
    assert is_refused(tmp_path / "out") is None
    (tmp_path / "out" / "evidence" / name).unlink()
    edit(tmp_path / "out", lambda lines: [line for line in lines if name.encode() not in line], "evidence.jsonl")  # fmt: skip
    assert (
        is_refused(tmp_path / "out")
        == f"entry 1: the document {name} that it rests on is not in evidence.jsonl"
    )


def test_stray_text_beside_the_signature_is_refused(folder: Path) -> None:
    note = (folder / "checkpoint").read_text()
    for stray in (note + "x\n", note + "\n", note.replace("\n\n", "\n\n\n"), note[:-1]):
        (folder / "checkpoint").write_text(stray)
        assert is_refused(folder), stray


@pytest.mark.parametrize("name", [".", "", "../here"])
def test_the_folder_one_is_in_is_not_replaced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    log = make_log()
    with pytest.raises(SettingsError, match="is the folder you are in"):
        log.export(Path(name))
    assert log.checkpoint().size == 0


def test_a_folder_that_exists_is_not_written_into(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    log = make_log()
    fill(log, 4)
    size = log.checkpoint().size
    with pytest.raises(SettingsError, match="exists already"):
        log.export(folder)
    assert sorted(folder.rglob("*")) == before
    assert log.checkpoint().size == size  # and the log does not tell of an export that never was


def test_of_two_exports_to_one_folder_one_is_whole_and_the_other_an_error(tmp_path: Path) -> None:
    """As in two containers: both have one number."""
    log, folder = make_log(), tmp_path / "export"
    fill(log, 5)

    def export_slowly() -> None:
        with new_folder(folder) as slow:
            (slow / "begun").write_text("and not whole")
            log.export(folder)
            assert (slow / "begun").exists()

    with pytest.raises(TransferError, match="not empty"):
        export_slowly()
    assert verify_log.check(folder).startswith("Good: 7 entries")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_damaged_log_is_not_exported_as_if_it_were_whole(tmp_path: Path) -> None:
    store = MemoryStore()
    log = make_log(store)
    fill(log, 4)
    store._rows[2] = store._rows[2]._replace(leaf=b"\x00" * 32)
    with pytest.raises(AuditBrokenError, match="entry 2: its bytes are not those of its hash"):
        log.export(tmp_path / "export")
    assert not (tmp_path / "export").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_tiles_are_those_of_the_specification(tmp_path: Path) -> None:
    log = make_log(MemoryStore())
    fill(log, 600)
    log.export(tmp_path / "export", with_tiles=True)
    tiles = tmp_path / "export" / "tile"
    rows = list(log.store.rows(0, 602))
    assert (tiles / "0" / "000").read_bytes() == b"".join(row.leaf for row in rows[:256])
    assert (tiles / "0" / "002.p" / "90").read_bytes() == b"".join(row.leaf for row in rows[512:])
    assert (tiles / "1" / "000.p" / "2").read_bytes() == log.store.node(8, 0) + log.store.node(8, 1)
    bundle = (tiles / "entries" / "002.p" / "90").read_bytes()
    assert bundle == b"".join(len(row.data).to_bytes(2, "big") + row.data for row in rows[512:])
    shutil.rmtree(tmp_path / "export")
