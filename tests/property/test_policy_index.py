"""Laws of the index: it shuts only what judging would find false, and is sure only of what judging would find true."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.model.facts import CATALOGUE, Collection, Facts, Unknown
from governance.policy.bits import bits_of, numbers_in
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.explain import verdict_bytes
from governance.policy.tables import order_table, text_table
from governance.policy.variation import ground
from tests.property import policy_strategies as make
from tests.property.test_policy_laws import law
from tests.unit.policy_kit import compiled, policy, request, rule

ODD: tuple[Any, ...] = (
    None, Unknown("down"), *(Unknown("cut", at_least=least) for least in (7, 7.0, 8, "high", "unknown", ("a",), math.nan)), True, False, 0, 1, 1.0, -1, 7, 7.0, 8, math.nan, math.inf, -math.inf, 2**53, 2**53 + 1, 10**400,
    math.nextafter(7.0, 8.0), "", "mit", "MIT", "Evil_Corp", "evil-corp", "unknown", "high", "production", ("a",), ("a", 1), ([],),
    Collection(()), Collection((), missing="more"), object(),
)  # fmt: skip


@given(st.sets(st.integers(0, 700)))
def test_bits_are_the_numbers_they_were_made_of(numbers: set[int]) -> None:
    assert list(numbers_in(bits_of(numbers, 701))) == sorted(numbers)


@law
@given(st.integers(0, 2**64).map(Random))
def test_the_index_changes_no_byte_of_a_verdict(r: Random) -> None:
    whole = compile_bundle(make.load(make.documents(r)))
    plain = ground(whole)
    for _ in range(10):
        asked, known = make.request(r), make.facts(r, nasty=0.2)
        assert verdict_bytes(evaluate(whole, asked, known)) == verdict_bytes(evaluate(plain, asked, known))


CONDITIONS = [
    "{fact: xray.malicious, is: true}",
    "{fact: environment, in: [production, mit]}",
    "{fact: publisher, is: evil-corp}",
    "{fact: publisher, in: [Evil_Corp, mit]}",
    "{fact: publisher, matches: {glob: 'evil*'}}",
    "{fact: xray.max_cvss, gte: 7.0}",
    "{fact: xray.max_cvss, gt: 7.0}",
    "{fact: xray.max_cvss, lt: 7.0}",
    "{fact: xray.max_cvss, lte: 7.0}",
    "{fact: scan.age, gt: 7s}",
    "{fact: scan.age, lte: 7s}",
    "{fact: xray.max_severity, gte: high}",
    "{fact: property.stage, is: production}",
    "{any: [{fact: xray.malicious, is: true}, {fact: publisher, is: mit}]}",
    "{any: [{fact: environment, is: mit}, {fact: environment, is: production}]}",
    "{some: actor.groups, where: {fact: value, is: a}}",
    "{some: licences, where: {fact: spdx, in: [MIT]}}",
    "{some: licences, where: {fact: spdx, matches: {requires: [MIT]}}}",
    "{some: vulnerabilities, where: {fact: cvss, gte: 7.0}}",
    "{some: vulnerabilities, where: {fact: severity, gte: high}}",
    "{some: vulnerabilities, where: {fact: fix_available, is: true}}",
    "{some: vulnerabilities, where: {fact: cve, is: production}}",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_odd_values_are_judged_as_without_the_index(condition: str) -> None:
    """Each sort of table, alone and with a second condition, on values of every class."""
    for when in (condition, f"{{all: [{condition}, {{fact: artifact.origin, is: remote}}]}}"):
        text = policy(rule(when) + rule("{fact: artifact.size, gte: 1}", name="other"))
        whole = compiled(text)
        _agree(whole, condition)


def _agree(whole: CompiledPolicy, condition: str) -> None:
    plain = ground(whole)
    name = next((one for one in ("licences", "vulnerabilities") if one in condition), None)
    fields = {field.name for field in CATALOGUE[name].fields} if name is not None else set()
    for value in ODD:
        for origin in ("remote", "local", Unknown("down")):
            values = dict.fromkeys(_named(condition), value) | {"artifact.origin": origin}
            sets: list[dict[str, Any]] = [values]
            if name is not None:
                item: dict[str, Any] = dict.fromkeys(fields, value)
                several: list[tuple[dict[str, Any], ...]] = [(item,), (item, {}), ({}, item)]
                sets += [values | {name: Collection(items)} for items in several]
                sets += [values | {name: Collection((item,), missing="more")}]
            for each in sets:
                facts = Facts(each)
                got, want = (
                    {row.rule: row.truth for row in evaluate(one, request(), facts).rules}
                    for one in (whole, plain)
                )
                assert got == want, (condition, value, origin, each)


def _named(condition: str) -> list[str]:
    return [name for name in (*CATALOGUE, "property.stage") if name in condition]


def test_what_a_table_remembers_is_bounded() -> None:
    text = text_table(CATALOGUE["environment"])
    text.post("exact", "production", 5)
    text.seal(1 << 20)  # so wide that 127 answers fill its memory
    for number in range(1_000):
        assert text.bring(f"e{number}") == (text.others, 0)
    assert len(text.seen) == 127
    assert text.bring("production") == ((1 << (1 << 20)) - 1, 0)
    order = order_table(CATALOGUE["scan.age"])
    for number in range(1_000):
        order.post("from", number, number)
    order.seal(1 << 20)
    for number in range(1_000):
        fits, doubt = order.bring(number)
        assert (fits.bit_count(), doubt) == ((1 << 20) - 1_000 + number + 1, 0)
    assert len(order.seen) == 127
