"""Signed notes, checkpoints and receipts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.checkpoint import open_checkpoint, parse_checkpoint, parse_proof
from governance.audit.note import generate_key, load_signer, make_signer, parse_note, parse_vkey, sign_note
from governance.errors import AuditBrokenError, KeyFileError
from tests.audit_tools import ORIGIN, fill, make_log, signer

# The example of golang.org/x/mod/sumdb/note's documentation (BSD-3-Clause).
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"


def test_the_note_of_the_go_documentation() -> None:
    key = parse_vkey(PETER)
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETER_SECRET)[1:])
    note = sign_note(TEXT, [make_signer(private, name="PeterNeumann")])
    assert note == f"{TEXT}\n{LINE}"
    assert parse_note(note.encode()).require([key]) == TEXT
    assert key.vkey == PETER


def test_signatures_by_strangers_are_ignored_and_one_good_one_is_demanded() -> None:
    ours, other = signer(1), signer(2, "other")
    note = parse_note(sign_note("a\n", [other, ours]).encode())
    assert note.require([ours.key]) == "a\n"
    with pytest.raises(AuditBrokenError, match="no signature by a known key"):
        note.require([signer(3).key])


def test_a_bad_signature_by_a_known_key_condemns_the_note() -> None:
    ours, other = signer(1), signer(2, "other")
    good = sign_note("a\n", [ours, other])
    bad = parse_note(good.replace("a\n\n", "b\n\n", 1).encode())
    with pytest.raises(AuditBrokenError, match="is wrong"):
        bad.require([ours.key, other.key])


def test_up_to_sixteen_signatures_and_more_are_read() -> None:
    signers = [signer(n, f"w{n}") for n in range(1, 20)]
    assert parse_note(sign_note("a\n", signers).encode()).require([signers[-1].key]) == "a\n"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"a", b"a\n", b"a\n\n", b"a\n\n\n", b"\xff\n\n" + LINE.encode(), b"a\r\n\n" + LINE.encode(),
        b"a\n\n" + LINE.encode()[:-1], b"a\n\n- PeterNeumann AAAAAAAA\n", "a\n\n— AAAAAAAA\n".encode(),
        "a\n\n— x y z\n".encode(), "a\n\n— x AAAA\n".encode(), "a\n\n— x+y AAAAAAAA\n".encode(),
        "a\n\n— x AAAAAAAB=\n".encode(), b"a" * (1 << 20) + b"\n\n" + LINE.encode(),
        b"a\n\n" + LINE.encode() * 101,
    ],
)  # fmt: skip
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(AuditBrokenError):
        parse_note(data)


@pytest.mark.parametrize("vkey", ["", "a+b", "a+00000000+AAAA", PETER.replace("c74f", "c74e"), PETER[:-1]])
def test_malformed_keys_are_refused(vkey: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_vkey(vkey)


def test_a_key_file_is_private_encrypted_and_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.pem"
    generate_key(path, passphrase="open")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    loaded = load_signer(path, name=ORIGIN, passphrase="open")
    assert "rivate" not in repr(loaded).replace("_private", "")
    with pytest.raises(KeyFileError):
        generate_key(path, passphrase="open")
    for wrong in ("shut", None):
        with pytest.raises(KeyFileError):
            load_signer(path, name=ORIGIN, passphrase=wrong)
    with pytest.raises(KeyFileError):
        load_signer(tmp_path / "none.pem", name=ORIGIN)


def test_a_passphrase_is_hardened_as_for_signing_keys_and_an_empty_one_is_none(tmp_path: Path) -> None:
    generate_key(tmp_path / "k", passphrase="secret")
    der = base64.b64decode("".join((tmp_path / "k").read_text().splitlines()[1:-1]))
    assert bytes.fromhex("06092b06010401da47040b") in der  # scrypt, RFC 7914
    with pytest.raises(KeyFileError, match="empty"):
        generate_key(tmp_path / "other", passphrase="")
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_is_believed_only_with_key_and_origin() -> None:
    log = make_log(signers=[signer()])
    fill(log, 5)
    checkpoint = log.checkpoint()
    key = signer().key
    assert open_checkpoint(checkpoint.to_bytes(), [key], origin=ORIGIN) == checkpoint
    with pytest.raises(AuditBrokenError, match="about the log"):
        open_checkpoint(checkpoint.to_bytes(), [key], origin="else")
    with pytest.raises(AuditBrokenError):
        open_checkpoint(checkpoint.to_bytes(), [signer(9).key])


@pytest.mark.parametrize(
    "text",
    [
        "", "a\n", "a\n1\n", "a\n01\n" + "A" * 43 + "=\n", "a\n1\nAAAA\n", "a\n-1\n" + "A" * 43 + "=\n",
        "\n1\n" + "A" * 43 + "=\n", "a\n1\n" + "A" * 43 + "=\n\nx\n", "a\n1\n" + "A" * 42 + "B=\n",
    ],
)  # fmt: skip
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(AuditBrokenError):
        parse_checkpoint(text)


def test_extension_lines_are_signed_and_ignored() -> None:
    text = "a\n1\n" + "A" * 43 + "=\nextension\n"
    assert parse_checkpoint(text).size == 1


def test_a_receipt_verifies_offline_and_only_for_its_entry() -> None:
    log = make_log(signers=[signer()])
    fill(log, 300)
    rows = list(log.store.rows(0, 301))
    for index in (0, 1, 255, 256, 300):
        receipt = parse_proof(log.prove(index).to_bytes())
        assert receipt.verify(rows[index].data, [signer().key], origin=ORIGIN).size == 301
        with pytest.raises(AuditBrokenError):
            receipt.verify(rows[(index + 1) % 301].data, [signer().key])
    with pytest.raises(ValueError, match="no leaf"):
        log.prove(301)


def test_the_receipt_of_the_specification_is_read() -> None:
    """The example of c2sp.org/tlog-proof, with its extra line."""
    text = (
        "c2sp.org/tlog-proof@v1\nextra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\nindex 73894\n"
        "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\n"
        "example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n"
    )
    receipt = parse_proof(text.encode())
    assert (receipt.index, len(receipt.hashes)) == (73894, 2)
    assert receipt.checkpoint.startswith(b"example.com/fancylog\n")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"c2sp.org/tlog-proof@v1\n\nx", b"c2sp.org/tlog-proof@v2\nindex 0\n\nx", b"c2sp.org/tlog-proof@v1\nindex 0",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\nx", b"c2sp.org/tlog-proof@v1\nindex -1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx", b"\xff\n\n", b"c2sp.org/tlog-proof@v1\nextra x\n\nx",
    ],
)  # fmt: skip
def test_malformed_receipts_are_refused(data: bytes) -> None:
    with pytest.raises(AuditBrokenError):
        parse_proof(data)
