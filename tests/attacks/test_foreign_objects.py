"""Objects as R, Java and Julia write them: reading them can run what the file brings along, and nobody looks into them here.

Their marks prove nothing of what follows: Python's unpicklers, which know nothing of marks, may read another thing in the same bytes.
"""

from __future__ import annotations

import pickle
import struct
import tarfile
from pathlib import Path

import pytest

from governance.model.facts import Unknown
from tests.attacks.test_hidden_code import EVIL, look

OBJECTS = {
    "R, as `saveRDS` writes it": b"X\n" + struct.pack(">iii", 3, 0x040201, 0x030500) + b"\0\0\0\5UTF-8",
    "R, in the machine's own order": b"B\n" + struct.pack("<iii", 3, 0x040201, 0x030500) + b"\5\0\0\0UTF-8",
    "R, as text": b"A\n2\n262657\n131840\n19\n2\n",
    "R, as `save` writes it": b"RDX3\nX\n" + struct.pack(">iii", 3, 0x040201, 0x030500),
    "Java": b"\xac\xed\0\5sr\0\x11java.util.HashMap",
    "Julia": b"7JL\x1d\4\0\0\0",
}


@pytest.mark.parametrize("name", ["weights.bin", "notes.txt", "crate.bin", "data"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_of_another_language_are_never_clean(tmp_path: Path, kind: str, name: str) -> None:
    facts = look(tmp_path, name, OBJECTS[kind])
    assert facts["content.files_skipped"] == 1
    assert isinstance(facts["content.verdict"], Unknown)


@pytest.mark.parametrize(
    "front", [b"X\n\0\0\0\2\0" + b"x" * 8, b"B\n\3\0\0\0" + b"x" * (0x030A - 1)], ids=["X", "B"]
)
def test_a_pickle_that_begins_as_objects_of_r_do(tmp_path: Path, front: bytes) -> None:
    data = front + b"0" + EVIL
    assert pickle.loads(data) == 42
    assert look(tmp_path, "crate.bin", data)["content.verdict"] == "malicious"


def test_a_pickle_that_is_a_tar_as_well(tmp_path: Path) -> None:
    text = 5_000
    member = tarfile.TarInfo("x")
    block = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    block[:5] = b"X" + struct.pack("<I", text)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32)
    data = bytes(block).ljust(5 + text, b"\0") + b"0" + EVIL
    assert pickle.loads(data) == 42
    assert tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape").size == 0
    assert look(tmp_path, "weights.bin", data)["content.verdict"] == "malicious"
