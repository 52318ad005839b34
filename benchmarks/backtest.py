"""A policy over recorded decisions: the evaluator itself, the whole backtest over a SQLite log, and replay to the same bytes.

    python -m benchmarks.backtest [--json] [--quick]

The decisions are those of `benchmarks.policy` (27 rules, four of them with a waiver), recorded by the log as the gate records
them, with all facts as evidence. The evaluator's peer is the naive interpreter that says what is right, in the same run; the
peer of the whole is reading and hashing the same rows and evidence without judging anything. All on one core, and by the time
that the core spent on it.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.policy import load, row
from benchmarks.policy_world import NOW, make_requests, naive, our_request, realistic_rules
from governance.audit.bodies import decision_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog, Stored
from governance.audit.sqlite import SqliteStore
from governance.collect.request import request_facts
from governance.model.digest import parse_sha256
from governance.model.facts import Facts, Origin
from governance.model.request import Request, utc_text
from governance.model.verdict import Effect, Mode
from governance.policy.compile import CompiledPolicy
from governance.policy.evaluate import evaluate
from governance.report.backtest import backtest
from governance.report.recorded import PolicyCache, read_decision
from governance.report.replay import replay

WANTED = 50_000.0
WANTED_REPLAY = 20_000.0


def asked(facts: dict[str, Any]) -> tuple[Request, Facts]:
    """A request with its facts, those included that the gate adds."""
    request, known = our_request(facts)
    stated = request_facts(request)
    said = Origin(source="request", observed_at=utc_text(request.at))
    return request, Facts({**known.values, **stated}, {**known.origins, **dict.fromkeys(stated, said)})


def record(log: AuditLog, policy: CompiledPolicy, requests: Sequence[dict[str, Any]]) -> None:
    """A log with one decision per request."""
    for number, facts in enumerate(requests):
        request, known = asked(facts)
        verdict = evaluate(policy, request, known)
        mode = policy.mode_for(request, verdict)
        refused = verdict.decision >= Effect.QUARANTINE and mode is Mode.ENFORCE
        log.append(
            EntryKind.DECISION,
            decision_body(request=request, verdict=verdict, mode=mode, refused=refused),
            subject=request.artifact.ref,
            correlation=f"c{number}",
            evidence=(known.document(), *((policy.document,) if number == 0 else ())),
        )


def rate(act: Callable[[], int]) -> float:
    """How many a second of one core's time, the best of five runs: the machine is not ours alone."""
    best = 0.0
    for _ in range(5):
        gc.collect()
        start = time.process_time()
        count = act()
        best = max(best, count / (time.process_time() - start))
    return best


def judged(policy: CompiledPolicy, pairs: Sequence[tuple[Request, Facts]]) -> Callable[[], int]:
    """The evaluator on recorded decisions that are in memory, each with the decision read off."""

    def act() -> int:
        for request, facts in pairs:
            evaluate(policy, request, facts).decision  # noqa: B018 - what a backtest looks at
        return len(pairs)

    return act


def read_only(log: AuditLog) -> Callable[[], int]:
    """Rows and evidence read and hashed, and nothing done with them."""

    def act() -> int:
        count = 0
        for stored in log.find(kind=EntryKind.DECISION):
            count += log.evidence(parse_sha256(str(stored.entry.body["facts"]))) is not None
        return count

    return act


def replayed(log: AuditLog, entries: Sequence[Stored], policies: PolicyCache) -> Callable[[], int]:
    """Every decision replayed, and its bytes compared."""

    def act() -> int:
        same = sum(replay(log, stored.entry, policies=policies).is_same for stored in entries)
        if same != len(entries):
            raise AssertionError(f"{len(entries) - same} decisions came out otherwise")
        return same

    return act


def growth(log: AuditLog, policy: CompiledPolicy) -> float:
    """The most that a whole backtest holds at a time, in MiB."""
    tracemalloc.start()
    backtest(log, policy, since=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (1 << 20)


def figures(count: int) -> list[dict[str, Any]]:
    """All of them, over a log of so many decisions."""
    rules, requests = realistic_rules(), make_requests(count)
    policy = load(rules, requests)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(AuditLog(SqliteStore(Path(folder) / "a.sqlite"), now=lambda: NOW, instance="bench")) as log,
    ):
        record(log, policy, requests)
        entries = list(log.find(kind=EntryKind.DECISION))
        pairs = [(one.request, one.facts) for one in (read_decision(log, each.entry) for each in entries)]
        ours, plain = (
            rate(judged(policy, pairs)),
            rate(lambda: len([naive(rules, each) for each in requests])),
        )
        reading = rate(read_only(log))
        whole = rate(lambda: backtest(log, policy, since=None).judged)
        again = rate(replayed(log, entries, PolicyCache(log)))
        held = growth(log, policy)
    return [
        row("recorded decisions judged, evaluator", ours, "1/s", peer="naive interpreter", ratio=ours / plain, target=WANTED, met=ours >= WANTED),
        row("backtest over the log, all included", whole, "1/s", peer="reading and hashing alone", ratio=whole / reading),
        row("replay to the same bytes", again, "1/s", peer="reading and hashing alone", ratio=again / reading, target=WANTED_REPLAY, met=again >= WANTED_REPLAY),
        row(f"memory of a backtest over {count:,} decisions", held, "MiB", target=16.0, met=held <= 16.0),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer decisions")
    options = parser.parse_args(arguments)
    report: dict[str, object] = {
        "benchmark": "backtest",
        "figures": figures(1_000 if options.quick else 10_000),
    }
    print(json.dumps(report, indent=2) if options.json else json.dumps(report))
    return report


if __name__ == "__main__":
    main()
