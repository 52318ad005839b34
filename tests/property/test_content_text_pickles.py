"""Texts that look like pickles of protocol 0: what no unpickler gets an import out of is a text, and what one does is never clean.

Python's own unpicklers are the oracle, and what torch does with them: behind the first pickle, persistent ids are answered.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, judge
from governance.content.listing import is_listing

EVIL = b"cos\nsystem\n"
PIECES = (
    EVIL, b"cacme.x\nY\n", b"(", b")", b"]", b"}", b"0", b"1", b"2", b"N", b"I01\n", b"I5\n", b"Ix\n", b"L5L\n", b"F1.5\n", b"S'a'\n",
    b"S'os'\n", b"V a\n", b"Pid\n", b"Q", b"p0\n", b"g0\n", b"g7\n", b"q\0", b"h\0", b"t", b"l", b"d", b"a", b"s", b"u", b"e", b"R", b"b",
    b"(S'x'\nios\nsystem\n", b".", b"G        ", b"K5", b"M55", b"J5555", b"T\1\0\0\0x", b"U\1x", b"X\1\0\0\0x", b"\n", b" ", b"=",
    b"text\n", b"The model\n", b"card\nfor it\n",
)  # fmt: skip


class Noting:
    """An unpickler that notes imports, and imports nothing."""

    def __init__(self, file: io.BytesIO, imports: list[str]) -> None:
        super().__init__(file)  # type: ignore[call-arg]  # of the unpickler that stands behind
        self.imports = imports

    def find_class(self, module: str, name: str) -> object:
        self.imports.append(f"{module}.{name}")
        return lambda *_: None


class Bare(Noting, pickle._Unpickler):
    """As written in Python."""


class BareInC(Noting, pickle.Unpickler):
    """As most use it."""


class Told(Bare):
    """As torch has it for the fourth pickle of its old format."""

    def persistent_load(self, pid: object) -> object:
        return pid


def imports_of(data: bytes, first: type[Bare | BareInC]) -> list[str]:
    """What is imported out of the pickles that begin a file."""
    file, imports = io.BytesIO(data), list[str]()
    with contextlib.suppress(Exception):
        first(file, imports).load()
        for _ in range(len(data)):
            Told(file, imports).load()
    return [name for name in imports if re.fullmatch(r"\w+(\.\w+)+", name)]  # what can be one


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map(b"".join))
def test_whatever_an_unpickler_imports_is_not_clean_whatever_the_file_is_called(data: bytes) -> None:
    assume(not is_listing(data, is_whole=True))  # which has a test of its own
    if imports_of(data, Bare) or imports_of(data, BareInC):
        for name in ("README", "a.txt", "m.json", "b.py", "weights.bin"):
            found = inspect(name, data)
            assert judge(found.imports, is_broken=found.broken is not None) != CLEAN or found.skipped


def test_torchs_old_format_with_a_persistent_id_before_what_runs() -> None:
    """Far behind the first bytes, and with pickles of no mark."""
    magic = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001})
    front = b"V" + b"x" * 6_000 + b"\n0" + b"".join(pickle.dumps(each, protocol=0) for each in magic)
    data = front + b"(S'module'\nNNNtQ0" + EVIL + b"(S'id'\ntR."
    assert imports_of(data, Bare) == ["os.system"]
    for name in ("pytorch_model.bin", "README"):
        found = inspect(name, data)
        assert (found.format, judge(found.imports, is_broken=False)) == ("pickle", MALICIOUS)


@pytest.mark.parametrize(
    "data",
    [
        b"Introduction\n============\n\nsocket\nmodule was\ncompiled with\ncare\n",
        b"Git 1.0\n=======\n\n calls\nclone\n",
        b"Certificate of origin\ncovers\nthis\n",
        b"STOP = {\n    cela\ncar\n",
        b"import os\nimport base64\n\n# this is done in two ways, once\nhere\n",
        b"cards\n-----\n\n once\nhere",
    ],
)
@pytest.mark.parametrize("name", ["README", "README.md", "LICENSE", "a.py", "stop_words.txt"])
def test_a_text_that_begins_like_a_pickle_is_a_text(name: str, data: bytes) -> None:
    found = inspect(name, data)
    assert (found.format, found.broken) == ("python" if name.endswith(".py") else "text", None)
    assert judge(found.imports, is_broken=False) == CLEAN


@pytest.mark.parametrize("front", [b"S'The model card'\n0", b"(lp0\n0", b"S'a'\n.Pid\n0"])
def test_and_a_text_that_is_a_pickle_is_one(front: bytes) -> None:
    found = inspect("README", front + EVIL + b"(S'id'\ntR.")
    assert (found.format, judge(found.imports, is_broken=False)) == ("pickle", MALICIOUS)
