"""Addresses: which texts are one, and what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.artifactory.address import Address, parse_uri, quoted
from governance.errors import GovernanceError, SettingsError, UnsafePathError
from governance.model.artifact import parse_repository_key

GOOD = [
    ("artifactory://h/artifactory/r", "h", "r", ""),
    ("artifactory://h/artifactory/r/", "h", "r", ""),
    ("ARTIFACTORY://Host.Example:8081/artifactory/r/a/b", "host.example:8081", "r", "a/b"),
    ("artifactory://127.0.0.1:8081/artifactory/models-local/1/ab/artifacts", "127.0.0.1:8081", "models-local", "1/ab/artifacts"),
    ("artifactory://[::1]:8081/artifactory/r/a", "[::1]:8081", "r", "a"),
    ("artifactory://h//artifactory/r//a///b/", "h", "r", "a/b"),
    ("artifactory://h/artifactory/r/a%20b", "h", "r", "a%20b"),
    ("artifactory://h/artifactory/r/a b;c=d#e?f+g", "h", "r", "a b;c=d#e?f+g"),
    ("artifactory://h/artifactory/r/größe/模型.bin", "h", "r", "größe/模型.bin"),
    ("artifactory://h/artifactory/r/...", "h", "r", "..."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "host", "repository", "path"), GOOD)
def test_an_address_is_read(text: str, host: str, repository: str, path: str) -> None:
    address = parse_uri(text)
    assert (address.host, address.repository, address.path) == (host, repository, path)
    assert parse_uri(address.uri) == address


BAD: list[tuple[str, type[GovernanceError]]] = [
    ("", SettingsError),
    ("artifactory:", SettingsError),
    ("https://h/artifactory/r", SettingsError),
    ("artifactory:///artifactory/r", SettingsError),
    ("artifactory://h", SettingsError),
    ("artifactory://h/r/a", SettingsError),
    ("artifactory://h/artifactory", SettingsError),
    ("artifactory://h/artifactory/", SettingsError),
    ("artifactory://h/artifactory/../r", SettingsError),
    ("artifactory://h/artifactory/-r/a", SettingsError),
    ("artifactory://h/artifactory/r;k=v/a", SettingsError),
    ("artifactory://h:0/artifactory/r", SettingsError),
    ("artifactory://h:99999/artifactory/r", SettingsError),
    ("artifactory://h:1:2/artifactory/r", SettingsError),
    ("artifactory://h h/artifactory/r", SettingsError),
    ("artifactory://evil.example\\@h/artifactory/r", SettingsError),
    ("artifactory://user:hunter2@h/artifactory/r", SettingsError),
    ("artifactory://h/artifactory/r/../secret", UnsafePathError),
    ("artifactory://h/artifactory/r/a/./b", UnsafePathError),
    ("artifactory://h/artifactory/r/a\\b", UnsafePathError),
    ("artifactory://h/artifactory/r/C:/windows", UnsafePathError),
    ("artifactory://h/artifactory/r/a\nb", UnsafePathError),
    ("artifactory://h/artifactory/r/" + "a" * 5000, UnsafePathError),
]


@pytest.mark.parametrize(("text", "kind"), BAD)
def test_what_is_none_is_refused(text: str, kind: type[GovernanceError]) -> None:
    with pytest.raises(kind) as caught:
        parse_uri(text)
    assert "hunter2" not in str(caught.value)


def test_going_down_and_up() -> None:
    root = Address(host="h", repository=parse_repository_key("r"))
    place = root / "a" / "b/c"
    assert place.path == "a/b/c"
    assert place.name == "c"
    assert place.parent.path == "a/b"
    assert (root / "a").parent == root
    assert root.parent == root
    assert root.name == "r"
    assert str(place) == place.uri


@pytest.mark.parametrize("name", ["../x", "/x", "", ".", "a//b", "C:\\x", "a\\b", "a\x00b"])
def test_no_name_leads_out(name: str) -> None:
    with pytest.raises(UnsafePathError):
        Address(host="h", repository=parse_repository_key("r")) / name


QUOTED = [
    ("a b", "r/a%20b"),
    ("a;k=v", "r/a%3Bk%3Dv"),
    ("a+b/c%20d", "r/a%2Bb/c%2520d"),
    ("a#b?c", "r/a%23b%3Fc"),
    ("é", "r/%C3%A9"),
    ("a!/b:c", "r/a%21/b%3Ac"),
    ("", "r"),
]


@pytest.mark.parametrize(("path", "url"), QUOTED)
def test_each_part_is_quoted_by_itself(path: str, url: str) -> None:
    assert quoted("r", path) == url


@given(st.text(max_size=60))
def test_a_quoted_path_has_the_parts_it_had(path: str) -> None:
    try:
        url = quoted("r", path)
    except UnsafePathError:
        return
    assert url.count("/") == path.count("/") + (1 if path else 0)
    assert not set(url) & set(";?#\\ +=&")
    assert url.isascii()
