"""Around the language: renewal, bundles, CEL, cases, lint, schemas, and facts from outside."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import policies
from governance.errors import PolicyInvalidError, SettingsError, SignatureError
from governance.model.facts import Collection, FactSpec, FactType, FactValue, Unknown, extended
from governance.model.verdict import Effect, Truth
from governance.policy import docs
from governance.policy.bundle import MANIFEST, BundleError, open_bundle, pack_bundle
from governance.policy.bundlesource import BundleSource
from governance.policy.cases import run_cases
from governance.policy.compile import compile_bundle, from_document
from governance.policy.evaluate import evaluate
from governance.policy.lint import CODES, lint
from governance.policy.load import load_files
from governance.policy.revisions import RevisionMemory
from governance.policy.schema import json_schema, kinds
from governance.policy.source import PolicySource
from governance.policy.strict_yaml import parse_yaml
from tests.unit.policy_kit import (
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
MALICIOUS = "{fact: xray.malicious, is: true}"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def replace_file(path: Path, text: str) -> None:
    """Write a file as an editor does, so that no reader sees half of it."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def test_a_changed_policy_is_taken_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    source = PolicySource([tmp_path], clock=clock)
    first = source.current()
    replace_file(file, policy(rule(MALICIOUS)))
    assert source.current() is first, "it is looked at once a second"
    clock.now += 2
    second = source.current()
    assert second.digest != first.digest
    assert source.current() is second
    assert "replaces" in caplog.text


def test_a_broken_new_policy_leaves_the_old_one_in_force_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    source = PolicySource([tmp_path], clock=clock)
    first = source.current()
    replace_file(file, "nonsense: [")
    for _ in range(3):
        clock.now += 2
        assert source.current() is first
    assert source.problem is not None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "THE NEW POLICY IS BROKEN" in caplog.text
    file.unlink()
    clock.now += 2
    assert source.current() is first, "an empty folder opens no door"
    replace_file(file, policy(rule(MALICIOUS)))
    clock.now += 2
    assert source.current().digest != first.digest
    assert source.problem is None


def test_without_any_good_policy_there_is_an_error_until_there_is_one(tmp_path: Path) -> None:
    clock = Clock()
    source = PolicySource([tmp_path / "p.yaml"], clock=clock)
    for _ in range(2):
        with pytest.raises(PolicyInvalidError, match="expected a folder or file"):
            source.current()
    (tmp_path / "p.yaml").write_text(policy())
    clock.now += 2
    assert source.current().bundle.policies[0].name == "p"


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    loads = 0

    def load() -> Any:
        nonlocal loads
        loads += 1
        read = bundle(file.read_text())
        if loads == 2:
            replace_file(file, policy(name="third"))
        return read

    source = PolicySource([file], load=load, clock=clock)
    source.current()
    replace_file(file, policy(name="second"))
    clock.now += 2
    assert source.current().bundle.policies[0].name == "p", "half of each version is no version"
    assert source.current().bundle.policies[0].name == "third"


def sign(payload: bytes) -> bytes:
    """A stand-in for a DSSE envelope: the layer above holds keys."""
    return b"signed:" + payload


def verify(envelope: bytes) -> bytes:
    if not envelope.startswith(b"signed:"):
        raise SignatureError("the signature is not good", reason="bad-signature")
    return envelope.removeprefix(b"signed:")


def packed(revision: int = 1, *, text: str | None = None, name: str = "acme") -> bytes:
    files = {
        "p.yaml": (text or policy(rule(MALICIOUS))).encode(),
        "set.yaml": policy_set("  {}\n", name=name, revision=revision).encode(),
    }
    return pack_bundle(files, name=name, revision=revision, made=NOON, sign=sign)


def test_a_bundle_holds_what_went_in_and_is_the_same_bytes_each_time() -> None:
    archive = open_bundle(packed(48), verify=verify, name="acme", highest=48)
    assert (archive.name, archive.revision, archive.made, sorted(archive.files)) == (
        "acme",
        48,
        NOON,
        ["p.yaml", "set.yaml"],
    )
    assert packed(48) == packed(48)
    assert compile_bundle(load_files(archive.files)).revision == 48


def repacked(change: Callable[[dict[str, bytes]], None], *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A bundle with its members changed behind the signature's back."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            assert stream is not None
            members[entry.name] = stream.read()
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), kind if name == "link" else tarfile.REGTYPE
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a tar archive"),
        (b"nonsense" * 200, "expected a tar archive"),
        (packed()[:3000], "expected"),
        (repacked(lambda files: files.update({"p.yaml": b"changed"})), "expected `p.yaml` with the digest of the manifest"),
        (repacked(lambda files: files.update({"more.yaml": b"x"})), "`more.yaml` the bundle holds unnamed"),
        (repacked(lambda files: files.__delitem__("set.yaml")), "`set.yaml` the manifest names and the bundle lacks"),
        (repacked(lambda files: files.__delitem__(MANIFEST)), "expected a bundle that begins with"),
        (repacked(lambda files: files.update({MANIFEST: b"unsigned"})), "a good signature: the signature is not good"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{}"})), "expected a manifest of type"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{ }"})), "a manifest in canonical JSON"),
        (repacked(lambda files: files.update({"../up.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"/etc/x.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"link": b""}), kind=tarfile.SYMTYPE), "expected plain files only"),
        (packed(41), "expected revision 42 or later, got 41: a rollback"),
        (packed(43, name="other"), "expected the bundle of `acme`, got that of `other`"),
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_right_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match="expected") as caught:
        open_bundle(data, verify=verify, name="acme", highest=42 if "rollback" in message else None)
    assert message in str(caught.value)


def test_the_bundle_source_keeps_the_last_good_bundle_for_a_bounded_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, offered = Clock(), [packed(2)]
    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(
        lambda: offered[0], verify=verify, memory=memory, name="acme", refresh=60, max_age=3600, clock=clock
    )
    first = source.current()
    assert (first.revision, memory.highest("acme")) == (2, 2)
    for bad in (
        packed(1),
        b"nonsense",
        packed(3, text="nonsense: ["),
        packed(3).replace(b"revision: 3", b"revision: 4"),
    ):
        offered[0] = bad
        clock.now += 61
        assert source.current() is first
        assert source.problem is not None
    assert caplog.text.count("THE POLICY BUNDLE WAS NOT TAKEN") == 4
    clock.now += 3600
    with pytest.raises(PolicyInvalidError, match="no older than 3600 s"):
        source.current()
    offered[0] = packed(3)
    clock.now += 61
    assert source.current().revision == 3
    again = BundleSource(
        lambda: packed(2),
        verify=verify,
        memory=RevisionMemory(tmp_path / "revisions.json"),
        name="acme",
        clock=clock,
    )
    with pytest.raises(PolicyInvalidError, match="revision 3 or later"):
        again.current()


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"acme":"x"}', b"{ }"])
def test_a_damaged_memory_of_revisions_is_no_fresh_start(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "revisions.json").write_bytes(damage)
    with pytest.raises(SettingsError, match="is damaged"):
        RevisionMemory(tmp_path / "revisions.json").highest("acme")


def cel(expression: str, when: str = "") -> str:
    return policy(
        f"- id: r\n  effect: block\n{when}  condition: {json.dumps(expression)}\n  message: it matched\n"
    )


def test_a_cel_condition_is_judged_with_the_fields_and_unknown_like_them() -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    text = cel("files.exists(f, f.size > 10 && f.path.endsWith('.bin')) && xray.max_cvss < 7.0")
    files = Collection(({"path": "a.bin", "size": 11},))
    assert verdict(text, {"files": files, "xray.max_cvss": 3.0}).rules[0].truth is Truth.TRUE
    assert verdict(text, {"files": files, "xray.max_cvss": 9.0}).rules[0].truth is Truth.FALSE
    for values in ({"files": files}, {"files": files, "xray.max_cvss": None}, {"files": files, "xray.max_cvss": "3"},
                   {"files": Collection(files.items, "more"), "xray.max_cvss": 3.0},
                   {"files": Collection(({"path": "a.bin", "size": Unknown("x")},)), "xray.max_cvss": 3.0}):  # fmt: skip
        found = verdict(text, values)  # type: ignore[arg-type]  # values of several types on purpose
        assert found.rules[0].truth is Truth.UNKNOWN
    both = cel("scan.age > 5", when=f"  when: {MALICIOUS}\n")
    assert verdict(both, {"xray.malicious": False}).rules[0].truth is Truth.FALSE
    assert verdict(both, {"xray.malicious": True, "scan.age": 6}).decision is Effect.BLOCK
    assert [
        row.fact for row in verdict(both, {"xray.malicious": True, "scan.age": 6}).findings[0].evidence
    ] == ["scan.age", "xray.malicious"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("xray.max_cvss > 7", "no matching overload"),
        ("xray.max_cvs > 7.0", "expected an expression over at least one fact"),
        ("xray.max_cvss > 7.0 && nowhere", "undeclared reference"),
        ("xray.max_cvss", "expected a CEL expression of type bool"),
        ("xray.max_cvss >", "Syntax error"),
        ("true", "expected an expression over at least one fact"),
        ("files.exists(f, f.sise > 10)", "(f.sise is none; did you mean `size`)"),
        ("files.exists(f, f . sise > 10)", "did you mean `size`"),
        ("files.exists(f, has(f.sise))", "did you mean `size`"),
        ("files.exists(f, f['sise'] > 10)", "did you mean `size`"),
        ("files.filter(f, f.size > 10).exists_one(g, g.zzz == 'x')", "there are format, imports, path, sha256, size"),
        ("vulnerabilities.all(v, files.all(f, v.cvvs > 7.0))", "did you mean `cvss`"),
        ("files.map(f, f.pth).exists(p, p == 'x')", "(f.pth is none; did you mean `path`)"),
        ("files.map(f, f.size > 1, f.pth).exists(p, p == 'x')", "(f.pth is none; did you mean `path`)"),
        ("files.map(f, f).exists(g, g.pth == 'x')", "(g.pth is none; did you mean `path`)"),
        ("files.map(f, {'name': f.path}).exists(p, p.nam == 'x')", "(p.nam is none; did you mean `name`)"),
        ("files.map(f, {'name': f.path}).exists(p, p['path'] == 'x')", "(p.path is none; there are name)"),
        ("files.map(f, {'file': f}).exists(p, p.file.pth == 'x')", "(.pth is none; did you mean `path`)"),
        ("files.map(f, [f]).exists(p, p[0].pth == 'x')", "(.pth is none; did you mean `path`)"),
        ("files.map(f, f.path).exists(p, p.path == 'x')", "(p.path is none; there are none)"),
        ("(files.size() > 1 ? files : files.filter(f, true)).exists(g, g.pth == 'x')", "did you mean `path`"),
        ("(files + files).exists(g, g.pth == 'x')", "did you mean `path`"),
        ("files[0].pth == 'x'", "(.pth is none; did you mean `path`)"),
        ("vulnerabilities.exists(v, files.exists(f, f.cvss > 7.0))", "(f.cvss is none"),
        ("vulnerabilities.map(x, x.id).exists(x, files.exists(x, x.cve == 'y'))", "(x.cve is none"),
    ],
)  # fmt: skip
def test_a_cel_condition_is_type_checked_when_it_is_loaded(expression: str, message: str) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    (found,) = problems(cel(expression))
    assert "spec.rules[0].condition: expected" in found
    assert message in found


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        ("files.exists(f, f.path.startsWith('f.sise') && f.path.size() > 3)", Truth.FALSE),
        ("actor.groups.exists(g, g.startsWith('x'))", Truth.TRUE),
        ("files.map(f, f.path).exists(p, p.endsWith('.bin'))", Truth.TRUE),
        ("vulnerabilities.exists(v, files.exists(f, v.cvss > 7.0 && f.size > 1))", Truth.TRUE),
        ("files.exists(f, f['size'] > 3)", Truth.TRUE),
        ("files.map(f, f.path).exists(p, p . endsWith('.bin'))", Truth.TRUE),
        ("files.map(f, {'name': f.path, 'n': f.size}).exists(p, p.name.endsWith('.bin') && has(p.n))", Truth.TRUE),
        ("files.map(f, f.size > 1, {'name': f.path}).filter(p, p.name != 'x').exists_one(q, q['name'] == 'y')", Truth.FALSE),
        ("files.map(f, {'file': f}).exists(p, p.file.path == 'x')", Truth.FALSE),
        ("files.map(f, [f, f])[0].exists(g, g.size > 1)", Truth.TRUE),
        ("files.map(f, {f.path: f.size}).exists(p, has(p.weights) && p.weights > 1)", Truth.FALSE),
        ("files.map(f, f.imports).exists(all, all.exists(one, one == 'os.system'))", Truth.TRUE),
        ("vulnerabilities.map(x, x.id).exists(x, files.exists(x, x.path == 'y'))", Truth.FALSE),
        ("(files.map(f, {'a': f.path}) + vulnerabilities.map(v, {'b': v.id})).exists(p, has(p.b) && p.b == 'x')", Truth.TRUE),
        ("(files.size() > 3 ? files.map(f, f.path) : []).exists(p, p == 'x')", Truth.FALSE),
        ("([] + files.map(f, {'a': f.path})).exists(p, p.a == 'x')", Truth.FALSE),
        ("dyn(files).exists(f, f.path == 'x')", Truth.FALSE),
    ],
)  # fmt: skip
def test_fields_that_are_there_are_taken_and_odd_values_are_no_error(expression: str, truth: Truth) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    text = cel(expression)
    assert problems(text) == []
    whole: dict[str, FactValue] = {
        "files": Collection(({"path": "a.bin", "size": 11, "imports": ("os.system",)},)),
        "vulnerabilities": Collection(({"id": "x", "cvss": 7.5},)),
        "actor.groups": ("xs",),
    }
    assert verdict(text, whole).rules[0].truth is truth
    odd: list[FactValue] = [
        Unknown("x"), None, 3, "text", (), Collection(()), Collection(({},)), Collection(({"path": 3, "size": "x"},)),
        Collection(({"path": Unknown("x"), "imports": ("a",)},)),
    ]  # fmt: skip
    for value in odd:
        assert isinstance(verdict(text, dict.fromkeys(whole, value)).rules[0].truth, Truth)


def test_a_costly_cel_condition_is_unknown_in_bounded_time() -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    text = cel(
        "files.all(a, files.all(b, files.all(c, files.all(d, files.all(e, a.size + b.size + c.size + d.size + e.size > 0)))))"
    )
    many = Collection(tuple({"path": f"{n}", "size": 1} for n in range(200)))
    assert verdict(text, {"files": many}).rules[0].truth is Truth.UNKNOWN


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
    for name in policies.names():
        for file in (policies.path(name), policies.cases(name)):
            for document in parse_yaml(file.read_bytes(), file.name):
                assert isinstance(document.data, dict)
                jsonschema.validate(document.data, json_schema(str(document.data["kind"])))
    for when in (
        "{fact: xray.malicius, is: true}",
        "{fact: publisher, lt: a}",
        "{al: []}",
        "{some: files, where: {fact: cvss, gte: 7.0}}",
    ):
        (document,) = parse_yaml(policy(rule(when)).encode(), "f")
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document.data, json_schema("Policy"))


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
