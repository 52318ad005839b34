"""Changes in words: direction, words and position of each sort of change."""

from __future__ import annotations

import pytest

from governance.policy.difference import Change, compare
from tests.unit import policy_kit as kit

VULN = "{some: vulnerabilities, where: {fact: cvss, gte: %s}}"


def one(before: str, after: str) -> Change:
    (change,) = compare(kit.compiled(*before.split("\n---\n")), kit.compiled(*after.split("\n---\n")))
    return change


def told(before: str, after: str) -> tuple[str, str]:
    change = one(before, after)
    return change.direction.value, change.words


def block(when: str, **more: str) -> str:
    return kit.policy(kit.rule(when, **more))


def in_set(body: str) -> str:
    return f"{block('{fact: xray.malicious, is: true}')}\n---\n{kit.policy_set(body)}"


@pytest.mark.parametrize(
    ("before", "after", "direction", "words"),
    [
        (block(VULN % "9.0"), block(VULN % "7.0"), "stricter", "cvss, gte: 7.0"),
        (block(VULN % "7.0"), block(VULN % "9.0"), "looser", "holds less often"),
        (block("{fact: scan.age, gt: 7d}"), block("{fact: scan.age, gt: 14d}"), "looser", "gt: 14d"),
        (block("{fact: publisher, in: [a, b]}"), block("{fact: publisher, in: [a, b, c]}"), "stricter", "added c"),
        (block("{not: {fact: publisher, in: [a]}}"), block("{not: {fact: publisher, in: [a, c]}}"), "looser", "added c"),
        (block("{fact: publisher, in: [a, b]}"), block("{fact: publisher, in: [a, c]}"), "other", "added c and removed b"),
        (block("{fact: publisher, is: a}"), block("{fact: publisher, in: [a, b]}"), "stricter", "added b"),
        (block("{fact: xray.malicious, is: true}"), block("{all: [{fact: xray.malicious, is: true}, {fact: scan.complete, is: true}]}"), "looser", "also asks {fact: scan.complete, is: true}"),
        (block("{fact: xray.malicious, is: true}"), block("{any: [{fact: xray.malicious, is: true}, {fact: scan.complete, is: true}]}"), "stricter", "also asks {fact: scan.complete, is: true}"),
        (block('{fact: publisher, matches: {glob: "a*"}}'), block('{fact: publisher, matches: {glob: "b*"}}'), "other", "became"),
        (block(VULN % "7.0"), block(VULN % "7.0", effect="warn"), "looser", "block became warn"),
        (block(VULN % "7.0"), block(VULN % "7.0", more="  onUnknown: skip\n"), "looser", "onUnknown match became skip"),
        (block(VULN % "7.0"), block(VULN % "7.0", more="  waivable: never\n"), "stricter", "waivable approvers became never"),
        (block(VULN % "7.0"), block(VULN % "7.0", more="  grace: {production: 7d}\n"), "looser", "grace in production: none became 7d"),
        (block(VULN % "7.0"), block(VULN % "7.0", more="  severity: high\n"), "other", "severity medium became high"),
        (kit.policy(default="block"), kit.policy(default="allow"), "looser", "default block became allow"),
        (in_set("  waivers: {maxDays: 90}\n"), in_set("  waivers: {maxDays: 30}\n"), "stricter", "90 days became 30"),
        (in_set("  waivers: {approvals: 1}\n"), in_set("  waivers: {approvals: 2}\n"), "stricter", "1 approvals became 2"),
        (in_set("  outage: {production: {action: block}}\n"), in_set("  outage: {production: {action: last-verdict, maxAge: 12h}}\n"), "looser", "the last verdict of 12h stands"),
        (in_set("  waivers: {maxDays: 90}\n"), in_set("  breakGlass: {environments: [production]}\n"), "looser", "break-glass in production is possible now"),
    ],
)  # fmt: skip
def test_one_change(before: str, after: str, direction: str, words: str) -> None:
    found = told(before, after)
    assert found[0] == direction, found
    assert words in found[1]


def test_positions_name_the_place_in_the_document() -> None:
    change = one(block(VULN % "9.0"), block(VULN % "7.0"))
    assert (change.rule, change.position) == ("p/r", "spec.rules[r].when.some[vulnerabilities].where[cvss]")


def test_a_quarantine_where_the_default_is_to_block_is_neither() -> None:
    """It is milder than the default that stands without it."""
    before = kit.policy(default="block")
    after = kit.policy(kit.rule("{fact: scan.complete, is: false}", effect="quarantine"), default="block")
    assert told(before, after)[0] == "other"


def test_a_list_tells_at_the_rules_that_use_it() -> None:
    rule = block("{not: {fact: publisher, in: {list: trusted}}}")
    before, after = (
        f"{rule}\n---\n{kit.policy_set(f'  lists: {{trusted: [{names}]}}' + chr(10))}"
        for names in ("acme", "acme, evil")
    )
    change = one(before, after)
    assert (change.rule, change.direction.value) == ("p/r", "looser")
    assert "added evil" in change.words
    assert "(list `trusted`)" in change.words


def test_modes_are_told_by_environment() -> None:
    old, new = (
        in_set(f'  bindings: [{{policies: ["*"], environments: ["*"], mode: {mode}}}]\n')
        for mode in ("observe", "enforce")
    )
    changes = compare(kit.compiled(*old.split("\n---\n")), kit.compiled(*new.split("\n---\n")))
    assert {change.direction.value for change in changes} == {"stricter"}
    assert "in production: observe became enforce" in {change.words for change in changes}


def test_nothing_changed() -> None:
    assert compare(kit.compiled(kit.policy()), kit.compiled(kit.policy())) == ()


def test_waivers_granted_and_gone() -> None:
    rule = block("{fact: xray.malicious, is: true}")
    with_one = f"{rule}\n---\n{kit.waiver()}"
    assert told(rule, with_one)[0] == "looser"
    assert told(with_one, rule)[0] == "stricter"
