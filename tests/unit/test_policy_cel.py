"""Conditions in CEL: judged like fields, type-checked when loaded, bounded in time."""

from __future__ import annotations

import json
import resource
from typing import Any

import pytest

from governance.model.facts import Collection, FactValue, Item, Unknown
from governance.model.verdict import Effect, Truth
from tests.unit.policy_kit import (
    MALICIOUS,
    policy,
    problems,
    rule,
    verdict,
)


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


def test_a_rule_in_cel_alone_has_no_grace_since_it_names_no_item_that_a_day_belongs_to() -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    text = cel("vulnerabilities.exists(v, v.cvss >= 7.0)", when="  grace: {production: 7d}\n")
    (found,) = problems(text)
    assert "spec.rules[0].grace: expected no grace, or a `some: vulnerabilities` in `when`" in found


@pytest.mark.parametrize(
    ("fact", "expression", "when", "values"),
    [
        ("xray.max_severity", "{} == 'critical'", "is: critical", ("critical", "low", "unknown", "CRITICAL", "worst", 5)),
        ("content.verdict", "{} == 'malicious'", "is: malicious", ("malicious", "clean", "Malicious", "")),
        ("xray.max_cvss", "{} >= 7.0", "gte: 7.0", (7.0, 7, 6.9, float("nan"), "7.0", True)),
        ("xray.malicious", "{} == true", "is: true", (True, False, "true", 1)),
    ],
)  # fmt: skip
def test_a_value_that_says_nothing_is_as_unknown_in_cel_as_to_an_operator(
    fact: str, expression: str, when: str, values: tuple[FactValue, ...]
) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    for value in values:
        wanted = verdict(policy(rule(f"{{fact: {fact}, {when}}}")), {fact: value}).rules[0].truth
        assert verdict(cel(expression.format(fact)), {fact: value}).rules[0].truth is wanted, value


@pytest.mark.parametrize(
    ("field", "expression", "when", "values"),
    [
        ("severity", "v.severity == 'critical'", "is: critical", ("critical", "low", "unknown", "worst", 5)),
        ("cvss", "v.cvss >= 7.0", "gte: 7.0", (7.0, 7, 6.9, float("nan"), "7.0", True)),
        ("fix_available", "v.fix_available == true", "is: true", (True, False, "true", 1)),
        ("ecosystem", "v.ecosystem == 'pypi'", "is: pypi", ("pypi", "npm", "PyPI")),
    ],
)  # fmt: skip
def test_a_field_that_says_nothing_is_as_unknown_in_cel_as_to_an_operator(
    field: str, expression: str, when: str, values: tuple[FactValue, ...]
) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    asked = policy(rule(f"{{some: vulnerabilities, where: {{fact: {field}, {when}}}}}"))
    for value in values:
        item: Any = {field: value}  # of types too that no field has
        known: dict[str, FactValue] = {"vulnerabilities": Collection((item,))}
        wanted = verdict(asked, known).rules[0].truth
        found = verdict(cel(f"vulnerabilities.exists(v, {expression})"), known)
        assert found.rules[0].truth is wanted, value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("xray.max_cvss > 7", "no matching overload"),
        ("xray.max_cvs > 7.0", "expected an expression over at least one fact"),
        ("xray.max_cvss > 7.0 && nowhere", "undeclared reference"),
        ("xray.max_cvss", "expected a CEL expression of type bool"),
        ("xray.max_cvss >", "Syntax error"),
        ("true", "expected an expression over at least one fact"),
        ("publisher.matches('(a')", "a regular expression of RE2 (missing )"),
        ("files.exists(f, matches(f.path, '(?=x)'))", "a regular expression of RE2 (invalid perl operator"),
        ("vulnerabilities.exists(v, timestamp(v.published) < timestamp('2026-13-01T00:00:00Z'))", "a time such as `2026-11-20T00:00:00Z`"),
        ("vulnerabilities.exists(v, timestamp(v.published) + duration('7d') < timestamp('2026-01-01T00:00:00Z'))", "a duration such as `12h` or `90s` in `duration`, which `7d` is not"),
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


@pytest.mark.parametrize(
    "expression",
    [
        "files.exists(f, has(f.format) && f.format == 'pickle')",
        "files.exists(f, 'format' in f && f.format == 'pickle')",
        "files.filter(f, has(f.format)).exists(g, g.format == 'pickle')",
    ],
)
def test_a_field_that_nobody_could_establish_is_not_one_that_is_not_there(expression: str) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    known: dict[str, FactValue] = {"path": "a.bin", "format": "onnx"}
    for item, truth in (
        ({**known, "format": Unknown("not read")}, Truth.UNKNOWN),
        ({"path": "a.bin"}, Truth.UNKNOWN),
        ({**known, "format": None}, Truth.FALSE),
        (known, Truth.FALSE),
        ({**known, "format": "pickle"}, Truth.TRUE),
        ({**known, "size": Unknown("not read")}, Truth.FALSE),
    ):
        found = verdict(cel(expression), {"files": Collection((item,))})  # type: ignore[arg-type]  # an item as it is built
        assert found.rules[0].truth is truth, item


def test_patterns_times_and_durations_that_are_some_pass() -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    for expression in (
        "publisher.matches('^(a|b)+$')",
        "vulnerabilities.exists(v, timestamp(v.published) + duration('168h') < timestamp('2026-01-01T00:00:00+01:00'))",
        "scan.age > 5 && duration('1h30m') < duration('1.5h')",
    ):
        assert problems(cel(expression)) == [], expression


def _many(count: int) -> dict[str, FactValue]:
    items: tuple[Item, ...] = tuple(
        {"path": "x" * 100 + str(n), "size": n, "imports": ("os.system",) * 3} for n in range(count)
    )
    return {"files": Collection(items)}


@pytest.mark.parametrize(
    "expression",
    [
        "files.map(f, files + files).size() > 2",
        "files.map(f, f.path).map(a, a+a+a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a+a+a).exists(a, a=='x')",
        "files.map(a, files.map(b, files.map(c, c.path))).size() > 0",
        "[files]" + ".map(f, f + f)" * 20 + ".exists(f, f.size() > 2)",
        "files.map(f, {'all': files.map(g, g.path)}).exists(t, t.all.size() > 1)",
        "files.map(f, f.imports + files.map(g, g.path)).exists(l, l.size() > 1)",
    ],
)
def test_what_would_grow_beyond_bounds_is_unknown_and_not_built(expression: str) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert verdict(cel(expression), _many(5000)).rules[0].truth is Truth.UNKNOWN
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    )  # kilobytes; it took gigabytes


@pytest.mark.parametrize(
    "expression",
    [
        "files.map(f, f.path).exists(p, p.endsWith('99'))",
        "files.filter(f, f.size > 5).map(f, f.path + '.sig').exists(p, p.endsWith('99.sig'))",
        "files.map(f, {'name': f.path}).exists(n, n.name.endsWith('99'))",
        "files.map(f, f.imports.map(i, i + 'x')).exists(l, l.exists(i, i == 'os.systemx'))",
        "files.map(f, [f.path, 'a'])[99][0].endsWith('99')",
    ],
)
def test_what_grows_within_bounds_is_judged(expression: str) -> None:
    pytest.importorskip("cel_expr_python.cel", reason="the extra `cel` is not installed")
    assert verdict(cel(expression), _many(500)).rules[0].truth is Truth.TRUE
