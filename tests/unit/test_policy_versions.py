"""Orders of versions: chains from the documentation of each ecosystem, and odd texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.policy.versions import (
    RANGE_SCHEMES,
    compare_versions,
    in_range,
    parse_range,
    version_spellings,
)

CHAINS = {
    "deb": "0.9~~ 0.9~~a 0.9~ 0.9 0.9a 0.9+ 1.0~rc1-1 1.0-0ubuntu2 1.0-0ubuntu10 1.0-1 1.9 1.10 1:0.1",
    "rpm": "1.0~rc1-1 1.0-1 1.0-2 1.0-10 1.0^git1-1 1.0a-1 1.0.1-1 1.9-1 1.10-1 1:0.1-1",
    "maven": "1-alpha-1 1-beta-2 1-milestone 1-rc1 1-snapshot 1 1-sp 1-abc 1-1 1.1 1.10 2.0-SNAPSHOT 2.0",
    "nuget": "1.0.0-alpha 1.0.0-Beta.2 1.0.0-beta.11 1.0.0 1.0.0.1 1.9 1.10",
    # conda.io, `Version ordering`
    "conda": "0.4 0.4.1.rc 0.4.1 0.5a1 0.5b3 0.5C1 0.5 0.9.6 0.960923 1.0 1.1dev1 1.1_ 1.1a1 1.1.dev1 1.1.a1 1.1.0rc1 1.1.0 "
             "1.1.0post1 1.1post1 1996.07.12 1!0.4.1 2!0.4.1",
    # semver.org, section 11
    "npm": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0",
    # PEP 440, `Summary of permitted suffixes and relative ordering`
    "pypi": "1.dev0 1.0.dev456 1.0a1 1.0a2.dev456 1.0a12.dev456 1.0a12 1.0b1.dev456 1.0b2 1.0b2.post345.dev456 1.0b2.post345 "
            "1.0rc1.dev456 1.0rc1 1.0 1.0.post456.dev34 1.0.post456 1.0.15 1.1.dev1 1!0.1",
}  # fmt: skip
SAME = {
    "deb": [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.01", "1.1")],
    "rpm": [("1.0", "1.0-3.el8"), ("1.0-3.el8", "1.0"), ("1.01-1", "1.1-1"), ("1.0-1", "0:1.0-1")],
    "maven": [("1.0", "1"), ("1.0.Final", "1-ga"), ("1.0-cr1", "1.0-RC1"), ("1.0a1", "1.0-alpha-1"), ("1.0.0-foo.0.0", "1-foo")],
    "nuget": [("1.0", "1.0.0.0"), ("1.0.0-BETA", "1.0.0-beta"), ("1.0.0+a", "1.0.0+b")],
    "conda": [("0.4", "0.4.0"), ("0.4.1.rc", "0.4.1.RC"), ("1.1.0dev1", "1.1.dev1"), ("1.1.0post1", "1.1.post1")],
    "npm": [("1.0.0+a", "1.0.0"), ("v1.0.0", "1.0.0")],
    "pypi": [("1.0", "v1.0.0"), ("2.0.0+cu118", "2.0"), ("1.0-rc.1", "1.0rc1"), ("1.0-1", "1.0.post1")],
}  # fmt: skip


@pytest.mark.parametrize("ecosystem", CHAINS)
def test_each_is_before_all_that_follow(ecosystem: str) -> None:
    chain = CHAINS[ecosystem].split()
    for place, version in enumerate(chain):
        for later in chain[place + 1 :]:
            assert compare_versions(ecosystem, version, later) == -1, (version, later)
            assert compare_versions(ecosystem, later, version) == 1, (version, later)


@pytest.mark.parametrize(
    ("ecosystem", "pair"), [(name, pair) for name, pairs in SAME.items() for pair in pairs]
)
def test_spellings_of_one_version(ecosystem: str, pair: tuple[str, str]) -> None:
    assert compare_versions(ecosystem, *pair) == 0
    assert (
        in_range(parse_range(f"vers:{ecosystem}/{pair[1].replace('+', '%2B')}"), ecosystem, pair[0]) is True
    )


def test_a_local_label_that_a_policy_writes_is_compared() -> None:
    assert compare_versions("pypi", "2.0.0", "2.0.0+cu118") == -1
    assert compare_versions("pypi", "2.0.0+cu121", "2.0.0+cu118") == 1


@pytest.mark.parametrize("ecosystem", CHAINS)
def test_what_begins_with_no_digit_is_no_version(ecosystem: str) -> None:
    for odd in ("unknown", "latest", "", " 1.0 1", "\u0661.0.0", "-1", "${version}", "1" * 200):
        assert compare_versions(ecosystem, odd, "1.0.0") is None, odd


@pytest.mark.parametrize("scheme", RANGE_SCHEMES)
def test_every_scheme_has_ranges(scheme: str) -> None:
    ecosystem = None if scheme == "semver" else scheme
    wanted = parse_range(f"vers:{scheme}/>=1.0.0|!=1.5.0|<2.0.0|3.0.0")
    inside = [
        in_range(wanted, ecosystem or "npm", version)
        for version in ("0.9.0", "1.0.0", "1.5.0", "1.9.9", "2.0.0", "3.0.0")
    ]
    assert inside == [False, True, False, True, False, True]


NUMBERS = st.sampled_from(["0", "1", "01", "10", "2"])
RELEASES = st.lists(NUMBERS, min_size=1, max_size=4).map(".".join)
WRITTEN = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "v", "1!", "0!"]),
    RELEASES,
    st.sampled_from(["", "-rc.1", "rc1", ".post1", "-1", "a01", "-alpha", "-alpha.1", ".dev0"]),
    st.sampled_from(["", "+cu118", "+CU.118", "+cu.0118", "+b"]),
)


def exactly(ecosystem: str, one: str, other: str) -> int | None:
    """The order of two versions, as closely as both are written."""
    there, back = compare_versions(ecosystem, one, other), compare_versions(ecosystem, other, one)
    return there if there is None or back is None or there == -back else there or -back


@given(st.sampled_from(["pypi", "mlflow", "npm", "golang", "cargo"]), WRITTEN, WRITTEN)
def test_equal_versions_and_no_others_have_one_spelling(ecosystem: str, one: str, other: str) -> None:
    spelled, again = version_spellings(ecosystem, one)[0], version_spellings(ecosystem, other)[0]
    order = exactly(ecosystem, one, other)
    if order is not None:
        assert (spelled == again) is (order == 0), (spelled, again)
        assert version_spellings(ecosystem, spelled)[0] == spelled, "a spelling spells itself"
    elif one != other:
        assert spelled != again


@given(st.sampled_from(["conda", "nuget", "maven", "deb", "rpm"]), WRITTEN, WRITTEN)
def test_versions_of_one_spelling_are_equal_in_other_ecosystems_too(
    ecosystem: str, one: str, other: str
) -> None:
    if version_spellings(ecosystem, one) == version_spellings(ecosystem, other) and one != other:
        assert compare_versions(ecosystem, one, other) == 0
    plain = version_spellings(ecosystem, "1.26")
    assert (version_spellings(ecosystem, "1.26.0") == plain) is (ecosystem in {"conda", "nuget", "maven"})


def test_a_version_that_is_none_stands_as_it_is() -> None:
    assert version_spellings("pypi", "latest") == ("latest",)
    assert version_spellings("deb", "1.0.0") == ("1.0.0",)
    assert version_spellings("pypi", "2.1.0+CU118") == ("2.1+cu118", "2.1")


def test_what_spring_calls_a_release_is_the_version_of_the_advisory() -> None:
    affected = parse_range("vers:maven/<=5.3.17")
    found = [
        in_range(affected, "maven", version) for version in ("5.3.17.RELEASE", "5.3.18.RELEASE", "5.3_17")
    ]
    assert found == [True, False, None]
