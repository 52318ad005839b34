"""Waivers, grace, layers, sets and outages' rules: what may soften a verdict, and what may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governance.model.facts import Collection, FactValue, Unknown
from governance.model.request import Actor
from governance.model.verdict import Effect, Mode, RuleResult, Verdict
from governance.policy.compile import from_document
from governance.policy.documents import OutageRule
from governance.policy.evaluate import evaluate
from governance.policy.waiver import findings_digest
from tests.unit.policy_kit import (
    DIGEST,
    MALICIOUS,
    NOON,
    REF,
    bundle,
    compiled,
    facts,
    policy,
    policy_set,
    problems,
    request,
    rule,
    verdict,
    waiver,
)

CVE = "{some: vulnerabilities, where: {fact: cvss, gte: 7.0}}"
BAD: dict[str, FactValue] = {
    "vulnerabilities": Collection(({"cve": "CVE-1", "cvss": 9.0, "component": "a"},))
}
WORSE: dict[str, FactValue] = {
    "vulnerabilities": Collection((
        {"cve": "CVE-1", "cvss": 9.0, "component": "a"},
        {"cve": "CVE-2", "cvss": 9.0, "component": "a"},
    ))
}  # fmt: skip


def judged(*texts: str, values: dict[str, FactValue] | None = None, **changes: Any) -> Verdict:
    return evaluate(compiled(*texts), request(**changes), facts(BAD if values is None else values))


def row(found: Verdict, name: str) -> RuleResult:
    return next(one for one in found.rules if one.rule == name)


def test_a_live_waiver_lifts_its_rule_and_stays_on_record() -> None:
    found = judged(policy(rule(CVE)), waiver())
    assert (found.decision, list(found.findings)) == (Effect.ALLOW, [])
    assert (row(found, "p/r").fired, row(found, "p/r").waiver) == (True, "W-1")


def test_a_waiver_never_becomes_an_allow() -> None:
    assert judged(policy(rule(CVE), default="block"), waiver()).decision is Effect.BLOCK


def test_a_waiver_touches_no_other_rule() -> None:
    found = judged(policy(rule(CVE) + rule(CVE, name="s")), waiver())
    assert [one.rule for one in found.findings] == ["p/s"]


@pytest.mark.parametrize(
    ("changes", "asked", "why"),
    [
        ({"expires": "2026-11-22T12:00:00Z"}, {}, "it expired on 2026-11-22T12:00:00Z"),
        ({"starts": "2026-11-23T00:00:00Z"}, {}, "it starts on 2026-11-23T00:00:00Z"),
        ({"revoked": "{at: '2026-11-21T00:00:00Z', by: bob}"}, {}, "it was revoked on 2026-11-21T00:00:00Z"),
        ({}, {"sha256": "ab" * 32}, "it is for other bytes"),
        ({}, {"sha256": None}, "the bytes have not been hashed yet"),
        ({"scope": "{environments: [staging]}"}, {}, "it does not hold in production"),
        ({"scope": "{actors: ['group:vision']}"}, {}, "it does not hold for this actor"),
        ({"findings": f'"sha256:{"0" * 64}"'}, {}, "what is found now is not what was known"),
    ],
)
def test_a_waiver_that_does_not_apply_says_why(
    changes: dict[str, str], asked: dict[str, Any], why: str
) -> None:
    found = judged(policy(rule(CVE)), waiver(**changes), **asked)
    assert found.decision is Effect.BLOCK
    assert [one.value for one in found.findings[0].evidence if one.fact == "waiver"] == [
        f"W-1 does not apply: {why}" + (" when it was granted" if "known" in why else "")
    ]


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"scope": "{environments: [prod]}"}, {}),
        ({"scope": "{actors: ['group:speech']}"}, {}),
        ({"scope": "{actors: [alice]}"}, {"actor": Actor(name="alice")}),
        ({"revoked": "{at: '2026-11-23T00:00:00Z', by: bob}"}, {}),
        ({"starts": "2026-11-22T12:00:00Z"}, {}),
    ],
)
def test_a_waiver_within_its_scope_and_time_applies(changes: dict[str, str], asked: dict[str, Any]) -> None:
    assert judged(policy(rule(CVE)), waiver(**changes), **asked).decision is Effect.ALLOW


def test_another_artifact_is_not_even_addressed() -> None:
    found = judged(policy(rule(CVE)), waiver(), ref="models-local/team/other.bin")
    assert found.decision is Effect.BLOCK
    assert not any(one.fact == "waiver" for one in found.findings[0].evidence)


def test_a_new_finding_reopens_the_question_and_passing_time_does_not() -> None:
    text = policy(rule("{any: [" + CVE + ", {fact: scan.age, gt: 7d}]}"))
    old = BAD | {"scan.age": 100}
    known = findings_digest(row(judged(text, values=old), "p/r"))
    held = waiver(findings=f'"{known}"')
    assert judged(text, held, values=old).decision is Effect.ALLOW
    assert judged(text, held, values=BAD | {"scan.age": 200_000}).decision is Effect.ALLOW
    assert judged(text, held, values=WORSE | {"scan.age": 100}).decision is Effect.BLOCK


@pytest.mark.parametrize(("unknown", "decision"), [("match", Effect.BLOCK), ("skip", Effect.ALLOW)])
def test_a_waiver_does_not_cover_what_a_silent_source_may_know_besides(
    unknown: str, decision: Effect
) -> None:
    """Where it says nothing at all, the rule matches for want of facts; so it does where it broke off after what is waived."""
    text = policy(rule(CVE, more=f"  onUnknown: {unknown}\n"))
    known = findings_digest(row(judged(text), "p/r"))
    held = waiver(findings=f'"{known}"')

    critical = {"cve": "CVE-1", "cvss": 9.0, "component": "a"}

    def then(*items: Any, silent: bool = True, given: str = held) -> Effect:
        part = Collection(items, "page 2 was not read", out_of_reach=silent)
        out = ("vulnerabilities",) if silent else ()
        return judged(text, given, values={"vulnerabilities": part, "sources.out_of_reach": out}).decision

    assert then(critical) is then() is decision
    assert then(critical, silent=False) is Effect.ALLOW, "known when it was granted"
    assert then(critical, given=waiver()) is Effect.ALLOW, "whatever is found"


@pytest.mark.parametrize(
    ("when", "known", "more"),
    [
        ("{fact: xray.max_cvss, gte: 7.0}", 8.1, 9.8),
        ("{fact: xray.max_severity, gte: high}", "high", "critical"),
        ("{some: xray.watches, where: {fact: value, is: production}}", ("production",), ("production", "x")),
    ],
)
@pytest.mark.parametrize(("unknown", "decision"), [("match", Effect.BLOCK), ("skip", Effect.ALLOW)])
def test_a_waiver_of_what_is_known_covers_no_more_than_that_of_a_fact_that_is_known_in_part(
    when: str, known: Any, more: Any, unknown: str, decision: Effect
) -> None:
    text = policy(rule(when, more=f"  onUnknown: {unknown}\n"))
    name = (
        "xray.max_cvss" if "cvss" in when else "xray.max_severity" if "severity" in when else "xray.watches"
    )
    held = waiver(findings=f'"{findings_digest(row(judged(text, values={name: known}), "p/r"))}"')

    def then(least: Any, *, silent: bool = True) -> Effect:
        values: dict[str, FactValue] = {
            name: Unknown("page 2 (the last)", at_least=least),
            "sources.out_of_reach": (name,) if silent else (),
        }
        return judged(text, held, values=values).decision

    assert then(known) is decision
    assert then(known, silent=False) is Effect.ALLOW
    assert then(more) is then(more, silent=False) is Effect.BLOCK


def test_waivers_of_a_register_join_those_of_the_files_and_change_the_digest() -> None:
    plain = compiled(policy(rule(CVE)))
    (granted,) = bundle(policy(rule(CVE)), waiver()).waivers
    joined = plain.with_waivers([granted])
    assert joined.digest != plain.digest
    assert evaluate(joined, request(), facts(BAD)).decision is Effect.ALLOW
    assert evaluate(plain, request(), facts(BAD)).decision is Effect.BLOCK
    assert from_document(joined.document).digest == joined.digest
    assert joined.with_waivers([granted]) is joined
    assert joined.digest == compiled(policy(rule(CVE)), waiver()).digest, (
        "the same document, wherever it came from"
    )


GRACE = rule(CVE, more="  grace: {production: 7d, development: 30d}\n")


def advisory(days: float | None, **more: Any) -> dict[str, Any]:
    seen = {} if days is None else {"first_seen": (NOON - timedelta(days=days)).isoformat()}
    return {"cve": "CVE-1", "cvss": 9.0, "component": "a", **seen, **more}


@pytest.mark.parametrize(
    ("items", "environment", "outcome"),
    [
        ([advisory(3)], "production", "warn"),
        ([advisory(6.999)], "production", "warn"),
        ([advisory(7)], "production", "block"),
        ([advisory(8)], "development", "warn"),
        ([advisory(3)], "staging", "block"),
        ([advisory(None)], "production", "block"),
        ([advisory(-1)], "production", "block"),
        ([advisory(3, first_seen="last week")], "production", "block"),
        ([advisory(3), advisory(8)], "production", "block"),
        ([advisory(3), advisory(8, cvss=2.0)], "production", "warn"),
        ([advisory(3, cvss=2.0)], "production", "allow"),
    ],
)  # fmt: skip
def test_grace_is_counted_from_the_day_a_finding_reached_us(
    items: list[dict[str, Any]], environment: str, outcome: str
) -> None:
    found = judged(
        policy(GRACE), values={"vulnerabilities": Collection(tuple(items))}, environment=environment
    )
    assert found.decision.word == outcome


def test_grace_says_until_when() -> None:
    found = judged(policy(GRACE), values={"vulnerabilities": Collection((advisory(3), advisory(1)))})
    until = "2026-11-26T12:00:00.000000Z"
    assert row(found, "p/r").grace == until
    assert found.findings[0].message == f"it matched (and 1 more) (in grace until {until})"
    assert found.findings[0].effect is Effect.WARN


def test_grace_that_outlasts_the_calendar_holds_to_its_last_day() -> None:
    text = policy(rule(CVE, more="  grace: {production: 99999d}\n"))
    seen = advisory(None, first_seen="9998-01-01T00:00:00Z")
    at = datetime(9999, 1, 1, tzinfo=UTC)
    found = judged(text, values={"vulnerabilities": Collection((seen,))}, at=at)
    assert row(found, "p/r").grace == "9999-12-31T23:59:59.999999Z"


def test_grace_ends_where_another_ground_remains_or_may() -> None:
    text = policy(GRACE.replace(CVE, "{any: [" + CVE + ", {fact: xray.malicious, is: true}]}"))
    young = Collection((advisory(1),))
    assert judged(text, values={"vulnerabilities": young, "xray.malicious": False}).decision is Effect.WARN
    assert judged(text, values={"vulnerabilities": young, "xray.malicious": True}).decision is Effect.BLOCK
    assert (
        judged(text, values={"vulnerabilities": young, "xray.malicious": Unknown("x")}).decision
        is Effect.BLOCK
    )
    incomplete = Collection((advisory(1),), "page 2 was not read")
    assert (
        judged(text, values={"vulnerabilities": incomplete, "xray.malicious": False}).decision is Effect.BLOCK
    )


def test_across_policies_the_strictest_wins() -> None:
    mild, strict = policy(name="mild"), policy(rule(CVE), name="strict")
    found = judged(mild, strict)
    assert (found.decision, dict(found.by_policy)) == (
        Effect.BLOCK,
        {"mild": Effect.ALLOW, "strict": Effect.BLOCK},
    )


def test_only_policies_of_a_layer_are_in_force() -> None:
    layers = policy_set(
        "  layers: [{name: org, policies: [mild]}, {name: team, extends: org, policies: ['t-*']}]\n"
    )
    texts = [policy(name="mild"), policy(rule(CVE), name="strict"), policy(name="t-one"), layers]
    assert judged(*texts).policies == ("mild", "t-one")


def test_a_policy_that_no_binding_names_does_not_hold() -> None:
    bindings = policy_set("  bindings: [{policies: [mild], environments: [production], mode: enforce}]\n")
    texts = [policy(name="mild"), policy(rule(CVE), name="strict"), bindings]
    assert judged(*texts).policies == ("mild",)
    assert judged(*texts, environment="staging").policies == ()


ORG = policy_set(
    "  bindings: [{policies: ['*'], environments: [production], mode: enforce}]\n"
    "  outage: {production: {action: last-verdict, maxAge: 1h}}\n"
    "  waivers: {maxDays: 30, approvals: 2}\n"
    "  lists: {trusted: [acme]}\n",
    name="org", revision=5,
)  # fmt: skip
TEAM = policy_set(
    "  extends: org\n"
    "  bindings: [{policies: ['*'], environments: ['*'], mode: observe}]\n"
    "  outage: {production: {action: last-verdict, maxAge: 12h}, development: {action: last-verdict, maxAge: 12h}}\n"
    "  waivers: {maxDays: 90, approvals: 1, selfApproval: true}\n"
    "  lists: {ours: [x]}\n",
    name="team", revision=2,
)  # fmt: skip


def test_a_child_set_can_only_tighten() -> None:
    for texts in ((policy(), ORG, TEAM), (TEAM, policy(), ORG)):
        both = compiled(*texts)
        merged = both.bundle.set
        assert merged is not None
        assert both.mode_for(request()) is Mode.ENFORCE
        assert both.outage_rule("production") == OutageRule(max_age=3600)
        assert both.outage_rule("development") == OutageRule(), "the parent says nothing, so it refuses"
        assert (merged.waivers.max_days, merged.waivers.approvals, merged.waivers.self_approval) == (
            30,
            2,
            False,
        )
        assert dict(merged.lists) == {"trusted": ("acme",), "ours": ("x",)}
        assert both.revision == 5


def test_a_child_of_a_set_without_bindings_cannot_loosen_production() -> None:
    parent = policy_set("  waivers: {maxDays: 30}\n", name="org")
    both = compiled(policy(), parent, TEAM)
    assert both.mode_for(request()) is Mode.ENFORCE
    assert both.mode_for(request(environment="staging")) is Mode.OBSERVE


@pytest.mark.parametrize(
    "approved",
    ["[bob, Bob]", "[bob, 'bob ']", "[bob, ' bob']", '["bob", "bob\\u200b"]', '["bob", "bob\\u00a0"]', "[bob, 'user:bob']",
     '["jos\\u00e9", "jose\\u0301"]', '["bob", "\\uff42ob"]', "[bob, Alice]", "[bob, 'alice ']", "[bob, 'user:ALICE']", "[bob, ' ']"],
)  # fmt: skip
def test_one_person_in_two_spellings_counts_once(approved: str) -> None:
    two = policy_set("  waivers: {approvals: 2}\n")
    [said] = problems(policy(rule(MALICIOUS)), two, waiver(approvedBy=approved))
    assert (
        "spec.approvedBy: expected at least 2 approver(s) other than the one who asked, each person counted once, got "
        in said
    )
    assert problems(policy(rule(MALICIOUS)), two, waiver(approvedBy="[bob, carol]")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"artifact": f'{{ref: "models-local/*", digest: "{DIGEST}"}}'}, "`repository/path`; a waiver is for one artifact, and no pattern, got"),
        ({"artifact": f'{{ref: "artifactory://h/artifactory/{REF}", digest: "{DIGEST}"}}'}, "without a scheme and a host"),
        ({"artifact": f'{{ref: "{REF}/", digest: "{DIGEST}"}}'}, "without white space or `/` at its ends"),
        ({"artifact": f'{{ref: "{REF} ", digest: "{DIGEST}"}}'}, "without white space or `/` at its ends"),
        ({"artifact": f'{{ref: model.bin, digest: "{DIGEST}"}}'}, "without white space or `/` at its ends"),
        ({"scope": "{actors: [alice, 'group:']}"}, "spec.scope.actors[1]: expected a name behind `group:`, or `group:*` for each"),
        ({"approvedBy": "['', bob]"}, "spec.approvedBy[0]: expected a text of at least 1 character(s), got ''"),
        ({"scope": "{actors: []}"}, "spec.scope.actors: expected a list with at least 1 item(s), got a list"),
    ],
)  # fmt: skip
def test_a_waiver_that_would_cover_nothing_or_anybody_is_a_mistake(
    changes: dict[str, str], message: str
) -> None:
    [said] = problems(policy(rule(MALICIOUS)), waiver(**changes))
    assert message in said


@pytest.mark.parametrize("environments", ["[production]", "['*']", "[Prod]", "['p*', staging]"])
def test_a_child_enforces_what_its_parent_binds_nowhere_in_production(environments: str) -> None:
    parent = policy_set(
        "  bindings: [{policies: ['*'], environments: [development], mode: enforce}]\n", name="org"
    )
    child = policy_set(
        f"  extends: org\n  bindings: [{{policies: ['*'], environments: {environments}, mode: observe}}]\n",
        name="team",
    )
    text = policy(rule(MALICIOUS))
    alone, both = compiled(text, parent), compiled(text, parent, child)
    bad = facts({"xray.malicious": True})
    assert evaluate(alone, request(), bad).decision is Effect.BLOCK, "nobody's policy"
    found = evaluate(both, request(), bad)
    assert (found.decision, both.mode_for(request(), found)) == (Effect.BLOCK, Mode.ENFORCE)


def test_outage_rules_by_environment() -> None:
    one = compiled(
        policy(), policy_set("  outage: {prod: {action: block}, dev: {action: last-verdict, maxAge: 12h}}\n")
    )
    assert one.outage_rule("production").is_block
    assert one.outage_rule("development") == OutageRule(max_age=43_200)
    assert one.outage_rule("staging").is_block
    assert compiled(policy()).outage_rule("development").is_block


def test_the_time_is_an_input() -> None:
    text, held = policy(rule(CVE)), waiver()
    later = datetime(2026, 12, 20, tzinfo=UTC)
    assert judged(text, held).decision is Effect.ALLOW
    assert judged(text, held, at=later).decision is Effect.BLOCK


def test_unknown_matches_are_named_as_such() -> None:
    found = verdict(policy(rule(CVE)), {"vulnerabilities": Collection(({"cve": "CVE-9", "component": "a"},))})
    assert (found.decision, row(found, "p/r").matched) == (Effect.BLOCK, ("CVE-9 in a",))
