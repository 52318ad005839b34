"""The shipped packs: they load alone and as documents, their cases pass and cover every rule three times over."""

from __future__ import annotations

import pytest

import policies
from governance.model.request import Action
from governance.policy.cases import run_cases
from governance.policy.compile import compile_bundle, from_document
from governance.policy.load import load_policies


@pytest.mark.parametrize("name", policies.names())
def test_pack_passes_its_cases_and_covers_every_rule(name: str) -> None:
    report = run_cases(load_policies([policies.path(name), policies.cases(name)]))
    assert [(one.case, one.differences) for one in report.failed] == []
    assert {row.rule: row.missing for row in report.coverage if row.missing} == {}


@pytest.mark.parametrize("name", policies.names())
def test_pack_is_replayed_from_its_document(name: str) -> None:
    policy = compile_bundle(load_policies([policies.path(name)]))
    again = from_document(policy.document)
    assert (again.digest, again.document) == (policy.digest, policy.document)


@pytest.mark.parametrize("name", ["baseline", "strict"])
def test_a_pack_that_stands_alone_binds_every_action(name: str) -> None:
    bound = {
        action
        for policy in load_policies([policies.path(name)]).policies
        for action in policy.match.actions or {action.value for action in Action}
    }
    assert bound == {action.value for action in Action}


def test_an_unknown_pack_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        policies.path("../secrets")
