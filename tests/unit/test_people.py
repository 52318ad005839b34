"""Names of people: which are one person's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.model.people import is_same_person, person


@pytest.mark.parametrize(
    "other",
    [
        "Bob",
        " bob ",
        "bob\u00a0",
        "b\u200bob",
        "\ufeffbob",
        "user:bob",
        "User:Bob",
        "\uff42ob",
        "bo\u00adb",
        "bob\n",
    ],
)
def test_spellings_of_one_person(other: str) -> None:
    assert is_same_person("bob", other)
    assert is_same_person(other, "BOB")


@pytest.mark.parametrize(
    ("one", "other"),
    [("bob", "rob"), ("bob", "bob.b"), ("jos\u00e9", "jose"), ("a b", "ab"), ("bob", "b\u043eb")],
)
def test_other_people(one: str, other: str) -> None:
    assert not is_same_person(one, other)


def test_accents_and_inner_space() -> None:
    assert is_same_person("jose\u0301 garci\u0301a", "Jos\u00e9  Garc\u00eda")


@given(st.text())
def test_the_form_of_a_form_is_itself_and_case_makes_no_difference(name: str) -> None:
    assert person(f" {name}\t") == person(name)
    assert person(person(name)) in {person(name), person(name).removeprefix("user:").strip()}
