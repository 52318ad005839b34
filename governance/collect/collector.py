"""The contract of a collector, and `gather`, which asks them all in parallel under one deadline."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import wait as wait_for
from datetime import datetime
from typing import Protocol, runtime_checkable

from governance.collect.threads import NobodyWaitsError, Threads, limit_thread
from governance.errors import GovernanceError, RateLimitedError, UnavailableError, UnreachableError
from governance.model.facts import OUT_OF_REACH, UNREACHABLE, Collection, Facts, FactValue, Origin, Unknown
from governance.model.request import Request, utc_text

logger = logging.getLogger(__name__)

NOT_GATHERED = "no rule reads it, so it was not gathered"
"""Why a fact is unknown that no rule in force asks for."""

MOST_FILES = 20_000
"""Of an artifact with more files none is asked about. Each costs a request or two and a few KiB, for each load; how long that may
take is bounded besides, for all collectors together."""

_MANY_FILES = 500
_OUTAGES = (UnreachableError, UnavailableError, RateLimitedError)
"""Nobody answered, or only said to come again later. What was answered is none, whatever the answer: a token that is not taken, a
certificate that is not trusted and an answer that is cut short are there to be mended, and may be made by whoever stands between."""


_NEVER_OUT_OF_REACH = frozenset({"signature"})
"""Sources whose silence is no outage. A signature lies where the model does, and who is trusted is known here: the last verdict would
stand for a key that was revoked since."""


def too_many_files(count: int) -> Unknown | None:
    """Why nothing is known of an artifact with this many files, or None where they can be asked about."""
    if count <= MOST_FILES:
        return None
    return Unknown(
        f"{count:,} files, more than {MOST_FILES:,}: trying again does not help, packing them into fewer does",
        is_lasting=True,
    )


class Collector(Protocol):
    """Asks one edge for some facts.

    | member | meaning |
    | --- | --- |
    | `name` | the source named with each fact |
    | `supplies` | every fact name this collector may return; those it does not return become unknown |
    | `on_demand` | asked only where a rule reads one of its facts, since it costs a request per file |
    | `collect(request)` | the facts. May raise `GovernanceError`: then all of `supplies` are `unknown_after` it |

    A collector may take seconds, and must bound its own IO: `gather` stops waiting at its deadline and leaves the
    thread to end by itself. Where only some of its questions fail, it returns `unknown_after` the error for their facts.
    """

    @property
    def name(self) -> str:
        """The source named with each fact."""
        ...

    @property
    def supplies(self) -> frozenset[str]:
        """Every fact name that `collect` may return."""
        ...

    @property
    def on_demand(self) -> bool:
        """Whether it is left alone where no rule reads what it supplies."""
        ...

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts about the request's artifact."""
        ...


class Inquiry(Protocol):
    """What a collector asks about one request, and hears answer by answer."""

    def answer(self) -> Mapping[str, FactValue]:
        """The facts once all is heard. Raises as `Collector.collect`."""
        ...

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        """The facts by what was heard so far, where the rest stays unknown for the reason `rest`; without those of which nothing was
        heard. Bad news that is complete in itself is among them, good news only where nothing can come that would undo it. Asks
        nobody, and may be called in another thread while `answer` goes on."""
        ...


@runtime_checkable
class Gradual(Collector, Protocol):
    """A collector whose answer comes in parts, which count also where the last of them is late or never comes."""

    def ask(self, request: Request) -> Inquiry:
        """Asks nobody yet."""
        ...


def unknown_after(error: GovernanceError) -> Unknown:
    """What is unknown since asking for it ended so, and whether its source was out of reach."""
    return Unknown(error.message, out_of_reach=isinstance(error, _OUTAGES))


def gather(
    collectors: Sequence[Collector],
    request: Request,
    *,
    deadline: float,
    now: Callable[[], datetime],
    read: Iterable[str] | None = None,
) -> Facts:
    """Ask the collectors in parallel; wait at most `deadline` seconds for all of them together.

    `read` are the facts that some rule reads, None for all: collectors on demand whose facts are not among them are not
    asked, and their facts are `Unknown` for that reason.

    A collector that raises, returns a fact it did not announce, or is late supplies `Unknown` with the reason; where it is
    `Gradual` and raises or is late, what it had heard counts beside. Two collectors that supply the same name are a mistake in
    wiring and raise `ValueError`, since neither can be trusted to win.
    """
    _check_disjoint(collectors)
    wanted = None if read is None else frozenset(read)
    asked = [each for each in collectors if wanted is None or not each.on_demand or each.supplies & wanted]
    executor = Threads(len(asked), "collect")
    until = time.monotonic() + deadline
    try:
        running = [_Asked(collector, request, executor, until) for collector in asked]
        wait_for([each.future for each in running], timeout=deadline)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    unread = Unknown(NOT_GATHERED)
    values: dict[str, FactValue] = {
        name: unread for each in collectors if each not in asked for name in each.supplies
    }
    origins: dict[str, Origin] = {}
    silent: dict[str, list[str]] = {}
    for asking in running:
        collector = asking.collector
        origin = Origin(source=collector.name, observed_at=utc_text(now()))
        is_excusable = collector.name not in _NEVER_OUT_OF_REACH
        for name, value in asking.result(deadline, len(request.artifact.files)).items():
            values[name] = value
            origins[name] = origin
            if is_excusable and isinstance(value, Unknown | Collection) and value.out_of_reach:
                silent.setdefault(collector.name, []).append(name)
    own = Origin(source="gather", observed_at=utc_text(now()))
    values[UNREACHABLE] = tuple(sorted(silent))
    values[OUT_OF_REACH] = tuple(sorted(name for names in silent.values() for name in names))
    return Facts(values, origins | {UNREACHABLE: own, OUT_OF_REACH: own})


class _Asked:
    """A collector that was asked about a request."""

    def __init__(self, collector: Collector, request: Request, executor: Threads, until: float) -> None:
        self.collector = collector
        self._inquiry = collector.ask(request) if isinstance(collector, Gradual) else None
        self.future = executor.submit(self._ask, request, until)

    def _ask(self, request: Request, until: float) -> Mapping[str, FactValue]:
        limit_thread(until)
        return self.collector.collect(request) if self._inquiry is None else self._inquiry.answer()

    def result(self, deadline: float, files: int) -> dict[str, FactValue]:
        """What it found."""
        if self.future.cancelled():  # no silence of its source, and so no outage
            reason = f"{self.collector.name} was not asked within {deadline:g} s: no thread was free"
            return self._all({}, Unknown(reason))
        is_done = self.future.done()
        error = self.future.exception() if is_done else None
        if not is_done or isinstance(error, NobodyWaitsError):
            more = f" about {files:,} files (MLGOV_GATHER_SECONDS)" if files > _MANY_FILES else ""
            late = f"{self.collector.name} gave no answer within {deadline:g} s{more}"
            return self._heard(Unknown(late, out_of_reach=True))
        if isinstance(error, GovernanceError):
            return self._heard(unknown_after(error))
        if error is not None:
            # A mistake of ours in a collector must not read as good news either, so nothing is re-raised here.
            return self._heard(Unknown(f"{type(error).__name__} in {self.collector.name}"))
        return self._all(self.future.result(), Unknown(f"{self.collector.name} did not say"))

    def _heard(self, rest: Unknown) -> dict[str, FactValue]:
        """What is known of one that did not come to its end, for the reason `rest`."""
        try:
            return self._all({} if self._inquiry is None else self._inquiry.heard(rest), rest)
        except Exception as error:  # noqa: BLE001 - as above
            logger.error(  # noqa: TRY400 - its text may hold anything
                "what %s had heard is lost: %s", self.collector.name, type(error).__name__
            )
            return self._all({}, rest)

    def _all(self, found: Mapping[str, FactValue], rest: Unknown) -> dict[str, FactValue]:
        """All that was announced. What was not `found` is unknown for the reason `rest`."""
        supplies = self.collector.supplies
        stray = [name for name in found if not _announced(name, supplies)]
        if stray:
            reason = (
                f"{self.collector.name} returned facts it does not announce: {', '.join(sorted(stray)[:5])}"
            )
            return dict.fromkeys(supplies, Unknown(reason))
        return dict.fromkeys(supplies, rest) | dict(found)


def _announced(name: str, supplies: frozenset[str]) -> bool:
    return name in supplies or (name.startswith("property.") and "property.*" in supplies)


def _check_disjoint(collectors: Sequence[Collector]) -> None:
    seen: dict[str, str] = {}
    for collector in collectors:
        for name in collector.supplies:
            if name in seen:
                raise ValueError(f"fact `{name}` is supplied by both {seen[name]} and {collector.name}")
            seen[name] = collector.name
