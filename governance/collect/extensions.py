"""Facts and collectors from other packages, by entry point.

| group | its object | is |
| --- | --- | --- |
| `governance.facts` | an iterable of `FactSpec` | what there is to know; `source` is the name of the collector that supplies it |
| `governance.collectors` | a callable that takes a `Context` and returns a `Collector` | who finds it out |

Promises: a collector that cannot be loaded, or is not one, does not vanish: its facts are there and unknown, with that
reason, and the process's log says so loudly. Neither what it answers nor how long it takes keeps an act waiting or off
the record. Nobody outside can supply a fact of ours, nor one of another package. Facts that cannot be loaded are not in
the catalogue, so a policy that names one is refused; the log says why they are not, as does `mlgov doctor`. Does not: run anything of a package but these two objects; what is installed is trusted, as any installed code is.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import metadata
from typing import Any

from governance.artifactory.client import ArtifactoryClient
from governance.collect.collector import Collector
from governance.collect.threads import Threads
from governance.model.facts import CATALOGUE, Collection, Facts, FactSpec, FactValue, Unknown, extended
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Request

FACTS, COLLECTORS = "governance.facts", "governance.collectors"
logger = logging.getLogger(__name__)

_MAKING = 30.0
"""Seconds that a collector may take to be made."""
_MOST_BYTES = 4 * 1024 * 1024
"""Of one answer on record: a decision whose facts are too large to be kept is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a collector from outside is made with: clients by host, which hold the token of the settings, and the clock."""

    artifactory: Callable[[str], ArtifactoryClient]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An entry point that could not be used, and why."""

    group: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"entry point `{self.name}` of `{self.group}`: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What other packages add. `owners` tells the entry point behind each collector."""

    catalogue: Mapping[str, FactSpec]
    makers: Mapping[str, Callable[[Context], object] | Problem]
    problems: tuple[Problem, ...]

    def facts_of(self, collector: str) -> frozenset[str]:
        """The facts from outside that a collector of this name supplies."""
        return frozenset(
            name
            for name, spec in self.catalogue.items()
            if spec.source == collector and name not in CATALOGUE
        )

    def collectors(self, context: Context, *, within: float = _MAKING) -> tuple[Collector, ...]:
        """Every collector from outside; one that is not fit, or not made `within` so many seconds, stands as a source of
        unknown facts. Facts that nobody supplies have one too."""
        made = [self._make(name, maker, context, within) for name, maker in sorted(self.makers.items())]
        spoken_for = {fact for each in made for fact in each.supplies}
        orphans = self.catalogue.keys() - CATALOGUE.keys() - spoken_for
        if orphans:
            reason = f"no entry point of `{COLLECTORS}` has the name of their source"
            made.append(Unfit(name="(nobody)", supplies=frozenset(orphans), reason=reason))
        return tuple(made)

    def _make(
        self, name: str, maker: Callable[[Context], object] | Problem, context: Context, within: float
    ) -> Collector:
        supplies = self.facts_of(name)
        if isinstance(maker, Problem):
            return Unfit(name=name, supplies=supplies, reason=str(maker))
        # Not in this thread: one that waits for its service while it is made would hold up every act, without an end.
        executor = Threads(1, "make")
        try:
            inner = _checked(executor.submit(maker, context).result(within), supplies)
            # Left alone where no rule reads its facts, unless it says otherwise, as it may be slow.
            on_demand = bool(getattr(inner, "on_demand", True))
            return Outside(name=name, supplies=supplies, inner=inner, on_demand=on_demand)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything, which must not open or shut all doors
            problem = Problem(group=COLLECTORS, name=name, reason=_reason(error))
            logger.error("ITS FACTS ARE UNKNOWN: %s", problem)  # noqa: TRY400 - foreign text may hold anything
            return Unfit(name=name, supplies=supplies, reason=str(problem))
        finally:
            executor.shutdown(wait=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A collector of another package, which answers under the name of its entry point."""

    name: str
    supplies: frozenset[str]
    inner: Any
    on_demand: bool

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """What it says, as it would be on record; `gather` holds it to what it announced. Raises `TypeError` for what is no
        answer, and whatever reading the answer raises: a foreign mapping may ask its service at each look, so it is read
        once and here, where the deadline of `gather` holds."""
        found = self.inner.collect(request)
        if not isinstance(found, Mapping):
            raise TypeError("not a mapping by names of facts")
        said = dict(found)
        document = Facts(said).document()
        if len(document) > _MOST_BYTES:
            return dict.fromkeys(self.supplies, Unknown(f"{self.name} said more than {_MOST_BYTES} bytes"))
        recorded = facts_from_json(json.loads(document)).values
        return {name: _marked(value, said.get(name)) for name, value in recorded.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Stands for a collector that could not be loaded."""

    name: str
    supplies: frozenset[str]
    reason: str
    on_demand: bool = False

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """All of its facts, unknown."""
        del request
        return dict.fromkeys(self.supplies, Unknown(self.reason))


@functools.cache
def extensions() -> Extensions:
    """What the installed packages add. Looked for once in a process."""
    installed = metadata.entry_points()  # one reading of what all packages say, for both groups
    return load_extensions(installed.select(group=FACTS), installed.select(group=COLLECTORS))


def catalogue() -> Mapping[str, FactSpec]:
    """All facts there are here: ours, and those of other packages."""
    return extensions().catalogue


def load_extensions(
    facts: Iterable[metadata.EntryPoint], collectors: Iterable[metadata.EntryPoint]
) -> Extensions:
    """The same for given entry points, in the order of their names."""
    problems: list[Problem] = []
    known: Mapping[str, FactSpec] = CATALOGUE
    for point in sorted(facts, key=lambda each: (each.name, each.value)):
        try:
            known = extended(_specs(point.load()), known)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            problems.append(Problem(group=FACTS, name=point.name, reason=_reason(error)))
    makers: dict[str, Callable[[Context], object] | Problem] = {}
    for point in sorted(collectors, key=lambda each: (each.name, each.value)):
        maker: Callable[[Context], object] | Problem
        if point.name in makers:
            maker = Problem(group=COLLECTORS, name=point.name, reason="two packages have one of this name")
        else:
            maker = _maker(point)
        if isinstance(maker, Problem):
            problems.append(maker)
        makers[point.name] = maker
    for problem in problems:
        logger.error("NOT LOADED: %s", problem)
    return Extensions(catalogue=known, makers=makers, problems=tuple(problems))


def _maker(point: metadata.EntryPoint) -> Callable[[Context], object] | Problem:
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        return Problem(group=COLLECTORS, name=point.name, reason=_reason(error))
    if not callable(found):
        return Problem(group=COLLECTORS, name=point.name, reason="it cannot be called")
    made: Callable[[Context], object] = found
    return made


def _specs(found: object) -> list[FactSpec]:
    specs = list(found) if isinstance(found, Iterable) else []
    if not specs or not all(isinstance(spec, FactSpec) for spec in specs):
        raise TypeError("not an iterable of `FactSpec`")
    return specs


def _marked(recorded: FactValue, said: FactValue) -> FactValue:
    """The value with what is no part of the record: whether asking again helps, and whether this is an outage."""
    if isinstance(recorded, Unknown) and isinstance(said, Unknown):
        return replace(recorded, is_lasting=said.is_lasting, out_of_reach=said.out_of_reach)
    if isinstance(recorded, Collection) and isinstance(said, Collection):
        return replace(recorded, out_of_reach=said.out_of_reach)
    return recorded


def _checked(found: object, supplies: frozenset[str]) -> object:
    """A collector as the contract has it, that announces facts of its own alone."""
    announced = getattr(found, "supplies", None)
    if not isinstance(announced, frozenset) or not callable(getattr(found, "collect", None)):
        raise TypeError("not a collector: it lacks `supplies` or `collect`")
    stray = sorted(announced - supplies)
    if stray:
        raise ValueError(f"it announces `{stray[0]}`, which is not a fact with its name as the source")
    return found


def _reason(error: BaseException) -> str:
    """What kind of failure, and its text where we wrote it: foreign text may hold secrets, or what a terminal obeys."""
    own = isinstance(error, TypeError | ValueError) and error.__traceback__ is not None and _is_ours(error)
    return str(error) if own else f"{type(error).__name__} while it was loaded"


def _is_ours(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith(
        "governance."
    )
