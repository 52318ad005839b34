"""What stands around the policies: cases, lint, schemas, facts from outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import policies
from governance.errors import PolicyInvalidError
from governance.model.facts import Collection, FactSpec, FactType, extended
from governance.model.verdict import Effect
from governance.policy import docs
from governance.policy.cases import run_cases
from governance.policy.compile import compile_bundle, from_document
from governance.policy.evaluate import evaluate
from governance.policy.lint import CODES, lint
from governance.policy.load import load_files
from governance.policy.schema import kinds
from governance.policy.schemagen import json_schema
from governance.policy.strict_yaml import parse_yaml
from tests.unit.policy_kit import (
    MALICIOUS,
    NOON,
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

ROOT = Path(__file__).resolve().parents[2]


CASES = """
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: t}
spec:
  at: 2026-11-20T12:00:00Z
  fixtures:
    clean: {xray.malicious: false, artifact.ref: hf-remote/acme/x, artifact.digest: "sha256:DIGEST", scan.age: 1h}
  cases:
    - {name: good, from: clean, action: load, expect: {verdict: allow, rules: []}}
    - {name: bad, from: clean, set: {xray.malicious: true}, action: load, expect: {verdict: allow, rules: [p/other], matched: [a], waived: [p/r], retryable: true, message: nope}}
""".replace("DIGEST", "7d" * 32)


GROUPS = """
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: t}
spec:
  at: 2026-11-20T12:00:00Z
  cases:
    - {name: by the key, groups: [staff, interns], action: load, expect: {verdict: block}}
    - {name: by the fact, set: {actor.groups: [staff, interns]}, action: load, expect: {verdict: block}}
    - {name: others by the key, groups: [staff], action: load, expect: {verdict: allow}}
    - {name: others by the fact, set: {actor.groups: [staff]}, action: load, expect: {verdict: allow}}
    - {name: the fact says otherwise, groups: [staff], set: {actor.groups: {unknown: why}}, action: load, expect: {verdict: block}}
"""


def test_the_groups_of_a_case_are_those_of_its_facts_and_of_its_request() -> None:
    interns = rule("{some: actor.groups, where: {fact: value, is: interns}}")
    bound = policy(interns, head="  match: {actors: ['group:staff']}\n")
    assert [one.differences for one in run_cases(bundle(bound, GROUPS)).results] == [()] * 5


def test_cases_say_what_differs_and_what_is_not_covered() -> None:
    report = run_cases(bundle(policy(rule(MALICIOUS)), CASES))
    assert [(one.case, one.is_passed) for one in report.results] == [("good", True), ("bad", False)]
    assert report.failed[0].differences == (
        "expected allow, got block",
        "expected the rules p/other, got p/r",
        "expected to match a, got none",
        "expected to waive p/r, got none",
        "expected a retryable verdict",
        "expected a message with `nope`, got ['it matched']",
    )
    assert [(row.rule, row.missing) for row in report.coverage] == [("p/r", ("unknown",))]


def test_cases_reach_waivers_by_the_digest_of_their_fixture() -> None:
    covered = CASES.replace(
        "allow, rules: [p/other], matched: [a], waived: [p/r], retryable: true, message: nope",
        "allow, waived: [r]",
    )
    held = waiver(artifact=f'{{ref: hf-remote/acme/x, digest: "sha256:{"7d" * 32}"}}')
    assert run_cases(bundle(policy(rule(MALICIOUS)), covered, held)).failed == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from: clean, action", "from: clen, action", "expected the name of a fixture, got 'clen', did you mean `clean`?"),
        ("xray.malicious: false", "xray.malicius: false", "expected a fact of the catalogue, got 'xray.malicius'"),
        ("xray.malicious: false", "xray.malicious: maybe", "expected `true` or `false`, got 'maybe'"),
        ("scan.age: 1h", "scan.age: 3600", "expected a duration such as"),
        ("scan.age: 1h", "files: [{pth: a}]", "expected a field of the item, got 'pth', did you mean `path`?"),
        ("scan.age: 1h", "files: a", "expected a list of items"),
        ("scan.age: 1h", "actor.groups: a", "expected a list of texts"),
        ("at: 2026-11-20T12:00:00Z", "at: 2026-11-20", "expected a time in UTC"),
        ("name: bad", "name: good", "expected a name that no other case has"),
        ("action: load, expect: {verdict: allow, rules: []}", "action: load, unset: [nope], expect: {verdict: allow}", "expected a fact of the catalogue, got 'nope'"),
        ("verdict: allow, rules: []", "verdct: allow", "did you mean `verdict`?"),
    ],
)  # fmt: skip
def test_each_mistake_in_cases_has_its_own_message(old: str, new: str, message: str) -> None:
    found = problems(policy(rule(MALICIOUS)), CASES.replace(old, new, 1))
    assert any(message in line for line in found), found


def codes(*texts: str) -> list[tuple[str, str]]:
    return [(note.code, note.subject) for note in lint(bundle(*texts), at=NOON)]


@pytest.mark.parametrize(
    ("code", "rules", "default"),
    [
        ("block-skips-unknown", rule(MALICIOUS, more="  onUnknown: skip\n"), "block"),
        ("allow-matches-unknown", rule(MALICIOUS, effect="allow", more="  onUnknown: match\n"), "block"),
        ("allow-on-properties", rule("{fact: property.ok, is: 'yes'}", effect="allow"), "block"),
        ("allow-without-effect", rule(MALICIOUS, effect="allow"), "allow"),
        ("never-matches", rule("{fact: xray.max_cvss, gte: 7.0, lt: 4.0}"), "block"),
        ("never-matches", rule("{all: [{fact: artifact.kind, is: model}, {fact: artifact.kind, is: file}]}"), "block"),
        ("never-matches", rule("{some: vulnerabilities, where: {fact: severity, gte: high, in: [low]}}"), "block"),
        ("never-matches", rule("{all: [{fact: artifact.path, exists: false}, {fact: artifact.path, is: a}]}"), "block"),
        ("licence-in-block", rule("{some: licences, where: {fact: spdx, in: [AGPL-3.0-only]}}"), "block"),
        ("implied-rule", rule(MALICIOUS, name="a") + rule(f"{{all: [{MALICIOUS}, {{fact: environment, is: production}}]}}"), "block"),
        ("implied-rule", rule(MALICIOUS, name="a") + rule(MALICIOUS), "block"),
    ],
)  # fmt: skip
def test_lint_names_what_is_probably_not_meant(code: str, rules: str, default: str) -> None:
    assert (code, "p/r") in codes(policy(rules, default=default))


def test_lint_is_silent_about_what_is_meant() -> None:
    good = rule("{fact: xray.max_cvss, gte: 4.0, lt: 7.0}", name="a") + rule(
        "{some: licences, where: {not: {fact: spdx, in: [MIT]}}}"
    )
    assert codes(policy(good, default="block")) == []


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("lt: 0001-01-01T00:00:00Z", [("never-matches", "p/r")]),
        ("gte: 0001-01-01T00:00:00Z", []),
        ("lte: 9999-12-31T23:59:59.999999Z", []),
        ("gt: 9999-12-31T23:59:59.999999Z", [("never-matches", "p/r")]),
    ],
)
def test_lint_reads_the_first_and_the_last_moment_there_is(
    condition: str, found: list[tuple[str, str]]
) -> None:
    both = f"{{all: [{{fact: published, {condition}}}, {{fact: published, gt: 2020-01-01T00:00:00Z}}]}}"
    assert codes(policy(rule(f"{{some: vulnerabilities, where: {both}}}"), default="block")) == found


def test_lint_looks_at_sets_lists_and_waivers() -> None:
    sets = policy_set(
        "  layers: [{name: org, policies: [p]}]\n  lists: {unused: [a]}\n"
        "  bindings: [{policies: [p], environments: [production], mode: enforce}]\n"
    )
    held = [
        waiver(name="W-over", starts="2026-10-01T00:00:00Z", expires="2026-11-01T00:00:00Z"),
        waiver(name="W-soon", expires="2026-11-30T00:00:00Z"),
        waiver(name="W-gone", revoked="{at: '2026-11-21T00:00:00Z', by: bob}"),
    ]
    found = codes(policy(rule(MALICIOUS)), policy(name="q"), sets, *held)
    assert found == [
        ("waiver-expired", "W-over"), ("waiver-expires-soon", "W-soon"), ("waiver-without-findings", "W-soon"),
        ("default-allow-in-production", "p"), ("policy-not-in-force", "q"), ("unused-list", "unused"),
    ]  # fmt: skip
    assert ("unbound-policy", "q") in codes(
        policy(rule(MALICIOUS)),
        policy(name="q"),
        sets.replace("  layers: [{name: org, policies: [p]}]\n", ""),
    )


def test_lint_names_the_rules_that_no_index_serves_where_there_are_many() -> None:
    many = "".join(rule(f"{{fact: artifact.path, is: a{n}}}", name=f"r{n}") for n in range(200))
    slow = rule("{not: {fact: artifact.path, is: a}}", name="slow")
    found = [one for one in codes(policy(many + slow, default="block")) if one[0] == "unserved-rule"]
    assert found == [("unserved-rule", "p/slow")]
    assert set(CODES) >= {code for code, _ in found}


def test_schemas_accept_what_the_loader_accepts_and_refuse_plain_mistakes() -> None:
    validators = {}  # a schema is checked once, and not again for each of a hundred documents
    for kind in ("Policy", "PolicySet", "PolicyTest"):
        schema = json_schema(kind)
        maker = jsonschema.validators.validator_for(schema)
        maker.check_schema(schema)
        validators[kind] = maker(schema)
    for name in policies.names():
        for file in (policies.path(name), policies.cases(name)):
            for document in parse_yaml(file.read_bytes(), file.name):
                assert isinstance(document.data, dict)
                validators[str(document.data["kind"])].validate(document.data)
    for when in (
        "{fact: xray.malicius, is: true}",
        "{fact: publisher, lt: a}",
        "{al: []}",
        "{some: files, where: {fact: cvss, gte: 7.0}}",
    ):
        (document,) = parse_yaml(policy(rule(when)).encode(), "f")
        with pytest.raises(jsonschema.ValidationError):
            validators["Policy"].validate(document.data)


HEX = "aB" * 32


@pytest.mark.parametrize(
    ("when", "good"),
    [
        (f"{{fact: artifact.digest, is: 'sha256:{HEX}'}}", True),
        (f"{{fact: artifact.digest, is: 'DirHash1:{HEX}'}}", True),
        (f"{{fact: artifact.digest, in: ['{HEX}']}}", False),
        (f"{{fact: artifact.digest, is: 'sha256:{HEX[:-1]}'}}", False),
        (f"{{fact: signature.bundle, is: '{HEX}'}}", True),
        (f"{{fact: signature.bundle, is: 'sha256:{HEX}'}}", False),
        (f"{{fact: revision.resolved, in: ['{HEX[:40]}', '{HEX}']}}", True),
        ("{fact: revision.resolved, is: main}", False),
        (f"{{some: files, where: {{fact: sha256, is: '{HEX}'}}}}", True),
        ("{some: files, where: {fact: sha256, is: abc}}", False),
        ("{fact: xray.max_cvss, gte: 10}", True),
        ("{fact: xray.max_cvss, gte: 10.1}", False),
        ("{fact: xray.max_cvss, lt: -0.1}", False),
        ("{some: vulnerabilities, where: {fact: cvss, in: [0, 9.9]}}", True),
        ("{some: vulnerabilities, where: {fact: epss, gte: 1.5}}", False),
        ("{some: vulnerabilities, where: {fact: first_seen, lt: 2026-11-20T00:00:00Z}}", True),
        ("{some: vulnerabilities, where: {fact: first_seen, lt: 2026-11-20}}", False),
        ("{some: dependencies, where: {fact: purl, is: 'pkg:pypi/numpy'}}", True),
        ("{some: dependencies, where: {fact: purl, is: 'pkg:pypi/num*'}}", False),
        ("{some: dependencies, where: {fact: purl, matches: {purl: 'pkg:pypi/num*'}}}", True),
        ("{fact: publisher, is: 'goo*'}", False),
        ("{fact: publisher, matches: {glob: 'goo*'}}", True),
        (f"{{fact: artifact.path, is: {'a' * 1000}}}", True),
        (f"{{fact: artifact.path, is: {'a' * 1001}}}", False),
    ],
)
def test_schemas_know_the_forms_and_bounds_that_the_loader_demands(when: str, good: bool) -> None:
    text = policy(rule(when))
    (document,) = parse_yaml(text.encode(), "f")
    schema = json_schema("Policy")
    assert (
        problems(text) == [],
        jsonschema.validators.validator_for(schema)(schema).is_valid(document.data),
    ) == (good, good)


SHORT = "  block: {severity: high, licences: [AGPL-3.0-only], packages: ['PKG:pypi/evil-*'], publishers: [a], formats: [pickle]}\n"


@pytest.mark.parametrize(
    ("kind", "text", "was", "became"),
    [
        ("Policy", policy(head=SHORT), "AGPL-3.0-only", "3"),
        ("Policy", policy(head=SHORT), "PKG:pypi/evil-*", "evil"),
        ("Policy", policy(head=SHORT), "publishers: [a]", "publishers: ['a*']"),
        ("Policy", policy(head=SHORT), "pickle", "pikle"),
        ("Policy", policy(head="  allow: {formats: [onnx]}\n", default="block"), "{formats: [onnx]}", "{}"),
        ("Policy", policy(rule(MALICIOUS)), "  message: it matched\n", ""),
        ("Policy", policy(rule(MALICIOUS, effect="quarantine")), "  message: it matched\n", ""),
        ("PolicySet", policy_set("  lists: {l: [a, 1, 1.5]}\n"), "1.5", "true"),
        ("Waiver", waiver(), "2026-12-20T00:00:00Z", "2026-12-20"),
        ("Waiver", waiver(revoked="{at: 2026-11-21T00:00:00Z, by: bob}"), "2026-11-21T00:00:00Z", "yesterday"),
        ("PolicyTest", CASES.strip() + "\n", "at: 2026-11-20T12:00:00Z", "at: 2026-11-20 12:00"),
        *(
            ("PolicyTest", CASES.strip() + "\n", "clean: {xray.malicious: false,", f"{key}: {{{fact},")
            for key, fact in (
                ("clean", "xray.malicius: false"), ("clean", "xray.malicious: 'no'"), ("clean", "scan.complete: {unknown: x, why: y}"),
                ("clean", "scan.database_age: 5"), ("clean", "content.verdict: clear"), ("clean", "actor.groups: staff"),
                ("clean", "files: [{path: a, sise: 5}]"), ("clean", "files: {items: [{path: 5}], missing: more}"),
                ("clean", "vulnerabilities: [{cvss: 11}]"), ("clean", "property.x: 5"),
            )
        ),
        *(
            ("PolicyTest", CASES.strip() + "\n", "{name: good, from: clean,", f"{{name: good, from: clean, {more},")
            for more in ("set: {xray.malicious: 1}", "unset: [xray.malicius]")
        ),
        ("PolicySet", policy_set("  lists: {l: [a]}\n"), "l: [a]", "L_: [a]"),
    ],
)  # fmt: skip
def test_schemas_know_the_short_form_times_lists_fixtures_and_which_rules_say_why(
    kind: str, text: str, was: str, became: str
) -> None:
    schema = json_schema(kind)
    maker = jsonschema.validators.validator_for(schema)(schema)
    other = () if kind == "Policy" else (policy(rule(MALICIOUS)),)
    for written, good in ((text, True), (text.replace(was, became), False)):
        (document,) = parse_yaml(written.encode(), "f")
        assert (problems(written, *other) == [], maker.is_valid(document.data)) == (good, good), written


def test_the_schema_of_a_policy_test_takes_what_a_fixture_may_say() -> None:
    schema = json_schema("PolicyTest")
    maker = jsonschema.validators.validator_for(schema)(schema)
    for fact in (
        "xray.malicious: null", "scan.complete: {unknown: why}", "files: {items: [{path: a, size: null}], missing: more}",
        "xray.max_cvss: {unknown: why, atLeast: 9.8}", "scan.age: {unknown: why, atLeast: 7d}", "xray.watches: {unknown: why, atLeast: [a]}",
        "licences: [{spdx: any text}]", "artifact.digest: any", "property.x: y", "property.*: true", "actor.groups: []",
        "vulnerabilities: [{severity: unknown, cvss: {unknown: x}, fixed_in: ['2'], first_seen: 2026-11-20T00:00:00Z}]",
    ):  # fmt: skip
        written = CASES.strip().replace(
            "from: clean, action: load", f"from: clean, set: {{{fact}}}, unset: [property.x], action: load"
        )
        (document,) = parse_yaml(written.encode(), "f")
        assert (problems(written, policy(rule(MALICIOUS))), maker.is_valid(document.data)) == ([], True), fact


def test_generated_files_are_what_would_be_generated() -> None:
    for name, text in docs.generated_files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, (
            f"run `python -m governance.policy.docs .` for {name}"
        )
    assert {Path(name).stem for name in docs.generated_files()} == set(kinds())


def test_facts_from_outside_are_checked_compiled_and_replayed() -> None:
    rows = FactSpec(name="acme.reviews", type=FactType.COLLECTION, source="acme", meaning="reviews", fields=(
        FactSpec(name="by", type=FactType.STRING, source="acme", meaning="reviewer"),
    ))  # fmt: skip
    catalogue = extended(
        [FactSpec(name="acme.score", type=FactType.INTEGER, source="acme", meaning="score"), rows]
    )
    text = policy(
        rule("{any: [{fact: acme.score, lt: 5}, {some: acme.reviews, where: {fact: by, is: mallory}}]}")
    )
    assert any("acme.score" in line for line in problems(text))
    one = compile_bundle(load_files({"f.yaml": text.encode()}, catalogue=catalogue))
    for each in (one, from_document(one.document)):
        assert evaluate(each, request(), facts({"acme.score": 3})).decision is Effect.BLOCK
    assert from_document(one.document).digest == one.digest


@pytest.mark.parametrize("name", ["score", "property.x", "xray.malicious"])
def test_facts_from_outside_take_no_name_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        extended([FactSpec(name=name, type=FactType.INTEGER, source="acme", meaning="x")])


def test_a_document_that_is_not_ours_is_refused() -> None:
    for data in (
        b"",
        b"{}",
        b"[]",
        b'{"documents":[],"facts":[{}]}',
        b'{"documents":[{"kind":"Policy"}],"facts":[]}',
    ):
        with pytest.raises(PolicyInvalidError):
            from_document(data)


def test_a_waiver_expires_soon_by_the_time_it_is_told() -> None:
    held = bundle(policy(rule(MALICIOUS)), waiver())
    assert "waiver-expires-soon" not in {note.code for note in lint(held, at=NOON)}
    assert "waiver-expires-soon" in {note.code for note in lint(held, at=NOON + timedelta(days=20))}


def test_the_shorthand_blocks_what_it_names() -> None:
    text = policy(head="  block: {severity: high, cvss: 9.0, malicious: true, unsigned: true, unscanned: true, licences: [AGPL-3.0-only], "
                  "packages: ['pkg:pypi/evil-*'], publishers: [mallory], formats: [pickle]}\n  warn: {severity: low}\n"
                  "  allow: {publishers: [acme], formats: [onnx], licences: [MIT]}\n")  # fmt: skip
    good: dict[str, Any] = {
        "vulnerabilities": Collection(()), "xray.malicious": False, "content.verdict": "clean", "signature.valid": True,
        "scan.complete": True, "licences": Collection(({"spdx": "MIT OR AGPL-3.0-only"},)), "publisher": "acme",
        "dependencies": Collection(({"purl": "pkg:pypi/torch@2.0"},)), "files": Collection(({"path": "a", "format": "onnx"},)),
    }  # fmt: skip
    assert verdict(text, good).decision is Effect.ALLOW
    bad: dict[str, tuple[str, Any]] = {
        "severity": ("vulnerabilities", Collection(({"id": "X", "severity": "high", "cvss": 8.0},))),
        "cvss": ("vulnerabilities", Collection(({"id": "X", "severity": "none", "cvss": 9.0},))),
        "malicious": ("content.verdict", "malicious"), "unsigned": ("signature.valid", False), "unscanned": ("scan.complete", False),
        "licences": ("licences", Collection(({"spdx": "MIT AND AGPL-3.0-only"},))), "publishers": ("publisher", "Mallory"),
        "packages": ("dependencies", Collection(({"purl": "pkg:pypi/Evil_Thing@1"},))),
        "formats": ("files", Collection(({"path": "a", "format": "pickle"},))),
    }  # fmt: skip
    for key, (name, value) in bad.items():
        found = verdict(text, good | {name: value})
        assert (found.decision, [one.rule for one in found.findings if one.effect is Effect.BLOCK]) == (
            Effect.BLOCK,
            [f"p/block-{key}"],
        )


def test_a_compiled_policy_says_what_it_is() -> None:
    one = compiled(policy(), policy_set("  {}\n", revision=48))
    assert (one.revision, len(one.digest)) == (48, 64)
    assert compiled(policy()).revision is None
