"""The policy engine beside its peers: the same rules, the same requests, the same answers, in one run.

    python -m benchmarks.policy [--json] [--quick]

A decision is timed as the gate makes it: request and facts in, verdict out. It is timed once more with everything that
explains it looked at (each fired or unknown rule with its facts, their sources and ages, and what matched), since those
words are made when somebody looks. Each engine's answers are held against a naive interpreter before it is timed; a
peer that is not installed, or cannot take the rules, is named and skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

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
from governance.model.request import Request
from governance.model.verdict import Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files

PEERS = (CelPeer, CelListPeer, CedarPeer, RegoPeer, RegoVmPeer)
_MICROSECOND = 1_000
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
    notable: Iterable[Any] = getattr(verdict.rules, "notable", verdict.rules)
    rows = [(result.rule, result.truth, result.evidence, result.matched) for result in notable]
    return len(rows) + sum(len(finding.message) + len(finding.evidence) for finding in verdict.findings)


def p50(act: Callable[[Any], object], inputs: Sequence[Any], rounds: int) -> float:
    """Median time of one call, in microseconds, over all inputs and rounds."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(rounds):
        for each in inputs:
            start = clock()
            act(each)
            taken.append(clock() - start)
    return median(taken) / _MICROSECOND


def check(
    name: str, answers: Callable[[int], tuple[str, frozenset[str]]], right: list[Any], *, ids: bool
) -> None:
    """Raise where an engine answers anything else than the naive interpreter."""
    for number, (outcome, rules) in enumerate(right):
        got = answers(number)
        if got[0] != outcome or (ids and got[1] != rules):
            raise AssertionError(f"{name}: request {number}: expected {outcome} {sorted(rules)}, got {got}")


def ours(
    policy: CompiledPolicy, asked: list[tuple[Request, Any]], right: list[Any], rounds: int
) -> tuple[float, float]:
    """p50 of a decision, and of one that is looked at, in microseconds."""
    check("ours", lambda number: answer(evaluate(policy, *asked[number])), right, ids=True)
    decided = p50(lambda each: evaluate(policy, *each), asked, rounds)
    looked_at = p50(lambda each: explained(evaluate(policy, *each)), asked, rounds)
    return decided, looked_at


def peers(
    rules: list[NeutralRule], requests: list[dict[str, Any]], right: list[Any]
) -> dict[str, float | str]:
    """p50 of each peer in microseconds, or why there is none."""
    found: dict[str, float | str] = {}
    for make in PEERS:
        try:
            peer: Peer = make(rules)
        except (ImportError, ValueError, RuntimeError) as error:
            found[make.name] = f"skipped: {type(error).__name__}: {str(error)[:120]}"
            continue
        check(make.name, lambda number, peer=peer: peer.decide(requests[number]), right, ids=peer.all_ids)  # type: ignore[misc]
        found[make.name] = p50(peer.decide, requests, 1)
    return found


def at_size(count: int, *, quick: bool) -> tuple[list[dict[str, Any]], float]:
    """The figures with so many rules, and our p50."""
    rules = realistic_rules() if count == 27 else many_rules(count)
    requests = make_requests(200 if quick else 1000)
    few = requests if count == 27 else requests[: 10 if quick else 50]
    right = [naive(rules, facts) for facts in requests]
    asked = [our_request(facts) for facts in requests]
    decided, looked_at = ours(load(rules, requests), asked, right, 3 if quick else 10)
    limit = 15.0 if count == 27 else 30.0
    rows = [
        row(f"decision p50, {count:,} rules", decided, "us", target=limit, met=decided <= limit),
        row(f"the same, explained, {count:,} rules", looked_at, "us", target=limit, met=looked_at <= limit),
    ]
    others = peers(rules, few, right[: len(few)])
    known = {name: taken for name, taken in others.items() if isinstance(taken, float)}
    for name, taken in others.items():
        if isinstance(taken, str):
            rows.append({"figure": f"{name}, {count:,} rules", "note": taken})
        else:
            rows.append(
                row(f"{name}, {count:,} rules", taken, "us", peer="ours, explained", ratio=taken / looked_at)
            )
    if known:
        fastest = min(known, key=lambda name: known[name])
        ratio, wanted = known[fastest] / looked_at, _FASTEST[count]
        rows.append(
            row(f"times faster than the fastest peer, {count:,} rules", ratio, "x", peer=fastest, target=wanted, met=ratio >= wanted)
        )  # fmt: skip
    return rows, looked_at


def loading(count: int, limit: float, repeats: int) -> dict[str, Any]:
    """Time to read, check, compile and index so many rules, beside the bare YAML parser."""
    import yaml

    requests = make_requests(10)
    rules = many_rules(count)
    text = policy_yaml(rules, requests)
    taken, bare = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        compile_bundle(load_files({"bench.yaml": text}))
        taken.append(time.perf_counter() - start)
        start = time.perf_counter()
        for _node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            pass
        bare.append(time.perf_counter() - start)
    value = median(taken)
    return row(
        f"load of {count:,} rules", value, "s", peer="yaml.compose (C)", ratio=value / median(bare), target=limit, met=value <= limit
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
    print(json.dumps(report, indent=2) if options.json else json.dumps(report))
    return report


if __name__ == "__main__":
    main()
