"""`gather`: a source that fails, is late or says too much never reads as silence."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

import pytest

from governance.collect.collector import gather
from governance.collect.request import request_facts
from governance.collect.threads import Threads, while_waited_for
from governance.errors import GovernanceError, UnreachableError
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.facts import CATALOGUE, OUT_OF_REACH, UNREACHABLE, FactValue, Unknown
from governance.model.request import Action, Actor, Request

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = Request(
    action=Action.LOAD,
    artifact=Artifact(
        kind=Kind.MODEL,
        host="127.0.0.1",
        repository=parse_repository_key("models"),
        path="1/m",
        name="m",
        files=(FileEntry(path=parse_relative_path("MLmodel")),),
    ),
    actor=Actor(name="alice"),
    environment="development",
    at=NOON,
    correlation="c",
)


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A collector that does as it is told."""

    answer: Callable[[], Mapping[str, FactValue]]
    name: str = "scripted"
    on_demand: bool = False
    supplies: frozenset[str] = frozenset({"xray.malicious", "scan.complete"})

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        return self.answer()


def test_what_is_found_carries_source_and_time() -> None:
    facts = gather(
        [Scripted(answer=lambda: {"xray.malicious": False})], REQUEST, deadline=5, now=lambda: NOON
    )
    assert facts.get("xray.malicious") is False
    assert facts.origins["xray.malicious"].source == "scripted"
    assert facts.origins["xray.malicious"].observed_at == "2026-11-22T12:00:00.000000Z"


def test_what_is_left_out_is_unknown() -> None:
    facts = gather(
        [Scripted(answer=lambda: {"xray.malicious": False})], REQUEST, deadline=5, now=lambda: NOON
    )
    assert facts.get("scan.complete") == Unknown("scripted did not say")


def _raise(error: Exception) -> Mapping[str, FactValue]:
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreachableError("no answer", service="Xray", method="GET", path="/x"), "Xray: no answer (GET /x)"),
        (ZeroDivisionError("token=s3cret"), "ZeroDivisionError in scripted"),
    ],
)
def test_a_failure_makes_everything_it_supplies_unknown(error: Exception, reason: str) -> None:
    facts = gather([Scripted(answer=lambda: _raise(error))], REQUEST, deadline=5, now=lambda: NOON)
    assert facts.get("xray.malicious") == facts.get("scan.complete") == Unknown(reason)


def test_a_fact_that_was_not_announced_discredits_its_source() -> None:
    collector = Scripted(answer=lambda: {"xray.malicious": False, "signature.valid": True})
    facts = gather([collector], REQUEST, deadline=5, now=lambda: NOON)
    assert isinstance(facts.get("xray.malicious"), Unknown)
    assert isinstance(facts.get("signature.valid"), Unknown)


def test_a_late_answer_is_unknown() -> None:
    release = threading.Event()

    def slow() -> Mapping[str, FactValue]:
        release.wait(10)
        return {"xray.malicious": False}

    facts = gather([Scripted(answer=slow)], REQUEST, deadline=0.05, now=lambda: NOON)
    release.set()
    assert facts.get("xray.malicious") == Unknown("scripted gave no answer within 0.05 s")


@dataclass(frozen=True, kw_only=True)
class Slow(Scripted):
    """A collector that has heard something before it does as it is told."""

    said: Callable[[Unknown], Mapping[str, FactValue]]

    def ask(self, request: Request) -> Slow:
        return self

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        return self.said(rest)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "scripted gave no answer within 0.05 s"),
        (UnreachableError("no answer", service="Xray", method="GET", path="/x"), "Xray: no answer (GET /x)"),
        (ZeroDivisionError("token=s3cret"), "ZeroDivisionError in scripted"),
    ],
)
def test_what_was_heard_is_not_lost_for_what_does_not_come(error: Exception | None, reason: str) -> None:
    release = threading.Event()

    def never() -> Mapping[str, FactValue]:
        if error is None:
            release.wait(10)
        return _raise(error or TimeoutError())

    asked = Slow(answer=never, said=lambda rest: {"xray.malicious": True})
    facts = gather([asked], REQUEST, deadline=0.05 if error is None else 5, now=lambda: NOON)
    release.set()
    assert facts.get("xray.malicious") is True
    assert facts.get("scan.complete") == Unknown(reason)
    assert facts.get(OUT_OF_REACH) == (() if isinstance(error, ZeroDivisionError) else ("scan.complete",))


def test_what_was_heard_and_cannot_be_told_makes_no_fact(caplog: pytest.LogCaptureFixture) -> None:
    failed = GovernanceError("no answer")
    broken = Slow(answer=lambda: _raise(failed), said=lambda rest: _raise(KeyError("token=s3cret")))
    facts = gather([broken], REQUEST, deadline=5, now=lambda: NOON)
    assert facts.get("xray.malicious") == facts.get("scan.complete") == Unknown("no answer")
    assert "what scripted had heard is lost: KeyError" in caplog.text
    assert "s3cret" not in caplog.text
    stray = Slow(answer=lambda: _raise(failed), said=lambda rest: {"signature.valid": True})
    facts = gather([stray], REQUEST, deadline=5, now=lambda: NOON)
    assert all(isinstance(facts.get(name), Unknown) for name in ("signature.valid", "xray.malicious"))


def test_two_sources_of_one_fact_are_a_mistake_in_wiring() -> None:
    twice = [Scripted(answer=dict), Scripted(answer=dict, name="other")]
    with pytest.raises(ValueError, match="supplied by both"):
        gather(twice, REQUEST, deadline=5, now=lambda: NOON)


def test_no_source_means_no_fact() -> None:
    assert isinstance(gather([], REQUEST, deadline=5, now=lambda: NOON).get("xray.malicious"), Unknown)


def test_the_request_states_only_facts_of_the_catalogue() -> None:
    assert set(request_facts(REQUEST)) <= set(CATALOGUE)
    assert isinstance(request_facts(REQUEST)["artifact.digest"], Unknown)


_NEVER = """
import threading
from datetime import UTC, datetime
from tests.unit.test_collector import NOON, REQUEST, Scripted
from governance.collect.collector import gather
from governance.collect.threads import Threads

def never():
    with Threads(2, "inner") as inner:
        inner.submit(threading.Event().wait).result()

print(len(gather([Scripted(answer=never)], REQUEST, deadline=0.1, now=lambda: NOON).values))
"""


def test_no_process_waits_for_a_collector_when_it_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NEVER], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) > 0


def test_nothing_begins_when_nobody_waits_any_more() -> None:
    begun: list[int] = []
    over = threading.Event()

    def one() -> None:
        begun.append(1)
        time.sleep(0.1)

    def many() -> Mapping[str, FactValue]:
        with Threads(1, "inner") as inner:
            late = [inner.submit(one) for _ in range(50)]
        over.set()
        assert isinstance(late[-1].exception(), TimeoutError)
        return {}

    gather([Scripted(answer=many)], REQUEST, deadline=0.2, now=lambda: NOON)
    assert over.wait(30)
    assert len(begun) < 50


@pytest.mark.parametrize("is_pooled", [False, True])
def test_who_asks_on_and_on_stops_when_nobody_waits_any_more(is_pooled: bool) -> None:
    over = threading.Event()

    def endless() -> None:
        try:
            for _ in while_waited_for(count()):
                time.sleep(0.01)
        finally:
            over.set()

    def ask() -> Mapping[str, FactValue]:
        with Threads(1, "inner") as inner:
            inner.submit(endless).result() if is_pooled else endless()
        return {}

    facts = gather([Scripted(answer=ask)], REQUEST, deadline=0.1, now=lambda: NOON)
    assert facts.get(UNREACHABLE) == ("scripted",)
    assert over.wait(30)


def test_what_ended_at_the_deadline_since_nobody_waits_is_late_and_no_mistake() -> None:
    """Of a model with many files one look ends as the time does, and the next is not begun. An outage excuses it."""
    over = threading.Event()

    def many() -> Mapping[str, FactValue]:
        time.sleep(0.2)
        try:
            with Threads(1, "inner") as inner:
                inner.submit(int).result()
        finally:
            over.set()
        return {}

    def late() -> Mapping[str, FactValue]:
        over.wait(10)
        time.sleep(0.05)
        return {}

    first = Slow(answer=late, said=lambda rest: late())
    second = Scripted(answer=many, name="other", supplies=frozenset({"signature.valid"}))
    facts = gather([first, second], REQUEST, deadline=0.1, now=lambda: NOON)
    assert facts.get("signature.valid") == Unknown("other gave no answer within 0.1 s")
    assert facts.get(UNREACHABLE) == ("other", "scripted")


def test_a_pool_hands_on_errors_and_cancels_what_has_not_begun() -> None:
    release = threading.Event()
    pool = Threads(1, "pool")
    first = pool.submit(release.wait)
    second = pool.submit(pytest.fail, "never begun")
    pool.shutdown(wait=False, cancel_futures=True)
    release.set()
    assert first.result(30)
    assert second.cancelled()
    with Threads(2, "pool") as other, pytest.raises(ZeroDivisionError):
        list(other.map(lambda number: 1 // number, [1, 0]))


def test_a_thread_ends_though_the_caller_was_interrupted_while_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each Ctrl-C in a notebook could leave a thread behind, which waited for tasks for good."""
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begun.append(thread)
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), Threads(2, "pool") as pool:
        pool.submit(int)
    begun[0].join(30)
    assert not begun[0].is_alive()


def test_fewer_threads_than_wanted_do_it_all(leave_threads: Callable[[int], None]) -> None:
    leave_threads(1)
    with Threads(4, "pool") as pool:
        assert list(pool.map(lambda number: number + 1, range(20))) == list(range(1, 21))


def test_without_any_thread_each_fact_is_unknown_and_no_service_is_said_to_be_out_of_reach(
    leave_threads: Callable[[int], None],
) -> None:
    """So the decision is on record, and a rule for outages opens nothing."""
    leave_threads(0)
    facts = gather([Scripted(answer=dict)], REQUEST, deadline=5, now=lambda: NOON)
    assert facts.values[UNREACHABLE] == ()
    unknown = [value for value in facts.values.values() if isinstance(value, Unknown)]
    assert unknown
    assert {value.reason for value in unknown} == {"the system gives this process no more threads"}


def test_what_no_thread_was_left_to_ask_for_is_unknown_and_no_outage(
    leave_threads: Callable[[int], None],
) -> None:
    """The decision is on record, where a late source ended it with a bare `CancelledError`."""
    release = threading.Event()

    def slow() -> Mapping[str, FactValue]:
        release.wait(10)
        return {}

    leave_threads(1)
    other = Scripted(answer=dict, name="other", supplies=frozenset({"signature.valid"}))
    facts = gather([Scripted(answer=slow), other], REQUEST, deadline=0.1, now=lambda: NOON)
    release.set()
    assert facts.get("signature.valid") == Unknown("other was not asked within 0.1 s: no thread was free")
    assert facts.get(UNREACHABLE) == ("scripted",)
