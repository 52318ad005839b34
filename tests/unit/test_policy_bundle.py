"""What a signed policy bundle is: what goes in, what its reader refuses, and which revisions were seen."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from governance.errors import SettingsError
from governance.model.digest import Sha256
from governance.policy.bundle import MANIFEST, BundleError, Seen, open_bundle, pack_bundle
from governance.policy.compile import compile_bundle
from governance.policy.load import load_files
from governance.policy.revisions import RevisionMemory
from tests.unit.bundle_kit import packed, sign, verify
from tests.unit.policy_kit import NOON, policy

CONTENT = Sha256("c" * 64)


def test_a_bundle_holds_what_went_in_and_is_the_same_bytes_each_time() -> None:
    archive = open_bundle(packed(48), verify=verify, name="acme", highest=Seen(revision=48, content=None))
    assert (archive.name, archive.seen.revision, archive.made, sorted(archive.files)) == (
        "acme",
        48,
        NOON,
        ["p.yaml", "set.yaml"],
    )
    assert packed(48) == packed(48)
    assert compile_bundle(load_files(archive.files)).revision == 48


def repacked(change: Callable[[dict[str, bytes]], None], *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A bundle with its members changed behind the signature's back."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            assert stream is not None
            members[entry.name] = stream.read()
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), kind if name == "link" else tarfile.REGTYPE
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def announcing(size: int) -> bytes:
    """A bundle whose policy says of itself that it is that long."""
    files = {"p.yaml": b"x"}
    signed = io.BytesIO(pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=signed) as tar, tarfile.open(fileobj=buffer, mode="w") as changed:
        for entry in tar:
            entry.pax_headers = {"size": str(size)} if entry.name == "p.yaml" else {}
            changed.addfile(entry, tar.extractfile(entry))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pé.yaml", "expected file names of ASCII characters"),
        (f"{'a' * 120}.yaml", "expected shorter file names"),
    ],
)
def test_a_name_that_no_bundle_can_hold_is_refused_when_it_is_made(name: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        pack_bundle({name: b"x"}, name="acme", revision=1, made=NOON, sign=sign)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected 1 to 2000 files, got 0"),
        ({f"{n}.yaml": b"" for n in range(2001)}, "expected 1 to 2000 files, got 2001"),
        (
            {"a.yaml": bytes(33 << 20), "b.yaml": bytes(33 << 20)},
            "expected files of at most 67108864 bytes together",
        ),
    ],
)
def test_no_bundle_is_made_that_its_reader_refuses(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign)


def test_the_largest_number_of_files_goes_in_and_out() -> None:
    files = {f"{n}.yaml": b"" for n in range(2000)}
    data = pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign)
    assert open_bundle(data, verify=verify, name="acme").files == files


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a tar archive"),
        (announcing(10**15), "a whole tar archive; this one is cut short"),
        (b"nonsense" * 200, "expected a tar archive"),
        (packed()[:3000], "expected"),
        (repacked(lambda files: files.update({"p.yaml": b"changed"})), "expected `p.yaml` with the digest of the manifest"),
        (repacked(lambda files: files.update({"more.yaml": b"x"})), "`more.yaml` the bundle holds unnamed"),
        (repacked(lambda files: files.__delitem__("set.yaml")), "`set.yaml` the manifest names and the bundle lacks"),
        (repacked(lambda files: files.__delitem__(MANIFEST)), "expected a bundle that begins with"),
        (repacked(lambda files: files.update({MANIFEST: b"unsigned"})), "a good signature: the signature is not good"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{}"})), "expected a manifest of type"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{ }"})), "a manifest in canonical JSON"),
        (repacked(lambda files: files.update({"../up.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"/etc/x.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"link": b""}), kind=tarfile.SYMTYPE), "expected plain files only"),
        (packed(41), "expected revision 42 or later, got 41: a rollback"),
        (packed(43, name="other"), "expected the bundle of `acme`, got that of `other`"),
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_right_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match="expected") as caught:
        open_bundle(
            data,
            verify=verify,
            name="acme",
            highest=Seen(revision=42, content=None) if "rollback" in message else None,
        )
    assert message in str(caught.value)


def test_revisions_that_many_note_at_once_are_all_kept(tmp_path: Path) -> None:
    """Server workers share the file, with bundles of several sets: what one noted was lost in what another had read before."""
    path = tmp_path / "revisions.json"
    names = [f"set-{number}" for number in range(8)]
    ready = threading.Barrier(len(names))

    def note(name: str) -> None:
        ready.wait(timeout=30)
        for revision in (1, 2, 3):
            RevisionMemory(path).saw(name, Seen(revision=revision, content=CONTENT))

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(note, names))
    assert [RevisionMemory(path).highest(name) for name in names] == [
        Seen(revision=3, content=CONTENT)
    ] * len(names)


def test_of_two_bundles_of_one_revision_that_are_taken_up_at_once_one_is_refused(tmp_path: Path) -> None:
    """Server workers share the file: each found nothing noted when it fetched its own."""
    path = tmp_path / "revisions.json"
    seen = [open_bundle(packed(2, text=text), verify=verify).seen for text in (None, policy())]
    RevisionMemory(path).saw("acme", seen[0])
    with pytest.raises(BundleError, match="others under the same number"):
        RevisionMemory(path).saw("acme", seen[1])
    assert RevisionMemory(path).highest("acme") == seen[0]


@pytest.mark.parametrize(
    "damage",
    [
        b"{", b"[]", b'{"acme":"x"}', b"{ }", b'{"acme":true}', b'{"acme":{"content":"x","revision":1}}',
        b'{"acme":{"revision":1}}',
    ],
)  # fmt: skip
def test_a_damaged_memory_of_revisions_is_no_fresh_start(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "revisions.json").write_bytes(damage)
    with pytest.raises(SettingsError, match="is damaged"):
        RevisionMemory(tmp_path / "revisions.json").highest("acme")
