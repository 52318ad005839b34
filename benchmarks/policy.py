"""The policy engine beside its peers: the same rules, the same requests, the same answers, in one run.

    python -m benchmarks.policy [--json] [--quick]

A decision is timed as the gate makes it: request and facts in, verdict out. The digest of the facts, which names them in the record and is
worked out once for each set of facts, is timed by itself. The decision is timed once more with everything that
explains it looked at (each fired or unknown rule with its facts, their sources and ages, and what matched), since those
words are made when somebody looks. All take turns, and ratios are medians over the rounds. Each engine's answers are held against a naive interpreter before it is timed; a
peer that is not installed, or cannot take the rules, is named and skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from benchmarks.policy_peers import CedarPeer, CelListPeer, CelPeer, Peer, RegoPeer, RegoVmPeer
from benchmarks.policy_world import (
    NeutralRule,
    make_requests,
    many_rules,
    naive,
    our_request,
    policy_yaml,
    realistic_rules,
)
from governance.model.facts import Facts
from governance.model.verdict import Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.explain import RuleResults
from governance.policy.load import load_files

PEERS = (CelPeer, CelListPeer, CedarPeer, RegoPeer, RegoVmPeer)
_MICROSECOND = 1_000
Medians: TypeAlias = "dict[str, list[float]]"
"""By contender, the p50 of each round in microseconds."""
_FASTEST = {27: 5.0, 10_000: 50.0}


def load(rules: list[NeutralRule], requests: list[dict[str, Any]]) -> CompiledPolicy:
    """Our engine with the rules loaded from YAML."""
    return compile_bundle(load_files({"bench.yaml": policy_yaml(rules, requests)}))


def answer(verdict: Verdict) -> tuple[str, frozenset[str]]:
    """Our verdict in the neutral form."""
    fired = [result.rule for result in verdict.rules if result.fired and result.waiver is None]
    return verdict.decision.word, frozenset(name.partition("/")[2] for name in fired)


def explained(verdict: Verdict) -> int:
    """Look at everything that explains the verdict."""
    assert isinstance(verdict.rules, RuleResults)
    rows = [(result.rule, result.truth, result.evidence, result.matched) for result in verdict.rules.notable]
    return len(rows) + sum(len(finding.message) + len(finding.evidence) for finding in verdict.findings)


def p50(act: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Median time of one call over all inputs, in microseconds."""
    clock = time.perf_counter_ns
    taken = []
    for each in inputs:
        start = clock()
        act(each)
        taken.append(clock() - start)
    return median(taken) / _MICROSECOND


def in_turns(contenders: Mapping[str, tuple[Callable[[Any], object], Sequence[Any]]], rounds: int) -> Medians:
    """The p50 of each contender in each round. They take turns, so that a busy minute falls on all of them."""
    found: Medians = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (act, inputs) in contenders.items():
            found[name].append(p50(act, inputs))
    return found


def ratio(medians: Medians, of: str, to: str) -> float:
    """How many times as long one takes as another: the median of the rounds' ratios."""
    return median(mine / other for mine, other in zip(medians[of], medians[to], strict=True))


def check(
    name: str, answers: Callable[[int], tuple[str, frozenset[str]]], right: list[Any], *, ids: bool
) -> None:
    """Raise where an engine answers anything else than the naive interpreter."""
    for number, (outcome, rules) in enumerate(right):
        got = answers(number)
        if got[0] != outcome or (ids and got[1] != rules):
            raise AssertionError(f"{name}: request {number}: expected {outcome} {sorted(rules)}, got {got}")


DECIDED, EXPLAINED = "decision p50", "the same, explained"


def peers(
    rules: list[NeutralRule], requests: list[dict[str, Any]], right: list[Any]
) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that give the right answers, by name, and why the others are left out."""
    found: dict[str, Peer] = {}
    skipped: dict[str, str] = {}
    for make in PEERS:
        try:
            peer: Peer = make(rules)
        except (ImportError, ValueError, RuntimeError) as error:
            skipped[make.name] = f"skipped: {type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
            continue
        check(make.name, lambda number, peer=peer: peer.decide(requests[number]), right, ids=peer.all_ids)  # type: ignore[misc]
        found[make.name] = peer
    return found, skipped


def at_size(count: int, *, quick: bool) -> tuple[list[dict[str, Any]], float]:
    """The figures with so many rules, and our p50."""
    rules = realistic_rules() if count == 27 else many_rules(count)
    requests = make_requests(200 if quick else 1000)
    few = requests if count == 27 else requests[: 10 if quick else 50]
    right = [naive(rules, facts) for facts in requests]
    asked = [our_request(facts) for facts in requests]
    policy = load(rules, requests)
    check("ours", lambda number: answer(evaluate(policy, *asked[number])), right, ids=True)
    known, skipped = peers(rules, few, right[: len(few)])
    contenders: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        DECIDED: (lambda each: evaluate(policy, *each), asked),
        EXPLAINED: (lambda each: explained(evaluate(policy, *each)), asked),
        **{name: (peer.decide, few) for name, peer in known.items()},
    }
    medians = in_turns(contenders, 3 if quick or count != 27 else 9)
    limit = 15.0 if count == 27 else 30.0
    rows = [
        row(f"{name}, {count:,} rules", value, "us", target=limit, met=value <= limit)
        for name in (DECIDED, EXPLAINED)
        for value in (median(medians[name]),)
    ]
    rows += [
        row(f"{name}, {count:,} rules", median(medians[name]), "us", peer="our decision", ratio=ratio(medians, name, DECIDED))
        for name in known
    ]  # fmt: skip
    rows += [{"figure": f"{name}, {count:,} rules", "note": note} for name, note in skipped.items()]
    if known:
        fastest = min(known, key=lambda name: median(medians[name]))
        wanted = _FASTEST[count]
        for ours, words in ((DECIDED, ""), (EXPLAINED, ", ours explained")):
            times = ratio(medians, fastest, ours)
            figure = f"times faster than the fastest peer{words}, {count:,} rules"
            rows.append(row(figure, times, "x", peer=fastest, target=wanted, met=times >= wanted))
    if count == 27:
        fresh = [our_request(facts)[1] for facts in requests]
        rows.append(row("digest of new facts, once for each set (in no figure above)", p50(Facts.digest, fresh), "us"))  # fmt: skip
    return rows, median(medians[DECIDED])


def loading(count: int, limit: float, repeats: int) -> dict[str, Any]:
    """CPU time to read, check, compile and index so many rules, beside the bare YAML parser. It is one thread that waits
    for nothing, so on an idle machine this is the time on the wall."""
    import yaml

    requests = make_requests(10)
    rules = many_rules(count)
    text = policy_yaml(rules, requests)
    taken, bare = [], []
    for _ in range(repeats):
        start = time.process_time()
        compile_bundle(load_files({"bench.yaml": text}))
        taken.append(time.process_time() - start)
        start = time.process_time()
        for _node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            pass
        bare.append(time.process_time() - start)
    value = median(taken)
    return row(
        f"load of {count:,} rules, CPU", value, "s", peer="yaml.compose (C)", ratio=value / median(bare), target=limit, met=value <= limit
    )  # fmt: skip


def row(figure: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    """One figure."""
    rounded = {key: round(each, 3) if isinstance(each, float) else each for key, each in more.items()}
    return {"figure": figure, "value": round(value, 3), "unit": unit, **rounded}


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds")
    options = parser.parse_args(arguments)
    small, at_27 = at_size(27, quick=options.quick)
    large, at_10k = at_size(10_000, quick=options.quick)
    growth = at_10k / at_27
    figures = [
        *small,
        *large,
        row("growth from 27 to 10,000 rules", growth, "x", target=4.0, met=growth <= 4.0),
        loading(1_000, 0.3, 3),
        loading(10_000, 2.5, 1 if options.quick else 3),
    ]
    report: dict[str, object] = {"benchmark": "policy", "figures": figures}
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(figures)
    return report


def show(figures: Iterable[dict[str, Any]]) -> None:
    """One line for each figure."""
    for each in figures:
        if "note" in each:
            print(f"{each['figure']:62} {each['note']}")
            continue
        against = f"{each['ratio']:.2f} x {each['peer']}" if "ratio" in each else each.get("peer", "")
        target = (
            f"target {each['target']:g} {'met' if each['met'] else 'NOT met'}" if "target" in each else ""
        )
        print(f"{each['figure']:62} {each['value']:>14,.3f} {each['unit']:3} {against:34} {target}")


if __name__ == "__main__":
    main()
