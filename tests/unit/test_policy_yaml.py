"""Strict YAML: what is read, and each thing that is refused with its place and its own message."""

from __future__ import annotations

import time

import pytest

from governance.policy.strict_yaml import DEFAULT_LIMITS, Limits, YamlRefusedError, parse_yaml


def read(text: str) -> object:
    (document,) = parse_yaml(text.encode(), "f.yaml")
    return document.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("1:30", "1:30"), ("2026-11-20", "2026-11-20"),
        ("2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"), ("3.10", 3.1), ("'3.10'", "3.10"), ("12", 12), ("-3", -3),
        ("0x1F", 31), ("0o17", 15), ("1e3", 1000.0), ("true", True), ("False", False), ("null", None), ("~", None),
        ("", None), ("'true'", "true"), ("1_000", "1_000"), ("=", "="), ("0", 0), (".5", 0.5), ("é", "é"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert read(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, 1, "key `a` twice; it stands in line 1 already"),
        (b"a: &x 1", 1, 4, "an anchor"),
        (b"a: [*x]", 1, 5, "an alias"),
        (b"a:\n  <<: {b: 1}", 2, 3, "a merge key"),
        (b"a: !!str 1", 1, 4, "a tag (`!!str`)"),
        (b"a: !!python/object/apply:os.system [ls]", 1, 4, "a tag"),
        (b"%YAML 1.1\n---\na: 1", 1, 1, "a directive"),
        (b"1: a", 1, 1, "key `1`, which is not a string"),
        (b"true: a", 1, 1, "key `true`, which is not a string"),
        (b"? [a]\n: b", 1, 3, "a key that is not a plain string"),
        (b"a: 010", 1, 4, "leading zero"),
        (b"a: .inf", 1, 4, "not a finite number"),
        (b"a: 1e999", 1, 4, "too large"),
        (b"a: 12345678901234567890123", 1, 4, "a number of 23 digits"),
        (b"a: [1, 2", 2, 1, "not YAML"),
        (b"a: b: c", 1, 5, "not YAML"),
        (b"- a\n b: c", 2, 3, "not YAML"),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> f\n", 2, 1, "a merge conflict of git"),
        (b"a: 1\nb: \x00", 2, 4, "a NUL byte"),
        (b"a: \x07", 1, 4, "control character"),
        (b"\xef\xbb\xbfa: 1", 1, 1, "byte-order mark"),
        ("a: 1".encode("utf-16"), 1, 1, "UTF-16"),
        (b"a: 1\nb: \xff\xfe", 2, 4, "not UTF-8"),
        (b"a: caf\xe9", 1, 7, "not UTF-8"),
        ("# äöü\r# ü\na: é".encode() + b"\0", 3, 5, "a NUL byte"),
        ("# äöü\r\na: é".encode() + b"\xff", 2, 5, "not UTF-8"),
        ("# äöü\r\n\na: 😀\x07".encode(), 3, 5, "control character"),
        (
            "# äöü\na: 1 # all is well \u2028b: 2".encode(),
            2,
            20,
            "a line separator (U+2028); write it as `\\u2028`",
        ),
        ("a: é\x85".encode(), 1, 5, "a line separator (U+0085)"),
        (b'a: "\\ud800"', 1, 7, "not YAML"),
    ],
)
def test_what_is_refused_says_where_and_why(data: bytes, line: int, column: int, message: str) -> None:
    with pytest.raises(YamlRefusedError) as caught:
        parse_yaml(data, "f.yaml")
    assert (caught.value.line, caught.value.column) == (line, column)
    assert message in caught.value.message


def test_ten_megabytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(YamlRefusedError, match="10485760 bytes, more than"):
        parse_yaml(b"#" * (10 << 20), "f.yaml")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(YamlRefusedError, match="nesting deeper than 32"):
        parse_yaml(text.encode(), "f.yaml")
    assert time.monotonic() - begun < 5


def test_the_bomb_of_a_billion_laughs_does_not_go_off() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
    with pytest.raises(YamlRefusedError, match="an anchor"):
        parse_yaml(bomb.encode(), "f.yaml")


def test_more_values_than_allowed_are_refused() -> None:
    with pytest.raises(YamlRefusedError, match="more than 10 values"):
        parse_yaml(b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", "f.yaml", Limits(values=10))


def test_limits_fit_the_largest_policy_that_is_promised() -> None:
    assert DEFAULT_LIMITS.size >= 4 << 20
    assert DEFAULT_LIMITS.values >= 1_000_000


def test_each_document_knows_its_places() -> None:
    first, second = parse_yaml(b"a: 1\n---\nb:\n  - c: 3.10\n  - d\n", "f.yaml")
    assert (first.data, second.data) == ({"a": 1}, {"b": [{"c": 3.1}, "d"]})
    assert second.place(("b", 0, "c")) == (4, 8)
    assert second.place(("b", 0, "c"), key=True) == (4, 5)
    assert second.written(("b", 0, "c")) == "3.10"
    assert second.place(("b", 0, "nowhere", 7)) == (4, 5), "the nearest parent"
    assert first.place(()) == (1, 1)
