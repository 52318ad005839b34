"""Mutants of policies: which are made, which are noticed, and that trying one is the same as compiling it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import policies
from governance.policy.cases import case_facts, case_request, policy_for, run_cases
from governance.policy.compile import compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.fixtures import facts_tree, flow_text
from governance.policy.load import Written, load_written, written_files
from governance.policy.mutants import Mutant, mutants_of
from governance.policy.mutation import MutationError, MutationReport, mutate
from governance.policy.variation import ground, varied
from governance.report.policy_tests import telling_text
from tests.unit.policy_kit import policy, rule

CASES = """
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: t}
spec:
  at: 2026-11-20T12:00:00Z
  cases:
"""


def cases(*lines: str) -> str:
    """A suite of flow-style cases."""
    return CASES + "".join(f"    - {{{line}}}\n" for line in lines)


def written(*texts: str) -> Written:
    """The documents, loaded with their places."""
    return written_files({f"{number}.yaml": text.encode() for number, text in enumerate(texts)})


def mutants(text: str) -> list[Mutant]:
    """All mutants of one policy."""
    loaded = written(text)
    one = loaded.bundle.policies[0]
    return list(mutants_of(one, loaded.documents["Policy", one.name].data, loaded.bundle.catalogue))


def changes(condition: str) -> list[str]:
    """What the mutants of a rule's condition say."""
    made = mutants(policy(rule(condition)))
    return [one.words for one in made if one.part is not None]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{fact: xray.malicious, is: true}", [
            "`{fact: xray.malicious, is: true}` was left out",
            "`{fact: xray.malicious, is: true}` became `{fact: xray.malicious, is: false}`",
        ]),
        ("{fact: content.files_skipped, gt: 0}", [
            "`{fact: content.files_skipped, gt: 0}` was left out",
            "a `not` was put before `{fact: content.files_skipped, gt: 0}`",
            "`{fact: content.files_skipped, gt: 0}` became `{fact: content.files_skipped, gte: 0}`",
            "`{fact: content.files_skipped, gt: 0}` became `{fact: content.files_skipped, lt: 0}`",
            "`{fact: content.files_skipped, gt: 0}` became `{fact: content.files_skipped, gt: 1}`",
        ]),
        ("{not: {fact: xray.max_severity, lte: critical}}", [
            "`{not: {fact: xray.max_severity, lte: critical}}` was left out",
            "the `not` before `{fact: xray.max_severity, lte: critical}` was left out",
            "`{fact: xray.max_severity, lte: critical}` became `{fact: xray.max_severity, lt: critical}`",
            "`{fact: xray.max_severity, lte: critical}` became `{fact: xray.max_severity, gte: critical}`",
        ]),
        ("{any: [{fact: publisher, exists: false}, {fact: publisher, is: acme}]}", [
            "`any` became `all`",
            "`{fact: publisher, exists: false}` was left out",
            "`{fact: publisher, exists: false}` became `{fact: publisher, exists: true}`",
            "`{fact: publisher, is: acme}` was left out",
            "a `not` was put before `{fact: publisher, is: acme}`",
        ]),
        ("{some: vulnerabilities, where: {fact: cvss, gte: 7.0}}", [
            "`{some: vulnerabilities, where: {fact: cvss, gte: 7.0}}` was left out",
            "`some: vulnerabilities` became `every: vulnerabilities`",
            "`{fact: cvss, gte: 7.0}` was left out",
            "a `not` was put before `{fact: cvss, gte: 7.0}`",
            "`{fact: cvss, gte: 7.0}` became `{fact: cvss, gt: 7.0}`",
            "`{fact: cvss, gte: 7.0}` became `{fact: cvss, lte: 7.0}`",
            "`{fact: cvss, gte: 7.0}` became `{fact: cvss, gte: 6.9}`",
        ]),
        ("{fact: scan.age, gte: 7d, lt: 30d}", [
            "`all` became `any`",
            "`{fact: scan.age, lt: 30d}` was left out",
            "a `not` was put before `{fact: scan.age, lt: 30d}`",
            "`{fact: scan.age, lt: 30d}` became `{fact: scan.age, lte: 30d}`",
            "`{fact: scan.age, lt: 30d}` became `{fact: scan.age, gt: 30d}`",
            "`{fact: scan.age, lt: 30d}` became `{fact: scan.age, lt: 29d}`",
            "`{fact: scan.age, gte: 7d}` was left out",
            "a `not` was put before `{fact: scan.age, gte: 7d}`",
            "`{fact: scan.age, gte: 7d}` became `{fact: scan.age, gt: 7d}`",
            "`{fact: scan.age, gte: 7d}` became `{fact: scan.age, lte: 7d}`",
            "`{fact: scan.age, gte: 7d}` became `{fact: scan.age, gte: 6d}`",
        ]),
    ],
)  # fmt: skip
def test_each_part_of_a_condition_is_changed_in_each_way_once(condition: str, expected: list[str]) -> None:
    assert changes(condition) == expected


def test_mutants_of_a_rule_and_a_policy_say_what_was_changed() -> None:
    text = policy(
        rule(
            "{some: vulnerabilities, where: {fact: fix_available, is: true}}",
            more="  grace: {production: 7d}\n",
        ),
        head="  match: {actions: [load, download]}\n",
    )
    said = [one.words for one in mutants(text) if one.part is None]
    assert said == [
        "`default: allow` became `default: warn`",
        "`default: allow` became `default: quarantine`",
        "`default: allow` became `default: block`",
        "`actions` was left out of `match`",
        "`download` was left out of `actions`",
        "`load` was left out of `actions`",
        "the rule was left out",
        "`effect: block` became `effect: allow`",
        "`effect: block` became `effect: warn`",
        "`effect: block` became `effect: quarantine`",
        "`onUnknown: match` became `onUnknown: skip`",
        "the grace in production was left out",
        "the grace in production became 8d, a step longer than 7d",
    ]


@pytest.mark.parametrize("pack", policies.names())
def test_a_mutant_tried_gives_the_verdicts_of_that_policy_compiled(pack: str) -> None:
    """The law behind `variation`: only what changed is compiled, and nothing else is different."""
    loaded = load_written([policies.path(pack), policies.cases(pack)])
    bundle = loaded.bundle
    for suite in bundle.suites:
        base = ground(policy_for(bundle, suite))
        for one in bundle.policies:
            if one.name not in {part.policy.name for part in base.parts}:
                continue
            made = list(mutants_of(one, loaded.documents["Policy", one.name].data, bundle.catalogue))
            for mutant in made[::7]:  # whole compilations are slow; every sort is among them
                others = tuple(p if p.name != one.name else mutant.changed for p in base.bundle.policies)
                whole = compile_bundle(replace(base.bundle, policies=others))
                variant = varied(base, mutant.changed)
                for case in suite.cases:
                    asked, known = case_request(case), case_facts(case)
                    got, want = evaluate(variant, asked, known), evaluate(whole, asked, known)
                    assert got.decision is want.decision, mutant.words
                    assert tuple(got.rules) == tuple(want.rules), mutant.words
                    assert tuple(got.findings) == tuple(want.findings), mutant.words


RULE = rule("{fact: scan.age, gt: 7d}")
SHARP = cases(
    "name: a week, set: {scan.age: 7d}, action: load, expect: {verdict: allow, rules: []}",
    "name: more than a week, set: {scan.age: 8d}, action: load, expect: {verdict: block, rules: [r]}",
    "name: nobody knows, set: {scan.age: {unknown: down}}, action: load, expect: {verdict: block, rules: [r]}",
)


def test_a_case_on_each_side_of_a_threshold_leaves_no_survivor() -> None:
    report = mutate(written(policy(RULE), SHARP))
    assert (report.survivors, report.untested) == ((), ())
    assert report.noticed == 13


def test_survivors_have_the_place_of_what_was_changed(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(policy(RULE))
    (tmp_path / "t.yaml").write_text(SHARP.replace("7d", "6d"))
    report = mutate(load_written([tmp_path]))
    assert [one.mutant.words for one in report.survivors] == [
        "`{fact: scan.age, gt: 7d}` became `{fact: scan.age, gte: 7d}`"
    ]
    (one,) = report.survivors
    line = (tmp_path / "p.yaml").read_text().splitlines()[one.line - 1]
    assert line[one.column - 1 :].startswith("{fact: scan.age, gt: 7d}")
    assert one.source == str(tmp_path / "p.yaml")


def test_policies_without_a_suite_are_named_and_not_changed() -> None:
    other = policy(RULE, name="other")
    report = mutate(written(policy(RULE), other, SHARP.replace("spec:", "spec:\n  policies: [p]")))
    assert (report.untested, report.survivors) == (("other",), ())


def test_only_rules_that_fit_are_changed() -> None:
    two = policy(RULE + rule("{fact: xray.malicious, is: true}", name="m", more="  onUnknown: skip\n"))
    report = mutate(written(two, SHARP), rules="p/m")
    assert {one.mutant.subject for one in report.survivors} == {"p/m"}
    assert mutate(written(two, SHARP), rules="p/r").survivors == ()


def test_there_must_be_cases_and_they_must_pass() -> None:
    with pytest.raises(MutationError, match="there is no PolicyTest in these files"):
        mutate(written(policy(RULE)))
    with pytest.raises(MutationError, match=r"1 case\(s\) fail before anything was changed: `t: a week`"):
        mutate(written(policy(RULE), SHARP.replace("verdict: allow", "verdict: warn")))


def test_the_number_of_mutants_is_bounded() -> None:
    with pytest.raises(MutationError, match="these policies have more than 12 mutants") as caught:
        mutate(written(policy(RULE), SHARP), most=12)
    assert caught.value.hint is not None
    assert "--rules GLOB" in caught.value.hint


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(MutationError, match=r"no rule or policy that is tested fits `q/\*`"):
        mutate(written(policy(RULE), SHARP), rules="q/*")


BLUNT = cases(
    "name: clean, set: {scan.age: 1d, xray.malicious: false}, action: load, expect: {verdict: allow}",
    "name: bad, set: {scan.age: 90d, xray.malicious: true}, action: load, expect: {verdict: block}",
)


def told(report: MutationReport) -> dict[str, str]:
    """The case that would notice each survivor, in words."""
    return {
        one.mutant.words: telling_text(one.telling, written(policy(RULE)).bundle.catalogue)
        for one in report.survivors
        if one.telling is not None
    }


def test_a_survivor_comes_with_a_case_that_would_notice_it() -> None:
    report = mutate(written(policy(RULE), BLUNT))
    assert told(report) == {
        "`onUnknown: match` became `onUnknown: skip`": (
            'like `t: clean` with set: {scan.age: {unknown: "not known"}}; '
            "expect {verdict: block, rules: [p/r]}, where the mutant says allow by no rule"
        ),
        "`{fact: scan.age, gt: 7d}` became `{fact: scan.age, gte: 7d}`": (
            "like `t: clean` with set: {scan.age: 7d}; "
            "expect {verdict: allow, rules: []}, where the mutant says block by p/r"
        ),
        "`{fact: scan.age, gt: 7d}` became `{fact: scan.age, gt: 8d}`": (
            "like `t: clean` with set: {scan.age: 8d}; "
            "expect {verdict: block, rules: [p/r]}, where the mutant says allow by no rule"
        ),
    }


@pytest.mark.parametrize("pack", ["baseline", "strict"])
def test_the_case_that_would_notice_does(pack: str) -> None:
    """Each suggestion, written into a suite of its own, passes as things are and fails under the mutant."""
    files = {"p.yaml": policies.path(pack).read_bytes()}
    names = [name for kind, name in written_files(files).documents if kind == "Policy"]
    one_case = cases("name: any, set: {}, action: load, expect: {verdict: VERDICT}")
    for verdict in ("block", "quarantine", "warn", "allow"):
        loaded = written_files({**files, "t.yaml": one_case.replace("VERDICT", verdict).encode()})
        try:
            survivors = mutate(loaded, rules=f"{names[0]}/*u*").survivors[:25]
            break
        except MutationError:
            continue
    checked = 0
    for survivor in survivors:
        telling = survivor.telling
        if telling is None or (telling.verdict, telling.rules) == (telling.instead, telling.instead_rules):
            continue
        given = flow_text(facts_tree(telling.facts, loaded.bundle.catalogue))
        action = telling.request.get("action", "load")
        expect = f"{{verdict: {telling.verdict.word}, rules: [{', '.join(telling.rules)}]}}"
        sharp = cases(f"name: any, set: {given}, action: {action}, expect: {expect}")
        again = written_files({**files, "t.yaml": sharp.encode()})
        assert run_cases(again.bundle).failed == ()
        changed = tuple(
            one if one.name != survivor.mutant.policy else survivor.mutant.changed
            for one in again.bundle.policies
        )
        assert run_cases(replace(again.bundle, policies=changed)).failed
        checked += 1
    assert checked > 5


def test_what_another_rule_always_hides_is_the_same_policy() -> None:
    """`approved` asks for what the block rule refuses the lack of: leaving that out of it changes no verdict."""
    text = policy(
        rule("{all: [{fact: scan.complete, is: true}, {fact: signature.valid, is: true}]}", name="approved",
             effect="allow")
        + rule("{not: {fact: signature.valid, is: true}}", name="unsigned"),
        default="block",
    )  # fmt: skip
    report = mutate(written(text, cases(
        "name: good, set: {scan.complete: true, signature.valid: true}, action: load, expect: {verdict: allow, rules: [approved]}",
        "name: unsigned, set: {scan.complete: true, signature.valid: false}, action: load, expect: {verdict: block, rules: [unsigned]}",
        "name: unscanned, set: {scan.complete: false, signature.valid: true}, action: load, expect: {verdict: block, rules: []}",
        "name: unknown, set: {scan.complete: {unknown: x}, signature.valid: true}, action: load, expect: {verdict: block, rules: []}",
        "name: unknown signature, set: {scan.complete: true, signature.valid: {unknown: x}}, action: load, expect: {verdict: block, rules: [unsigned]}",
    )))  # fmt: skip
    assert [one.mutant.words for one in report.survivors] == []
    assert report.tallies["p/approved"].same == 1
    assert report.same == 1


def test_two_policies_that_differ_on_what_is_known_in_part_are_not_the_same() -> None:
    """Of a severity that is high at least, `gte: high` is true, and nobody knows whether it is `critical`, or `high` itself."""
    rules = rule(
        "{any: [{fact: xray.max_severity, gte: critical}, {fact: xray.max_severity, is: high}]}",
        more="  onUnknown: skip\n",
    )
    report = mutate(written(policy(rules), cases(
        "name: high, set: {xray.max_severity: high}, action: load, expect: {verdict: block}",
        "name: critical, set: {xray.max_severity: critical}, action: load, expect: {verdict: block}",
        "name: medium, set: {xray.max_severity: medium}, action: load, expect: {verdict: allow}",
        "name: unknown, set: {xray.max_severity: {unknown: x}}, action: load, expect: {verdict: allow}",
    )))  # fmt: skip
    words = "`{fact: xray.max_severity, gte: critical}` became `{fact: xray.max_severity, gte: high}`"
    assert '{unknown: "not known", atLeast: high}' in told(report)[words]
