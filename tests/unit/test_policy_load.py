"""Loading: every mistake at once, each with its place, what was expected, and the nearest valid name."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from governance.errors import PolicyInvalidError
from governance.model.facts import FactSpec, FactType, extended
from governance.policy.compile import compile_bundle, from_document
from governance.policy.load import STEP_SUFFIX, discover, load_files, load_policies, step_paths
from governance.waivers.files import read_steps
from tests.unit.policy_kit import bundle, policy, policy_set, problems, rule, waiver

CVE = "{some: vulnerabilities, where: {fact: cvss, gte: 7.0}}"


def test_a_mistake_reads_as_file_line_column_path_expected_got_and_suggestion() -> None:
    text = policy(rule("{fact: xray.malicius, is: true}"))
    (found,) = problems(text)
    assert found == (
        "file0.yaml:9:20 spec.rules[0].when.fact: expected a fact of the catalogue, got 'xray.malicius', "
        "did you mean `xray.malicious`?"
    )


def test_all_mistakes_of_all_files_come_at_once_in_order() -> None:
    one = policy(
        "- id: A b\n  effect: blokc\n  when: {fact: publisher, iz: acme}\n  message: x\n  sevrity: high\n"
    )
    two = "apiVersion: mlgov/v2\nkind: Policy\n"
    three = "apiVersion: mlgov/v1\nkind: Polcy\n"
    found = problems(one, two, three)
    assert [line.partition(" expected")[0] for line in found] == [
        "file0.yaml:7:11 spec.rules[0].id:",
        "file0.yaml:8:15 spec.rules[0].effect:",
        "file0.yaml:9:31 spec.rules[0].when.iz:",
        "file0.yaml:11:7 spec.rules[0].sevrity:",
        "file1.yaml:1:13 apiVersion:",
        "file2.yaml:2:7 kind:",
    ]
    assert "did you mean `block`?" in found[1]
    assert "did you mean `is`?" in found[2]
    assert "did you mean `severity`?" in found[3]
    assert "did you mean `mlgov/v1`?" in found[4]
    assert "did you mean `Policy`?" in found[5]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{fact: publisher, iz: acme}", "when.iz: expected an operator: `is`, `in`, `exists`, `matches: {glob}` or `matches: {regex}`, got 'iz', did you mean `is`?"),
        ("{fact: publisher, lt: acme}", "expected an operator for `publisher`, which is of type name"),
        ("{fact: publisher}", "expected an operator beside `fact`"),
        ("{fact: xray.malicious, is: 'yes'}", "expected `true` or `false`, got 'yes'"),
        ("{fact: xray.max_cvss, gte: '7.0'}", "expected a number, got '7.0'"),
        ("{fact: xray.violations, gte: 1.5}", "expected a whole number, got the number 1.5"),
        ("{fact: scan.age, gt: 7}", "expected a duration such as `12h` or `7d`, of at most 99999d, got the number 7"),
        ("{fact: scan.age, gt: 7days}", "expected a duration such as `12h` or `7d`, of at most 99999d, got '7days'"),
        ("{fact: xray.max_severity, gte: hihg}", "did you mean `high`?"),
        ("{fact: artifact.version, lt: 3.10}", "expected a version in quotes, such as `'3.10'` (a number would lose its last zero), got the number 3.1 (written `3.10`)"),
        ("{fact: artifact.version, matches: {versions: 3.10}}", "expected a text in quotes, got the number 3.1 (written `3.10`)"),
        ("{fact: artifact.version, matches: {versions: '>=x'}}", "expected a range such as `>=1.0,<2`"),
        ("{fact: artifact.version, matches: {versions: 'vers:cobol/>=1'}}", "expected a VERS of a known scheme"),
        ("{fact: artifact.version, matches: {versions: 'vers:npm/>1.0.0|>2.0.0'}}", "bounds take turns"),
        ("{fact: artifact.version, matches: {versions: 'vers:npm/1.0.0|1.0.0'}}", "each version stands once"),
        ("{fact: content.verdict, is: malicous}", "did you mean `malicious`?"),
        ("{fact: artifact.kind, in: [model, fiel]}", "when.in[1]: expected one of"),
        ("{fact: publisher, in: []}", "expected a list with at least one value"),
        ("{fact: publisher, in: [acme, 'acme-*']}", "when.in[1]: expected a name as it is written; a `*` has a meaning in `matches: {glob: ...}` alone, got 'acme-*'"),
        ("{some: dependencies, where: {fact: version, is: '1.*'}}", "expected a version as it is written; a `*` has a meaning in"),
        ("{some: dependencies, where: {fact: purl, in: ['pkg:pypi/evil-*']}}", "expected a package URL without wildcards; a `*` has a meaning in `matches: {purl: ...}` alone"),
        ("{some: files, where: {fact: sha256, in: [abc]}}", "when.where.in[0]: expected a SHA-256: 64 hex digits, got 'abc'"),
        ("{fact: artifact.digest, is: 7d7d}", "expected a digest: `sha256:` or `dirhash1:` and 64 hex digits"),
        ("{fact: revision.resolved, is: main}", "expected a full commit: 40 or 64 hex digits"),
        ("{some: vulnerabilities, where: {fact: epss, gte: 10}}", "expected a number from 0 to 1, got the number 10"),
        ("{fact: xray.max_cvss, gte: 70}", "expected a number from 0 to 10, got the number 70"),
        ("{fact: publisher, in: acme}", "expected a list with at least one value"),
        ("{fact: publisher, in: {list: nowhere}}", "expected the name of a list of the policy set, got 'nowhere'"),
        ("{fact: publisher, matches: {glop: a*}}", "did you mean `glob`?"),
        ("{fact: publisher, matches: a*}", "expected a mapping with one of `glob`"),
        ("{fact: artifact.ref, matches: {regex: '(a'}}", "expected a regular expression of RE2 (missing )"),
        ("{fact: artifact.ref, matches: {regex: '(?=a)'}}", "expected a regular expression of RE2 (invalid perl operator"),
        ("{fact: artifact.ref, matches: {regex: '(a)\\1'}}", "expected a regular expression of RE2 (invalid escape sequence"),
        ("{fact: artifact.ref, matches: {regex: '(x{1000}){1000}'}}", "expected a regular expression of RE2 (invalid repetition size"),
        (f"{{fact: artifact.ref, matches: {{regex: '{'a' * 501}'}}}}", "expected a regular expression of 1 to 500 characters"),
        # Small letters of this one are two characters, so that a name's normal form is longer than what is written.
        (f"{{fact: artifact.name, matches: {{glob: '{'İ' * 300}*'}}}}", "expected a glob of 1 to 500 characters"),
        (f"{{some: dependencies, where: {{fact: purl, matches: {{purl: 'pkg:pypi/{'a' * 501}'}}}}}}", "expected a glob of 1 to 500 characters"),
        (f"{{some: dependencies, where: {{fact: purl, matches: {{purl: 'pkg:pypi/a@{'1' * 501}*'}}}}}}", "expected a glob of 1 to 500 characters"),
        ("{some: dependencies, where: {fact: purl, matches: {purl: 'evil-*'}}}", "expected a package URL"),
        ("{some: licences, where: {fact: spdx, in: [Apache-2]}}", "did you mean `Apache-2.0`?"),
        ("{some: licences, where: {fact: spdx, in: ['MIT OR X11']}}", "expected an SPDX licence id"),
        ("{some: vulnerabilities, where: {fact: cvs, gte: 7.0}}", "did you mean `cvss`?"),
        ("{some: vulnerabilitys, where: {fact: cvss, gte: 7.0}}", "did you mean `vulnerabilities`?"),
        ("{some: publisher, where: {fact: value, is: x}}", "expected a collection"),
        ("{some: vulnerabilities}", "expected `where` beside `some`"),
        ("{fact: vulnerabilities, gte: 7.0}", "or `some: vulnerabilities` with `where`"),
        ("{fact: actor.groups, is: speech}", "or `some: actor.groups` with `where`"),
        ("{all: []}", "expected a list with at least one condition"),
        ("{any: {fact: publisher, is: a}}", "expected a list with at least one condition"),
        ("{al: [{fact: publisher, is: a}]}", "did you mean `all`?"),
        ("{all: [{fact: publisher, is: a}], any: [{fact: publisher, is: b}]}", "expected one of `all` or `any`, not several"),
        ("{not: {fact: publisher, is: a}, is: b}", "expected only `not` here"),
        ("{}", "expected a condition: a mapping with one of"),
        ("yes", "expected a condition: a mapping"),
        ("{fact: property.*, is: x}", "expected a fact of the catalogue"),
        ("{fact: publisher, exists: 1}", "expected `true` or `false`"),
        ("{fact: vulnerabilities, exists: {unknown: x}}", "expected `true` or `false`"),
        ("{some: vulnerabilities, where: {fact: published, lt: 2026-11-20}}", "expected a time in UTC such as"),
        ("{some: vulnerabilities, where: {fact: published, lt: '2026-02-30T00:00:00Z'}}", "expected a time in UTC such as"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_condition_has_its_own_message(when: str, message: str) -> None:
    (found,) = problems(policy(rule(when)))
    assert message in found


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("- {id: a, effect: block, message: x}", "expected the key `when`"),
        ("- {id: a, effect: block, when: null, message: x}", "expected the key `when`"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}}", "expected the key `message`: a rule that may block says why"),
        ("- {effect: block, when: {fact: publisher, is: x}, message: x}", "expected the key `id`, which is missing"),
        ("- {id: a, effect: allow, when: {fact: publisher, is: x}, grace: {production: 7d}}", "expected no grace on a rule that refuses nothing"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: x, grace: {production: 7d}}", "grace is counted from an item's `first_seen`"),
        ("- {id: a, effect: block, when: {not: {some: vulnerabilities, where: {fact: cvss, gte: 7.0}}}, message: x, grace: {production: 7d}}", "grace is counted from"),
        ("- {id: a, effect: block, when: {some: vulnerabilities, where: {fact: cvss, gte: 7.0}}, message: x, grace: {production: 7}}", "expected a text (in quotes if it looks like a number)"),
        ("- {id: a, effect: block, when: {some: vulnerabilities, where: {fact: cvss, gte: 7.0}}, message: x, grace: {production: week}}", "expected a duration such as"),
        ("- {id: a, effect: block, when: {some: vulnerabilities, where: {fact: cvss, gte: 7.0}}, message: x, grace: {production: 9999999d}}", "expected a duration such as `12h` or `7d`, of at most 99999d, got '9999999d'"),
        ("- {id: a, effect: quarantine, when: {fact: publisher, is: x}, message: x, retryAfter: 10000w}", "of at most 99999d, got '10000w'"),
        ("- {id: a, effect: block, when: {fact: scan.age, gt: 999999999d}, message: x}", "of at most 99999d, got '999999999d'"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: x, retryAfter: 1m}", "expected no `retryAfter` but on a rule of effect quarantine"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: 'by {publishr}'}", "expected the name of a fact in the message, got 'publishr', did you mean `publisher`?"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: '{matched.path}'}", "the rule has no `some`, so nothing is matched"),
        ("- {id: a, effect: block, when: {some: files, where: {fact: format, is: pickle}}, message: '{matched.pth}'}", "did you mean `matched.path`?"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: 'a { b'}", "expected `{name}` in the message"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: x, remediation: '{nope}'}", "spec.rules[0].remediation: expected the name of a fact"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: x}\n- {id: a, effect: warn, when: {fact: publisher, is: y}}", "expected an id that no other rule of the policy has, got 'a'"),
        ("- {id: a, effect: block, when: {fact: publisher, is: x}, message: x, waivable: no}", "expected one of never, owners, approvers, got 'no'"),
        ("- {id: 3, effect: block, when: {fact: publisher, is: x}, message: x}", "expected a text (in quotes if it looks like a number), got the number 3"),
        ("- just text", "expected a mapping, got 'just text'"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_rule_has_its_own_message(body: str, message: str) -> None:
    found = problems(policy(body))
    assert any(message in line for line in found), found


def test_what_stands_in_a_document_that_cannot_be_read_is_not_called_missing() -> None:
    """One slip is one mistake: `if it is gone, mlgov waiver revoke` would have been bad advice."""
    texts = [
        policy(rule("{fact: publisher, in: {list: known}}")),
        policy_set(
            "  bindings: [{policies: [p], environments: [x], mode: observe}]\n  lists: {known: [a]}\n"
        ),
        waiver(),
        (
            "apiVersion: mlgov/v1\nkind: PolicyTest\nmetadata: {name: t}\nspec: {policies: [p], at: 2026-11-20T12:00:00Z, "
            "cases: [{name: c, action: load, expect: {verdict: block}}]}\n"
        ),
    ]
    assert problems(*texts) == []
    for number, old, new in (
        (0, "effect:", "efect:"),
        (0, "  default", "\tdefault"),
        (0, "kind: Policy", "kind: Polcy"),
        (1, "mode: observe", "mode: observed"),
        (1, "  lists", "\tlists"),
    ):
        found = problems(
            *(text.replace(old, new) if place == number else text for place, text in enumerate(texts))
        )
        assert {line.partition(":")[0] for line in found} == {f"file{number}.yaml"}, found


def test_a_rule_whose_shape_is_wrong_hides_no_other_mistake_of_its_own_or_of_other_rules() -> None:
    found = problems(
        policy(
            f"- {{id: a, effect: blok, when: {CVE}, message: '{{matched.cvs}}', remediation: '{{nope}}'}}\n"
            "- {id: b, effect: block, when: {fact: publisher, is: x}, message: '{matched.path}', retryAfter: 1m}\n"
            "- {id: c, effect: block, when: {fact: publisher, is: x}}\n"
        )
    )
    assert [line.split(" ")[1] for line in found] == [
        "spec.rules[0].effect:",
        "spec.rules[0].message:",
        "spec.rules[0].remediation:",
        "spec.rules[1].message:",
        "spec.rules[1].retryAfter:",
        "spec.rules[2]:",
    ]
    assert "did you mean `matched.cvss`?" in found[1]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([policy(), policy()], "file1.yaml:3:18 metadata.name: expected a name that is not taken; `p` stands in file0.yaml:3 already"),
        ([policy(head="  match: {actions: [downlod]}\n")], "did you mean `download`?"),
        ([policy(head="  match: {repositories: []}\n")], "at least 1 item"),
        (["apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: p}\nspec: {}\n"], "expected the key `default`, which is missing"),
        (["apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: P q}\nspec: {default: allow}\n"], "expected a name of lower-case letters"),
        (["- a\n"], "expected a document: a mapping with `apiVersion` and `kind`, got a list"),
        (["apiVersion: mlgov/v1\n"], "expected a kind: one of Policy, PolicySet, Waiver, PolicyTest"),
        ([""], "expected at least one document of kind Policy"),
        ([policy(), policy_set("  layers: [{name: a, extends: b}, {name: b, extends: a}]\n")], "expected no circle of layers; here a extends b extends a"),
        ([policy(), policy_set("  layers: [{name: a, extends: nowhere}]\n")], "expected a layer that `a` extends, got 'nowhere'"),
        ([policy(), policy_set("  layers: [{name: a}, {name: a}]\n")], "expected each layer once, got 'a'"),
        ([policy(), policy_set("  layers: [{name: a, policies: [q]}]\n")], "expected the name of a policy, got 'q'"),
        ([policy(), policy_set("  bindings: [{policies: [q], environments: [production]}]\n")], "expected the name of a policy, got 'q'"),
        ([policy(), policy_set("  bindings: [{policies: ['*'], environments: [production], mode: enforced}]\n")], "did you mean `enforce`?"),
        ([policy(), policy_set("  outage: {production: {action: last-verdict}}\n")], "expected the key `maxAge`"),
        ([policy(), policy_set("  outage: {production: {action: block, maxAge: 1h}}\n")], "expected no `maxAge` beside `action: block`"),
        ([policy(), policy_set("  outage: {prod: {action: block}, production: {action: block}}\n")], "expected each environment once, in one spelling"),
        ([policy(), policy_set("  lists: {a: [[x]]}\n")], "expected a text or a number, got a list"),
        ([policy(), policy_set("  {}\n", name="a"), policy_set("  {}\n", name="b")], "expected one set, or `extends` in all but one"),
        ([policy(), policy_set("  extends: b\n", name="a"), policy_set("  extends: a\n", name="b")], "expected no circle of sets; here a extends b extends a"),
        ([policy(), policy_set("  extends: zz\n", name="a")], "expected the name of a set, got 'zz'"),
        ([policy(), policy_set("  lists: {l: [a]}\n", name="a"), policy_set("  extends: a\n  lists: {l: [b]}\n", name="b")], "a child may not change `l`"),
        ([policy(rule("{some: licences, where: {fact: spdx, in: {list: l}}}")), policy_set("  lists: {l: [Nope-1]}\n")], "file1.yaml:5:15 spec.lists.l[0]: expected an SPDX licence id or `LicenseRef-...`, as rule `p/r` wants of this list, got 'Nope-1'"),
        ([policy(rule("{fact: publisher, in: {list: l}}", name="a") + rule("{fact: publisher, in: {list: l}}")), policy_set("  lists: {l: [acme, 'evil-*']}\n")], "file1.yaml:5:21 spec.lists.l[1]: expected a name as it is written; a `*` has a meaning in `matches: {glob: ...}` alone, as rule `p/a` wants"),
        ([policy(rule("{fact: publisher, in: {list: l}}")), policy_set("  lists: {l: []}\n")], "spec.lists.l: expected a list with at least one value, or `{list: name}`, as rule `p/r` wants"),
    ],
)  # fmt: skip
def test_each_mistake_between_documents_has_its_own_message(texts: list[str], message: str) -> None:
    found = problems(*texts)
    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "p/x"}, "expected the full name of a rule; if it is gone, `mlgov waiver revoke W-1`, got 'p/x', did you mean `p/r`?"),
        ({"rule": "r"}, "expected the full name of a rule: `policy/rule`"),
        ({"expires": None}, "expected the key `expires`, which is missing"),
        ({"expires": "2026-12-20"}, "expected a time in UTC such as"),
        ({"expires": "2026-11-19T00:00:00Z"}, "expected a time after `starts`"),
        ({"expires": "2027-12-20T00:00:00Z"}, "expected a time at most 90 days after `starts`"),
        ({"artifact": "{ref: a/b}"}, "expected the key `digest`, which is missing"),
        ({"artifact": "{ref: a/b, digest: 'md5:1'}"}, "expected a digest: `sha256:` or `dirhash1:`"),
        ({"reason": None}, "expected the key `reason`, which is missing"),
        ({"approvedBy": "[alice]"}, "expected at least 1 approver(s) other than the one who asked"),
        ({"approvedBy": "[Alice]"}, "expected at least 1 approver(s) other than the one who asked"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_waiver_has_its_own_message(changes: dict[str, str | None], message: str) -> None:
    found = problems(policy(rule(CVE)), waiver(**changes))
    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    ("rule_more", "set_body", "changes", "message"),
    [
        ("  waivable: never\n", "", {}, "expected a rule that may be waived; this one is `waivable: never`"),
        ("  waivable: owners\n", "", {}, "expected the policy's owner (it names none) among the approvers"),
        ("", "  waivers: {maxDays: 7}\n", {}, "expected a time at most 7 days after `starts`"),
        ("", "  waivers: {approvals: 2}\n", {}, "expected at least 2 approver(s)"),
        ("", "  waivers: {approvals: 2}\n", {"approvedBy": "[bob, BOB]"}, "expected at least 2 approver(s)"),
        ("", "  waivers: {selfApproval: true}\n", {"approvedBy": "[alice]"}, None),
        ("  waivable: never\n", "", {"revoked": "{at: '2026-11-21T00:00:00Z', by: bob}"}, None),
    ],
)
def test_waivers_are_held_to_the_rule_and_the_set(
    rule_more: str, set_body: str, changes: dict[str, str], message: str | None
) -> None:
    texts = [policy(rule(CVE, more=rule_more)), waiver(**changes)]
    found = problems(*texts, policy_set(set_body)) if set_body else problems(*texts)
    assert any(message in line for line in found) if message else found == []


@pytest.mark.parametrize("changes", [{"rule": "p/gone"}, {"expires": "2027-12-20T00:00:00Z"}])
def test_a_waiver_that_was_taken_back_is_void_where_it_does_not_suit(changes: dict[str, str]) -> None:
    files = {"p.yaml": policy(rule(CVE)).encode(), "waivers/W-1.yaml": waiver(**changes).encode()}
    step = f"waivers/W-1.revoke.{'0' * 16}{STEP_SUFFIX}"
    for names in ((), (step.replace("W-1", "W-10"),), (step.replace("revoke", "approve"),)):
        with pytest.raises(PolicyInvalidError):
            load_files(files | dict.fromkeys(names, b""))
    (void,) = load_files(files | {step: b""}).waivers
    assert void.void is not None
    assert void.void.startswith("it was taken back; the policy asks for ")
    (good,) = load_files({**files, "waivers/W-1.yaml": waiver().encode(), step: b""}).waivers
    assert good.void is None  # its own steps say what it is worth


def test_a_waiver_of_an_allow_rule_is_refused() -> None:
    found = problems(policy(rule(CVE, effect="allow")), waiver())
    assert any("expected a rule that objects to something; this one allows" in line for line in found)


def test_shorthand_stands_for_rules() -> None:
    shorthand = (
        "  allow: {publishers: [acme, google], formats: [safetensors, onnx]}\n"
        "  block: {severity: high, malicious: true, licences: [AGPL-3.0-only], packages: ['pkg:pypi/evil-*'], unsigned: true}\n"
    )
    (one,) = bundle(policy(head=shorthand)).policies
    assert [(each.id, each.effect.word) for each in one.rules] == [
        ("allow-listed", "allow"),
        ("block-licences", "block"),
        ("block-malicious", "block"),
        ("block-packages", "block"),
        ("block-severity", "block"),
        ("block-unsigned", "block"),
    ]


def test_mistakes_in_shorthand_are_named_by_their_key() -> None:
    found = problems(policy(head="  block: {licences: [AGPL-3], packages: [evil], severty: high}\n"))
    assert [line.partition(",")[0].partition(" ")[2] for line in found] == [
        "spec.block.licences: expected an SPDX licence id or `LicenseRef-...`",
        "spec.block.packages: expected a package URL",
        "spec.block.severty: expected one of the keys `severity`",
    ]


def test_shorthand_does_not_hide_a_rule_of_the_same_name() -> None:
    text = policy(rule(CVE, name="block-severity"), head="  block: {severity: high}\n")
    assert any("expected no rule `block-severity` beside the shorthand" in line for line in problems(text))


def test_files_and_folders_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a.yaml").write_text(policy(name="a"))
    (tmp_path / "sub" / "b.yml").write_text(policy(name="b"))
    (tmp_path / ".hidden" / "c.yaml").write_text("nonsense: [")
    (tmp_path / "README.md").write_text("nonsense: [")
    assert [one.name for one in load_policies([tmp_path]).policies] == ["a", "b"]


def test_folders_behind_links_are_read_once_and_suffixes_in_any_case(tmp_path: Path) -> None:
    """As a ConfigMap is mounted: what has a name is a link into a hidden folder that is replaced as a whole."""
    mounted = tmp_path / "mounted"
    (mounted / "..2026" / "team").mkdir(parents=True)
    (mounted / "..2026" / "team" / "b.yaml").write_text(policy(name="b"))
    (mounted / "..2026" / "team" / f"w{STEP_SUFFIX}").write_text("{}")
    (mounted / "..data").symlink_to("..2026")
    (mounted / "team").symlink_to("..data/team")
    (mounted / "again").symlink_to("team")
    (mounted / "around").symlink_to(".")
    (mounted / "A.YAML").write_text(policy(name="a"))
    assert [one.name for one in load_policies([mounted]).policies] == ["a", "b"]
    assert step_paths([mounted]) == [mounted / "again" / f"w{STEP_SUFFIX}"]


def test_a_pipe_in_place_of_a_policy_or_a_step_is_a_mistake_and_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever puts it there must not take a rule, or a revocation, away with it."""
    (tmp_path / "good.yaml").write_text(policy(rule("{fact: publisher, is: evil}")))
    os.mkfifo(tmp_path / "other.yaml")
    with pytest.raises(PolicyInvalidError, match=r"other\.yaml:1:1: .* it is a named pipe, not a file"):
        load_policies([tmp_path])
    (tmp_path / "other.yaml").unlink()
    os.mkfifo(tmp_path / f"WVR-1.revoke.ab{STEP_SUFFIX}")
    assert len(load_policies([tmp_path]).policies) == 1
    with pytest.raises(PolicyInvalidError, match="it is a named pipe, not a file"):
        read_steps([tmp_path])


def test_a_link_to_nothing_is_a_mistake_and_no_policy_less(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy(name="a"))
    (tmp_path / "b.yaml").symlink_to("gone.yaml")
    (tmp_path / f"w{STEP_SUFFIX}").symlink_to("gone.json")
    with pytest.raises(
        PolicyInvalidError, match=r"b\.yaml:1:1: expected a file that can be read, got No such"
    ):
        load_policies([tmp_path])
    assert step_paths([tmp_path]) == [tmp_path / f"w{STEP_SUFFIX}"], "it may be a revocation"


def test_what_may_not_be_looked_into_is_a_mistake_and_no_policy_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text(policy(name="a"))
    for name in ("closed", "lost+found"):
        (tmp_path / name).mkdir()
    listed, held = os.scandir, PermissionError(errno.EACCES, "Permission denied")

    def scandir(path: Any) -> Any:
        if Path(path).name in {"closed", "lost+found"}:
            held.filename = str(path)
            raise held
        return listed(path)

    # Whoever runs the tests as root may read everything, so that the refusal is the test's.
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PolicyInvalidError) as refused:
        load_policies([tmp_path])
    assert refused.value.problems == (
        f"{tmp_path / 'closed'}:1:1: expected a folder to read, got Permission denied",
    )


def test_a_folder_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.policy.load._MAX_FOLDERS", 3)
    (tmp_path / "a.yaml").write_text(policy(name="a"))
    for number in range(3):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(PolicyInvalidError, match="expected at most 3 folders, got more"):
        load_policies([tmp_path])


def test_a_missing_path_is_a_mistake_like_others(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalidError, match="expected a folder or file of policies, got nothing"):
        load_policies([tmp_path / "nowhere"])


def test_a_policy_folder_is_found_upwards_and_not_beyond_the_repository(tmp_path: Path) -> None:
    (tmp_path / "outer" / ".governance").mkdir(parents=True)
    (tmp_path / "outer" / ".governance" / "p.yaml").write_text(policy())
    inner = tmp_path / "outer" / "repository" / "src" / "deep"
    inner.mkdir(parents=True)
    assert discover(inner) == tmp_path / "outer" / ".governance"
    (tmp_path / "outer" / "repository" / ".git").mkdir()
    assert discover(inner) is None
    (tmp_path / "outer" / "repository" / "policies").mkdir()
    assert discover(inner) is None, "an empty folder, or one with other people's YAML, is no policy"
    (tmp_path / "outer" / "repository" / "policies" / "p.yaml").write_text(policy())
    assert discover(inner) == tmp_path / "outer" / "repository" / "policies"
    (tmp_path / "outer" / "repository" / "policies" / "__init__.py").write_text("")
    assert discover(inner) is None, "a Python package of that name"


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_an_empty_file_is_a_mistake_and_a_comment_is_none(text: str) -> None:
    assert problems(policy(), text) == ["file1.yaml:1:1: expected a document, got an empty file"]
    assert problems(policy(), "# to come\n") == []


def test_facts_of_other_packages_have_forms_and_bounds_too_and_keep_them_on_record() -> None:
    specs = [
        FactSpec(name="acme.weights", type=FactType.STRING, source="acme", meaning="hash", form="sha256"),
        FactSpec(name="acme.risk", type=FactType.SCORE, source="acme", meaning="risk", bounds=(0, 1)),
    ]
    catalogue = extended(specs)
    text = policy(rule(f"{{all: [{{fact: acme.weights, is: {'AB' * 32}}}, {{fact: acme.risk, gte: 0.5}}]}}"))
    compiled = compile_bundle(load_files({"p.yaml": text.encode()}, catalogue=catalogue))
    assert from_document(compiled.document).document == compiled.document
    with pytest.raises(PolicyInvalidError, match="expected a number from 0 to 1"):
        load_files({"p.yaml": text.replace("0.5", "50").encode()}, catalogue=catalogue)
    with pytest.raises(ValueError, match="has the form `md5`; there are sha256, digest, commit"):
        extended([FactSpec(name="acme.x", type=FactType.STRING, source="acme", meaning="x", form="md5")])


@pytest.mark.parametrize("key", ["allow", "warn", "quarantine", "block"])
def test_a_short_form_without_keys_is_a_mistake(key: str) -> None:
    [said] = problems(policy(head=f"  {key}: {{}}\n"))
    assert f"spec.{key}: expected at least one key, without which `{key}` says nothing" in said


def test_the_only_word_there_may_be_is_written_as_it_stands() -> None:
    [said] = problems(policy(head="  block: {malicious: false}\n"))
    assert "expected one of true, got the boolean false" in said


def test_who_asks_for_the_action_as_a_fact_is_shown_where_it_is_said() -> None:
    (line,) = problems(policy(rule("{fact: request.action, is: promote}")))
    assert (
        "expected a fact of the catalogue; which actions a policy is about is said by `match: {actions: [...]}`"
        in line
    )
    (other,) = problems(policy(rule("{fact: [request.action], is: promote}")))
    assert "match: {actions" not in other
