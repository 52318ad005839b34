"""Xray's policies, watches and ignore rules over the wire: pages, null for nothing, and what is no answer."""

from __future__ import annotations

import json

import pytest

from governance.errors import ProtocolError
from tests.unit.test_xray_client import json_answer, talking_to


def test_policies_and_watches_with_null_for_nothing() -> None:
    policies = [{"name": "a", "type": "Security", "rules": [{"name": "r", "priority": 2, "criteria": None, "actions": None}]}, {"name": "b", "rules": None}]  # fmt: skip
    watches = [
        {"general_data": {"name": "w", "active": None}, "project_resources": {"resources": None}},
        {"general_data": {"name": "v", "active": False}, "assigned_policies": [{"name": "a"}]},
    ]
    with talking_to(json_answer(policies), json_answer(watches)) as (client, _):
        first, second = client.policies()
        assert (first.type, first.rules[0].criteria, second.rules) == ("security", {}, ())
        assert [(each.name, each.active, each.policies) for each in client.watches()] == [
            ("w", True, ()),
            ("v", False, ("a",)),
        ]


def rows(*ids: int) -> list[dict[str, object]]:
    return [{"id": f"rule-{number}", "notes": "n", "expires_at": None, "weight": 0.5} for number in ids]


def test_ignore_rules_are_read_page_by_page_and_kept_whole() -> None:
    pages = [{"data": rows(1, 2), "total_count": 3}, {"data": rows(3), "total_count": 3}]
    with talking_to(*map(json_answer, pages)) as (client, server):
        found = client.ignore_rules()
    assert [each.id for each in found] == ["rule-1", "rule-2", "rule-3"]
    assert json.loads(found[0].document) == rows(1)[0]
    assert [each.target for each in server.seen] == [
        "/api/v1/ignore_rules?page_num=1&num_of_rows=100",
        "/api/v1/ignore_rules?page_num=2&num_of_rows=100",
    ]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([{"data": rows(1), "total_count": 2}, {"data": rows(1), "total_count": 2}], "2 ignore rules announced, 1 listed"),
        ([{"data": {"a": 1}, "total_count": 1}], "an answer of an unknown form: data"),
        ([[]], "an answer of an unknown form"),
    ],
    ids=["fewer than announced", "no list", "no object"],
)  # fmt: skip
def test_what_is_no_list_of_ignore_rules(answers: list[object], why: str) -> None:
    with talking_to(*map(json_answer, answers)) as (client, _), pytest.raises(ProtocolError, match=why):
        client.ignore_rules()
