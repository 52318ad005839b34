"""Laws behind mutation testing: a mutant tried is that policy compiled, and one that is called the same is the same."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from governance.model.verdict import Verdict
from governance.policy.cases import deciding_rules
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.killing import Rivals, is_same
from governance.policy.mutants import Mutant, mutants_of
from governance.policy.variation import ground, varied
from tests.property import policy_strategies as make

SEEDS, PROOFS, REQUESTS = 20, 40, 30


def mutants(policy: CompiledPolicy, trees: list[make.Tree]) -> list[Mutant]:
    """The mutants of the policies in force."""
    written = {tree["metadata"]["name"]: tree for tree in trees if tree["kind"] == "Policy"}
    return [
        mutant
        for part in policy.parts
        for mutant in mutants_of(part.policy, written[part.policy.name], policy.catalogue)
    ]


def outline(verdict: Verdict) -> tuple[object, ...]:
    return verdict.decision, sorted(row.rule for row in deciding_rules(verdict))


def test_a_mutant_tried_is_that_policy_compiled() -> None:
    for seed in range(SEEDS):
        r = Random(seed)
        trees = make.documents(r)
        policy = compile_bundle(make.load(trees))
        base = ground(policy)
        for mutant in r.sample(found := mutants(policy, trees), min(6, len(found))):
            others = tuple(
                one if one.name != mutant.policy else mutant.changed for one in policy.bundle.policies
            )
            whole = compile_bundle(replace(policy.bundle, policies=others))
            variant = varied(base, mutant.changed)
            for _ in range(8):
                asked, known = make.request(r), make.facts(r)
                got, want = evaluate(variant, asked, known), evaluate(whole, asked, known)
                assert (got.decision, got.by_policy) == (want.decision, want.by_policy), (seed, mutant.words)
                assert tuple(got.rules) == tuple(want.rules), (seed, mutant.words)
                assert tuple(got.findings) == tuple(want.findings), (seed, mutant.words)


def test_what_is_called_the_same_is_never_told_apart() -> None:
    """And the search does prove some, and gives facts for others; else the law would hold of nothing."""
    proved = told = 0
    for seed in range(PROOFS):
        r = Random(1_000 + seed)
        trees = make.documents(r)
        base = ground(compile_bundle(make.load(trees)))
        for mutant in r.sample(found := mutants(base, trees), min(12, len(found))):
            variant = varied(base, mutant.changed)
            same, _ = is_same(mutant, [Rivals(suite="s", policy=base, variant=variant, cases=())])
            tellings = 0
            for _ in range(REQUESTS if same else 2):
                asked, known = make.request(r), make.facts(r)
                differs = outline(evaluate(base, asked, known)) != outline(evaluate(variant, asked, known))
                assert not (same and differs), (seed, mutant.subject, mutant.words)
                tellings += differs
            proved += same
            told += tellings > 0
    assert proved >= 8
    assert told >= 8
