"""Bad input at the front door: each sort of it is refused by the loader with the whole line that the user reads.

What the strict reader and the parser refuse in detail is the matter of `test_policy_yaml` and `test_policy_load`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from governance.errors import PolicyInvalidError
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import parse_sha256
from governance.model.facts import Facts
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Effect
from governance.policy.compile import compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files

HEAD = "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  default: allow\n"
RULE = HEAD + "  rules:\n    - id: r\n      effect: block\n      message: m\n      when: %s\n"
GOOD = RULE % "{fact: xray.malicious, is: true}"
SET = "apiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: s}\nspec:\n"
CASE = (
    "apiVersion: mlgov/v1\nkind: PolicyTest\nmetadata: {name: t}\nspec:\n  at: 2026-11-20T12:00:00Z\n"
    "  cases: [{name: c, set: %s, action: load, expect: {verdict: allow}}]\n"
)
DIGEST = "9393c4756e7e7188d56105018873f6e3ece1ca6c8d7a2e4793ec5478477f040e"
WAIVER = (
    "apiVersion: mlgov/v1\nkind: Waiver\nmetadata: {name: W}\nspec:\n  rule: p/r\n"
    f"  artifact: {{ref: models-local/tiny, digest: 'dirhash1:{DIGEST}'}}\n"
    "  reason: r\n  requestedBy: a\n  approvedBy: [b]\n  starts: %s\n  expires: %s\n"
)


def refused(*files: str | bytes) -> str:
    """The one mistake in the files."""
    named = {
        f"{'abc'[place]}.yaml": one if isinstance(one, bytes) else one.encode()
        for place, one in enumerate(files)
    }
    with pytest.raises(PolicyInvalidError) as caught:
        load_files(named)
    head, _, line = str(caught.value).partition("\n")
    assert head == "1 mistake(s) in the policy:"
    return line.strip()


def regex(pattern: str) -> str:
    return RULE % f"{{fact: artifact.path, matches: {{regex: '{pattern}'}}}}"


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
CIRCLE = "  layers:\n    - {name: x, extends: y, policies: [p]}\n    - {name: y, extends: x, policies: [p]}\n"

BAD: dict[str, tuple[list[str | bytes], str]] = {
    "10 MB file": (
        [GOOD.encode() + b"#" * (10 << 20)],
        f"a.yaml:1:1: expected strict YAML, got {(10 << 20) + len(GOOD)} bytes, more than the 4194304 that a file may have"),
    "deep nesting, flow": (
        ["[" * 40 + "]" * 40], "a.yaml:1:33: expected strict YAML, got nesting deeper than 32"),
    "deep nesting, block": (
        ["".join(f"{' ' * n}a:\n" for n in range(40))], "a.yaml:33:33: expected strict YAML, got nesting deeper than 32"),
    "UTF-16": (
        [GOOD.encode("utf-16")], "a.yaml:1:1: expected strict YAML, got UTF-16 text; save the file as UTF-8"),
    "Latin-1": (
        ["title: caf\xe9\n".encode("latin-1")], "a.yaml:1:11: expected strict YAML, got bytes that are not UTF-8"),
    "NUL": (
        [b"apiVersion: mlgov/v1\nkind: \0\n"], "a.yaml:2:7: expected strict YAML, got a NUL byte"),
    "byte-order mark": (
        [b"\xef\xbb\xbf" + GOOD.encode()],
        "a.yaml:1:1: expected strict YAML, got a byte-order mark; save the file as UTF-8 without one"),
    "duplicate keys": (
        [HEAD + "  default: block\n"],
        "a.yaml:6:3: expected strict YAML, got key `default` twice; it stands in line 5 already"),
    "duplicate ids in a file": (
        [GOOD + "    - id: r\n      effect: warn\n      when: {fact: xray.malicious, is: true}\n"],
        "a.yaml:11:11 spec.rules[1].id: expected an id that no other rule of the policy has, got 'r'"),
    "duplicate names across files": (
        [GOOD, GOOD],
        "b.yaml:3:18 metadata.name: expected a name that is not taken; `p` stands in a.yaml:3 already, got 'p'"),
    "unknown list": (
        [RULE % "{fact: publisher, in: {list: trustd}}", SET + "  lists: {trusted: [acme]}\n"],
        "a.yaml:10:42 spec.rules[0].when.in.list: expected the name of a list of the policy set, got 'trustd', did you mean `trusted`?"),
    "circular layers": (
        [GOOD, SET + CIRCLE],
        "b.yaml:6:5 spec.layers: expected no circle of layers; here x extends y extends x"),
    "template naming a missing fact": (
        [GOOD.replace("message: m", "message: '{artifact.nam} is bad'")],
        ("a.yaml:9:16 spec.rules[0].message: expected the name of a fact in the message, got 'artifact.nam', "
        "did you mean `artifact.name`?")),
    "regular expression that would need backtracking": (
        [regex("(a+)+$(?=b)")],
        ("a.yaml:10:52 spec.rules[0].when.matches.regex: expected a regular expression of RE2 "
        "(invalid perl operator: (?=), got '(a+)+$(?=b)'")),
    "regular expression that would need gigabytes": (
        [regex("((a{1,900}){1,900}){1,900}")],
        ("a.yaml:10:52 spec.rules[0].when.matches.regex: expected a regular expression of RE2 "
        "(invalid repetition size: {1,900}), got '((a{1,900}){1,900}){1,900}'")),
    "number as a version": (
        [RULE % "{fact: artifact.version, is: 3.10}"],
        ("a.yaml:10:42 spec.rules[0].when.is: expected a version in quotes, such as `'3.10'` (a number would lose its "
        "last zero), got the number 3.1 (written `3.10`)")),
    "date where a time should be": (
        [RULE % "{some: vulnerabilities, where: {fact: published, gt: 2026-11-20}}"],
        "a.yaml:10:66 spec.rules[0].when.where.gt: expected a time in UTC such as `2026-11-20T00:00:00Z`, got '2026-11-20'"),
    "whole number that canonical JSON does not have": (
        [RULE % "{fact: artifact.size, gt: 9007199254740992}"],
        ("a.yaml:10:39 spec.rules[0].when.gt: expected a whole number of at most 9007199254740991, "
        "got the number 9007199254740992")),
    "such a number in a list": (
        [GOOD, SET + "  lists: {sizes: [1, -9007199254740992]}\n"],
        ("b.yaml:5:22 spec.lists.sizes[1]: expected a whole number of at most 9007199254740991, "
        "got the number -9007199254740992")),
    "case for a place that no repository has": (
        [GOOD, CASE % "{artifact.ref: hf remote/acme}"],
        ("b.yaml:6:41 spec.cases[0].set.artifact.ref: expected a repository key (letters, digits, `.`, `_` and `-`, at most 64) "
        "and a path, `repository/path`, got 'hf remote/acme'")),
    "case for a repository with a path": (
        [GOOD, CASE % "{artifact.repository: hf-remote/acme}"],
        ("b.yaml:6:48 spec.cases[0].set.artifact.repository: expected a repository key (letters, digits, `.`, `_` and `-`, "
        "at most 64), got 'hf-remote/acme'")),
    "waiver that ends before it starts": (
        [GOOD, WAIVER % ("2026-11-20T00:00:00Z", "2026-11-19T00:00:00Z")],
        "b.yaml:11:12 spec.expires: expected a time after `starts`, got '2026-11-19T00:00:00Z'"),
    "waiver for longer than the set allows": (
        [GOOD, WAIVER % ("2026-11-20T00:00:00Z", "2027-11-20T00:00:00Z")],
        "b.yaml:11:12 spec.expires: expected a time at most 90 days after `starts`, got '2027-11-20T00:00:00.000000Z'"),
    "no policy at all": (
        [""], "a.yaml:1:1: expected at least one document of kind Policy"),
    "word that YAML 1.1 takes for a boolean": (
        [RULE % "{fact: xray.malicious, is: yes}"],
        "a.yaml:10:40 spec.rules[0].when.is: expected `true` or `false`, got 'yes'"),
}  # fmt: skip


def test_nesting_without_end_is_refused_as_nesting() -> None:
    # Where it stands depends on how far the scanner of the installed libyaml reads ahead.
    line = refused("[" * 100_000 + "]" * 100_000)
    assert line.endswith("expected strict YAML, got nesting deeper than 32")


def test_a_yaml_bomb_is_refused_unexploded_with_each_anchor_and_alias_named() -> None:
    started = time.perf_counter()
    with pytest.raises(PolicyInvalidError) as caught:
        load_files({"a.yaml": LAUGHS.encode()})
    assert time.perf_counter() - started < 2
    of_yaml = [one for one in caught.value.problems if "expected strict YAML" in one]
    assert of_yaml[0] == (
        "a.yaml:1:5: expected strict YAML, got an anchor (`&a0`); anchors and aliases are not allowed"
    )
    assert (sum("an anchor" in one for one in of_yaml), sum("an alias" in one for one in of_yaml)) == (30, 58)


@pytest.mark.parametrize("name", BAD)
def test_each_sort_of_bad_input_is_refused_with_its_own_line(name: str) -> None:
    files, line = BAD[name]
    started = time.perf_counter()
    assert refused(*files) == line
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (datetime(2026, 11, 19, tzinfo=UTC), "W does not apply: it starts on 2026-11-20T00:00:00Z"),
        (datetime(2026, 12, 1, tzinfo=UTC), "W does not apply: it expired on 2026-11-30T00:00:00Z"),
    ],
)
def test_a_waiver_that_expired_or_starts_later_does_not_hold_and_says_so(at: datetime, said: str) -> None:
    files = {"a.yaml": GOOD, "b.yaml": WAIVER % ("2026-11-20T00:00:00Z", "2026-11-30T00:00:00Z")}
    policy = compile_bundle(load_files({name: text.encode() for name, text in files.items()}))
    verdict = evaluate(policy, request(at), Facts({"xray.malicious": True}))
    assert verdict.decision is Effect.BLOCK
    assert said in [row.value for row in verdict.findings[0].evidence]
    assert evaluate(policy, request(at + timedelta(days=5)), Facts({"xray.malicious": True})).decision is (
        Effect.ALLOW if at.month == 11 else Effect.BLOCK
    )


def request(at: datetime) -> Request:
    entry = FileEntry(path=parse_relative_path("model.bin"), sha256=parse_sha256("a" * 64))
    artifact = Artifact(
        kind=Kind.MODEL,
        host="repo.example.org",
        repository=parse_repository_key("models-local"),
        path="tiny",
        name="tiny",
        files=(entry,),
    )
    return Request(
        action=Action.LOAD,
        artifact=artifact,
        actor=Actor(name="alice"),
        environment="production",
        at=at,
        correlation="c",
    )


def test_an_expression_that_backtracking_engines_never_finish_is_quick() -> None:
    policy = compile_bundle(load_files({"a.yaml": regex("(a+)+b").encode()}))
    started = time.perf_counter()
    verdict = evaluate(
        policy, request(datetime(2026, 11, 20, tzinfo=UTC)), Facts({"artifact.path": "a" * 100_000})
    )
    assert verdict.decision is Effect.ALLOW
    assert time.perf_counter() - started < 2
