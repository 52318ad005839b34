"""Licences: names that are not of SPDX, deprecated ids, versions that `or-later` lets one choose, and list entries."""

from __future__ import annotations

import pytest

from governance.model.facts import Collection, FactValue
from governance.policy.licences import later_versions, parse_expression, parse_licence
from tests.unit.policy_kit import policy, problems, rule, verdict

DENIED = "{some: licences, where: {fact: spdx, matches: {requires: [AGPL-3.0-only, GPL-2.0-only]}}}"


def _carrying(text: str) -> dict[str, FactValue]:
    return {"licences": Collection(({"spdx": text, "component": "c"},))}


@pytest.mark.parametrize(
    "text",
    ["AGPLv3", "GNU Affero GPL", "BSD", "MIT AND BSD", "AGPL-3.0-only WITH x", "Classpath-exception-2.0"],
)
def test_a_name_that_is_not_of_spdx_may_be_the_denied_licence(text: str) -> None:
    found = verdict(policy(rule(DENIED)), _carrying(text))
    assert (found.decision.word, found.rules[0].truth.value) == ("block", "unknown")


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("AGPL-3.0-or-later", "true"), ("AGPL-3.0+", "true"), ("agpl-3.0-or-later and MIT", "true"),
        ("AGPL-3.0-or-later OR MIT", "false"),
        ("GPL-2.0-or-later", "false"),  # 3.0 may be chosen, which nobody denied
        ("LicenseRef-acme", "false"), ("DocumentRef-x:LicenseRef-acme", "false"), ("NONE", "false"), ("Apache-2.0+", "false"),
        ("GPL-2.0-with-classpath-exception", "false"), ("eCos-2.0", "false"),
    ],
)  # fmt: skip
def test_or_later_is_denied_where_every_version_to_choose_is(text: str, truth: str) -> None:
    assert verdict(policy(rule(DENIED)), _carrying(text)).rules[0].truth.value == truth


def test_an_allow_list_names_what_it_means() -> None:
    allowed = policy(
        rule("{every: licences, where: {fact: spdx, in: [GPL-3.0-only, MIT]}}", effect="allow"),
        default="block",
    )
    assert verdict(allowed, _carrying("GPL-3.0-or-later")).decision.word == "block"
    assert verdict(allowed, _carrying("BSD")).rules[0].truth.value == "unknown"


@pytest.mark.parametrize(
    ("licence", "later"),
    [
        ("gpl-2.0-or-later", {"gpl-2.0-only", "gpl-3.0-only"}), ("lgpl-2.1-or-later", {"lgpl-2.1-only", "lgpl-3.0-only"}),
        ("gfdl-1.2-invariants-or-later", {"gfdl-1.2-invariants-only", "gfdl-1.3-invariants-only"}),
        ("apache-2.0+", {"apache-2.0"}), ("mit", set()), ("gpl-3.0-only", set()),
    ],
)  # fmt: skip
def test_versions_come_from_the_list_of_spdx(licence: str, later: set[str]) -> None:
    assert later_versions(licence) == later


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("GPL-3.0-with-GCC-exception", "GPL-3.0-only WITH GCC-exception-3.1"),
        ("eCos-2.0", "GPL-2.0-or-later WITH eCos-exception-2.0"),
        ("wxWindows", "LGPL-2.0-or-later WITH WxWindows-exception-3.1"),
    ],
)
def test_deprecated_ids_stand_for_what_replaced_them(written: str, meant: str) -> None:
    assert parse_licence(written) == parse_licence(meant) is not None
    assert parse_expression(f"MIT OR {written}") == parse_expression(f"MIT OR ({meant})")


@pytest.mark.parametrize(
    "entry", ["BSD", "AGPLv3", "LicenseRef-a b", "NONE", "NOASSERTION", "MIT WITH MIT", "AGPL-3.0-only+"]
)
def test_a_list_takes_what_there_is(entry: str) -> None:
    [said] = problems(policy(rule(f"{{some: licences, where: {{fact: spdx, in: [MIT, '{entry}']}}}}")))
    assert "in[1]: expected an SPDX licence id or `LicenseRef-...`" in said


def test_an_expression_is_no_entry_of_a_list_and_the_mistake_says_what_is() -> None:
    [said] = problems(policy(rule("{some: licences, where: {fact: spdx, in: [MIT OR ISC]}}")))
    assert "list each licence alone, got 'MIT OR ISC'" in said
