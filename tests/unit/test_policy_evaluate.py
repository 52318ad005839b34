"""Judging: effects, defaults, unknown, messages, evidence, and requests that no policy binds."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import pytest

from governance.model.artifact import Kind
from governance.model.facts import Collection, Facts, FactValue, Origin, Unknown
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Action, Actor
from governance.model.verdict import Effect, Mode, Truth
from governance.policy.cases import run_cases
from governance.policy.combining import combine, effects_in, mask_of
from governance.policy.compile import from_document
from governance.policy.evaluate import NO_POLICY, evaluate
from governance.policy.explain import verdict_bytes
from tests.unit.policy_kit import (
    MALICIOUS,
    bundle,
    compiled,
    facts,
    policy,
    policy_set,
    request,
    rule,
    verdict,
)


@pytest.mark.parametrize(
    ("default", "effects", "outcome"),
    [
        ("allow", [], "allow"), ("block", [], "block"), ("warn", [], "warn"), ("quarantine", [], "quarantine"),
        ("block", ["allow"], "allow"), ("allow", ["warn"], "warn"), ("block", ["warn"], "block"),
        ("quarantine", ["warn"], "quarantine"), ("block", ["warn", "allow"], "warn"), ("block", ["quarantine"], "quarantine"),
        ("block", ["quarantine", "allow"], "quarantine"), ("allow", ["block", "allow", "warn"], "block"),
        ("warn", ["allow"], "allow"), ("allow", ["allow"], "allow"), ("allow", ["quarantine", "block"], "block"),
    ],
)  # fmt: skip
def test_the_highest_effect_wins_and_a_warn_opens_no_default(
    default: str, effects: list[str], outcome: str
) -> None:
    rules = "".join(rule(MALICIOUS, name=f"r{n}", effect=effect) for n, effect in enumerate(effects))
    assert verdict(policy(rules, default=default), {"xray.malicious": True}).decision.word == outcome


@pytest.mark.parametrize(
    "written", ["is: prod", "is: Production", "in: [staging, prod]", "in: {list: strict}"]
)
@pytest.mark.parametrize("asked", ["production", "prod"])
def test_a_rule_about_an_environment_is_not_passed_by_spelling(written: str, asked: str) -> None:
    text = policy(rule(f"{{fact: environment, {written}}}"))
    suite = (
        "apiVersion: mlgov/v1\nkind: PolicyTest\nmetadata: {name: t}\nspec:\n  at: 2026-11-22T12:00:00Z\n  cases:\n"
        f"    - {{name: c, environment: {asked}, action: load, expect: {{verdict: block}}}}\n"
    )
    (one,) = run_cases(bundle(text, suite, policy_set("  lists: {strict: [prod]}\n"))).results
    assert one.differences == ()


def test_effects_of_several_policies_are_kept_apart() -> None:
    mask = (
        mask_of(0, Effect.ALLOW)
        | mask_of(3, Effect.BLOCK)
        | mask_of(3, Effect.WARN)
        | mask_of(99, Effect.QUARANTINE)
    )
    found = {policy: effects_in(mask, policy) for policy in (0, 1, 2, 3, 99)}
    assert found == {
        0: (Effect.ALLOW,),
        1: (),
        2: (),
        3: (Effect.WARN, Effect.BLOCK),
        99: (Effect.QUARANTINE,),
    }
    assert combine(Effect.ALLOW, found[3]) is Effect.BLOCK


@pytest.mark.parametrize(
    ("effect", "on_unknown", "fires"),
    [
        ("block", None, True), ("quarantine", None, True), ("warn", None, True), ("allow", None, False),
        ("block", "skip", False), ("allow", "match", True),
    ],
)  # fmt: skip
def test_unknown_follows_the_rule(effect: str, on_unknown: str | None, fires: bool) -> None:
    more = f"  onUnknown: {on_unknown}\n" if on_unknown else ""
    (row,) = verdict(
        policy(rule(MALICIOUS, effect=effect, more=more)), {"xray.malicious": Unknown("silent")}
    ).rules
    assert (row.truth, row.fired) == (Truth.UNKNOWN, fires)


def test_a_message_names_what_matched_the_worst_first_and_how_many_more() -> None:
    text = policy(
        "- id: r\n  effect: block\n  when: {some: vulnerabilities, where: {fact: cvss, gte: 7.0}}\n"
        "  message: '{matched.cve} ({matched.cvss}) of {matched.count} by {evidence.sources} for {request.action}: {rule.id} {{x}}'\n"
        "  remediation: 'use {matched.fixed_in}'\n"
    )
    items: list[dict[str, Any]] = [
        {"cve": "CVE-1", "cvss": 7.5, "component": "a", "component_version": "1.0"},
        {"cve": "CVE-2", "cvss": 9.8, "component": "b", "fixed_in": ("2.0", "2.1")},
        {"cve": "CVE-3", "cvss": 3.0, "component": "c"},
    ]
    found = verdict(text, {"vulnerabilities": Collection(tuple(items))})
    (finding,) = found.findings
    assert finding.message == "CVE-2 (9.8) of 2 by test for load: r {x} (and 1 more)"
    assert finding.remediation == "use 2.0, 2.1"
    assert found.rules[0].matched == ("CVE-2 in b", "CVE-1 in a 1.0")
    assert [(row.fact, row.value, row.source) for row in finding.evidence] == [
        ("vulnerabilities", "3 items", "test")
    ]
    assert finding.evidence[0].observed_at == "2026-11-22T11:59:00.000000Z"


@pytest.mark.parametrize(
    ("ours", "scanner", "said"),
    [
        ("malicious", False, "ours"), ("clean", True, "xray"), ("malicious", True, "ours, xray"),
        ("malicious", Unknown("silent"), "ours"), ("clean", Unknown("silent"), "nobody"),
    ],
)  # fmt: skip
def test_only_those_are_named_whose_word_it_rests_on(ours: str, scanner: FactValue, said: str) -> None:
    """Who looked and found nothing reported nothing."""
    either = "{any: [{fact: xray.malicious, is: true}, {all: [{fact: content.verdict, is: malicious}]}]}"
    text = policy(f"- {{id: r, effect: block, when: {either}, message: 'by {{evidence.sources}}'}}")
    seen = {
        name: Origin(source=source, observed_at="2026-11-22T11:59:00.000000Z")
        for name, source in (("content.verdict", "ours"), ("xray.malicious", "xray"))
    }
    found = evaluate(
        compiled(text), request(), Facts({"content.verdict": ours, "xray.malicious": scanner}, seen)
    )
    assert found.findings[0].message.partition(" (")[0] == f"by {said}"


def test_a_message_says_what_is_not_known() -> None:
    (finding,) = verdict(
        policy(rule(MALICIOUS)), {"xray.malicious": Unknown("xray gave no answer within 5 s")}
    ).findings
    assert finding.message == "it matched (not known: xray.malicious: xray gave no answer within 5 s)"


def test_an_every_that_is_denied_names_the_items_that_failed_it() -> None:
    text = policy(
        "- id: r\n  effect: block\n  when: {not: {every: files, where: {fact: format, in: [safetensors, onnx]}}}\n"
        "  message: '{matched.path} is {matched.format}'\n"
    )
    files: tuple[dict[str, Any], ...] = ({"path": "a", "format": "onnx"}, {"path": "b", "format": "pickle"})
    found = verdict(text, {"files": Collection(files)})
    assert found.findings[0].message == "b is pickle"
    assert found.rules[0].matched == ("b",)


@pytest.mark.parametrize("hostile", ["a\x1b[31mb", "a\nb", "a\u202eb", "a\ud800b", "x" * 5000])
def test_what_comes_from_outside_is_harmless_in_messages(hostile: str) -> None:
    text = policy(
        "- {id: r, effect: block, when: {fact: publisher, exists: true}, message: 'by {publisher}'}"
    )
    (finding,) = verdict(text, {"publisher": hostile}).findings
    assert finding.message.isprintable()
    assert len(finding.message) < 300
    assert finding.message.encode()


def test_a_collection_over_which_every_holds_must_have_items_and_be_complete() -> None:
    text = policy(rule("{every: licences, where: {fact: spdx, in: [MIT]}}", effect="allow"), default="block")
    mit = ({"spdx": "MIT"},)
    part = Collection(mit, "page 2 was not read")
    values: list[FactValue] = [Collection(mit), Collection(()), part, Unknown("x"), None]
    outcomes = [verdict(text, {"licences": value}).rules[0].truth.value for value in values]
    assert outcomes == ["true", "unknown", "unknown", "unknown", "unknown"]


def test_a_set_of_texts_is_asked_by_quantifier() -> None:
    text = policy(rule("{some: actor.groups, where: {fact: value, matches: {glob: 'int*'}}}"))
    assert verdict(text, {"actor.groups": ("speech", "interns")}).decision is Effect.BLOCK
    assert verdict(text, {"actor.groups": ("speech",)}).decision is Effect.ALLOW
    assert verdict(text, {"actor.groups": ()}).decision is Effect.ALLOW


def test_a_set_within_an_item_is_asked_by_a_quantifier_below() -> None:
    where = "{some: imports, where: {fact: value, in: [os.system, posix.system]}}"
    text = policy(rule(f"{{some: files, where: {where}}}"))
    bad: tuple[dict[str, Any], ...] = (
        {"path": "a", "imports": ()},
        {"path": "b", "imports": ("posix.system",)},
    )
    found = verdict(text, {"files": Collection(bad)})
    assert (found.decision, found.rules[0].matched) == (Effect.BLOCK, ("b",))


def test_facts_of_the_artifact_can_be_named_below_a_quantifier() -> None:
    where = "{all: [{fact: cvss, gte: 7.0}, {fact: environment, is: production}]}"
    text = policy(rule(f"{{some: vulnerabilities, where: {where}}}"))
    bad = Collection(({"cvss": 8.0},))
    assert verdict(text, {"vulnerabilities": bad, "environment": "production"}).decision is Effect.BLOCK
    assert verdict(text, {"vulnerabilities": bad, "environment": "development"}).decision is Effect.ALLOW


def test_a_property_that_nobody_set_is_absent_only_if_all_were_read() -> None:
    text = policy(rule("{fact: property.stage, exists: true}"))
    assert verdict(text, {"property.stage": "prod"}).rules[0].truth is Truth.TRUE
    assert verdict(text, {"property.*": True}).rules[0].truth is Truth.FALSE
    assert verdict(text, {"property.*": Unknown("403")}).rules[0].truth is Truth.UNKNOWN
    assert verdict(text, {}).rules[0].truth is Truth.UNKNOWN


@pytest.mark.parametrize(
    ("ecosystem", "name", "truth"),
    [
        ("pypi", "Evil_Pkg", "true"), ("pypi", "evil-pkg", "true"), ("pypi", "evil.pkg", "true"), ("pypi", "evilpkg", "false"),
        ("npm", "evil_pkg", "false"), ("npm", "Evil-Pkg", "true"), ("generic", "Evil-Pkg", "false"),
        (None, "evil-pkg", "true"), (None, "Evil_Pkg", "unknown"), (None, "other", "false"),
    ],
)  # fmt: skip
def test_names_are_compared_as_their_ecosystem_spells_them(
    ecosystem: str | None, name: str, truth: str
) -> None:
    item: dict[str, Any] = {"name": name} | ({"ecosystem": ecosystem} if ecosystem else {})
    for when in (
        "in: [evil-pkg, worse]",
        "is: evil-pkg",
        "matches: {glob: evil-pkg}",
        "matches: {glob: 'evil-p*'}",
    ):
        text = policy(rule(f"{{some: dependencies, where: {{fact: name, {when}}}}}"))
        assert verdict(text, {"dependencies": Collection((item,))}).rules[0].truth.value == truth, when


@pytest.mark.parametrize("written", ["is: %s", "matches: {glob: '%s*'}", "matches: {regex: '(%s|worse).*'}"])
@pytest.mark.parametrize(
    ("ecosystem", "spellings", "truth"),
    [
        ("pypi", ("evil_pkg", "Evil.Pkg", "evil-pkg", "EVIL_PKG"), "true"),
        ("cargo", ("evil_pkg", "Evil-Pkg"), "true"),
        ("npm", ("evil_pkg", "Evil_Pkg"), "true"),
        (None, ("evil_pkg", "Evil.Pkg"), "unknown"),
    ],
)
def test_a_name_is_met_in_every_spelling_however_the_policy_writes_it(
    written: str, ecosystem: str | None, spellings: tuple[str, ...], truth: str
) -> None:
    for one, other in itertools.permutations(spellings, 2):
        text = policy(rule(f"{{some: dependencies, where: {{fact: name, {written % one}}}}}"))
        item: dict[str, Any] = {"name": other} | ({"ecosystem": ecosystem} if ecosystem else {})
        found = verdict(text, {"dependencies": Collection((item,))}).rules[0].truth.value
        assert found == truth, (one, other)


@pytest.mark.parametrize("written", ["glob: 'evil*'", "glob: 'evi?*'", "regex: 'evil.*'"])
def test_a_text_that_utf_8_does_not_have_passes_no_pattern(written: str) -> None:
    text = policy(rule(f"{{fact: property.from, matches: {{{written}}}}}"))
    seen = facts({"property.from": "evil\ud800"})
    found = evaluate(compiled(text), request(), seen)
    assert found.decision is Effect.BLOCK
    again = evaluate(compiled(text), request(), facts_from_json(seen.to_json()))
    assert verdict_bytes(again) == verdict_bytes(found)


def test_a_purl_tells_the_ecosystem_of_its_item() -> None:
    text = policy(rule("{some: dependencies, where: {fact: name, is: Evil_Pkg}}"))
    items = Collection(({"name": "evil-pkg", "purl": "pkg:pypi/evil-pkg@1.0"},))
    assert verdict(text, {"dependencies": items}).decision is Effect.BLOCK


def test_no_policy_bound_is_block_in_production_and_warn_elsewhere_and_says_so() -> None:
    text = policy(head="  match: {actions: [upload]}\n")
    for environment, effect in (
        ("production", Effect.BLOCK),
        ("Prod", Effect.BLOCK),
        ("development", Effect.WARN),
    ):
        found = verdict(text, environment=environment)
        assert (found.decision, found.policies) == (effect, ())
        assert [one.rule for one in found.findings] == [NO_POLICY]
        assert "no policy is bound to load of file `models-local/team/model.bin`" in found.findings[0].message
        assert compiled(text).mode_for(request(environment=environment), found) is Mode.ENFORCE


@pytest.mark.parametrize(
    ("match", "changes", "binds"),
    [
        ("{actions: [load]}", {}, True),
        ("{actions: [download]}", {}, False),
        ("{repositories: ['models-*']}", {}, True),
        ("{repositories: ['hf-*']}", {}, False),
        ("{kinds: [file]}", {}, True),
        ("{kinds: [model]}", {}, False),
        ("{kinds: [model]}", {"kind": Kind.MODEL}, True),
        ("{environments: [prod]}", {}, True),
        ("{environments: ['dev*']}", {}, False),
        ("{actors: ['group:speech']}", {}, True),
        ("{actors: ['group:vision', 'user:ali*']}", {}, True),
        ("{actors: [bob]}", {}, False),
        ("{actors: [bob]}", {"actor": Actor(name="bob")}, True),
        ("{actions: [load], repositories: ['hf-*']}", {}, False),
        ("{actions: [delete]}", {"action": Action.DELETE}, True),
    ],
)
def test_match_binds_by_every_key(match: str, changes: dict[str, Any], binds: bool) -> None:
    found = verdict(policy(head=f"  match: {match}\n"), **changes)
    assert (found.policies == ("p",)) is binds


def test_a_verdict_is_the_same_bytes_from_its_document_and_in_any_order_of_files() -> None:
    one = policy(
        rule(MALICIOUS, name="a") + rule("{fact: scan.age, gt: 7d}", name="b", effect="quarantine"),
        name="one",
    )
    two = policy(rule("{fact: publisher, in: [b, a, c]}", name="c", effect="warn"), name="two")
    values: dict[str, FactValue] = {"xray.malicious": False, "publisher": "a", "scan.age": 700_000}
    first, second = compiled(one, two), compiled(two, one)
    replayed = from_document(first.document)
    assert first.digest == second.digest == replayed.digest
    bytes_ = {verdict_bytes(evaluate(each, request(), facts(values))) for each in (first, second, replayed)}
    assert len(bytes_) == 1


def test_a_verdict_survives_pickling_without_its_closures() -> None:
    found = verdict(policy(rule(MALICIOUS)), {"xray.malicious": True})
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert verdict_bytes(again) == verdict_bytes(found)


def test_retry_after_is_the_longest_that_is_asked_for() -> None:
    def wait(rules: str, head: str = "", default: str = "allow") -> int | None:
        return verdict(policy(rules, head=head, default=default), {"xray.malicious": True}).retry_after

    plain = rule(MALICIOUS, effect="quarantine")
    assert wait(plain) == 60
    assert wait(plain, head="  retryAfter: 5m\n") == 300
    assert (
        wait(rule(MALICIOUS, effect="quarantine", more="  retryAfter: 90s\n"), head="  retryAfter: 5m\n")
        == 90
    )
    assert wait(rule(MALICIOUS)) is None
    assert wait("", default="quarantine", head="  retryAfter: 10s\n") == 10


def test_modes_belong_to_the_policies_that_object() -> None:
    sets = policy_set(
        "  bindings:\n"
        "    - {policies: [trial], environments: [production], mode: observe}\n"
        "    - {policies: [held], environments: [production], mode: enforce}\n"
    )
    trial, held = (
        policy(rule(MALICIOUS), name="trial"),
        policy(rule("{fact: scan.complete, is: false}"), name="held"),
    )
    both = compiled(trial, held, sets)

    def mode(values: dict[str, FactValue]) -> Mode:
        return both.mode_for(request(), evaluate(both, request(), facts(values)))

    assert mode({"xray.malicious": True, "scan.complete": True}) is Mode.OBSERVE
    assert mode({"xray.malicious": True, "scan.complete": False}) is Mode.ENFORCE
    assert mode({"xray.malicious": False, "scan.complete": False}) is Mode.ENFORCE
    assert both.mode_for(request()) is Mode.ENFORCE


def test_without_a_set_policies_observe_and_enforce_in_production() -> None:
    one = compiled(policy())
    modes = {
        name: one.mode_for(request(environment=name)) for name in ("production", "staging", "development")
    }
    assert modes == {"production": Mode.ENFORCE, "staging": Mode.OBSERVE, "development": Mode.OBSERVE}


def test_a_binding_without_a_mode_observes_and_the_strictest_of_several_counts() -> None:
    quiet = "  bindings: [{policies: ['*'], environments: ['*']}]\n"
    assert compiled(policy(), policy_set(quiet)).mode_for(request()) is Mode.OBSERVE
    several = quiet[:-2] + ", {policies: [p], environments: [prod*], mode: warn}]\n"
    assert compiled(policy(), policy_set(several)).mode_for(request()) is Mode.WARN


def test_wrong_types_and_odd_values_are_unknown_and_never_an_exception() -> None:
    odd: list[Any] = [
        1,
        1.5,
        "text",
        True,
        None,
        (),
        ("a",),
        Collection(()),
        Unknown("x"),
        [1],
        {"a": 1},
        object(),
    ]
    odd += [float("nan"), 2**70, "\ud800", (1, None)]
    texts = [
        policy(rule(when))
        for when in (
            "{fact: xray.max_cvss, gte: 7.0}", "{fact: xray.malicious, is: true}", "{fact: publisher, in: [a]}",
            "{fact: xray.max_severity, gte: high}", "{fact: scan.age, gt: 7d}", "{fact: artifact.version, lt: '2.0'}",
            "{fact: artifact.version, matches: {versions: '>=1'}}", "{fact: artifact.ref, matches: {regex: 'a+'}}",
            "{fact: artifact.ref, matches: {glob: 'a?*'}}", "{fact: content.verdict, is: clean}", "{fact: publisher, exists: true}",
            "{some: licences, where: {fact: spdx, in: [MIT]}}", "{every: licences, where: {fact: spdx, in: [MIT]}}",
            "{some: dependencies, where: {fact: purl, matches: {purl: 'pkg:pypi/a*'}}}", "{some: actor.groups, where: {fact: value, is: a}}",
            "{some: vulnerabilities, where: {fact: published, lt: '2026-01-01T00:00:00Z'}}", "{fact: artifact.size, gt: 1}",
        )
    ]  # fmt: skip
    names = ["xray.max_cvss", "xray.malicious", "publisher", "xray.max_severity", "scan.age", "artifact.version",
             "artifact.ref", "content.verdict", "licences", "dependencies", "actor.groups", "vulnerabilities", "artifact.size"]  # fmt: skip
    for text in texts:
        policy_ = compiled(text)
        for value in odd:
            items: Any = Collection(({"spdx": value, "purl": value, "published": value},))
            below = {"licences": items, "dependencies": items, "vulnerabilities": items}
            mappings: list[dict[str, Any]] = [dict.fromkeys(names, value), below]
            for mapping in mappings:
                assert verdict_bytes(evaluate(policy_, request(), facts(mapping)))
