"""Metrics: what is counted, how many series there can be, and that a gate without a meter knows nothing of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from governance.audit.entry import EntryKind
from governance.errors import BlockedError, UnreachableError
from governance.gate import Gate
from governance.metrics.meter import MOST_ENVIRONMENTS, MOST_RULES, PrometheusMeter, Words
from governance.metrics.registry import has_room
from governance.model.facts import Facts
from governance.model.verdict import Effect, Finding, Mode, RuleResult, Severity, Truth
from governance.permit import Decision
from tests.scenarios.cli import clean
from tests.unit.gate_kit import NOON, Bench, Fixed, bench, compiled, request
from tests.unit.policy_kit import compiled as compiled_policy
from tests.unit.policy_kit import policy

NAMES = st.text(st.characters(codec="utf-8"), max_size=200)
POLICY = compiled_policy(policy())


def series(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values (in order of the labels' names), read as Prometheus reads it."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def metered(tmp_path: Path, meter: Any, mode: str = "enforce") -> Bench:
    found = bench(tmp_path, mode)
    gate = Gate(
        policies=Fixed(compiled(tmp_path, mode)), collectors=[found.world], log=found.log, now=lambda: NOON, meter=meter,
        reuse_seconds=0,
    )  # fmt: skip
    return replace(found, gate=gate)


def test_on_a_full_disk_nothing_is_counted_and_no_figure_made(caplog: pytest.LogCaptureFixture) -> None:
    """The system ends a process that touches a new page of a file there, which no error is raised for."""
    registry, room = CollectorRegistry(), False
    meter = PrometheusMeter(registry, has_room=lambda: room)
    for _ in range(3):
        meter.took("gather", 1.0)
        meter.decided(decision("production", ["p/r"], []))
    assert series(registry) == {}
    assert caplog.text.count("figures are left out") == 1
    room = True
    meter.decided(decision("production", ["p/r"], []))
    assert series(registry)["mlgov_findings_total", "block", "p/r"] == 1


def test_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, expected in (
        (None, True),
        (tmp_path, True),
        (tmp_path / "none", False),
        (Path("/proc"), False),
    ):
        if folder is None:
            monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
        else:
            monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
        assert has_room() is expected


def test_what_is_on_record_is_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    found = metered(tmp_path, PrometheusMeter(registry))
    for _ in range(3):
        with found.gate.admit(request()) as permit:
            permit.moved("model.pkl", permit.request.artifact.files[0].sha256)  # type: ignore[arg-type]
    found.world.facts = {"xray.malicious": True, "scan.complete": True}
    with pytest.raises(BlockedError), found.gate.admit(request()):
        pass
    found.gate.decide(request())  # is not on record, and takes time all the same
    samples = series(registry)
    environment = request().environment
    assert samples["mlgov_decisions_total", "load", environment, "enforce", "false", "allow"] == 3
    assert samples["mlgov_decisions_total", "load", environment, "enforce", "true", "block"] == 1
    assert samples["mlgov_findings_total", "block", "trial/malicious"] == 1
    assert samples["mlgov_gather_seconds_count",] == samples["mlgov_evaluate_seconds_count",] == 5
    assert samples["mlgov_record_seconds_count",] == len(found.entries(EntryKind.DECISION)) == 4


def test_a_meter_that_fails_has_no_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def took(self, step: str, seconds: float) -> None:
            raise OSError("no space left")

        def decided(self, decision: Decision) -> None:
            raise OSError("no space left")

    found = metered(tmp_path, Broken())
    found.world.facts = {"xray.malicious": True, "scan.complete": True}
    with pytest.raises(BlockedError), found.gate.admit(request()):
        pass
    assert len(found.entries(EntryKind.DECISION)) == 1
    assert "figures of the gate are lost" in caplog.text


def test_time_without_a_source_is_counted(tmp_path: Path) -> None:
    now, registry = [100.0], CollectorRegistry()
    found = metered(tmp_path, PrometheusMeter(registry, clock=lambda: now[0]), mode="observe")

    def decide() -> None:
        with found.gate.admit(request()) as permit:
            permit.moved("model.pkl", permit.request.artifact.files[0].sha256)  # type: ignore[arg-type]
        now[0] += 10

    decide()
    assert series(registry)["mlgov_degraded",] == 0
    found.world.error = UnreachableError("no answer", service="Xray", method="GET", path="/x")
    decide()
    decide()
    assert series(registry)["mlgov_degraded",] == 1
    found.world.error = None
    decide()
    decide()
    samples = series(registry)
    assert (samples["mlgov_degraded",], samples["mlgov_degraded_seconds_total",]) == (0, 20)


def decision(environment: str, rules: list[str], waived: list[str]) -> Decision:
    asked = replace(request(), environment=environment)
    findings = [
        Finding(rule=rule, effect=Effect.BLOCK, severity=Severity.HIGH, message="x") for rule in rules
    ]
    results = [
        RuleResult(rule=rule, effect=Effect.BLOCK, truth=Truth.TRUE, fired=True, waiver="w")
        for rule in waived
    ]
    return Decision(
        id="d", request=asked, facts=Facts({}, {}), policy=POLICY, mode=Mode.ENFORCE,
        verdict=_verdict(findings, results),
    )  # fmt: skip


def _verdict(findings: list[Finding], results: list[RuleResult]) -> Any:
    from governance.model.digest import Sha256
    from governance.model.verdict import Verdict

    digest = Sha256("0" * 64)
    return Verdict(
        decision=Effect.BLOCK, findings=findings, rules=results, policy_digest=digest, facts_digest=digest
    )


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=60), st.lists(NAMES, max_size=20)), max_size=20))
def test_the_number_of_series_is_bounded_and_nothing_is_lost(
    made: list[tuple[str, list[str], list[str]]],
) -> None:
    registry = CollectorRegistry()
    meter = PrometheusMeter(registry)
    for environment, rules, waived in made:
        meter.decided(decision(environment, rules, waived))
    samples = series(registry)
    of = {
        name: [value for key, value in samples.items() if key[0] == name]
        for name in ("mlgov_decisions_total", "mlgov_findings_total")
    }
    assert len(of["mlgov_decisions_total"]) <= MOST_ENVIRONMENTS + 1
    assert len(of["mlgov_findings_total"]) <= 2 * (MOST_RULES + 1)
    assert sum(of["mlgov_decisions_total"]) == len(made)
    assert sum(of["mlgov_findings_total"]) == sum(len(rules) + len(waived) for _, rules, waived in made)


@given(st.integers(0, 5), st.lists(NAMES, max_size=30))
def test_words_keep_their_meaning(most: int, texts: list[str]) -> None:
    words = Words(most)
    first = {text: words.of(text) for text in texts}
    assert len(set(first.values())) <= most + 1
    assert {text: words.of(text) for text in texts if first[text] != "other"}.items() <= first.items()


def test_a_gate_knows_nothing_of_the_library() -> None:
    code = (
        "import sys, governance.gate, governance.wiring\n"
        "sys.exit('prometheus_client' in sys.modules or any(name.startswith('governance.metrics.meter') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=clean(), check=False, timeout=120)
    assert done.returncode == 0


WORKER = """
import os, sys
from pathlib import Path
from governance.metrics.registry import exposition, own_registry, prepare
prepare(Path(sys.argv[1]))
from governance.metrics.meter import PrometheusMeter
meter = PrometheusMeter(own_registry())
for _ in range(int(sys.argv[2])):
    meter.took("gather", 0.02)
if sys.argv[3] == "degraded":
    meter._note_outage(True)
print(os.environ["PROMETHEUS_MULTIPROC_DIR"])
print(exposition()[0].decode())
"""


def test_workers_are_counted_together_and_old_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "run-999999999").mkdir()
    (tmp_path / f"run-{os.getpid()}-1").mkdir()  # in a container, an earlier run had the same number
    (tmp_path / f"run-{os.getpid()}").mkdir()
    (tmp_path / "not-ours").mkdir()

    def worker(count: int, state: str = "") -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path), str(count), state],
            env=clean(), capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        folder, _, text = done.stdout.partition("\n")
        return folder, text

    first, text = worker(3, "degraded")
    assert "mlgov_gather_seconds_count 3.0" in text
    assert "mlgov_degraded 1.0" in text
    second, text = worker(4)
    assert first == second  # workers of one parent
    assert "mlgov_gather_seconds_count 7.0" in text
    assert "mlgov_degraded 0.0" in text  # the first is dead
    assert sorted(each.name for each in tmp_path.iterdir()) == ["not-ours", Path(first).name]
