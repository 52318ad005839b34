"""GGUF files: the templates of prompts in their header; and files of which only parts are read."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from governance.content.effort import SPENT, Effort, SpentError
from governance.content.inspection import inspect, inspect_parts
from governance.content.judgement import judge
from governance.content.seen import Inspection
from governance.content.windows import Window
from tests.unit.test_content_onnx import OUTSIDE, field, model, tensor

ESCAPE = "{{ cycler.__init__.__globals__.os.popen('true').read() }}"
NAMES = ("?template.__globals__", "?template.__init__")


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def array(key: str, kind: int, count: int, items: bytes) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, kind, count) + items


def gguf(*entries: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 1, len(entries)) + b"".join(entries)


TOKENS = array("tokenizer.ggml.tokens", 8, 2_000, text("token") * 2_000)
SCORES = array("tokenizer.ggml.scores", 6, 2_000, bytes(8_000))
NESTED = array(
    "general.nested", 9, 2, struct.pack("<IQ", 8, 1) + text("a") + struct.pack("<IQ", 0, 3) + b"abc"
)
BEFORE = (
    entry("general.architecture", "llama"),
    text("general.alignment") + struct.pack("<II", 4, 32),
    TOKENS,
    SCORES,
    NESTED,
)


def in_parts(name: str, data: bytes, effort: Effort | None = None) -> tuple[Inspection, list[int]]:
    """What is found in a file that is not held, and how much was read at a time."""
    sizes = []

    def read(start: int, size: int) -> bytes:
        sizes.append(size)
        return data[start : start + size]

    return inspect_parts(name, data[:4096], len(data), read, effort or Effort()), sizes


WAYS: dict[str, Callable[[bytes], Inspection]] = {
    "held": lambda data: inspect("model.gguf", data),
    "in parts": lambda data: in_parts("model.gguf", data)[0],
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize(
    "held",
    [
        entry("tokenizer.chat_template", ESCAPE),
        entry("tokenizer.chat_template.tool_use", ESCAPE),
        array("tokenizer.chat_template", 8, 2, text("{{ a }}") + text(ESCAPE)),
    ],
)
def test_a_template_in_the_header_is_looked_into(way: str, held: bytes) -> None:
    for version in (2, 3):
        found = WAYS[way](gguf(*BEFORE, held, SCORES, version=version) + bytes(100_000))
        assert (found.format, found.imports) == ("gguf", NAMES)
        assert judge(found.imports, is_broken=False) == "malicious"


@pytest.mark.parametrize("way", list(WAYS))
def test_an_ordinary_header_is_clean(way: str) -> None:
    usual = entry("tokenizer.chat_template", "{% for m in messages %}{{ m['content'] | trim }}{% endfor %}")
    assert WAYS[way](gguf(*BEFORE, usual) + bytes(100_000)) == Inspection(format="gguf")


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize(
    "data",
    [
        gguf(*BEFORE)[:-1],
        gguf(text("a") + struct.pack("<I", 13)),
        gguf(array("a", 0, 1 << 60, b"")),
        gguf(text("tokenizer.chat_template") + struct.pack("<IIQ", 9, 9, 1)),
        gguf(array("a", 9, 1, struct.pack("<IQ", 9, 1) * 5)),
        gguf(struct.pack("<Q", 100) + b"a"),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40),
    ],
)
def test_a_header_that_does_not_fit_together_is_not_clean(way: str, data: bytes) -> None:
    assert WAYS[way](data).broken == "a GGUF file whose header does not fit together"


@pytest.mark.parametrize(
    "data",
    [
        gguf(version=1) + bytes(99),
        gguf(version=4),
        gguf(version=3 << 24),
        gguf(text(b"k" * 70_000)),
        gguf(entry("tokenizer.chat_template", "{" * (2 << 20))),
        gguf(entry("tokenizer.chat_template", "{% nothing %}")),
    ],
)
def test_what_is_not_read_here_is_not_clean(data: bytes) -> None:
    assert inspect("model.gguf", data).skipped


def test_a_text_that_begins_with_the_formats_name_is_one() -> None:
    for data in (b"GGUF", b"GGUF quantizations of a model\n", b"GGUF = 1\n"):
        assert inspect("notes.txt", data).broken is None


def test_a_long_header_takes_few_reads_and_little_memory() -> None:
    many = array("tokenizer.ggml.tokens", 8, 300_000, text("a token") * 300_000)
    found, sizes = in_parts("model.gguf", gguf(many, entry("tokenizer.chat_template", ESCAPE)))
    assert found.imports == NAMES
    assert (len(sizes) < 10, max(sizes) <= 4 << 20) == (True, True)


def test_an_onnx_file_that_is_not_held_is_followed_past_its_weights() -> None:
    weights = field(5, field(8, b"weights") + field(9, bytes(3 << 20)))
    beside = field(5, tensor(b"model.onnx.data"))
    outside = field(5, tensor(b"../../etc/passwd"))
    assert in_parts("model.onnx", model(weights * 6 + beside))[0] == Inspection(format="onnx")
    found, sizes = in_parts("model.onnx", model(weights * 6 + outside))
    assert found.broken == OUTSIDE
    assert sum(sizes) < 2 << 20


def test_reading_in_parts_is_bounded() -> None:
    weights = field(5, field(9, bytes(1 << 20)))
    found, sizes = in_parts("model.onnx", model(weights * 140))
    assert found.skipped
    assert len(sizes) <= 128
    window = Window(lambda _, size: bytes(size), 1 << 40, Effort())
    with pytest.raises(SpentError):
        window[: 5 << 20]
    with pytest.raises(SpentError):
        b"".join(window[at : at + (1 << 20)] for at in range(0, 1 << 30, 1 << 20))
    little = Window(lambda _, size: bytes(size), 1 << 20, Effort(operations=5))
    with pytest.raises(SpentError):
        little[:10]


def test_many_empty_templates_are_not_looked_at_for_ever() -> None:
    many = array("tokenizer.chat_template", 8, 20_000, bytes(8 * 20_000))
    assert inspect("model.gguf", gguf(many), effort=Effort(operations=50_000)).skipped == SPENT
    assert inspect("model.gguf", gguf(many), effort=Effort(operations=100_000)).skipped is None


def test_a_large_file_leaves_something_for_those_beside_it() -> None:
    effort = Effort(operations=100_000)
    found, _ = in_parts("model.onnx", model(field(5, b"") * 50_000), effort)
    assert found.skipped
    assert effort.operations > 45_000


def test_a_file_that_may_be_a_pickle_too_is_not_followed() -> None:
    found, _ = in_parts("model.gguf", gguf(*BEFORE) + b"PK\x03\x04")
    assert found == Inspection(format="gguf")
    assert in_parts("model.gguf", b"GGUF\x03\x00\x00\x00PK\x03\x04" + bytes(50_000))[0].skipped
