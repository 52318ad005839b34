"""One run tells every mistake that can be told: a slip in one place hides none in another, and is not told twice."""

from __future__ import annotations

import pytest

from governance.policy import repairing
from governance.policy.mistakes import Mistake, Path
from tests.unit.policy_kit import DIGEST, policy, policy_set, problems, rule, waiver

POLICY = """\
apiVersion: mlgov/v1
kind: Policy
metadata: {name: first, titel: x}
spec:
  default: blokc
  match: {actions: [downlod], actors: ['group:']}
  block: {severty: high, licences: [AGPL-3], packages: [evil], cvss: 11}
  allow: {formats: [pikle]}
  rules:
    - {id: a, effect: block, severity: hihg, when: {fact: publishr, is: x}, message: '{nope}'}
    - {id: a, effect: warn, grace: {production: 7d}, when: {some: vulnerabilities, where: {fact: cvss, gte: 7}}, message: '{matched.cvs}'}
    - {id: c, effect: blok, when: {all: [{fact: publisher, iz: x}, {some: files, where: {fact: format, is: onnx}}]}, message: '{matched.pth} {'}
    - {id: d, effect: block, when: {fact: publisher, in: {list: nowhere}}}
    - {id: e, effect: block, condition: "publishr == 'x' && scan.complete == 3", message: m, retryAfter: soon}
    - {id: f, effect: block, severity: high, message: [], retryAfter: 1h, when: {fact: publisher, is: x}}
    - 3
"""
SET = """\
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: s, revision: x}
spec:
  layers: [{name: l, policies: [gone]}, {name: m, extends: n}]
  bindings: [{policies: [frist], environments: [production], mode: enforced}]
  outage: {production: {action: last-verdict}, staging: {action: block, maxAge: never}}
  lists: {known: [[x]]}
"""
WAIVERS = f"""\
apiVersion: mlgov/v1
kind: Waiver
metadata: {{name: W-1}}
spec:
  rule: gone/zz
  artifact: {{ref: 'models-local/*', digest: "{DIGEST}"}}
  scope: {{actors: ['user:']}}
  reason: ''
  requestedBy: alice
  approvedBy: [bob]
  starts: yesterday
  expires: 2026-12-20T00:00:00Z
---
apiVersion: mlgov/v1
kind: Waiver
metadata: {{name: W-1}}
spec:
  rule: first/d
  artifact: {{ref: models-local/x, digest: "sha256:1"}}
  reason: r
  requestedBy: alice
  approvedBy: [alice]
  starts: 2026-12-20T00:00:00Z
  expires: 2026-12-19T00:00:00Z
"""
TESTS = """\
apiVersion: mlgov/v1
kind: PolicyTest
metadata: {name: t}
spec:
  policies: [fist]
  at: noon
  fixtures: {good: {publishr: x, scan.complete: 'yes'}}
  cases:
    - {name: c, from: god, set: {xray.max_cvss: high}, unset: [publishr], action: load, expect: {verdict: blok}}
    - {name: c, from: good, action: lod, expect: {verdict: block}}
    - {name: d, action: load}
"""


def test_a_file_of_each_kind_with_one_mistake_of_each_sort_is_mended_in_one_go() -> None:
    pytest.importorskip("cel_expr_python")
    found = problems(POLICY, SET, WAIVERS, TESTS)
    assert [line.partition(" expected")[0] for line in found] == [
        "file0.yaml:3:25 metadata.titel:",
        "file0.yaml:5:12 spec.default:",
        "file0.yaml:6:21 spec.match.actions[0]:",
        "file0.yaml:6:40 spec.match.actors[0]:",
        "file0.yaml:7:11 spec.block.severty:",
        "file0.yaml:7:36 spec.block.licences:",
        "file0.yaml:7:56 spec.block.packages:",
        "file0.yaml:7:70 spec.block.cvss:",
        "file0.yaml:8:10 spec.allow:",
        "file0.yaml:10:40 spec.rules[0].severity:",
        "file0.yaml:10:59 spec.rules[0].when.fact:",
        "file0.yaml:10:86 spec.rules[0].message:",
        "file0.yaml:11:12 spec.rules[1].id:",
        "file0.yaml:11:29 spec.rules[1].grace:",
        "file0.yaml:11:123 spec.rules[1].message:",
        "file0.yaml:12:23 spec.rules[2].effect:",
        "file0.yaml:12:60 spec.rules[2].when.all[0].iz:",
        "file0.yaml:12:127 spec.rules[2].message:",
        "file0.yaml:12:127 spec.rules[2].message:",
        "file0.yaml:13:7 spec.rules[3]:",
        "file0.yaml:13:65 spec.rules[3].when.in.list:",
        "file0.yaml:14:41 spec.rules[4].condition:",
        "file0.yaml:14:106 spec.rules[4].retryAfter:",
        "file0.yaml:15:55 spec.rules[5].message:",
        "file0.yaml:15:59 spec.rules[5].retryAfter:",
        "file0.yaml:16:7 spec.rules[6]:",
        "file1.yaml:3:31 metadata.revision:",
        "file1.yaml:5:11 spec.layers:",
        "file1.yaml:5:11 spec.layers:",
        "file1.yaml:6:13 spec.bindings:",
        "file1.yaml:6:68 spec.bindings[0].mode:",
        "file1.yaml:7:24 spec.outage.production:",
        "file1.yaml:7:81 spec.outage.staging.maxAge:",
        "file1.yaml:8:19 spec.lists.known[0]:",
        "file2.yaml:5:9 spec.rule:",
        "file2.yaml:6:19 spec.artifact.ref:",
        "file2.yaml:7:20 spec.scope.actors[0]:",
        "file2.yaml:8:11 spec.reason:",
        "file2.yaml:11:11 spec.starts:",
        "file2.yaml:16:18 metadata.name:",
        "file2.yaml:19:43 spec.artifact.digest:",
        "file2.yaml:24:12 spec.expires:",
        "file3.yaml:5:13 spec.policies:",
        "file3.yaml:6:7 spec.at:",
        "file3.yaml:7:21 spec.fixtures.good.publishr:",
        "file3.yaml:7:49 spec.fixtures.good.scan.complete:",
        "file3.yaml:9:23 spec.cases[0].from:",
        "file3.yaml:9:49 spec.cases[0].set.xray.max_cvss:",
        "file3.yaml:9:64 spec.cases[0].unset[0]:",
        "file3.yaml:9:107 spec.cases[0].expect.verdict:",
        "file3.yaml:10:14 spec.cases[1].name:",
        "file3.yaml:10:37 spec.cases[1].action:",
        "file3.yaml:11:7 spec.cases[2]:",
    ]


def test_what_is_not_strict_yaml_hides_neither_more_of_it_nor_what_else_is_wrong() -> None:
    text = (
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  default: &d allow\n  default: block\n"
        "  rules:\n  - {id: a, effect: *d, when: {fact: publishr, is: 010}, message: m}\n"
        "  - {<<: *d, effect: block, sevrity: high}\n"
    )
    found = problems(text, policy(rule("{fact: publisher, iz: x}"), name="q") + "---\n\tx")
    assert [line.partition(", ")[0].partition(" (")[0] for line in found] == [
        "file0.yaml:5:12: expected strict YAML",
        "file0.yaml:6:3: expected strict YAML",
        "file0.yaml:8:21: expected strict YAML",
        "file0.yaml:8:38 spec.rules[0].when.fact: expected a fact of the catalogue",
        "file0.yaml:8:52: expected strict YAML",
        "file0.yaml:9:6: expected strict YAML",
        "file0.yaml:9:29 spec.rules[1].sevrity: expected one of the keys `id`",
        "file1.yaml:9:31 spec.rules[0].when.iz: expected an operator: `is`",
        "file1.yaml:12:1: expected strict YAML",
    ]


@pytest.mark.parametrize(
    "texts",
    [
        [policy("- {id: a, efect: block, when: {fact: publisher, is: x}, retryAfter: 1h}\n")],
        [policy("- {id: a, effect: block, when: {fact: publisher, is: x}, mesage: m}\n")],
        [policy("- {id: a, effect: block, condition: '', message: m}\n")],
        [policy("- {id: a, effect: block, when: {smoe: files, where: {fact: format, is: onnx}}, message: '{matched.path}'}\n")],
        [policy(head="  block: {severty: high}\n")],
        [policy(rule("{fact: publisher, is: x}")), waiver(approvedBy="[3]")],
        [policy(rule("{fact: publisher, is: x}")), waiver(starts="soon")],
        [policy(head="  block: {cvss: 11}\n"), waiver(rule="p/block-severity")],
        [policy(), policy_set("  layers: [{name: B b}, {name: a, extends: b}]\n")],
        [policy(), policy_set("  extnds: t\n"), policy_set("  {}\n", name="t")],
        [policy().replace("{name: p}", "{nmae: p}"), policy_set("  layers: [{name: a, policies: [p]}]\n")],
    ],
)  # fmt: skip
def test_what_follows_from_a_slip_is_not_told_beside_it(texts: list[str]) -> None:
    found = problems(*texts)
    missing = [line for line in found if line.endswith("which is missing")]
    assert len(found) - len(missing) == 1, found


def test_a_slip_in_a_key_hides_nothing_that_stands_under_it() -> None:
    text = """\
apiVersion: mlgov/v1
kind: Policy
metadata: {name: p}
spek:
  mach: {actions: [downlod]}
  rule:
    - {id: a, effekt: block, when: {fact: publishr, is: x}, message: m}
    - {id: b, effect: block, when: {some: vulnerabilities, where: {fact: cvss, gte: 7}}, message: m, grce: {production: soon}}
    - {id: c, effect: block, when: {fact: publisher, in: {list: nowhere}}, message: m, mesage: [x]}
  default: allow
"""
    found = problems(
        text, policy_set("  outge: {production: {action: last-verdict}}\n"), waiver(rule="p/gone")
    )
    assert [line.partition(" expected")[0] for line in found] == [
        "file0.yaml:1:1 (document):",
        "file0.yaml:4:1 spek:",
        "file0.yaml:5:3 spek.mach:",
        "file0.yaml:5:20 spek.mach.actions[0]:",
        "file0.yaml:6:3 spek.rule:",
        "file0.yaml:7:7 spek.rule[0]:",
        "file0.yaml:7:15 spek.rule[0].effekt:",
        "file0.yaml:7:43 spek.rule[0].when.fact:",
        "file0.yaml:8:102 spek.rule[1].grce:",
        "file0.yaml:8:121 spek.rule[1].grce.production:",
        "file0.yaml:9:65 spek.rule[2].when.in.list:",
        "file0.yaml:9:88 spek.rule[2].mesage:",
        "file1.yaml:5:3 spec.outge:",
        "file1.yaml:5:23 spec.outge.production:",
        "file2.yaml:5:9 spec.rule:",
    ]


def test_a_case_or_rule_that_is_none_hides_nothing_in_those_beside_it() -> None:
    rules = "".join(
        f"- {{id: r{n}, effect: block, when: {{fact: nope, is: x}}, message: m}}\n" for n in range(28)
    )
    found = problems(policy(rules.replace("- {id: r21", "- 3\n- {id: r21")))
    assert len(found) == 29


def test_a_document_without_a_version_is_read_and_one_of_another_is_not() -> None:
    text = policy(rule("{fact: publishr, is: x}"))
    assert len(problems(text.replace("apiVersion: mlgov/v1\n", ""))) == 2
    assert len(problems(text.replace("mlgov/v1", "kyverno.io/v1"))) == 1


def test_of_two_rules_with_one_id_the_first_may_lack_what_the_second_names_a_list_in() -> None:
    listed = "{id: a, effect: allow, when: {fact: publisher, in: {list: nowhere}}}"
    found = problems(policy(f"- {{id: a, effect: allow}}\n- {listed}\n"))
    assert [line.partition(" expected")[0].partition(" ")[2] for line in found] == [
        "spec.rules[0]:",
        "spec.rules[1].id:",
        "spec.rules[1].when.in.list:",
    ]


def test_a_key_that_is_none_with_a_value_that_is_none_hides_nothing_beside_it() -> None:
    found = problems(policy(), policy_set("  outage: {'pro duction': block}\n  extends: nope\n"))
    assert [line.partition(" expected")[0].partition(" ")[2] for line in found] == [
        "spec.outage.pro duction:",
        "spec.outage.pro duction:",
        "spec.extends:",
    ]


def test_a_slip_in_each_of_many_rules_is_not_compared_with_that_in_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follows, count = repairing._follows, 200
    compared: list[Path] = []

    def counted(mistake: Mistake, doubtful: Path) -> bool:
        compared.append(doubtful)
        return follows(mistake, doubtful)

    monkeypatch.setattr(repairing, "_follows", counted)
    slip = "- {{id: r{}, efect: block, when: {{fact: publishr, is: x}}, message: m}}\n"
    assert len(problems(policy("".join(map(slip.format, range(count)))))) == 3 * count
    assert 0 < len(compared) < 10 * count
