"""Reading of request lines: paths, matrix parameters, the grammar of `?properties=`, checksum headers."""

from __future__ import annotations

import pytest

from governance.devserver.paths import (
    check_keys,
    clean_path,
    client_checksums,
    parse_property_list,
    parse_target,
)
from governance.devserver.problems import Problem
from governance.devserver.security import ant_match


@pytest.mark.parametrize(
    ("raw", "repo", "path", "folder"),
    [
        ("r/a/b.bin", "r", "a/b.bin", False),
        ("r/a/b/", "r", "a/b", True),
        ("r", "r", "", True),
        ("r/", "r", "", True),
        ("r/./a//b", "r", "a/b", False),
        ("r/a%20b+c%2Bd", "r", "a b+c+d", False),
        ("r/a%3Bk%3Dv", "r", "a;k=v", False),
        ("r/%C3%BC%23%25", "r", "ü#%", False),
        ("r/a%2Fb", "r", "a/b", False),
    ],
)
def test_paths_are_decoded_once_by_uri_rules(raw: str, repo: str, path: str, folder: bool) -> None:
    target = parse_target(raw)
    assert (target.repo, target.path, target.is_folder) == (repo, path, folder)


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "a/../b",
        "a/..",
        "...",
        " a",
        "a /b",
        "a/ b",
        "&",
        "a\\b",
        "a|b",
        "a*b",
        'a"b',
        "a?b",
        "http://x/y",
        "a\0b",
    ],
)
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(Problem) as caught:
        clean_path(path)
    assert caught.value.status == 400


def test_an_encoded_way_up_is_refused_too() -> None:
    with pytest.raises(Problem):
        parse_target("r/a/%2e%2e/%2e%2e/etc/passwd")


@pytest.mark.parametrize(
    ("raw", "properties"),
    [
        ("r/a;k=v", {"k": ("v",)}),
        ("r/a;k=v;k=w;k=v", {"k": ("v", "w")}),
        ("r/a;k=a,b", {"k": ("a,b",)}),
        ("r/a;k=h+i", {"k": ("h i",)}),
        ("r/a;k=h%2Bi%3Bj%3D1", {"k": ("h+i;j=1",)}),
        ("r/a;k=a=b", {"k": ("a=b",)}),
        ("r/a;k", {"k": ("",)}),
        ("r;k=v/a", {"k": ("v",)}),
        ("r/a;k=x;evil=1", {"k": ("x",), "evil": ("1",)}),
    ],
)
def test_matrix_parameters(raw: str, properties: dict[str, tuple[str, ...]]) -> None:
    target = parse_target(raw)
    assert target.properties == properties
    assert (target.repo, target.path) == ("r", "a")


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("k=v", {"k": ("v",)}),
        ("k=a,b;m=c|n=d", {"k": ("a", "b"), "m": ("c",), "n": ("d",)}),
        (r"k=a\,b\;c\|d\=e\\f", {"k": ("a,b;c|d=e\\f",)}),
        ("k=a=b;m=c", {"m": ("c",)}),
        ("k", {"k": ("",)}),
    ],
)
def test_property_lists(text: str, properties: dict[str, tuple[str, ...]]) -> None:
    assert parse_property_list(text) == properties


def test_a_property_list_with_nothing_left_is_refused() -> None:
    with pytest.raises(Problem, match="cannot be empty"):
        parse_property_list("k=a=b")


@pytest.mark.parametrize("key", ["a", "build.name", "mlgov.key-id", "a:b", "a|b", "ünï"])
def test_good_property_keys(key: str) -> None:
    check_keys({key: ()})


@pytest.mark.parametrize(
    "key", ["", "1a", ".a", "a b", "a(b", "a/b", "a@b", "a%3Bb", "a=b", "a;b", "a,b", "a±b", "a`b"]
)
def test_bad_property_keys(key: str) -> None:
    with pytest.raises(Problem, match="invalid due to Name"):
        check_keys({key: ()})


def test_checksum_headers_in_any_spelling() -> None:
    assert client_checksums({"X-Checksum": "A" * 64}) == {"sha256": "a" * 64}
    assert client_checksums({"X-Checksum": "b" * 40}) == {"sha1": "b" * 40}
    assert client_checksums({"X-Checksum": "c" * 32, "X-Checksum-Sha1": "d"}) == {
        "md5": "c" * 32,
        "sha1": "d",
    }
    assert client_checksums({"X-Checksum": "short"}) == {}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**", "a/b", True),
        ("**/*", "a", True),
        ("a/**", "a/b/c", True),
        ("a/**", "ab/c", False),
        ("a/*", "a/b/c", False),
        ("*.bin", "x.bin", True),
        ("**/*.bin", "x.bin", True),
        ("a.b", "axb", False),
    ],
)
def test_ant_patterns(pattern: str, path: str, matches: bool) -> None:
    assert ant_match(pattern, path) is matches
